package executor

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// queueModel says slowly what a queue does: the clients in the order of their turns, each with its invocations in any order.
type queueModel struct {
	clients []uint64
	waiting map[uint64][]*invocation
}

func (m *queueModel) push(t *invocation) {
	c := t.inv.Client
	if len(m.waiting[c]) == 0 {
		m.clients = append(m.clients, c)
	}
	m.waiting[c] = append(m.waiting[c], t)
}

func (m *queueModel) first() *invocation {
	if len(m.clients) == 0 {
		return nil
	}
	return slices.MinFunc(m.waiting[m.clients[0]], func(a, b *invocation) int {
		return cmp.Or(-cmp.Compare(a.inv.Priority, b.inv.Priority), -cmp.Compare(a.inv.Depth, b.inv.Depth), cmp.Compare(a.place, b.place))
	})
}

func (m *queueModel) remove(t *invocation) {
	c := t.inv.Client
	left := slices.DeleteFunc(m.waiting[c], func(other *invocation) bool { return other == t })
	m.waiting[c] = left
	if len(left) == 0 {
		m.clients = slices.DeleteFunc(m.clients, func(other uint64) bool { return other == c })
	}
}

func (m *queueModel) pop() *invocation {
	t := m.first()
	if t != nil {
		m.remove(t)
		if len(m.clients) > 0 && m.clients[0] == t.inv.Client {
			m.clients = append(m.clients[1:], m.clients[0])
		}
	}
	return t
}

func (m *queueModel) all() []*invocation {
	var all []*invocation
	for _, waiting := range m.waiting {
		all = append(all, waiting...)
	}
	slices.SortFunc(all, func(a, b *invocation) int { return cmp.Compare(a.place, b.place) })
	return all
}

// someInvocation draws an invocation out of few clients, priorities, depths, runs and functions, so that they meet.
func someInvocation(t *rapid.T) *invocation {
	concurrency := rapid.IntRange(0, 2).Draw(t, "concurrency")
	return &invocation{inv: &wire.Invocation{
		RunID:    wire.RunID{byte(rapid.IntRange(0, 5).Draw(t, "run"))},
		Client:   rapid.Uint64Range(0, 3).Draw(t, "client"),
		Priority: rapid.Int32Range(-1, 1).Draw(t, "priority"),
		Depth:    rapid.IntRange(0, 2).Draw(t, "depth"),
		Steps:    []wire.Step{{Function: &pb.Function{Name: fmt.Sprint("f", concurrency), Version: 1, Concurrency: uint32(concurrency)}}},
	}}
}

func TestTheQueueIsServedAsItSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		model := queueModel{waiting: make(map[uint64][]*invocation)}
		var served []*invocation
		places := uint64(0)
		some := func(from []*invocation) *invocation {
			if len(from) == 0 {
				t.Skip("there is none")
			}
			return rapid.SampledFrom(from).Draw(t, "one")
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				places++
				one := someInvocation(t)
				one.place, one.queued = places, time.Unix(int64(places), 0)
				q.push(one)
				model.push(one)
			},
			"pop": func(t *rapid.T) {
				got, want := q.pop(), model.pop()
				if got != want {
					t.Fatalf("served %+v, not %+v", got, want)
				}
				if got != nil {
					served = append(served, got)
				}
			},
			"again": func(*rapid.T) {
				one := some(served)
				served = slices.DeleteFunc(served, func(other *invocation) bool { return other == one })
				q.push(one)
				model.push(one)
			},
			"remove": func(*rapid.T) {
				one := some(model.all())
				q.remove(one)
				model.remove(one)
			},
			"take a run": func(t *rapid.T) {
				run := wire.RunID{byte(rapid.IntRange(0, 5).Draw(t, "run"))}
				for _, one := range q.takeRun(run) {
					if one.inv.RunID != run {
						t.Fatalf("took %v, not %v", one.inv.RunID, run)
					}
					model.remove(one)
				}
				for _, one := range model.all() {
					if one.inv.RunID == run {
						t.Fatalf("left %+v", one)
					}
				}
			},
			"take some": func(*rapid.T) {
				for _, one := range q.takeIf(func(one *invocation) bool { return one.place%3 == 0 }) {
					model.remove(one)
				}
			},
			"": func(t *rapid.T) {
				all := model.all()
				if q.count != len(all) || q.first() != model.first() || len(q.clients) != len(model.clients) {
					t.Fatalf("%d invocations of %d clients wait, want %d of %d", q.count, len(q.clients), len(all), len(model.clients))
				}
				if len(all) > 0 && q.oldest() != all[0] {
					t.Fatalf("the oldest is %+v, want %+v", q.oldest(), all[0])
				}
				indexed := 0
				for _, one := range q.runs {
					for ; one != nil; one = one.sameRun {
						indexed++
					}
				}
				if indexed != len(all) {
					t.Fatalf("%d of %d are found by their runs", indexed, len(all))
				}
			},
		})
		for q.pop() != nil {
		}
		if q.turn != nil || len(q.clients) != 0 || len(q.runs) != 0 {
			t.Fatalf("an empty queue holds on to something: %+v", q)
		}
	})
}

