package bus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Bounds of every connection.
const (
	// PublishPendingMax bounds the asynchronous publishes that wait for their acknowledgement; one more waits, and fails when
	// none is acknowledged in time.
	PublishPendingMax = 16384
	// ReconnectBufferMax bounds the bytes held back while the connection is down; a publish beyond it fails at once.
	ReconnectBufferMax = 8 << 20
	// PayloadMax is the largest message that an embedded server takes, and the least that an external one should.
	PayloadMax = 8 << 20

	connectTimeoutDefault = 10 * time.Second
	requestTimeoutDefault = 5 * time.Second
	probeTimeout          = 500 * time.Millisecond
	probePause            = 50 * time.Millisecond
	closeTimeout          = 5 * time.Second
	reconnectDelayMin     = 50 * time.Millisecond
	reconnectDelayMax     = 2 * time.Second
	// pingInterval and pingsMax find a server that vanished without a word: after two unanswered pings.
	pingInterval = 10 * time.Second
	pingsMax     = 2
)

// Config says where NATS is and how to speak to it. One of URL and InProcess is needed; the rest has defaults.
type Config struct {
	// URL of the server, or of several of one cluster, separated by commas: "nats://127.0.0.1:4222".
	URL string
	// InProcess is a server in this process; URL is then not used.
	InProcess nats.InProcessConnProvider
	// Name is shown in the server's list of connections. Default "cloudburst".
	Name string
	// CredentialsFile is a NATS credentials file (JWT and seed). Excludes Token.
	CredentialsFile string
	// Token authenticates the connection.
	Token string
	// CAFile is a PEM file with the authorities that the server's certificate is checked against. Default: the system's.
	CAFile string
	// CertificateFile and KeyFile are the PEM files of this side's certificate.
	CertificateFile, KeyFile string
	// ConnectTimeout bounds the first connection. Default 10s.
	ConnectTimeout time.Duration
	// RequestTimeout bounds a JetStream request whose context has no deadline, and the wait for the acknowledgement of an
	// asynchronous publish. Default 5s.
	RequestTimeout time.Duration
	// Faults says what keeps the server from taking writes to its logs, a sentence each. Default: nothing is known of it.
	Faults func() []string
	// Space says how much of its room the server's logs take; false = not known. Default: it is not known.
	Space func() (Space, bool)
	// Logger gets what happens to the connection. Default: discarded.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Name = cmp.Or(c.Name, "cloudburst")
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, connectTimeoutDefault)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, requestTimeoutDefault)
	if c.Faults == nil {
		c.Faults = func() []string { return nil }
	}
	if c.Space == nil {
		c.Space = func() (Space, bool) { return Space{}, false }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if strings.TrimSpace(c.URL) == "" && c.InProcess == nil {
		faults = append(faults, errors.New("url is empty: give the address of a NATS server, such as nats://127.0.0.1:4222"))
	}
	if c.CredentialsFile != "" && c.Token != "" {
		faults = append(faults, errors.New("a credentials file and a token: give one of them"))
	}
	if (c.CertificateFile == "") != (c.KeyFile == "") {
		faults = append(faults, errors.New("a certificate needs its key, and a key its certificate: give both files"))
	}
	if c.ConnectTimeout < 0 {
		faults = append(faults, fmt.Errorf("connect timeout %v: must be positive", c.ConnectTimeout))
	}
	if c.RequestTimeout < 0 {
		faults = append(faults, fmt.Errorf("request timeout %v: must be positive", c.RequestTimeout))
	}
	return errors.Join(faults...)
}

// where names the server for people, without its secrets.
func (c Config) where() string {
	if c.InProcess != nil {
		return "the embedded NATS server"
	}
	return "NATS at " + redact(c.URL)
}

func (c Config) options(timeout time.Duration) []nats.Option {
	options := []nats.Option{
		nats.Name(c.Name),
		nats.Timeout(max(timeout, time.Millisecond)),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.ReconnectBufSize(ReconnectBufferMax),
		// Credentials that are refused once may be right again after the server's configuration is: never give up on them.
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsMax),
	}
	if c.Token != "" {
		options = append(options, nats.Token(c.Token))
	}
	if c.InProcess != nil {
		return append(options, nats.InProcessServer(c.InProcess))
	}
	if c.CredentialsFile != "" {
		options = append(options, nats.UserCredentials(c.CredentialsFile))
	}
	if c.CAFile != "" {
		options = append(options, nats.RootCAs(c.CAFile))
	}
	if c.CertificateFile != "" {
		options = append(options, nats.ClientCert(c.CertificateFile, c.KeyFile))
	}
	return options
}

// reconnectDelay doubles the pause from round to round up to a bound, and spreads it so that the nodes of a cluster do not
// come back all at once.
func reconnectDelay(attempts int) time.Duration {
	delay := reconnectDelayMax
	if shift := attempts - 1; shift >= 0 && shift < 16 {
		delay = min(reconnectDelayMin<<shift, reconnectDelayMax)
	}
	return delay/2 + rand.N(delay/2)
}
