package kernel

// queue is a first-in-first-out ring that grows.
type queue[T any] struct {
	ring  []T
	head  int
	count int
}

const queueInitial = 16

func (q *queue[T]) push(v T) {
	if q.count == len(q.ring) {
		grown := make([]T, max(queueInitial, 2*len(q.ring)))
		n := copy(grown, q.ring[q.head:])
		copy(grown[n:], q.ring[:q.head])
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.count)&(len(q.ring)-1)] = v
	q.count++
}

func (q *queue[T]) pop() (v T, ok bool) {
	if q.count == 0 {
		return v, false
	}
	var none T
	v = q.ring[q.head]
	q.ring[q.head] = none
	q.head = (q.head + 1) & (len(q.ring) - 1)
	if q.count--; q.count == 0 && len(q.ring) > 1<<16 {
		q.ring, q.head = nil, 0 // a flood is over
	}
	return v, true
}

// peek returns the oldest, which stays.
func (q *queue[T]) peek() (v T, ok bool) {
	if q.count == 0 {
		return v, false
	}
	return q.ring[q.head], true
}
