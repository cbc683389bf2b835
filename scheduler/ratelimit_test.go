package scheduler

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// limited returns what is needed to enter a gate: an invocation of a function with a limit for each value of its only argument.
func limited(limit *pb.RateLimit, value int) (*invocation, *wire.Invocation) {
	f := &pb.Function{Name: "f", Version: 1, RateLimit: limit}
	return new(invocation), &wire.Invocation{Steps: []wire.Step{{Function: f, Positional: 1}}, Values: [][]byte{text(fmt.Sprint(value))}}
}

// However calls come and leave, and whatever the limit: within no period are there more starts than it allows, calls of one key start in
// the order in which they came, and none is kept for longer than that takes.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type caller struct {
			turn    *turn
			value   int
			came    time.Time
			soonest time.Time // by what it was told when it came
		}
		limit := &pb.RateLimit{
			Starts:             rapid.OneOf(rapid.Uint32Range(1, 5), rapid.Uint32Range(60, 300)).Draw(t, "starts"),
			PeriodMilliseconds: rapid.Uint64Range(1, 2000).Draw(t, "period"), Key: "key", Position: 1,
		}
		starts, period := int(limit.GetStarts()), time.Duration(limit.GetPeriodMilliseconds())*time.Millisecond
		const tick = wheelTickMilliseconds * time.Millisecond
		now := time.Now()
		r := newRates(newTable(now))
		began := make(map[int][]time.Time)
		waiting := make(map[int][]*caller)
		begin := func(value int) {
			times := append(began[value], now)
			began[value] = times
			if n := len(times); n > starts && times[n-1].Sub(times[n-1-starts]) < period {
				t.Fatalf("%d starts within %v of %v", starts+1, times[n-1].Sub(times[n-1-starts]), period)
			}
		}
		pass := func(pause time.Duration) {
			for until := now.Add(pause); now.Before(until); {
				now = now.Add(min(tick, until.Sub(now)))
				for _, a := range r.table.due(now, nil) {
					for _, come := range r.open(a.gate, now) {
						var first *caller
						for value, queue := range waiting {
							if len(queue) > 0 && queue[0].turn == come {
								first, waiting[value] = queue[0], queue[1:]
							}
						}
						if first == nil {
							t.Fatal("not the one that has waited longest")
						}
						if now.Before(first.soonest) {
							t.Fatalf("it began %v before its turn", first.soonest.Sub(now))
						}
						begin(first.value)
					}
				}
				for value, queue := range waiting {
					// With one time for each start, a turn comes with the first tick that it can come with.
					if times := began[value]; starts <= marksMax && len(queue) > 0 && now.Sub(times[len(times)-starts]) >= period+tick {
						t.Fatalf("the next of %d waits, and the limit is not in the way", value)
					}
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"come": func(t *rapid.T) {
				value := rapid.IntRange(0, 2).Draw(t, "value")
				for range rapid.IntRange(1, 2*starts).Draw(t, "calls") {
					inv, sent := limited(limit, value)
					patience := time.Duration(rapid.IntRange(0, 5000).Draw(t, "patience")) * time.Millisecond
					place, err := r.enter(inv, limit, sent, now, patience)
					switch {
					case err != nil:
						if err.Code != pb.Code_CODE_NO_RESOURCES || err.RetryAfter <= 0 || len(began[value]) == 0 {
							t.Fatal(err)
						}
						again, at := limited(limit, value)
						if place, err := r.enter(again, limit, at, now, patience+err.RetryAfter); err != nil {
							t.Fatalf("with the time that it was told it lacks: %v", err)
						} else {
							r.leave(place)
						}
					case place == nil:
						if len(waiting[value]) > 0 {
							t.Fatal("it went before others")
						}
						begin(value)
					default:
						g := place.gate
						waiting[value] = append(waiting[value], &caller{turn: place, value: value, came: now, soonest: g.turnOf(g.waiting-1, now)})
						place.patience = time.Hour
					}
				}
			},
			"leave": func(t *rapid.T) {
				value := rapid.IntRange(0, 2).Draw(t, "value")
				if n := len(waiting[value]); n > 0 {
					i := rapid.IntRange(0, n-1).Draw(t, "which")
					r.leave(waiting[value][i].turn)
					r.leave(waiting[value][i].turn) // twice is once
					queue := append(waiting[value][:i:i], waiting[value][i+1:]...)
					for _, later := range queue[i:] {
						later.soonest = time.Time{} // it may go earlier now
					}
					waiting[value] = queue
				}
			},
			"wait": func(t *rapid.T) {
				pass(time.Duration(rapid.IntRange(0, 3000).Draw(t, "milliseconds")) * time.Millisecond)
			},
		})
		for range 10000 {
			left := 0
			for _, queue := range waiting {
				left += len(queue)
			}
			if left == 0 {
				break
			}
			pass(period + tick)
		}
		for value, queue := range waiting {
			if len(queue) > 0 {
				t.Fatalf("%d of %d wait for ever", len(queue), value)
			}
		}
		for _, g := range r.gates {
			if len(g.marks) > marksMax+1 {
				t.Fatalf("%d marks", len(g.marks))
			}
		}
	})
}

