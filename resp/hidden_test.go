package resp_test

import (
	"fmt"
	"strings"
	"testing"

	"cloudburst/anna/kernel"
	"cloudburst/codec"
	"cloudburst/lattice"
	"cloudburst/wire"
)

// TestKeysOfCloudburstAreHidden has many results of runs, and definitions, among a client's keys.
func TestKeysOfCloudburstAreHidden(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	c := e.dial(t)
	const results = 300
	var last string
	for i := range results {
		last = wire.RunID{byte(i), byte(i >> 8)}.ResultKey()
		expiry := lattice.ExpireAt(lattice.Timestamp{}, 1<<50)
		expiry.Lattice = lattice.Put(lattice.Timestamp{}, []byte{codec.KindBytes, 'r'}).Lattice
		e.write(t, &kernel.Write{Key: last, Delta: expiry})
	}
	definition := wire.ReservedPrefix + "definition/f"
	e.writeValue(t, definition, codec.KindBytes, 'd')
	c.expect("0", "DBSIZE")
	if got := c.do("INFO", "keyspace"); got != `"# Keyspace\r\n"` {
		t.Errorf("INFO of no keys: %s", got)
	}

	c.expect("OK", "SET", "mine", "1", "EX", "100")
	c.expect("OK", "MSET", "cloud", "1", "cloudburst0", "1")
	c.expect("3", "DBSIZE")
	if got := c.do("INFO", "keyspace"); !strings.Contains(got, "db0:keys=3,expires=1,") {
		t.Errorf("INFO: %s", got)
	}
	c.expect(`["cloud" "cloudburst0" "mine"]`, "KEYS", "*")
	c.expect(`["cloud" "cloudburst0"]`, "KEYS", "c*")
	c.expect(`[]`, "KEYS", "cloudburst/*")
	// A scan goes past them at once.
	rounds, seen := 0, ""
	for cursor := "0"; rounds == 0 || cursor != "0"; rounds++ {
		got := c.do("SCAN", cursor, "COUNT", "2")
		words := strings.Fields(strings.Trim(got, "[]"))
		cursor = strings.Trim(words[0], `"`)
		seen += strings.Join(words[1:], " ")
	}
	if rounds > 4 || seen != `["cloud"["cloudburst0" "mine"` {
		t.Errorf("%d rounds of SCAN: %s", rounds, seen)
	}
	// Results can be read by name, and nothing can be written.
	c.expect(`"r"`, "GET", last)
	c.expect("nil", "GET", definition)
	c.expect("0", "EXISTS", definition)
	for _, words := range [][]string{
		{"SET", last, "x"},
		{"DEL", "mine", last},
		{"UNLINK", definition},
		{"GETDEL", last},
		{"EXPIRE", last, "1"},
		{"PERSIST", last},
		{"INCR", wire.ReservedPrefix + "n"},
		{"SADD", wire.ReservedPrefix + "s", "a"},
		{"ZADD", wire.ReservedPrefix + "z", "1", "a"},
	} {
		if got := c.do(words...); !strings.HasPrefix(got, "-ERR key ") || !strings.Contains(got, "Cloudburst's own; choose another") {
			t.Errorf("%q: %s", words, got)
		}
	}
	c.expect("1", "EXISTS", "mine")
	c.expect(fmt.Sprintf("%q", "r"), "GET", last)
}
