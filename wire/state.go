package wire

import (
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"cloudburst/lattice"
)

// The fields of the messages of store.proto that make up a State. Of State itself the number of a lattice is its type.
const (
	stateDeleted, stateExpiry           = 10, 11
	timestampTime, timestampWriter      = 1, 2
	expiryTimestamp, expiryAt           = 1, 2
	lwwTimestamp, lwwValue              = 1, 2
	setMembers                          = 1
	memberValue, memberTime, memberGone = 1, 2, 3
	scoredValue, scoredScore            = 1, 2
	scoredTime, scoredGone              = 3, 4
	generation                          = 1 // of all that has one
	counterCounts                       = 2
	countWriter, countUp, countDown     = 1, 2, 3
	extremeValue                        = 2
	priorityPriority, priorityValue     = 2, 3
	mapFields                           = 1
	fieldName, fieldState               = 1, 2
	causalVersions                      = 2
	versionClock, versionDependencies   = 1, 2
	versionValue                        = 3
	clockEntries                        = 1
	clockWriter, clockCount             = 1, 2
	dependencyKey, dependencyClock      = 1, 2
)

// StateSize returns how many bytes AppendState appends.
func StateSize(s *lattice.State) int {
	n := 0
	if s.Lattice != nil {
		n += sizeMessage(protowire.Number(s.Lattice.Type()), sizeLattice(s.Lattice))
	}
	for _, l := range s.Others() {
		n += sizeMessage(protowire.Number(l.Type()), sizeLattice(l))
	}
	n += sizeTimestamp(stateDeleted, s.Deleted())
	if e := s.Expiry(); e != (lattice.Expiry{}) {
		n += sizeMessage(stateExpiry, sizeExpiry(e))
	}
	return n
}

// AppendState appends a State message as the generated code would write it. Written by hand because it is done for every write
// that is logged, and for every key that is read from the log when a node starts.
func AppendState(dst []byte, s *lattice.State) []byte {
	return appendState(slices.Grow(dst, StateSize(s)), s)
}

func appendState(dst []byte, s *lattice.State) []byte {
	if s.Lattice != nil {
		dst = appendLattice(dst, s.Lattice)
	}
	for _, l := range s.Others() {
		dst = appendLattice(dst, l)
	}
	dst = appendTimestamp(dst, stateDeleted, s.Deleted())
	if e := s.Expiry(); e != (lattice.Expiry{}) {
		dst = appendHead(dst, stateExpiry, sizeExpiry(e))
		dst = appendTimestamp(dst, expiryTimestamp, e.Timestamp)
		dst = appendUint(dst, expiryAt, uint64(e.At))
	}
	return dst
}

func sizeExpiry(e lattice.Expiry) int {
	return sizeTimestamp(expiryTimestamp, e.Timestamp) + sizeUint(expiryAt, uint64(e.At))
}

func sizeLattice(l lattice.Lattice) (n int) {
	switch l := l.(type) {
	case *lattice.LWW:
		n = sizeTimestamp(lwwTimestamp, l.Timestamp) + sizeBytes(lwwValue, len(l.Value))
	case *lattice.Set:
		for member, mark := range l.Marks() {
			n += sizeMessage(setMembers, sizeMember(member, mark))
		}
	case *lattice.OrderedSet:
		for member, mark := range l.Marks() {
			n += sizeMessage(setMembers, sizeScored(member, mark))
		}
	case *lattice.Counter:
		n = sizeTimestamp(generation, l.Generation)
		for c := range l.Counts() {
			n += sizeMessage(counterCounts, sizeCount(c))
		}
	case *lattice.Max:
		n = sizeTimestamp(generation, l.Generation) + sizeUint(extremeValue, protowire.EncodeZigZag(l.Value))
	case *lattice.Min:
		n = sizeTimestamp(generation, l.Generation) + sizeUint(extremeValue, protowire.EncodeZigZag(l.Value))
	case *lattice.Priority:
		n = sizeTimestamp(generation, l.Generation) + sizeDouble(priorityPriority, l.Priority) +
			sizeBytes(priorityValue, len(l.Value))
	case *lattice.Map:
		for name, field := range l.Fields() {
			n += sizeMessage(mapFields, sizeField(name, field))
		}
	case *lattice.Causal:
		n = sizeTimestamp(generation, l.Generation)
		for v := range l.Versions() {
			n += sizeMessage(causalVersions, sizeVersion(v))
		}
	}
	return n
}

