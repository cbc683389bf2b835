package resp

import (
	"bytes"
	"math"
	"strconv"

	"cloudburst/anna/kernel"
	"cloudburst/lattice"
)

func zaddCommand(c *conn, args [][]byte) {
	var flags options
	at := 2
options:
	for ; at < len(args); at++ {
		if isNumeral(args[at]) {
			break
		}
		switch optionOf(args[at]) {
		case "nx":
			flags |= ifAbsent
		case "xx":
			flags |= ifPresent
		case "gt":
			flags |= ifGreater
		case "lt":
			flags |= ifLess
		case "ch":
			flags |= countChanged
		case "incr":
			flags |= increment
		default:
			break options
		}
	}
	pairs := args[at:]
	switch {
	case len(pairs) == 0 || len(pairs)%2 != 0:
		c.syntax()
		return
	case flags.has(ifAbsent) && flags.has(ifPresent):
		c.w.error("ERR XX and NX options at the same time are not compatible")
		return
	case flags.has(ifAbsent) && flags.has(ifGreater|ifLess) || flags.has(ifGreater) && flags.has(ifLess):
		c.w.error("ERR GT, LT, and/or NX options at the same time are not compatible")
		return
	case flags.has(increment) && len(pairs) != 2:
		c.w.error("ERR INCR option supports a single increment-element pair")
		return
	case flags.has(ifAbsent|ifPresent|ifGreater|ifLess|increment) && !c.atomic("ZADD with NX, XX, GT, LT or INCR"):
		return
	}
	p := c.loop.begin(c)
	for i := 0; i < len(pairs); i += 2 {
		score, ok := parseFloat(pairs[i])
		if !ok {
			c.w.error("ERR " + errNotFloat.Message)
			p.release(c.loop)
			return
		}
		p.change.member(pairs[i+1], score)
	}
	c.changeOrderedSet(p, args[1], flags, makeOrderedAdd)
}

func zincrbyCommand(c *conn, args [][]byte) {
	by, ok := parseFloat(args[2])
	if !ok {
		c.w.error("ERR " + errNotFloat.Message)
		return
	}
	if c.atomic("ZINCRBY") {
		p := c.loop.begin(c)
		p.change.member(args[3], by)
		c.changeOrderedSet(p, args[1], increment, makeOrderedAdd)
	}
}

func zremCommand(c *conn, args [][]byte) {
	p := c.loop.begin(c)
	for _, arg := range args[2:] {
		p.change.member(arg, 0)
	}
	c.changeOrderedSet(p, args[1], 0, makeOrderedRemove)
}

// changeOrderedSet makes the change of p, which has the members.
func (c *conn) changeOrderedSet(p *pending, key []byte, flags options, how maker) {
	name, ok := c.writableKey(key)
	if !ok {
		p.release(c.loop)
		return
	}
	p.answer = answerSum
	if flags.has(increment) {
		p.answer = answerScore
	}
	p.change.make, p.change.flags = how, flags
	if c.server.cfg.SoleMaster {
		p.change.flags |= unlessThere
	}
	c.put(p, kernel.Write{Key: name, Make: p})
	c.await(p)
}

