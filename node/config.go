package node

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cloudburst/anna"
	"cloudburst/bus/embedded"
	"cloudburst/cache"
	"cloudburst/contexts"
	"cloudburst/executor"
	"cloudburst/gateway"
	"cloudburst/resp"
	"cloudburst/scheduler"
)

// Config is everything that can be set about a node, a section a part. The zero value runs. Load fills one from a file, the
// environment and flags; the name of a setting there is its field's in lower case, "executor.workers_max".
type Config struct {
	Node      General
	NATS      NATS
	Cluster   Cluster
	Anna      anna.Config
	Cache     cache.Config
	Executor  executor.Config
	Scheduler scheduler.Config
	Gateway   gateway.Config
	RESP      resp.Config
	Log       Log

	// Version is what the node says it is. Default "unknown".
	Version string
	// Logger gets the node's log. Default: discarded.
	Logger *slog.Logger
	// LogStats counts the lines of the log. Default: they are not counted.
	LogStats func() LogStats
	// OnReady is called once everything runs. It must not block.
	OnReady func(Ready)
}

// General is the section of the node as a whole.
type General struct {
	// Data is the directory that holds everything the node keeps; made if it is missing. Default "cloudburst" in the user's
	// directory for data ($XDG_DATA_HOME, or ~/.local/share).
	Data string
	// Context is the name under which the clients of this user find the node. Default: the one that it had before, or else that of the
	// data directory, or of the directory this lies in when it is "data" or begins with a dot.
	Context string
	// Roles are the parts that the node runs: gateway, scheduler, executor and anna. Default: all.
	Roles []string
	// DrainTimeout is how long what runs may go on when the node is told to stop. Default 30s.
	DrainTimeout time.Duration
	// AcceptDamage lets a node start with what is left of a log that is damaged; a member of a cluster only when the others cannot
	// replace it.
	AcceptDamage bool
}

// NATS is the section of the bus.
type NATS struct {
	// URL of the NATS servers to use, separated by commas. Default: none, and a server inside the process.
	URL string
	// Replicas is how many servers hold what is logged: 1, 3 or 5. Default 3 in a cluster, or else 1.
	Replicas int
	// CredentialsFile is a NATS credentials file (JWT and seed). Excludes Token.
	CredentialsFile string
	// Token authenticates the connection.
	Token string
	// CAFile is a PEM file with the authorities that the servers' certificates are checked against. Default: the system's.
	CAFile string
	// CertificateFile and KeyFile are the PEM files of the node's own certificate.
	CertificateFile, KeyFile string
	// SyncAlways makes every write of the server inside the process reach the disk before it is acknowledged.
	SyncAlways bool
	// SyncInterval is how long a write may otherwise stay in the operating system's cache. Default 1s.
	SyncInterval time.Duration
	// StoreMax bounds the bytes of the log of the server inside the process. Default: as much as the disk has room for.
	StoreMax int64
}

// Log is the section of the log.
type Log struct {
	// Level is the least that is logged: "debug", "info", "warn" or "error". Default "info".
	Level string
	// Format is "text" or "json". Default "text".
	Format string
	// BufferBytesMax bounds the lines that wait for a slow reader of the log; more are dropped and counted. Default 4 MiB.
	BufferBytesMax int
}

// Ready says where a node is once it runs.
type Ready struct {
	URL string // empty without a gateway
	// Context is the context under which clients of this user find the node; its name is empty without a gateway, and when the user has
	// no configuration directory.
	Context   contexts.Published
	Data      string
	Roles     []string
	Functions int
	Took      time.Duration
}

const (
	drainTimeoutDefault = 30 * time.Second
	syncIntervalDefault = time.Second
)

