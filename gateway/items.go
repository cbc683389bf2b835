package gateway

import (
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// streamed starts a run whose result goes to the client item by item, as far as the client's credit goes.
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
	if err := q.stream.addItems(q.id, items); err != nil {
		q.fail(err)
		return
	}
	q.stream.gateway.backend.Scheduler.Stream(q.stream.number, call, values, items, func(result wire.Result) bool {
		q.stream.removeItems(q.id)
		items.Close() // nothing may follow the answer, whatever the worker still sends
		return q.called(result)
	})
}

// item sends one item to the client. One that cannot be sent is the end of the connection, which closes the way of the items.
func (q *request) item(value []byte) {
	_ = q.stream.sender.Send(&pb.Header{Id: q.id, Body: &pb.Header_Item{Item: &pb.Item{}}}, [][]byte{value})
}

func (s *stream) addItems(id uint64, items *wire.Items) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.left:
		return wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the connection has ended")
	case s.items[id] != nil:
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call: the request %d of this connection has no answer yet", id)
	case len(s.items) >= streamedMax:
		return wire.Errorf(pb.Code_CODE_NO_RESOURCES, "%d runs stream their results over this connection, the limit; take or close some of them", streamedMax)
	}
	if s.items == nil {
		s.items = make(map[uint64]*wire.Items)
	}
	s.items[id] = items
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
	items := s.items[credit.GetId()]
	s.mu.Unlock()
	switch {
	case items == nil: // the run has ended meanwhile
	case credit.GetItems() == 0:
		items.Close()
	default:
		items.Grant(credit.GetItems())
	}
}

// closeItems ends the runs whose items have no client any more.
func (s *stream) closeItems() {
	s.mu.Lock()
	s.left = true
	left := make([]*wire.Items, 0, len(s.items))
	for _, items := range s.items {
		left = append(left, items)
	}
	s.mu.Unlock()
	for _, items := range left {
		items.Close()
	}
}
