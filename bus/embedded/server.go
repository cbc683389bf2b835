// Package embedded runs a NATS server with JetStream inside the process.
//
// A server owns its data directory: as long as it runs, no other process can start one there.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"cloudburst/bus"
)

// StoreFolder is where in the data directory JetStream keeps its files.
const StoreFolder = server.JetStreamStoreDir

// ErrUnreadable is returned by Start when NATS cannot read a stream that the data directory holds.
var ErrUnreadable = errors.New("the log cannot be read")

const (
	// memoryStreamsMax bounds the streams that live in memory only. It is a limit, nothing is reserved.
	memoryStreamsMax = 256 << 20
	// connectTimeout bounds a connection to a member of a cluster, which may elect another leader meanwhile.
	connectTimeout = 30 * time.Second
	// syncIntervalDefault is how long a write may sit in the operating system's cache.
	syncIntervalDefault = time.Second
)

// Config says where the server keeps its data.
type Config struct {
	// DataDir is the node's data directory, made if it is missing; JetStream lives in its folder "jetstream", the lock in
	// its file "lock".
	DataDir string
	// SyncAlways makes every write reach the disk before it is acknowledged. Without it an acknowledged write survives the
	// end of the process at once, and the end of the machine after SyncInterval.
	SyncAlways bool
	// SyncInterval is how long a write may stay in the operating system's cache. Default 1s.
	SyncInterval time.Duration
	// StoreMax bounds the bytes of all streams on disk. Default: as much as the disk has room for.
	StoreMax int64
	// AcceptDamage lets a server start with what is left of a log that is damaged; a member of a cluster when it cannot get the log from
	// the others.
	AcceptDamage bool
	// Cluster makes the server a member of a cluster. Default nil: it runs alone.
	Cluster *Cluster
	// Logger gets the server's log: notices at debug level, warnings and errors at their own. Default: discarded.
	Logger *slog.Logger
}

// Server is a NATS server in this process. Connections are made by Connect; alone, it listens on no port. Safe for concurrent
// use.
type Server struct {
	nats      *server.Server
	logger    *slog.Logger
	lock      *directoryLock
	clustered bool
	rebuilt   bool   // the log was damaged and comes from the other members
	noted     string // the data directory whose files are noted at the stop; "" when they are not
	token     string // of connections, in a cluster
	log       *logBridge
	jetStream server.JetStreamConfig
	mender    mender
	store     string // the folder that JetStream keeps its files in
	limits    limits
	shutdown  sync.Once
}

// Start starts a server and returns when it takes connections, with everything that the data directory holds recovered; in a
// cluster, when that has a leader. It fails with ErrDataDirInUse while another process, or another Server of this one, uses the
// directory, with ErrForeignData when that was made for another cluster or for none, with ErrNoQuorum, and with ErrDamaged or ErrUnreadable.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.DataDir == "" {
		return nil, errors.New("start the embedded NATS server: no data directory given")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.SyncInterval <= 0 {
		cfg.SyncInterval = syncIntervalDefault
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := lockDirectory(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	s := &Server{logger: cfg.Logger, lock: lock}
	if err := s.start(ctx, cfg); err != nil {
		s.Shutdown()
		return nil, fmt.Errorf("start the embedded NATS server on %s: %w", cfg.DataDir, err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, cfg Config) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.store = filepath.Join(cfg.DataDir, StoreFolder)
	s.limits = limitsOf(s.store, cfg.StoreMax)
	options := &server.Options{
		ServerName: "cloudburst",
		DontListen: true,
		NoSigs:     true,
		NoLog:      true,
		MaxPayload: bus.PayloadMax,
		// Pings between two ends of one process find nothing that could be wrong.
		PingInterval:           time.Hour,
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               cfg.DataDir,
		JetStreamMaxMemory:     memoryStreamsMax,
		JetStreamMaxStore:      s.limits.jetStreamMax(s.store),
		SyncAlways:             cfg.SyncAlways,
		SyncInterval:           cfg.SyncInterval,
	}
	var held membership
	var cluster Cluster
	var err error
	if cfg.Cluster == nil {
		err = alone(cfg.DataDir)
	} else {
		cluster = cfg.Cluster.WithDefaults()
		s.clustered, s.token = true, rand.Text()
		if err = cluster.check(); err == nil {
			held, err = join(cfg.DataDir, cluster)
		}
		if err == nil {
			cluster.Member = held.member
			err = cluster.options(options, s.token)
		}
	}
	if err == nil {
		err = s.check(ctx, cfg, cluster)
	}
	if err == nil && s.clustered {
		s.noted = cfg.DataDir
		err = forget(cfg.DataDir)
	}
	if err != nil {
		return err
	}
	natsServer, err := server.NewServer(options)
	if err != nil {
		return err
	}
	s.nats = natsServer
	log := &logBridge{logger: cfg.Logger, failed: make(chan struct{}, 1)}
	s.log = log
	natsServer.SetLoggerV2(log, cfg.Logger.Enabled(ctx, slog.LevelDebug), false, false)

	// Start returns when recovery is over; connections are accepted by goroutines of their own. It knows no context, but
	// ends early when the server is shut down meanwhile.
	started := make(chan struct{})
	err = newGuard(cfg.DataDir).around(func() error {
		go func() {
			defer close(started)
			natsServer.Start()
		}()
		select {
		case <-started:
			return nil
		case <-ctx.Done():
			natsServer.Shutdown()
			<-started
			return ctx.Err()
		}
	}, natsServer.Shutdown)
	if err != nil {
		return err
	}
	if err := log.fatal(); err != nil {
		return err
	}
	if !natsServer.JetStreamEnabled() {
		return errors.New("JetStream did not start")
	}
	s.jetStream = *natsServer.JetStreamConfig()
	s.jetStream.StoreDir = cfg.DataDir // JetStream adds its folder
	s.mender.start(s, cfg.DataDir)
	if !s.clustered {
		return nil
	}
	began := time.Now()
	if err := s.form(ctx, cluster, log, !held.formed); err != nil {
		return err
	}
	if s.rebuilt {
		s.logger.Info("the log of this member has been rebuilt from the others", "cluster", cluster.Name, "member", cluster.Member,
			"took", time.Since(began).Round(time.Millisecond))
	}
	if held.formed {
		return nil
	}
	held.formed = true
	return held.write(cfg.DataDir)
}

// Connect returns a connection that never leaves the process. The caller closes it before Shutdown.
func (s *Server) Connect(ctx context.Context) (*bus.Conn, error) {
	cfg := bus.Config{InProcess: s.nats, Token: s.token, Faults: s.Faults, Space: s.space, Logger: s.logger}
	if s.clustered {
		cfg.ConnectTimeout = connectTimeout
	}
	return bus.Connect(ctx, cfg)
}

// Shutdown stops the server, gives the data directory free and returns when both are done. A second call waits for the first.
func (s *Server) Shutdown() {
	s.shutdown.Do(func() {
		s.mender.stop()
		if s.nats != nil {
			s.nats.Shutdown()
			s.nats.WaitForShutdown()
		}
		if s.noted != "" {
			s.note(s.noted)
		}
		if err := s.lock.release(); err != nil {
			s.logger.Warn("release the data directory", "error", err)
		}
	})
}
