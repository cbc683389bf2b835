package simulation

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// oracle remembers what was written and promised.
type oracle struct {
	operations []*operation
	saw        map[sight]lattice.Timestamp
	wrong      error // the first thing that a reader should not have seen
}

// operation is a write by a client.
type operation struct {
	number  int
	key     string
	node    *node // that made it, nil if none has
	via     *node // that a client asked for it, if that is another
	viaLife int
	durable bool
	add     int64
	member  []byte // of a set
	value   []byte
	deletes bool
	// stamp is the one that the kernel gave it; zero when that is not known. It is at most upTo.
	stamp   lattice.Timestamp
	upTo    lattice.Timestamp
	reached lattice.Timestamp // where the clocks were when it was answered, or the process that it was asked of ended
	present bool              // the member was added, not removed
	acked   bool              // as durable, or in memory and then in the log
	refused bool
}

// sight is a process's reading of a key.
type sight struct {
	writer uint64
	key    string
}

func newOracle() *oracle { return &oracle{saw: map[sight]lattice.Timestamp{}} }

func (o *oracle) next() int { return len(o.operations) + 1 }

func (o *oracle) issued(op *operation) { o.operations = append(o.operations, op) }

// answered takes note of an answer. Latest is the clock that is furthest ahead, by which every kernel's stamps may have been pulled
// forward, and some for counting: so that of the write is no later.
func (op *operation) answered(err error, latest int64) {
	op.ended(latest)
	switch {
	case err != nil:
		op.refused = true
	case op.durable:
		op.acked = true
	}
}

// ended takes note that a write is not made any more.
func (op *operation) ended(latest int64) {
	op.reached = lattice.Timestamp{Time: uint64(latest+millisecond) << 12}
	if op.upTo == unbounded {
		op.upTo = op.reached
	}
}

// stamped finds out which stamp a write got from what the key holds right after it.
func (o *oracle) stamped(op *operation, s *lattice.State) {
	switch l := s.Lattice.(type) {
	case *lattice.LWW:
		if op.value != nil && bytes.Equal(l.Value, op.value) {
			op.stamp = l.Timestamp
		}
	case *lattice.Set:
		if op.member == nil {
			break
		}
		for member, mark := range l.Marks() {
			if member == string(op.member) {
				op.stamp, op.upTo, op.present = mark.Stamp, mark.Stamp, l.Contains(op.member)
			}
		}
	}
	if op.deletes {
		op.stamp, op.upTo = s.Deleted(), s.Deleted()
	}
}

// unseen takes note of a deletion or removal whose stamp is not shown. It may yet be made, until it is answered.
func (o *oracle) unseen(op *operation) {
	if op.upTo = unbounded; !op.reached.IsZero() {
		op.upTo = op.reached
	}
}

var unbounded = lattice.Timestamp{Time: math.MaxUint64}

// seen checks that what a process shows of a key never becomes older, unless it was deleted meanwhile.
func (o *oracle) seen(n *node, key string, s *lattice.State) {
	lww, ok := s.Lattice.(*lattice.LWW)
	if !ok {
		return
	}
	at := sight{n.writer, key}
	if before := o.saw[at]; lww.Timestamp.Less(before) && o.wrong == nil {
		o.wrong = fmt.Errorf("%v showed %v of %s after it had shown %v", n, lww.Timestamp, key, before)
	}
	o.saw[at] = lww.Timestamp
}

// covers reports whether a deletion or a later write that may have happened explains that a write is not shown.
func (o *oracle) covers(op *operation) bool {
	return slices.ContainsFunc(o.operations, func(other *operation) bool {
		if other.key != op.key || other == op {
			return false
		}
		switch {
		case other.deletes:
			return !other.upTo.Less(op.stamp)
		case op.member != nil:
			return bytes.Equal(op.member, other.member) && !other.upTo.Less(op.stamp)
		}
		return false
	})
}

// lost returns what is missing of what was promised, given what a key holds in the end.
func (o *oracle) lost(key string, live lattice.Lattice) error {
	least, most := int64(0), int64(0)
	for _, op := range o.operations {
		if op.key != key {
			continue
		}
		if op.add != 0 {
			if op.node != nil {
				most += op.add
			}
			if op.acked {
				least += op.add
			}
			continue
		}
		if !op.acked || op.stamp.IsZero() {
			continue
		}
		switch {
		case key[0] == 'x': // may have expired
		case op.deletes:
			if lww, ok := live.(*lattice.LWW); ok && lww.Timestamp.Less(op.stamp) {
				return fmt.Errorf("%s shows %q of %v, which write %d deleted at %v", key, lww.Value, lww.Timestamp, op.number, op.stamp)
			}
		case op.value != nil:
			lww, ok := live.(*lattice.LWW)
			if (!ok || lww.Timestamp.Less(op.stamp)) && !o.covers(op) {
				return fmt.Errorf("write %d of %q at %v was acknowledged, and %s shows %s", op.number, op.value, op.stamp, key, describe(live))
			}
		case op.member != nil:
			set, ok := live.(*lattice.Set)
			if (ok && set.Contains(op.member)) != op.present && !o.covers(op) {
				return fmt.Errorf("write %d of member %q (there: %v) at %v was acknowledged, and %s shows %s",
					op.number, op.member, op.present, op.stamp, key, describe(live))
			}
		}
	}
	if counter, ok := live.(*lattice.Counter); key[0] == 'n' && most > 0 {
		value := int64(0)
		if ok {
			value = counter.Value()
		}
		if value < least || value > most {
			return fmt.Errorf("%s is %d; %d was acknowledged, and %d was added in all", key, value, least, most)
		}
	}
	return nil
}

