package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what is known about how the program was made.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readBuild() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	switch {
	case b.Version != "":
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		b.Version = info.Main.Version
	default:
		b.Version = "unknown"
	}
	return b
}

func (c *cli) versionCommand() *cobra.Command {
	return c.toOutput(&cobra.Command{
		Use: "version", Short: "Print the version of this program",
		Args: between(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			b := readBuild()
			if c.output == "json" {
				return c.json(b)
			}
			revision := b.Revision
			if b.Modified {
				revision += ", modified"
			}
			if revision != "" {
				revision = " (" + revision + ")"
			}
			return c.say("cloudburst %s%s %s %s", b.Version, revision, b.Go, b.Platform)
		},
	})
}
