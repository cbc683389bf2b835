package consistency_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"cloudburst/lattice"
	"cloudburst/lattice/consistency"
)

const (
	replicas = 3
	sessions = 3
	keys     = 3
)

// world is a store of several replicas that gossip when it pleases them, and sessions that read and write at any of them.
type world struct {
	level    consistency.Level // that is promised
	intn     func(n int) int
	replicas [replicas]map[string]*lattice.State
	views    [sessions]*consistency.View
	clocks   [sessions]*lattice.Clock
	doomed   [sessions]consistency.History // what the transactions have written
	history  consistency.History
	values   int
}

func newWorld(promised, kept consistency.Level, intn func(n int) int) *world {
	w := &world{level: promised, intn: intn}
	for i := range w.replicas {
		w.replicas[i] = make(map[string]*lattice.State)
	}
	for i := range w.views {
		w.views[i] = consistency.NewView(kept, fmt.Sprint("s", i))
		w.clocks[i] = lattice.NewClock(uint64(i + 1))
	}
	return w
}

func (w *world) at(replica int, key string) *lattice.State {
	if w.replicas[replica][key] == nil {
		w.replicas[replica][key] = new(lattice.State)
	}
	return w.replicas[replica][key]
}

func (w *world) step() error {
	session, replica, key := w.intn(sessions), w.intn(replicas), fmt.Sprint("k", w.intn(keys))
	switch w.intn(6) {
	case 0, 1:
		return w.read(session, replica, key)
	case 2, 3:
		return w.write(session, replica, key)
	case 4:
		return w.end(session, replica)
	default:
		w.at(w.intn(replicas), key).Merge(w.at(replica, key).Clone())
		return nil
	}
}

func (w *world) read(session, replica int, key string) error {
	v := w.views[session]
	shown, ok, err := v.Read(key, w.at(replica, key))
	for other := 0; err == nil && !ok; other++ { // wait: the others will have it
		if other == replicas {
			return fmt.Errorf("key %s: no replica has what session %d depends on", key, session)
		}
		w.at(replica, key).Merge(w.at(other, key).Clone())
		shown, ok, err = v.Read(key, w.at(replica, key))
	}
	if err != nil {
		return err
	}
	if !shown.Deleted().IsZero() || shown.Lattice != nil {
		if err := w.clocks[session].Observe(shown.Latest(), 1); err != nil {
			return err
		}
	}
	w.history = append(w.history, consistency.Event{Session: session, Kind: consistency.DidRead, Key: key, State: shown.Clone()})
	return nil
}

// write puts a last-writer-wins value under k0, and adds to and removes from sets under the others.
func (w *world) write(session, replica int, key string) error {
	w.values++
	value := fmt.Appendf(nil, "v%d", w.values)
	stamp := w.clocks[session].Now(1)
	var delta *lattice.State
	switch {
	case w.level.Has(consistency.Causal):
		version := w.views[session].Version(key, value)
		delta = lattice.NewState(lattice.Timestamp{}, lattice.Expiry{}, lattice.NewCausal(lattice.Timestamp{}, version))
	case key == "k0":
		delta = lattice.Put(stamp, value)
	case w.intn(4) == 0:
		delta = lattice.SetRemove(stamp, fmt.Appendf(nil, "v%d", 1+w.intn(w.values)))
	default:
		delta = lattice.SetAdd(stamp, value)
	}
	event := consistency.Event{Session: session, Kind: consistency.DidWrite, Key: key, State: delta.Clone()}
	sent, err := w.views[session].Write(key, delta)
	if err != nil {
		return err
	}
	if w.level.Has(consistency.ReadCommitted) {
		w.doomed[session] = append(w.doomed[session], event)
	}
	if sent == nil {
		// In the transaction, but nowhere else, the write is seen at once.
		w.history = append(w.history, event)
		return nil
	}
	w.at(replica, key).Merge(sent)
	w.history = append(w.history, event)
	return nil
}

// end commits or aborts.
func (w *world) end(session, replica int) error {
	v := w.views[session]
	if w.level.Has(consistency.ReadCommitted) && w.intn(2) == 0 {
		v.Abort()
		for _, e := range w.doomed[session] {
			e.Kind = consistency.DidAbort
			w.history = append(w.history, e)
		}
	} else {
		deleted := w.clocks[session].Now(1)
		deltas := v.Commit(deleted, w.clocks[session].Now(1))
		for key, delta := range deltas {
			w.at(replica, key).Merge(delta.Clone())
		}
		if err := v.Committed(deltas); err != nil {
			return err
		}
	}
	w.doomed[session] = nil
	w.history = append(w.history, consistency.Event{Session: session, Kind: consistency.DidEnd})
	return nil
}

var promises = []consistency.Level{
	consistency.ItemCut, consistency.ReadYourWrites, consistency.MonotonicReads, consistency.MonotonicWrites,
	consistency.WritesFollowReads, consistency.Session, consistency.Session | consistency.ItemCut, consistency.Causal,
}

