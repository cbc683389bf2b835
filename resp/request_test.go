package resp

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// FuzzRequest reads the same bytes at once and in pieces: what is understood must be the same, and is bounded by what has
// arrived.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"PING\r\n", "*1\r\n$4\r\nPING\r\n", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\nSET k \"a\\x00b\"\r\n", "*0\r\n*-1\r\n\r\n", "*3\r\n$3\r\nSET\r\n$-1\r\n",
		"*1\r\n$67108865\r\n", "*1048576\r\n", "*9223372036854775808\r\n", "$5\r\nhello\r\n", "set 'it\\'s' \"\\n\"\n", "*2\r\n$1\r\na\r\n:1\r\n",
		"*1\r\n$4\rPING\r\n", "\"unbalanced\r\n",
	} {
		f.Add([]byte(seed), uint8(1), false)
		f.Add([]byte(seed), uint8(3), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint8, bound bool) {
		whole, wholeErr := readAll(t, data, len(data), bound)
		pieces, piecesErr := readAll(t, data, max(1, int(piece)), bound)
		if fmt.Sprint(wholeErr) != fmt.Sprint(piecesErr) && !overLimit(wholeErr, piecesErr) {
			t.Fatalf("at once: %v; in pieces of %d: %v", wholeErr, piece, piecesErr)
		}
		if !slices.EqualFunc(whole, pieces, func(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }) {
			t.Fatalf("at once: %q; in pieces of %d: %q", whole, piece, pieces)
		}
	})
}

// overLimit reports whether one of two readings met a limit that the other had not come to yet: a line is too long as soon
// as it has no end within the limit, which a reading in pieces learns sooner.
func overLimit(a, b error) bool {
	long := func(err error) bool {
		return err != nil && (strings.Contains(err.Error(), "too big inline") || strings.Contains(err.Error(), "too many digits"))
	}
	return long(a) || long(b)
}

// readAll reads commands from data that arrives in pieces, as a connection does.
func readAll(t *testing.T, data []byte, piece int, bound bool) (commands [][][]byte, err error) {
	t.Helper()
	r := request{bound: bound}
	var buf []byte
	for len(data) > 0 {
		n := min(piece, len(data))
		// A buffer of its own each time: nothing may be remembered but places.
		buf = append(bytes.Clone(buf), data[:n]...)
		data = data[n:]
		for {
			n, err := r.next(buf)
			if err != nil {
				return commands, err
			}
			if n == 0 {
				break
			}
			size := 0
			var args [][]byte
			for _, arg := range r.args {
				size += len(arg)
				args = append(args, bytes.Clone(arg))
			}
			if size > n {
				t.Fatalf("arguments of %d bytes in a command of %d", size, n)
			}
			r.release()
			if len(args) > 0 {
				commands = append(commands, args)
			}
			buf = buf[n:]
		}
		if cap(r.spans) > 2*len(buf)+spansKeepMax {
			t.Fatalf("%d spans for %d bytes", cap(r.spans), len(buf))
		}
	}
	return commands, nil
}

func TestRequestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.SliceOfN(rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 1, 5), 0, 8).Draw(rt, "commands")
		var data []byte
		for _, args := range want {
			data = fmt.Appendf(data, "*%d\r\n", len(args))
			for _, arg := range args {
				data = fmt.Appendf(data, "$%d\r\n%s\r\n", len(arg), arg)
			}
		}
		got, err := readAll(t, data, rapid.IntRange(1, 40).Draw(rt, "piece"), false)
		if err != nil || !slices.EqualFunc(got, want, func(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }) {
			rt.Fatalf("%q, %v", got, err)
		}
	})
}

