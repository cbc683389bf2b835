package anna

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"cloudburst/anna/slots"
	"cloudburst/wire/pb"
)

const (
	// governInterval is how often the slots are looked at even when nobody has come or gone.
	governInterval = time.Second
	// settleTimeout bounds the time without progress while a slot that was loaded is followed to the log's end.
	settleTimeout = 10 * time.Second
)

// governor decides which slots this node serves, from who is there. Owned by the goroutine in govern.
//
//	nobody's ── the table gives it to us ──► loaded ── followed ──► served
//	    ▲                                                             │ the table gives it to others
//	    └──── they all serve it ────────── parting, still served ◄────┘
//
// Slots overlap while they move, which does no harm: all who serve one merge the same.
type governor struct {
	server  *Server
	tenures []slots.Tenure
	known   []string // the members of the last table
	table   slots.Table
}

// routing is who serves what, as far as is known at one moment.
type routing struct {
	table  slots.Table
	serves map[string]slots.Bitmap
	// led are the slots that others say they lead.
	led slots.Bitmap
}

// takePart makes this node a member until ctx ends, and returns when it serves the slots that it got first.
func (s *Server) takePart(ctx context.Context, group *errgroup.Group) error {
	m := s.members
	if err := m.open(ctx); err != nil {
		return err
	}
	if err := m.succeed(ctx); err != nil {
		return err
	}
	if err := insist(ctx, m.announce); err != nil {
		return err
	}
	loaded := make(chan struct{})
	group.Go(func() error { m.watch(ctx, loaded); return nil })
	group.Go(func() error { s.pulse(ctx); return nil })
	select {
	case <-loaded:
	case <-ctx.Done():
		return ctx.Err()
	}
	g := &governor{server: s, tenures: make([]slots.Tenure, s.cfg.Slots)}
	if err := g.begin(ctx); err != nil {
		return err
	}
	group.Go(func() error { g.govern(ctx); return nil })
	return nil
}

// pulse keeps this node's presence alive.
func (s *Server) pulse(ctx context.Context) {
	ticker := time.NewTicker(s.cfg.MemberTTL / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := s.members.announce(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("the other nodes may take this one for gone", "error", err)
		}
	}
}

// begin takes over the slots that the first table gives to this node, by replaying their part of the log.
func (g *governor) begin(ctx context.Context) error {
	s := g.server
	g.route()
	own, others := g.wanted()
	g.assign(others, slots.Stranger, 0, false)
	if err := s.replay(ctx); err != nil {
		return err
	}
	if len(own) > 0 {
		s.sweep.Store(len(others) == 0)
	}
	return insist(ctx, func(ctx context.Context) error { return g.serve(ctx, own) })
}

// wanted returns the slots that the table gives to this node, and the others.
func (g *governor) wanted() (own, others []uint16) {
	for slot, masters := range g.table {
		if slices.Contains(masters, g.server.id) {
			own = append(own, uint16(slot))
		} else {
			others = append(others, uint16(slot))
		}
	}
	return own, others
}

// route makes the table anew if somebody has come or gone.
func (g *governor) route() {
	s := g.server
	present := s.members.present()
	masters := mastersOf(present)
	if g.table == nil || !slices.Equal(masters, g.known) {
		g.known, g.table = masters, slots.NewTable(s.cfg.Slots, s.cfg.Masters, masters)
	}
	r := &routing{table: g.table, serves: map[string]slots.Bitmap{}, led: slots.NewBitmap(s.cfg.Slots)}
	others := 0
	for id, p := range present {
		r.serves[id] = p.GetServes()
		if id != s.id {
			r.led.Add(p.GetLeads())
		}
		if id != s.id && !p.GetGuest() {
			others++
		}
	}
	s.routes.Store(r)
	for _, shard := range s.shards {
		s.step(shard, &Company{Others: others > 0})
	}
	if crowded := others > 0; s.crowded.Swap(crowded) != crowded {
		for _, f := range s.followers {
			f.catchUp()
		}
	}
	s.forsakeAbsent(present)
}

