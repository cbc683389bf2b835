package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// stream is one client's connection. Its requests are read by the goroutine in serve, and answered by any.
type stream struct {
	gateway *Gateway
	number  uint64 // among the connections of the gateway, from 1
	conn    net.Conn
	frames  *wire.FrameReader
	sender  *wire.Sender

	outstanding atomic.Int64
	background  sync.WaitGroup // requests that wait for the store or the registry, and watches

	mu      sync.Mutex
	tied    map[*tied]struct{}            // runs that end with the connection
	watches map[uint64]context.CancelFunc // by the id of the request
	items   map[uint64]streaming          // runs that stream their results, likewise
}

// serve reads requests until the client leaves, breaks the protocol or is cut off.
func (s *stream) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	defer s.background.Wait()
	defer cancel()
	defer s.close()
	defer s.cancelTied()
	defer s.closeItems()
	remote := s.conn.RemoteAddr().String()
	s.gateway.cfg.Logger.Debug("client connected", "remote", remote)
	for {
		frame, err := s.frames.Read()
		if err == nil {
			err = s.take(ctx, frame)
		}
		if err == nil && s.sender.Waiting() > backlogPauseBytes {
			err = s.sender.Flush()
		}
		if err != nil {
			s.ended(remote, err)
			return
		}
	}
}

// ended says why a stream is over.
func (s *stream) ended(remote string, err error) {
	log := s.gateway.cfg.Logger
	sent := s.sender.Err()
	switch {
	case errors.Is(err, wire.ErrFrame):
		s.gateway.metrics.malformed.Add(1)
		log.Warn("client broke the protocol, its connection is closed", "remote", remote, "error", err)
	case sent != nil && !gone(sent):
		log.Warn("client cut off: replies cannot be written", "remote", remote, "error", sent)
	case gone(err):
		log.Debug("client left", "remote", remote)
	default:
		log.Warn("connection to a client lost", "remote", remote, "error", err)
	}
}

// gone reports whether err is how a connection ends that either side has closed.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (s *stream) close() { _ = s.conn.Close() }

// take handles one request. An error ends the connection.
func (s *stream) take(ctx context.Context, frame wire.Frame) error {
	if credit, ok := frame.Header.GetBody().(*pb.Header_Credit); ok {
		s.credit(credit.Credit)
		return nil
	}
	k := kindOf(frame.Header)
	if k == kindNone {
		return fmt.Errorf("%w: a client sent %T", wire.ErrFrame, frame.Header.GetBody())
	}
	q := &request{stream: s, id: frame.Header.GetId(), kind: k, began: time.Now()}
	waiting := s.outstanding.Add(1)
	s.gateway.outstanding.Add(1)
	switch {
	case s.gateway.draining.Load():
		q.fail(errDraining())
	case waiting > int64(s.gateway.cfg.RequestsPerConnectionMax):
		q.fail(wire.Errorf(pb.Code_CODE_NO_RESOURCES,
			"%d requests of this connection have no answer yet, the limit (gateway.requests_per_connection_max); wait for some", s.gateway.cfg.RequestsPerConnectionMax))
	default:
		q.handle(ctx, frame)
	}
	return nil
}

// request is what a client wants. It is answered exactly once, by any goroutine.
type request struct {
	stream *stream
	id     uint64
	kind   kind
	began  time.Time
	tied   *tied // nil unless the run that it calls ends with the connection
}

var (
	done    = &pb.Header_Done{Done: &pb.Done{}} // immutable
	headers = sync.Pool{New: func() any { return new(pb.Header) }}
)

// reply answers with values alone, and reports whether the answer is on its way.
func (q *request) reply(values [][]byte) bool {
	header := headers.Get().(*pb.Header)
	header.Id, header.Body = q.id, done
	delivered := q.send(header, values, pb.Code_CODE_UNSPECIFIED)
	headers.Put(header)
	return delivered
}

// replyWith answers with a header of the request's own kind.
func (q *request) replyWith(header *pb.Header, values [][]byte) bool {
	header.Id = q.id
	return q.send(header, values, pb.Code_CODE_UNSPECIFIED)
}

// fail answers with an error.
func (q *request) fail(err error) bool {
	e := wire.AsError(err)
	var values [][]byte
	if e.Pickle != nil {
		values = [][]byte{e.Pickle}
	}
	return q.send(&pb.Header{Id: q.id, Body: &pb.Header_Error{Error: e.Proto()}}, values, e.Code)
}

// answer answers with an error, or without one.
func (q *request) answer(err error) bool {
	if err != nil {
		return q.fail(err)
	}
	return q.reply(nil)
}

// send sends the answer, and counts the request as answered whatever becomes of it.
func (q *request) send(header *pb.Header, values [][]byte, code pb.Code) bool {
	// Before the client knows, so that it may have the next request in its place.
	q.stream.outstanding.Add(-1)
	var err error
	if q.id != 0 { // 0 = no reply is wanted
		err = q.stream.sender.Send(header, values)
		if err != nil && errors.Is(err, wire.ErrTooLarge) {
			code = pb.Code_CODE_TOO_LARGE
			err = q.stream.sender.Send(q.tooLarge(header, err), nil)
		}
	}
	g := q.stream.gateway
	g.metrics.answered(q.kind, code, time.Since(q.began))
	if g.outstanding.Add(-1) == 0 && g.draining.Load() {
		select {
		case g.quiet <- struct{}{}:
		default:
		}
	}
	return err == nil
}

// tooLarge returns the reply that stands for one that is too large for a frame: an error keeps its code and the beginning of
// its texts.
func (q *request) tooLarge(header *pb.Header, err error) *pb.Header {
	e := header.GetError()
	if e == nil {
		e = wire.Errorf(pb.Code_CODE_TOO_LARGE, "the answer to %s does not fit into one message: %v; ask for less at once", q.kind, err).Proto()
	} else {
		e = &pb.Error{Code: e.GetCode(), Message: shorten(e.GetMessage()), Exception: e.GetException()}
		if x := e.GetException(); x != nil {
			e.Exception = &pb.RemoteException{
				Type: shorten(x.GetType()), Message: shorten(x.GetMessage()), Traceback: shorten(x.GetTraceback()),
				Function: x.GetFunction(), Version: x.GetVersion(),
			}
		}
	}
	return &pb.Header{Id: q.id, Body: &pb.Header_Error{Error: e}}
}
