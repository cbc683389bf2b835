package resp

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"time"

	"cloudburst/names"
)

// Config says where and how the endpoint listens. Listen is needed; the rest has defaults.
type Config struct {
	// Listen is the address of the endpoint, such as 127.0.0.1:7379. Only this machine may be able to reach it, since it speaks no
	// TLS. Empty: there is no endpoint.
	Listen string
	// Token is the password that clients must say. Empty = none.
	Token string
	// Ack says when a write is answered: "durable", when the log has it, or "memory", when it is merged in memory, as a Redis
	// without appendonly does. A client changes it for itself with CLOUDBURST.ACK. Default "durable".
	Ack string
	// SoleMaster says that no other node holds the same keys. Then a write may depend on what its key holds, as SET NX does; it
	// is refused where another master could write at the same time.
	SoleMaster bool
	// Version of the node, as INFO and HELLO tell it. Default "unknown".
	Version string
	// Loops is how many threads of execution serve the connections. Default: half of GOMAXPROCS, and at least 1.
	Loops int
	// ConnectionsMax bounds the connections; one more gets an error and is closed. Default 10,000.
	ConnectionsMax int
	// BufferBytesMax bounds what the buffers of all connections take together; the connection that crosses it is closed. Buffers
	// of 64 KiB a connection are not counted. Above half of it, a client that has left 1 MiB of replies unread has to read
	// before further commands are read from it. Default 1 GiB.
	BufferBytesMax int64
	// ClientBufferBytesMax is how many bytes of replies one client may leave unread before it has to read some for further
	// commands to be read from it. Most clients send a whole pipeline before they read, so this bounds the replies of one.
	// Default 256 MiB.
	ClientBufferBytesMax int
	// ReplyBytesMax bounds one reply; a command whose reply is larger gets an error. Default 512 MiB.
	ReplyBytesMax int
	// BackgroundMax bounds the commands of all clients that wait for something: keys that are not in memory, listings. One more
	// gets an error. Default 1,024.
	BackgroundMax int
	// CommandTimeout bounds a command that waits for something. Default 30s.
	CommandTimeout time.Duration
	// AuthTimeout is how long a client may take to say its password. Default 10s.
	AuthTimeout time.Duration
	// StallTimeout is how long a client that has replies waiting may read none of them and send nothing. Default 30s.
	StallTimeout time.Duration
	// IdleTimeout ends connections on which nothing was asked for so long. Default 0 = never.
	IdleTimeout time.Duration
	// Logger gets what happens to connections. Default: discarded.
	Logger *slog.Logger
}

// The values of Config.Ack.
const (
	AckDurable = "durable"
	AckMemory  = "memory"
)

// WithDefaults returns c with the settings that are zero filled in.
func (c Config) WithDefaults() Config {
	c.Ack = cmp.Or(c.Ack, AckDurable)
	c.Version = cmp.Or(c.Version, "unknown")
	c.Loops = cmp.Or(c.Loops, max(1, runtime.GOMAXPROCS(0)/2))
	c.ConnectionsMax = cmp.Or(c.ConnectionsMax, 10000)
	c.BufferBytesMax = cmp.Or(c.BufferBytesMax, 1<<30)
	c.ClientBufferBytesMax = cmp.Or(c.ClientBufferBytesMax, 256<<20)
	c.ReplyBytesMax = cmp.Or(c.ReplyBytesMax, 512<<20)
	c.BackgroundMax = cmp.Or(c.BackgroundMax, 1024)
	c.CommandTimeout = cmp.Or(c.CommandTimeout, 30*time.Second)
	c.AuthTimeout = cmp.Or(c.AuthTimeout, 10*time.Second)
	c.StallTimeout = cmp.Or(c.StallTimeout, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		faults = append(faults, fmt.Errorf("resp.listen %q: give HOST:PORT, such as 127.0.0.1:7379 (--resp)", c.Listen))
	} else if !names.Loopback(host) {
		faults = append(faults, fmt.Errorf("resp.listen %s: the Redis protocol is spoken without TLS here, so other machines must not reach it; "+
			"listen on 127.0.0.1 and let them come through a tunnel (ssh -L, stunnel)", c.Listen))
	}
	if c.Ack != AckDurable && c.Ack != AckMemory {
		faults = append(faults, fmt.Errorf("resp.ack %q: must be durable or memory", c.Ack))
	}
	if c.Loops < 1 {
		faults = append(faults, fmt.Errorf("resp.loops %d: must be at least 1", c.Loops))
	}
	if c.ConnectionsMax < 1 {
		faults = append(faults, fmt.Errorf("resp.connections_max %d: must be at least 1", c.ConnectionsMax))
	}
	if c.BufferBytesMax < 1<<20 {
		faults = append(faults, fmt.Errorf("resp.buffer_bytes_max %d: must be at least 1 MiB", c.BufferBytesMax))
	}
	if c.ClientBufferBytesMax < 64<<10 {
		faults = append(faults, fmt.Errorf("resp.client_buffer_bytes_max %d: must be at least 64 KiB", c.ClientBufferBytesMax))
	}
	if c.ReplyBytesMax < 64<<10 {
		faults = append(faults, fmt.Errorf("resp.reply_bytes_max %d: must be at least 64 KiB", c.ReplyBytesMax))
	}
	if c.BackgroundMax < 1 {
		faults = append(faults, fmt.Errorf("resp.background_max %d: must be at least 1", c.BackgroundMax))
	}
	for _, t := range []struct {
		name  string
		value time.Duration
	}{
		{"command_timeout", c.CommandTimeout},
		{"auth_timeout", c.AuthTimeout},
		{"stall_timeout", c.StallTimeout},
	} {
		if t.value < time.Millisecond {
			faults = append(faults, fmt.Errorf("resp.%s %v: must be at least 1ms", t.name, t.value))
		}
	}
	if c.IdleTimeout < 0 {
		faults = append(faults, fmt.Errorf("resp.idle_timeout %v: must not be negative", c.IdleTimeout))
	}
	return errors.Join(faults...)
}
