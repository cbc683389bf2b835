package gateway

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"cloudburst/printed"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Printed is what functions have printed on this node.
type Printed interface {
	// Follow returns a follower of the lines that a query means. It has what has been printed until now.
	Follow(q printed.Query, limit int) *printed.Follower
	// PrintedRuns returns the runs that have printed and whose ids begin with hexadecimal digits, two at most.
	PrintedRuns(prefix string) []wire.RunID
	// Gather takes in what has been printed until now.
	Gather()
}

// logs passes on what functions have printed, on a goroutine of its own; with follow, until the client unwatches the request or leaves, the
// run has ended, or the node drains.
func (q *request) logs(ctx context.Context, get *pb.GetLogs) {
	query, err := q.linesOf(get)
	if err != nil {
		q.fail(err)
		return
	}
	ctx, cancel, err := q.follow(ctx)
	if err != nil {
		q.fail(err)
		return
	}
	// The lines that are there already, and whatever follows: a run that ends now has printed all of its lines.
	follower := q.printed().Follow(query, int(cmp.Or(get.GetLimit(), logLinesDefault)))
	stopObserving := func() {}
	switch {
	case !get.GetFollow():
		cancel()
	case query.Run != wire.RunID{}:
		stopObserving = q.stream.gateway.backend.Scheduler.WhenEnded(query.Run, cancel)
	}
	q.stream.background.Go(func() {
		defer follower.Close()
		defer cancel()
		defer stopObserving()
		err := q.passOn(ctx, follower)
		q.stream.unwatch(q.id)
		if err == nil && get.GetFollow() && drained(ctx) {
			err = errDraining() // the client must not take it for the end of the run
		}
		q.answer(err)
	})
}

// linesOf returns what a request for lines means.
func (q *request) linesOf(get *pb.GetLogs) (query printed.Query, err error) {
	invalid := func(format string, args ...any) (printed.Query, error) {
		return printed.Query{}, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "logs: "+format, args...)
	}
	if q.printed() == nil {
		return query, wire.Errorf(pb.Code_CODE_UNSUPPORTED, "logs: this node runs no functions (node.roles); ask one that does")
	}
	if get.GetLimit() > printed.LinesOfRunMax {
		return invalid("%d lines are more than there are of a run, %d", get.GetLimit(), printed.LinesOfRunMax)
	}
	if id := get.GetRunId(); len(id) != 0 && len(id) != len(query.Run) {
		return invalid("the id of a run has %d bytes, this one has %d", len(query.Run), len(id))
	}
	copy(query.Run[:], get.GetRunId())
	if len(get.GetRunId()) > 0 && query.Run == (wire.RunID{}) {
		return invalid("no run has the id %s", query.Run)
	}
	if prefix := get.GetPrefix(); prefix != "" {
		switch found := q.printed().PrintedRuns(prefix); len(found) {
		case 0:
			return query, wire.Errorf(pb.Code_CODE_RUN_NOT_FOUND, "logs: no run whose id begins with %.32q has printed anything that the node still has", prefix)
		case 1:
			query.Run = found[0]
		default:
			return invalid("the ids of several runs begin with %.32q; write more of it", prefix)
		}
	}
	name, version, versioned := strings.Cut(get.GetFunction(), "@")
	query.Function = name
	if versioned {
		if query.Version, err = strconv.ParseUint(version, 10, 64); err != nil || query.Version == 0 || name == "" {
			return invalid("%q is not a function; write a name, or a name and a version, as in sq@3", get.GetFunction())
		}
	}
	if get.GetOwn() {
		query.Client = q.stream.number
	}
	return query, nil
}

// passOn sends lines until ctx ends, and then those that were printed before that.
func (q *request) passOn(ctx context.Context, follower *printed.Follower) error {
	for {
		ended := ctx.Err() != nil
		if ended {
			q.printed().Gather()
		}
		lines, dropped := follower.Next(ctx)
		if err := q.sendLines(lines, dropped); err != nil || ended {
			return err
		}
	}
}

// sendLines sends lines in frames of a bounded size, and waits while the client is behind.
func (q *request) sendLines(lines []*pb.LogLine, dropped uint64) error {
	for len(lines) > 0 || dropped > 0 {
		n, bytes := 0, 0
		for n < len(lines) {
			if bytes += lineOverheadBytes + len(lines[n].GetText()); n > 0 && bytes > logFrameBytesMax {
				break
			}
			n++
		}
		header := &pb.Header{Id: q.id, Body: &pb.Header_LogLines{LogLines: &pb.LogLines{Lines: lines[:n], Dropped: dropped}}}
		if err := q.stream.sender.Send(header, nil); err != nil {
			return err
		}
		if q.stream.sender.Waiting() > watchPauseBytes {
			if err := q.stream.sender.Flush(); err != nil {
				return err
			}
		}
		lines, dropped = lines[n:], 0
	}
	return nil
}

func (q *request) printed() Printed { return q.stream.gateway.backend.Printed }
