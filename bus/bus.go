// Package bus connects a process to NATS, which carries its messages, and to JetStream, which keeps its logs.
//
// It carries bytes and knows nothing of what they mean. A connection that was made once reconnects for ever: callers
// see an outage as errors of their own requests, never as a connection that has given up.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrUnreachable is returned by Connect when no server answers at the address.
	ErrUnreachable = errors.New("nats server unreachable")
	// ErrNoJetStream is returned by Connect when the server has no JetStream for this account.
	ErrNoJetStream = errors.New("nats server has no JetStream")
)

// Conn is a connection to NATS and JetStream. It is safe for concurrent use.
type Conn struct {
	// NATS is the connection itself.
	NATS *nats.Conn
	// JetStream is the log over that connection.
	JetStream jetstream.JetStream

	logger  *slog.Logger
	faults  func() []string
	space   func() (Space, bool)
	closing atomic.Bool
	closed  chan struct{}
}

// Connect connects to the server of cfg and makes sure that it has JetStream. It fails with ErrUnreachable or
// ErrNoJetStream, both naming the address; ctx bounds the attempt as well as Config.ConnectTimeout.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("nats settings: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()

	c := &Conn{logger: cfg.Logger, faults: cfg.Faults, space: cfg.Space, closed: make(chan struct{})}
	where := cfg.where()
	deadline, _ := ctx.Deadline()
	// nats.go takes no context: what is left of ctx becomes the time that one server has for its answer.
	nc, err := nats.Connect(cfg.URL, append(cfg.options(time.Until(deadline)), c.handlers()...)...)
	if err != nil {
		return nil, fmt.Errorf("%w: connect to %s: %w; is a nats-server running there, and are its credentials right?", ErrUnreachable, where, err)
	}
	c.NATS = nc
	if c.JetStream, err = jetstream.New(nc,
		jetstream.WithDefaultTimeout(cfg.RequestTimeout),
		jetstream.WithPublishAsyncMaxPending(PublishPendingMax),
		jetstream.WithPublishAsyncTimeout(cfg.RequestTimeout),
	); err != nil {
		c.Close()
		return nil, fmt.Errorf("open JetStream at %s: %w", where, err)
	}
	if err := c.probe(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("%w: asked %s: %w; start it with `nats-server --jetstream`, or enable JetStream for this account", ErrNoJetStream, where, err)
	}
	return c, nil
}

// probe asks JetStream for this account, which only an enabled one answers. A cluster that is electing its leader drops the
// question without a word, or says so; it is asked until ctx ends.
func (c *Conn) probe(ctx context.Context) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, probeTimeout)
		_, err := c.JetStream.AccountInfo(attempt)
		cancel()
		refusal, refused := errors.AsType[*jetstream.APIError](err)
		electing := errors.Is(err, context.DeadlineExceeded) || refused && refusal.ErrorCode == noLeader
		if err == nil || ctx.Err() != nil || !electing {
			return err
		}
		select {
		case <-time.After(probePause):
		case <-ctx.Done():
			return err
		}
	}
}

// noLeader is JetStream's code for a cluster that has no leader at the moment.
const noLeader = 10008

// Connected reports whether the connection is up at this moment.
func (c *Conn) Connected() bool { return c.NATS.IsConnected() }

// Faults returns what keeps the server from taking writes to its logs, a sentence each; none when it takes them, or when that is not known
// here.
func (c *Conn) Faults() []string { return c.faults() }

// Close ends the connection, its subscriptions and its goroutines, and returns when they are gone. What was published and
// not yet sent is flushed first. A second call does nothing.
func (c *Conn) Close() {
	if !c.closing.Swap(true) {
		c.NATS.Close()
	}
	// nats.go reports the close from its last goroutine; a handler that is stuck must not keep the process alive.
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-c.closed:
	case <-timer.C:
		c.logger.Warn("nats connection did not close in time", "timeout", closeTimeout)
	}
}

// handlers logs what happens to the connection between the calls.
func (c *Conn) handlers() []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !c.closing.Load() {
				c.logger.Warn("nats connection lost; reconnecting", "server", redact(nc.ConnectedUrl()), "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.logger.Info("nats connection is back", "server", redact(nc.ConnectedUrl()))
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if c.closing.Load() {
				return
			}
			if sub != nil {
				c.logger.Warn("nats subscription", "subject", sub.Subject, "error", err)
				return
			}
			c.logger.Warn("nats connection", "error", err)
		}),
	}
}

// redact hides the passwords and tokens in a comma-separated list of server addresses.
func redact(servers string) string {
	list := strings.Split(servers, ",")
	for i, server := range list {
		server = strings.TrimSpace(server)
		if u, err := url.Parse(server); err == nil && u.User != nil {
			u.User = url.User("xxxxx")
			server = u.String()
		}
		list[i] = server
	}
	return strings.Join(list, ",")
}