// check holds what there is at the end against what was promised. The world is at rest.
func (w *world) check() error {
	if w.oracle.wrong != nil {
		return w.oracle.wrong
	}
	// A process that knows nothing but the log.
	fresh := &node{w: w, number: len(w.nodes)}
	w.fresh = fresh
	fresh.study()
	for range 4 {
		w.pass(2 * second)
	}
	for _, key := range keys {
		if err := w.agree(key, fresh); err != nil {
			return err
		}
	}
	if err := w.spread(); err != nil {
		return err
	}
	for _, n := range w.nodes {
		if n.kernel == nil {
			continue
		}
		for range 200 {
			n.step(&kernel.Tick{})
		}
		if s := n.kernel.Stats(); s.Bytes > memoryBytesMax && s.Cold < s.Keys {
			// Keys with expiries, tombstones and caches have to stay; the rest fits.
			if evictable := n.evictable(); evictable > 0 {
				return fmt.Errorf("%v holds %d bytes, the bound is %d, and %d keys could be left to the log", n, s.Bytes, memoryBytesMax, evictable)
			}
		}
	}
	return nil
}

// agree checks that all who serve a key show the same of it, and their caches and the log too, and that nothing is missing.
func (w *world) agree(key string, fresh *node) error {
	var first *node
	var firstShown string
	for _, n := range append(slices.Clone(w.nodes), fresh) {
		switch {
		case n == fresh && key[0] == 't', n != fresh && !n.takes(slotOf(key)):
			continue
		}
		for _, op := range n.fleeting {
			op.acked = true
		}
		state, err := n.show(key)
		if err != nil {
			return err
		}
		live := live(state, w.now)
		shown := describe(live)
		if first == nil {
			first, firstShown = n, shown
			if err := w.oracle.lost(key, live); err != nil {
				return err
			}
		} else if shown != firstShown {
			return fmt.Errorf("%v shows %s of %s, and %v %s", n, shown, key, first, firstShown)
		}
		if cached := n.cache[key]; cached != nil {
			if got := describe(cached.Live(w.now / 1000)); got != shown {
				return fmt.Errorf("the cache of %v holds %s of %s, and its kernel %s", n, got, key, shown)
			}
		}
	}
	for _, n := range w.nodes {
		if n.kernel == nil {
			continue
		}
		if err := n.replicaAgrees(key, firstShown); err != nil {
			return err
		}
	}
	return nil
}

// spread checks that the slots are served by those whom the table has for them, and by nobody else, and that one leads each.
func (w *world) spread() error {
	table := slots.NewTable(slotCount, w.masters, w.there())
	for _, n := range w.nodes {
		if n.kernel == nil {
			continue
		}
		for slot := range uint16(slotCount) {
			want := tenureOf(table[slot], n.id)
			if got := n.kernel.Tenure(slot); got != want || n.takes(slot) != (want != slots.Stranger) {
				return fmt.Errorf("%v is %d to slot %d, and serves it: %v; it is to be %d", n, got, slot, n.takes(slot), want)
			}
			p := w.bucket.find(n.id)
			if leads, serves := p.leads.has(slot), p.serves.has(slot); leads != (want == slots.Leading) || serves != (want != slots.Stranger) {
				return fmt.Errorf("%v is %d to slot %d, and says that it leads it: %v, and that it serves it: %v", n, want, slot, leads, serves)
			}
			for _, key := range keys {
				if _, found := n.kernel.Held(key); want == slots.Stranger && slotOf(key) == slot && found != kernel.Absent {
					return fmt.Errorf("%v is no master of %s and keeps it", n, key)
				}
			}
		}
	}
	return nil
}

// evictable counts the keys that are in memory though the log holds them.
func (n *node) evictable() int {
	count := 0
	for _, key := range keys {
		if _, found := n.kernel.Get(n.now(), key); found == kernel.Here && n.cache[key] == nil && !n.lent[key] {
			count++
		}
	}
	// Get spares a key for one round of the sweep.
	return max(0, count-len(keys))
}

// show returns what a key holds at a node, from the log if it has to.
func (n *node) show(key string) (*lattice.State, error) {
	for range 100 {
		state, found := n.kernel.Get(n.now(), key)
		switch found {
		case kernel.Here:
			return state.Clone(), nil
		case kernel.Absent:
			return nil, nil
		}
		n.step(&kernel.Read{Key: key})
		n.w.pass(10 * millisecond)
	}
	return nil, fmt.Errorf("%v does not read %s from the log", n, key)
}

func live(s *lattice.State, now int64) lattice.Lattice {
	if s == nil {
		return nil
	}
	return s.Live(now / 1000)
}

func describe(l lattice.Lattice) string {
	switch l := l.(type) {
	case *lattice.LWW:
		return fmt.Sprintf("%q of %v", l.Value, l.Timestamp)
	case *lattice.Set:
		return fmt.Sprintf("%q", l.Members())
	case *lattice.Counter:
		return fmt.Sprint(l.Value())
	}
	return "nothing"
}

// content is all that a state holds.
func content(s *lattice.State) string {
	if s == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s, deleted up to %v, which expires at %v", describe(s.Lattice), s.Deleted(), s.Expiry())
}
