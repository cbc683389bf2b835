package gateway

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func fetch(t *testing.T, h *house, path string) (status int, body string) {
	t.Helper()
	response, err := http.Get("http://" + h.Address() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	for _, test := range []struct {
		path   string
		status int
		holds  string
	}{
		{"/healthz", http.StatusOK, "alive"},
		{"/readyz", http.StatusOK, "ready"},
		{"/version", http.StatusOK, `"version":"1.2.3","protocol":"cloudburst/1"`},
		{"/nowhere", http.StatusNotFound, "/healthz, /readyz, /metrics and /version"},
		{"/", http.StatusNotFound, "/v1/stream"},
		{"/v1/stream", http.StatusUnauthorized, "CLOUDBURST_TOKEN"},
	} {
		if status, body := fetch(t, h, test.path); status != test.status || !strings.Contains(body, test.holds) {
			t.Errorf("%s: %d %q", test.path, status, body)
		}
	}
	h.unready.Store(&[]string{"executor: no worker yet", "cache: loading"})
	if status, body := fetch(t, h, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "no worker yet\ncache") {
		t.Errorf("not ready: %d %q", status, body)
	}
	if status, _ := fetch(t, h, "/healthz"); status != http.StatusOK {
		t.Errorf("alive while not ready: %d", status)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	c.do(t, call("echo", 1), number(1))
	c.do(t, call("nope", 0))
	await(t, "both are counted", func() bool { return h.metrics.requests[kindCall][pb.Code_CODE_FUNCTION_NOT_FOUND].Load() == 1 })
	_, body := fetch(t, h, "/metrics")
	for _, line := range []string{
		"cloudburst_gateway_connections 2",
		`cloudburst_gateway_requests_total{code="ok",type="call"} 1`,
		`cloudburst_gateway_requests_total{code="function_not_found",type="call"} 1`,
		`cloudburst_gateway_request_seconds_count{type="call"} 2`,
		"cloudburst_scheduler_started_total 1",
		"cloudburst_scheduler_in_flight 0",
		"cloudburst_scheduler_latency_seconds_count 1",
		`cloudburst_scheduler_latency_seconds_bucket{le="134.217728"} 1`,
		"go_goroutines ",
		"process_resident_memory_bytes ",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("missing: %s", line)
		}
	}
}

// A client without the right token gets nowhere: not a byte of what it sends is parsed.
func TestTokens(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	upgrade := upgradeHeaders[:2]
	for name, test := range map[string]struct {
		headers []string
		status  int
	}{
		"none":                 {upgrade, http.StatusUnauthorized},
		"wrong":                {append(upgrade[:2:2], "Authorization: Bearer wrong"), http.StatusUnauthorized},
		"empty":                {append(upgrade[:2:2], "Authorization: Bearer "), http.StatusUnauthorized},
		"longer":               {append(upgrade[:2:2], "Authorization: Bearer "+secret+"x"), http.StatusUnauthorized},
		"shorter":              {append(upgrade[:2:2], "Authorization: Bearer "+secret[1:]), http.StatusUnauthorized},
		"another scheme":       {append(upgrade[:2:2], "Authorization: Basic "+secret), http.StatusUnauthorized},
		"no upgrade":           {upgradeHeaders[2:], http.StatusUpgradeRequired},
		"another version":      {[]string{"Connection: Upgrade", "Upgrade: cloudburst/2", upgradeHeaders[2]}, http.StatusUpgradeRequired},
		"no connection":        {upgradeHeaders[1:], http.StatusUpgradeRequired},
		"wrong and no upgrade": {[]string{"Authorization: Bearer wrong"}, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", h.Address())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			response, _ := ask(t, conn, append(slices.Clip(test.headers), "Content-Length: 0")...)
			defer response.Body.Close()
			if response.StatusCode != test.status {
				t.Errorf("got %s", response.Status)
			}
			if test.status == http.StatusUpgradeRequired && response.Header.Get("Upgrade") != protocol {
				t.Errorf("it does not say which protocol: %v", response.Header)
			}
			if _, err := wire.WriteFrame(conn, nil, call("echo", 0), nil); err == nil {
				_, _ = io.Copy(io.Discard, conn) // until it is closed
			}
		})
	}
	if n := h.taken.Load(); n != 0 {
		t.Errorf("%d calls came through", n)
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	taken, err := New(Config{Listen: h.Address(), Token: secret}, h.backend)
	if err != nil {
		t.Fatal(err)
	}
	if err := taken.Listen(); err == nil || !strings.Contains(err.Error(), "in use") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a taken port: %v", err)
	}
	if err := taken.Run(t.Context()); err == nil {
		t.Error("a gateway runs that does not listen")
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	certificate := filepath.Join(t.TempDir(), "certificate")
	if err := os.WriteFile(certificate, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{Listen: "0.0.0.0:7100"}, "needs a token and TLS"},
		{Config{Listen: ":7100", Token: secret}, "needs a token and TLS"},
		{Config{Listen: "[::]:7100", Token: secret}, "needs a token and TLS"},
		{Config{Listen: "example.com:7100", Token: secret}, "needs a token and TLS"},
		{Config{Listen: "10.0.0.1:7100", CertificateFile: certificate, KeyFile: certificate}, "needs a token and TLS"},
		{Config{Listen: "7100"}, "HOST:PORT"},
		{Config{Token: "two words"}, "token"},
		{Config{Token: secret, CertificateFile: certificate}, "key"},
		{Config{Token: secret, CertificateFile: certificate, KeyFile: certificate}, certificate},
		{Config{ConnectionsMax: -1}, "connections_max"},
		{Config{RequestsPerConnectionMax: -1}, "requests_per_connection_max"},
		{Config{BackgroundMax: -1}, "background_max"},
		{Config{HeaderTimeout: -1}, "header_timeout"},
	} {
		if _, err := New(test.cfg, h.backend); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test.cfg, err)
		}
	}
	for _, listen := range []string{"127.0.0.1:0", "localhost:0", "[::1]:0"} {
		if _, err := New(Config{Listen: listen}, h.backend); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
	if _, err := New(Config{}, Backend{}); err == nil {
		t.Error("nothing behind the gateway was accepted")
	}
}

