package node

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cloudburst/names"

	"github.com/BurntSushi/toml"
)

const (
	// configFile is read from the data directory when no other file is named.
	configFile = "cloudburst.toml"
	envPrefix  = "CLOUDBURST_"
	// configBytesMax bounds a configuration file.
	configBytesMax = 1 << 20
)

// Sources are where settings come from, each winning over those before it.
type Sources struct {
	// File is a TOML file. Default: cloudburst.toml in the data directory, if it is there.
	File string
	// Environ is the environment, as of os.Environ: CLOUDBURST_EXECUTOR__WORKERS_MAX=8.
	Environ []string
	// Flags are settings by their names: "executor.workers_max".
	Flags map[string]string
	// FlagName returns the flag of a setting, for errors. Default: the setting's name.
	FlagName func(setting string) string
}

// Load returns the Config that the sources make together, defaults filled in. An unknown name in any of them is an error that
// suggests the one that was meant.
func Load(from Sources) (Config, error) {
	var c Config
	env, err := environment(&c, from.Environ)
	if err != nil {
		return c, err
	}
	file := from.File
	if file == "" {
		// A file in the data directory cannot say where the data directory is.
		data := cmp.Or(from.Flags["node.data"], env["node.data"], dataDefault())
		if candidate := filepath.Join(data, configFile); data != "" && exists(candidate) {
			file = candidate
		}
	}
	if file != "" {
		if err := c.readFile(file); err != nil {
			return c, err
		}
		if from.File == "" && c.Node.Data != "" {
			return c, fmt.Errorf("%s: node.data cannot be set in the data directory itself; give --data, or name the file with --config", file)
		}
	}
	flagName := from.FlagName
	if flagName == nil {
		flagName = asIs
	}
	for _, source := range []struct {
		values map[string]string
		called func(string) string
	}{
		{env, envName},
		{from.Flags, flagName},
	} {
		for _, name := range slices.Sorted(maps.Keys(source.values)) {
			s, ok := c.find(name)
			if !ok {
				return c, fmt.Errorf("%s: there is no such setting%s", source.called(name), c.suggest(name, source.called))
			}
			if err := s.parse(source.values[name]); err != nil {
				return c, fmt.Errorf("%s: %w", source.called(name), err)
			}
		}
	}
	c = c.withDefaults()
	if c.Node.Data, err = absolute(c.Node.Data); err != nil {
		return c, err
	}
	return c, c.validate()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}

func absolute(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	full, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("data directory %s: %w", dir, err)
	}
	return full, nil
}

func envName(name string) string {
	return envPrefix + strings.ToUpper(strings.Replace(name, ".", "__", 1))
}

// environment returns the settings in the environment by their names. A variable of one of ours that is spelt with one
// underscore instead of two would otherwise be passed over in silence.
func environment(c *Config, environ []string) (map[string]string, error) {
	found := map[string]string{}
	for _, entry := range environ {
		variable, text, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(variable, envPrefix)
		if !ours || text == "" {
			continue
		}
		section, key, nested := strings.Cut(rest, "__")
		if nested {
			found[strings.ToLower(section)+"."+strings.ToLower(key)] = text
			continue
		}
		for _, s := range c.settings() {
			if strings.EqualFold(rest, s.section+"_"+s.key) {
				return nil, fmt.Errorf("%s: section and setting are parted by two underscores; write %s", variable, envName(s.name()))
			}
		}
	}
	return found, nil
}

func (c *Config) find(name string) (setting, bool) {
	for _, s := range c.settings() {
		if s.name() == name {
			return s, true
		}
	}
	return setting{}, false
}

// readFile takes the settings of a TOML file.
func (c *Config) readFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	if info.Size() > configBytesMax {
		return fmt.Errorf("read the configuration: %s has %d bytes; the limit is %d", path, info.Size(), configBytesMax)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	var content map[string]any
	if err := toml.Unmarshal(text, &content); err != nil {
		if where, ok := errors.AsType[toml.ParseError](err); ok {
			return fmt.Errorf("%s, line %d: %s", path, where.Position.Line, cmp.Or(where.Message, err.Error()))
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, section := range slices.Sorted(maps.Keys(content)) {
		table, ok := content[section].(map[string]any)
		if !ok {
			return fmt.Errorf("%s: %s stands outside of a section%s", path, section, c.suggest(section, asIs))
		}
		for _, key := range slices.Sorted(maps.Keys(table)) {
			name := section + "." + key
			s, ok := c.find(name)
			if !ok {
				return fmt.Errorf("%s: there is no setting %s%s", path, name, c.suggest(name, asIs))
			}
			if err := s.set(table[key]); err != nil {
				return fmt.Errorf("%s: %s: %w", path, name, err)
			}
		}
	}
	return nil
}

func asIs(name string) string { return name }

// suggest names the setting that a wrong name most looks like, as the end of a sentence; called writes it as its source does.
func (c *Config) suggest(wrong string, called func(string) string) string {
	best, least := "", len(wrong)/2+1
	for _, s := range c.settings() {
		candidate := s.name()
		if !strings.Contains(wrong, ".") {
			candidate = s.key
		}
		if d := names.Distance(wrong, candidate); d < least {
			best, least = s.name(), d
		}
	}
	if best == "" {
		return "; `cloudburst serve --dump-config` prints all there are"
	}
	return "; did you mean " + called(best) + "?"
}

// TOML returns the Config as a file that sets all of it, secrets hidden.
func (c Config) TOML() string {
	var b strings.Builder
	section := ""
	for _, s := range c.settings() {
		if s.section != section {
			if section != "" {
				b.WriteByte('\n')
			}
			section = s.section
			fmt.Fprintf(&b, "[%s]\n", section)
		}
		if s.secret() && s.value.String() != "" {
			fmt.Fprintf(&b, "# %s is set, and %s\n", s.key, hidden)
			continue
		}
		fmt.Fprintf(&b, "%s = %s\n", s.key, s.toml())
	}
	return b.String()
}
