package embedded

import (
	"fmt"
	"log/slog"
	"sync"
)

// logBridge gives the server's log to slog. Its notices are of no interest to who runs a node, hence debug level.
type logBridge struct {
	logger *slog.Logger
	failed chan struct{} // gets a token when the server has logged an error

	mu     sync.Mutex
	reason error
}

func (l *logBridge) Noticef(format string, args ...any) { l.logger.Debug(text(format, args)) }
func (l *logBridge) Warnf(format string, args ...any)   { l.logger.Warn(text(format, args)) }
func (l *logBridge) Debugf(format string, args ...any)  { l.logger.Debug(text(format, args)) }
func (l *logBridge) Tracef(format string, args ...any)  { l.logger.Debug(text(format, args)) }

// Errorf logs an error, and lets the mender look at once.
func (l *logBridge) Errorf(format string, args ...any) {
	l.logger.Error(text(format, args))
	select {
	case l.failed <- struct{}{}:
	default:
	}
}

// Fatalf keeps the reason for fatal: a server that cannot start is an error of Start, not the end of the process.
func (l *logBridge) Fatalf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason == nil {
		l.reason = fmt.Errorf(format, args...)
	}
}

// fatal returns what the server reported as the end of it, or nil.
func (l *logBridge) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason
}

func text(format string, args []any) string { return "nats-server: " + fmt.Sprintf(format, args...) }
