package kernel

import (
	"fmt"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// wait lets a durable write wait for what its key has changed. What is in flight may be without it.
func (k *Kernel) wait(it *item, m *Write, value int64) {
	k.vouch(it)
	w := &waiter{it: it, ticket: m.Ticket, value: value, deadline: k.elapsed + k.cfg.DurableTimeout, memory: m.Ack == Memory}
	b := k.more(it) // a publish that failed may leave a changed key with nothing else going on
	if b.pending == 0 && !it.flags.has(changed) && b.delta == nil && b.flight != nil {
		b.flight.waiters = append(b.flight.waiters, w)
	} else {
		b.waiters = append(b.waiters, w)
	}
	k.stats.Waiting++
	k.deadlines.push(w)
}

func (k *Kernel) answer(w *waiter, err error, out *Effects) {
	if w.answered {
		return
	}
	w.answered = true
	k.stats.Waiting--
	reply(out, w.ticket, err, w.value)
	w.ticket, w.it = nil, nil
}

// departed forgets deadlines that are met, so that their queues are as long as what is outstanding.
func (k *Kernel) departed() {
	for d, ok := k.departures.peek(); ok && k.inFlight(d.id) == nil; d, ok = k.departures.peek() {
		k.departures.pop()
	}
	for w, ok := k.deadlines.peek(); ok && w.answered; w, ok = k.deadlines.peek() {
		k.deadlines.pop()
	}
}

// overdue gives up on publishes and durable writes that have waited too long.
func (k *Kernel) overdue(now int64, out *Effects) {
	for d, ok := k.departures.peek(); ok; d, ok = k.departures.peek() {
		r := k.inFlight(d.id)
		if r != nil && d.deadline > k.elapsed {
			break
		}
		k.departures.pop()
		switch {
		case r == nil:
		case k.advances(r):
			k.departures.push(departure{d.id, r.alive + k.cfg.PublishTimeout})
		default:
			k.fail(now, r, errNoAnswer, out)
		}
	}
	for w, ok := k.deadlines.peek(); ok && (w.answered || w.deadline <= k.elapsed); w, ok = k.deadlines.peek() {
		k.deadlines.pop()
		switch {
		case w.answered:
		case w.it.busy.flight != nil && k.advances(w.it.busy.flight.publication):
			w.deadline = k.elapsed + k.cfg.PublishTimeout
			k.deadlines.push(w)
		case w.memory:
			k.answer(w, nil, out)
		default:
			k.answer(w, k.unavailable(w.it), out)
		}
	}
}

// advances reports whether a publish that takes long has been heard of lately.
func (k *Kernel) advances(r *publication) bool {
	return r.alive != 0 && r.alive+k.cfg.PublishTimeout > k.elapsed
}

func (k *Kernel) unavailable(it *item) error {
	why := "it is busy"
	if err := k.partition(it.slot).err; err != nil {
		why = err.Error()
	}
	return &wire.Error{Code: pb.Code_CODE_UNAVAILABLE, Message: fmt.Sprintf(
		"write to %.64q: the log did not persist it within %d ms: %s; it is merged in memory and is written to the log when that works again, but is lost if this node ends before",
		it.key, k.cfg.DurableTimeout/1000, why)}
}
