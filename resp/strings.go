package resp

import (
	"bytes"
	"math"

	"cloudburst/anna/kernel"
	"cloudburst/lattice"
)

// change is a write that depends on what its key holds: how it is made, and what it has found. One master decides it on its
// own, so where a slot has several it is refused.
type change struct {
	make    maker
	flags   options
	value   []byte
	by      int64   // of an increment
	at      int64   // of an expiry
	score   float64 // that ZADD INCR leads to
	members []member
	room    []byte // of the members
	found   look
}

// member puts in a member that the client names, with its score if it has one.
func (ch *change) member(content []byte, score float64) {
	from := len(ch.room)
	ch.room = appendEncoded(ch.room, content)
	ch.members = append(ch.members, member{ch.room[from:len(ch.room):len(ch.room)], score})
}

// reset makes ch ready for another change.
func (ch *change) reset() {
	clear(ch.members)
	members, room := ch.members[:0], ch.room[:0]
	if cap(members) > membersKeepMax || cap(room) > pendingKeepMax {
		members, room = nil, nil
	}
	*ch = change{members: members, room: room}
}

// maker makes the delta of a change: see anna.Maker.
type maker func(ch *change, held *lattice.State, stamp lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error)

// member is one of a set: its value as bytes, and its score in an ordered one.
type member struct {
	value []byte
	score float64
}

// options are those of SET, EXPIRE and ZADD.
type options uint16

const (
	ifAbsent     options = 1 << iota // NX
	ifPresent                        // XX
	ifGreater                        // GT
	ifLess                           // LT
	withOld                          // GET
	keepTTL                          // KEEPTTL
	expires                          // EX, PX, EXAT, PXAT
	countChanged                     // CH
	increment                        // INCR
	unlessThere                      // nothing is written again that is there already
)

func (o options) has(p options) bool { return o&p != 0 }

// atomic reports whether writes may depend on what is held, and otherwise answers that they may not.
func (c *conn) atomic(what string) bool {
	if c.server.cfg.SoleMaster {
		return true
	}
	c.w.error("ERR " + what + " depends on what the key holds, and several masters may write to it at once without asking each other; " +
		"it is only done where one node holds all keys")
	return false
}

// find reads a key that has a text form. It returns nil when the key is not in memory.
func (c *conn) find(key []byte) *look {
	k := &c.loop.look
	k.now = c.loop.now.UnixMilli()
	if !c.view(key, k.into) {
		return nil
	}
	return k
}

// bulkOf answers what was found.
func (w *reply) bulkOf(k *look) {
	if k.kind == lattice.TypeNone {
		w.null()
		return
	}
	if k.plainBytes() {
		w.bulk(k.value[1:])
		return
	}
	text, err := k.appendText(nil)
	if err != nil {
		w.error(errorText(err))
		return
	}
	w.bulk(text)
}

func getCommand(c *conn, args [][]byte) {
	if k := c.find(args[1]); k != nil {
		c.w.bulkOf(k)
	}
}

func strlenCommand(c *conn, args [][]byte) {
	k := c.find(args[1])
	if k == nil {
		return
	}
	text, err := k.appendText(nil)
	if err != nil {
		c.w.error(errorText(err))
		return
	}
	c.w.integer(int64(len(text)))
}

func mgetCommand(c *conn, args [][]byte) {
	start := len(c.w.buf)
	c.w.array(len(args) - 1)
	for _, key := range args[1:] {
		k := c.find(key)
		switch {
		case k == nil:
		case k.kind == lattice.TypeNone || k.err != nil:
			c.w.null()
		default:
			text, err := k.appendText(nil)
			if err != nil {
				c.w.null() // as Redis does for a key that does not hold a string
				continue
			}
			c.w.bulk(text)
		}
		if len(c.w.buf)-start > c.server.cfg.ReplyBytesMax {
			return
		}
	}
}

func answerOK(w *reply, _ *pending)      { w.ok() }
func answerSum(w *reply, p *pending)     { w.integer(p.sum.Load()) }
func answerWhether(w *reply, p *pending) { w.flag(p.sum.Load() != 0) }

