package anna

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/wire/pb"
)

const (
	// lookInterval is how often the mover looks at who is there, even when nothing has come from the others.
	lookInterval = time.Second
	// settleTimeout bounds the time without progress while slots that were loaded are followed to the log's end, and retryPause is
	// before they are loaded again.
	settleTimeout = 10 * time.Second
	retryPause    = time.Second
	// positionInterval is how often the mover looks how far a stream has been followed while slots wait for that.
	positionInterval = time.Millisecond
	// eventsMax bounds the events that wait for the mover. What sends them waits.
	eventsMax = 64
)

// mover has slots.Mover decide which slots this node serves, and carries that out. What takes long runs in goroutines of its own, and
// comes back as an event. The fields are owned by the goroutine in run, but for the channels.
type mover struct {
	server  *Server
	machine *slots.Mover
	began   time.Time
	alive   int64 // as the machine knows it
	present map[string]*pb.Presence
	table   slots.Table
	awaited []slots.Await
	told    map[uint64]slots.Position     // last, by transfer
	running map[uint64]context.CancelFunc // what takes long, by transfer
	taken   map[uint64]time.Time          // when loading began, by transfer
	replay  struct{ began, ended time.Time }

	events  chan slots.Event
	ready   chan struct{} // closed when the slots that this node got first are served
	failed  chan error    // why they are not
	stopped chan error    // the answer to slots.Leave
}

func newMover(s *Server) *mover {
	cfg := &s.cfg
	return &mover{
		server: s, began: time.Now(),
		machine: slots.NewMover(slots.Config{
			Self: s.id, Guest: cfg.Guest, Slots: cfg.Slots, Streams: cfg.Streams, Masters: cfg.Masters,
			MemberTTL: cfg.MemberTTL.Microseconds(), BeginTimeout: openTimeout.Microseconds(), SettleTimeout: settleTimeout.Microseconds(),
			RetryPause: retryPause.Microseconds(), AnnouncePause: openRetryDelay.Microseconds(),
			LeaveTimeout: leaveTimeout.Microseconds(), DrainTimeout: cfg.DrainTimeout.Microseconds(),
		}),
		told: map[uint64]slots.Position{}, running: map[uint64]context.CancelFunc{}, taken: map[uint64]time.Time{},
		events: make(chan slots.Event, eventsMax), ready: make(chan struct{}), failed: make(chan error, 1), stopped: make(chan error, 1),
	}
}

// tell brings an event to the machine.
func (d *mover) tell(ctx context.Context, e slots.Event) {
	select {
	case d.events <- e:
	case <-ctx.Done():
	}
}

// run moves slots until ctx ends.
func (d *mover) run(ctx context.Context) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	positions := time.NewTicker(positionInterval)
	defer positions.Stop()
	positions.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	d.look(ctx)
	for polling := false; ; {
		if wants := len(d.awaited) > 0; wants && !polling {
			positions.Reset(positionInterval)
		} else if !wants && polling {
			positions.Stop()
		}
		polling = len(d.awaited) > 0
		due.Reset(time.Duration(min(d.machine.Wake()-d.now(), lookInterval.Microseconds())) * time.Microsecond)
		select {
		case <-ctx.Done():
			return
		case e := <-d.events:
			d.step(ctx, e)
		case <-d.server.members.changed:
			d.look(ctx)
		case <-ticker.C:
			d.look(ctx)
		case <-positions.C:
			d.position(ctx)
		case <-due.C:
			d.step(ctx, slots.Tick{})
		}
	}
}

func (d *mover) now() int64 { return time.Since(d.began).Microseconds() }

// look tells the machine who is there.
func (d *mover) look(ctx context.Context) {
	d.present = d.server.members.present()
	var members slots.Members
	for _, id := range slices.Sorted(maps.Keys(d.present)) {
		if p := d.present[id]; id != d.server.id {
			members.Others = append(members.Others, slots.Member{
				ID: id, Guest: p.GetGuest(), Leaving: p.GetLeaving(), Serves: p.GetServes(), Leads: p.GetLeads(),
			})
		}
	}
	d.step(ctx, members)
	d.server.forgetAbsent(d.present)
}

