package codec

import (
	"bytes"
	"reflect"
	"slices"

	"cloudburst/lattice"
)

// decodeLattice stores what the state of a lattice shows, as docs/internals/protocol.md says: a program that does not know lattices finds
// the integer of a counter, the dictionary of a map, and so on.
func decodeLattice(value []byte, target reflect.Value) error {
	v, err := decodeAny(value, false)
	if err != nil {
		return err
	}
	// What is shown fits where the same value would, had it been put as it is.
	plain, err := appendPlain(nil, reflect.ValueOf(v), 0)
	if err != nil {
		return err
	}
	d := decoder{data: plain}
	return d.all(target)
}

// shown returns what a state shows; nil for nothing. Whether it has expired is for the node to say.
func shown(state *lattice.State, inOrder bool) (any, error) {
	decode := func(value []byte) (any, error) { return decodeAny(value, inOrder) }
	switch l := state.Live(0).(type) {
	case *lattice.LWW:
		return decode(l.Value)
	case *lattice.Set:
		set := make(Set, 0, l.Len())
		for _, member := range l.Members() {
			v, err := decode(member)
			if err != nil {
				return nil, err
			}
			set = append(set, v)
		}
		return set, nil
	case *lattice.OrderedSet:
		list := make([]any, 0, l.Len())
		for _, member := range l.Range(0, l.Len()) {
			v, err := decode(member.Member)
			if err != nil {
				return nil, err
			}
			list = append(list, Tuple{v, member.Score})
		}
		return list, nil
	case *lattice.Counter:
		return l.Value(), nil
	case *lattice.Max:
		return l.Value, nil
	case *lattice.Min:
		return l.Value, nil
	case *lattice.Priority:
		return decode(l.Value)
	case *lattice.Map:
		fields := make(map[string]any, l.Len())
		for name, field := range l.Fields() {
			v, err := shown(field, inOrder)
			if err != nil {
				return nil, err
			}
			if field.Live(0) != nil {
				fields[name] = v
			}
		}
		return fields, nil
	case *lattice.Causal:
		return decode(slices.MinFunc(l.Values(), bytes.Compare))
	}
	return nil, nil
}
