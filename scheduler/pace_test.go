package scheduler

import (
	"testing"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func TestWhenToComeBack(t *testing.T) {
	t.Parallel()
	p := new(pace)
	now := time.Now()
	if got := p.comeBack(1000); got != paceWindow {
		t.Errorf("before anything is known: %v", got)
	}
	pass := func(pause time.Duration, ended uint64) {
		now = now.Add(pause)
		p.look(now, ended)
	}
	pass(0, 100)
	pass(10*time.Millisecond, 200)
	pass(time.Second-10*time.Millisecond, 1100)
	for inFlight, want := range map[int64]time.Duration{16_000: 1001 * time.Millisecond, 16: comeBackMin, 1 << 40: comeBackMax} {
		if got := p.comeBack(inFlight); got != want {
			t.Errorf("1,000 end in a second, %d are in flight: %v, want %v", inFlight, got, want)
		}
	}
	pass(time.Hour, 2000) // the node had nothing to do for a while, which says nothing
	if got := p.comeBack(16_000); got != 1001*time.Millisecond {
		t.Errorf("after a pause: %v", got)
	}
	pass(time.Second, 2000)
	if got := p.comeBack(16_000); got != paceWindow {
		t.Errorf("none ends: %v", got)
	}
}

// A cancelled run makes room like any other.
func TestRunsThatEnd(t *testing.T) {
	t.Parallel()
	c := new(counters)
	for _, err := range []*wire.Error{nil, wire.Errorf(pb.Code_CODE_CANCELLED, "a test"), wire.Errorf(pb.Code_CODE_EXECUTION, "a test")} {
		c.ended(wire.Result{Err: err}, 0)
	}
	if n := c.ends(); n != 3 {
		t.Errorf("%d of 3 are counted", n)
	}
}
