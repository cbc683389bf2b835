package embedded

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"cloudburst/bus"
)

const (
	// keptShare is which part of the log's limit is kept for deletes and shortening; it is at least keptMin, as far as that is not more
	// than half, and at most keptMax.
	keptShare = 8
	keptMin   = 1 << 20
	keptMax   = 512 << 20
)

// unlimited is more than any disk has.
const unlimited = math.MaxInt64 / 4

// limits are those of the log's size.
type limits struct {
	store int64 // what all streams may take; unlimited = as much as the disk has room for
	kept  int64 // what of that, or of the disk, is not for ordinary writes
}

// limitsOf returns the limits of a log in a folder, from the setting, which is 0 by default.
func limitsOf(store string, set int64) limits {
	l := limits{store: set}
	size := set
	if set == 0 {
		l.store, size = unlimited, keptMax*keptShare
		var disk unix.Statfs_t
		if err := errors.Join(os.MkdirAll(store, 0o700), unix.Statfs(store, &disk)); err == nil {
			size = int64(min(disk.Blocks*uint64(disk.Bsize), unlimited))
		}
	}
	l.kept = min(max(size/keptShare, keptMin), keptMax, size/2)
	return l
}

// jetStreamMax is what NATS is told: as much more than the limit as is kept, so that what is kept can be used however full the log is.
// Ordinary writes are refused before by those who write.
func (l limits) jetStreamMax(store string) int64 { return max(l.store, taken(store)) + l.kept }

// taken returns how many bytes the files of streams take.
func taken(store string) (bytes int64) {
	_ = filepath.WalkDir(store, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil // a file that has just been removed takes nothing
	})
	return bytes
}

// space returns how much of its room the log takes.
func (s *Server) space() (bus.Space, bool) {
	stats, err := s.nats.Jsz(nil)
	if err != nil {
		return bus.Space{}, false
	}
	space := bus.Space{Used: int64(stats.Store), Limit: s.limits.store, Free: unlimited, Kept: s.limits.kept, Setting: "nats.store_max"}
	if free, ok := freeBytes(s.store); ok {
		space.Free = int64(min(free, unlimited))
	}
	return space, true
}
