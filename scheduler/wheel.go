package scheduler

const (
	// wheelTickMilliseconds is how exactly deadlines are kept.
	wheelTickMilliseconds = 10
	// wheelSlots is how many ticks one turn of a wheel has; what is due later stays for another turn.
	wheelSlots = 512
)

// alarm is a time that a run is waiting for: its deadline, or that of an invocation's next attempt; or the next turn at a gate.
type alarm struct {
	next, prev *alarm // nil while it is in no wheel
	tick       int64
	run        *run
	retry      *invocation // nil = the run's deadline
	gate       *gate       // instead of a run
}

// wheel holds alarms by the tick at which they are due. Adding and removing one takes a constant time, which a heap's
// does not. It knows no lock and no clock.
type wheel struct {
	slots [wheelSlots]alarm // heads of rings
	turn  int64             // the tick up to which alarms have been taken
}

func (w *wheel) init() {
	for i := range w.slots {
		head := &w.slots[i]
		head.next, head.prev = head, head
	}
}

// add puts an alarm into the wheel. One that is due already is taken at the next advance.
func (w *wheel) add(a *alarm, tick int64) {
	a.tick = max(tick, w.turn+1)
	head := &w.slots[a.tick%wheelSlots]
	a.next, a.prev = head, head.prev
	head.prev.next, head.prev = a, a
}

// remove takes an alarm out of the wheel if it is in it.
func (w *wheel) remove(a *alarm) {
	if a.next == nil {
		return
	}
	a.prev.next, a.next.prev = a.next, a.prev
	a.next, a.prev = nil, nil
}

// advance takes out the alarms that are due at a tick or before it and appends them to due.
func (w *wheel) advance(tick int64, due []*alarm) []*alarm {
	for slot := max(w.turn+1, tick-wheelSlots+1); slot <= tick; slot++ {
		head := &w.slots[slot%wheelSlots]
		for a := head.next; a != head; {
			next := a.next
			if a.tick <= tick {
				w.remove(a)
				due = append(due, a)
			}
			a = next
		}
	}
	w.turn = max(w.turn, tick)
	return due
}
