package hot

import (
	"cmp"
	"slices"
	"strings"
)

// Sketch finds the keys that are counted most often, in memory that does not grow with how many keys there are: Space-Saving, by
// Metwally, Agrawal and El Abbadi (Efficient Computation of Frequent and Top-k Elements in Data Streams, ICDT 2005). Every key
// that was counted more often than the total divided by the size is in it, and a key in it was counted at most as often as its
// Count says, and at least as often as that less its Error. Not safe for concurrent use.
type Sketch struct {
	size     int
	counters []*Frequency // a heap, the least frequent first
	places   map[string]*Frequency
}

// Frequency is how often a key was counted.
type Frequency struct {
	Key  string
	Slot uint16
	// Count is at least, and Count less Error at most, what has been counted.
	Count, Error float64
	place        int
}

// Least is what has been counted for certain.
func (f *Frequency) Least() float64 { return f.Count - f.Error }

// NewSketch returns a sketch of so many keys.
func NewSketch(size int) *Sketch {
	return &Sketch{size: size, places: make(map[string]*Frequency, size)}
}

// Add counts a key, which is only lent.
func (s *Sketch) Add(key string, slot uint16) {
	f := s.places[key]
	switch {
	case f != nil:
		f.Count++
	case len(s.counters) < s.size:
		f = &Frequency{Key: strings.Clone(key), Slot: slot, Count: 1, place: len(s.counters)}
		s.places[f.Key] = f
		s.counters = append(s.counters, f)
		s.up(f.place)
		return
	default:
		f = s.counters[0]
		delete(s.places, f.Key)
		*f = Frequency{Key: strings.Clone(key), Slot: slot, Count: f.Count + 1, Error: f.Count}
		s.places[f.Key] = f
	}
	s.down(f.place)
}

// Decay makes everything that has been counted count half.
func (s *Sketch) Decay() {
	for _, f := range s.counters {
		f.Count /= 2
		f.Error /= 2
	}
}

// Frequent returns the keys that have certainly been counted so often, the most frequent first.
func (s *Sketch) Frequent(least float64) []Frequency {
	var found []Frequency
	for _, f := range s.counters {
		if f.Least() >= least {
			found = append(found, *f)
		}
	}
	slices.SortFunc(found, func(a, b Frequency) int {
		return cmp.Or(cmp.Compare(b.Least(), a.Least()), cmp.Compare(a.Key, b.Key))
	})
	return found
}

func (s *Sketch) swap(i, j int) {
	s.counters[i], s.counters[j] = s.counters[j], s.counters[i]
	s.counters[i].place, s.counters[j].place = i, j
}

func (s *Sketch) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if s.counters[parent].Count <= s.counters[i].Count {
			return
		}
		s.swap(i, parent)
		i = parent
	}
}

func (s *Sketch) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s.counters); child++ {
			if s.counters[child].Count < s.counters[least].Count {
				least = child
			}
		}
		if least == i {
			return
		}
		s.swap(i, least)
		i = least
	}
}
