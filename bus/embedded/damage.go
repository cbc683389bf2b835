package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrDamaged is returned by Start when the log lacks what had been written to it.
var ErrDamaged = errors.New("the log is damaged")

const (
	// damagedFolder keeps files that were damaged: those that were written again with what was left in them, and the log of a member that
	// was rebuilt.
	damagedFolder = "damaged"
	faultsShown   = 8
)

// damage is what the log of a data directory lacks.
type damage struct {
	faults  []string   // a sentence each, in order
	streams []string   // that the directory holds, or had held
	broken  []*scanned // those in which something is not right
}

// look reads all files of the log before NATS does.
func (s *Server) look(dataDir string) (d damage, err error) {
	known, err := readMarks(dataDir)
	if err != nil {
		return d, fmt.Errorf("read how far the log had been written: %w", err)
	}
	there := map[string]bool{}
	for _, folder := range newGuard(dataDir).below(streamsFolder) {
		if strings.HasPrefix(filepath.Base(folder), ".") {
			continue // removed, but for its files
		}
		stream, err := scan(folder)
		if err != nil {
			return d, err
		}
		there[stream.name] = exists(filepath.Join(folder, "meta.inf"))
		d.streams = append(d.streams, stream.name)
		found := append(stream.damage(), known.Files.missing(stream)...)
		if k, ok := known.Streams[stream.name]; ok {
			switch lack := k.missing(stream.name, known.Stopped, stream); {
			case lack == "":
			case !known.Stopped && known.Boot != boot():
				// The end of the log may go with the machine (nats.sync_interval); the rest has been checked.
				s.logger.Warn("the machine has stopped before the end of the log was on the disk", "missing", lack)
			default:
				found = append(found, lack)
			}
		}
		if len(found) > 0 {
			d.broken = append(d.broken, stream)
		}
		d.faults = append(d.faults, found...)
	}
	for name, k := range known.Streams {
		if !there[name] && k.Last > 0 {
			d.faults = append(d.faults, fmt.Sprintf("stream %s is missing: it had been written to %d", name, k.Last))
		}
	}
	for name, files := range known.Files {
		if !there[name] {
			d.streams = append(d.streams, name)
			d.faults = append(d.faults, fmt.Sprintf("stream %s is missing: it had %d files", name, len(files)))
		}
	}
	slices.Sort(d.faults)
	slices.Sort(d.streams)
	d.streams = slices.Compact(d.streams)
	return d, nil
}

// check looks at the log and settles what is damaged in it: a member of a cluster gets all of its log from the others. A server that
// is alone, or that the others cannot help, writes the files again with what is right in them when it may; it fails with ErrDamaged otherwise.
func (s *Server) check(ctx context.Context, cfg Config, c Cluster) error {
	d, err := s.look(cfg.DataDir)
	if err != nil || len(d.faults) == 0 {
		return err
	}
	for _, fault := range d.faults {
		s.logger.Error("the log is damaged", "fault", fault)
	}
	advice := "Put the files back from a backup, or start with what is left: --accept-damage"
	if s.clustered {
		limit := c.FormTimeout
		if cfg.AcceptDamage {
			limit = min(limit, acceptWait)
		}
		lack, err := s.rebuild(ctx, cfg, c, d.streams, limit)
		if err != nil || lack == "" {
			s.rebuilt = err == nil
			return err
		}
		advice = fmt.Sprintf("After %v the other members cannot replace it: %s. Start the others, and this one again when they are ready, or start "+
			"it with what is left: --accept-damage", limit, lack)
	}
	if !cfg.AcceptDamage {
		return fmt.Errorf("%w: %s. %s", ErrDamaged, strings.Join(d.faults[:min(len(d.faults), faultsShown)], "; "), advice)
	}
	kept := filepath.Join(cfg.DataDir, damagedFolder)
	for _, stream := range d.broken {
		if err := stream.salvage(kept); err != nil {
			return err
		}
	}
	s.logger.Warn("starting with what is left of the log (--accept-damage); damaged files are kept", "faults", len(d.faults), "folder", kept)
	return nil
}

// forget takes the marks of an earlier life away, before NATS changes the files that they are about.
func forget(dataDir string) error {
	err := os.Remove(filepath.Join(dataDir, marksFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err = errors.Join(err, syncFolder(dataDir)); err != nil {
		return fmt.Errorf("take away what is noted of the log: %w", err)
	}
	return nil
}

// note notes which files the log has, now that the server has stopped.
func (s *Server) note(dataDir string) {
	files, err := takeInventory(dataDir)
	if err == nil {
		m := marks{Stopped: true, Boot: boot(), Files: files}
		err = m.write(dataDir)
	}
	if err != nil {
		s.logger.Warn("it is not noted which files the log has; a file that is missing at the next start will not be noticed", "error", err)
	}
}