// makeOrderedAdd implements ZADD. Its value is the number of members that are new, or that are new or have another score.
func makeOrderedAdd(ch *change, held *lattice.State, _ lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	set, err := liveOrderedSet(held, nowMillis)
	if err != nil {
		return nil, 0, err
	}
	var delta *lattice.OrderedSet
	var changed map[string]float64 // the scores of members that are named again; a delta keeps the highest of several
	count := int64(0)
	for _, m := range ch.members {
		was, form, there := scoreOf(delta, m.value)
		again := there
		if !there {
			was, form, there = scoreOf(set, m.value)
		} else if low, ok := changed[string(form)]; ok {
			was = low
		}
		score := m.score
		if ch.flags.has(increment) {
			if score += was; math.IsNaN(score) {
				return nil, 0, errNotNumber
			}
		}
		ch.score, ch.found.kind = score, lattice.TypeOrderedSet
		if ch.flags.has(ifAbsent) && there || ch.flags.has(ifPresent) && !there ||
			there && (ch.flags.has(ifGreater) && score <= was || ch.flags.has(ifLess) && score >= was) {
			ch.found.kind = lattice.TypeNone // not written
			continue
		}
		if there && score == was && ch.flags.has(unlessThere) {
			continue
		}
		if delta == nil {
			delta = new(lattice.OrderedSet)
		}
		if again {
			if changed == nil {
				changed = make(map[string]float64)
			}
			changed[string(form)] = score
		} else if _, err := delta.Add(lattice.Timestamp{}, form, score); err != nil {
			return nil, 0, errNotNumber
		}
		if !there || ch.flags.has(countChanged) && score != was {
			count++
		}
	}
	if delta == nil {
		return nil, 0, nil
	}
	if changed != nil {
		all := delta
		delta = new(lattice.OrderedSet)
		for member, mark := range all.Marks() {
			score, ok := changed[member]
			if !ok {
				score = mark.Score
			}
			if _, err := delta.Add(lattice.Timestamp{}, []byte(member), score); err != nil {
				return nil, 0, errNotNumber
			}
		}
	}
	return &lattice.State{Lattice: delta}, count, nil
}

func answerScore(w *reply, p *pending) {
	if p.change.found.kind == lattice.TypeNone {
		w.null()
		return
	}
	w.double(p.change.score)
}

func makeOrderedRemove(ch *change, held *lattice.State, _ lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	set, err := liveOrderedSet(held, nowMillis)
	if set == nil || err != nil {
		return nil, 0, err
	}
	delta, removed := new(lattice.OrderedSet), int64(0)
	for _, m := range ch.members {
		if _, form, there := scoreOf(set, m.value); there && delta.Remove(lattice.Timestamp{}, form) {
			removed++
		}
	}
	if removed == 0 {
		return nil, 0, nil
	}
	return &lattice.State{Lattice: delta}, removed, nil
}

func liveOrderedSet(held *lattice.State, nowMillis int64) (*lattice.OrderedSet, error) {
	if held == nil {
		return nil, nil
	}
	switch live := held.Live(nowMillis).(type) {
	case nil:
		return nil, nil
	case *lattice.OrderedSet:
		return live, nil
	default:
		return nil, wrongType(live)
	}
}

// scoreOf returns the score of a member and the form in which it is there, or is to be added.
func scoreOf(set *lattice.OrderedSet, member []byte) (score float64, form []byte, there bool) {
	if set == nil {
		return 0, member, false
	}
	var scratch [scratchBytes]byte
	for i := range memberForms {
		form := formOf(scratch[:0], member, i)
		if form == nil {
			continue
		}
		if score, there := set.Score(form); there {
			if i > 0 {
				form = bytes.Clone(form)
			}
			return score, form, true
		}
	}
	return 0, member, false
}

