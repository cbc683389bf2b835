package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// marksFile notes in the data directory how far each stream had been written.
const marksFile = "log-marks"

// marks are how far the streams of a node that is alone had been written when they were looked at last, and the files that a member of a
// cluster had when it was stopped. A log that lacks its end, or all of a file, is right by itself; only this shows that there was more.
type marks struct {
	// Stopped says that the node was stopped: nothing was written or removed after that.
	Stopped bool `json:"stopped"`
	// Boot is the life of the machine in which they were written.
	Boot    string          `json:"boot"`
	Streams map[string]mark `json:"streams,omitempty"`
	Files   inventory       `json:"files,omitempty"`
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
