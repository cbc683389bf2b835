package kernel

// waiters are the writes that wait for the log.
type waiters struct {
	cfg        *Config
	keys       *keys
	partitions *partitions
	// deadlines are in their order, but for those that were extended; waiters that were answered may be among them.
	deadlines queue[*waiter]
	waiting   int
}

// waiter is a durable write that has not been answered, or one to memory that waits because writers are far ahead of the log.
type waiter struct {
	it       *item
	ticket   any
	value    int64
	deadline int64
	memory   bool
	answered bool
}

// add lets a write wait for what its key has changed, which the publish that is in flight may not hold.
func (s *waiters) add(at Moment, it *item, m *Write, value int64) {
	w := &waiter{it: it, ticket: m.Ticket, value: value, deadline: at.Elapsed + s.cfg.DurableTimeout, memory: m.Ack == Memory}
	b := s.keys.busy(it) // a publish that failed may leave a changed key without one
	if b.pending == 0 && !it.flags.has(changed) && b.delta == nil && b.flight != nil {
		b.flight.waiters = append(b.flight.waiters, w)
	} else {
		b.waiters = append(b.waiters, w)
	}
	s.waiting++
	s.deadlines.push(w)
}

func (s *waiters) answer(w *waiter, err error, out *Effects) {
	if w.answered {
		return
	}
	w.answered = true
	s.waiting--
	reply(out, w.ticket, err, w.value)
	w.ticket, w.it = nil, nil
}

// due takes a waiter out of the queue that has not been answered by its deadline.
func (s *waiters) due(at Moment) (w *waiter, ok bool) {
	for w, ok = s.deadlines.peek(); ok && (w.answered || w.deadline <= at.Elapsed); w, ok = s.deadlines.peek() {
		s.deadlines.pop()
		if !w.answered {
			return w, true
		}
	}
	return nil, false
}

// extend lets a waiter that was due wait on.
func (s *waiters) extend(w *waiter, deadline int64) {
	w.deadline = deadline
	s.deadlines.push(w)
}

// dropAnswered forgets waiters that were answered.
func (s *waiters) dropAnswered() {
	for w, ok := s.deadlines.peek(); ok && w.answered; w, ok = s.deadlines.peek() {
		s.deadlines.pop()
	}
}

func (s *waiters) unavailable(it *item) error {
	why := "it is busy"
	if err := s.partitions.of(it.slot).err; err != nil {
		why = err.Error()
	}
	return errorf(Unavailable,
		"write to %.64q: the log did not persist it within %d ms: %s; it is merged in memory and is written to the log when that works again, but is lost if this node ends before",
		it.key, s.cfg.DurableTimeout/1000, why)
}
