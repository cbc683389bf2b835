package scheduler

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// paceWindow is how long the runs are counted by whose number it is foretold when there is room again.
	paceWindow = time.Second
	// comeBackShare is the part of the runs in flight that are to end before a refused caller comes back, so that those who come back
	// together find room.
	comeBackShare = 16
	comeBackMin   = 100 * time.Millisecond
	comeBackMax   = time.Minute
)

// pace knows how fast runs end. Its zero value knows nothing yet.
type pace struct {
	// Owned by the loop over deadlines.
	since time.Time
	ended uint64

	perSecond atomic.Uint64 // bits of a float64; 0 while no run has ended in a window
}

// look takes note of how many runs have ended since the start.
func (p *pace) look(now time.Time, ended uint64) {
	passed := now.Sub(p.since)
	if passed < paceWindow {
		return
	}
	if passed < 2*paceWindow { // else the loop has slept
		p.perSecond.Store(math.Float64bits(float64(ended-p.ended) / passed.Seconds()))
	}
	p.since, p.ended = now, ended
}

// comeBack returns when a caller that was refused, since so many runs are in flight, had better try again.
func (p *pace) comeBack(inFlight int64) time.Duration {
	perSecond := math.Float64frombits(p.perSecond.Load())
	if perSecond <= 0 {
		return paceWindow
	}
	seconds := float64(inFlight/comeBackShare+1) / perSecond
	return max(comeBackMin, time.Duration(min(seconds, comeBackMax.Seconds())*float64(time.Second)).Round(time.Millisecond))
}
