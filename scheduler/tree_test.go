package scheduler

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Trees grow while their runs are cancelled, fail and succeed: in the end nothing is in flight, each call has been answered once, and
// nothing is below a run that ended without success but what is detached.
func TestTreesUnderLoad(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "f"})
	var executing sync.WaitGroup
	defer executing.Wait()
	invoked := make(chan *wire.Invocation, 1<<16)
	s := start(t, Config{}, registry, newFakeStore(), executorFunc(func(inv *wire.Invocation) { invoked <- inv }))
	var numbers atomic.Uint64
	next := func() wire.RunID {
		var id wire.RunID
		n := numbers.Add(1)
		binary.LittleEndian.PutUint64(id[:], n*0x9e3779b97f4a7c15)
		binary.LittleEndian.PutUint64(id[8:], n)
		return id
	}
	var mu sync.Mutex
	parents := make(map[wire.RunID]wire.RunID) // of those that are not detached
	ends := make(map[wire.RunID]*wire.Error)
	var waiting sync.WaitGroup
	var calls atomic.Int64
	call := func(parent wire.RunID, detached bool) {
		if calls.Add(1) > 4000 {
			return
		}
		id := next()
		c := callFunction(id, "f", 0)
		if parent != (wire.RunID{}) {
			c.Parent, c.Detached = parent[:], detached
		}
		waiting.Add(1)
		s.Call(1, c, nil, nil, func(r wire.Result) bool {
			mu.Lock()
			defer mu.Unlock()
			if _, twice := ends[id]; twice {
				t.Errorf("run %v was answered twice", id)
			}
			ends[id] = r.Err
			if !detached && parent != (wire.RunID{}) {
				parents[id] = parent
			}
			waiting.Done()
			return true
		})
	}
	stop := make(chan struct{})
	for range 4 {
		executing.Go(func() {
			for {
				var inv *wire.Invocation
				select {
				case inv = <-invoked:
				case <-stop:
					return
				}
				for range rand.IntN(3) {
					call(inv.RunID, rand.IntN(4) == 0)
				}
				switch rand.IntN(4) {
				case 0:
					inv.Done(wire.Result{Err: wire.Errorf(pb.Code_CODE_EXECUTION, "oops")})
				case 1:
					if err := s.Cancel(inv.RunID, "a test", ""); err != nil {
						t.Error(err)
					}
					inv.Done(wire.Result{Value: answer}) // dropped
				default:
					inv.Done(wire.Result{Value: answer})
				}
			}
		})
	}
	for range 1500 {
		call(wire.RunID{}, false)
	}
	waiting.Wait()
	close(stop)
	executing.Wait()
	if stats := s.Stats(); stats.InFlight != 0 || stats.Cancelled == 0 || stats.Failed == 0 || stats.Finished == 0 {
		t.Errorf("stats %+v", stats)
	}
	deadline := time.Now()
	s.known(func(r *record) {
		if r.ended == 0 || time.UnixMicro(r.ended).After(deadline) {
			t.Errorf("run %v is %v", r.id, r.state())
		}
	})
	for _, r := range s.table.all() {
		t.Errorf("run %v is in the table", r.id)
	}
	mu.Lock()
	defer mu.Unlock()
	for id, parent := range parents {
		err, known := ends[parent]
		if known && err != nil && ends[id] != nil && ends[id].Code != pb.Code_CODE_CANCELLED && ends[id].Code != pb.Code_CODE_EXECUTION {
			t.Errorf("run %v ended with %v", id, ends[id])
		}
	}
}
