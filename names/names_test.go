package names_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"cloudburst/names"
)

func TestSnake(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"CAFile": "ca_file", "ResultTTL": "result_ttl", "WorkersMax": "workers_max", "URL": "url", "Data": "data", "DAGs": "dags",
		"HTTPStatus": "http_status", "InFlight": "in_flight", "RPCs": "rpcs", "MemoryBytes": "memory_bytes",
	} {
		if got := names.Snake(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestDistanceIsAMetric(t *testing.T) {
	t.Parallel()
	word := rapid.StringMatching("[abc]{0,8}")
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := word.Draw(t, "a"), word.Draw(t, "b"), word.Draw(t, "c")
		between := names.Distance(a, b)
		if between != names.Distance(b, a) || (between == 0) != (a == b) || between > max(len(a), len(b)) {
			t.Fatalf("%q and %q: %d", a, b, between)
		}
		if names.Distance(a, c) > between+names.Distance(b, c) {
			t.Fatalf("%q, %q, %q: the way over the second is shorter", a, b, c)
		}
	})
}

func TestNear(t *testing.T) {
	t.Parallel()
	known := []string{"retries", "timeout", "retry", "workers"}
	for _, test := range []struct {
		within, most int
		want         []string
	}{
		{2, 3, []string{"retries", "retry"}},
		{2, 1, []string{"retries"}},
		{0, 3, []string{}},
		{math.MaxInt, 4, []string{"retries", "retry", "workers", "timeout"}},
	} {
		if got := names.Near("retrie", known, test.within, test.most); !slices.Equal(got, test.want) {
			t.Errorf("within %d: got %v, want %v", test.within, got, test.want)
		}
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "localhost.example": false, "example": false,
	} {
		if got := names.Loopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
