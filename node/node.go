// Package node runs all parts of Cloudburst in one process: it starts them in order, and drains them in reverse.
//
// A part is started when those that it needs can take its requests and is stopped before them, so nothing that was acknowledged
// is lost on the way down.
package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cloudburst/anna"
	"cloudburst/bus"
	"cloudburst/bus/embedded"
	"cloudburst/cache"
	"cloudburst/contexts"
	"cloudburst/descriptors"
	"cloudburst/executor"
	"cloudburst/gateway"
	"cloudburst/registry"
	"cloudburst/resp"
	"cloudburst/scheduler"
	"cloudburst/wire"
)

// ErrCut is returned by Run when Cut ended it before everything under way was finished.
var ErrCut = errors.New("stopped before everything under way was finished")

// Node is one process of Cloudburst. Safe for concurrent use.
type Node struct {
	cfg     Config
	cut     chan struct{}
	cutOnce sync.Once
	began   time.Time

	bus       *bus.Conn
	server    *embedded.Server // nil when NATS is elsewhere
	anna      *anna.Server
	cache     *cache.Cache
	registry  *registry.Registry
	executor  *executor.Executor
	scheduler *scheduler.Scheduler
	gateway   *gateway.Gateway
	resp      *resp.Server // nil without an address for it

	published contexts.Published // where clients of this user find the node
}

// New returns a node; it does nothing before Run.
func New(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Node{cfg: cfg, cut: make(chan struct{})}, nil
}

// Cut makes a Run that is draining stop at once.
func (n *Node) Cut() { n.cutOnce.Do(func() { close(n.cut) }) }

// Run runs the node until ctx ends. Then it takes no new requests, finishes what is under way within DrainTimeout, and returns
// nil; with ErrCut if that was not enough. It returns early with the reason when a part cannot start, or fails.
func (n *Node) Run(ctx context.Context) (err error) {
	n.began = time.Now()
	if err := descriptors.Check(); err != nil {
		return err
	}
	if !n.cfg.Logger.Enabled(ctx, slog.LevelDebug) {
		var held *startLog
		n.cfg.Logger, held = holdLog(n.cfg.Logger)
		defer held.discard()
		ready := n.cfg.OnReady
		n.cfg.OnReady = func(r Ready) {
			held.release()
			ready(r)
		}
	}
	s := newSupervisor(n.cfg.Logger)
	closeBus, err := n.openBus(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer closeBus()
	// No address is to be here while no node listens at it; the last node may have crashed.
	n.removeAddress()
	defer n.removeAddress()
	defer n.withdraw()
	s.trace("connected", "bus")
	if err := n.build(); err != nil {
		return err
	}
	if n.has(roleGateway) {
		if err := n.gateway.Listen(); err != nil {
			return err
		}
	}
	if n.resp != nil {
		if err := n.resp.Listen(); err != nil {
			return err
		}
	}
	err = n.start(ctx, s)
	if err == nil {
		select {
		case <-ctx.Done():
		case <-n.cut:
		case err = <-s.failed:
			n.cfg.Logger.Error("a part of the node has failed; stopping", "error", err)
		}
	} else if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, n.stop(ctx, s))
}

// start starts the parts, all at once: each waits by itself for what it needs. The gateway comes last, since clients are to
// find everything else ready; until then their connections wait in the port's backlog.
func (n *Node) start(ctx context.Context, s *supervisor) error {
	parts := []*running{
		s.start(ctx, part{name: "anna", run: n.anna.Run, ready: n.anna.Ready()}),
		s.start(ctx, part{name: "cache", run: n.cache.Run, ready: n.cache.Ready()}),
		s.start(ctx, part{name: "registry", run: n.registry.Run, ready: n.registry.Ready()}),
	}
	if n.has(roleExecutor) {
		parts = append(parts, s.start(ctx, part{name: "executor", run: n.executor.Run, ready: n.executor.Ready()}))
	}
	if n.has(roleScheduler) {
		parts = append(parts, s.start(ctx, part{name: "scheduler", run: n.scheduler.Run, drain: n.scheduler.Drain}))
	}
	if err := s.await(ctx, parts...); err != nil {
		return err
	}
	if n.resp != nil {
		s.start(ctx, part{name: "resp", run: n.resp.Run, drain: n.resp.Drain})
	}
	if n.has(roleGateway) {
		s.start(ctx, part{name: "gateway", run: n.gateway.Run, drain: n.gateway.Drain})
	}
	s.trace("ready", "node")
	return n.announce()
}

// stop drains and ends the parts within DrainTimeout, or at once when the node is cut.
func (n *Node) stop(ctx context.Context, s *supervisor) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.Node.DrainTimeout)
	defer cancel()
	stopped := make(chan struct{})
	defer close(stopped)
	go func() {
		select {
		case <-n.cut:
			cancel()
		case <-stopped:
		}
	}()
	err := s.stop(ctx)
	if ctx.Err() != nil {
		return errors.Join(ErrCut, err)
	}
	return err
}

