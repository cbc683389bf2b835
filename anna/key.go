package anna

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// KeyBytesMax bounds a key.
	KeyBytesMax = 4 << 10
	// tokenBytesMax bounds a key as it is written in a subject. The log keeps all its subjects in memory, so a longer key is
	// named by its hash there, and is in the record itself.
	tokenBytesMax = 200
	// escape begins two hexadecimal digits, or hashed.
	escape = '='
	hashed = 'h'
)

// CheckKey returns an error when nothing can be stored under a key.
func CheckKey(key string) error {
	switch {
	case key == "":
		return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "the key is empty; a key is 1 to %d bytes", KeyBytesMax)
	case len(key) > KeyBytesMax:
		return wire.Errorf(pb.Code_CODE_TOO_LARGE, "the key %.32q… is %d bytes; the limit is %d", key, len(key), KeyBytesMax)
	}
	return nil
}

// slotOf returns the slot of a key: FNV-1a, mixed so that keys which differ in the last byte only are spread as well. Every
// node and every version must agree on it.
func slotOf(key string, slots int) uint16 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	h ^= h >> 16
	return uint16(uint64(h) * uint64(slots) >> 32)
}

// appendToken appends a key as one token of a subject.
func appendToken(to []byte, key string) []byte {
	start := len(to)
	for i := range len(key) {
		if c := key[i]; literal(c) {
			to = append(to, c)
		} else {
			const digits = "0123456789ABCDEF"
			to = append(to, escape, digits[c>>4], digits[c&15])
		}
		if len(to)-start > tokenBytesMax {
			sum := sha256.Sum256([]byte(key))
			return hex.AppendEncode(append(to[:start], escape, hashed), sum[:])
		}
	}
	return to
}

// hashedToken reports whether the token of a key is its hash.
func hashedToken(key string) bool {
	n := len(key)
	for i := 0; i < len(key) && n <= tokenBytesMax; i++ {
		if !literal(key[i]) {
			n += 2
		}
	}
	return n > tokenBytesMax
}

// literal reports whether a byte of a key stands for itself in a subject.
func literal(c byte) bool {
	return c > ' ' && c < 0x7f && c != '.' && c != '*' && c != '>' && c != escape && c != '"' && c != '\\'
}

// keyOf is the inverse of appendToken; it returns "" for a key that is only in its record, and false for what is no token.
func keyOf(token string) (string, bool) {
	at := strings.IndexByte(token, escape)
	if at < 0 {
		return token, token != ""
	}
	if len(token) > 1 && at == 0 && token[1] == hashed {
		return "", true
	}
	var key strings.Builder
	for {
		key.WriteString(token[:at])
		if len(token) < at+3 {
			return "", false
		}
		c, err := strconv.ParseUint(token[at+1:at+3], 16, 8)
		if err != nil {
			return "", false
		}
		key.WriteByte(byte(c))
		token = token[at+3:]
		if at = strings.IndexByte(token, escape); at < 0 {
			key.WriteString(token)
			return key.String(), true
		}
	}
}

// Subjects of the log: PREFIX.PARTITION.SLOT.k.KEY for the records of a key, PREFIX.PARTITION.SLOT.c.UPLOAD.NUMBER for chunks.
const (
	recordKind = 'k'
	chunkKind  = 'c'
)

func appendSubject(to []byte, prefix string, partition int, slot uint16, kind byte) []byte {
	to = append(to, prefix...)
	to = append(to, '.')
	to = strconv.AppendInt(to, int64(partition), 10)
	to = append(to, '.')
	to = strconv.AppendUint(to, uint64(slot), 10)
	return append(to, '.', kind, '.')
}

func appendRecordSubject(to []byte, prefix string, partition int, slot uint16, key string) []byte {
	return appendToken(appendSubject(to, prefix, partition, slot, recordKind), key)
}

func chunkSubject(prefix string, upload Upload, number string) string {
	subject := appendSubject(nil, prefix, upload.Partition, upload.Slot, chunkKind)
	return string(append(subject, upload.Name...)) + "." + number
}

// parseSubject takes the subject of a record apart.
func parseSubject(subject, prefix string) (slot uint16, token string, ok bool) {
	rest, found := strings.CutPrefix(subject, prefix)
	if !found || rest == "" || rest[0] != '.' {
		return 0, "", false
	}
	_, rest, found = strings.Cut(rest[1:], ".")
	if !found {
		return 0, "", false
	}
	number, rest, found := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(number, 10, 16)
	if !found || err != nil || len(rest) < 3 || rest[0] != recordKind || rest[1] != '.' {
		return 0, "", false
	}
	return uint16(n), rest[2:], true
}
