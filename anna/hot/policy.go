// Package hot decides which keys are read so often that further nodes are to hold them: a sketch counts the reads, and a policy decides
// from the rates. It is pure: callers pass in the time.
package hot

import (
	"cmp"
	"math"
	"slices"
)

// Policy decides which keys are read so often that further nodes are to hold them beside their masters, and which nodes: as
// many as bring what each answers down to Rate. It follows a rate up at once, and down only when that has been so low for long
// that a key would not go to and fro (Anna's selective replication, VLDB 2019, with hysteresis in place of mean and deviation).
// Owned by one goroutine; it knows no time but what it is told.
type Policy struct {
	// Rate is how many reads of one key a second one node is to answer, and ColdRate how few they must have become before fewer
	// nodes hold it.
	Rate, ColdRate float64
	// ColdAfter is for how long they must, in microseconds.
	ColdAfter int64
	// KeysMax bounds the keys that are hot at a time, ReplicasMax the nodes beside a key's masters.
	KeysMax, ReplicasMax int

	keys map[string]*hotKey
}

type hotKey struct {
	want     int // nodes beside the masters
	members  []string
	low      int // the most that was needed since lowSince
	lowSince int64
	falling  bool
}

// Demand is how often a key is read.
type Demand struct {
	Key string
	// Rate is in reads a second, of the clients of all nodes.
	Rate float64
	// Masters is how many nodes hold the key anyway.
	Masters int
	// Candidates are the other nodes that can hold it, in the order in which they are to.
	Candidates []string
}

// Key is a key that is hot, and who is to hold it beside its masters.
type Key struct {
	Key     string
	Rate    float64
	Members []string
}

// Decide returns the hot keys, the one that is read most often first. Demands must hold every key that is hot already and is
// still to be decided about here.
func (p *Policy) Decide(now int64, demands []Demand) []Key {
	demands = slices.Clone(demands)
	slices.SortFunc(demands, func(a, b Demand) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.Key, b.Key))
	})
	kept := make(map[string]*hotKey, len(p.keys))
	for _, d := range demands {
		if k := p.keys[d.Key]; k != nil && p.update(now, k, &d) {
			kept[d.Key] = k
		}
	}
	p.keys = kept
	var hot []Key
	for _, d := range demands {
		k := p.keys[d.Key]
		if k == nil {
			if len(p.keys) >= p.KeysMax {
				continue
			}
			k = new(hotKey)
			if !p.update(now, k, &d) {
				continue
			}
			p.keys[d.Key] = k
		}
		k.choose(d.Candidates)
		hot = append(hot, Key{d.Key, d.Rate, slices.Clone(k.members)})
	}
	return hot
}

// update follows the rate of a key, and reports whether it is hot.
func (p *Policy) update(now int64, k *hotKey, d *Demand) bool {
	k.want = max(k.want, p.need(d.Rate, d.Masters))
	need := p.need(d.Rate*p.Rate/p.ColdRate, d.Masters)
	switch {
	case need >= k.want:
		k.falling = false
	case !k.falling:
		k.falling, k.low, k.lowSince = true, need, now
	default:
		if k.low = max(k.low, need); now-k.lowSince >= p.ColdAfter {
			k.want, k.falling = k.low, false
		}
	}
	return k.want > 0
}

// need returns how many nodes beside the masters bring the reads that each answers down to the rate.
func (p *Policy) need(rate float64, masters int) int {
	nodes := math.Ceil(rate / p.Rate)
	return int(max(0, min(nodes-float64(masters), float64(p.ReplicasMax))))
}

// choose keeps who holds the key already, as far as it still can, and adds others.
func (k *hotKey) choose(candidates []string) {
	k.members = slices.DeleteFunc(k.members, func(m string) bool { return !slices.Contains(candidates, m) })
	for _, c := range candidates {
		if len(k.members) >= k.want {
			break
		}
		if !slices.Contains(k.members, c) {
			k.members = append(k.members, c)
		}
	}
	k.members = k.members[:min(len(k.members), k.want)]
}

// Keys returns the keys that are hot.
func (p *Policy) Keys() []string {
	keys := make([]string, 0, len(p.keys))
	for key := range p.keys {
		keys = append(keys, key)
	}
	return keys
}
