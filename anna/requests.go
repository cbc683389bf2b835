package anna

import (
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// Write makes a write, which is only lent; done may be nil. The key's slot is filled in.
func (s *Server) Write(w *kernel.Write, done Completion) {
	err := s.check()
	if err == nil {
		err = CheckKey(w.Key)
	}
	if err != nil {
		if done != nil {
			done.Complete(0, err)
		}
		return
	}
	if !s.writeHere(w, done) {
		s.forward.write(w, done)
	}
}

// writeHere makes a write if this node serves its key, and reports whether it does.
func (s *Server) writeHere(w *kernel.Write, done Completion) bool {
	var shard *shard
	w.Slot, shard = s.kernels.shardOf(w.Key)
	if !s.serves[w.Slot].Load() {
		return false
	}
	if err := s.room.admit(w); err != nil {
		if done != nil {
			done.Complete(0, err)
		}
		return true
	}
	if done != nil {
		w.Ticket = done
	}
	w.Floor = s.stamps.reached.Load()
	// The slot may be given up just now, or the server stop, which has what is not in the log yet written and takes no more; and of
	// several masters one decides on what is held.
	return s.kernels.stepIf(shard, w, func(k *kernel.Kernel) bool {
		tenure := k.Tenure(w.Slot)
		return s.state.Load() != stopping && (tenure == slots.Leading || tenure < slots.Joining && w.Make == nil && w.Expect == 0)
	})
}

// View lets read see what a key holds, nil if nothing, and returns true; or false when the key is not in memory, and Fetch brings
// it there. The state may not be changed, or kept in any part but the bytes of values, and read must not block.
func (s *Server) View(key string, read func(*lattice.State)) bool {
	slot, shard := s.kernels.shardOf(key)
	if s.serves[slot].Load() {
		return shard.look(s.kernels.wall(), key, slot, read)
	}
	if now := time.Now(); !s.replicas.view(key, now, read) && !s.forward.recent.view(key, now, read) {
		return false
	}
	shard.count(key, slot)
	return true
}

// count counts a read of this node's clients that is answered.
func (s *shard) count(key string, slot uint16) {
	s.reads.Add(1)
	s.heat.read(key, slot)
}

// look is View for a key of which this node is a master.
func (s *shard) look(now int64, key string, slot uint16, read func(*lattice.State)) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	state, found := s.kernel.Get(now, key)
	if found == kernel.InLog {
		return false
	}
	s.count(key, slot)
	read(state)
	return true
}

// Touch looks at what is held under keys that are about to be accessed one after another. The keys of a large store are not in
// the processor's cache, and memory answers several looks at a time when nothing else is done in between: so this makes the
// accesses faster by more than it takes. The nth member is looked for where the nth key holds a set, if it is not empty.
func (s *Server) Touch(keys, members []string) {
	var kernels [lattice.TouchMax]uint8
	for len(keys) > 0 {
		part := keys[:min(len(keys), lattice.TouchMax)]
		partMembers := members[:len(part)]
		keys, members = keys[len(part):], members[len(part):]
		for i, key := range part {
			kernels[i] = uint8(s.cfg.partitionOf(slotOf(key, s.cfg.Slots)) % len(s.kernels.shards))
		}
		for number, shard := range s.kernels.shards {
			shard.mu.RLock()
			shard.kernel.Touch(part, partMembers, kernels[:len(part)], uint8(number))
			shard.mu.RUnlock()
		}
	}
}

// Fetch brings a key into memory that is only in the log, or on another node.
func (s *Server) Fetch(key string, done Completion) {
	slot, shard := s.kernels.shardOf(key)
	if s.serves[slot].Load() {
		s.kernels.step(shard, &kernel.Read{Key: key, Ticket: done})
		return
	}
	if err := s.check(); err != nil {
		done.Complete(0, err)
		return
	}
	s.forward.fetch(key, slot, done, fetchAttempts)
}