func TestLimitsInTheQueue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := newLane(10)
		waiting := make(map[*invocation]bool)
		running := make(map[string][]*invocation)
		begin := func(t *rapid.T, one *invocation) {
			if !waiting[one] {
				t.Fatalf("%+v begins, which does not wait", one)
			}
			delete(waiting, one)
			f := one.inv.Steps[0].Function
			running[f.GetName()] = append(running[f.GetName()], one)
			if limit := int(f.GetConcurrency()); limit > 0 && len(running[f.GetName()]) > limit {
				t.Fatalf("%d run at once of a function with the limit %d", len(running[f.GetName()]), limit)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				one := someInvocation(t)
				if queued := l.push(one); queued != (len(waiting) < l.queueMax) {
					t.Fatalf("with %d of at most %d: %v", len(waiting), l.queueMax, queued)
				} else if queued {
					waiting[one] = true
				}
			},
			"pop": func(t *rapid.T) {
				if one := l.pop(); one != nil {
					begin(t, one)
					return
				}
				for one := range waiting {
					if f := one.limited(); f == nil || len(running[f.GetName()]) < int(f.GetConcurrency()) {
						t.Fatalf("%+v could begin", one)
					}
				}
			},
			"claim": func(t *rapid.T) {
				run := wire.RunID{byte(rapid.IntRange(0, 5).Draw(t, "run"))}
				if one := l.claim(run); one != nil {
					begin(t, one)
				}
			},
			"end": func(t *rapid.T) {
				name := rapid.SampledFrom([]string{"f0", "f1", "f2"}).Draw(t, "function")
				if n := len(running[name]); n > 0 {
					one := running[name][n-1]
					running[name] = running[name][:n-1]
					l.exit(one)
					if rapid.Bool().Draw(t, "again") {
						one.inv.Again = true
						l.push(one)
						waiting[one] = true
					}
				}
			},
			"take some": func(t *rapid.T) {
				client := rapid.Uint64Range(0, 3).Draw(t, "client")
				for _, one := range l.takeIf(func(one *invocation) bool { return one.inv.Client == client }) {
					delete(waiting, one)
				}
			},
			"take a run": func(t *rapid.T) {
				for _, one := range l.takeRun(wire.RunID{byte(rapid.IntRange(0, 5).Draw(t, "run"))}) {
					delete(waiting, one)
				}
			},
			"": func(t *rapid.T) {
				if l.waiting() != len(waiting) {
					t.Fatalf("%d wait, want %d", l.waiting(), len(waiting))
				}
			},
		})
		for name := range l.limits {
			if len(running[name]) == 0 && l.limits[name].parked.count == 0 {
				t.Fatalf("the limit of %s is kept for nothing", name)
			}
		}
	})
}

// What runs again has waited before, so it goes first, and is let into a full queue.
func TestWhatRunsAgainGoesFirst(t *testing.T) {
	t.Parallel()
	l := newLane(2)
	one := func(again bool) *invocation {
		return &invocation{inv: &wire.Invocation{Again: again, Steps: []wire.Step{{Function: &pb.Function{Name: "f", Version: 1}}}}}
	}
	first, second, third, fourth := one(false), one(false), one(true), one(true)
	equal(t, l.push(first) && l.push(second) && l.push(third) && l.push(fourth), true)
	equal(t, l.push(one(false)), false)
	for _, want := range []*invocation{third, fourth, first, second} {
		equal(t, l.pop() == want, true)
	}
}

// Of a function with a limit, the one that went back to the queue is taken out of it before it begins: the next parked one goes back for it.
func TestWhatIsTakenLetsTheNextParkedOneBegin(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(*lane) []*invocation{
		"by client": func(l *lane) []*invocation {
			return l.takeIf(func(one *invocation) bool { return one.inv.Client == 2 })
		},
		"by run": func(l *lane) []*invocation { return l.takeRun(wire.RunID{2}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLane(10)
			f := &pb.Function{Name: "f", Version: 1, Concurrency: 1}
			invocations := make([]*invocation, 3)
			for i := range invocations {
				n := byte(i + 1)
				invocations[i] = &invocation{inv: &wire.Invocation{RunID: wire.RunID{n}, Client: uint64(n), Steps: []wire.Step{{Function: f}}}}
				equal(t, l.push(invocations[i]), true)
			}
			first, second, third := invocations[0], invocations[1], invocations[2]
			equal(t, l.pop() == first, true)
			equal(t, l.pop() == nil, true)
			l.exit(first)
			taken := take(l)
			equal(t, len(taken) == 1 && taken[0] == second, true)
			equal(t, l.pop() == third, true)
		})
	}
}
