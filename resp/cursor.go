package resp

import (
	"hash/maphash"
	"strconv"
	"sync"
)

const (
	// cursorsMax bounds the listings that can be under way; the oldest is forgotten for one more.
	cursorsMax = 16384
	// cursorBits keeps cursors within what clients in every language can hold.
	cursorBits = 52
)

// cursors remembers which key a SCAN's cursor stands for, since a cursor is a number in the protocol. Any connection may use
// it, as often as it likes. Safe for concurrent use.
type cursors struct {
	mu     sync.Mutex
	seed   maphash.Seed
	after  map[uint64]string
	oldest [cursorsMax]uint64 // a ring
	next   int
}

func newCursors() *cursors {
	return &cursors{seed: maphash.MakeSeed(), after: make(map[uint64]string)}
}

// keep returns the cursor that stands for a key; "0" for none.
func (s *cursors) keep(key string) string {
	if key == "" {
		return "0"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	cursor := maphash.String(s.seed, key)>>(64-cursorBits) | 1
	for {
		held, taken := s.after[cursor]
		if held == key {
			break
		}
		if !taken {
			delete(s.after, s.oldest[s.next])
			s.after[cursor] = key
			s.oldest[s.next] = cursor
			s.next = (s.next + 1) % cursorsMax
			break
		}
		cursor += 2
	}
	return strconv.FormatUint(cursor, 10)
}

// find returns the key that a cursor stands for, which is empty for 0.
func (s *cursors) find(cursor []byte) (key string, ok bool) {
	n, ok := parseInt(cursor)
	if !ok || n == 0 {
		return "", ok
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok = s.after[uint64(n)]
	return key, ok
}
