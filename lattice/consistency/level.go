// Package consistency holds the rules of what a client of the store may be shown and what its writes carry, given what it has
// read and written before.
//
// It is pure: no clock, no I/O, no goroutines. States are lattices, so "never older" is a merge with what is remembered.
package consistency

import (
	"fmt"
	"strings"
)

// Level is a set of promises to one session; 0 is eventual consistency.
type Level uint16

// The promises. They combine.
const (
	// ReadCommitted keeps writes back until they are committed, all with one stamp.
	ReadCommitted Level = 1 << iota
	// ItemCut shows a key, once it was read, unchanged until the transaction ends.
	ItemCut
	// ReadYourWrites shows a key with all that the session has written to it.
	ReadYourWrites
	// MonotonicReads never shows a key older than before.
	MonotonicReads
	// MonotonicWrites makes a reader that sees one of the session's writes to a key see the earlier ones to it.
	MonotonicWrites
	// WritesFollowReads makes a reader that sees one of the session's writes to a key see what the session had read of it before.
	WritesFollowReads
	// Causal makes a reader that sees a version see, of every key, what the writer of the version had seen.
	Causal

	end
)

// Session is all four session guarantees.
const Session = ReadYourWrites | MonotonicReads | MonotonicWrites | WritesFollowReads

var names = [...]string{
	"read_committed", "item_cut", "read_your_writes", "monotonic_reads", "monotonic_writes", "writes_follow_reads", "causal",
}

// Has reports whether l makes all promises of other.
func (l Level) Has(other Level) bool { return l&other == other }

// String returns the promises as Parse takes them.
func (l Level) String() string {
	if l == 0 {
		return "eventual"
	}
	var parts []string
	for i, name := range names {
		if l.Has(1 << i) {
			parts = append(parts, name)
		}
	}
	return strings.Join(parts, "+")
}

// Parse returns the level of names joined by "+": those of the promises, "session" for the four guarantees, and "eventual".
func Parse(text string) (l Level, err error) {
next:
	for name := range strings.SplitSeq(text, "+") {
		switch name {
		case "eventual":
			continue
		case "session":
			l |= Session
			continue
		}
		for i, known := range names {
			if name == known {
				l |= 1 << i
				continue next
			}
		}
		return 0, fmt.Errorf("consistency %q is not one of eventual, session, %s", name, strings.Join(names[:], ", "))
	}
	return l, nil
}

// Check returns an error for promises that there are not.
func (l Level) Check() error {
	if l >= end {
		return fmt.Errorf("consistency %#x has promises that this version does not know", uint16(l))
	}
	return nil
}
