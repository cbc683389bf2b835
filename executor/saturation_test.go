package executor

import "testing"

func TestEnumerate(t *testing.T) {
	t.Parallel()
	groups := map[int]*group{1: {"b@1", 3}, 2: {"a@1", 3}, 3: {"c@2", 7}}
	equal(t, enumerate(groups), "7 × c@2; 3 × a@1; 3 × b@1")
	for i := range 4 {
		groups[10+i] = &group{"more", 1}
	}
	equal(t, enumerate(groups), "7 × c@2; 3 × a@1; 3 × b@1; 1 × more; 1 × more; and 2 others")
	equal(t, enumerate(map[int]*group{}), "nothing")
}