func (c Config) withDefaults() Config {
	c.Node.Data = cmp.Or(c.Node.Data, dataDefault())
	c.Node.DrainTimeout = cmp.Or(c.Node.DrainTimeout, drainTimeoutDefault)
	if len(c.Node.Roles) == 0 {
		c.Node.Roles = slices.Clone(rolesDefault)
	}
	c.Cluster = c.Cluster.withDefaults()
	if c.NATS.Replicas == 0 && c.Cluster.joined() {
		c.NATS.Replicas = embedded.MembersMin
	}
	if c.Anna.Masters == 0 && c.Cluster.joined() {
		// As many as hold the log, so that a survivor that is cut off from it still reads and writes every key of a cluster of three.
		c.Anna.Masters = embedded.MembersMin
	}
	c.NATS.Replicas = cmp.Or(c.NATS.Replicas, 1)
	c.NATS.SyncInterval = cmp.Or(c.NATS.SyncInterval, syncIntervalDefault)
	c.Executor.Python = cmp.Or(c.Executor.Python, pythonDefault())
	c.Anna, c.Cache, c.Executor = c.Anna.WithDefaults(), c.Cache.WithDefaults(), c.Executor.WithDefaults()
	c.Scheduler, c.Gateway, c.RESP = c.Scheduler.WithDefaults(), c.Gateway.WithDefaults(), c.RESP.WithDefaults()
	c.Log.Level = cmp.Or(c.Log.Level, "info")
	c.Log.Format = cmp.Or(c.Log.Format, "text")
	c.Log.BufferBytesMax = cmp.Or(c.Log.BufferBytesMax, logBufferBytes)
	c.Version = cmp.Or(c.Version, "unknown")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnReady == nil {
		c.OnReady = func(Ready) {}
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if c.Node.Context != "" {
		if err := contexts.CheckName(c.Node.Context); err != nil {
			faults = append(faults, fmt.Errorf("node.context: %w", err))
		}
	}
	if c.Node.Data == "" {
		faults = append(faults, errors.New("node.data: no directory is given, and there is no home directory to put one; use --data"))
	}
	if c.Node.DrainTimeout < 0 {
		faults = append(faults, fmt.Errorf("node.drain_timeout %v: must not be negative", c.Node.DrainTimeout))
	}
	if r := c.NATS.Replicas; r != 1 && r != 3 && r != 5 {
		faults = append(faults, fmt.Errorf("nats.replicas %d: must be 1, 3 or 5", r))
	} else if r > 1 && c.NATS.URL == "" && !c.Cluster.joined() {
		faults = append(faults, fmt.Errorf("nats.replicas %d: the NATS server inside the process is only one; join a cluster with --join, or name one with --nats-url", r))
	} else if n := len(c.Cluster.Join); n >= embedded.MembersMin && r > n {
		faults = append(faults, fmt.Errorf("nats.replicas %d: the cluster has %d members (cluster.join)", r, n))
	}
	if c.Cluster.joined() && c.NATS.URL != "" {
		faults = append(faults, errors.New("nats.url and cluster.join: a node has a NATS server inside, or uses one elsewhere; give one of them"))
	}
	faults = append(faults, c.Cluster.validate(), validateRoles(c.Node.Roles))
	if c.NATS.SyncInterval < time.Millisecond {
		faults = append(faults, fmt.Errorf("nats.sync_interval %v: must be at least 1ms", c.NATS.SyncInterval))
	}
	if _, err := c.Log.level(); err != nil {
		faults = append(faults, err)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		faults = append(faults, fmt.Errorf("log.format %q: must be text or json", c.Log.Format))
	}
	if c.Log.BufferBytesMax < logBufferBytesMin {
		faults = append(faults, fmt.Errorf("log.buffer_bytes_max %d: must be at least %d", c.Log.BufferBytesMax, logBufferBytesMin))
	}
	return errors.Join(faults...)
}

func dataDefault() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "cloudburst")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "cloudburst")
	}
	return ""
}

// pythonDefault returns the interpreter that the workers use unless one is named: the one of CLOUDBURST_PYTHON, the one in the
// directory of this program (where pip has installed both), the one of the virtual environment that stands next to that directory,
// or the one of the PATH.
func pythonDefault() string {
	if python := os.Getenv("CLOUDBURST_PYTHON"); python != "" {
		return python
	}
	if program, err := os.Executable(); err == nil {
		if program, err = filepath.EvalSymlinks(program); err == nil {
			directory := filepath.Dir(program)
			for _, python := range []string{filepath.Join(directory, "python"), filepath.Join(directory, "..", ".venv", "bin", "python")} {
				if info, err := os.Stat(python); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
					return python
				}
			}
		}
	}
	return "python3"
}