func appendLattice(dst []byte, l lattice.Lattice) []byte {
	dst = appendHead(dst, protowire.Number(l.Type()), sizeLattice(l))
	switch l := l.(type) {
	case *lattice.LWW:
		dst = appendTimestamp(dst, lwwTimestamp, l.Timestamp)
		dst = appendBytes(dst, lwwValue, l.Value)
	case *lattice.Set:
		for member, mark := range l.Marks() {
			dst = appendHead(dst, setMembers, sizeMember(member, mark))
			dst = appendBytes(dst, memberValue, member)
			dst = appendTimestamp(dst, memberTime, mark.Stamp)
			dst = appendUint(dst, memberGone, protowire.EncodeBool(mark.Removed))
		}
	case *lattice.OrderedSet:
		for member, mark := range l.Marks() {
			dst = appendHead(dst, setMembers, sizeScored(member, mark))
			dst = appendBytes(dst, scoredValue, member)
			dst = appendDouble(dst, scoredScore, mark.Score)
			dst = appendTimestamp(dst, scoredTime, mark.Stamp)
			dst = appendUint(dst, scoredGone, protowire.EncodeBool(mark.Removed))
		}
	case *lattice.Counter:
		dst = appendTimestamp(dst, generation, l.Generation)
		for c := range l.Counts() {
			dst = appendHead(dst, counterCounts, sizeCount(c))
			dst = appendUint(dst, countWriter, c.Writer)
			dst = appendUint(dst, countUp, c.Up)
			dst = appendUint(dst, countDown, c.Down)
		}
	case *lattice.Max:
		dst = appendTimestamp(dst, generation, l.Generation)
		dst = appendUint(dst, extremeValue, protowire.EncodeZigZag(l.Value))
	case *lattice.Min:
		dst = appendTimestamp(dst, generation, l.Generation)
		dst = appendUint(dst, extremeValue, protowire.EncodeZigZag(l.Value))
	case *lattice.Priority:
		dst = appendTimestamp(dst, generation, l.Generation)
		dst = appendDouble(dst, priorityPriority, l.Priority)
		dst = appendBytes(dst, priorityValue, l.Value)
	case *lattice.Map:
		for name, field := range l.Fields() {
			dst = appendHead(dst, mapFields, sizeField(name, field))
			dst = appendBytes(dst, fieldName, name)
			dst = appendHead(dst, fieldState, StateSize(field))
			dst = appendState(dst, field)
		}
	case *lattice.Causal:
		dst = appendTimestamp(dst, generation, l.Generation)
		for v := range l.Versions() {
			dst = appendVersion(dst, v)
		}
	}
	return dst
}

func sizeMember(member string, mark lattice.Mark) int {
	return sizeBytes(memberValue, len(member)) + sizeTimestamp(memberTime, mark.Stamp) +
		sizeUint(memberGone, protowire.EncodeBool(mark.Removed))
}

func sizeScored(member string, mark lattice.ScoredMark) int {
	return sizeBytes(scoredValue, len(member)) + sizeDouble(scoredScore, mark.Score) +
		sizeTimestamp(scoredTime, mark.Stamp) + sizeUint(scoredGone, protowire.EncodeBool(mark.Removed))
}

func sizeCount(c lattice.Count) int {
	return sizeUint(countWriter, c.Writer) + sizeUint(countUp, c.Up) + sizeUint(countDown, c.Down)
}

func sizeField(name string, field *lattice.State) int {
	return sizeBytes(fieldName, len(name)) + sizeMessage(fieldState, StateSize(field))
}

func sizeVersion(v lattice.Version) int {
	n := sizeMessage(versionClock, sizeClock(v.Clock)) + sizeBytes(versionValue, len(v.Value))
	for d := range v.Dependencies.Entries() {
		n += sizeMessage(versionDependencies, sizeDependency(d))
	}
	return n
}

func sizeDependency(d lattice.Dependency) int {
	return sizeBytes(dependencyKey, len(d.Key)) + sizeMessage(dependencyClock, sizeClock(d.Clock))
}

func sizeClock(clock lattice.VectorClock) (n int) {
	for e := range clock.Entries() {
		n += sizeMessage(clockEntries, sizeBytes(clockWriter, len(e.Writer))+sizeUint(clockCount, e.Count))
	}
	return n
}

func appendVersion(dst []byte, v lattice.Version) []byte {
	dst = appendHead(dst, causalVersions, sizeVersion(v))
	dst = appendClock(dst, versionClock, v.Clock)
	for d := range v.Dependencies.Entries() {
		dst = appendHead(dst, versionDependencies, sizeDependency(d))
		dst = appendBytes(dst, dependencyKey, d.Key)
		dst = appendClock(dst, dependencyClock, d.Clock)
	}
	return appendBytes(dst, versionValue, v.Value)
}

func appendClock(dst []byte, number protowire.Number, clock lattice.VectorClock) []byte {
	dst = appendHead(dst, number, sizeClock(clock))
	for e := range clock.Entries() {
		dst = appendHead(dst, clockEntries, sizeBytes(clockWriter, len(e.Writer))+sizeUint(clockCount, e.Count))
		dst = appendBytes(dst, clockWriter, e.Writer)
		dst = appendUint(dst, clockCount, e.Count)
	}
	return dst
}

// All field numbers here are below 16, so every tag is one byte. A scalar that is zero is left out.

func sizeMessage(_ protowire.Number, n int) int { return 1 + protowire.SizeBytes(n) }

func sizeBytes(number protowire.Number, n int) int {
	if n == 0 {
		return 0
	}
	return sizeMessage(number, n)
}

func sizeUint(_ protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

func sizeDouble(_ protowire.Number, v float64) int {
	if math.Float64bits(v) == 0 {
		return 0
	}
	return 1 + protowire.SizeFixed64()
}

func sizeTimestamp(number protowire.Number, t lattice.Timestamp) int {
	if t.IsZero() {
		return 0
	}
	return sizeMessage(number, sizeUint(timestampTime, t.Time)+sizeUint(timestampWriter, t.Writer))
}

func appendHead(dst []byte, number protowire.Number, n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, number, protowire.BytesType), uint64(n))
}

func appendBytes[T []byte | string](dst []byte, number protowire.Number, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	return append(appendHead(dst, number, len(v)), v...)
}

func appendUint(dst []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, number, protowire.VarintType), v)
}

func appendDouble(dst []byte, number protowire.Number, v float64) []byte {
	bits := math.Float64bits(v)
	if bits == 0 {
		return dst
	}
	return protowire.AppendFixed64(protowire.AppendTag(dst, number, protowire.Fixed64Type), bits)
}

func appendTimestamp(dst []byte, number protowire.Number, t lattice.Timestamp) []byte {
	if t.IsZero() {
		return dst
	}
	dst = appendHead(dst, number, sizeUint(timestampTime, t.Time)+sizeUint(timestampWriter, t.Writer))
	return appendUint(appendUint(dst, timestampTime, t.Time), timestampWriter, t.Writer)
}
