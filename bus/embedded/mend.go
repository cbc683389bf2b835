package embedded

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"

	"cloudburst/bus"
	"cloudburst/descriptors"
)

const (
	// mendLook is how often the streams are looked at, beside the moments at which the server logs an error.
	mendLook = time.Second
	// mendPauseMin and mendPauseMax are the pauses between attempts to bring JetStream back.
	mendPauseMin = time.Second
	mendPauseMax = 30 * time.Second
	// descriptorsNeeded is how many descriptors must be free before JetStream is started again: it opens a file of each stream, and some
	// of those that it reads.
	descriptorsNeeded = 16
	// roomNeeded is the room on the disk that there must be: one message of the largest size.
	roomNeeded = bus.PayloadMax
)

// mender brings the log back after a fault. NATS gives a stream up for good when a write of it fails, because the disk is full or the
// process has no descriptor left, and in a cluster it stops all of JetStream. The mender waits until the cause is gone, and then starts
// JetStream again on the same files: streams are read again, and connections stay.
type mender struct {
	server *Server
	data   string // the data directory
	end    chan struct{}
	ended  chan struct{}

	marks marks // as they were written last; owned by run, and by stop after that

	mu     sync.Mutex
	faults []string
}

func (m *mender) start(s *Server, dataDir string) {
	m.server, m.data = s, dataDir
	m.end, m.ended = make(chan struct{}), make(chan struct{})
	m.tell(m.shortage(false), m.broken()) // known from the start
	m.mark(false)                         // what an earlier life has noted counts no more
	go m.run()
}

func (m *mender) stop() {
	if m.end != nil {
		close(m.end)
		<-m.ended
		m.mark(true)
	}
}

// markLook is how often it is noted how far the streams have been written.
const markLook = 100 * time.Millisecond

// mark notes how far the streams of a node that is alone have been written, if that has changed.
func (m *mender) mark(stopped bool) {
	if m.server.clustered {
		return
	}
	m.mu.Lock()
	faulty := len(m.faults) > 0
	m.mu.Unlock()
	streams, known := marksOf(m.server.nats)
	if !known || faulty || !stopped && maps.Equal(streams, m.marks.Streams) {
		return
	}
	m.marks = marks{Stopped: stopped, Boot: boot(), Streams: streams}
	if err := m.marks.write(m.data); err != nil {
		m.server.logger.Debug("it is not noted how far the log has been written", "error", err)
	}
}

// Faults returns what keeps the log from taking writes, a sentence each; none when it takes them.
func (s *Server) Faults() []string {
	s.mender.mu.Lock()
	defer s.mender.mu.Unlock()
	return slices.Clone(s.mender.faults)
}

func (m *mender) run() {
	defer close(m.ended)
	ticker := time.NewTicker(mendLook)
	defer ticker.Stop()
	marking := time.NewTicker(markLook)
	defer marking.Stop()
	var next time.Time
	pause := mendPauseMin
	var broken []string
	for {
		select {
		case <-m.end:
			return
		case <-marking.C:
			m.mark(false)
			continue
		case <-m.server.log.failed:
		case <-ticker.C:
		}
		cause := m.shortage(len(broken) > 0)
		if now := m.broken(); len(now) > 0 || cause == "" {
			broken = now // NATS does not see what is broken when it cannot open a folder
		}
		m.tell(cause, broken)
		switch {
		case len(broken) == 0 && cause == "":
			pause = mendPauseMin
		case len(broken) == 0 || cause != "" || time.Now().Before(next):
		default:
			m.restart()
			next = time.Now().Add(pause)
			pause = min(2*pause, mendPauseMax)
		}
	}
}

// tell makes the faults known, and logs them when they have changed.
func (m *mender) tell(cause string, broken []string) {
	var faults []string
	if cause != "" {
		faults = append(faults, cause)
	}
	faults = append(faults, broken...)
	m.mu.Lock()
	before := m.faults
	m.faults = faults
	m.mu.Unlock()
	switch {
	case slices.Equal(before, faults):
	case len(faults) == 0:
		m.server.logger.Info("the log takes writes again")
	default:
		m.server.logger.Error("the log takes no writes", "because", strings.Join(faults, "; "))
	}
}

// shortage says what the system lacks that the log needs, or needs to be started again; "" when nothing.
func (m *mender) shortage(restart bool) string {
	needed := 1
	if restart {
		needed = descriptorsNeeded
	}
	if !descriptorsFree(needed) {
		return fmt.Sprintf("the process has no file descriptors left for the log (its limit is %d: ulimit -n, or LimitNOFILE); "+
			"durable writes fail until there are some",
			descriptors.Limit())
	}
	store := m.server.store
	if left, ok := freeBytes(store); ok && left < roomNeeded {
		return fmt.Sprintf("the disk of %s has %d bytes left; durable writes fail until there is room", store, left)
	}
	return ""
}

// descriptorsFree reports whether the process can open so many files at this moment.
func descriptorsFree(count int) bool {
	var opened []int
	defer func() {
		for _, fd := range opened {
			_ = unix.Close(fd)
		}
	}()
	for range count {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return !descriptors.Exhausted(err)
		}
		opened = append(opened, fd)
	}
	return true
}

// freeBytes returns how much room the disk of a folder has for this user.
func freeBytes(dir string) (uint64, bool) {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return 0, false
	}
	return disk.Bavail * uint64(disk.Bsize), true
}

// broken returns what JetStream has given up.
func (m *mender) broken() []string {
	if !m.server.nats.JetStreamEnabled() {
		return []string{"JetStream has stopped after a write to the log failed; it is started again once the cause is gone"}
	}
	var broken []string
	for _, e := range m.server.nats.Healthz(&server.HealthzOptions{Details: true}).Errors {
		what := "the log"
		if e.Stream != "" {
			what = "the stream " + e.Stream + " of the log"
		}
		if _, reason, failed := strings.Cut(e.Error, "write error: "); failed {
			broken = append(broken, fmt.Sprintf("%s takes no writes since one failed: %s", what, reason))
		}
	}
	return broken
}

// restart starts JetStream again, with the streams as they are on the disk.
func (m *mender) restart() {
	nats, began := m.server.nats, time.Now()
	m.server.logger.Info("starting the log again after a fault")
	if err := nats.ShutdownJetStream(); err != nil {
		m.server.logger.Error("the log cannot be stopped to be started again", "error", err)
		return
	}
	err := newGuard(m.data).around(func() error {
		config := m.server.jetStream
		return nats.EnableJetStream(&config)
	}, func() { _ = nats.ShutdownJetStream() }) // it has stopped already, or says so the next time
	if err != nil {
		m.server.logger.Error("the log cannot be started again yet", "error", err)
		return
	}
	m.server.logger.Info("the log has been started again", "took", time.Since(began).Round(time.Millisecond))
}