// openBus connects to NATS, its server started first unless there is one elsewhere. Either way the data directory is this
// node's alone until it is closed.
func (n *Node) openBus(ctx context.Context) (closeBus func(), err error) {
	data, nats := n.cfg.Node.Data, n.cfg.NATS
	if nats.URL == "" {
		cluster, err := n.cfg.Cluster.server()
		if err != nil {
			return nil, err
		}
		server, err := embedded.Start(ctx, embedded.Config{
			DataDir: data, SyncAlways: nats.SyncAlways, SyncInterval: nats.SyncInterval, StoreMax: nats.StoreMax,
			AcceptDamage: n.cfg.Node.AcceptDamage,
			Cluster:      cluster, Logger: n.cfg.Logger,
		})
		if err != nil {
			return nil, dataError(err)
		}
		n.server = server
		if n.bus, err = server.Connect(ctx); err != nil {
			server.Shutdown()
			return nil, err
		}
		return func() { n.bus.Close(); server.Shutdown() }, nil
	}
	release, err := embedded.Lock(data)
	if err != nil {
		return nil, dataError(err)
	}
	n.bus, err = bus.Connect(ctx, bus.Config{
		URL: nats.URL, Token: nats.Token, CredentialsFile: nats.CredentialsFile,
		CAFile: nats.CAFile, CertificateFile: nats.CertificateFile, KeyFile: nats.KeyFile, Logger: n.cfg.Logger,
	})
	if err != nil {
		release()
		return nil, err
	}
	return func() { n.bus.Close(); release() }, nil
}

// dataError says what to do about a data directory that cannot be written to.
func dataError(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; give a directory that this user can write to (--data)", err)
	}
	return err
}

// build makes the parts; none of them does anything yet.
func (n *Node) build() error {
	c := n.cfg
	if c.Gateway.Token == "" {
		var err error
		if c.Gateway.Token, err = readToken(c.Node.Data); err != nil {
			return err
		}
		n.cfg.Gateway.Token = c.Gateway.Token
	}
	c.Anna.Logger, c.Cache.Logger, c.Executor.Logger = c.Logger, c.Logger, c.Logger
	c.Scheduler.Logger, c.Gateway.Logger = c.Logger, c.Logger
	c.Anna.Replicas = c.NATS.Replicas
	c.Anna.Name = n.member()
	c.Anna.MemberFile = filepath.Join(c.Node.Data, memberFile)
	c.Gateway.Version = c.Version
	var err error
	if n.anna, err = anna.New(c.Anna, n.bus); err != nil {
		return err
	}
	if n.cache, err = cache.New(c.Cache, n.anna); err != nil {
		return err
	}
	n.registry = registry.New(registry.Config{Replicas: c.NATS.Replicas, Logger: c.Logger}, n.bus, definitions{n.cache})
	stats := map[string]func() any{
		"anna":  func() any { return n.anna.Metrics() },
		"cache": func() any { return n.cache.Stats() },
	}
	if c.LogStats != nil {
		stats["log"] = func() any { return c.LogStats() }
	}
	if n.has(roleExecutor) {
		c.Executor.Member = n.anna.ID()
		c.Executor.Environment, c.Executor.Accept = n.workerEnvironment, n.acceptWorker
		c.Executor.Expected = func(key string) bool { return n.scheduler != nil && n.scheduler.Expects(key) }
		c.Executor.Origin = n.origin
		if n.executor, err = executor.New(c.Executor, n.cache, n.registry); err != nil {
			return fmt.Errorf("executor settings: %w", err)
		}
		stats["executor"] = func() any { return n.executor.Stats() }
		stats["printed"] = func() any { return n.executor.Printed() }
	}
	if c.RESP.Listen != "" {
		c.RESP.Token, c.RESP.Version, c.RESP.Logger = c.Gateway.Token, c.Version, c.Logger
		c.RESP.SoleMaster = c.NATS.URL == "" && !c.Cluster.joined()
		if n.resp, err = resp.New(c.RESP, n.anna); err != nil {
			return fmt.Errorf("settings for Redis clients: %w", err)
		}
		stats["resp"] = func() any { return n.resp.Stats() }
	}
	calls := gateway.Scheduler(noScheduler{c.Node.Roles})
	if n.has(roleScheduler) {
		if n.scheduler, err = scheduler.New(c.Scheduler, n.registry, []scheduler.Executor{n.executor}, n.cache); err != nil {
			return fmt.Errorf("scheduler settings: %w", err)
		}
		stats["scheduler"] = func() any { return n.scheduler.Stats() }
		calls = n.scheduler
	}
	backend := gateway.Backend{
		Scheduler: calls, Store: n.cache, Registry: n.registry, Status: n.status, AnnaStatus: n.anna.Overview, Unready: n.unready, Stats: stats,
	}
	if n.executor != nil {
		backend.Printed, backend.CheckFunction = n.executor, n.executor.CheckFunction
	}
	n.gateway, err = gateway.New(c.Gateway, backend)
	if err != nil {
		return fmt.Errorf("gateway settings: %w", err)
	}
	return nil
}

// origin says of a run that is under way whose call it is and which run has called it.
func (n *Node) origin(id wire.RunID) (client uint64, parent wire.RunID, found bool) {
	if n.scheduler == nil {
		return 0, wire.RunID{}, false
	}
	return n.scheduler.Origin(id)
}

func (n *Node) removeAddress() {
	_ = os.Remove(filepath.Join(n.cfg.Node.Data, addressFile)) // mostly it is not there
}

// announce lets clients find the node.
func (n *Node) announce() error {
	functions, _ := n.registry.Counts()
	ready := Ready{Data: n.cfg.Node.Data, Roles: n.cfg.Node.Roles, Functions: functions, Took: time.Since(n.began)}
	if !n.has(roleGateway) {
		n.cfg.OnReady(ready)
		return nil
	}
	if err := n.publish(); err != nil {
		return err
	}
	// Last, so that a program that sees this file can begin.
	if err := contexts.WritePrivate(filepath.Join(n.cfg.Node.Data, addressFile), n.address()); err != nil {
		return fmt.Errorf("store the address: %w", err)
	}
	ready.URL, ready.Context = n.url(), n.published
	n.cfg.OnReady(ready)
	return nil
}
