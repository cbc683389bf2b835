package anna

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"cloudburst/anna/slots"
	"cloudburst/wire/pb"
)

// leaveTimeout bounds the time that a node spends each time on announcing that it goes.
const leaveTimeout = 2 * time.Second

// memberName is what randomID makes.
var memberName = regexp.MustCompile("^[0-9a-z]{1,13}$")

// members knows who there is, from a bucket in which every node keeps its presence alive. Safe for concurrent use.
type members struct {
	cfg        *Config
	log        *streams
	self       string
	keyValue   jetstream.KeyValue
	clock      func() uint64           // says where this node's clock is
	observe    func(time uint64) error // takes note of where another node's is
	changed    chan struct{}           // holds a token when something has
	announcing chan struct{}           // holds a token while one goroutine announces, so that announcements keep their order
	gone       bool                    // this node has left, and must not seem to be there again; for who holds the token

	mu        sync.Mutex
	own       *pb.Presence
	announced time.Time // when this node was last able to say that it is there
	heard     time.Time // when it last heard that from the bucket
	seen      map[string]*member
}

type member struct {
	presence *pb.Presence
	seen     time.Time
	ahead    bool // its clock is too far ahead to be followed
}

func newMembers(cfg *Config, log *streams, self string, clock func() uint64, observe func(time uint64) error) *members {
	return &members{
		cfg: cfg, log: log, self: self, clock: clock, observe: observe, changed: make(chan struct{}, 1), announcing: make(chan struct{}, 1),
		own: &pb.Presence{Guest: cfg.Guest}, seen: map[string]*member{},
	}
}

// open finds or makes the bucket.
func (m *members) open(ctx context.Context) error {
	bucket := m.cfg.Prefix + "-members"
	err := insist(ctx, func(ctx context.Context) (err error) {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		m.keyValue, err = m.log.conn.JetStream.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:      bucket,
			Description: "the nodes of the store, for as long as they are there",
			TTL:         m.cfg.MemberTTL,
			Replicas:    m.cfg.Replicas,
		})
		if errors.Is(err, jetstream.ErrBucketExists) {
			m.keyValue, err = m.log.conn.JetStream.KeyValue(ctx, bucket)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("open the bucket of the store's nodes: %w", err)
	}
	return nil
}

// replaceFormer removes the presence that this node has left under its former name, if it was killed, and notes the name that it has
// now. Only one process may have the file.
func (m *members) replaceFormer(ctx context.Context) error {
	if m.cfg.MemberFile == "" {
		return nil
	}
	former, err := os.ReadFile(m.cfg.MemberFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the former name of this node: %w", err)
	}
	if name := string(former); memberName.MatchString(name) {
		ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
		if err := m.keyValue.Purge(ctx, name); err != nil {
			m.cfg.Logger.Warn("the other nodes find out later that this one was gone", "error", err)
		}
	}
	if err := os.WriteFile(m.cfg.MemberFile, []byte(m.self), 0o600); err != nil {
		return fmt.Errorf("note the name of this node: %w", err)
	}
	return nil
}

// announce writes this node's presence.
func (m *members) announce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	release, err := m.turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	if m.gone {
		return nil
	}
	reached := m.clock()
	m.mu.Lock()
	m.own.Time = reached
	body, err := proto.Marshal(m.own)
	m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("encode the presence of this node: %w", err)
	}
	if _, err = m.keyValue.Put(ctx, m.self, body); err != nil {
		return fmt.Errorf("announce this node to the others: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.alive(&m.announced, now)
	return nil
}

// alive moves one of the times that tell whether this node hears of the others. If it is long past, they have not been heard of
// because of that, and get time to be heard of again. m.mu is held.
func (m *members) alive(last *time.Time, now time.Time) {
	if now.Sub(*last) > m.cfg.MemberTTL/2 {
		for _, member := range m.seen {
			member.seen = now
		}
	}
	*last = now
}

// turn waits for the turn to announce something.
func (m *members) turn(ctx context.Context) (release func(), err error) {
	select {
	case m.announcing <- struct{}{}:
		return func() { <-m.announcing }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("announce this node to the others: the announcement before is not answered: %w", ctx.Err())
	}
}

// cutOff reports whether this node has not been able to say that it is there for so long that others may soon take it for gone.
func (m *members) cutOff(now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return now.Sub(m.announced) > m.cfg.MemberTTL*3/4
}

// announcedAt returns when this node was last able to say that it is there.
func (m *members) announcedAt() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.announced
}

