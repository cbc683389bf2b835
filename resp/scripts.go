package resp

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // it is how the protocol names scripts
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"cloudburst/anna/kernel"
	"cloudburst/lattice"
)

// Lua is not run here. But client libraries release and extend their locks by scripts, always the same few, and each of these
// is a write to one key that depends on what the key holds: it is recognised and carried out as that.

const (
	// scriptBytesMax bounds a script that may be recognised.
	scriptBytesMax = 4 << 10
	// scriptNamesMax bounds the hashes of scripts that EVALSHA finds. Each way of writing a known script has its own.
	scriptNamesMax = 256
)

// script is one that is recognised. All have one key, whose value they compare with their first argument; they answer 0 when
// it is another.
type script struct {
	make  maker
	words int // arguments
}

var (
	releaseLock = &script{make: makeCompareDelete, words: 1}
	expireLock  = &script{make: makeCompareExpire, words: 2} // the second is milliseconds from now
	extendLock  = &script{make: makeCompareExtend, words: 3} // milliseconds more when the third is "0", from now otherwise
)

// knownScripts are by the beginning of the SHA-256 of their words, see digest.
var knownScripts = map[string]*script{
	"44d263ce3d76dddb": releaseLock, // get, compare, del in one condition: Redis's manual, redsync, redislock, Redlock
	"ea562d4edfaf9cb2": releaseLock, // the same with unlink
	"6d7afbaea4b259d9": expireLock,  // the same with pexpire
	"ec408cda11b542bc": releaseLock, // redis-py
	"d8fc55d58f49f255": extendLock,
	"acef95bc59591524": expireLock,
}

// digest returns what scripts are known by: a hash of the words of one, however it is spaced, quoted and commented.
func digest(text []byte) string {
	var words []byte
	for len(text) > 0 {
		switch c := text[0]; {
		case isSpace(c) || c == ';':
			text = text[1:]
			continue
		case bytes.HasPrefix(text, []byte("--")):
			end := bytes.IndexByte(text, '\n')
			if end < 0 {
				end = len(text)
			}
			text = text[end:]
			continue
		case c == '"' || c == '\'':
			end := bytes.IndexByte(text[1:], c)
			if end < 0 {
				end = len(text) - 1
			}
			words = append(append(append(words, '"'), bytes.ToLower(text[1:1+end])...), '"')
			text = text[min(len(text), end+2):]
		case isWord(c):
			n := 1
			for n < len(text) && isWord(text[n]) {
				n++
			}
			words = append(words, text[:n]...)
			text = text[n:]
		default:
			words = append(words, c)
			text = text[1:]
			if bytes.IndexByte([]byte("=~<>"), c) >= 0 && len(text) > 0 && text[0] == '=' { // one operator, such as ==
				words = append(words, '=')
				text = text[1:]
			}
		}
		words = append(words, ' ')
	}
	sum := sha256.Sum256(words)
	return hex.EncodeToString(sum[:8])
}

func isWord(c byte) bool {
	return c == '_' || c == '.' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// scripts are the hashes by which clients name scripts that were recognised. Safe for concurrent use.
type scripts struct {
	mu    sync.Mutex
	named map[string]*script
}

// recognise returns the script with this source, nil if it is not known, and the hash that clients name it by.
func (s *scripts) recognise(text []byte) (*script, string) {
	if len(text) > scriptBytesMax {
		return nil, ""
	}
	known := knownScripts[digest(text)]
	if known == nil {
		return nil, ""
	}
	sum := sha1.Sum(text) //nolint:gosec // see above
	name := hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.named) < scriptNamesMax {
		s.named[name] = known
	}
	return known, name
}

func (s *scripts) find(name []byte) *script {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.named[string(bytes.ToLower(name[:min(len(name), 2*sha1.Size)]))]
}

func evalCommand(c *conn, args [][]byte) {
	known, _ := c.server.scripts.recognise(args[1])
	if known == nil {
		c.w.error("ERR Cloudburst does not do EVAL: " + noScripts)
		return
	}
	c.runScript(known, args)
}

func evalshaCommand(c *conn, args [][]byte) {
	known := c.server.scripts.find(args[1])
	if known == nil {
		c.w.error("NOSCRIPT No matching script. Please use EVAL.")
		return
	}
	c.runScript(known, args)
}

