package lattice

import "fmt"

// holds says what a key of each type holds, and needs what the operations on that type need.
var (
	holds = [...]string{
		TypeNone: "nothing", TypeLWW: "a single value, as put stores it", TypeSet: "a set", TypeOrderedSet: "an ordered set", TypeCounter: "a counter",
		TypeMax: "a maximum", TypeMin: "a minimum", TypePriority: "a value with a priority", TypeMap: "a map of lattices", TypeCausal: "a causal value",
	}
	needs = [...]string{
		TypeNone: "nothing is needed", TypeLWW: "put replaces a single value only", TypeSet: "adding and removing members needs a set",
		TypeOrderedSet: "adding and removing members with scores needs an ordered set", TypeCounter: "increment needs a counter",
		TypeMax: "only a maximum can be raised", TypeMin: "only a minimum can be lowered", TypePriority: "put with a priority needs a value with a priority",
		TypeMap: "changing fields needs a map of lattices", TypeCausal: "a causal put needs a causal value",
	}
)

// Mismatch says to a user why an operation that needs one type of lattice cannot work on a key that holds another, and what to do.
func Mismatch(key string, held, needed Type) string {
	if int(held) >= len(holds) || int(needed) >= len(needs) {
		return fmt.Sprintf("the key %.64q holds a lattice of %v, and this is one of %v", key, held, needed)
	}
	return fmt.Sprintf("the key %.64q holds %s, but %s: delete the key first, or use another key", key, holds[held], needs[needed])
}
