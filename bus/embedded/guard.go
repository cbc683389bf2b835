package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// JetStream keeps the streams of each account in the folder "streams". Beside that is the folder of their second names, on the same file
// system, where NATS does not look.
const (
	streamsFolder = "streams"
	guardFolder   = "guard"
)

// guard keeps the files of the streams while JetStream starts. NATS removes all of a stream that it cannot read, even when that is only
// because the process has no descriptor left or the disk no room; a second name (a hard link) for each file lets the stream be put back.
// Its folders stay when it is over, so that a disk that is full has room for the names. Links need no room for what is in the files.
type guard struct {
	store string // the folder of JetStream
}

func newGuard(dataDir string) guard { return guard{store: filepath.Join(dataDir, StoreFolder)} }

// around runs what starts JetStream. When a stream is missing after that, stop is run, the stream is put back, and the error says so.
func (g guard) around(start func() error, stop func()) error {
	if _, err := g.restore(); err != nil { // what the start before has left, if the process was killed meanwhile
		return err
	}
	if err := g.raise(); err != nil {
		return err
	}
	startErr := start()
	if missing := g.missing(); len(missing) > 0 {
		stop()
		back, err := g.restore()
		return errors.Join(fmt.Errorf("%w: NATS could not read %s, and the lines of nats-server above say why; the files have been put back", ErrUnreadable,
			streamNames(back)), startErr, err)
	}
	return errors.Join(startErr, g.drop())
}

// below returns what is in the folders of all accounts that have a name: one folder for each stream.
func (g guard) below(name string) []string {
	found, _ := filepath.Glob(filepath.Join(g.store, "*", name, "*")) // the pattern is well-formed
	return found
}

// counterpart returns the folder of the same stream below another folder of its account.
func counterpart(stream, name string) string {
	return filepath.Join(filepath.Dir(filepath.Dir(stream)), name, filepath.Base(stream))
}

// files returns the files of a stream that hold what it is, relative to its folder.
func files(stream string) []string {
	var found []string
	for _, pattern := range []string{"meta.*", filepath.Join("msgs", "*")} {
		names, _ := filepath.Glob(filepath.Join(stream, pattern)) // the pattern is well-formed
		for _, name := range names {
			if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() {
				relative, _ := filepath.Rel(stream, name) // both are absolute or relative alike
				found = append(found, relative)
			}
		}
	}
	return found
}

// raise gives every file a second name.
func (g guard) raise() error {
	for _, stream := range g.below(streamsFolder) {
		if err := link(stream, counterpart(stream, guardFolder)); err != nil {
			return fmt.Errorf("guard the log while it is read: %w", err)
		}
	}
	return nil
}

// link gives the files of one folder names in another. A file system without hard links is left without a guard.
func link(from, to string) error {
	if err := os.MkdirAll(filepath.Join(to, "msgs"), 0o700); err != nil {
		return err
	}
	for _, name := range files(from) {
		err := os.Link(filepath.Join(from, name), filepath.Join(to, name))
		switch {
		case errors.Is(err, errors.ErrUnsupported), errors.Is(err, fs.ErrPermission):
			return nil
		case err != nil && !errors.Is(err, fs.ErrExist):
			return err
		}
	}
	return nil
}

// missing returns the guarded streams that are not there any more.
func (g guard) missing() (streams []string) {
	for _, kept := range g.below(guardFolder) {
		if stream := counterpart(kept, streamsFolder); len(files(kept)) > 0 && !exists(filepath.Join(stream, "meta.inf")) {
			streams = append(streams, stream)
		}
	}
	return streams
}

// restore puts back the streams that are missing, and takes the second names away.
func (g guard) restore() (back []string, err error) {
	back = g.missing()
	for _, stream := range back {
		kept := counterpart(stream, guardFolder)
		if err := link(kept, stream); err != nil {
			return back, fmt.Errorf("put the stream %s back, whose files are in %s: %w", filepath.Base(stream), kept, err)
		}
	}
	return back, g.drop()
}

// drop takes the second names away.
func (g guard) drop() error {
	var faults []error
	for _, kept := range g.below(guardFolder) {
		for _, name := range files(kept) {
			faults = append(faults, os.Remove(filepath.Join(kept, name)))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("take the guard of the log away: %w", err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func streamNames(folders []string) string {
	names := make([]string, len(folders))
	for i, folder := range folders {
		names[i] = filepath.Base(folder)
	}
	return "stream " + strings.Join(names, ", ")
}
