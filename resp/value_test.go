package resp_test

import (
	"math/big"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"cloudburst/anna/kernel"
	"cloudburst/codec"
	"cloudburst/lattice"
)

func plain(t testing.TB, item any) []byte {
	t.Helper()
	body, err := cbor.Marshal(item)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{codec.KindPlain}, body...)
}

// TestValuesOfOtherClients reads what functions write, and has them find what Redis clients write.
func TestValuesOfOtherClients(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	c := e.dial(t)
	huge, _ := new(big.Int).SetString("123456789012345678901234567890", 10)
	for want, item := range map[string]any{
		`"text"`: "text", `"-7"`: -7, `"18446744073709551615"`: uint64(1<<64 - 1), `"123456789012345678901234567890"`: huge,
		`"-123456789012345678901234567890"`: new(big.Int).Neg(huge), `"1.5"`: 1.5, `"true"`: true, `"inner"`: []byte("inner"),
	} {
		e.writeValue(t, "k", plain(t, item)...)
		c.expect(want, "GET", "k")
	}
	for what, value := range map[string][]byte{
		"a list":          plain(t, []int{1, 2}),
		"a dictionary":    plain(t, map[string]int{"a": 1}),
		"an array":        {codec.KindArray, 1, 2, 3},
		"a Python object": {codec.KindPickle, 1, 2, 3},
		"a value":         {99},
		"or the like":     {codec.KindPlain, 0x7f},
	} {
		e.writeValue(t, "k", value...)
		for _, command := range []string{"GET", "STRLEN", "INCR", "GETDEL"} {
			if got := c.do(command, "k"); !strings.HasPrefix(got, "-WRONGTYPE") || !strings.Contains(got, what) {
				t.Errorf("%s of %s: %q", command, what, got)
			}
		}
		c.expect("[nil]", "MGET", "k")
	}
	e.writeValue(t, "k", plain(t, 41)...)
	c.expect("42", "INCR", "k")
	e.write(t, &kernel.Write{Key: "max", Delta: lattice.MaxPut(new(lattice.State), -5)})
	c.expect(`"-5"`, "GET", "max")
	c.expect("string", "TYPE", "max")
	e.write(t, &kernel.Write{Key: "min", Delta: lattice.MinPut(new(lattice.State), 5)})
	c.expect(`"5"`, "GET", "min")
	e.write(t, &kernel.Write{Key: "map", Delta: lattice.MapPut("f", lattice.Put(lattice.Timestamp{}, []byte("v")))})
	c.expect("map", "TYPE", "map")
	if got := c.do("GET", "map"); !strings.HasPrefix(got, "-WRONGTYPE") {
		t.Errorf("GET of a map: %q", got)
	}

	c.expect("OK", "SET", "mine", "bytes\x00")
	e.anna.View("mine", func(held *lattice.State) {
		if got := held.Lattice.(*lattice.LWW).Value; string(got) != string(codec.KindBytes)+"bytes\x00" {
			t.Errorf("SET has written %q", got)
		}
	})
}

// TestMembersOfOtherClients finds the members of sets whatever wrote them.
func TestMembersOfOtherClients(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	c := e.dial(t)
	e.write(t, &kernel.Write{Key: "s", Delta: lattice.SetAdd(lattice.Timestamp{}, plain(t, "text"), plain(t, 7), plain(t, -300))})
	c.expect(`["text" "7" "-300"]`, "SMEMBERS", "s")
	c.expect("[1 1 1 0]", "SMISMEMBER", "s", "text", "7", "-300", "8")
	c.expect("1", "SADD", "s", "text", "mine")
	c.expect("4", "SCARD", "s")
	c.expect("2", "SREM", "s", "7", "text", "8")
	c.expect(`["-300" "mine"]`, "SMEMBERS", "s")
	e.write(t, &kernel.Write{Key: "s", Delta: lattice.SetAdd(lattice.Timestamp{}, []byte{codec.KindPickle, 1})})
	if got := c.do("SMEMBERS", "s"); !strings.HasPrefix(got, "-WRONGTYPE") {
		t.Errorf("members without a text form: %q", got)
	}

	for _, item := range []any{"text", 7, 70000, 5_000_000_000, -1, strings.Repeat("long", 100)} {
		delta, err := lattice.OrderedSetAdd(lattice.Timestamp{}, plain(t, item), 1)
		if err != nil {
			t.Fatal(err)
		}
		e.write(t, &kernel.Write{Key: "z", Delta: delta})
	}
	for _, member := range []string{"text", "7", "70000", "5000000000", "-1", strings.Repeat("long", 100)} {
		c.expect(`"1"`, "ZSCORE", "z", member)
		c.expect("0", "ZADD", "z", "2", member)
		c.expect(`"3"`, "ZINCRBY", "z", "1", member)
	}
	c.expect("6", "ZCARD", "z")
	c.expect("2", "ZREM", "z", "7", "text", "nobody")
	c.expect("0", "ZREVRANK", "z", strings.Repeat("long", 100))
}
