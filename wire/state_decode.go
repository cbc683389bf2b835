package wire

import (
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"cloudburst/lattice"
	"cloudburst/wire/pb"
)

// Limits of an encoded State.
const (
	// StateBytesMax bounds the whole.
	StateBytesMax = 1 << 30
	// stateLevelsMax bounds maps in fields of maps.
	stateLevelsMax = 16
	// stateVersionsMax bounds the concurrent versions of one causal value, which are compared each with each. It has room for what
	// 32 masters accept at the same time.
	stateVersionsMax = 32 * lattice.CausalVersionsMax
)

// DecodeState returns the state that bytes written by AppendState, or by the generated code, hold. Values share the input,
// which must not change. It returns an error wrapping ErrInvalidArgument, or ErrTooLarge, for anything that is not a State.
func DecodeState(data []byte) (*lattice.State, error) {
	if len(data) > StateBytesMax {
		return nil, Errorf(pb.Code_CODE_TOO_LARGE, "a state is %d bytes; the limit is %d (1 GiB)", len(data), StateBytesMax)
	}
	var s stateParts
	if err := s.read(data, 0); err != nil {
		return nil, err
	}
	return s.state(), nil
}

// fields walks over the fields of one message. A field of another wire type than the schema's is one that is not known, and
// passed over, as the generated code does.
type fields struct {
	rest   []byte
	err    error
	number protowire.Number
	kind   protowire.Type
	bytes  []byte // with BytesType
	scalar uint64 // with VarintType and Fixed64Type
}

// next reports whether there is a field; without one, err says whether that is the end.
func (f *fields) next() bool {
	if len(f.rest) == 0 || f.err != nil {
		return false
	}
	number, kind, n := protowire.ConsumeTag(f.rest)
	if n < 0 || number > protowire.MaxValidNumber {
		return f.fail(min(n, -1))
	}
	f.number, f.kind = number, kind
	f.rest = f.rest[n:]
	switch kind {
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(f.rest)
	case protowire.VarintType:
		f.scalar, n = protowire.ConsumeVarint(f.rest)
	case protowire.Fixed64Type:
		f.scalar, n = protowire.ConsumeFixed64(f.rest)
	default:
		n = protowire.ConsumeFieldValue(number, kind, f.rest)
	}
	if n < 0 {
		return f.fail(n)
	}
	f.rest = f.rest[n:]
	return true
}

func (f *fields) fail(code int) bool {
	f.err = Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a state is malformed: %v", protowire.ParseError(code))
	return false
}

func (f *fields) isBytes(number protowire.Number) bool {
	return f.number == number && f.kind == protowire.BytesType
}

func (f *fields) isUint(number protowire.Number) bool {
	return f.number == number && f.kind == protowire.VarintType
}

func (f *fields) isDouble(number protowire.Number) bool {
	return f.number == number && f.kind == protowire.Fixed64Type
}

// timestamp reads a timestamp if the field is that.
func (f *fields) timestamp(number protowire.Number, t *lattice.Timestamp) bool {
	if !f.isBytes(number) {
		return false
	}
	inner := fields{rest: f.bytes}
	for inner.next() {
		switch {
		case inner.isUint(timestampTime):
			t.Time = inner.scalar
		case inner.isUint(timestampWriter):
			t.Writer = inner.scalar
		}
	}
	f.err = inner.err
	return true
}

// stateParts is a State while it is read. A message within it may come in several pieces, which add up.
type stateParts struct {
	content [lattice.TypeCausal + 1]lattice.Lattice // by type, but for these three:
	lww     lattice.LWW                             // most states are nothing else, so it is kept here until it is made
	hasLWW  bool
	counter *counterParts
	causal  *causalParts
	deleted lattice.Timestamp
	expiry  lattice.Expiry
}

type counterParts struct {
	generation lattice.Timestamp
	counts     []lattice.Count
}

type causalParts struct {
	generation lattice.Timestamp
	versions   []lattice.Version
}

func (s *stateParts) state() *lattice.State {
	var content []lattice.Lattice
	for _, l := range s.content {
		if l != nil {
			content = append(content, l)
		}
	}
	if s.counter != nil {
		content = append(content, lattice.NewCounter(s.counter.generation, s.counter.counts))
	}
	if s.causal != nil {
		content = append(content, lattice.NewCausal(s.causal.generation, s.causal.versions...))
	}
	if !s.hasLWW {
		return lattice.NewState(s.deleted, s.expiry, content...)
	}
	if content == nil && s.deleted.IsZero() && s.expiry == (lattice.Expiry{}) {
		return lattice.Put(s.lww.Timestamp, s.lww.Value)
	}
	lww := s.lww
	return lattice.NewState(s.deleted, s.expiry, append(content, &lww)...)
}

