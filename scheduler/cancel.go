package scheduler

import (
	"fmt"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// reasonBytesMax is how much of the reason for cancelling a run is kept.
const reasonBytesMax = 1 << 10

// Cancel ends a run, and those below it that are not detached: what of them has not started never starts, and functions that run are
// interrupted. by says for people who cancels it, reason why. When the run has ended it does nothing; it fails with ErrRunNotFound
// when no run of that id is known.
func (s *Scheduler) Cancel(id wire.RunID, by, reason string) error {
	if r := s.table.find(id); r != nil {
		r.end(wire.Result{Err: cancelled(id, r.plan.String(), by, reason)})
		return nil
	}
	if q := s.missing.cancel(id, by, reason); q {
		// It may have become a run at this moment.
		if r := s.table.find(id); r != nil {
			r.end(wire.Result{Err: cancelled(id, r.plan.String(), by, reason)})
		}
		return nil
	}
	if _, ended := s.recent.find(id); ended {
		return nil
	}
	if _, ended := s.stored(id.ResultKey()); ended {
		return nil
	}
	return notFound(id.String())
}

func cancelled(id wire.RunID, target, by, reason string) *wire.Error {
	message := fmt.Sprintf("run %s of %s: cancelled by %s", id, target, by)
	if reason != "" {
		message += ": " + shortenTo(reason, reasonBytesMax)
	}
	return &wire.Error{Code: pb.Code_CODE_CANCELLED, Message: message}
}

func notFound(id string) *wire.Error {
	return wire.Errorf(pb.Code_CODE_RUN_NOT_FOUND, "run %q is not known here: its id is another one, or it ended so long ago that it has been forgotten (scheduler.recent_runs); `cloudburst runs ls` lists those that are known", id)
}
