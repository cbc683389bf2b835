package printed

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func id(n int) wire.RunID { return wire.RunID{1, byte(n), byte(n >> 8)} }

func from(run int, function string) Source {
	return Source{Run: id(run), Function: function, Version: 1, Worker: 1, Stream: pb.Stream_STREAM_STDOUT}
}

// past returns the lines that are there, and how many are said to be missing.
func past(s *Store, q Query, limit int) (texts []string, dropped uint64) {
	f := s.Follow(q, limit)
	defer f.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	lines, dropped := f.Next(ctx)
	return textsOf(lines), dropped
}

func textsOf(lines []*pb.LogLine) []string {
	texts := []string{}
	for _, line := range lines {
		texts = append(texts, line.GetText())
	}
	return texts
}

func expect(t testing.TB, s *Store, q Query, texts ...string) {
	t.Helper()
	if got, dropped := past(s, q, 1000); !slices.Equal(got, texts) || dropped != 0 {
		t.Errorf("%+v: %q and %d dropped, want %q", q, got, dropped, texts)
	}
}

// tree is an Origin: the parents of runs, and the clients of those that have none.
type tree map[wire.RunID]struct {
	client uint64
	parent wire.RunID
}

func (t tree) origin(run wire.RunID) (uint64, wire.RunID, bool) {
	o, found := t[run]
	return o.client, o.parent, found
}

func (t tree) add(run, parent int, client uint64) {
	o := t[id(run)]
	o.client = client
	if parent != 0 {
		o.parent = id(parent)
	}
	t[id(run)] = o
}

func TestQueries(t *testing.T) {
	origins := tree{}
	origins.add(1, 0, 7)
	origins.add(2, 1, 7)
	origins.add(3, 2, 7)
	origins.add(4, 0, 8)
	s := New(Config{Origin: origins.origin})
	s.Add(from(3, "deep"), "a")
	s.Add(from(1, "top"), "b\nc\n")
	s.Add(Source{Run: id(3), Function: "deep", Version: 2}, "\n")
	s.Add(from(4, "top"), "d\r\n")
	s.Add(Source{}, "nobody's")
	expect(t, s, Query{}, "a", "b", "c", "", "d", "nobody's")
	expect(t, s, Query{Run: id(1)}, "a", "b", "c", "")
	expect(t, s, Query{Run: id(2)}, "a", "")
	expect(t, s, Query{Run: id(3)}, "a", "")
	expect(t, s, Query{Run: id(4)}, "d")
	expect(t, s, Query{Run: id(5)})
	expect(t, s, Query{Function: "top"}, "b", "c", "d")
	expect(t, s, Query{Function: "deep"}, "a", "")
	expect(t, s, Query{Function: "deep", Version: 2}, "")
	expect(t, s, Query{Function: "none"})
	expect(t, s, Query{Client: 7}, "a", "b", "c", "")
	expect(t, s, Query{Client: 8, Function: "top"}, "d")
	expect(t, s, Query{Run: id(1), Function: "top"}, "b", "c")
	if got, _ := past(s, Query{Run: id(1)}, 2); !slices.Equal(got, []string{"c", ""}) {
		t.Errorf("the latest two lines of a run: %q", got)
	}
	if got, _ := past(s, Query{}, 1); !slices.Equal(got, []string{"nobody's"}) {
		t.Errorf("the latest line: %q", got)
	}
}

func TestRunsByTheBeginningOfTheirIds(t *testing.T) {
	s := New(Config{})
	s.Add(from(0x10, "f"), "a")
	s.Add(from(0x11, "f"), "b")
	for prefix, want := range map[string]int{"": 2, "01": 2, "011": 2, "0110": 1, id(0x11).String(): 1, "02": 0, "0112": 0} {
		if found := s.Runs(prefix); len(found) != want {
			t.Errorf("%q: %v", prefix, found)
		}
	}
}

// A parent is what a caller says.
func TestRunsThatSayThatTheyAreBelowEachOther(t *testing.T) {
	origins := tree{}
	origins.add(1, 3, 0)
	origins.add(2, 1, 0)
	origins.add(3, 2, 0)
	origins.add(4, 4, 0)
	s := New(Config{Origin: origins.origin})
	for n := 1; n <= 4; n++ {
		s.Add(from(n, "f"), fmt.Sprint(n))
	}
	expect(t, s, Query{Run: id(4)}, "4")
	got, _ := past(s, Query{Run: id(3)}, 10)
	if !slices.Contains(got, "3") {
		t.Errorf("the lines of a run in a ring of runs: %q", got)
	}
}

