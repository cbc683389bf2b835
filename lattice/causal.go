package lattice

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"unsafe"
)

// CausalVersionsMax is how many concurrent versions of a key a writer may add to. A writer that reads first supersedes what it
// has read, so only writers that never read get there.
const CausalVersionsMax = 128

// ErrVersions says that a key has too many concurrent versions.
var ErrVersions = errors.New("too many concurrent versions")

// Causal holds the versions of a value that no other version has seen: one, or several that were written concurrently. It is
// the single-key lattice where versions have no dependencies, the multi-key lattice where they have. Generation: see Counter.
//
// Each version keeps its own clock. The published lattice joins the clocks of concurrent versions, after which it can no
// longer tell which of them a later version has seen: merging {a:1} x, {b:1} y and {a:2} z, the first two first leaves x, the
// last two first does not.
type Causal struct {
	Generation Timestamp
	versions   []Version // in the order of value and clock
}

// Version is one version of a value. Immutable.
type Version struct {
	Clock        VectorClock
	Dependencies Dependencies
	Value        []byte
}

// Dependencies are the versions of other keys that a version depends on. Immutable.
type Dependencies struct {
	entries []Dependency // in the order of the keys
}

// Dependency is a key and the version of it that is depended on.
type Dependency struct {
	Key   string
	Clock VectorClock
}

// NewDependencies returns the given dependencies; several of one key are merged.
func NewDependencies(entries ...Dependency) Dependencies {
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, func(a, b Dependency) int { return cmp.Compare(a.Key, b.Key) })
	kept := sorted[:0]
	for _, d := range sorted {
		if n := len(kept); n > 0 && kept[n-1].Key == d.Key {
			kept[n-1].Clock = kept[n-1].Clock.Merge(d.Clock)
		} else {
			kept = append(kept, d)
		}
	}
	return Dependencies{kept}
}

// Len returns the number of keys.
func (d Dependencies) Len() int { return len(d.entries) }

// Entries walks over the dependencies in the order of their keys.
func (d Dependencies) Entries() iter.Seq[Dependency] { return slices.Values(d.entries) }

// Get returns the version of a key that is depended on; the zero clock if none is.
func (d Dependencies) Get(key string) VectorClock {
	at, found := slices.BinarySearchFunc(d.entries, key, func(d Dependency, key string) int { return cmp.Compare(d.Key, key) })
	if !found {
		return VectorClock{}
	}
	return d.entries[at].Clock
}

// Merge returns the dependencies of both.
func (d Dependencies) Merge(other Dependencies) Dependencies {
	switch {
	case len(other.entries) == 0 || d.equal(other):
		return d
	case len(d.entries) == 0:
		return other
	}
	return NewDependencies(slices.Concat(d.entries, other.entries)...)
}

func (d Dependencies) equal(other Dependencies) bool {
	return slices.EqualFunc(d.entries, other.entries, func(a, b Dependency) bool {
		return a.Key == b.Key && a.Clock.sequence(b.Clock) == 0
	})
}

// NewCausal returns the lattice of versions, without those that another of them has seen.
func NewCausal(generation Timestamp, versions ...Version) *Causal {
	c := &Causal{Generation: generation}
	for _, v := range versions {
		c.add(v)
	}
	return c
}

// CausalPut returns the delta of writing a version to what is held. A writer makes its version's clock by incrementing its own
// count in the clock of all that it has read. It returns an error wrapping ErrVersions when there are CausalVersionsMax
// versions that this one has not seen.
func CausalPut(held *State, version Version) (*State, error) {
	if c, ok := held.Of(TypeCausal).(*Causal); ok && len(c.versions) >= CausalVersionsMax {
		unseen := 0
		for _, v := range c.versions {
			if !version.Clock.Covers(v.Clock) {
				unseen++
			}
		}
		if unseen >= CausalVersionsMax {
			return nil, fmt.Errorf("%w: %d that this one has not seen; read the key and write with its clock", ErrVersions, unseen)
		}
	}
	return &State{Lattice: NewCausal(held.Generation(TypeCausal), version)}, nil
}

// Type implements Lattice.
func (c *Causal) Type() Type { return TypeCausal }

// Versions walks over the versions in the order of their values.
func (c *Causal) Versions() iter.Seq[Version] { return slices.Values(c.versions) }

// Len returns the number of versions.
func (c *Causal) Len() int { return len(c.versions) }

// Clock returns the clock that has seen every version.
func (c *Causal) Clock() (clock VectorClock) {
	for _, v := range c.versions {
		clock = clock.Merge(v.Clock)
	}
	return clock
}

// Dependencies returns the dependencies of all versions.
func (c *Causal) Dependencies() (d Dependencies) {
	for _, v := range c.versions {
		d = d.Merge(v.Dependencies)
	}
	return d
}

// Values returns the concurrent values in the order of their bytes. They must not be changed.
func (c *Causal) Values() [][]byte {
	values := make([][]byte, 0, len(c.versions))
	for _, v := range c.versions {
		if n := len(values); n == 0 || !bytes.Equal(values[n-1], v.Value) {
			values = append(values, v.Value)
		}
	}
	return values
}

func (v Version) compare(other Version) int {
	return cmp.Or(bytes.Compare(v.Value, other.Value), v.Clock.sequence(other.Clock))
}

func (v Version) equal(other Version) bool {
	return v.compare(other) == 0 && v.Dependencies.equal(other.Dependencies)
}

