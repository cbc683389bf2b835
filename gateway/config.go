package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"cloudburst/cache"
	"cloudburst/names"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Bounds that no setting moves.
const (
	// httpHeaderBytesMax bounds the head of an HTTP request.
	httpHeaderBytesMax = 16 << 10
	httpWriteTimeout   = 30 * time.Second
	httpIdleTimeout    = time.Minute
	// scrapesMax and scrapeTimeout bound the readings of the metrics.
	scrapesMax    = 4
	scrapeTimeout = 10 * time.Second
	// backlogPauseBytes is how much may wait for a client that reads slowly before its requests are no longer read.
	backlogPauseBytes = 8 << 20
	// waitMax is the longest that a get waits for keys to appear.
	waitMax = time.Hour
	// storeTimeout bounds a request to the store, registryTimeout one to the registry.
	storeTimeout    = time.Minute
	registryTimeout = 30 * time.Second
	// keysBytesMax is what the keys of one listing may take in its reply.
	keysBytesMax = wire.HeaderBytesMax - 64<<10
	// watchesMax bounds the watches of one connection, watchKeysMax the keys of one watch.
	watchesMax = 256
	// streamedMax bounds the runs of one connection whose results are streamed.
	streamedMax  = 1024
	watchKeysMax = 1024
	// watchFrameBytesMax is what changes may take in one reply, unless it is a single one.
	watchFrameBytesMax = 1 << 20
	// watchPauseBytes is how much may wait for a client that reads slowly before its watches pause.
	watchPauseBytes = 1 << 20
	// logLinesDefault is how many lines that functions have printed are sent to a client that names no number.
	logLinesDefault = 1000
	// logFrameBytesMax is what lines may take in one reply, lineOverheadBytes what one of them takes beyond its text, about.
	logFrameBytesMax  = 256 << 10
	lineOverheadBytes = 64
	// errorTextMax is how much is left of each text of an error that is too long for a frame.
	errorTextMax = 64 << 10
)

// Config says where and how a gateway listens. The zero value listens on 127.0.0.1:7100, for all users of this machine.
type Config struct {
	// Listen is the address of the one port. Default 127.0.0.1:7100.
	Listen string
	// Token is what clients must bear. Empty = none, which only a loopback address may have.
	Token string
	// CertificateFile and KeyFile are PEM files: with them the port speaks TLS.
	CertificateFile, KeyFile string
	// Version of the node, as /version tells it.
	Version string
	// ConnectionsMax bounds the connections; one more is closed at once. Default 4096.
	ConnectionsMax int
	// RequestsPerConnectionMax bounds the requests of one client that are not answered yet. Default 16,384.
	RequestsPerConnectionMax int
	// BackgroundMax bounds the requests of all clients that wait for the store or the registry. Default 16,384.
	BackgroundMax int
	// HeaderTimeout is how long a client may take for the head of its HTTP request. Default 5s.
	HeaderTimeout time.Duration
	// Logger gets what happens to connections. Default: discarded.
	Logger *slog.Logger
}

// WithDefaults returns c with the settings that are zero filled in.
func (c Config) WithDefaults() Config {
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:7100")
	c.Version = cmp.Or(c.Version, "unknown")
	c.ConnectionsMax = cmp.Or(c.ConnectionsMax, 4096)
	c.RequestsPerConnectionMax = cmp.Or(c.RequestsPerConnectionMax, 1<<14)
	c.BackgroundMax = cmp.Or(c.BackgroundMax, 1<<14)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		faults = append(faults, fmt.Errorf("listen %q: give HOST:PORT, such as 127.0.0.1:7100", c.Listen))
	} else if !names.Loopback(host) && (c.Token == "" || c.CertificateFile == "") {
		faults = append(faults, fmt.Errorf("listen %s: an address that other machines can reach needs a token and TLS (certificate_file and key_file); give both, or listen on 127.0.0.1", c.Listen))
	}
	if (c.CertificateFile == "") != (c.KeyFile == "") {
		faults = append(faults, errors.New("a certificate needs its key, and a key its certificate: give certificate_file and key_file"))
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		faults = append(faults, errors.New("the token has characters that no HTTP header carries; use letters and digits"))
	}
	if c.ConnectionsMax < 1 {
		faults = append(faults, fmt.Errorf("connections_max %d: must be at least 1", c.ConnectionsMax))
	}
	if c.RequestsPerConnectionMax < 1 {
		faults = append(faults, fmt.Errorf("requests_per_connection_max %d: must be at least 1", c.RequestsPerConnectionMax))
	}
	if c.BackgroundMax < 1 {
		faults = append(faults, fmt.Errorf("background_max %d: must be at least 1", c.BackgroundMax))
	}
	if c.HeaderTimeout < time.Millisecond {
		faults = append(faults, fmt.Errorf("header_timeout %v: must be at least 1ms", c.HeaderTimeout))
	}
	return errors.Join(faults...)
}

