package scheduler

import (
	"testing"

	"pgregory.net/rapid"
)

// The wheel gives every alarm out at the first advance to its tick or beyond it, once, unless it was removed.
func TestWheelKeepsTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w wheel
		w.init()
		now := int64(0)
		waiting := make(map[*alarm]int64)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				a := new(alarm)
				tick := now + rapid.Int64Range(-5, 3*wheelSlots).Draw(t, "in")
				w.add(a, tick)
				waiting[a] = max(tick, now+1)
			},
			"remove": func(*rapid.T) {
				for a := range waiting {
					w.remove(a)
					w.remove(a) // twice does no harm
					delete(waiting, a)
					return
				}
			},
			"advance": func(t *rapid.T) {
				now += rapid.Int64Range(0, 2*wheelSlots).Draw(t, "by")
				for _, a := range w.advance(now, nil) {
					tick, ok := waiting[a]
					if !ok || tick > now {
						t.Fatalf("an alarm for %d was given out at %d (known: %t)", tick, now, ok)
					}
					delete(waiting, a)
				}
				for _, tick := range waiting {
					if tick <= now {
						t.Fatalf("an alarm for %d was not given out at %d", tick, now)
					}
				}
			},
		})
	})
}
