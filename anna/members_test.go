package anna

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/wire/pb"
)

// acquainted returns what a node knows that has heard of another one, and said something itself, at a time.
func acquainted(now time.Time) *members {
	cfg := Config{MemberTTL: 8 * time.Second}.WithDefaults()
	return &members{
		cfg: &cfg, self: "self", changed: make(chan struct{}, 1), own: &pb.Presence{}, announced: now, heard: now,
		seen: map[string]*member{"other": {presence: &pb.Presence{}, seen: now}},
	}
}

// TestWhoIsTakenForGone: a node is missed when it has said nothing for as long as MemberTTL, but only by one that speaks and hears.
func TestWhoIsTakenForGone(t *testing.T) {
	t.Parallel()
	began := time.Now()
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	type moment struct {
		seconds       int
		speaks, hears bool // this node, just then
		other         bool // is heard of
		there         bool
	}
	for name, moments := range map[string][]moment{
		"it says nothing": {
			{seconds: 4, speaks: true, hears: true, there: true},
			{seconds: 8, speaks: true, hears: true, there: true},
			{seconds: 9, speaks: true, hears: true, there: false},
		},
		"it is heard of": {
			{seconds: 4, speaks: true, hears: true, other: true, there: true},
			{seconds: 8, speaks: true, hears: true, there: true},
			{seconds: 12, speaks: true, hears: true, there: true},
			{seconds: 13, speaks: true, hears: true, there: false},
		},
		"nobody is heard of": {
			{seconds: 4, speaks: true, there: true},
			{seconds: 8, speaks: true, there: true},
			{seconds: 12, speaks: true, there: true},
			{seconds: 16, speaks: true, there: true},
		},
		"nobody hears": {
			{seconds: 4, hears: true, there: true},
			{seconds: 8, hears: true, there: true},
			{seconds: 12, hears: true, there: true},
			{seconds: 16, hears: true, there: true},
		},
		"it was gone while nobody was heard of": {
			{seconds: 4, speaks: true, there: true},
			{seconds: 8, speaks: true, there: true},
			{seconds: 12, speaks: true, there: true},
			{seconds: 16, speaks: true, there: true},
			{seconds: 20, speaks: true, hears: true, there: true}, // it gets time to be heard of
			{seconds: 24, speaks: true, hears: true, there: true},
			{seconds: 28, speaks: true, hears: true, there: true},
			{seconds: 29, speaks: true, hears: true, there: false},
		},
		"it was gone while nobody heard": {
			{seconds: 4, hears: true, there: true},
			{seconds: 8, hears: true, there: true},
			{seconds: 12, hears: true, there: true},
			{seconds: 16, hears: true, there: true},
			{seconds: 20, speaks: true, hears: true, there: true},
			{seconds: 24, speaks: true, hears: true, there: true},
			{seconds: 28, speaks: true, hears: true, there: true},
			{seconds: 29, speaks: true, hears: true, there: false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := acquainted(began)
			for _, now := range moments {
				if now.speaks {
					m.alive(&m.announced, at(now.seconds))
				}
				if now.hears {
					m.alive(&m.heard, at(now.seconds))
				}
				if now.other {
					m.seen["other"].seen = at(now.seconds)
				}
				m.dropSilent(at(now.seconds))
				if there := m.present()["other"] != nil; there != now.there {
					t.Fatalf("after %d s it is there: %v", now.seconds, there)
				}
				if told := len(m.changed) > 0; told == now.there {
					t.Fatalf("after %d s the mover is told: %v", now.seconds, told)
				}
			}
		})
	}
}

// said is a node's presence as it comes from the bucket.
type said struct {
	jetstream.KeyValueEntry
	who string
}

func (s said) Key() string                     { return s.who }
func (s said) Value() []byte                   { return nil }
func (s said) Operation() jetstream.KeyValueOp { return jetstream.KeyValuePut }

// TestItIsHeard: what tells a node that it hears the others is what it has said itself, as it comes back.
func TestItIsHeard(t *testing.T) {
	t.Parallel()
	began := time.Now()
	m := acquainted(began.Add(-time.Hour))
	m.take(said{who: m.self})
	if m.heard.Before(began) || m.seen["other"].seen.Before(began) {
		t.Fatalf("heard at %v, the other at %v", m.heard, m.seen["other"].seen)
	}
	if m.announced.After(began) {
		t.Fatal("what is heard is taken for what has been said")
	}
}
