package scheduler

import (
	"sync"
	"time"

	"cloudburst/wire"
)

// tableShards spreads the runs over several locks. Run ids are random, so their first byte will do.
const tableShards = 8

// table holds the runs in flight and the times they wait for. Safe for concurrent use.
type table struct {
	epoch  time.Time // tick 0
	shards [tableShards]shard
}

type shard struct {
	mu    sync.Mutex
	runs  map[wire.RunID]*run
	wheel wheel
}

func newTable(epoch time.Time) *table {
	t := &table{epoch: epoch}
	for i := range t.shards {
		t.shards[i].runs = make(map[wire.RunID]*run)
		t.shards[i].wheel.init()
	}
	return t
}

func (t *table) shard(id wire.RunID) *shard { return &t.shards[id[0]%tableShards] }

// tick returns the first tick that is not before at.
func (t *table) tick(at time.Time) int64 {
	const tick = wheelTickMilliseconds * time.Millisecond
	return int64((at.Sub(t.epoch) + tick - 1) / tick)
}

// add puts a run into the table, unless its id is taken, by the run that is returned, or admit objects, under the lock.
func (t *table) add(r *run, admit func() error) (*run, error) {
	s := t.shard(r.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if existing := s.runs[r.id]; existing != nil {
		return existing, nil
	}
	if err := admit(); err != nil {
		return nil, err
	}
	s.runs[r.id] = r
	s.wheel.add(&r.alarm, t.tick(r.deadline))
	return nil, nil
}

// find returns the run of an id, or nil.
func (t *table) find(id wire.RunID) *run {
	s := t.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[id]
}

// remove takes a run out of the table.
func (t *table) remove(r *run) {
	s := t.shard(r.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, r.id)
	s.wheel.remove(&r.alarm)
}

// retryAt notes when an invocation is launched again.
func (t *table) retryAt(inv *invocation, at time.Time) {
	s := t.shard(inv.run.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wheel.add(&alarm{run: inv.run, retry: inv}, t.tick(at))
}

// alarmAt notes when a gate opens.
func (t *table) alarmAt(a *alarm, at time.Time) {
	s := &t.shards[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wheel.add(a, t.tick(at))
}

// due appends the alarms whose time has come.
func (t *table) due(now time.Time, due []*alarm) []*alarm {
	tick := int64(now.Sub(t.epoch) / (wheelTickMilliseconds * time.Millisecond))
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		due = s.wheel.advance(tick, due)
		s.mu.Unlock()
	}
	return due
}

// all returns the runs in the table.
func (t *table) all() []*run {
	var runs []*run
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, r := range s.runs {
			runs = append(runs, r)
		}
		s.mu.Unlock()
	}
	return runs
}