// partStats has every kind of field that a part of the node counts with.
type partStats struct {
	Deeper
	Held    int
	Done    uint64
	Waiting uint64 `metric:"gauge"`
	Ratio   float64
	Age     time.Duration
	Replay  struct{ TookMilliseconds uint64 }
	hidden  int
	Name    string
	Shelf   []shelf `label:"shelf"`
}

// shelf is one of several.
type shelf struct {
	Name string
	Read uint64
}

// Deeper is embedded.
type Deeper struct{ Keys int }

func TestParts(t *testing.T) {
	t.Parallel()
	stats := partStats{Deeper: Deeper{1}, Held: 2, Done: 3, Waiting: 4, Ratio: 0.5, Age: time.Second, hidden: 9, Name: "x"}
	stats.Replay.TookMilliseconds = 1500
	stats.Shelf = []shelf{{"a", 5}, {"b", 6}}
	registry := prometheus.NewRegistry()
	registry.MustRegister(&partsCollector{parts: map[string]func() any{
		"store": func() any { return stats }, "other": func() any { return &stats }, "none": func() any { return 1 },
	}})
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, family := range gathered {
		m := family.GetMetric()[0]
		got[family.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		if family.GetName() == "cloudburst_store_shelf_read_total" {
			second := family.GetMetric()[1]
			if len(family.GetMetric()) != 2 || second.GetLabel()[0].GetName() != "shelf" || second.GetLabel()[0].GetValue() != "b" ||
				second.GetCounter().GetValue() != 6 {
				t.Errorf("of several shelves: %v", family)
			}
		}
	}
	for name, want := range map[string]float64{
		"cloudburst_store_keys": 1, "cloudburst_store_held": 2, "cloudburst_store_done_total": 3, "cloudburst_store_waiting": 4,
		"cloudburst_store_ratio": 0.5, "cloudburst_store_age_seconds": 1, "cloudburst_store_replay_took_seconds_total": 1.5, "cloudburst_other_keys": 1,
		"cloudburst_store_shelf_read_total": 5,
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if len(got) != 16 {
		t.Errorf("%d metrics: %v", len(got), got)
	}
}
