package contexts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Published says what has become of a node's context.
type Published struct {
	Name string
	// Current is the context that clients use when they are told nothing: this node's, or that of a node which may be running.
	Current Context
	// Before is the context that was current until now, and is not any more since its node is gone; empty when there was none.
	Before string
}

// Publish tells the clients of this user where a node is. Without a name it gets the one that it had before, or one made from its data
// directory. It becomes the current context when there is none, or when the node of the current one is certainly gone. Publish fails
// with ErrTaken when the name is that of another node which may be running. Contexts of nodes that are gone with their data are
// removed.
func (f Folder) Publish(c Context) (Published, error) {
	c.Process, c.Started, c.Stopped = thisProcess(), time.Now().UnixMilli(), false
	var published Published
	err := f.locked(func() error {
		if err := f.migrate(); err != nil {
			return err
		}
		before := f.Current()
		name, err := f.claim(c)
		if err != nil {
			return err
		}
		c.Name = name
		if err := f.write(c); err != nil {
			return err
		}
		published = Published{Name: c.Name, Current: c}
		if current, err := f.read(f.Current()); err == nil && current.Name != c.Name {
			if !current.Gone() {
				published.Current = current
				return nil
			}
			published.Before = current.Name
		} else if before != c.Name {
			published.Before = before
		}
		return f.setCurrent(c.Name)
	})
	return published, err
}

// claim returns the name for a node's context, and removes what stands in its way.
func (f Folder) claim(c Context) (string, error) {
	var taken []string
	name := c.Name
	for _, other := range f.List() {
		switch {
		case other.Data == c.Data:
			if name == "" {
				name = other.Name
			}
			if other.Name == name {
				continue
			}
		case other.Name == c.Name && !other.Gone():
			return "", fmt.Errorf("%w: %s is that of the node at %s with the data directory %s; give this node another name (--context)",
				ErrTaken, other.Name, other.Address, other.Data)
		case other.Name == c.Name:
			continue // it is written over
		case !other.Gone() || exists(other.Data):
			taken = append(taken, other.Name)
			continue
		}
		if err := f.remove(other.Name); err != nil {
			return "", err
		}
	}
	if name == "" {
		name = free(nameFor(c.Data), taken)
	}
	return name, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Withdraw notes that the node of a data directory has ended in order. Its context stays, since a client that gets no answer says which
// node it looked for.
func (f Folder) Withdraw(name, data string) error {
	return f.locked(func() error {
		c, err := f.Get(name)
		if err != nil || c.Data != data {
			return err
		}
		c.Stopped, c.Process = true, Process{}
		return f.write(c)
	})
}

// migrate turns what a node of an earlier version left, an address and a token beside each other, into a context.
func (f Folder) migrate() error {
	addressFile, tokenFile := filepath.Join(f.path, "address"), filepath.Join(f.path, "token")
	address, err := os.ReadFile(addressFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	token, unread := os.ReadFile(tokenFile)
	old := Context{Address: strings.TrimSpace(string(address)), Token: strings.TrimSpace(string(token))}
	if err == nil && unread == nil && f.Current() == "" && !old.Gone() {
		old.Name = free(nameDefault, f.names())
		if err := errors.Join(f.write(old), f.setCurrent(old.Name)); err != nil {
			return err
		}
	}
	return errors.Join(os.Remove(addressFile), removed(tokenFile))
}

func removed(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

const (
	lockWaitMax = 5 * time.Second
	lockPause   = 5 * time.Millisecond
)

// locked runs a change while no other process makes one.
func (f Folder) locked(change func() error) error {
	folder := filepath.Join(f.path, folderName)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("make the folder of the contexts: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(folder, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("lock the contexts: %w", err)
	}
	defer file.Close()
	for end := time.Now().Add(lockWaitMax); ; time.Sleep(lockPause) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return change()
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			return fmt.Errorf("lock the contexts: %w", err)
		}
	}
}
