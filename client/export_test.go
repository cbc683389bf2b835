package client

import (
	"context"

	"cloudburst/codec"
	"cloudburst/lattice"
	"cloudburst/lattice/consistency"
	"cloudburst/wire/pb"
)

// RegisterPickle registers a callable whose pickle is known. Go registers no code of its own.
func (c *Client) RegisterPickle(ctx context.Context, name, pickle string) error {
	f := &pb.Function{Name: name, Runtime: pb.Runtime_RUNTIME_PYTHON, Convention: pb.Convention_CONVENTION_PLAIN}
	r := &request{
		verb: "register function", name: name,
		header: &pb.Header{Body: &pb.Header_RegisterFunction{RegisterFunction: &pb.RegisterFunction{Function: f}}},
		values: [][]byte{append([]byte{codec.KindPickle}, pickle...)},
	}
	_, err := c.ask(ctx, r)
	return err
}

// Record tells a history what the session does.
func (s *Session) Record(record func(kind consistency.Kind, key string, state *lattice.State)) {
	kinds := [...]consistency.Kind{eventRead: consistency.DidRead, eventWrite: consistency.DidWrite, eventEnd: consistency.DidEnd}
	s.trace = func(what event, key string, state *lattice.State) {
		if state != nil {
			state = state.Clone()
		}
		record(kinds[what], key, state)
	}
}