// The values of keys that are looked after are bounded; those that have not started for a period make room.
func TestTheGatesAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newRates(newTable(now))
	limit := &pb.RateLimit{Starts: 1, PeriodMilliseconds: 60_000, Key: "key", Position: 1}
	enter := func(value int) *wire.Error {
		inv, sent := limited(limit, value)
		_, err := r.enter(inv, limit, sent, now, time.Hour)
		return err
	}
	for i := range gatesMax {
		if err := enter(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := enter(gatesMax); err == nil || err.Code != pb.Code_CODE_NO_RESOURCES || err.RetryAfter <= 0 {
		t.Errorf("one too many: %v", err)
	}
	now = now.Add(time.Minute)
	if err := enter(gatesMax); err != nil || len(r.gates) != 1 {
		t.Errorf("%d gates, %v", len(r.gates), err)
	}
}

// What has waited past its patience, since its turn came later than it was told, ends, and uses no start.
func TestATurnThatComesTooLate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newRates(newTable(now))
	limit := &pb.RateLimit{Starts: 1, PeriodMilliseconds: 1000}
	inv, sent := limited(limit, 0)
	if place, err := r.enter(inv, limit, sent, now, 0); place != nil || err != nil {
		t.Fatalf("the first: %v, %v", place, err)
	}
	late, _ := r.enter(inv, limit, sent, now, time.Second)
	next, _ := r.enter(inv, limit, sent, now, time.Minute)
	come := r.open(late.gate, now.Add(time.Second+time.Millisecond))
	if len(come) != 2 || come[0] != late || come[1] != next {
		t.Errorf("%v have come", come)
	}
}

// The result of an upstream function is an argument like another, and an argument that is not given is like no value.
func TestTheKeyOfARateLimit(t *testing.T) {
	t.Parallel()
	limit := &pb.RateLimit{Key: "user", Position: 2}
	values := [][]byte{text("a"), tuple(text("b"), text("c")), text("d")}
	for _, test := range []struct {
		step wire.Step
		want []byte
	}{
		{wire.Step{Positional: 3}, values[1]},
		{wire.Step{Positional: 1, Keywords: []string{"x", "user"}}, values[2]},
		{wire.Step{Positional: 1, Keywords: []string{"x", "y"}}, nil},
		{wire.Step{Positional: 3, Spread: []uint32{1}}, values[1]},
	} {
		if got := keyed(limit, &test.step, values); string(got) != string(test.want) {
			t.Errorf("%+v: %q, want %q", test.step, got, test.want)
		}
	}
	if got := keyed(&pb.RateLimit{Key: "user"}, &wire.Step{Positional: 3}, values); got != nil {
		t.Errorf("by name only: %q", got)
	}
	if values[1][0] != codec.KindSequence {
		t.Error("not a tuple")
	}
}
