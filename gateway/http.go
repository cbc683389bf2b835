package gateway

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cloudburst/wire"
)

// protocol is the stream's name in an upgrade.
const protocol = "cloudburst/1"

const switchingProtocols = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"

func (g *Gateway) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/stream", g.upgrade)
	mux.HandleFunc("GET /v1/runs", g.authorizing(g.httpRuns))
	mux.HandleFunc("GET /v1/runs/{id}", g.authorizing(g.httpRun))
	mux.HandleFunc("DELETE /v1/runs/{id}", g.authorizing(g.httpCancel))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", g.readiness)
	mux.HandleFunc("GET /version", g.version)
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(g.cfg.Logger.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: scrapesMax,
		Timeout:             scrapeTimeout,
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		text(w, http.StatusNotFound, fmt.Sprintf("nothing is at %.128q; this port has /v1/stream and /v1/runs for clients, and /healthz, /readyz, /metrics and /version", r.URL.Path))
	})
	return mux
}

func text(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, line+"\n") // the client has gone
}

// readiness answers 200 when calls can be served, and otherwise says what is in the way.
func (g *Gateway) readiness(w http.ResponseWriter, _ *http.Request) {
	reasons := g.backend.Unready()
	if g.draining.Load() {
		reasons = append(reasons, "the node is draining")
	}
	if len(reasons) == 0 {
		text(w, http.StatusOK, "ready")
		return
	}
	text(w, http.StatusServiceUnavailable, "not ready\n"+strings.Join(reasons, "\n"))
}

func (g *Gateway) version(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(struct {
		Version  string `json:"version"`
		Protocol string `json:"protocol"`
		Go       string `json:"go"`
	}{g.cfg.Version, protocol, runtime.Version()})
}

// upgrade makes a connection a stream. The token is looked at before anything else of the request.
func (g *Gateway) upgrade(w http.ResponseWriter, r *http.Request) {
	if g.refused(w, r) {
		return
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), protocol) || !connectionHas(r.Header, "upgrade") || r.ProtoMajor != 1 {
		w.Header().Set("Upgrade", protocol)
		w.Header().Set("Connection", "Upgrade")
		text(w, http.StatusUpgradeRequired, fmt.Sprintf("this node speaks %s, asked for with the headers \"Connection: Upgrade\" and \"Upgrade: %s\"", protocol, protocol))
		return
	}
	if g.draining.Load() {
		w.Header().Set("Connection", "close")
		text(w, http.StatusServiceUnavailable, "the node is draining")
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		g.cfg.Logger.Error("a connection cannot become a stream", "remote", r.RemoteAddr, "error", err)
		text(w, http.StatusInternalServerError, "this connection cannot become a stream")
		return
	}
	defer g.connections.Add(-1)
	defer conn.Close()
	g.stream(conn, buffered.Reader)
}

// refused answers a request that does not bear the token.
func (g *Gateway) refused(w http.ResponseWriter, r *http.Request) bool {
	if g.authorized(r) {
		return false
	}
	g.metrics.unauthenticated.Add(1)
	g.cfg.Logger.Warn("client refused: token missing or wrong", "remote", r.RemoteAddr)
	w.Header().Set("WWW-Authenticate", `Bearer realm="cloudburst"`)
	w.Header().Set("Connection", "close")
	text(w, http.StatusUnauthorized, `the token is missing or wrong; it is in the file "token" of the node's data directory (CLOUDBURST_TOKEN)`)
	return true
}

// authorized reports whether a request bears the token. The comparison takes the same time wherever the two differ.
func (g *Gateway) authorized(r *http.Request) bool {
	if g.cfg.Token == "" || trusted(r.Context()) {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(given[:], g.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// connectionHas reports whether the header Connection, a list, has an element.
func connectionHas(h http.Header, element string) bool {
	for _, line := range h.Values("Connection") {
		for one := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(one), element) {
				return true
			}
		}
	}
	return false
}

// stream accepts the upgrade and serves the connection until it ends.
func (g *Gateway) stream(conn net.Conn, buffered *bufio.Reader) {
	socket, ok := conn.(wire.SocketConn)
	if !ok {
		g.cfg.Logger.Error("a connection cannot become a stream", "remote", conn.RemoteAddr().String(), "type", fmt.Sprintf("%T", conn))
		return
	}
	if _, err := io.WriteString(conn, switchingProtocols); err != nil {
		return // it has gone
	}
	sender, err := wire.NewSender(socket)
	if err != nil {
		g.cfg.Logger.Error("a connection cannot become a stream", "remote", conn.RemoteAddr().String(), "error", err)
		return
	}
	s := &stream{gateway: g, number: g.streamNumbers.Add(1), conn: conn, sender: sender, frames: frameReader(conn, buffered)}
	if !g.add(s) {
		return
	}
	defer g.remove(s)
	s.serve()
}

// frameReader reads on where the HTTP server has stopped, with a buffer that fits frames.
func frameReader(conn net.Conn, buffered *bufio.Reader) *wire.FrameReader {
	if n := buffered.Buffered(); n > 0 {
		ahead, _ := buffered.Peek(n) // what is buffered is there
		return wire.NewFrameReader(io.MultiReader(bytes.NewReader(bytes.Clone(ahead)), conn))
	}
	return wire.NewFrameReader(conn)
}