// Whatever the replicas do, sessions get what their level promises.
func TestPromisesAreKept(t *testing.T) {
	t.Parallel()
	for _, level := range promises {
		t.Run(level.String(), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				w := newWorld(level, level, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") })
				for range rapid.IntRange(1, 80).Draw(t, "steps") {
					if err := w.step(); err != nil {
						t.Fatal(err)
					}
				}
				for _, fault := range w.history.Check(level) {
					t.Error(fault)
				}
			})
		})
	}
}

// Sessions that keep nothing are caught by the checker, of each promise.
func TestBrokenPromisesAreCaught(t *testing.T) {
	t.Parallel()
	for _, level := range promises {
		if !caught(t, level, 0) {
			t.Errorf("%v: no fault found in sessions that keep no promise", level)
		}
	}
}

func caught(t *testing.T, promised, kept consistency.Level) bool {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(promised, kept, random.IntN)
		for range 80 {
			if err := w.step(); err != nil {
				t.Fatal(err)
			}
		}
		if len(w.history.Check(promised)) > 0 {
			return true
		}
	}
	return false
}

// A transaction that is not committed is not seen by others, and an aborted one never is.
func TestReadCommitted(t *testing.T) {
	t.Parallel()
	run := func(kept consistency.Level, intn func(int) int) []error {
		w := newWorld(consistency.ReadCommitted, kept, intn)
		for range 60 {
			if err := w.step(); err != nil {
				return []error{err}
			}
			// A reader without a session sees every replica.
			for replica := range replicas {
				w.history = append(w.history, consistency.Event{Session: sessions, Kind: consistency.DidRead, Key: "k0", State: w.at(replica, "k0").Clone()})
			}
		}
		var others consistency.History // a transaction sees its own
		for _, e := range w.history {
			if e.Kind != consistency.DidRead || e.Session == sessions {
				others = append(others, e)
			}
		}
		return others.Check(consistency.ReadCommitted)
	}
	rapid.Check(t, func(t *rapid.T) {
		for _, fault := range run(consistency.ReadCommitted, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }) {
			t.Error(fault)
		}
	})
	for seed := range uint64(300) {
		if len(run(0, rand.New(rand.NewPCG(seed, 1)).IntN)) > 0 {
			return
		}
	}
	t.Error("writes that are not kept back were not caught")
}

// All writes of a transaction have one stamp, and what it did to one key in turn stays in turn.
func TestCommitHasOneStamp(t *testing.T) {
	t.Parallel()
	clock := lattice.NewClock(1)
	v := consistency.NewView(consistency.ReadCommitted, "s")
	write := func(key string, delta *lattice.State) {
		if sent, err := v.Write(key, delta); err != nil || sent != nil {
			t.Fatal(sent, err)
		}
	}
	write("a", lattice.Put(clock.Now(1), []byte("z")))
	write("a", lattice.Put(clock.Now(1), []byte("y")))
	write("b", lattice.SetAdd(clock.Now(1), []byte("x"), []byte("y")))
	write("b", lattice.SetRemove(clock.Now(1), []byte("x")))
	write("b", lattice.SetAdd(clock.Now(1), []byte("x")))
	write("b", lattice.SetRemove(clock.Now(1), []byte("y")))
	write("c", lattice.Put(clock.Now(1), []byte("1")))
	write("c", lattice.Delete(clock.Now(1)))
	write("c", lattice.Put(clock.Now(1), []byte("2")))
	deleted := clock.Now(2)
	stamp := clock.Now(2)
	deltas := v.Commit(deleted, stamp)
	if l := deltas["a"].Lattice.(*lattice.LWW); l.Timestamp != stamp || string(l.Value) != "y" {
		t.Errorf("a: %v", l)
	}
	set := deltas["b"].Lattice.(*lattice.Set)
	for member, mark := range set.Marks() {
		if mark.Stamp != stamp || mark.Removed != (member == "y") {
			t.Errorf("b: %s %v", member, mark)
		}
	}
	if l := deltas["c"].Lattice.(*lattice.LWW); l.Timestamp != stamp || string(l.Value) != "2" || deltas["c"].Deleted() != deleted {
		t.Errorf("c: %v", deltas["c"])
	}
	if err := v.Committed(deltas); err != nil || len(v.Pending()) != 0 {
		t.Errorf("after the commit: %v %v", v.Pending(), err)
	}
}

func TestLevelsHaveNames(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		level := consistency.Level(rapid.Uint16Range(0, 1<<7-1).Draw(t, "level"))
		if got, err := consistency.Parse(level.String()); err != nil || got != level {
			t.Errorf("%v: %v %v", level, got, err)
		}
	})
	if l, err := consistency.Parse("session+item_cut"); err != nil || l != consistency.Session|consistency.ItemCut {
		t.Error(l, err)
	}
	if _, err := consistency.Parse("serializable"); err == nil {
		t.Error("serializable was taken for a level")
	}
	if consistency.Level(1<<7).Check() == nil || consistency.Session.Check() != nil {
		t.Error("Check")
	}
}
