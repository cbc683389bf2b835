package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestLoad runs the dialogues in testdata/load: files, variables and flags, and the setting or the error that comes of them.
func TestLoad(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "load"), func(t *testing.T, path string) {
		dir := t.TempDir()
		t.Setenv("XDG_DATA_HOME", dir)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "file" {
				var name string
				d.ScanArgs(t, "name", &name)
				file := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(d.Input), 0o600); err != nil {
					t.Fatal(err)
				}
				return ""
			}
			from := Sources{Flags: map[string]string{}}
			for line := range strings.SplitSeq(strings.TrimSpace(d.Input), "\n") {
				kind, rest, _ := strings.Cut(line, " ")
				name, value, _ := strings.Cut(rest, "=")
				switch kind {
				case "config":
					from.File = filepath.Join(dir, rest)
				case "env":
					from.Environ = append(from.Environ, rest)
				case "flag":
					from.Flags[name] = strings.ReplaceAll(value, "DIR", dir)
				}
			}
			c, err := Load(from)
			if err != nil {
				return "error: " + strings.ReplaceAll(err.Error(), dir, "DIR") + "\n"
			}
			var b strings.Builder
			for _, arg := range d.CmdArgs {
				s, ok := c.find(arg.Key)
				if !ok {
					t.Fatalf("no setting %s", arg.Key)
				}
				fmt.Fprintf(&b, "%s = %s\n", arg.Key, strings.ReplaceAll(s.toml(), dir, "DIR"))
				if shown := c.TOML(); s.secret() && strings.Contains(shown, s.value.String()) && s.value.String() != "" {
					t.Errorf("%s is shown:\n%s", arg.Key, shown)
				}
			}
			return b.String()
		})
	})
}

func TestDumpIsAFileThatSetsTheSame(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := Load(Sources{Flags: map[string]string{
		"node.data": filepath.Join(dir, "data"), "executor.preload": "numpy, pandas", "executor.grow_after": "1m30s",
		"nats.sync_always": "true", "log.level": "debug", "executor.python": `a "b"` + "\n\x01ü\\",
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "dumped.toml")
	if err := os.WriteFile(file, []byte(first.TOML()), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := Load(Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if first.TOML() != second.TOML() {
		t.Errorf("dumped:\n%s\nand read back:\n%s", first.TOML(), second.TOML())
	}
	if second.Executor.GrowAfter != 90*time.Second || len(second.Executor.Preload) != 2 || !second.NATS.SyncAlways {
		t.Errorf("%+v", second.Executor)
	}
}

// TestEverySettingIsDocumented holds docs/configuration.md against the settings that there are, defaults included.
func TestEverySettingIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	section := ""
	for line := range strings.SplitSeq(string(text), "\n") {
		if name, ok := strings.CutPrefix(line, "### `["); ok {
			section = strings.TrimSuffix(name, "]`")
		}
		if cells := strings.Split(line, "|"); section != "" && len(cells) > 3 && strings.HasPrefix(line, "| `") {
			documented[section+"."+strings.Trim(cells[1], " `")] = strings.TrimSpace(cells[2])
		}
	}
	c := Config{}.withDefaults()
	for _, s := range c.settings() {
		shown, ok := documented[s.name()]
		if !ok {
			t.Errorf("%s is not in docs/configuration.md", s.name())
		}
		// A default in words depends on the machine.
		if literal := strings.Trim(shown, "`"); literal != shown && s.name() != "gateway.token" && literal != s.toml() {
			t.Errorf("the default of %s is %s; docs/configuration.md says %s", s.name(), s.toml(), shown)
		}
		delete(documented, s.name())
	}
	for name := range documented {
		t.Errorf("docs/configuration.md has %s, which is not a setting", name)
	}
}
