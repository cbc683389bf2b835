package gateway

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func (q *request) cancelRun(cancel *pb.CancelRun) {
	if len(cancel.GetRunId()) != len(wire.RunID{}) {
		q.fail(wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "cancel: the id of a run has %d bytes, and this one has %d", len(wire.RunID{}), len(cancel.GetRunId())))
		return
	}
	q.answer(q.scheduler().Cancel(wire.RunID(cancel.GetRunId()), q.stream.client(), cancel.GetReason()))
}

func (q *request) listRuns(ctx context.Context, list *pb.ListRuns) {
	q.later(ctx, registryTimeout, func(context.Context) { q.replyRuns(q.scheduler().Runs(list)) })
}

func (q *request) getRun(ctx context.Context, get *pb.GetRun) {
	q.later(ctx, registryTimeout, func(context.Context) { q.replyRuns(q.scheduler().Tree(get)) })
}

func (q *request) replyRuns(runs *pb.Runs, err error) {
	if err != nil {
		q.fail(err)
		return
	}
	q.replyWith(&pb.Header{Body: &pb.Header_Runs{Runs: runs}}, nil)
}

func (q *request) scheduler() Scheduler { return q.stream.gateway.backend.Scheduler }

// client says for people whose connection it is.
func (s *stream) client() string {
	if _, ok := s.conn.(fromWorker); ok {
		return "a function of this node"
	}
	return "the client at " + s.conn.RemoteAddr().String()
}

// tied is a run that ends with the connection, and why.
type tied struct {
	run wire.RunID
	why string
}

// tie has the run that the request calls end with the connection, as long as it has no answer.
func (q *request) tie(call *pb.Call) {
	if len(call.GetRunId()) != len(wire.RunID{}) { // the scheduler refuses the call
		return
	}
	q.tied = &tied{wire.RunID(call.GetRunId()), "its connection was closed while it took items"}
	if call.GetCancelOnDisconnect() {
		q.tied.why = "its connection was closed, and the call asked for that (cancel_on_disconnect)"
	}
	s := q.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tied == nil {
		s.tied = make(map[*tied]struct{})
	}
	s.tied[q.tied] = struct{}{}
}

func (q *request) untie() {
	q.stream.mu.Lock()
	defer q.stream.mu.Unlock()
	delete(q.stream.tied, q.tied)
}

// cancelTied ends the runs that end with the connection, unless the node itself has closed it.
func (s *stream) cancelTied() {
	if s.gateway.closes() {
		return
	}
	s.mu.Lock()
	left := slices.Collect(maps.Keys(s.tied))
	s.mu.Unlock()
	for _, one := range left {
		s.cancel(one.run, one.why)
	}
}

// cancel ends a run that the client does not want any more.
func (s *stream) cancel(run wire.RunID, why string) {
	// One that has ended meanwhile does not matter.
	_ = s.gateway.backend.Scheduler.Cancel(run, s.client(), why)
}

// The same over HTTP.

func (g *Gateway) httpRuns(w http.ResponseWriter, r *http.Request) {
	list, err := listOf(r)
	if err != nil {
		failHTTP(w, err)
		return
	}
	runs, err := g.backend.Scheduler.Runs(list)
	if err != nil {
		failHTTP(w, err)
		return
	}
	out := struct {
		Runs []wire.Run `json:"runs"`
		More bool       `json:"more"`
	}{Runs: wire.RunsFromProto(runs), More: runs.GetMore()}
	answerJSON(w, http.StatusOK, out)
}

// listOf returns what a request for a listing asks for: ?state=…&function=…&label=…&parent=…&limit=….
func listOf(r *http.Request) (*pb.ListRuns, error) {
	query := r.URL.Query()
	list, err := wire.NewListRuns(query["state"], query.Get("parent"))
	if err != nil {
		return nil, err
	}
	list.Target, list.Label = query.Get("function"), query.Get("label")
	if text := query.Get("limit"); text != "" {
		limit, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "limit %.32q: it is a number", text)
		}
		list.Limit = uint32(limit)
	}
	return list, nil
}

func (g *Gateway) httpRun(w http.ResponseWriter, r *http.Request) {
	runs, err := g.backend.Scheduler.Tree(&pb.GetRun{Prefix: r.PathValue("id")})
	if err != nil {
		failHTTP(w, err)
		return
	}
	all := wire.RunsFromProto(runs)
	if len(all) == 0 {
		failHTTP(w, wire.Errorf(pb.Code_CODE_INTERNAL, "show run %.64q: the answer does not have it", r.PathValue("id")))
		return
	}
	answerJSON(w, http.StatusOK, struct {
		wire.Run
		Below []wire.Run `json:"below"`
		More  bool       `json:"more"`
	}{all[0], all[1:], runs.GetMore()})
}

func (g *Gateway) httpCancel(w http.ResponseWriter, r *http.Request) {
	id, err := wire.ParseRunID(strings.ToLower(r.PathValue("id")))
	if err == nil {
		err = g.backend.Scheduler.Cancel(id, "the HTTP client at "+r.RemoteAddr, r.URL.Query().Get("reason"))
	}
	if err != nil {
		failHTTP(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // the client has gone
}

func failHTTP(w http.ResponseWriter, err error) {
	e := wire.AsError(err)
	answerJSON(w, wire.HTTPStatus(e.Code), wire.RunError{Code: wire.CodeName(e.Code), Message: e.Message})
}

// authorizing lets only requests pass that bear the token.
func (g *Gateway) authorizing(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if g.refused(w, r) {
			return
		}
		handle(w, r)
	}
}