// step lets the machine take in an event, and those that follow from it at once.
func (d *mover) step(ctx context.Context, e slots.Event) {
	if at := d.server.members.announcedAt().Sub(d.began).Microseconds(); at != d.alive {
		d.alive = at
		d.step(ctx, slots.Alive{At: at})
	}
	if _, ok := e.(slots.Replayed); ok {
		d.replay.ended = time.Now()
	}
	for events := []slots.Event{e}; len(events) > 0; events = events[1:] {
		for _, a := range d.machine.Step(d.now(), events[0]) {
			if answer := d.perform(ctx, a); answer != nil {
				events = append(events, answer)
			}
		}
	}
	d.server.moving.Store(int64(d.machine.Joining()))
}

// perform does what the machine wants done. It returns the event that answers it, if that is known at once.
func (d *mover) perform(ctx context.Context, a slots.Action) slots.Event {
	s := d.server
	switch a := a.(type) {
	case slots.Assign:
		s.assign(&a)
	case slots.Route:
		d.table = a.Table
		d.route()
	case slots.Company:
		d.company(a.Others)
	case slots.Replay:
		d.begin(ctx, a)
	case slots.Load:
		d.load(ctx, a)
	case slots.AskEnd:
		d.askEnd(ctx, a)
	case slots.Await:
		d.forget(a.Transfer)
		d.awaited = append(d.awaited, a)
	case slots.Abandon:
		d.abandon(a)
	case slots.Listen:
		d.forget(a.Transfer)
		return slots.Listening{Transfer: a.Transfer, Err: s.inbox.listen(a.Slots)}
	case slots.Serve:
		d.serve(a.Transfer, a.Slots)
	case slots.Unserve:
		s.setServes(a.Slots, false)
		d.route()
		s.inbox.unlisten(a.Slots)
		s.cfg.Logger.Info("gave up slots of the store", "slots", len(a.Slots))
	case slots.Announce:
		d.announce(ctx, a)
	case slots.Ready:
		d.replayed(a.All)
		close(d.ready)
	case slots.Stop:
		d.stopped <- a.Err
	case slots.Fail:
		d.failed <- a.Err
	}
	return nil
}

// assign tells the kernels what they are to slots.
func (s *Server) assign(a *slots.Assign) {
	byShard := map[*shard][]uint16{}
	for _, slot := range a.Slots {
		shard := s.kernels.ofSlot(slot)
		byShard[shard] = append(byShard[shard], slot)
	}
	for shard, which := range byShard {
		s.kernels.step(shard, &kernel.Assign{Slots: which, Tenure: a.Tenure, Sequence: a.Sequence, First: a.First})
	}
}

func (d *mover) company(others bool) {
	s := d.server
	for _, shard := range s.kernels.shards {
		s.kernels.step(shard, &kernel.Company{Others: others})
	}
	if s.crowded.Swap(others) == others {
		return
	}
	for _, f := range s.followers {
		f.catchUp()
	}
}

// begin has a stream replayed.
func (d *mover) begin(ctx context.Context, a slots.Replay) {
	s := d.server
	if d.replay.began.IsZero() {
		d.replay.began = time.Now()
	}
	d.start(ctx, a.Transfer, func(ctx context.Context) slots.Event {
		gap, err := s.followers[a.Stream].replay(ctx)
		if err != nil {
			err = fmt.Errorf("%w: %w", errReplay, err)
		}
		return slots.Replayed{Transfer: a.Transfer, Gap: gap, Err: err}
	})
}

// load has all records of slots brought.
func (d *mover) load(ctx context.Context, a slots.Load) {
	s := d.server
	s.cfg.Logger.Info("taking over slots of the store", "stream", s.cfg.streamName(a.Stream), "slots", len(a.Slots))
	d.taken[a.Transfer] = time.Now()
	d.start(ctx, a.Transfer, func(ctx context.Context) slots.Event {
		end, err := s.followers[a.Stream].load(ctx, a.Slots)
		return slots.Loaded{Transfer: a.Transfer, End: end, Err: err}
	})
}

