package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// ErrDamaged is returned by Start when the log lacks what had been written to it.
var ErrDamaged = errors.New("the log is damaged")

const (
	// marksFile notes in the data directory how far each stream had been written.
	marksFile = "log-marks"
	// damagedFolder keeps the files that were damaged, when it was accepted to start with what is left.
	damagedFolder = "damaged"
	faultsShown   = 8
)

// marks are how far the streams of a node that is alone had been written when they were looked at last. A log that lacks its end, or all of a
// file, is right by itself; only this shows that there was more.
type marks struct {
	// Stopped says that the node was stopped: nothing was written or removed after that.
	Stopped bool `json:"stopped"`
	// Boot is the life of the machine in which they were written.
	Boot    string          `json:"boot"`
	Streams map[string]mark `json:"streams"`
}

// mark is how far one stream had been written.
type mark struct {
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Messages uint64 `json:"messages"`
}

// boot names the life of the machine; "" where it has no name.
func boot() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // nothing where there is none
	return strings.TrimSpace(string(text))
}

func readMarks(dataDir string) (m marks, err error) {
	text, err := os.ReadFile(filepath.Join(dataDir, marksFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil && json.Unmarshal(text, &m) != nil {
		return marks{}, nil // the machine has stopped while it was written: nothing is known
	}
	return m, err
}

// write replaces the file in one step. It has to outlive the machine only when the node has been stopped: what the log itself may lose with
// the machine is not to be missed.
func (m *marks) write(dataDir string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path := filepath.Join(dataDir, marksFile)
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err == nil && m.Stopped {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	return err
}

// marksOf returns how far the streams are now. Those whose messages go by themselves are left out.
func marksOf(nats *server.Server) (map[string]mark, bool) {
	stats, err := nats.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Config: true})
	if err != nil || stats.Disabled {
		return nil, false
	}
	found := map[string]mark{}
	for _, account := range stats.AccountDetails {
		for i := range account.Streams {
			s := &account.Streams[i]
			if s.Config != nil && s.Config.MaxAge == 0 && s.Config.Storage == server.FileStorage {
				found[s.Name] = mark{First: s.State.FirstSeq, Last: s.State.LastSeq, Messages: s.State.Msgs}
			}
		}
	}
	return found, true
}

// missing says what a stream lacks of what a mark says that it had; "" when nothing.
func (k mark) missing(name string, stopped bool, s *scanned) string {
	last := s.last()
	if last < k.Last {
		return fmt.Sprintf("stream %s: the last %d messages are missing: it had been written to %d, and its files end at %d", name, k.Last-last, k.Last, last)
	}
	if live := s.live(k.First, k.Last); stopped && live < k.Messages {
		return fmt.Sprintf("stream %s: %d of %d messages are missing, of those from %d to %d", name, k.Messages-live, k.Messages, k.First, k.Last)
	}
	return ""
}

// check reads all files of the log before NATS does, and returns ErrDamaged when something is missing or not what was written. With accept the
// files that are damaged are written again with what is right in them.
func (s *Server) check(dataDir string, accept bool) error {
	known, err := readMarks(dataDir)
	if err != nil {
		return fmt.Errorf("read how far the log had been written: %w", err)
	}
	var faults []string
	there := map[string]bool{}
	for _, folder := range newGuard(dataDir).below(streamsFolder) {
		if strings.HasPrefix(filepath.Base(folder), ".") {
			continue // removed, but for its files
		}
		stream, err := scan(folder)
		if err != nil {
			return err
		}
		there[stream.name] = exists(filepath.Join(folder, "meta.inf"))
		found := stream.damage()
		if k, ok := known.Streams[stream.name]; ok && !s.clustered {
			switch lack := k.missing(stream.name, known.Stopped, stream); {
			case lack == "":
			case !known.Stopped && known.Boot != boot():
				// The end of the log may go with the machine (nats.sync_interval); the rest has been checked.
				s.logger.Warn("the machine has stopped before the end of the log was on the disk", "missing", lack)
			default:
				found = append(found, lack)
			}
		}
		if accept && len(found) > 0 {
			if err := stream.salvage(filepath.Join(dataDir, damagedFolder)); err != nil {
				return err
			}
		}
		faults = append(faults, found...)
	}
	for name, k := range known.Streams {
		if !there[name] && !s.clustered && k.Last > 0 {
			faults = append(faults, fmt.Sprintf("stream %s is missing: it had been written to %d", name, k.Last))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	slices.Sort(faults)
	for _, fault := range faults {
		s.logger.Error("the log is damaged", "fault", fault)
	}
	switch {
	case s.clustered:
		s.logger.Error("this member takes what it can from the others; to take everything from them, start it with an empty data directory " +
			"and its name (--cluster-member)")
		return nil
	case accept:
		s.logger.Warn("starting with what is left of the log (--accept-damage); damaged files are kept", "faults", len(faults),
			"folder", filepath.Join(dataDir, damagedFolder))
		return nil
	}
	shown := faults[:min(len(faults), faultsShown)]
	return fmt.Errorf("%w: %s. Put the files back from a backup, or start with what is left: --accept-damage", ErrDamaged, strings.Join(shown, "; "))
}
