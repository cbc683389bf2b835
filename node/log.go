package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

func (l Log) level() (slog.Level, error) {
	switch l.Level {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log.level %q: must be debug, info, warn or error", l.Level)
}

// NewLogger returns a logger that writes to w as the section says.
func (l Log) NewLogger(w io.Writer) *slog.Logger {
	level, err := l.level()
	if err != nil {
		level = slog.LevelInfo
	}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(&textHandler{level: level, out: &output{w: w}})
}

// textHandler writes records for people: time, level, message, and then the attributes. Safe for concurrent use.
type textHandler struct {
	level slog.Level
	out   *output
	// attributes are those of the logger itself, written already; prefix is that of the group they are in.
	attributes string
	prefix     string
}

type output struct {
	mu  sync.Mutex
	buf []byte
	w   io.Writer
}

func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *textHandler) WithAttrs(attributes []slog.Attr) slog.Handler {
	buf := []byte(h.attributes)
	for _, a := range attributes {
		buf = appendAttribute(buf, h.prefix, a)
	}
	next := *h
	next.attributes = string(buf)
	return &next
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	next := *h
	if name != "" {
		next.prefix += name + "."
	}
	return &next
}

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	buf := r.Time.AppendFormat(h.out.buf[:0], "15:04:05.000 ")
	level := r.Level.String()
	buf = append(buf, level...)
	for range max(1, 6-len(level)) {
		buf = append(buf, ' ')
	}
	buf = append(buf, oneLine(r.Message)...)
	buf = append(buf, h.attributes...)
	r.Attrs(func(a slog.Attr) bool {
		buf = appendAttribute(buf, h.prefix, a)
		return true
	})
	buf = append(buf, '\n')
	h.out.buf = buf
	_, err := h.out.w.Write(buf)
	return err
}

func appendAttribute(buf []byte, prefix string, a slog.Attr) []byte {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range value.Group() {
			buf = appendAttribute(buf, prefix, inner)
		}
		return buf
	}
	if a.Key == "" {
		return buf
	}
	buf = append(buf, ' ')
	buf = append(buf, prefix...)
	buf = append(buf, a.Key...)
	buf = append(buf, '=')
	text := value.String()
	if text == "" || strings.ContainsFunc(text, needsQuotes) {
		return strconv.AppendQuote(buf, text)
	}
	return append(buf, text...)
}

func needsQuotes(r rune) bool {
	return r == '"' || r == '=' || unicode.IsSpace(r) || !unicode.IsPrint(r)
}

// oneLine keeps a message from looking like several records, or from steering the terminal: what user functions print is
// logged too.
func oneLine(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }) {
		return text
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}
