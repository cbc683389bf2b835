package resp

import (
	"bytes"
	"fmt"
	"slices"

	"cloudburst/wire"
)

// Limits of a request. Crossing one ends the connection, since what follows cannot be trusted.
const (
	// argumentBytesMax bounds one argument, and so a value.
	argumentBytesMax = wire.ValueBytesMax
	// argumentsMax bounds the arguments of one command.
	argumentsMax = 1 << 20
	// requestBytesMax bounds one command as it travels.
	requestBytesMax = wire.PayloadBytesMax
	// inlineBytesMax bounds a command that is one line of text, lengthBytesMax the line of a length.
	inlineBytesMax = 64 << 10
	lengthBytesMax = 32
	// strangerArgumentsMax and strangerBytesMax are the limits for a client that has not said its password.
	strangerArgumentsMax = 10
	strangerBytesMax     = 16 << 10
	// spansKeepMax and argsKeepMax bound the memory for arguments that is kept from command to command.
	spansKeepMax = 1024
	argsKeepMax  = 4096
)

// protocolError says how a client breaks the protocol; the connection ends with it.
type protocolError string

// Error implements error.
func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// request is a command being read. It may arrive in any number of pieces; what has been understood is not read again.
// Nothing is allocated for what a length only announces.
type request struct {
	spans []span // the arguments so far, as places in the buffer
	at    int    // where the rest begins
	want  int    // arguments to come
	begun bool   // the number of arguments is known
	need  int    // bytes that the buffer must hold before it is worth another look
	bound bool   // the limits for strangers hold

	// args are the arguments of all commands since the last release; they share the buffer.
	args [][]byte
}

type span struct{ from, to int }

// release forgets the arguments of commands that are done with.
func (r *request) release() {
	clear(r.args)
	if r.args = r.args[:0]; cap(r.args) > argsKeepMax {
		r.args = nil
	}
}

// next looks for a command at the start of buf, which must begin with what it began with last time, until it has found one.
// It returns how many bytes the command takes, 0 when it is not all there. Its arguments are appended to r.args; there may be
// none, which asks for nothing.
func (r *request) next(buf []byte) (n int, err error) {
	if len(buf) < r.need || len(buf) == 0 {
		return 0, nil
	}
	if !r.begun {
		if buf[0] != '*' {
			return r.inline(buf)
		}
		line, at, err := r.line(buf, 1)
		if at == 0 || err != nil {
			return 0, err
		}
		count, ok := parseInt(line)
		switch {
		case !ok || count > argumentsMax:
			return 0, protocolError("invalid multibulk length")
		case r.bound && count > strangerArgumentsMax:
			return 0, protocolError("unauthenticated multibulk length")
		case count <= 0:
			r.forget()
			return at, nil
		}
		r.want, r.at, r.begun = int(count), at, true
	}
	for r.want > 0 {
		if r.at == len(buf) {
			return 0, nil
		}
		if buf[r.at] != '$' {
			return 0, protocolError(fmt.Sprintf("expected '$', got '%s'", printable(buf[r.at])))
		}
		line, at, err := r.line(buf, r.at+1)
		if at == 0 || err != nil {
			return 0, err
		}
		length, ok := parseInt(line)
		switch {
		case !ok || length < 0 || length > argumentBytesMax:
			return 0, protocolError("invalid bulk length")
		case r.bound && length > strangerBytesMax:
			return 0, protocolError("unauthenticated bulk length")
		}
		end := at + int(length)
		if end+2 > requestBytesMax {
			return 0, protocolError(fmt.Sprintf("command of more than %d bytes", requestBytesMax))
		}
		if end+2 > len(buf) {
			r.need = end + 2
			return 0, nil
		}
		if buf[end] != '\r' || buf[end+1] != '\n' {
			return 0, protocolError("an argument does not end where its length says")
		}
		r.spans = append(r.spans, span{at, end})
		r.at = end + 2
		r.want--
	}
	r.args = slices.Grow(r.args, len(r.spans))
	for _, s := range r.spans {
		r.args = append(r.args, buf[s.from:s.to:s.to])
	}
	n = r.at
	r.forget()
	return n, nil
}