// askEnd has a stream followed, and asks where its last record is.
func (d *mover) askEnd(ctx context.Context, a slots.AskEnd) {
	s := d.server
	d.forget(a.Transfer)
	f := s.followers[a.Stream]
	f.catchUp()
	gaps := f.gaps.Load() // before the question: what is met from now on is a gap of this pass
	d.start(ctx, a.Transfer, func(ctx context.Context) slots.Event {
		record, err := s.log.lastRecord(ctx, a.Stream)
		return slots.EndKnown{Transfer: a.Transfer, Record: record, Gaps: gaps, Err: err}
	})
}

// start does something for a transfer that takes long.
func (d *mover) start(ctx context.Context, transfer uint64, do func(context.Context) slots.Event) {
	doing, cancel := context.WithCancel(ctx)
	if before := d.running[transfer]; before != nil {
		before() // it has come back
	}
	d.running[transfer] = cancel
	d.server.tasks.start(func(context.Context) {
		defer cancel()
		d.tell(doing, do(doing))
	})
}

// position tells the machine how far the streams have been followed that it waits for.
func (d *mover) position(ctx context.Context) {
	for _, a := range slices.Clone(d.awaited) {
		f := d.server.followers[a.Stream]
		now := slots.Position{Transfer: a.Transfer, Sequence: f.position(), Gaps: f.gaps.Load()}
		if d.told[a.Transfer] != now {
			d.told[a.Transfer] = now
			d.step(ctx, now)
		}
	}
}

// forget does not tell any more how far the stream of a transfer has been followed.
func (d *mover) forget(transfer uint64) {
	d.awaited = slices.DeleteFunc(d.awaited, func(a slots.Await) bool { return a.Transfer == transfer })
	delete(d.told, transfer)
}

func (d *mover) abandon(a slots.Abandon) {
	d.forget(a.Transfer)
	if cancel := d.running[a.Transfer]; cancel != nil {
		cancel()
		delete(d.running, a.Transfer)
	}
	delete(d.taken, a.Transfer)
	d.server.cfg.Logger.Warn("slots of the store cannot be taken over yet", "slots", len(a.Slots), "error", a.Err)
}

// announce lets the other nodes know what this one does.
func (d *mover) announce(ctx context.Context, a slots.Announce) {
	s := d.server
	s.members.change(func(p *pb.Presence) {
		p.Serves, p.Leads, p.Leaving = a.Serves, a.Leads, a.Leaving
		p.Floors = s.floors() // what is led now is counted in them
	})
	s.tasks.start(func(context.Context) { d.tell(ctx, slots.Announced{Err: s.members.announce(ctx)}) })
}

// serve answers requests for slots.
func (d *mover) serve(transfer uint64, which []uint16) {
	d.server.setServes(which, true)
	d.route()
	if began, ok := d.taken[transfer]; ok {
		d.server.cfg.Logger.Info("serving slots of the store", "slots", len(which), "took", time.Since(began).Round(time.Millisecond))
		delete(d.taken, transfer)
	}
}

// route makes known who is to serve which slots, and who does.
func (d *mover) route() {
	r := &routing{table: d.table, serves: make(map[string]slots.Bitmap, len(d.present))}
	for id, p := range d.present {
		r.serves[id] = p.GetServes()
	}
	r.serves[d.server.id] = d.machine.Serves()
	d.server.routes.Store(r)
}

// replayed takes note of what the start took.
func (d *mover) replayed(all bool) {
	s := d.server
	s.sweep.Store(all)
	took := time.Duration(0)
	if !d.replay.began.IsZero() {
		took = d.replay.ended.Sub(d.replay.began)
	}
	s.stats.replayMilliseconds.Store(uint64(took.Milliseconds()))
	records := uint64(0)
	for _, shard := range s.kernels.shards {
		shard.mu.RLock()
		records += shard.kernel.Stats().Applied
		shard.mu.RUnlock()
	}
	s.stats.replayed.Store(records)
	s.cfg.Logger.Info("the store's log is replayed", "records", records, "took", took.Round(time.Millisecond))
}