func setCommand(c *conn, args [][]byte) {
	if len(args) == 3 {
		c.set(args[1], args[2], 0, 0)
		return
	}
	var flags options
	var unit string
	var lives []byte
	for i := 3; i < len(args); i++ {
		option := optionOf(args[i])
		switch option {
		case "nx":
			flags |= ifAbsent
		case "xx":
			flags |= ifPresent
		case "get":
			flags |= withOld
		case "keepttl":
			flags |= keepTTL
		case "ex", "px", "exat", "pxat":
			if i+1 == len(args) || flags.has(expires) {
				c.syntax()
				return
			}
			i++
			unit, lives = option, args[i]
			flags |= expires
		default:
			c.syntax()
			return
		}
	}
	if flags.has(ifAbsent) && flags.has(ifPresent) || flags.has(keepTTL) && flags.has(expires) {
		c.syntax()
		return
	}
	var at int64
	if flags.has(expires) {
		var ok bool
		if at, ok = c.expiry(lives, unit, "set"); !ok {
			return
		}
	}
	c.set(args[1], args[2], flags, at)
}

func setexCommand(c *conn, args [][]byte) {
	if at, ok := c.expiry(args[2], "ex", "setex"); ok {
		c.set(args[1], args[3], expires, at)
	}
}

func psetexCommand(c *conn, args [][]byte) {
	if at, ok := c.expiry(args[2], "px", "psetex"); ok {
		c.set(args[1], args[3], expires, at)
	}
}

func setnxCommand(c *conn, args [][]byte) {
	if !c.atomic("SETNX") {
		return
	}
	if key, ok := c.writableKey(args[1]); ok {
		p := c.loop.begin(c)
		p.answer = answerWhether
		p.change = change{make: makeSet, flags: ifAbsent, value: encode(args[2])}
		c.put(p, kernel.Write{Key: key, Make: p, Replace: true})
		c.await(p)
	}
}

// set writes a value, under conditions or without.
func (c *conn) set(key, content []byte, flags options, at int64) {
	name, ok := c.writableKey(key)
	if !ok {
		return
	}
	switch flags {
	case 0:
		p := c.loop.begin(c)
		p.answer = answerOK
		c.put(p, kernel.Write{Key: name, Put: encode(content), Replace: true})
		c.await(p)
		return
	case expires:
		p := c.loop.begin(c)
		p.answer = answerOK
		c.put(p, kernel.Write{Key: name, Delta: putDelta(encode(content), at), Replace: true})
		c.await(p)
		return
	}
	if !c.atomic("SET with NX, XX, GET or KEEPTTL") {
		return
	}
	p := c.loop.begin(c)
	p.answer = answerSet
	p.change = change{make: makeSet, flags: flags, value: encode(content), at: at}
	c.put(p, kernel.Write{Key: name, Make: p, Replace: true})
	c.await(p)
}

// putDelta returns the delta of a value that expires, unless at is 0. Its stamps are made by the store.
func putDelta(value []byte, at int64) *lattice.State {
	return expiring(lattice.Put(lattice.Timestamp{}, value).Lattice, at)
}

// expiring returns the delta of a lattice that expires, unless at is 0.
func expiring(content lattice.Lattice, at int64) *lattice.State {
	delta := new(lattice.State)
	if at != 0 {
		delta = lattice.ExpireAt(lattice.Timestamp{}, at)
	}
	delta.Lattice = content
	return delta
}

// makeSet implements SET with conditions; its value is 1 when the key was written.
func makeSet(ch *change, held *lattice.State, _ lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	ch.found.now = nowMillis
	ch.found.take(held)
	if ch.flags.has(withOld) && ch.found.err != nil {
		return nil, 0, ch.found.err
	}
	present := ch.found.kind != lattice.TypeNone
	if ch.flags.has(ifAbsent) && present || ch.flags.has(ifPresent) && !present {
		return nil, 0, nil
	}
	at := ch.at
	if ch.flags.has(keepTTL) {
		at = ch.found.expires
	}
	return putDelta(ch.value, at), 1, nil
}

func answerSet(w *reply, p *pending) {
	switch {
	case p.change.flags.has(withOld):
		w.bulkOf(&p.change.found)
	case p.sum.Load() != 0:
		w.ok()
	default:
		w.null()
	}
}

func getdelCommand(c *conn, args [][]byte) {
	if !c.atomic("GETDEL") {
		return
	}
	if key, ok := c.writableKey(args[1]); ok {
		p := c.loop.begin(c)
		p.answer = answerFound
		p.change = change{make: makeGetDelete}
		c.put(p, kernel.Write{Key: key, Make: p})
		c.await(p)
	}
}