// viewOrderedSet is viewSet for ordered sets.
func (c *conn) viewOrderedSet(key []byte, read func(*lattice.OrderedSet)) bool {
	var failure error
	now := c.loop.now.UnixMilli()
	if !c.view(key, func(held *lattice.State) {
		set, err := liveOrderedSet(held, now)
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

func zcardCommand(c *conn, args [][]byte) {
	n := 0
	if c.viewOrderedSet(args[1], func(set *lattice.OrderedSet) {
		if set != nil {
			n = set.Len()
		}
	}) {
		c.w.integer(int64(n))
	}
}

func zscoreCommand(c *conn, args [][]byte) {
	var score float64
	there := false
	member := c.encoded(args[2])
	if !c.viewOrderedSet(args[1], func(set *lattice.OrderedSet) { score, _, there = scoreOf(set, member) }) {
		return
	}
	if !there {
		c.w.null()
		return
	}
	c.w.double(score)
}

func zrankCommand(c *conn, args [][]byte)    { c.rank(args, false) }
func zrevrankCommand(c *conn, args [][]byte) { c.rank(args, true) }

func (c *conn) rank(args [][]byte, reverse bool) {
	rank, there := 0, false
	member := c.encoded(args[2])
	if !c.viewOrderedSet(args[1], func(set *lattice.OrderedSet) {
		var form []byte
		if _, form, there = scoreOf(set, member); there {
			if rank, _ = set.Rank(form); reverse {
				rank = set.Len() - 1 - rank
			}
		}
	}) {
		return
	}
	if !there {
		c.w.null()
		return
	}
	c.w.integer(int64(rank))
}

func zcountCommand(c *conn, args [][]byte) {
	from, to, ok := scoreBounds(args[2], args[3])
	if !ok {
		c.w.error("ERR min or max is not a float")
		return
	}
	n := 0
	if c.viewOrderedSet(args[1], func(set *lattice.OrderedSet) {
		if set != nil {
			n = max(0, to.ranksBelow(set, true)-from.ranksBelow(set, false))
		}
	}) {
		c.w.integer(int64(n))
	}
}

// window is a part of an ordered set.
type window struct {
	byScore, reverse, withScores bool
	from, to                     bound
	first, last                  int64 // ranks, from the end when negative
	offset, count                int64 // of the members within; a negative count is all
}

// bound is one end of a range of scores.
type bound struct {
	score     float64
	exclusive bool
}

// ranksBelow returns how many members are before a bound; the upper one includes its own score unless it is exclusive, the
// lower one excludes it then.
func (b bound) ranksBelow(set *lattice.OrderedSet, upper bool) int {
	return set.CountBelow(b.score, b.exclusive != upper)
}

func zrangeCommand(c *conn, args [][]byte) {
	w := window{count: -1}
	if !c.windowOptions(&w, args[4:], true) {
		return
	}
	c.zrange(args[1], args[2], args[3], w)
}

func zrevrangeCommand(c *conn, args [][]byte) {
	w := window{count: -1, reverse: true}
	if c.windowOptions(&w, args[4:], false) {
		c.zrange(args[1], args[2], args[3], w)
	}
}

func zrangebyscoreCommand(c *conn, args [][]byte) {
	w := window{count: -1, byScore: true}
	if c.windowOptions(&w, args[4:], false) {
		c.zrange(args[1], args[2], args[3], w)
	}
}

func zrevrangebyscoreCommand(c *conn, args [][]byte) {
	w := window{count: -1, byScore: true, reverse: true}
	if c.windowOptions(&w, args[4:], false) {
		c.zrange(args[1], args[2], args[3], w)
	}
}

// windowOptions reads what follows the bounds; only ZRANGE says there what else its other forms say in their names.
func (c *conn) windowOptions(w *window, args [][]byte, all bool) bool {
	for i := 0; i < len(args); i++ {
		switch option := optionOf(args[i]); {
		case option == "withscores":
			w.withScores = true
		case option == "byscore" && all:
			w.byScore = true
		case option == "rev" && all:
			w.reverse = true
		case option == "bylex" && all:
			c.w.error("ERR BYLEX is not there: members are ordered by their scores; use BYSCORE or ranks")
			return false
		case option == "limit" && i+2 < len(args):
			offset, ok1 := parseInt(args[i+1])
			count, ok2 := parseInt(args[i+2])
			if !ok1 || !ok2 {
				c.w.error("ERR " + errNotInteger.Message)
				return false
			}
			w.offset, w.count = offset, count
			i += 2
		default:
			c.syntax()
			return false
		}
	}
	if w.count != -1 && !w.byScore { // -1 is as if it were not given
		c.w.error("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
		return false
	}
	return true
}

func (c *conn) zrange(key, first, last []byte, w window) {
	if w.byScore {
		if w.reverse {
			first, last = last, first
		}
		var ok bool
		if w.from, w.to, ok = scoreBounds(first, last); !ok {
			c.w.error("ERR min or max is not a float")
			return
		}
	} else {
		var ok1, ok2 bool
		w.first, ok1 = parseInt(first)
		w.last, ok2 = parseInt(last)
		if !ok1 || !ok2 {
			c.w.error("ERR " + errNotInteger.Message)
			return
		}
	}
	var members []lattice.Scored
	if !c.viewOrderedSet(key, func(set *lattice.OrderedSet) {
		if set != nil {
			members = w.of(set)
		}
	}) {
		return
	}
	c.answerScored(members, w.withScores)
}

// of returns the members within w, in the order in which they are answered.
func (w *window) of(set *lattice.OrderedSet) []lattice.Scored {
	size := int64(set.Len())
	var from, to int64 // ranks, to exclusive
	if w.byScore {
		from, to = int64(w.from.ranksBelow(set, false)), int64(w.to.ranksBelow(set, true))
		if w.offset < 0 || w.offset > size || from >= to {
			return nil
		}
		if w.reverse {
			to -= w.offset
			if w.count >= 0 && w.count < to-from {
				from = to - w.count
			}
		} else {
			from += w.offset
			if w.count >= 0 && w.count < to-from {
				to = from + w.count
			}
		}
	} else {
		from, to = w.first, w.last
		if from < 0 {
			from = max(0, from+size)
		}
		if to < 0 {
			to += size
		}
		to = min(to, size-1) + 1
		if w.reverse {
			from, to = size-to, size-from
		}
	}
	if from >= to {
		return nil
	}
	members := set.Range(int(from), int(to))
	if w.reverse {
		for i, j := 0, len(members)-1; i < j; i, j = i+1, j-1 {
			members[i], members[j] = members[j], members[i]
		}
	}
	return members
}

func (c *conn) answerScored(members []lattice.Scored, withScores bool) {
	start := len(c.w.buf)
	n := len(members)
	if withScores && !c.w.three {
		n *= 2
	}
	c.w.array(n)
	for _, m := range members {
		if withScores && c.w.three {
			c.w.array(2)
		}
		if !c.value(textOf(m.Member), start) {
			return
		}
		if withScores {
			c.w.double(m.Score)
		}
	}
}

// scoreBounds reads a range of scores: "(1" excludes 1, "-inf" and "+inf" are all there are.
func scoreBounds(from, to []byte) (low, high bound, ok bool) {
	low, ok1 := scoreBound(from)
	high, ok2 := scoreBound(to)
	return low, high, ok1 && ok2
}

func scoreBound(arg []byte) (b bound, ok bool) {
	if b.exclusive = bytes.HasPrefix(arg, []byte{'('}); b.exclusive {
		arg = arg[1:]
	}
	if arg = bytes.TrimLeft(arg, " \t\n\v\f\r"); len(arg) == 0 {
		return b, true // C's strtod reads nothing as 0
	}
	b.score, ok = parseFloat(arg)
	return b, ok
}

// floatBytesMax bounds the text of a number.
const floatBytesMax = 256

// isNumeral reports whether a word begins as a number in digits does, and so is not an option.
func isNumeral(arg []byte) bool { return len(arg) > 0 && arg[0] < 'A' }

func parseFloat(arg []byte) (float64, bool) {
	if len(arg) == 0 || len(arg) > floatBytesMax || bytes.IndexByte(arg, '_') >= 0 {
		return 0, false
	}
	text := string(arg)
	if len(arg) > 2 && bytes.ContainsAny(arg, "xX") && !bytes.ContainsAny(arg, "pP") {
		text += "p0" // a hexadecimal number, whose exponent Go requires
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && !math.IsNaN(f)
}
