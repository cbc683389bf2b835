package anna

import (
	"cmp"
	"slices"
	"sync/atomic"

	"cloudburst/anna/slots"
)

// routes says which members to ask for the keys of a slot. Safe for concurrent use.
type routes struct {
	atomic.Pointer[routing] // nil until this node has seen the members
	self                    string
}

// routing is who is to serve what, and who does, as far as is known at one moment.
type routing struct {
	table  slots.Table
	serves map[string]slots.Bitmap // by member
}

// leaderOf returns the member that leads a slot, if it serves it; empty if none does.
func (r *routes) leaderOf(slot uint16) string {
	now := r.Load()
	if now == nil || len(now.table[slot]) == 0 || !now.serves[now.table[slot][0]].Has(slot) {
		return ""
	}
	return now.table[slot][0]
}

// masterOf returns another member that serves a slot, as far as is known, at each attempt the next; empty if none does.
func (r *routes) masterOf(slot uint16, attempt int) string {
	now := r.Load()
	if now == nil {
		return ""
	}
	var serving []string
	for member, serves := range now.serves {
		if member != r.self && serves.Has(slot) {
			serving = append(serving, member)
		}
	}
	if len(serving) == 0 {
		return ""
	}
	// Those that the table wants come first, since the others are about to go.
	slices.SortFunc(serving, func(a, b string) int {
		return cmp.Or(cmp.Compare(now.rank(slot, a), now.rank(slot, b)), cmp.Compare(a, b))
	})
	return serving[attempt%len(serving)]
}

// rank returns the place of a member among the masters that the table has for a slot.
func (r *routing) rank(slot uint16, member string) int {
	if at := slices.Index(r.table[slot], member); at >= 0 {
		return at
	}
	return len(r.table[slot])
}