// part returns the lattice of a type that the pieces add up to.
func part[L any, P interface {
	*L
	lattice.Lattice
}](s *stateParts, kind lattice.Type) P {
	if l, ok := s.content[kind].(P); ok {
		return l
	}
	l := P(new(L))
	s.content[kind] = l
	return l
}

func (s *stateParts) read(data []byte, level int) error {
	f := fields{rest: data}
	for f.next() {
		if f.kind != protowire.BytesType {
			continue
		}
		var err error
		switch f.number {
		case protowire.Number(lattice.TypeLWW):
			err = s.readLWW(f.bytes)
		case protowire.Number(lattice.TypeSet):
			err = readSet(part[lattice.Set](s, lattice.TypeSet), f.bytes)
		case protowire.Number(lattice.TypeOrderedSet):
			err = readOrderedSet(part[lattice.OrderedSet](s, lattice.TypeOrderedSet), f.bytes)
		case protowire.Number(lattice.TypeCounter):
			err = s.readCounter(f.bytes)
		case protowire.Number(lattice.TypeMax):
			l := part[lattice.Max](s, lattice.TypeMax)
			err = readExtreme(&l.Generation, &l.Value, f.bytes)
		case protowire.Number(lattice.TypeMin):
			l := part[lattice.Min](s, lattice.TypeMin)
			err = readExtreme(&l.Generation, &l.Value, f.bytes)
		case protowire.Number(lattice.TypePriority):
			err = readPriority(part[lattice.Priority](s, lattice.TypePriority), f.bytes)
		case protowire.Number(lattice.TypeMap):
			err = readMap(part[lattice.Map](s, lattice.TypeMap), f.bytes, level)
		case protowire.Number(lattice.TypeCausal):
			err = s.readCausal(f.bytes)
		case stateDeleted:
			f.timestamp(stateDeleted, &s.deleted)
		case stateExpiry:
			err = s.readExpiry(f.bytes)
		}
		if err != nil {
			return err
		}
	}
	return f.err
}

func (s *stateParts) readExpiry(data []byte) error {
	f := fields{rest: data}
	for f.next() {
		if !f.timestamp(expiryTimestamp, &s.expiry.Timestamp) && f.isUint(expiryAt) {
			s.expiry.At = int64(f.scalar)
		}
	}
	return f.err
}

func (s *stateParts) readLWW(data []byte) error {
	s.hasLWW = true
	if s.lww.Value == nil {
		s.lww.Value = []byte{}
	}
	f := fields{rest: data}
	for f.next() {
		if !f.timestamp(lwwTimestamp, &s.lww.Timestamp) && f.isBytes(lwwValue) {
			s.lww.Value = slices.Clip(f.bytes)
		}
	}
	return f.err
}

func readSet(s *lattice.Set, data []byte) error {
	f := fields{rest: data}
	for f.next() {
		if !f.isBytes(setMembers) {
			continue
		}
		var value []byte
		var stamp lattice.Timestamp
		var removed bool
		m := fields{rest: f.bytes}
		for m.next() {
			switch {
			case m.isBytes(memberValue):
				value = m.bytes
			case m.timestamp(memberTime, &stamp):
			case m.isUint(memberGone):
				removed = m.scalar != 0
			}
		}
		if m.err != nil {
			return m.err
		}
		if removed {
			s.Remove(stamp, value)
		} else {
			s.Add(stamp, value)
		}
	}
	return f.err
}

func readOrderedSet(s *lattice.OrderedSet, data []byte) error {
	f := fields{rest: data}
	for f.next() {
		if !f.isBytes(setMembers) {
			continue
		}
		var value []byte
		var score float64
		var stamp lattice.Timestamp
		var removed bool
		m := fields{rest: f.bytes}
		for m.next() {
			switch {
			case m.isBytes(scoredValue):
				value = m.bytes
			case m.isDouble(scoredScore):
				score = math.Float64frombits(m.scalar)
			case m.timestamp(scoredTime, &stamp):
			case m.isUint(scoredGone):
				removed = m.scalar != 0
			}
		}
		if m.err != nil {
			return m.err
		}
		if removed {
			s.Remove(stamp, value)
		} else if _, err := s.Add(stamp, value, score); err != nil {
			return Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a state is malformed: %v", err)
		}
	}
	return f.err
}

