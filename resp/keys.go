package resp

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cloudburst/anna/kernel"
	"cloudburst/lattice"
	"cloudburst/wire"
)

const (
	// scanDefault and scanMax bound the keys that one SCAN looks at.
	scanDefault = 10
	scanMax     = 10000
	// keysMax bounds the keys that KEYS looks at.
	keysMax = 1_000_000
)

func delCommand(c *conn, args [][]byte) {
	for _, key := range args[1:] {
		if err := wire.CheckWrite(textOf(key)); err != nil {
			c.w.error(errorText(err))
			return
		}
	}
	p := c.loop.begin(c)
	p.answer = answerSum
	for _, key := range args[1:] {
		if checkKey(key) != nil {
			continue // there is no such key
		}
		c.put(p, kernel.Write{Key: textOf(key), Delete: true})
	}
	c.await(p)
}

func existsCommand(c *conn, args [][]byte) {
	n := 0
	now := c.loop.now.UnixMilli()
	count := func(held *lattice.State) {
		if held != nil && held.Live(now) != nil {
			n++
		}
	}
	for _, key := range args[1:] {
		c.view(key, count)
	}
	c.w.integer(int64(n))
}

func typeCommand(c *conn, args [][]byte) {
	name := "none"
	now := c.loop.now.UnixMilli()
	if c.view(args[1], func(held *lattice.State) {
		if held != nil {
			name = typeName(held.Live(now))
		}
	}) {
		c.w.simple(name)
	}
}

func ttlCommand(c *conn, args [][]byte)         { c.ttl(args[1], time.Second, false) }
func pttlCommand(c *conn, args [][]byte)        { c.ttl(args[1], time.Millisecond, false) }
func expiretimeCommand(c *conn, args [][]byte)  { c.ttl(args[1], time.Second, true) }
func pexpiretimeCommand(c *conn, args [][]byte) { c.ttl(args[1], time.Millisecond, true) }

// ttl answers how long a key still lives, or until when: -2 when it is not there, -1 when it lives for ever.
func (c *conn) ttl(key []byte, unit time.Duration, absolute bool) {
	now := c.loop.now.UnixMilli()
	left := int64(-2)
	if !c.view(key, func(held *lattice.State) {
		if held == nil || held.Live(now) == nil {
			return
		}
		if left = -1; held.ExpiresAt() != 0 {
			if left = held.ExpiresAt(); !absolute {
				left -= now
			}
			if unit == time.Second {
				left = (left + 500) / 1000
			}
		}
	}) {
		return
	}
	c.w.integer(left)
}

func expireCommand(c *conn, args [][]byte)    { c.expire(args, "ex") }
func pexpireCommand(c *conn, args [][]byte)   { c.expire(args, "px") }
func expireatCommand(c *conn, args [][]byte)  { c.expire(args, "exat") }
func pexpireatCommand(c *conn, args [][]byte) { c.expire(args, "pxat") }

// expire sets when a key expires; a time that is over deletes it.
func (c *conn) expire(args [][]byte, unit string) {
	var flags options
	for _, arg := range args[3:] {
		switch optionOf(arg) {
		case "nx":
			flags |= ifAbsent
		case "xx":
			flags |= ifPresent
		case "gt":
			flags |= ifGreater
		case "lt":
			flags |= ifLess
		default:
			c.w.error("ERR Unsupported option " + clean(arg))
			return
		}
	}
	if flags.has(ifAbsent) && flags != ifAbsent {
		c.w.error("ERR NX and XX, GT or LT options at the same time are not compatible")
		return
	}
	if flags.has(ifGreater) && flags.has(ifLess) {
		c.w.error("ERR GT and LT options at the same time are not compatible")
		return
	}
	n, ok := parseInt(args[2])
	if !ok {
		c.w.error("ERR " + errNotInteger.Message)
		return
	}
	at, ok := expiryAt(n, unit, c.loop.now.UnixMilli())
	if !ok {
		c.w.error("ERR invalid expire time in '" + strings.ToLower(string(args[0])) + "' command")
		return
	}
	if flags != 0 && !c.atomic("EXPIRE with NX, XX, GT or LT") {
		return
	}
	if key, ok := c.writableKey(args[1]); ok {
		p := c.loop.begin(c)
		p.answer = answerWhether
		p.change = change{make: makeExpire, flags: flags, at: max(at, 1)}
		c.put(p, kernel.Write{Key: key, Make: p})
		c.await(p)
	}
}

func makeExpire(ch *change, held *lattice.State, stamp lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	if held.Live(nowMillis) == nil {
		return nil, 0, nil
	}
	was := held.ExpiresAt()
	switch {
	case ch.flags.has(ifAbsent) && was != 0, ch.flags.has(ifPresent) && was == 0,
		// A key that lives for ever has the greatest of all times to live.
		ch.flags.has(ifGreater) && (was == 0 || ch.at <= was), ch.flags.has(ifLess) && was != 0 && ch.at >= was:
		return nil, 0, nil
	case ch.at <= nowMillis:
		return lattice.Delete(stamp), 1, nil
	}
	return lattice.ExpireAt(lattice.Timestamp{}, ch.at), 1, nil
}

