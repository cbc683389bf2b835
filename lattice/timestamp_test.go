package lattice

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestClock(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clock := NewClock(7)
		var last Timestamp
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			now := rapid.Int64Range(-5, 1_000).Draw(t, "now")
			if rapid.Bool().Draw(t, "observe") {
				foreign := Timestamp{Time: rapid.Uint64Range(0, 2_000<<counterBits).Draw(t, "foreign"), Writer: 9}
				if err := clock.Observe(foreign, now); err != nil {
					t.Fatal(err)
				}
				last = later(last, foreign)
			}
			if rapid.Bool().Draw(t, "follow") {
				own := rapid.Uint64Range(0, 3*ClockAheadMicrosMax<<counterBits).Draw(t, "own")
				clock.Follow(own)
				last = later(last, Timestamp{Time: own, Writer: 1<<64 - 1})
			}
			if reached := clock.Reached(now); reached < last.Time || reached < physical(now) || clock.Reached(0) > reached {
				t.Fatalf("reached %d at %d after %v", reached, now, last)
			}
			stamp := clock.Now(now)
			if !last.Less(stamp) || stamp.Writer != clock.Writer() || stamp.UnixMicro() < now {
				t.Fatalf("%v at %d after %v", stamp, now, last)
			}
			last = stamp
		}
	})
}

func TestClockRefusesTheFarFuture(t *testing.T) {
	t.Parallel()
	const now = 1_790_000_000_000_000
	clock := NewClock(1)
	if err := clock.Observe(Timestamp{Time: (now + ClockAheadMicrosMax) << counterBits}, now); err != nil {
		t.Fatalf("a day ahead: %v", err)
	}
	ahead := clock.Now(now)
	if err := clock.Observe(Timestamp{Time: (now+ClockAheadMicrosMax)<<counterBits + 2}, now); !errors.Is(err, ErrClockAhead) {
		t.Fatalf("more than a day ahead: %v", err)
	}
	if next := clock.Now(now); next.Time != ahead.Time+1 {
		t.Fatalf("pulled to %v by a stamp that was refused", next)
	}
	if err := NewClock(1).Observe(Timestamp{Time: 1<<64 - 1}, now); !errors.Is(err, ErrClockAhead) {
		t.Fatalf("the last stamp there is: %v", err)
	}
}

func TestTimestampOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := stamps.Draw(t, "a"), stamps.Draw(t, "b")
		if a.Less(b) != (a.Compare(b) < 0) || a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v", a, b)
		}
	})
	if got := (Timestamp{Time: 1_790_000_000_000_001<<counterBits + 3, Writer: 0xab}).String(); got != "1790000000.000001+3@ab" {
		t.Error(got)
	}
}