func (s *stateParts) readCounter(data []byte) error {
	if s.counter == nil {
		s.counter = new(counterParts)
	}
	f := fields{rest: data}
	for f.next() {
		if f.timestamp(generation, &s.counter.generation) || !f.isBytes(counterCounts) {
			continue
		}
		var count lattice.Count
		c := fields{rest: f.bytes}
		for c.next() {
			switch {
			case c.isUint(countWriter):
				count.Writer = c.scalar
			case c.isUint(countUp):
				count.Up = c.scalar
			case c.isUint(countDown):
				count.Down = c.scalar
			}
		}
		if c.err != nil {
			return c.err
		}
		s.counter.counts = append(s.counter.counts, count)
	}
	return f.err
}

func readExtreme(stamp *lattice.Timestamp, value *int64, data []byte) error {
	f := fields{rest: data}
	for f.next() {
		if !f.timestamp(generation, stamp) && f.isUint(extremeValue) {
			*value = protowire.DecodeZigZag(f.scalar)
		}
	}
	return f.err
}

func readPriority(p *lattice.Priority, data []byte) error {
	f := fields{rest: data}
	for f.next() {
		switch {
		case f.timestamp(generation, &p.Generation):
		case f.isDouble(priorityPriority):
			p.Priority = math.Float64frombits(f.scalar) + 0 // the negative zero becomes the positive
		case f.isBytes(priorityValue):
			p.Value = slices.Clip(f.bytes)
		}
	}
	if f.err == nil && math.IsNaN(p.Priority) {
		return Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a state is malformed: priority: %v", lattice.ErrScore)
	}
	return f.err
}

func readMap(m *lattice.Map, data []byte, level int) error {
	if level >= stateLevelsMax {
		return Errorf(pb.Code_CODE_TOO_LARGE, "a state has maps in maps of more than %d levels, the limit", stateLevelsMax)
	}
	f := fields{rest: data}
	for f.next() {
		if !f.isBytes(mapFields) {
			continue
		}
		var name []byte
		var state stateParts
		field := fields{rest: f.bytes}
		for field.next() {
			switch {
			case field.isBytes(fieldName):
				name = field.bytes
			case field.isBytes(fieldState):
				if err := state.read(field.bytes, level+1); err != nil {
					return err
				}
			}
		}
		if field.err != nil {
			return field.err
		}
		m.Put(string(name), state.state())
	}
	return f.err
}

func (s *stateParts) readCausal(data []byte) error {
	if s.causal == nil {
		s.causal = new(causalParts)
	}
	f := fields{rest: data}
	for f.next() {
		if f.timestamp(generation, &s.causal.generation) || !f.isBytes(causalVersions) {
			continue
		}
		if len(s.causal.versions) == stateVersionsMax {
			return Errorf(pb.Code_CODE_TOO_LARGE, "a state has more than %d concurrent versions, the limit", stateVersionsMax)
		}
		version, err := readVersion(f.bytes)
		if err != nil {
			return err
		}
		s.causal.versions = append(s.causal.versions, version)
	}
	return f.err
}

func readVersion(data []byte) (version lattice.Version, err error) {
	var clock []lattice.ClockEntry
	var dependencies []lattice.Dependency
	f := fields{rest: data}
	for f.next() {
		switch {
		case f.isBytes(versionClock):
			clock, err = readClock(clock, f.bytes)
		case f.isBytes(versionDependencies):
			var d lattice.Dependency
			d, err = readDependency(f.bytes)
			dependencies = append(dependencies, d)
		case f.isBytes(versionValue):
			version.Value = slices.Clip(f.bytes)
		}
		if err != nil {
			return version, err
		}
	}
	version.Clock = lattice.NewVectorClock(clock...)
	version.Dependencies = lattice.NewDependencies(dependencies...)
	return version, f.err
}

func readDependency(data []byte) (d lattice.Dependency, err error) {
	var clock []lattice.ClockEntry
	f := fields{rest: data}
	for f.next() {
		switch {
		case f.isBytes(dependencyKey):
			d.Key = string(f.bytes)
		case f.isBytes(dependencyClock):
			if clock, err = readClock(clock, f.bytes); err != nil {
				return d, err
			}
		}
	}
	d.Clock = lattice.NewVectorClock(clock...)
	return d, f.err
}

func readClock(entries []lattice.ClockEntry, data []byte) ([]lattice.ClockEntry, error) {
	f := fields{rest: data}
	for f.next() {
		if !f.isBytes(clockEntries) {
			continue
		}
		var entry lattice.ClockEntry
		e := fields{rest: f.bytes}
		for e.next() {
			switch {
			case e.isBytes(clockWriter):
				entry.Writer = string(e.bytes)
			case e.isUint(clockCount):
				entry.Count = e.scalar
			}
		}
		if e.err != nil {
			return nil, e.err
		}
		entries = append(entries, entry)
	}
	return entries, f.err
}