// change changes this node's presence; announce makes it known.
func (m *members) change(change func(*pb.Presence)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m.own)
}

// leave removes this node's presence for good.
func (m *members) leave(ctx context.Context) error {
	if m.cutOff(time.Now()) {
		return slots.ErrCutOff
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	release, err := m.turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	m.gone = true
	return m.keyValue.Purge(ctx, m.self)
}

// track follows the bucket until ctx ends. Loaded is closed when all members are known that were there.
func (m *members) track(ctx context.Context, loaded chan<- struct{}) {
	for ctx.Err() == nil {
		watcher, err := m.keyValue.WatchAll(ctx)
		if err == nil {
			err = m.follow(ctx, watcher, &loaded)
			_ = watcher.Stop() // it may have ended by itself, and the bucket may be away
		}
		if ctx.Err() != nil {
			return
		}
		m.cfg.Logger.Warn("following the members of the store again", "error", err)
		select {
		case <-time.After(retryMax):
		case <-ctx.Done():
		}
	}
}

var errWatchEnded = errors.New("the watch of the members ended")

func (m *members) follow(ctx context.Context, watcher jetstream.KeyWatcher, loaded *chan<- struct{}) error {
	look := time.NewTicker(m.cfg.MemberTTL / 4)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			m.dropSilent(time.Now())
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return errWatchEnded
			case entry != nil:
				m.take(entry)
			case *loaded != nil:
				close(*loaded)
				*loaded = nil
			}
		}
	}
}

func (m *members) take(entry jetstream.KeyValueEntry) {
	id := entry.Key()
	presence := new(pb.Presence)
	if entry.Operation() != jetstream.KeyValuePut {
		presence = nil
	} else if err := proto.Unmarshal(entry.Value(), presence); err != nil {
		m.cfg.Logger.Warn("a node's presence cannot be read", "member", id, "error", err)
		return
	}
	ahead, at := false, presence.GetTime()
	if presence != nil && id != m.self {
		ahead = m.observe(at) != nil
		presence.Time = 0 // it is not for this that slots are looked at
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if id == m.self {
		m.alive(&m.heard, time.Now())
		return
	}
	old := m.seen[id]
	if ahead && (old == nil || !old.ahead) {
		m.cfg.Logger.Warn("the clock of another node is more than a day ahead of this one's and is not followed; set the one that is wrong, and "+
			"start its node again", "member", id, "name", presence.GetName(), "clock", readable(at))
	}
	switch {
	case presence == nil && old == nil:
		return
	case presence == nil:
		delete(m.seen, id)
	case old != nil && proto.Equal(old.presence, presence):
		old.seen, old.ahead = time.Now(), ahead
		return
	default:
		m.seen[id] = &member{presence, time.Now(), ahead}
	}
	m.notify()
}

// dropSilent forgets members that have not been heard of for too long.
func (m *members) dropSilent(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.announced) > m.cfg.MemberTTL/2 || now.Sub(m.heard) > m.cfg.MemberTTL/2 {
		return // it is this node that is cut off, or that hears of no other
	}
	for id, member := range m.seen {
		if now.Sub(member.seen) > m.cfg.MemberTTL {
			delete(m.seen, id)
			m.cfg.Logger.Warn("a node of the store is gone", "member", id)
			m.notify()
		}
	}
}

func (m *members) notify() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// present returns the members that are there, this node among them, as they are at one moment.
func (m *members) present() map[string]*pb.Presence {
	m.mu.Lock()
	defer m.mu.Unlock()
	present := map[string]*pb.Presence{m.self: proto.CloneOf(m.own)}
	for id, member := range m.seen {
		present[id] = member.presence
	}
	return present
}
