package kernel

import (
	"testing"

	"cloudburst/lattice"
)

func TestOvertaken(t *testing.T) {
	t.Parallel()
	at := func(time uint64) lattice.Timestamp { return lattice.Timestamp{Time: time, Writer: 1} }
	scored := func(time uint64, member string) *lattice.State {
		s, err := lattice.OrderedSetAdd(at(time), []byte(member), 1)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	fresh := lattice.Timestamp{}
	unstamped, err := lattice.OrderedSetAdd(fresh, []byte("m"), 2)
	if err != nil {
		t.Fatal(err)
	}
	gone := lattice.Delete(at(20))
	for name, c := range map[string]struct {
		held *lattice.State
		w    Write
		want bool
	}{
		"member later":     {scored(20, "m"), Write{Delta: unstamped}, true},
		"member removed":   {lattice.OrderedSetRemove(at(20), []byte("m")), Write{Delta: unstamped}, true},
		"member earlier":   {scored(5, "m"), Write{Delta: unstamped}, false},
		"other member":     {scored(20, "n"), Write{Delta: unstamped}, false},
		"deleted later":    {gone, Write{Delta: unstamped}, true},
		"set later":        {lattice.SetAdd(at(20), []byte("m")), Write{Delta: lattice.SetAdd(fresh, []byte("m"))}, true},
		"field later":      {lattice.MapPut("f", lattice.Put(at(20), []byte("v"))), Write{Delta: lattice.MapPut("f", lattice.Put(fresh, nil))}, true},
		"field deleted":    {lattice.MapPut("f", gone.Clone()), Write{Delta: lattice.MapPut("f", lattice.Put(fresh, nil))}, true},
		"other field":      {lattice.MapPut("g", lattice.Put(at(20), []byte("v"))), Write{Delta: lattice.MapPut("f", lattice.Put(fresh, nil))}, false},
		"expiry later":     {lattice.ExpireAt(at(20), 5), Write{Delta: lattice.ExpireAt(fresh, 7)}, true},
		"persisted later":  {lattice.ExpireAt(at(20), 0), Write{Persist: true}, true},
		"other type":       {lattice.Put(at(20), []byte("v")), Write{Delta: unstamped, Replace: true}, true},
		"at the same time": {lattice.Put(at(10), []byte("v")), Write{Delta: lattice.Put(fresh, []byte("v"))}, false},
		"nothing there":    {new(lattice.State), Write{Delta: unstamped}, false},
		"no content":       {gone, Write{Delete: true}, true},
	} {
		c.w.Stamp = at(10)
		if got := overtaken(&c.w, c.held); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
