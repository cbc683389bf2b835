// Package registry knows every function and DAG: immutable versions in a JetStream key-value bucket, watched by every node
// and held in its memory.
//
// All changes have one order, that of the bucket's log. A change is only taken when nothing happened since the state that it
// was decided on (compare-and-set on the last sequence of the whole log), so rules that span several entries, such as "a
// function that a DAG uses cannot be deleted", hold across nodes without a lock.
package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"cloudburst/bus"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Bounds of the registry.
const (
	// RecordBytesMax bounds what is stored about one function or DAG, its definition left out.
	RecordBytesMax = 512 << 10
	// AnonymousDAGsMax bounds the pipelines without a name. Of more, those that were registered first go; the client of one that is still
	// called registers it again.
	AnonymousDAGsMax = 256
	// DefinitionCacheBytesMax bounds the definitions held in memory; the least recently used make room.
	DefinitionCacheBytesMax = 16 << 20

	bucketDefault = "cloudburst-registry"
	// openTimeout bounds the time until the registry is loaded; a cluster that just started needs some of it to elect.
	openTimeout = 30 * time.Second
	// commitTimeout bounds a change whose context has no deadline of its own.
	commitTimeout = 10 * time.Second
	// attemptTimeout bounds one publish of a change; an answer lost with a server is looked for in the log after it.
	attemptTimeout = 2 * time.Second
	retryDelayMin  = 5 * time.Millisecond
	retryDelayMax  = time.Second
	sweepTimeout   = 30 * time.Second
	// auditInterval is how often the watch is held against the log, in case the one has silently lost the other.
	auditInterval = 30 * time.Second
)

// Config says how a registry is kept. The zero value runs.
type Config struct {
	// Bucket is the key-value bucket. Default "cloudburst-registry".
	Bucket string
	// Replicas is how many servers hold the bucket: 1, 3 or 5. Default 1. An existing bucket is never given fewer.
	Replicas int
	// Logger gets what goes wrong in the background. Default: discarded.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Bucket = cmp.Or(c.Bucket, bucketDefault)
	c.Replicas = cmp.Or(c.Replicas, 1)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Registry holds functions and DAGs. Its methods are safe for concurrent use. Reads are answered from memory and never
// wait; changes wait until Run has loaded the registry. What a read returns is shared and must not be changed.
type Registry struct {
	cfg         Config
	conn        *bus.Conn
	definitions Definitions
	cached      *definitionCache
	ready       chan struct{}
	writing     chan struct{} // holds one token: changes of one process take turns
	stream      jetstream.Stream
	keyValue    jetstream.KeyValue

	mu      sync.RWMutex
	state   *state
	changed chan struct{} // closed at the next change of state; nil without a waiter
}

// New returns a registry that keeps definitions in defs. It does nothing before Run.
func New(cfg Config, conn *bus.Conn, defs Definitions) *Registry {
	return &Registry{
		cfg:         cfg.withDefaults(),
		conn:        conn,
		definitions: defs,
		cached:      newDefinitionCache(DefinitionCacheBytesMax),
		ready:       make(chan struct{}),
		writing:     make(chan struct{}, 1),
		state:       newState(),
	}
}

// Ready is closed when everything registered so far is loaded.
func (r *Registry) Ready() <-chan struct{} { return r.ready }

// Run opens the bucket, making it if need be, and follows it until ctx ends; then it returns nil. It fails when the bucket
// cannot be opened or loaded the first time; later it tries again for as long as it takes.
func (r *Registry) Run(ctx context.Context) error {
	began := time.Now()
	err := r.open(ctx)
	if err == nil {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return r.follow(ctx, group, began.Add(openTimeout)) })
		err = group.Wait()
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// open finds or makes the bucket. In a cluster that is still forming this takes more than one attempt.
func (r *Registry) open(ctx context.Context) error {
	deadline, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		one, done := context.WithTimeout(deadline, attemptTimeout)
		err := r.tryOpen(one)
		done()
		if err == nil {
			return nil
		}
		if !forming(err) || !pause(deadline, attempt) {
			return fmt.Errorf("open the registry, JetStream bucket %s with %d replicas: %w", r.cfg.Bucket, r.cfg.Replicas, err)
		}
	}
}

// forming reports whether err is one that a cluster gives that is still coming up. A server that has just been elected may not
// know yet of a bucket that was there a moment ago.
func forming(err error) bool {
	const noSuitablePeers = 10005
	refusal, ok := errors.AsType[*jetstream.APIError](err)
	return !ok || refusal.Code == http.StatusServiceUnavailable || refusal.Code == http.StatusNotFound || refusal.ErrorCode == noSuitablePeers
}

func (r *Registry) tryOpen(ctx context.Context) error {
	cfg := jetstream.KeyValueConfig{
		Bucket:      r.cfg.Bucket,
		Description: "Cloudburst: functions and DAGs",
		History:     1,
		Storage:     jetstream.FileStorage,
		Replicas:    r.cfg.Replicas,
	}
	keyValue, err := r.conn.JetStream.KeyValue(ctx, cfg.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		keyValue, err = r.conn.JetStream.CreateKeyValue(ctx, cfg)
	}
	if err != nil {
		return err
	}
	stream, err := r.conn.JetStream.Stream(ctx, "KV_"+cfg.Bucket)
	if err != nil {
		return err
	}
	if stream.CachedInfo().Config.Replicas < cfg.Replicas {
		if keyValue, err = r.conn.JetStream.UpdateKeyValue(ctx, cfg); err != nil {
			return err
		}
	}
	r.stream, r.keyValue = stream, keyValue
	return nil
}

// Sync returns when this node knows everything that was committed, on whatever node, before the call. It asks the log once,
// so use it where a read of memory may be too old: after a name was not found.
func (r *Registry) Sync(ctx context.Context) error {
	if err := r.await(ctx); err != nil {
		return err
	}
	info, err := r.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("ask the registry's log how far it is: %w", err)
	}
	for {
		r.mu.Lock()
		if r.state.applied >= info.State.LastSeq {
			r.mu.Unlock()
			return nil
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait until the registry has followed its log to %d: %w", info.State.LastSeq, ctx.Err())
		}
	}
}

// Counts returns how many functions and DAGs are registered.
func (r *Registry) Counts() (functions, dags int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.state.functionsLive, len(r.state.dags)
}

// await waits until the registry is loaded.
func (r *Registry) await(ctx context.Context) error {
	select {
	case <-r.ready:
		return nil
	default:
	}
	select {
	case <-r.ready:
		return nil
	case <-ctx.Done():
		return &wire.Error{Code: pb.Code_CODE_UNAVAILABLE, Message: "the registry is still loading; try again"}
	}
}

// notify wakes those who wait for the state to change. The caller holds r.mu.
func (r *Registry) notify() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// pause waits before attempt+1, longer from attempt to attempt, and reports whether ctx allows another one.
func pause(ctx context.Context, attempt int) bool {
	timer := time.NewTimer(min(retryDelayMin<<min(attempt, 16), retryDelayMax))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