func TestALineOfARunThatWasNotUnderWayYet(t *testing.T) {
	origins := tree{}
	s := New(Config{Origin: origins.origin})
	s.Add(from(2, "f"), "before")
	origins.add(2, 1, 0)
	origins.add(1, 0, 0)
	expect(t, s, Query{Run: id(1)})
	s.Add(from(2, "f"), "after")
	expect(t, s, Query{Run: id(1)}, "before", "after")
}

func TestLongLinesAreCut(t *testing.T) {
	s := New(Config{})
	long := strings.Repeat("ä", LineBytesMax) + "end"
	s.Add(from(1, "f"), long+"\nshort")
	lines, _ := past(s, Query{}, 1000)
	if len(lines) != 4 || strings.Join(lines[:3], "") != long || lines[3] != "short" {
		t.Errorf("%d lines", len(lines))
	}
	s.Add(from(2, "f"), strings.Repeat("\x80", 2*LineBytesMax)+"a\xffb")
	lines, _ = past(s, Query{Run: id(2)}, 1000)
	if len(lines) != 3 || !utf8.ValidString(strings.Join(lines, "")) {
		t.Errorf("bytes that are not UTF-8: %d lines", len(lines))
	}
}

func TestTheOldestLinesMakeRoom(t *testing.T) {
	s := New(Config{Bytes: 100 * (lineBytes + 100)})
	for n := range 1000 {
		s.Add(from(n, "f"), fmt.Sprintf("%099d", n))
	}
	lines, _ := past(s, Query{}, 1000)
	stats := s.Stats()
	if len(lines) == 0 || lines[len(lines)-1] != fmt.Sprintf("%099d", 999) || stats.Bytes > 100*(lineBytes+100) {
		t.Errorf("%d lines are left, %+v", len(lines), stats)
	}
	if stats.Dropped+uint64(stats.Lines) != 1000 || stats.Taken != 1000 || len(s.runs) != stats.Lines || stats.Lines < 50 {
		t.Errorf("%d runs, %+v", len(s.runs), stats)
	}
}

// A run that prints without a pause drops its own lines, and not those of others.
func TestARunHasItsShare(t *testing.T) {
	s := New(Config{Bytes: 4 << 20})
	s.Add(from(1, "quiet"), "first")
	text := strings.Repeat("x", 1000)
	for range 20_000 {
		s.Add(from(2, "loud"), text)
	}
	expect(t, s, Query{Run: id(1)}, "first")
	lines, dropped := past(s, Query{Run: id(2)}, LinesOfRunMax)
	if len(lines) < 500 || len(lines)*1000 > 1<<20 || dropped+uint64(len(lines)) != 20_000 {
		t.Errorf("%d lines, and %d dropped", len(lines), dropped)
	}
	for range 2 * LinesOfRunMax {
		s.Add(from(3, "short"), "")
	}
	if n := s.runs[id(3)].lines.n; n > LinesOfRunMax {
		t.Errorf("%d lines of one run", n)
	}
}

func TestFollowers(t *testing.T) {
	origins := tree{}
	origins.add(1, 0, 7)
	origins.add(2, 1, 7)
	s := New(Config{Origin: origins.origin})
	s.Add(from(2, "f"), "past")
	queries := []Query{{}, {Run: id(1)}, {Run: id(2), Function: "f"}, {Function: "f"}, {Client: 7}, {Run: id(3)}, {Function: "g"}, {Client: 8}, {Function: "f", Version: 2}}
	followers := make([]*Follower, len(queries))
	for i, q := range queries {
		followers[i] = s.Follow(q, 1000)
		defer followers[i].Close()
	}
	s.Add(from(2, "f"), "new")
	for i, f := range followers {
		ctx, cancel := context.WithCancel(context.Background())
		var want []string
		if i < 5 {
			want = []string{"past", "new"}
		}
		cancel()
		lines, _ := f.Next(ctx)
		if got := textsOf(lines); !slices.Equal(got, want) {
			t.Errorf("%+v: %q, want %q", queries[i], got, want)
		}
	}
	for _, f := range followers {
		f.Close()
		f.Close()
	}
	if n := s.Stats().Followers; n != 0 {
		t.Errorf("%d followers", n)
	}
	s.Add(from(2, "f"), "unseen")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if lines, _ := followers[0].Next(ctx); len(lines) != 0 {
		t.Errorf("a follower that was closed got %v", lines)
	}
}

