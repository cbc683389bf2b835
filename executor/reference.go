package executor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cloudburst/cache"
	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// referenceIn reports whether an argument has to be replaced before the function runs.
func referenceIn(values [][]byte) bool {
	for _, v := range values {
		if len(v) > 0 && (v[0] == codec.KindReference || codec.HasElements(v)) {
			return true
		}
	}
	return false
}

// resolve replaces the references among an invocation's arguments by what their keys hold, waiting for keys that are not there
// yet, and then submits the invocation. No worker is held while it waits.
func (e *Executor) resolve(t *invocation) {
	references, err := references(t.inv.Values)
	if err != nil {
		t.finish(wire.Result{Err: wire.AsError(err)})
		return
	}
	entries := make([]cache.Entry, len(references))
	for i, r := range references {
		entry, ok := e.store.Peek(r.Key)
		if !ok || entry.Absent() {
			if !e.start(func() { e.resolveSlowly(t, references) }) {
				t.failStopping()
			}
			return
		}
		entries[i] = entry
		t.inv.Trace.Read(r.Key, false)
	}
	e.submitResolved(t, references, entries)
}

func (e *Executor) resolveSlowly(t *invocation, references []codec.Ref) {
	keys := make([]string, len(references))
	for i, r := range references {
		keys[i] = r.Key
		t.inv.Trace.Read(r.Key, true)
	}
	if err := e.blockBy(t, keys); err != nil {
		t.finish(wire.Result{Err: err})
		return
	}
	defer e.unblock(t)
	life, stop := context.WithCancel(e.life)
	defer stop()
	if !e.resolvable(t, stop) {
		t.failCancelled(e)
		return
	}
	defer e.resolved(t)
	var waited time.Duration
	for {
		expected := slices.ContainsFunc(keys, e.cfg.Expected)
		wait := max(0, min(e.cfg.ReferenceWait, time.Until(t.expiry())))
		ctx, cancel := context.WithTimeout(life, wait+hostCallMax)
		entries, err := e.store.Get(ctx, keys, wait)
		cancel()
		if err != nil {
			switch {
			case e.life.Err() != nil:
				t.failStopping()
				return
			case t.cancelled() != nil:
				t.failCancelled(e)
				return
			}
			t.finish(wire.Result{Err: wire.AsError(fmt.Errorf("run %s: read the references %.200q: %w", t.names(), keys, err))})
			return
		}
		missing := slices.IndexFunc(entries, cache.Entry.Absent)
		if missing < 0 {
			e.unblock(t)
			e.submitResolved(t, references, entries)
			return
		}
		waited += wait
		// A result that was still being made when the look began is worth another.
		if wait == 0 || !expected {
			t.fail(pb.Code_CODE_KEY_NOT_FOUND, "run %s: an argument refers to key %q, which did not appear within %v (executor.reference_wait)",
				t.names(), keys[missing], waited.Round(time.Millisecond))
			return
		}
	}
}

// blockBy notes for which runs an invocation waits, as far as its keys tell, and gives those that are queued to a worker that waits for the
// invocation. It returns an error when one of them waits for the invocation.
func (e *Executor) blockBy(t *invocation, keys []string) *wire.Error {
	var runs []wire.RunID
	for _, key := range keys {
		if run, err := wire.ParseResultKey(key); err == nil {
			runs = append(runs, run)
		}
	}
	if len(runs) == 0 {
		return nil
	}
	e.mu.Lock()
	err := e.waits.cycle(t, runs)
	if err == nil {
		e.waits.block(t, runs)
	}
	e.mu.Unlock()
	e.help()
	return err
}

func (e *Executor) unblock(t *invocation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waits.unblock(t)
}

func (e *Executor) submitResolved(t *invocation, references []codec.Ref, entries []cache.Entry) {
	values := make([][]byte, len(t.inv.Values))
	next := 0
	take := func() ([]byte, error) {
		v, err := referenced(references[next], entries[next])
		next++
		return v, err
	}
	for i, v := range t.inv.Values {
		resolved, err := replace(v, take)
		if err == nil {
			err = wire.CheckValue("an argument", resolved)
		}
		if err != nil {
			t.finish(wire.Result{Err: wire.AsError(fmt.Errorf("run %s: %w", t.names(), err))})
			return
		}
		values[i] = resolved
	}
	inv := *t.inv
	inv.Values = values
	t.inv = &inv
	e.submit(t)
}

// references returns the references in the arguments, in the order in which replace meets them.
func references(values [][]byte) ([]codec.Ref, error) {
	var found []codec.Ref
	collect := func(v []byte) error {
		r, err := codec.DecodeReference(v)
		if err == nil {
			found = append(found, r)
		}
		return err
	}
	for _, v := range values {
		switch {
		case len(v) == 0:
		case v[0] == codec.KindReference:
			if err := collect(v); err != nil {
				return nil, err
			}
		case codec.HasElements(v):
			elements, err := codec.SplitSequence(v)
			if err != nil {
				return nil, err
			}
			for _, element := range elements {
				if len(element) > 0 && element[0] == codec.KindReference {
					if err := collect(element); err != nil {
						return nil, err
					}
				}
			}
		}
	}
	return found, nil
}

// replace returns an argument with its references taken out.
func replace(v []byte, take func() ([]byte, error)) ([]byte, error) {
	if len(v) == 0 {
		return v, nil
	}
	switch {
	case v[0] == codec.KindReference:
		return take()
	case codec.HasElements(v):
		elements, err := codec.SplitSequence(v)
		if err != nil {
			return nil, err
		}
		for i, element := range elements {
			if len(element) > 0 && element[0] == codec.KindReference {
				if elements[i], err = take(); err != nil {
					return nil, err
				}
			}
		}
		return codec.JoinElements(v[0], elements), nil
	default:
		return v, nil
	}
}

// referenced returns the value that takes a reference's place. A stored failure fails the run that refers to it.
func referenced(r codec.Ref, entry cache.Entry) ([]byte, error) {
	var value []byte
	switch {
	case entry.Type == pb.LatticeType_LATTICE_TYPE_SET: // reads as a list
		value = codec.JoinSequence(entry.Values)
	case len(entry.Values) == 1 && len(entry.Values[0]) > 0:
		value = entry.Values[0]
	default:
		return nil, wire.Errorf(pb.Code_CODE_INTERNAL, "key %q, which an argument refers to, holds %d values", r.Key, len(entry.Values))
	}
	if failure := codec.DecodeFailure(value); failure != nil {
		return nil, failure
	}
	if !r.Raw || value[0] == codec.KindBytes {
		return value, nil
	}
	raw := make([]byte, 0, 1+len(value))
	raw = append(raw, codec.KindBytes)
	return append(raw, value...), nil
}
