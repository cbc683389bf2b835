package kernel

import "errors"

var errNoAnswer = errors.New("the log did not answer in time")

func (c *changeset) failed(at Moment, m *Failed, out *Effects) {
	if r := c.publications.find(m.Publish); r != nil {
		c.fail(at, r, m.Err, out)
		c.publications.dropAnswered()
		c.waiters.dropAnswered()
	}
}

// fail puts what was published back into the changeset, and pauses before the log is tried again.
func (c *changeset) fail(at Moment, r *publication, err error, out *Effects) {
	p := c.partitions.of(r.items[0].slot)
	c.failures++
	c.publications.close(r, p)
	for _, it := range r.items {
		c.takeBack(it)
		for _, w := range it.busy.waiters {
			if w.memory {
				c.waiters.answer(w, nil, out) // there is no point in waiting
			}
		}
		c.enqueue(p, it, true)
	}
	c.publications.recycle(r)
	p.err = err
	// Publishes that were outstanding when the log failed fail with it, and say nothing new.
	if p.failures == 0 || at.Elapsed >= p.retryAt {
		p.retryAt = at.Elapsed + min(c.cfg.RetryMin<<min(p.failures, 30), c.cfg.RetryMax)
		p.failures++
	}
	c.pump(at, p, out)
}

// overdue gives up on publishes and durable writes that have waited too long.
func (c *changeset) overdue(at Moment, out *Effects) {
	deadlines := &c.publications.deadlines
	for d, ok := deadlines.peek(); ok; d, ok = deadlines.peek() {
		r := c.publications.find(d.id)
		if r != nil && d.at > at.Elapsed {
			break
		}
		deadlines.pop()
		switch {
		case r == nil:
		case c.advances(at, r):
			deadlines.push(publishDeadline{d.id, r.alive + c.cfg.PublishTimeout})
		default:
			c.fail(at, r, errNoAnswer, out)
		}
	}
	for w, ok := c.waiters.due(at); ok; w, ok = c.waiters.due(at) {
		switch {
		case w.it.busy.flight != nil && c.advances(at, w.it.busy.flight.publication):
			c.waiters.extend(w, at.Elapsed+c.cfg.PublishTimeout)
		case w.memory:
			c.waiters.answer(w, nil, out)
		default:
			c.waiters.answer(w, c.waiters.unavailable(w.it), out)
		}
	}
}