// add merges one version: those that it has seen go, and it stays out if one has seen it.
func (c *Causal) add(v Version) (changed bool) {
	for i := range c.versions {
		held := &c.versions[i]
		switch held.Clock.Compare(v.Clock) {
		case After:
			return false
		case Equal:
			if bytes.Equal(held.Value, v.Value) {
				merged := held.Dependencies.Merge(v.Dependencies)
				changed = !merged.equal(held.Dependencies)
				held.Dependencies = merged
				return changed
			}
		}
	}
	c.versions = slices.DeleteFunc(c.versions, func(held Version) bool { return held.Clock.Compare(v.Clock) == Before })
	at, _ := slices.BinarySearchFunc(c.versions, v, Version.compare)
	c.versions = slices.Insert(c.versions, at, v)
	return true
}

// Prune bounds the growth of clocks and dependencies: it forgets what every replica has seen.
//
// floor is the Floor of the Clock that every replica has of this key. In versions that have seen it, it is replaced by the
// number of writes in it, so all replicas must be given the same floors in the same order. The order among versions stays what
// it was, and no version is ever taken for seen that is not. The other way round there is a gap: a version that comes from a
// replica where it had not seen the floor may stay together with the one that has seen it, until that floor is given again.
//
// dependencies are versions of other keys that every replica and cache has seen: what they cover need not be depended on.
// Prune the dependencies on a key before its clock.
func (c *Causal) Prune(floor VectorClock, dependencies map[string]VectorClock) (changed bool) {
	versions := slices.Clone(c.versions)
	for i, v := range versions {
		if d := v.Dependencies.without(dependencies); d.Len() < v.Dependencies.Len() {
			versions[i].Dependencies = d
			changed = true
		}
	}
	seen := ClockEntry{Count: floor.sum()}
	var reached []VectorClock // of the versions that have seen the floor, with what an earlier Prune has taken from them
	for i, v := range versions {
		switch {
		case seen.Count == 0:
		case v.Clock.Covers(floor):
			reached = append(reached, v.Clock)
			versions[i].Clock = v.Clock.above(floor, seen)
			changed = changed || versions[i].Clock.sequence(v.Clock) != 0
		case v.Clock.Get("") >= seen.Count:
			reached = append(reached, v.Clock.Merge(floor))
		}
	}
	kept := slices.DeleteFunc(versions, func(v Version) bool {
		return slices.ContainsFunc(reached, func(clock VectorClock) bool { return v.Clock.Compare(clock) == Before }) &&
			v.Clock.Get("") < seen.Count
	})
	if !changed && len(kept) == len(c.versions) {
		return false
	}
	c.versions = nil
	for _, v := range kept {
		c.add(v)
	}
	return true
}

// without returns the dependencies that are not covered by what has been seen.
func (d Dependencies) without(seen map[string]VectorClock) Dependencies {
	if len(seen) == 0 {
		return d
	}
	return Dependencies{slices.DeleteFunc(slices.Clone(d.entries), func(d Dependency) bool {
		clock, ok := seen[d.Key]
		return ok && clock.Covers(d.Clock)
	})}
}

// above returns what v has seen beyond a floor that it covers, and an entry for the floor.
func (v VectorClock) above(floor VectorClock, seen ClockEntry) VectorClock {
	entries := []ClockEntry{{Count: max(seen.Count, v.Get(""))}}
	for writer, counts := range pairs(v, floor) {
		if writer != "" && counts[0] > counts[1] {
			entries = append(entries, ClockEntry{writer, counts[0]})
		}
	}
	return VectorClock{entries}
}

// Merge implements Lattice.
func (c *Causal) Merge(other Lattice) bool { return c.mergeAfter(other, Timestamp{}) }

func (c *Causal) mergeAfter(other Lattice, deleted Timestamp) (changed bool) {
	o := other.(*Causal)
	if superseded(o.Generation, deleted) {
		return false
	}
	switch newer := o.Generation.Compare(c.Generation); {
	case newer > 0:
		*c = Causal{Generation: o.Generation, versions: slices.Clone(o.versions)}
		return true
	case newer < 0:
		return false
	}
	for _, v := range o.versions {
		changed = c.add(v) || changed
	}
	return changed
}

// Clone implements Lattice.
func (c *Causal) Clone() Lattice {
	return &Causal{Generation: c.Generation, versions: slices.Clone(c.versions)}
}

// Equal implements Lattice.
func (c *Causal) Equal(other Lattice) bool {
	o := other.(*Causal)
	return c.Generation == o.Generation && slices.EqualFunc(c.versions, o.versions, Version.equal)
}

// Empty implements Lattice.
func (c *Causal) Empty() bool { return len(c.versions) == 0 }

func (c *Causal) bottom() bool { return len(c.versions) == 0 && c.Generation.IsZero() }

// Drop implements Lattice.
func (c *Causal) Drop(deleted Timestamp) bool {
	if !superseded(c.Generation, deleted) || c.bottom() {
		return false
	}
	*c = Causal{}
	return true
}

// Bytes implements Lattice.
func (c *Causal) Bytes() int {
	n := allocated(int(unsafe.Sizeof(*c))) + allocated(cap(c.versions)*int(unsafe.Sizeof(Version{})))
	for _, v := range c.versions {
		n += allocated(cap(v.Value)) + v.Clock.bytes() + allocated(cap(v.Dependencies.entries)*int(unsafe.Sizeof(Dependency{})))
		for _, d := range v.Dependencies.entries {
			n += allocated(len(d.Key)) + d.Clock.bytes()
		}
	}
	return n
}

func (c *Causal) collect(Timestamp) bool { return false }

func (c *Causal) generation() Timestamp { return c.Generation }

func (c *Causal) complete(_, generation Timestamp, _ Lattice) {
	if c.Generation.IsZero() {
		c.Generation = generation
	}
}
