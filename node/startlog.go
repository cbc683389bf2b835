package node

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// startLogHeld is how long what parts log at a start is held back, and startLogMax how many records.
	startLogHeld = 2 * time.Second
	startLogMax  = 256
)

// startLog holds back what the parts of a node log while it starts: a start that fails has one error to show, which says more
// than what else went on. It is written once the node is ready, or when the start takes so long that one wants to see why.
type startLog struct {
	mu      sync.Mutex
	open    bool
	records []heldRecord
	timer   *time.Timer
}

type heldRecord struct {
	handler slog.Handler
	record  slog.Record
}

// holdLog returns a logger whose records are held, and what holds them.
func holdLog(logger *slog.Logger) (*slog.Logger, *startLog) {
	l := &startLog{}
	l.timer = time.AfterFunc(startLogHeld, l.release)
	return slog.New(&holdingHandler{logger.Handler(), l}), l
}

// release writes what is held, and lets everything through from now on.
func (l *startLog) release() {
	l.timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
}

func (l *startLog) flush() {
	l.open = true
	for _, r := range l.records {
		_ = r.handler.Handle(context.Background(), r.record) // as slog does with errors of handlers
	}
	l.records = nil
}

// discard forgets what is held.
func (l *startLog) discard() {
	l.timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open, l.records = true, nil
}

// holdingHandler is a handler behind a startLog.
type holdingHandler struct {
	slog.Handler
	log *startLog
}

func (h *holdingHandler) Handle(ctx context.Context, record slog.Record) error {
	h.log.mu.Lock()
	if !h.log.open && len(h.log.records) >= startLogMax {
		h.log.flush()
	}
	if h.log.open {
		h.log.mu.Unlock()
		return h.Handler.Handle(ctx, record)
	}
	h.log.records = append(h.log.records, heldRecord{h.Handler, record.Clone()})
	h.log.mu.Unlock()
	return nil
}

func (h *holdingHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return &holdingHandler{h.Handler.WithAttrs(attributes), h.log}
}

func (h *holdingHandler) WithGroup(name string) slog.Handler {
	return &holdingHandler{h.Handler.WithGroup(name), h.log}
}
