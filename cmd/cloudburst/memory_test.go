package main

import "testing"

func TestSlack(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	var s slack
	for i, look := range []struct {
		allocated, live, held uint64
		due                   bool
	}{
		{allocated: 900 * mib, live: 400 * mib, held: 200 * mib},            // busy
		{allocated: 901 * mib, live: 400 * mib, held: 200 * mib, due: true}, // quiet for the first time
		{allocated: 902 * mib, live: 400 * mib, held: 60 * mib},             // what is left cannot be given back
		{allocated: 903 * mib, live: 400 * mib, held: 150 * mib},            // less than a quarter to gain
		{allocated: 904 * mib, live: 400 * mib, held: 165 * mib, due: true},
		{allocated: 905 * mib, live: 20 * mib, held: 10 * mib},
		{allocated: 906 * mib, live: 20 * mib, held: 41 * mib}, // too little to be worth it
		{allocated: 907 * mib, live: 20 * mib, held: 42 * mib, due: true},
	} {
		if due := s.due(look.allocated, look.live, look.held); due != look.due {
			t.Errorf("look %d: due is %v", i, due)
		}
		if look.due {
			s.done(60 * mib)
		}
	}
}
