package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	protocol = "cloudburst/1"
	// readBufferBytes is one buffer per connection, as of wire.FrameReader.
	readBufferBytes = 32 << 10
	// refusalBytesMax is how much of a refusal's text is repeated in an error.
	refusalBytesMax = 4 << 10
	// A node that has vanished without a word is noticed after about half a minute.
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 5 * time.Second
	keepAliveCount    = 3
)

// stream is one connection to the gateway that speaks frames.
type stream struct {
	conn   net.Conn
	reader *wire.FrameReader
	sender *wire.Sender
}

// dial connects to the node and asks for the stream. ctx has a deadline.
func dial(ctx context.Context, o options) (*stream, error) {
	t, err := o.find()
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(t.token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, wire.Errorf(pb.Code_CODE_UNAUTHENTICATED, "the token for the node at %s has characters that no token has; copy it from the file \"token\" in the node's data directory", t)
	}
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
	}}
	conn, err := dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, unreachable(t, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	s, err := upgrade(ctx, conn, t, o.tls)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if _, ok := errors.AsType[*Error](err); !ok {
			err = unreachable(t, err)
		}
		return nil, err
	}
	return s, nil
}

func unreachable(t target, cause error) error {
	if errors.Is(cause, os.ErrDeadlineExceeded) || errors.Is(cause, context.DeadlineExceeded) {
		cause = errors.New("it did not answer in time")
	}
	if t.context == "" {
		return wire.Errorf(pb.Code_CODE_UNAVAILABLE,
			"no node answers at %s: %v; start one with `cloudburst serve`, or name another with CLOUDBURST_ADDRESS", t, cause)
	}
	return wire.Errorf(pb.Code_CODE_UNAVAILABLE,
		"no node answers at %s: %v; start it again with `cloudburst serve`, or choose another: `cloudburst context ls` lists them, `cloudburst context use NAME` or CLOUDBURST_CONTEXT=NAME chooses", t, cause)
}

func upgrade(ctx context.Context, conn net.Conn, t target, config *tls.Config) (*stream, error) {
	s := &stream{conn: conn}
	if t.secure {
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		config = config.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(t.address)
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
		s.conn = secured
	}
	var err error
	if s.sender, err = wire.NewSender(s.conn); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "GET /v1/stream HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n", t.address, protocol)
	if t.token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", t.token)
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(s.conn, b.String()); err != nil {
		return nil, err
	}
	buffered := bufio.NewReaderSize(s.conn, readBufferBytes)
	response, err := http.ReadResponse(buffered, nil)
	if err != nil {
		return nil, fmt.Errorf("it does not speak HTTP: %w", err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols || !strings.EqualFold(response.Header.Get("Upgrade"), protocol) {
		defer response.Body.Close()
		return nil, refused(t, response)
	}
	s.reader = wire.NewFrameReaderFrom(buffered)
	return s, nil
}

// refused returns why the node did not give a stream.
func refused(t target, response *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(response.Body, refusalBytesMax))
	said := strings.TrimSpace(string(body))
	switch response.StatusCode {
	case http.StatusUnauthorized:
		if t.token == "" {
			return wire.Errorf(pb.Code_CODE_UNAUTHENTICATED,
				"the node at %s wants a token and none is known for it; give the one in the file \"token\" of its data directory as CLOUDBURST_TOKEN", t)
		}
		return wire.Errorf(pb.Code_CODE_UNAUTHENTICATED,
			"the node at %s refuses the token; give the one in the file \"token\" of its data directory as CLOUDBURST_TOKEN", t)
	case http.StatusUpgradeRequired:
		return wire.Errorf(pb.Code_CODE_INCOMPATIBLE, "the node at %s does not speak %s: %s; use a client of the node's version", t, protocol, said)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the node at %s takes no connection now: %s", t, said)
	}
	return wire.Errorf(pb.Code_CODE_INCOMPATIBLE, "the server at %s is not a Cloudburst node: it said %s %q", t, response.Status, said)
}