// forget makes r ready for another command.
func (r *request) forget() {
	r.spans = r.spans[:0]
	r.at, r.want, r.need, r.begun = 0, 0, 0, false
	if cap(r.spans) > spansKeepMax {
		r.spans = nil
	}
}

// line returns the line at from, and where the next begins; 0 while its end is not there.
func (r *request) line(buf []byte, from int) (line []byte, next int, err error) {
	// A length has few digits, so its end is near.
	for i := from; i < len(buf); i++ {
		if buf[i] != '\r' {
			continue
		}
		if i+1 == len(buf) {
			break
		}
		if buf[i+1] != '\n' {
			return nil, 0, protocolError("a line ends in \\r without \\n")
		}
		return buf[from:i], i + 2, nil
	}
	if len(buf)-from > lengthBytesMax {
		return nil, 0, protocolError("a length of too many digits")
	}
	return nil, 0, nil
}

// inline reads a command that is a line of text, as people type it.
func (r *request) inline(buf []byte) (n int, err error) {
	end := bytes.IndexByte(buf, '\n')
	limit := inlineBytesMax
	if r.bound {
		limit = strangerBytesMax
	}
	if end > limit || end < 0 && len(buf) > limit {
		return 0, protocolError("too big inline request")
	}
	if end < 0 {
		return 0, nil
	}
	args, ok := splitWords(bytes.TrimSuffix(buf[:end], []byte{'\r'}))
	if !ok {
		return 0, protocolError("unbalanced quotes in request")
	}
	r.args = append(r.args, args...)
	r.forget()
	return end + 1, nil
}

// splitWords cuts a line into words: "quoted" ones with escapes, 'quoted' ones without but \', and plain ones.
func splitWords(line []byte) (words [][]byte, ok bool) {
	for {
		line = bytes.TrimLeft(line, " \t\r\n\v\f\x00")
		if len(line) == 0 {
			return words, true
		}
		word := make([]byte, 0, 16)
		for len(line) > 0 && !isSpace(line[0]) {
			switch c := line[0]; c {
			case '"', '\'':
				quoted, n := unquote(line)
				if n == 0 || n < len(line) && !isSpace(line[n]) {
					return nil, false
				}
				word, line = append(word, quoted...), line[n:]
			default:
				word, line = append(word, c), line[1:]
			}
		}
		words = append(words, word)
	}
}

// unquote returns what is between the quotes that line begins with, and how many bytes it takes with them; 0 without an end.
func unquote(line []byte) (text []byte, n int) {
	quote := line[0]
	for i := 1; i < len(line); i++ {
		c := line[i]
		switch {
		case c == quote:
			return text, i + 1
		case c == '\\' && quote == '\'' && i+1 < len(line) && line[i+1] == '\'':
			i++
			c = '\''
		case c == '\\' && quote == '"' && i+1 < len(line):
			i++
			c = line[i]
			if high, low := hexDigit(line, i+1), hexDigit(line, i+2); c == 'x' && high >= 0 && low >= 0 {
				c = byte(high<<4 | low)
				i += 2
			} else if at := bytes.IndexByte([]byte("nrtba"), c); at >= 0 {
				c = "\n\r\t\b\a"[at]
			}
		}
		text = append(text, c)
	}
	return nil, 0
}

func hexDigit(line []byte, at int) int {
	if at >= len(line) {
		return -1
	}
	switch c := line[at]; {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' || c == 0 }

// printable returns a byte as it can stand in a line of text.
func printable(c byte) string {
	if c < ' ' || c > '~' {
		return fmt.Sprintf("\\x%02x", c)
	}
	return string(rune(c))
}

// parseInt reads a decimal number as Redis does: no sign but -, no leading zeros, nothing around it.
func parseInt(text []byte) (n int64, ok bool) {
	digits := text
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		digits = text[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && (len(digits) > 1 || negative) {
		return 0, false
	}
	var u uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		u = u*10 + uint64(c-'0')
	}
	switch {
	case negative && u <= 1<<63:
		return -int64(u), true
	case !negative && u < 1<<63:
		return int64(u), true
	}
	return 0, false
}
