package gateway

import (
	"maps"
	"slices"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// streaming is a run whose items go to a client.
type streaming struct {
	run   wire.RunID
	items *wire.Items
}

// streamed starts a run whose result goes to the client item by item, as far as the client's credit goes. It ends with the connection.
func (q *request) streamed(call *pb.Call, values [][]byte) {
	switch {
	case q.id == 0:
		q.fail(wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call: a request without an id gets no items"))
		return
	case call.GetStreamCredit() > wire.ItemsAheadMax:
		q.fail(wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call: %d items are to come before any has been taken; the limit is %d", call.GetStreamCredit(), wire.ItemsAheadMax))
		return
	}
	items := wire.NewItems(call.GetStreamCredit(), q.item)
	way := streaming{items: items}
	copy(way.run[:], call.GetRunId()) // one of another length is refused by the scheduler
	if err := q.stream.addItems(q.id, way); err != nil {
		q.fail(err)
		return
	}
	q.tie(call)
	q.scheduler().Call(q.stream.number, call, values, items, func(result wire.Result) bool {
		q.stream.removeItems(q.id)
		items.Close() // nothing may follow the answer, whatever the worker still sends
		return q.called(result)
	})
}

// item sends one item to the client. One that cannot be sent is the end of the connection, which closes the way of the items.
func (q *request) item(value []byte) {
	_ = q.stream.sender.Send(&pb.Header{Id: q.id, Body: &pb.Header_Item{Item: &pb.Item{}}}, [][]byte{value})
}

func (s *stream) addItems(id uint64, way streaming) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.items[id].items != nil:
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call: the request %d of this connection has no answer yet", id)
	case len(s.items) >= streamedMax:
		return wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%d runs stream their results over this connection, the limit; take or close some of them", streamedMax)
	}
	if s.items == nil {
		s.items = make(map[uint64]streaming)
	}
	s.items[id] = way
	return nil
}

func (s *stream) removeItems(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.items, id)
}

// credit takes the client's word that it has taken items of a run, or that it wants no more of them.
func (s *stream) credit(credit *pb.Credit) {
	s.mu.Lock()
	way, there := s.items[credit.GetId()]
	s.mu.Unlock()
	switch {
	case !there: // the run has ended meanwhile
	case credit.GetItems() == 0:
		way.items.Close()
		s.cancel(way.run, "it takes no more items")
	default:
		way.items.Grant(credit.GetItems())
	}
}

// closeItems drops the items that have no client any more. Their runs are cancelled with the others that end with the connection.
func (s *stream) closeItems() {
	s.mu.Lock()
	left := slices.Collect(maps.Values(s.items))
	s.mu.Unlock()
	for _, way := range left {
		way.items.Close()
	}
}
