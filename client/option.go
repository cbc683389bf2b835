package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	requestTimeoutDefault = 30 * time.Second
	runTimeoutDefault     = 5 * time.Minute
)

// Option is a setting of Connect.
type Option func(*options)

type options struct {
	address        string
	context        string
	named          bool // the context was given, by an option
	token          string
	tls            *tls.Config
	requestTimeout time.Duration
	runTimeout     time.Duration
	logger         *slog.Logger
}

// WithAddress names the node: "127.0.0.1:7100", or "https://cloudburst.example:7100" for one that speaks TLS. Default: the
// context of WithContextName, CLOUDBURST_ADDRESS, the context that CLOUDBURST_CONTEXT names, the current context of this user, and
// then 127.0.0.1:7100.
func WithAddress(address string) Option { return func(o *options) { o.address = address } }

// WithContextName names the node by its context, as `cloudburst context ls` lists them. Not together with WithAddress.
func WithContextName(name string) Option { return func(o *options) { o.context = name } }

// WithToken gives the node's token. Default: CLOUDBURST_TOKEN (not together with WithContextName), then the one that the node left
// in its context.
func WithToken(token string) Option { return func(o *options) { o.token = token } }

// WithTLS speaks TLS with the node, whatever its address says. An https address alone does the same with the system's
// authorities.
func WithTLS(config *tls.Config) Option { return func(o *options) { o.tls = config } }

// WithRequestTimeout bounds a request whose context has no deadline, and Connect. Default 30s.
func WithRequestTimeout(d time.Duration) Option { return func(o *options) { o.requestTimeout = d } }

// WithRunTimeout bounds a run that was called with a context without a deadline. Default 5m.
func WithRunTimeout(d time.Duration) Option { return func(o *options) { o.runTimeout = d } }

// WithLogger gets what happens to the connection. Default: discarded.
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

func defaultOptions() options {
	return options{
		requestTimeout: requestTimeoutDefault,
		runTimeout:     runTimeoutDefault,
		logger:         slog.New(slog.DiscardHandler),
	}
}

func (o options) validate() error {
	var faults []error
	if o.requestTimeout < time.Millisecond {
		faults = append(faults, fmt.Errorf("request timeout %v: must be at least 1ms", o.requestTimeout))
	}
	if o.runTimeout < time.Millisecond {
		faults = append(faults, fmt.Errorf("run timeout %v: must be at least 1ms", o.runTimeout))
	}
	if o.logger == nil {
		faults = append(faults, errors.New("logger is nil"))
	}
	return errors.Join(faults...)
}
