package scheduler

import (
	"slices"
	"sync"
	"unsafe"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const recentInitial = 64

// recent remembers the runs that ended last, without their arguments and results: a ring of those that succeeded and one of the others,
// so that many of the ones do not push out few of the others. Safe for concurrent use.
type recent struct {
	runsMax, bytesMax int

	mu     sync.Mutex
	places map[wire.RunID]ringPlace // of the last run of each id
	rings  [2]ring                  // succeeded, others
}

// ringPlace says where a record lies: number counts the records of a ring.
type ringPlace struct {
	ring   int32
	number uint64
}

// ring holds records in the order in which they came. The slots are reused, so that a record is no allocation.
type ring struct {
	slots []record
	first uint64 // number of the oldest
	count uint64
	bytes int
}

// record is a run as it is shown: one that has ended, or a reading of one under way. Times are Unix times in microseconds; 0 = not yet.
type record struct {
	id, parent               wire.RunID
	plan                     *plan
	label                    string
	err                      *wire.Error // without the pickle
	started, ended, deadline int64
	client                   uint64
	depth                    int32
	bytes                    int32
	detached                 bool
	// step is the invocation of a run that has one; steps are those of any other, in the order of the plan's chains.
	step  step
	steps []step
}

// step is an invocation as it was tried last.
type step struct {
	wire.Traced
	ended          int64
	failed, active bool
}

func newRecent(runsMax, bytesMax int) *recent {
	return &recent{runsMax: runsMax, bytesMax: bytesMax, places: make(map[wire.RunID]ringPlace)}
}

// record reads what there is to show of a run.
func (r *run) record(into *record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*into = record{
		id: r.id, parent: r.parent, plan: r.plan, label: r.call.GetLabel(), started: r.started.UnixMicro(), deadline: r.deadline.UnixMicro(),
		client: r.client, depth: int32(r.depth), detached: r.call.GetDetached(),
	}
	if r.ended {
		into.ended = r.endedAt.UnixMicro()
		if e := r.result.Err; e != nil {
			into.err = &wire.Error{Code: e.Code, Message: e.Message, Exception: e.Exception, RetryAfter: e.RetryAfter}
		}
	}
	if len(r.invocations) == 1 {
		into.step = r.stepOf(&r.invocations[0])
	} else {
		into.steps = make([]step, len(r.invocations))
		for i := range r.invocations {
			into.steps[i] = r.stepOf(&r.invocations[i])
		}
	}
	into.bytes = int32(into.size())
}

// stepOf reads what there is to show of an invocation. r.mu is held.
func (r *run) stepOf(inv *invocation) step {
	out := step{Traced: inv.trace.Reading(), failed: inv.failed, active: inv.running}
	if r.ended {
		out.Waits = nil // a record would keep them for long
	} else if len(out.Waits) > 0 {
		out.Waits = slices.DeleteFunc(slices.Clone(out.Waits), func(id wire.RunID) bool { return r.s.table.find(id) == nil })
	}
	switch {
	case !inv.ended.IsZero():
		out.ended = inv.ended.UnixMicro()
	case r.ended && out.Started != 0:
		out.ended = r.endedAt.UnixMicro()
	}
	return out
}

// all returns the steps.
func (r *record) all() []step {
	if r.steps != nil {
		return r.steps
	}
	return []step{r.step}
}

// size returns about how much memory the record takes.
func (r *record) size() int {
	size := int(unsafe.Sizeof(*r)) + len(r.label) + r.step.Reads.Bytes() + len(r.steps)*int(unsafe.Sizeof(r.step))
	for i := range r.steps {
		size += r.steps[i].Reads.Bytes()
	}
	if r.err != nil {
		e := r.err.Exception
		size += len(r.err.Message) + len(e.GetMessage()) + len(e.GetTraceback()) + len(e.GetType())
	}
	return size
}

// add remembers a run that has ended.
func (q *recent) add(r *run) {
	var one record
	r.record(&one)
	which := 0
	if one.err != nil {
		which = 1
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	to := &q.rings[which]
	for to.count > 0 && (to.count >= uint64(q.runsMax) || to.bytes+int(one.bytes) > q.bytesMax) {
		q.drop(which)
	}
	slot, number := to.push()
	*slot = one
	to.bytes += int(one.bytes)
	q.places[one.id] = ringPlace{int32(which), number}
}

// drop forgets the oldest record of a ring. q.mu is held.
func (q *recent) drop(which int) {
	from := &q.rings[which]
	slot := from.slot(from.first)
	if q.places[slot.id] == (ringPlace{int32(which), from.first}) { // else the same id has ended again
		delete(q.places, slot.id)
	}
	from.bytes -= int(slot.bytes)
	*slot = record{}
	from.first++
	from.count--
}

func (g *ring) slot(number uint64) *record { return &g.slots[number%uint64(len(g.slots))] }

// push returns the slot for one more record, and its number.
func (g *ring) push() (slot *record, number uint64) {
	if g.count == uint64(len(g.slots)) {
		grown := make([]record, max(recentInitial, 2*len(g.slots)))
		for n := g.first; n < g.first+g.count; n++ {
			grown[n%uint64(len(grown))] = *g.slot(n)
		}
		g.slots = grown
	}
	number = g.first + g.count
	g.count++
	return g.slot(number), number
}

// find returns the record of the run of an id that ended last.
func (q *recent) find(id wire.RunID) (record, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	place, ok := q.places[id]
	if !ok {
		return record{}, false
	}
	return *q.rings[place.ring].slot(place.number), true
}

// recentBatch is how many records are looked at before the runs that end get their turn.
const recentBatch = 256

// visit calls see for each record, the newest of each ring first. A record is valid during the call only.
func (q *recent) visit(see func(*record)) {
	for which := range q.rings {
		q.mu.Lock()
		from := &q.rings[which]
		for number, n := from.first+from.count, 1; number > from.first; n++ {
			number--
			see(from.slot(number))
			if n%recentBatch == 0 {
				q.mu.Unlock()
				q.mu.Lock()
			}
		}
		q.mu.Unlock()
	}
}

// state returns that of the run.
func (r *record) state() pb.RunState {
	if r.ended != 0 {
		switch {
		case r.err == nil:
			return pb.RunState_RUN_STATE_DONE
		case r.err.Code == pb.Code_CODE_CANCELLED:
			return pb.RunState_RUN_STATE_CANCELLED
		default:
			return pb.RunState_RUN_STATE_FAILED
		}
	}
	state := pb.RunState_RUN_STATE_QUEUED
	for _, s := range r.all() {
		switch {
		case s.Started == 0:
		case s.ended == 0 && len(s.Waits) > 0:
			return pb.RunState_RUN_STATE_WAITING
		default:
			state = pb.RunState_RUN_STATE_RUNNING
		}
	}
	return state
}

// stateOf returns that of a step.
func (r *record) stateOf(s *step) pb.RunState {
	ended := r.ended != 0
	switch {
	case s.failed:
		return pb.RunState_RUN_STATE_FAILED
	case s.Started == 0 && ended:
		return pb.RunState_RUN_STATE_UNSPECIFIED // it never started
	case s.Started == 0:
		return pb.RunState_RUN_STATE_QUEUED
	case s.ended != 0 && !s.active:
		return pb.RunState_RUN_STATE_DONE
	case ended && r.err != nil && r.err.Code == pb.Code_CODE_DEADLINE_EXCEEDED:
		return pb.RunState_RUN_STATE_FAILED
	case ended: // its run ended while it ran
		return pb.RunState_RUN_STATE_CANCELLED
	case len(s.Waits) > 0:
		return pb.RunState_RUN_STATE_WAITING
	}
	return pb.RunState_RUN_STATE_RUNNING
}