// govern follows who comes and goes.
func (g *governor) govern(ctx context.Context) {
	ticker := time.NewTicker(governInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.server.members.changed:
		case <-ticker.C:
		}
		g.route()
		if err := g.move(ctx); err != nil && ctx.Err() == nil {
			g.server.cfg.Logger.Warn("slots of the store cannot be moved yet", "error", err)
		}
	}
}

// move takes over and gives up slots until it is as the table says.
func (g *governor) move(ctx context.Context) error {
	moves := g.plan().Moves(g.tenures)
	g.assign(moves.Leading, slots.Leading, 0, false)
	g.assign(moves.Serving, slots.Serving, 0, false)
	g.assign(moves.Parting, slots.Parting, 0, false)
	if err := g.claim(ctx); err != nil {
		return err
	}
	if err := g.leave(ctx, moves.Left); err != nil {
		return err
	}
	return g.take(ctx, moves.Gained)
}

// plan returns what this node decides from, as it is now.
func (g *governor) plan() *slots.Plan {
	s, r := g.server, g.server.routes.Load()
	return &slots.Plan{
		Table: g.table, Self: s.id, CutOff: s.members.cutOff(time.Now()), Led: r.led.Has,
		Served: func(member string, slot uint16) bool { return r.serves[member].Has(slot) },
	}
}

// claim says which slots this node leads, if that has changed.
func (g *governor) claim(ctx context.Context) error {
	leads := slots.NewBitmap(g.server.cfg.Slots)
	for slot, t := range g.tenures {
		if t == slots.Leading {
			leads.Set(uint16(slot))
		}
	}
	changed := false
	g.server.members.change(func(p *pb.Presence) {
		changed = !bytes.Equal(p.GetLeads(), leads)
		p.Leads = leads
		p.Floors = g.server.floors() // what is led now is counted in them
	})
	if !changed {
		return nil
	}
	return g.server.members.announce(ctx)
}

