package lattice

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
)

func BenchmarkLWWMerge(b *testing.B) {
	value := make([]byte, 100)
	held := Put(Timestamp{}, value)
	delta := Put(Timestamp{}, value)
	lww := delta.Lattice.(*LWW)
	b.ReportAllocs()
	for i := range b.N {
		lww.Timestamp.Time = uint64(i + 1)
		held.Merge(delta)
	}
}

// BenchmarkLWWKeys is what a node that starts does: a million keys, each with a value of its own.
func BenchmarkLWWKeys(b *testing.B) {
	keys := make([]string, 1<<20)
	for i := range keys {
		keys[i] = "key:" + strconv.Itoa(i)
	}
	states := make(map[string]*State, len(keys))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		key := keys[i&(len(keys)-1)]
		delta := Put(Timestamp{Time: uint64(i + 1)}, make([]byte, 100))
		if held, ok := states[key]; ok {
			held.Merge(delta)
		} else {
			states[key] = delta
		}
	}
}

func member(dst []byte, i int) []byte {
	return binary.BigEndian.AppendUint64(append(dst[:0], "member:"...), uint64(i)*0x9e3779b97f4a7c15)
}

func bigSet(n int) *State {
	s := new(Set)
	var buf []byte
	for i := range n {
		buf = member(buf, i)
		s.Add(Timestamp{Time: uint64(i + 1)}, buf)
	}
	return &State{Lattice: s}
}

func BenchmarkSet(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000, 1_000_000} {
		held := bigSet(n)
		set := held.Lattice.(*Set)
		var buf []byte
		b.Run(fmt.Sprintf("merge/held=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				buf = member(buf, i%n)
				held.Merge(SetAdd(Timestamp{Time: uint64(n + i)}, buf))
			}
		})
		b.Run(fmt.Sprintf("contains/held=%d", n), func(b *testing.B) {
			for i := range b.N {
				buf = member(buf, i%n)
				if !set.Contains(buf) {
					b.Fatal(i)
				}
			}
		})
		b.Run(fmt.Sprintf("len/held=%d", n), func(b *testing.B) {
			for range b.N {
				_ = set.Len() + held.Bytes()
			}
		})
	}
}

// BenchmarkTouch looks for members of a large set at random, 16 at a time: one after another, and with a Touch before.
func BenchmarkTouch(b *testing.B) {
	const held, together = 1_000_000, 16
	set := bigSet(held).Lattice.(*Set)
	for _, touch := range []bool{false, true} {
		b.Run(fmt.Sprintf("touch=%t", touch), func(b *testing.B) {
			var lattices [together]Lattice
			var members [together]string
			var room [together][]byte
			random := rand.New(rand.NewPCG(1, 2))
			for i := range b.N {
				at := i % together
				if at == 0 {
					for j := range members {
						room[j] = member(room[j], random.IntN(held))
						lattices[j], members[j] = set, viewOf(room[j])
					}
					if touch {
						Touch(lattices[:], members[:])
					}
				}
				if !set.Contains(room[at]) {
					b.Fatal(i)
				}
			}
		})
	}
}

func BenchmarkOrderedSet(b *testing.B) {
	for _, n := range []int{10, 1_000, 100_000, 1_000_000} {
		set := new(OrderedSet)
		held := &State{Lattice: set}
		var buf []byte
		for i := range n {
			buf = member(buf, i)
			must(set.Add(Timestamp{Time: 1}, buf, float64(i*7919%n)))
		}
		b.Run(fmt.Sprintf("merge/held=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				buf = member(buf, i%n)
				held.Merge(must(OrderedSetAdd(Timestamp{Time: uint64(i + 2)}, buf, float64(i*6007%n))))
			}
		})
		b.Run(fmt.Sprintf("rank/held=%d", n), func(b *testing.B) {
			for i := range b.N {
				buf = member(buf, i%n)
				set.Rank(buf)
			}
		})
		b.Run(fmt.Sprintf("range10/held=%d", n), func(b *testing.B) {
			for i := range b.N {
				at := set.CountBelow(float64(i%n), false)
				set.Range(at, at+10)
			}
		})
	}
}

// BenchmarkMemory reports the live memory of a million of something, and what Bytes says of it.
func BenchmarkMemory(b *testing.B) {
	const n = 1_000_000
	kinds := map[string]func() []*State{
		"lww100": func() []*State {
			states := make([]*State, n)
			for i := range states {
				states[i] = Put(Timestamp{Time: uint64(i)}, make([]byte, 101))
			}
			return states
		},
		"set1": func() []*State {
			states := make([]*State, n)
			for i := range states {
				states[i] = SetAdd(Timestamp{Time: uint64(i)}, member(nil, i))
			}
			return states
		},
		"set": func() []*State { return []*State{bigSet(n)} },
		"counter": func() []*State {
			states := make([]*State, n)
			for i := range states {
				states[i] = must(CounterAdd(new(State), uint64(i), 1))
			}
			return states
		},
		"orderedset": func() []*State {
			set := new(OrderedSet)
			var buf []byte
			for i := range n {
				buf = member(buf, i)
				must(set.Add(Timestamp{Time: 1}, buf, float64(i*7919%n)))
			}
			return []*State{{Lattice: set}}
		},
	}
	for name, fill := range kinds {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				before := liveBytes()
				states := fill()
				after := liveBytes()
				said := 0
				for _, s := range states {
					said += s.Bytes()
				}
				b.ReportMetric(float64(after-before-uint64(8*len(states)))/n, "B/item")
				b.ReportMetric(float64(said)/n, "said-B/item")
				runtime.KeepAlive(states)
			}
		})
	}
}

func liveBytes() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
