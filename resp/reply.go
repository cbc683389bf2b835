package resp

import (
	"bytes"
	"math"
	"strconv"
)

// reply is where the answers of commands are put, in the form of one version of the protocol.
type reply struct {
	buf []byte
	// three is set when the client asked for RESP3 with HELLO.
	three bool
}

func (w *reply) line(kind byte, text string) {
	w.buf = append(w.buf, kind)
	w.buf = append(w.buf, text...)
	w.buf = append(w.buf, '\r', '\n')
}

func (w *reply) head(kind byte, n int64) {
	w.buf = append(w.buf, kind)
	if n >= 0 && n < 10 {
		w.buf = append(w.buf, byte('0'+n))
	} else {
		w.buf = strconv.AppendInt(w.buf, n, 10)
	}
	w.buf = append(w.buf, '\r', '\n')
}

// ok answers "OK".
func (w *reply) ok() { w.buf = append(w.buf, "+OK\r\n"...) }

// simple answers a status, a short text without line ends.
func (w *reply) simple(text string) { w.line('+', text) }

// error answers an error: a code in capitals and a sentence.
func (w *reply) error(text string) {
	w.buf = append(w.buf, '-')
	from := len(w.buf)
	w.buf = append(w.buf, text...)
	for i := from; i < len(w.buf); i++ {
		if c := w.buf[i]; c == '\r' || c == '\n' {
			w.buf[i] = ' '
		}
	}
	w.buf = append(w.buf, '\r', '\n')
}

func (w *reply) integer(n int64) { w.head(':', n) }

// flag answers 1 or 0.
func (w *reply) flag(is bool) {
	if is {
		w.buf = append(w.buf, ":1\r\n"...)
		return
	}
	w.buf = append(w.buf, ":0\r\n"...)
}

func (w *reply) bulk(value []byte) {
	w.head('$', int64(len(value)))
	w.buf = append(w.buf, value...)
	w.buf = append(w.buf, '\r', '\n')
}

func (w *reply) text(value string) {
	w.head('$', int64(len(value)))
	w.buf = append(w.buf, value...)
	w.buf = append(w.buf, '\r', '\n')
}

// verbatim answers text for people.
func (w *reply) verbatim(value string) {
	if !w.three {
		w.text(value)
		return
	}
	w.head('=', int64(len(value)+4))
	w.buf = append(w.buf, "txt:"...)
	w.buf = append(w.buf, value...)
	w.buf = append(w.buf, '\r', '\n')
}

// null answers that there is nothing.
func (w *reply) null() {
	if w.three {
		w.buf = append(w.buf, "_\r\n"...)
		return
	}
	w.buf = append(w.buf, "$-1\r\n"...)
}

// nullArray answers with the null of a list.
func (w *reply) nullArray() {
	if w.three {
		w.buf = append(w.buf, "_\r\n"...)
		return
	}
	w.buf = append(w.buf, "*-1\r\n"...)
}

// double answers a floating-point number.
func (w *reply) double(f float64) {
	var scratch [32]byte
	text := appendFloat(scratch[:0], f)
	if w.three {
		w.buf = append(w.buf, ',')
		w.buf = append(w.buf, text...)
		w.buf = append(w.buf, '\r', '\n')
		return
	}
	w.bulk(text)
}

// array begins a list of n answers.
func (w *reply) array(n int) { w.head('*', int64(n)) }

// set begins a list of n answers without an order.
func (w *reply) set(n int) {
	if w.three {
		w.head('~', int64(n))
		return
	}
	w.head('*', int64(n))
}

// pairs begins n keys, each followed by its value.
func (w *reply) pairs(n int) {
	if w.three {
		w.head('%', int64(n))
		return
	}
	w.head('*', int64(2*n))
}

// appendFloat writes a number as Redis does since 7.2: the shortest digits that read as the same, a whole number without a point,
// and an exponent where the digits are far from the point.
func appendFloat(buf []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(buf, "inf"...)
	case math.IsInf(f, -1):
		return append(buf, "-inf"...)
	case f == 0 && math.Signbit(f):
		return append(buf, "-0"...)
	case f == math.Trunc(f) && math.Abs(f) < 1<<62:
		return strconv.AppendInt(buf, int64(f), 10)
	}
	from := len(buf)
	buf = strconv.AppendFloat(buf, f, 'e', -1, 64)
	at := bytes.LastIndexByte(buf, 'e')
	exponent, _ := strconv.Atoi(string(buf[at+1:]))
	digits := at - from - bytes.Count(buf[from:at], []byte{'-'}) - bytes.Count(buf[from:at], []byte{'.'})
	last := exponent - digits + 1 // of the last digit
	if last >= 0 && exponent < digits+7 || last < 0 && (last > -7 || exponent > -4 && exponent < 4) {
		return strconv.AppendFloat(buf[:from], f, 'f', -1, 64)
	}
	buf = append(buf[:at+1], '+')
	if exponent < 0 {
		buf[at+1], exponent = '-', -exponent
	}
	return strconv.AppendInt(buf, int64(exponent), 10)
}
