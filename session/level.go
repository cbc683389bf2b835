// Package session holds the rules of consistency for one DAG run: what a read may return, given what the run has read
// before.
//
// It is pure: no clock, no I/O, no goroutines.
package session

import (
	"fmt"
	"strings"
)

// Level names what a run is promised about the state it reads.
type Level uint8

// The levels, weakest first. Their numbers are those of the schema.
const (
	// LWW promises that each key converges, the last writer winning.
	LWW Level = iota
	// RepeatableRead promises that every function of the run that reads a key sees one version, or the run's own write.
	RepeatableRead
	// SingleKey promises causal order per key and keeps concurrent versions.
	SingleKey
	// MultiKey promises that each cache serves only causal cuts.
	MultiKey
	// Causal promises causal order across all caches that the run touches.
	Causal
)

var names = [...]string{"lww", "repeatable_read", "single_key", "multi_key", "causal"}

// String returns the level's name as users write it.
func (l Level) String() string {
	if int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// Supported reports whether runs can be started at the level.
func (l Level) Supported() bool { return l == LWW }

// ParseLevel returns the level of that name.
func ParseLevel(name string) (Level, error) {
	for i, n := range names {
		if n == name {
			return Level(i), nil
		}
	}
	return 0, fmt.Errorf("consistency level %q is not one of %s", name, strings.Join(names[:], ", "))
}