func makeGetDelete(ch *change, held *lattice.State, stamp lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	ch.found.now = nowMillis
	if ch.found.take(held); ch.found.kind == lattice.TypeNone || ch.found.err != nil {
		return nil, 0, ch.found.err
	}
	return lattice.Delete(stamp), 1, nil
}

func answerFound(w *reply, p *pending) { w.bulkOf(&p.change.found) }

func msetCommand(c *conn, args [][]byte) {
	if len(args)%2 == 0 {
		c.arity("mset")
		return
	}
	for i := 1; i < len(args); i += 2 {
		if _, ok := c.writableKey(args[i]); !ok {
			return
		}
	}
	p := c.loop.begin(c)
	p.answer = answerOK
	for i := 1; i < len(args); i += 2 {
		c.put(p, kernel.Write{Key: textOf(args[i]), Put: encode(args[i+1]), Replace: true})
	}
	c.await(p)
}

func incrCommand(c *conn, args [][]byte) { c.add(args[1], 1) }
func decrCommand(c *conn, args [][]byte) { c.add(args[1], -1) }

func incrbyCommand(c *conn, args [][]byte) {
	n, ok := parseInt(args[2])
	if !ok {
		c.w.error("ERR " + errNotInteger.Message)
		return
	}
	c.add(args[1], n)
}

func decrbyCommand(c *conn, args [][]byte) {
	n, ok := parseInt(args[2])
	if !ok {
		c.w.error("ERR " + errNotInteger.Message)
		return
	}
	if n == math.MinInt64 {
		c.w.error("ERR decrement would overflow")
		return
	}
	c.add(args[1], -n)
}

// add changes a counter. A number that was written with SET becomes a counter first, if no other master can write at the same time.
func (c *conn) add(key []byte, n int64) {
	name, ok := c.writableKey(key)
	if !ok {
		return
	}
	p := c.loop.begin(c)
	p.answer = answerSum
	w := kernel.Write{Key: name, Add: n}
	if c.server.cfg.SoleMaster || n == 0 {
		p.change.make, p.change.by = makeAdd, n
		w.Make, w.Replace = p, true
	}
	c.put(p, w)
	c.await(p)
}

func makeAdd(ch *change, held *lattice.State, stamp lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	live := held.Live(nowMillis)
	n, err := integerOf(live)
	if err != nil {
		return nil, 0, err
	}
	if ch.by > 0 && n > math.MaxInt64-ch.by || ch.by < 0 && n < math.MinInt64-ch.by {
		return nil, 0, errOverflow
	}
	if _, number := live.(*lattice.LWW); !number {
		delta, err := lattice.CounterAdd(held, stamp.Writer, ch.by)
		return delta, n + ch.by, err
	}
	count := lattice.Count{Writer: stamp.Writer}
	if sum := n + ch.by; sum < 0 {
		count.Down = -uint64(sum)
	} else {
		count.Up = uint64(sum)
	}
	return expiring(lattice.NewCounter(lattice.Timestamp{}, []lattice.Count{count}), held.ExpiresAt()), n + ch.by, nil
}

// optionOf returns a word in lower case, or "" when it is too long to be an option.
func optionOf(arg []byte) string {
	if len(arg) > commandNameMax {
		return ""
	}
	return string(bytes.ToLower(arg))
}

// expiry reads when a key is to expire, in Unix milliseconds: "ex" and "px" are from now, in seconds and milliseconds. It
// answers the error and returns false when that is not a time.
func (c *conn) expiry(arg []byte, unit, command string) (int64, bool) {
	n, ok := parseInt(arg)
	if !ok {
		c.w.error("ERR " + errNotInteger.Message)
		return 0, false
	}
	at, ok := expiryAt(n, unit, c.loop.now.UnixMilli())
	if !ok || n <= 0 {
		c.w.error("ERR invalid expire time in '" + command + "' command")
		return 0, false
	}
	return at, true
}

func expiryAt(n int64, unit string, now int64) (int64, bool) {
	if unit == "ex" || unit == "exat" {
		if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
			return 0, false
		}
		n *= 1000
	}
	if unit == "ex" || unit == "px" {
		if n > math.MaxInt64-now {
			return 0, false
		}
		n += now
	}
	return n, true
}
