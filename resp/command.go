package resp

import (
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"

	"cloudburst/anna"
	"cloudburst/anna/kernel"
	"cloudburst/lattice"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// command is one that the endpoint carries out, or that it can refuse with the reason.
type command struct {
	name string
	// arity is how many words it has, with its name; negative = at least so many.
	arity int
	flags commandFlags
	// first, last and step say which words are keys; last counts from the end when it is negative. All zero without keys.
	first, last, step int
	member            int // which word is a member of a set, if only one may be or it is the first; 0 = none
	group             string
	summary           string
	run               func(c *conn, args [][]byte)
}

type commandFlags uint8

const (
	// stranger: also for a client that has not said its password.
	stranger commandFlags = 1 << iota
	reads
	writes
)

const (
	// commandNameMax bounds the name of a command.
	commandNameMax = 32
	// fetchesMax is how often the keys of one command are brought into memory. They may have left it before all are there.
	fetchesMax = 4
)

// commandOf returns the command of a name, nil when there is none.
func (s *Server) commandOf(name []byte) *command {
	var lower [commandNameMax]byte
	if len(name) > len(lower) {
		return nil
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	return s.commands[string(lower[:len(name)])]
}

// execute carries out a command. It returns false when the command is to be carried out again, once keys are in memory that it
// needs; it has done nothing then.
func (c *conn) execute(asked *asked) bool {
	if asked.words == 0 {
		return true
	}
	cmd, args := asked.is, c.request.args[asked.first:asked.first+asked.words]
	w, start := c.w, len(c.w.buf)
	missing := c.missing
	c.missing = nil
	switch {
	case !c.client.authenticated && (cmd == nil || cmd.flags&stranger == 0):
		w.error("NOAUTH Authentication required.")
	case c.client.refused:
		c.discarded(args)
	case cmd == nil:
		c.unknown(args)
	case cmd.arity >= 0 && len(args) != cmd.arity || len(args) < -cmd.arity:
		c.arity(cmd.name)
	case missing != nil:
		w.error(errorText(missing))
	default:
		c.client.last = cmd
		cmd.run(c, args)
	}
	if (c.fetch != nil || c.crowded) && !c.fetched(w, start) {
		return false
	}
	c.fetches = 0
	c.commands++
	if size := len(w.buf) - start; size > c.server.cfg.ReplyBytesMax {
		w.buf = w.buf[:start]
		w.error(fmt.Sprintf("ERR the reply is %d bytes; the limit is %d (resp.reply_bytes_max); ask for less at a time", size, c.server.cfg.ReplyBytesMax))
	}
	return true
}

// fetched ends a command that has found keys missing from memory. It returns false when the command is to be carried out again.
func (c *conn) fetched(w *reply, start int) bool {
	w.buf = w.buf[:start]
	if c.crowded {
		c.crowded = false
		w.error("OOM the keys of this command do not fit into memory together (anna.memory_bytes_max); ask for fewer at a time")
		return true
	}
	p := c.fetch
	c.fetch = nil
	c.fetches++
	p.again, p.halts = true, true
	c.halting = true
	if p.left.Add(-1) == 0 {
		c.finished(p)
	}
	return false
}

func (c *conn) arity(name string) {
	c.w.error("ERR wrong number of arguments for '" + name + "' command")
}

func (c *conn) unknown(args [][]byte) {
	name := strings.ToLower(string(args[0][:min(len(args[0]), 64)]))
	if name == "post" || name == "host:" {
		// A browser that was made to send HTTP here.
		c.server.malformed.Add(1)
		c.refuse("ERR this is not HTTP")
		return
	}
	if reason := c.server.refusals[name]; reason != "" {
		c.w.error("ERR Cloudburst does not do " + strings.ToUpper(name) + ": " + reason)
		c.client.refused = name == "multi"
		return
	}
	var text strings.Builder
	fmt.Fprintf(&text, "ERR unknown command '%s', with args beginning with: ", clean(args[0]))
	for _, arg := range args[1:min(len(args), 4)] {
		fmt.Fprintf(&text, "'%s' ", clean(arg))
	}
	c.w.error(text.String())
}

// clean returns the beginning of an argument as it can stand in an error.
func clean(arg []byte) string {
	const most = 64
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(string(arg[:min(len(arg), most)]), "?"))
}

func (c *conn) syntax() { c.w.error("ERR syntax error") }

// errorText returns an error as clients are told it: a code that they may know, and a sentence.
func errorText(err error) string {
	code := "ERR"
	switch wire.CodeOf(err) {
	case pb.Code_CODE_LATTICE_MISMATCH:
		code = "WRONGTYPE Operation against a key holding the wrong kind of value:"
	case pb.Code_CODE_UNAVAILABLE:
		code = "UNAVAILABLE"
	case pb.Code_CODE_DEADLINE_EXCEEDED:
		code = "TIMEOUT"
	case pb.Code_CODE_NO_RESOURCES:
		code = "OOM"
	}
	return code + " " + err.Error()
}

// checkKey returns an error for bytes that cannot be a key.
func checkKey(key []byte) error {
	switch {
	case len(key) == 0 || len(key) > anna.KeyBytesMax:
		return anna.CheckKey(string(key[:min(len(key), anna.KeyBytesMax+1)]))
	case !utf8.Valid(key):
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "the key %.64q is not UTF-8 text, as all keys of Cloudburst are", key)
	}
	return nil
}

// writableKey returns a key that is to be written to, which shares the buffer, and false, with the error answered, when it may not
// be written to.
func (c *conn) writableKey(key []byte) (string, bool) {
	err := checkKey(key)
	if err == nil {
		err = wire.CheckWrite(textOf(key))
	}
	if err != nil {
		c.w.error(errorText(err))
		return "", false
	}
	return textOf(key), true
}

// view lets read see what a key holds now, nil if nothing. It returns false when that is not in memory: the command will be
// carried out again and must not have done anything yet.
func (c *conn) view(key []byte, read func(*lattice.State)) bool {
	if checkKey(key) != nil || wire.CheckRead(textOf(key)) != nil {
		read(nil) // there is no such key, or none that a client may see
		return true
	}
	if c.server.store.View(textOf(key), read) {
		return true
	}
	if c.fetches == fetchesMax {
		c.crowded = true
		return false
	}
	if c.fetch == nil {
		c.fetch = c.loop.begin(c)
	}
	c.fetch.left.Add(1)
	c.server.store.Fetch(string(key), c.fetch)
	return false
}

// put begins a write, which is a part of p.
func (c *conn) put(p *pending, w kernel.Write) {
	p.left.Add(1)
	w.Ack = c.client.ack
	c.loop.put = w
	c.server.store.Write(&c.loop.put, p)
}

// textOf returns bytes as a string without a copy. The caller must not keep it longer than the bytes stay as they are.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
