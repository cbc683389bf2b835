package resp

import (
	"cloudburst/anna/kernel"
	"cloudburst/codec"
	"cloudburst/lattice"
)

func saddCommand(c *conn, args [][]byte) { c.changeSet(args, makeSetAdd) }
func sremCommand(c *conn, args [][]byte) { c.changeSet(args, makeSetRemove) }

func (c *conn) changeSet(args [][]byte, how maker) {
	key, ok := c.writableKey(args[1])
	if !ok {
		return
	}
	p := c.loop.begin(c)
	p.answer = answerSum
	p.change.make = how
	if c.server.cfg.SoleMaster {
		p.change.flags = unlessThere
	}
	for _, arg := range args[2:] {
		p.change.member(arg, 0)
	}
	c.put(p, kernel.Write{Key: key, Make: p})
	c.await(p)
}

// makeSetAdd implements SADD. What is there already is added again all the same when another master may be removing it just
// now.
func makeSetAdd(ch *change, held *lattice.State, _ lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	set, err := liveSet(held, nowMillis)
	if err != nil {
		return nil, 0, err
	}
	var delta *lattice.Set
	added := int64(0)
	for _, m := range ch.members {
		there := set != nil && contains(set, m.value)
		if there && ch.flags.has(unlessThere) {
			continue
		}
		if delta == nil {
			delta = new(lattice.Set)
		}
		if delta.Add(lattice.Timestamp{}, m.value) && !there {
			added++
		}
	}
	if delta == nil {
		return nil, 0, nil
	}
	return &lattice.State{Lattice: delta}, added, nil
}

func makeSetRemove(ch *change, held *lattice.State, _ lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	set, err := liveSet(held, nowMillis)
	if set == nil || err != nil {
		return nil, 0, err
	}
	delta, removed := new(lattice.Set), int64(0)
	for _, m := range ch.members {
		there := false
		for i := range memberForms {
			if form := formOf(nil, m.value, i); form != nil && set.Contains(form) {
				there = delta.Remove(lattice.Timestamp{}, form) || there
			}
		}
		if there {
			removed++
		}
	}
	if removed == 0 {
		return nil, 0, nil
	}
	return &lattice.State{Lattice: delta}, removed, nil
}

// encoded is encode for what is needed up to the next call of it.
func (c *conn) encoded(content []byte) []byte {
	l := c.loop
	if cap(l.member) > pendingKeepMax {
		l.member = nil
	}
	l.member = appendEncoded(l.member[:0], content)
	return l.member
}

// liveSet returns the set that a key shows, nil when it shows nothing.
func liveSet(held *lattice.State, nowMillis int64) (*lattice.Set, error) {
	if held == nil {
		return nil, nil
	}
	switch live := held.Live(nowMillis).(type) {
	case nil:
		return nil, nil
	case *lattice.Set:
		return live, nil
	default:
		return nil, wrongType(live)
	}
}

// contains reports whether a member is there in any form.
func contains(set *lattice.Set, member []byte) bool {
	var scratch [scratchBytes]byte
	for i := range memberForms {
		if form := formOf(scratch[:0], member, i); form != nil && set.Contains(form) {
			return true
		}
	}
	return false
}

// scratchBytes is room for most members.
const scratchBytes = 64

// viewSet lets read see the set under a key, nil if there is none. It answers the error and returns false when the key holds
// something else or is not in memory.
func (c *conn) viewSet(key []byte, read func(*lattice.Set)) bool {
	var failure error
	now := c.loop.now.UnixMilli()
	if !c.view(key, func(held *lattice.State) {
		set, err := liveSet(held, now)
		if failure = err; err == nil {
			read(set)
		}
	}) {
		return false
	}
	if failure != nil {
		c.w.error(errorText(failure))
		return false
	}
	return true
}

func smembersCommand(c *conn, args [][]byte) {
	var values []string // immutable
	if !c.viewSet(args[1], func(set *lattice.Set) {
		if set == nil {
			return
		}
		values = make([]string, 0, set.Len())
		for value, mark := range set.Marks() {
			if !mark.Removed {
				values = append(values, value)
			}
		}
	}) {
		return
	}
	start := len(c.w.buf)
	c.w.set(len(values))
	for _, value := range values {
		if !c.value(value, start) {
			return
		}
	}
}

// value answers a member; on its error, or when the reply has become too large, it returns false and the error is all that is
// answered.
func (c *conn) value(value string, start int) bool {
	w := c.w
	if len(value) > 0 && value[0] == codec.KindBytes {
		w.text(value[1:])
	} else {
		text, err := textForm(nil, []byte(value))
		if err != nil {
			w.buf = w.buf[:start]
			w.error(errorText(err))
			return false
		}
		w.bulk(text)
	}
	return len(w.buf)-start <= c.server.cfg.ReplyBytesMax
}

func sismemberCommand(c *conn, args [][]byte) {
	there := false
	member := c.encoded(args[2])
	if c.viewSet(args[1], func(set *lattice.Set) { there = set != nil && contains(set, member) }) {
		c.w.flag(there)
	}
}

func smismemberCommand(c *conn, args [][]byte) {
	there := make([]bool, len(args)-2)
	if !c.viewSet(args[1], func(set *lattice.Set) {
		for i, arg := range args[2:] {
			there[i] = set != nil && contains(set, c.encoded(arg))
		}
	}) {
		return
	}
	c.w.array(len(there))
	for _, is := range there {
		c.w.flag(is)
	}
}

func scardCommand(c *conn, args [][]byte) {
	n := 0
	if c.viewSet(args[1], func(set *lattice.Set) {
		if set != nil {
			n = set.Len()
		}
	}) {
		c.w.integer(int64(n))
	}
}