// take loads slots and serves them.
func (g *governor) take(ctx context.Context, moving []uint16) error {
	if len(moving) == 0 {
		return nil
	}
	s := g.server
	began := time.Now()
	s.cfg.Logger.Info("taking over slots of the store", "slots", len(moving))
	s.moving.Store(int64(len(moving)))
	defer s.moving.Store(0)
	byPartition := map[int][]uint16{}
	for _, slot := range moving {
		p := s.cfg.partitionOf(slot)
		byPartition[p] = append(byPartition[p], slot)
	}
	g.assign(moving, slots.Joining, 0, false)
	ends := make([]uint64, s.cfg.Streams)
	group, loading := errgroup.WithContext(ctx)
	for p, part := range byPartition {
		group.Go(func() (err error) {
			ends[p], err = s.followers[p].load(loading, part)
			return err
		})
	}
	err := group.Wait()
	if err == nil {
		for p, part := range byPartition {
			g.appoint(part, ends[p], !g.holds(p))
			s.followers[p].catchUp()
		}
		err = g.settle(ctx, byPartition)
	}
	if err != nil {
		g.assign(moving, slots.Stranger, 0, false) // what has been brought is of no use
		return fmt.Errorf("load %d slots: %w", len(moving), err)
	}
	if err := g.serve(ctx, moving); err != nil {
		return err
	}
	s.cfg.Logger.Info("serving slots of the store", "slots", len(moving), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// settle waits until the slots that were loaded have been followed to where the log ends now: what has been replaced while it was
// read is there again then, unless it has been replaced once more. A kernel that served before it had all that it has written
// itself could count the same twice.
func (g *governor) settle(ctx context.Context, partitions map[int][]uint16) error {
	for range settlePasses {
		whole := true
		for p := range partitions {
			f := g.server.followers[p]
			gaps := f.gaps.Load()
			if err := g.reach(ctx, f); err != nil {
				return err
			}
			whole = whole && gaps == f.gaps.Load()
		}
		if whole {
			break
		}
	}
	return nil
}

// reach waits until a stream has been followed to its last record.
func (g *governor) reach(ctx context.Context, f *follower) error {
	record, err := g.server.log.lastRecord(ctx, f.partition)
	if err != nil {
		return err
	}
	at, since := f.position(), time.Now()
	for at < record {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
		if now := f.position(); now > at {
			at, since = now, time.Now()
		} else if time.Since(since) > settleTimeout {
			return fmt.Errorf("stream %s is followed to %d of %d", g.server.cfg.streamName(f.partition), at, record)
		}
	}
	return nil
}

// holds reports whether this node is a master of any slot of a partition.
func (g *governor) holds(partition int) bool {
	for slot, t := range g.tenures {
		if t < slots.Joining && g.server.cfg.partitionOf(uint16(slot)) == partition {
			return true
		}
	}
	return false
}

// appoint makes the kernels masters of slots, of those that the table has this node first for leading ones.
func (g *governor) appoint(moving []uint16, sequence uint64, first bool) {
	var leading, serving []uint16
	plan := g.plan()
	for _, slot := range moving {
		tenure, list := plan.Tenure(slot), &serving
		if tenure == slots.Leading {
			list = &leading
		} else {
			tenure = slots.Serving
		}
		if g.tenures[slot] != tenure {
			*list = append(*list, slot)
		}
	}
	g.assign(leading, slots.Leading, sequence, first)
	g.assign(serving, slots.Serving, sequence, first)
}

// serve takes requests for slots and lets the others know.
func (g *governor) serve(ctx context.Context, moving []uint16) error {
	s := g.server
	g.appoint(moving, 0, false)
	if err := s.listen(moving); err != nil {
		return err
	}
	s.setServes(moving, true)
	if err := g.claim(ctx); err != nil {
		return err
	}
	return s.members.announce(ctx)
}

// leave gives slots up that others serve.
func (g *governor) leave(ctx context.Context, moving []uint16) error {
	if len(moving) == 0 {
		return nil
	}
	s := g.server
	s.setServes(moving, false)
	s.deafen(moving)
	g.assign(moving, slots.Stranger, 0, false)
	s.cfg.Logger.Info("gave up slots of the store", "slots", len(moving))
	return s.members.announce(ctx)
}

// assign tells the kernels what they are to slots.
func (g *governor) assign(moving []uint16, tenure slots.Tenure, sequence uint64, first bool) {
	if len(moving) == 0 {
		return
	}
	s := g.server
	byShard := map[*shard][]uint16{}
	for _, slot := range moving {
		g.tenures[slot] = tenure
		shard := s.shards[s.cfg.partitionOf(slot)%len(s.shards)]
		byShard[shard] = append(byShard[shard], slot)
	}
	for shard := range maps.Keys(byShard) {
		s.step(shard, &Assign{Slots: byShard[shard], Tenure: tenure, Sequence: sequence, First: first})
	}
}

// setServes changes what this node serves, and what it says that it does.
func (s *Server) setServes(which []uint16, is bool) {
	for _, slot := range which {
		s.serves[slot].Store(is)
	}
	serves := slots.NewBitmap(s.cfg.Slots)
	for slot := range s.serves {
		if s.serves[slot].Load() {
			serves.Set(uint16(slot))
		}
	}
	s.members.change(func(p *pb.Presence) { p.Serves = serves })
	if r := s.routes.Load(); r != nil {
		next := &routing{table: r.table, led: r.led, serves: maps.Clone(r.serves)}
		next.serves[s.id] = serves
		s.routes.Store(next)
	}
}

// part lets others take over all slots before this node goes, as far as they do so in time.
func (s *Server) part(ctx context.Context) {
	if s.cfg.Guest || !s.crowded.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	if err := s.sayLeaving(ctx); err != nil {
		s.cfg.Logger.Warn("the other nodes do not know that this one goes", "error", err)
		return
	}
	ticker := time.NewTicker(drainTick)
	defer ticker.Stop()
	for s.servesAny() && s.crowded.Load() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			s.cfg.Logger.Warn("going before other nodes have taken over all slots", "waited", s.cfg.DrainTimeout)
			return
		}
	}
}

// sayLeaving lets the others know that this node is about to go.
func (s *Server) sayLeaving(ctx context.Context) error {
	if s.members.cutOff(time.Now()) {
		return errCutOff
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	s.members.change(func(p *pb.Presence) { p.Leaving = true })
	s.members.notify()
	return s.members.announce(ctx)
}

func (s *Server) servesAny() bool {
	for slot := range s.serves {
		if s.serves[slot].Load() {
			return true
		}
	}
	return false
}