// TestLyingLengthsCostNothing announces much and sends little. Allocations cannot be counted beside other tests.
func TestLyingLengthsCostNothing(t *testing.T) {
	r := new(request)
	lie := []byte("*1048576\r\n$3\r\nSET\r\n$67108864\r\n")
	if n := testing.AllocsPerRun(100, func() {
		*r = request{spans: r.spans[:0], args: r.args[:0]}
		if n, err := r.next(lie); n != 0 || err != nil {
			t.Error(n, err)
		}
	}); n > 1 {
		t.Fatalf("%v allocations", n)
	}
	if cap(r.spans) > 16 {
		t.Fatalf("room for %d arguments", cap(r.spans))
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	r := new(request)
	data := []byte("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n")
	w := new(reply)
	if n := testing.AllocsPerRun(100, func() {
		if n, err := r.next(data); n != len(data) || err != nil {
			t.Error(n, err)
		}
		w.buf = w.buf[:0]
		w.ok()
		w.bulk(r.args[2])
		r.release()
		w.integer(-12345)
		w.array(3)
		w.double(1.5)
		w.null()
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestParseInt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "7": 7, "-7": -7, "9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63} {
		if got, ok := parseInt([]byte(text)); !ok || got != want {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "-", "-0", "+1", "01", " 1", "1 ", "1.0", "0x1", "9223372036854775808", "-9223372036854775809", "99999999999999999999"} {
		if got, ok := parseInt([]byte(text)); ok {
			t.Errorf("%q is taken for %d", text, got)
		}
	}
}

// TestMatchAgreesWithPath holds patterns that mean the same there against the standard library.
func TestMatchAgreesWithPath(t *testing.T) {
	t.Parallel()
	element := rapid.SampledFrom([]string{"a", "b", "*", "?", "[a]", "[a-b]", "[^a]", "[^a-b]", `\*`, `\?`, "c"})
	rapid.Check(t, func(rt *rapid.T) {
		pattern := strings.Join(rapid.SliceOfN(element, 0, 8).Draw(rt, "pattern"), "")
		key := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "*", "?"}), 0, 8).Draw(rt, "key"), "")
		want, err := path.Match(pattern, key)
		if err != nil {
			rt.Fatal(err)
		}
		if got := match([]byte(pattern), key); got != want {
			rt.Fatalf("match(%q, %q) is %v", pattern, key, got)
		}
		if want && !strings.HasPrefix(key, literalPrefix([]byte(pattern))) {
			rt.Fatalf("%q matches %q, which does not begin with %q", pattern, key, literalPrefix([]byte(pattern)))
		}
	})
}

func FuzzMatch(f *testing.F) {
	for _, pattern := range []string{"", "*", "a*b?[c-e]", "[", "[^", "[]", "[a-", `\`, `[\]]`, "[z-a]", "**********b"} {
		f.Add([]byte(pattern), "aaaaaaaaab")
	}
	f.Fuzz(func(_ *testing.T, pattern []byte, key string) { match(pattern, key) })
}

func TestMatchTakesNoLongerForBadPatterns(t *testing.T) {
	t.Parallel()
	key := strings.Repeat("a", 4096)
	if match([]byte(strings.Repeat("*a", 2000)+"*b"), key) {
		t.Fatal("matched")
	}
}

func TestAppendFloat(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]float64{
		"0": 0, "1": 1, "-1.5": -1.5, "0.1": 0.1, "1e+20": 1e20, "1e+21": 1e21, "1e-7": 1e-7, "0.0001": 1e-4, "3.141592653589793": 3.141592653589793,
	} {
		if got := string(appendFloat(nil, f)); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		f := rapid.Float64().Draw(rt, "f")
		if got, ok := parseFloat(appendFloat(nil, f)); !ok || got != f {
			rt.Fatalf("%v is written %s", f, appendFloat(nil, f))
		}
	})
}

func TestErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	w := new(reply)
	w.error("ERR two\r\nlines")
	if got := string(w.buf); got != "-ERR two  lines\r\n" {
		t.Fatalf("%q", got)
	}
	if got := clean([]byte("a\x00\xff\r\n" + strings.Repeat("x", 100))); !utf8.ValidString(got) || len(got) > 64 || strings.ContainsAny(got, "\r\n\x00") {
		t.Fatalf("%q", got)
	}
}

func TestCursors(t *testing.T) {
	t.Parallel()
	s := newCursors()
	if got := s.keep(""); got != "0" {
		t.Fatal(got)
	}
	first := s.keep("first")
	if again := s.keep("first"); again != first {
		t.Fatal("a key has two cursors")
	}
	for i := range cursorsMax {
		cursor := s.keep(fmt.Sprint(i))
		if key, ok := s.find([]byte(cursor)); !ok || key != fmt.Sprint(i) {
			t.Fatalf("cursor %s stands for %q", cursor, key)
		}
	}
	if _, ok := s.find([]byte(first)); ok {
		t.Fatal("nothing is forgotten")
	}
	if len(s.after) != cursorsMax {
		t.Fatalf("%d cursors are kept", len(s.after))
	}
}