func persistCommand(c *conn, args [][]byte) {
	if key, ok := c.writableKey(args[1]); ok {
		p := c.loop.begin(c)
		p.answer = answerWhether
		p.change = change{make: makePersist}
		c.put(p, kernel.Write{Key: key, Make: p})
		c.await(p)
	}
}

func makePersist(_ *change, held *lattice.State, stamp lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	if held.Live(nowMillis) == nil || held.ExpiresAt() == 0 {
		return nil, 0, nil
	}
	return lattice.ExpireAt(stamp, 0), 1, nil
}

// dbsizeCommand leaves out Cloudburst's own keys, as listings do.
func dbsizeCommand(c *conn, _ [][]byte) {
	store := c.server.store.Stats()
	c.w.integer(int64(store.Keys - store.Reserved))
}

// scanCommand goes through the keys in their order. A cursor stands for the key that the last page ended with, so a key that
// is there all the time is returned once, whatever is written meanwhile.
func scanCommand(c *conn, args [][]byte) {
	after, ok := c.server.cursors.find(args[1])
	if !ok {
		c.w.error("ERR invalid cursor: it is not one of this node's, or so old that it has been forgotten; begin again with 0")
		return
	}
	pattern, kind, limit := []byte("*"), "", scanDefault
	for i := 2; i < len(args); i += 2 {
		if i+1 == len(args) {
			c.syntax()
			return
		}
		switch optionOf(args[i]) {
		case "match":
			pattern = args[i+1]
		case "count":
			n, ok := parseInt(args[i+1])
			if !ok {
				c.w.error("ERR " + errNotInteger.Message)
				return
			}
			if n < 1 {
				c.syntax()
				return
			}
			limit = int(min(n, scanMax))
		case "type":
			kind = optionOf(args[i+1])
		default:
			c.syntax()
			return
		}
	}
	page, err := c.server.page(context.Background(), pattern, after, limit)
	if err != nil {
		c.w.error(errorText(err))
		return
	}
	if kind != "" {
		page.keys = c.ofType(page.keys, kind)
	}
	c.w.array(2)
	c.w.text(c.server.cursors.keep(page.next))
	c.w.array(len(page.keys))
	for _, key := range page.keys {
		c.w.text(key)
	}
}

// ofType returns those of keys that hold a type.
func (c *conn) ofType(keys []string, kind string) []string {
	now := c.loop.now.UnixMilli()
	kept := keys[:0]
	for _, key := range keys {
		c.view([]byte(key), func(held *lattice.State) {
			if held != nil && typeName(held.Live(now)) == kind {
				kept = append(kept, key)
			}
		})
	}
	return kept
}

// page is a part of a listing.
type page struct {
	keys []string
	next string // the last key that was looked at; empty at the end
}

// page looks at up to limit keys after one and returns those that match. Cloudburst's own keys are never among them.
func (s *Server) page(ctx context.Context, pattern []byte, after string, limit int) (page, error) {
	prefix := literalPrefix(pattern)
	if wire.Reserved(prefix) {
		return page{}, nil
	}
	keys, more, err := s.store.Scan(ctx, prefix, after, limit)
	if err != nil {
		return page{}, fmt.Errorf("list keys: %w", err)
	}
	var p page
	if more && len(keys) > 0 {
		p.next = keys[len(keys)-1]
	}
	if wire.Reserved(p.next) {
		p.next = wire.ReservedEnd // there may be a lot more of them
	}
	p.keys = keys[:0]
	for _, key := range keys {
		if !wire.Reserved(key) && match(pattern, key) {
			p.keys = append(p.keys, key)
		}
	}
	return p, nil
}

// keysCommand lists in the background, since that can take long.
func keysCommand(c *conn, args [][]byte) {
	pattern := append([]byte(nil), args[1]...)
	c.background(func(ctx context.Context, w *reply) {
		var all []string
		size, looked := 0, 0
		for after := ""; ; {
			p, err := c.server.page(ctx, pattern, after, scanMax)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				w.error(errorText(fmt.Errorf("list keys: %w", err)))
				return
			}
			for _, key := range p.keys {
				size += len(key) + 16
			}
			all = append(all, p.keys...)
			if looked += scanMax; looked > keysMax || size > c.server.cfg.ReplyBytesMax {
				w.error(fmt.Sprintf("ERR there are more than %d keys to look at, or %d bytes of them to return; use SCAN", keysMax, c.server.cfg.ReplyBytesMax))
				return
			}
			if after = p.next; after == "" {
				break
			}
		}
		w.array(len(all))
		for _, key := range all {
			w.text(key)
		}
	})
}