// tls returns how the port speaks TLS, or nil when it does not.
func (c Config) tls() (*tls.Config, error) {
	if c.CertificateFile == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(c.CertificateFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load the certificate %s with the key %s: %w", c.CertificateFile, c.KeyFile, err)
	}
	// A stream takes over an HTTP/1.1 connection, which HTTP/2 has no such thing as.
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}

// Scheduler runs what clients call.
type Scheduler interface {
	// Cancel ends a run and those below it; by and reason are for people. ErrRunNotFound: no run of that id is known.
	Cancel(id wire.RunID, by, reason string) error
	// Runs returns the runs that match, under way or ended lately, the newest first.
	Runs(list *pb.ListRuns) (*pb.Runs, error)
	// Tree returns a run with its steps, and those below it after it.
	Tree(get *pb.GetRun) (*pb.Runs, error)
	// Call starts a run for a client, which is one connection. items is nil unless the function yields its result item by item.
	Call(client uint64, call *pb.Call, values [][]byte, items *wire.Items, done func(wire.Result) (delivered bool))
	// WhenEnded calls ended, which must not block, once a run has ended, or at once when it is not under way.
	WhenEnded(id wire.RunID, ended func()) (stop func())
}

// Store is what clients read and write: the node's cache.
type Store interface {
	Peek(key string) (cache.Entry, bool)
	Get(ctx context.Context, keys []string, wait time.Duration) ([]cache.Entry, error)
	States(ctx context.Context, keys []string, wait time.Duration) ([]cache.Entry, error)
	Watch(ctx context.Context, keys []string, states bool, report func(keys []string, entries []cache.Entry, whole bool) error) error
	PutAsync(writes []cache.Write, ack pb.Ack, done func(error))
	Delete(ctx context.Context, keys []string, ack pb.Ack) error
	Keys(ctx context.Context, prefix, after string, limit int) (keys []string, more bool, err error)
}

// Registry is where clients register functions and DAGs.
type Registry interface {
	Register(ctx context.Context, meta *pb.Function, definition []byte) (*pb.Function, error)
	RegisterDAG(ctx context.Context, d *pb.Dag) error
	ReplaceDAG(ctx context.Context, d *pb.Dag) error
	DeleteFunctionAndDAGs(ctx context.Context, name string) error
	DeleteFunction(ctx context.Context, name string) error
	DeleteDAG(ctx context.Context, name string) error
	Functions(prefix string, versions bool) []*pb.Function
	DAGs(prefix string) []*pb.Dag
}

// Backend is what stands behind a gateway.
type Backend struct {
	Scheduler Scheduler
	Store     Store
	Registry  Registry
	// Printed is nil when the node runs no functions.
	Printed Printed
	// CheckFunction returns an error for a function that this node could never run, which is not registered then. nil takes all.
	CheckFunction func(f *pb.Function) error
	// Status returns what `cloudburst status` shows.
	Status func() *pb.Status
	// AnnaStatus returns what `cloudburst anna status` shows.
	AnnaStatus func(ctx context.Context) *pb.AnnaStatus
	// Unready returns a line for every part of the node that is not ready; none = ready.
	Unready func() []string
	// Stats returns, by the name of a part of the node, how to take a reading of its Stats struct: one metric a field.
	Stats map[string]func() any
}

func (b Backend) validate() error {
	if b.Scheduler == nil || b.Store == nil || b.Registry == nil || b.Status == nil || b.AnnaStatus == nil || b.Unready == nil {
		return errors.New("a gateway needs a scheduler, a store, a registry, and functions for the node's status, the store's and readiness")
	}
	return nil
}