func TestASlowFollowerMissesTheOldestLines(t *testing.T) {
	s := New(Config{})
	f := s.Follow(Query{Function: "f"}, 1000)
	defer f.Close()
	const n = followerLinesMax + 100
	for i := range n {
		s.Add(from(i, "f"), fmt.Sprint(i))
	}
	lines, dropped := f.Next(context.Background())
	if dropped != 100 || len(lines) != followerLinesMax || lines[0].GetText() != "100" {
		t.Errorf("%d lines and %d dropped", len(lines), dropped)
	}
	large := strings.Repeat("x", LineBytesMax)
	for range 100 {
		s.Add(from(1, "f"), large)
	}
	lines, dropped = f.Next(context.Background())
	if len(lines)*LineBytesMax > followerBytesMax || dropped+uint64(len(lines)) != 100 || s.Stats().Missed != 100+dropped {
		t.Errorf("%d large lines and %d dropped", len(lines), dropped)
	}
}

// What is counted is what is there, whatever is added and dropped, and nothing is left when everything has been dropped.
func TestTheAccount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		origins := tree{}
		for n := 1; n < 8; n++ {
			origins.add(n, rapid.IntRange(0, 8).Draw(t, "parent"), uint64(n%3))
		}
		s := New(Config{Bytes: rapid.IntRange(1000, 5000).Draw(t, "bytes"), Origin: origins.origin})
		var followers []*Follower
		for range rapid.IntRange(0, 60).Draw(t, "lines") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				q := Query{Run: id(rapid.IntRange(1, 9).Draw(t, "followed"))}
				followers = append(followers, s.Follow(q, 10))
			case 1:
				if len(followers) > 0 {
					followers[0].Close()
					followers = followers[1:]
				}
			default:
				name := rapid.SampledFrom([]string{"", "f", "g"}).Draw(t, "function")
				s.Add(from(rapid.IntRange(1, 9).Draw(t, "run"), name), rapid.SampledFrom([]string{"", "a", "b\nc", strings.Repeat("x", 300)}).Draw(t, "text"))
			}
		}
		lines, bytes := 0, len(s.runs)*runBytes
		for _, r := range s.runs {
			lines += r.lines.n
			bytes += r.bytes
			if r.lines.n == 0 && len(r.children) == 0 && len(r.followers) == 0 {
				t.Fatalf("a run that nothing needs is there")
			}
		}
		if lines != s.all.n || bytes != s.bytes || s.stats.Taken != s.stats.Dropped+uint64(lines) {
			t.Fatalf("%d of %d lines, %d of %d bytes, %+v", lines, s.all.n, bytes, s.bytes, s.stats)
		}
		for _, f := range followers {
			f.Close()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for s.all.first != nil {
			s.drop(s.all.first)
		}
		if len(s.runs) != 0 || len(s.functions) != 0 || s.bytes != 0 {
			t.Fatalf("%d runs, %d functions and %d bytes are left", len(s.runs), len(s.functions), s.bytes)
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	const writers, each = 4, 2000
	s := New(Config{Bytes: 1 << 20})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	written, done := context.WithCancel(ctx)
	var reading, writing sync.WaitGroup
	for n := range writers {
		f := s.Follow(Query{Function: fmt.Sprint("f", n)}, 10)
		reading.Go(func() {
			defer f.Close()
			seen := uint64(0)
			for ended := false; !ended; {
				ended = written.Err() != nil
				lines, dropped := f.Next(written)
				seen += uint64(len(lines)) + dropped
			}
			if seen != each {
				t.Errorf("follower %d: %d lines were seen or counted, want %d", n, seen, each)
			}
		})
		writing.Go(func() {
			for i := range each {
				s.Add(from(n*100+i%50, fmt.Sprint("f", n)), "text")
			}
		})
		reading.Go(func() {
			for written.Err() == nil {
				past(s, Query{Run: id(n * 100)}, 10)
				s.Stats()
			}
		})
	}
	writing.Wait()
	done()
	reading.Wait()
}

func BenchmarkAdd(b *testing.B) {
	s := New(Config{})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		s.Add(from(n%1000, "f"), "a line as programs print them")
	}
}