func (c *conn) runScript(known *script, args [][]byte) {
	switch n, ok := parseInt(args[2]); {
	case !ok:
		c.w.error("ERR " + errNotInteger.Message)
		return
	case n != 1 || len(args) != 4+known.words:
		c.w.error(fmt.Sprintf("ERR this script takes 1 key and %d arguments", known.words))
		return
	}
	var by int64
	if known.words > 1 {
		var ok bool
		if by, ok = parseInt(args[5]); !ok {
			c.w.error("ERR " + errNotInteger.Message)
			return
		}
	}
	var flags options
	if known.words > 2 && string(args[6]) == "0" {
		flags = increment
	}
	c.compareAndChange("the script of a lock", known.make, args[3], args[4], by, flags)
}

// cadCommand is CLOUDBURST.CAD key value: it deletes a key that holds a value, and nothing else.
func cadCommand(c *conn, args [][]byte) {
	c.compareAndChange("CLOUDBURST.CAD", makeCompareDelete, args[1], args[2], 0, 0)
}

// compareAndChange makes a change of a key that holds a value, and answers 1, or 0 when it holds something else.
func (c *conn) compareAndChange(what string, how maker, key, value []byte, by int64, flags options) {
	if !c.atomic(what) {
		return
	}
	if name, ok := c.writableKey(key); ok {
		p := c.loop.begin(c)
		p.answer = answerSum
		p.change = change{make: how, flags: flags, value: bytes.Clone(value), by: by}
		c.put(p, kernel.Write{Key: name, Make: p})
		c.await(p)
	}
}

// holds reports whether the key holds the value of the change.
func (ch *change) holds(held *lattice.State, nowMillis int64) (bool, error) {
	ch.found.now = nowMillis
	if ch.found.take(held); ch.found.kind == lattice.TypeNone || ch.found.err != nil {
		return false, ch.found.err
	}
	text, err := ch.found.appendText(nil)
	return err == nil && bytes.Equal(text, ch.value), err
}

func makeCompareDelete(ch *change, held *lattice.State, stamp lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	if same, err := ch.holds(held, nowMillis); !same {
		return nil, 0, err
	}
	return lattice.Delete(stamp), 1, nil
}

func makeCompareExpire(ch *change, held *lattice.State, stamp lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	if same, err := ch.holds(held, nowMillis); !same {
		return nil, 0, err
	}
	return ch.expireIn(ch.by, stamp, nowMillis)
}

func makeCompareExtend(ch *change, held *lattice.State, stamp lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	if same, err := ch.holds(held, nowMillis); !same || ch.found.expires == 0 {
		return nil, 0, err
	}
	by := ch.by
	if ch.flags.has(increment) {
		by += ch.found.expires - nowMillis
	}
	return ch.expireIn(by, stamp, nowMillis)
}

// expireIn returns the delta of a key that lives for some milliseconds more.
func (ch *change) expireIn(millis int64, stamp lattice.Timestamp, nowMillis int64) (*lattice.State, int64, error) {
	at, ok := expiryAt(millis, "px", nowMillis)
	switch {
	case !ok:
		return nil, 0, errExpiry
	case at <= nowMillis:
		return lattice.Delete(stamp), 1, nil
	}
	return lattice.ExpireAt(lattice.Timestamp{}, at), 1, nil
}

// scriptCommand is SCRIPT LOAD | EXISTS | FLUSH.
func scriptCommand(c *conn, args [][]byte) {
	switch sub := optionOf(args[1]); {
	case sub == "load" && len(args) == 3:
		known, name := c.server.scripts.recognise(args[2])
		if known == nil {
			c.w.error("ERR Cloudburst does not do SCRIPT LOAD: " + noScripts)
			return
		}
		c.w.text(name)
	case sub == "exists" && len(args) > 2:
		c.w.array(len(args) - 2)
		for _, name := range args[2:] {
			c.w.flag(c.server.scripts.find(name) != nil)
		}
	case sub == "flush" && len(args) <= 3:
		c.server.scripts.forget()
		c.w.ok()
	default:
		c.w.error("ERR unknown subcommand or wrong number of arguments for 'script|" + clean(args[1]) + "': there are LOAD, EXISTS and FLUSH")
	}
}

func (s *scripts) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.named)
}
