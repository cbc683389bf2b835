// Package contexts keeps what the nodes of one user tell the clients of that user on the same machine: under a name, the address and the
// token of each node that was started, and which of them is current. The current context is the one that a client uses when it is
// told nothing else, and it stays so for as long as its node may run.
//
// They are files in the folder "cloudburst" of the user's configuration directory, which the Python SDK reads too:
//
//	contexts/NAME   the context NAME, as JSON
//	context         the name of the current one
//
// Only the user can read them. Each is replaced in one step, and a process that changes one holds the lock contexts/.lock meanwhile.
package contexts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	// ErrNotFound is returned for a name under which there is no context.
	ErrNotFound = errors.New("no such context")
	// ErrTaken is returned when a node wants the name of a context whose node may be running.
	ErrTaken = errors.New("the context belongs to another node")
	// ErrRunning is returned when the context of a node that may be running is to be removed.
	ErrRunning = errors.New("the node of the context may be running")
	// ErrName is returned for a name that no context can have.
	ErrName = errors.New("invalid name of a context")
)

const (
	userFolder  = "cloudburst"
	folderName  = "contexts"
	currentName = "context"
	nameMax     = 64
	nameDefault = "default"
	// contextBytesMax bounds what is read of one file.
	contextBytesMax = 64 << 10
)

var named = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// Context is what a node has told the clients of its user.
type Context struct {
	Name string `json:"-"`
	// Address is where clients of this machine reach the node: host:port, or https://host:port for one that speaks TLS.
	Address string `json:"address"`
	Token   string `json:"token"`
	// Data is the absolute path of the node's data directory. It is what a node is known by: it keeps its context over restarts.
	Data string `json:"data"`
	// Started is when the node was started last, Unix time.
	Started int64 `json:"started_milliseconds"`
	// Stopped says that the node has ended in order.
	Stopped bool    `json:"stopped,omitempty"`
	Process Process `json:"process"`
}

// CheckName returns an error wrapping ErrName when a context cannot have the name.
func CheckName(name string) error {
	if len(name) > nameMax || !named.MatchString(name) {
		return fmt.Errorf("%w: %q; use 1 to %d letters, digits and _ - . and begin with a letter or digit", ErrName, name, nameMax)
	}
	return nil
}

// Folder is where the contexts of one user are.
type Folder struct{ path string }

// Open returns the folder of the user who runs this process. It fails when the user has no configuration directory.
func Open() (Folder, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return Folder{}, fmt.Errorf("find the contexts: %w", err)
	}
	return Folder{filepath.Join(dir, userFolder)}, nil
}

// Get returns a context. It fails with ErrNotFound, naming those that there are.
func (f Folder) Get(name string) (Context, error) {
	if err := CheckName(name); err != nil {
		return Context{}, err
	}
	c, err := f.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Context{}, f.notFound(name)
	}
	return c, err
}

func (f Folder) read(name string) (Context, error) {
	text, err := os.ReadFile(filepath.Join(f.path, folderName, name))
	if err != nil {
		return Context{}, fmt.Errorf("read context %s: %w", name, err)
	}
	c := Context{Name: name}
	if len(text) > contextBytesMax {
		return c, fmt.Errorf("read context %s: it has %d bytes", name, len(text))
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("read context %s: %w", name, err)
	}
	return c, nil
}

// List returns all contexts, by name. What cannot be read is left out.
func (f Folder) List() []Context {
	entries, err := os.ReadDir(filepath.Join(f.path, folderName))
	if err != nil {
		return nil
	}
	var all []Context
	for _, entry := range entries { // they are sorted
		if CheckName(entry.Name()) != nil {
			continue
		}
		if c, err := f.read(entry.Name()); err == nil {
			all = append(all, c)
		}
	}
	return all
}

// Current returns the name of the current context; empty when there is none.
func (f Folder) Current() string {
	text, err := os.ReadFile(filepath.Join(f.path, currentName))
	name := strings.TrimSpace(string(text))
	if err != nil || CheckName(name) != nil {
		return ""
	}
	return name
}

// At returns the context of the node that was started last at an address. The address is compared as same says.
func (f Folder) At(same func(address string) bool) (Context, bool) {
	var found Context
	for _, c := range f.List() {
		if same(c.Address) && (found.Name == "" || c.Started > found.Started) {
			found = c
		}
	}
	return found, found.Name != ""
}

// Use makes a context the current one. It fails with ErrNotFound.
func (f Folder) Use(name string) error {
	return f.locked(func() error {
		if _, err := f.Get(name); err != nil {
			return err
		}
		return f.setCurrent(name)
	})
}

// Remove removes a context; its node and its data stay. It fails with ErrNotFound, and with ErrRunning unless it is certain that the
// node does not run.
func (f Folder) Remove(name string) error {
	return f.locked(func() error {
		c, err := f.Get(name)
		if err != nil {
			return err
		}
		if !c.Gone() {
			return fmt.Errorf("%w: %s at %s; stop it first", ErrRunning, name, c.Address)
		}
		return f.remove(name)
	})
}

func (f Folder) remove(name string) error {
	err := os.Remove(filepath.Join(f.path, folderName, name))
	if f.Current() == name {
		err = errors.Join(err, os.Remove(filepath.Join(f.path, currentName)))
	}
	return err
}

func (f Folder) notFound(name string) error {
	names := f.names()
	if len(names) == 0 {
		return fmt.Errorf("%w: %q; there is none, since no node of this user has been started", ErrNotFound, name)
	}
	return fmt.Errorf("%w: %q; there are %s (cloudburst context ls)", ErrNotFound, name, strings.Join(names, ", "))
}

func (f Folder) names() []string {
	var names []string
	for _, c := range f.List() {
		names = append(names, c.Name)
	}
	return names
}

func (f Folder) setCurrent(name string) error {
	if err := WritePrivate(filepath.Join(f.path, currentName), name); err != nil {
		return fmt.Errorf("make context %s the current one: %w", name, err)
	}
	return nil
}

func (f Folder) write(c Context) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write context %s: %w", c.Name, err)
	}
	if err := WritePrivate(filepath.Join(f.path, folderName, c.Name), string(text)); err != nil {
		return fmt.Errorf("write context %s: %w", c.Name, err)
	}
	return nil
}

// WritePrivate replaces a file in one step by one that only the user can read.
func WritePrivate(path, text string) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = file.WriteString(text + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}

// nameFor returns the name that a node gets which is told none: its data directory's, or that of the directory which this lies in
// when its own says nothing.
func nameFor(data string) string {
	base := filepath.Base(data)
	switch {
	case filepath.Base(filepath.Dir(data)) == "share" && base == userFolder:
		base = nameDefault
	case base == "data" || strings.HasPrefix(base, "."):
		base = filepath.Base(filepath.Dir(data))
	}
	letters := strings.Map(func(r rune) rune {
		if r < 0x80 && named.MatchString("a"+string(r)) {
			return r
		}
		return '-'
	}, base)
	letters = strings.TrimLeft(letters, "_.-")
	letters = letters[:min(len(letters), nameMax-4)] // room for a number behind it
	if letters == "" {
		return nameDefault
	}
	return letters
}

// free returns the name, or the name with the least number behind it that no context has.
func free(name string, taken []string) string {
	for n, candidate := 2, name; ; n++ {
		if !slices.Contains(taken, candidate) {
			return candidate
		}
		candidate = fmt.Sprintf("%s-%d", name, n)
	}
}
