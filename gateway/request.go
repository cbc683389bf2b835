package gateway

import (
	"cmp"
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"cloudburst/cache"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// handle does what the request asks for. What has to be waited for is not waited for here, since this is the goroutine that
// reads the client's next request.
func (q *request) handle(ctx context.Context, frame wire.Frame) {
	switch body := frame.Header.GetBody().(type) {
	case *pb.Header_Call:
		q.call(body.Call, frame.Values)
	case *pb.Header_Get:
		q.get(ctx, body.Get)
	case *pb.Header_Put:
		q.put(body.Put, frame.Values)
	case *pb.Header_Delete:
		q.delete(ctx, body.Delete)
	case *pb.Header_ListKeys:
		q.listKeys(ctx, body.ListKeys)
	case *pb.Header_RegisterFunction:
		q.registerFunction(ctx, body.RegisterFunction.GetFunction(), frame.Values)
	case *pb.Header_RegisterDag:
		q.change(ctx, func(ctx context.Context) error {
			if body.RegisterDag.GetReplace() {
				return q.registry().ReplaceDAG(ctx, body.RegisterDag.GetDag())
			}
			return q.registry().RegisterDAG(ctx, body.RegisterDag.GetDag())
		})
	case *pb.Header_DeleteFunction:
		q.change(ctx, func(ctx context.Context) error {
			if body.DeleteFunction.GetForce() {
				return q.registry().DeleteFunctionAndDAGs(ctx, body.DeleteFunction.GetName())
			}
			return q.registry().DeleteFunction(ctx, body.DeleteFunction.GetName())
		})
	case *pb.Header_DeleteDag:
		q.change(ctx, func(ctx context.Context) error {
			return q.registry().DeleteDAG(ctx, body.DeleteDag.GetName())
		})
	case *pb.Header_ListFunctions:
		q.later(ctx, registryTimeout, func(context.Context) {
			found := q.registry().Functions(body.ListFunctions.GetPrefix(), body.ListFunctions.GetVersions())
			q.replyWith(&pb.Header{Body: &pb.Header_Functions{Functions: &pb.Functions{Functions: found}}}, nil)
		})
	case *pb.Header_ListDags:
		q.later(ctx, registryTimeout, func(context.Context) {
			found := q.registry().DAGs(body.ListDags.GetPrefix())
			q.replyWith(&pb.Header{Body: &pb.Header_Dags{Dags: &pb.Dags{Dags: found}}}, nil)
		})
	case *pb.Header_GetStatus:
		q.later(ctx, storeTimeout, func(context.Context) {
			q.replyWith(&pb.Header{Body: &pb.Header_Status_{Status_: q.stream.gateway.backend.Status()}}, nil)
		})
	case *pb.Header_GetAnnaStatus:
		q.later(ctx, storeTimeout, func(ctx context.Context) {
			q.replyWith(&pb.Header{Body: &pb.Header_AnnaStatus_{AnnaStatus_: q.stream.gateway.backend.AnnaStatus(ctx)}}, nil)
		})
	case *pb.Header_Watch:
		q.watch(ctx, body.Watch)
	case *pb.Header_GetLogs:
		q.logs(ctx, body.GetLogs)
	case *pb.Header_CancelRun:
		q.cancelRun(body.CancelRun)
	case *pb.Header_ListRuns:
		q.listRuns(ctx, body.ListRuns)
	case *pb.Header_GetRun:
		q.getRun(ctx, body.GetRun)
	case *pb.Header_Unwatch:
		q.stream.unwatch(body.Unwatch.GetId())
		q.reply(nil)
	default:
		q.fail(wire.Errorf(pb.Code_CODE_UNSUPPORTED, "this node, version %s, does not know the request; a newer one may", q.stream.gateway.cfg.Version))
	}
}

func (q *request) registry() Registry { return q.stream.gateway.backend.Registry }
func (q *request) store() Store       { return q.stream.gateway.backend.Store }

// later runs what has to wait on a goroutine of its own, if there may be one more of these.
func (q *request) later(ctx context.Context, timeout time.Duration, do func(context.Context)) {
	g := q.stream.gateway
	select {
	case g.slots <- struct{}{}:
	default:
		q.fail(wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%d requests wait for the store or the registry already, the limit (gateway.background_max); try again later", cap(g.slots)))
		return
	}
	q.stream.background.Go(func() {
		defer func() { <-g.slots }()
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		do(ctx)
	})
}

// change makes a change of the registry.
func (q *request) change(ctx context.Context, do func(context.Context) error) {
	q.later(ctx, registryTimeout, func(ctx context.Context) { q.answer(do(ctx)) })
}

func (q *request) call(call *pb.Call, values [][]byte) {
	for c := call; c != nil; c = c.GetContinuation() {
		if err := wire.CheckWrite(c.GetOutputKey()); err != nil {
			q.fail(err)
			return
		}
	}
	if call.GetStreamCredit() > 0 {
		q.streamed(call, values)
		return
	}
	if call.GetCancelOnDisconnect() {
		q.tie(call)
	}
	q.scheduler().Call(q.stream.number, call, values, nil, q.called)
}

// called takes the result of a run to the client.
func (q *request) called(result wire.Result) bool {
	if q.tied != nil {
		q.untie()
	}
	if result.Err != nil {
		return q.fail(result.Err)
	}
	return q.reply([][]byte{result.Value})
}

// get answers from memory where it can.
func (q *request) get(ctx context.Context, get *pb.Get) {
	keys := get.GetKeys()
	wait := min(time.Duration(min(get.GetWaitMilliseconds(), uint64(waitMax/time.Millisecond)))*time.Millisecond, waitMax)
	for _, key := range keys {
		if err := checkKey(key); err != nil {
			q.fail(err)
			return
		}
	}
	if get.GetStates() {
		q.later(ctx, wait+storeTimeout, func(ctx context.Context) { q.getThrough(ctx, keys, wait, q.store().States) })
		return
	}
	entries := make([]cache.Entry, len(keys))
	for i, key := range keys {
		entry, known := q.store().Peek(key)
		if !known || entry.Absent() && wait > 0 {
			q.later(ctx, wait+storeTimeout, func(ctx context.Context) { q.getThrough(ctx, keys, wait, q.store().Get) })
			return
		}
		entries[i] = entry
	}
	q.replyCells(keys, entries)
}

type getter func(ctx context.Context, keys []string, wait time.Duration) ([]cache.Entry, error)

func (q *request) getThrough(ctx context.Context, keys []string, wait time.Duration, get getter) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(q.stream.gateway.drains, cancel)
	defer stop()
	entries, err := get(ctx, keys, wait)
	switch {
	case err != nil && q.stream.gateway.draining.Load():
		q.fail(errDraining())
	case err != nil:
		q.fail(err)
	default:
		q.replyCells(keys, entries)
	}
}

func (q *request) replyCells(keys []string, entries []cache.Entry) {
	cells, values := cache.Cells(keys, entries)
	q.replyWith(&pb.Header{Body: &pb.Header_Cells{Cells: cells}}, values)
}

func (q *request) put(put *pb.Put, values [][]byte) {
	writes, err := cache.Writes(put.GetCells(), values)
	for i := range writes {
		err = cmp.Or(err, wire.CheckWrite(writes[i].Key))
	}
	if err != nil {
		q.fail(err)
		return
	}
	q.store().PutAsync(writes, put.GetAck(), func(err error) { q.answer(err) })
}

func (q *request) delete(ctx context.Context, del *pb.Delete) {
	for _, key := range del.GetKeys() {
		if err := checkKey(key); err != nil {
			q.fail(err)
			return
		}
	}
	q.later(ctx, storeTimeout, func(ctx context.Context) { q.answer(q.store().Delete(ctx, del.GetKeys(), del.GetAck())) })
}

func (q *request) listKeys(ctx context.Context, list *pb.ListKeys) {
	q.later(ctx, storeTimeout, func(ctx context.Context) {
		keys, more, err := q.store().Keys(ctx, list.GetPrefix(), list.GetAfter(), int(list.GetLimit()))
		if err != nil {
			q.fail(err)
			return
		}
		if n := fitting(keys); n < len(keys) {
			keys, more = keys[:n], true
		}
		q.replyWith(&pb.Header{Body: &pb.Header_Keys{Keys: &pb.Keys{Keys: keys, More: more}}}, nil)
	})
}

// fitting returns how many of the keys one reply has room for.
func fitting(keys []string) int {
	const overheadMax = 8 // of one key in the message
	bytes := 0
	for i, key := range keys {
		if bytes += len(key) + overheadMax; bytes > keysBytesMax {
			return i
		}
	}
	return len(keys)
}

func (q *request) registerFunction(ctx context.Context, f *pb.Function, values [][]byte) {
	if f == nil || len(values) != 1 {
		q.fail(wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "register function %q: it takes a description and one value, the definition; %d values came", f.GetName(), len(values)))
		return
	}
	if check := q.stream.gateway.backend.CheckFunction; check != nil {
		if err := check(f); err != nil {
			q.fail(err)
			return
		}
	}
	q.later(ctx, registryTimeout, func(ctx context.Context) {
		registered, err := q.registry().Register(ctx, f, values[0])
		if err != nil {
			q.fail(err)
			return
		}
		q.replyWith(&pb.Header{Body: &pb.Header_Functions{Functions: &pb.Functions{Functions: []*pb.Function{registered}}}}, nil)
	})
}

// checkKey returns an error for a string that is not a key, or for a key that clients have no access to.
func checkKey(key string) error {
	if err := wire.CheckRead(key); err != nil {
		return err
	}
	return cache.CheckKey(key)
}

// shorten returns the beginning of a string that is too long for an error.
func shorten(text string) string {
	if len(text) <= errorTextMax {
		return text
	}
	end := errorTextMax
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d bytes more)", text[:end], len(text)-end)
}
