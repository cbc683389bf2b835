package registry

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"cloudburst/wire/pb"
)

// NameMax bounds the characters of a name.
const NameMax = 128

// ErrNameInvalid is returned for a name that no function or DAG can have.
var ErrNameInvalid = errors.New("invalid name")

// CheckName returns an error wrapping ErrNameInvalid when name cannot be that of a function or DAG. Names have 1 to 128 letters
// and digits of any script, and _ - . : / < > (which covers Python's qualified names); "@" parts a name from a version.
func CheckName(what, name string) error {
	bad := ""
	switch characters := utf8.RuneCountInString(name); {
	case name == "":
		bad = "it is empty"
	case !utf8.ValidString(name):
		bad = "it is not UTF-8"
	case characters > NameMax:
		bad = "it has " + strconv.Itoa(characters) + " characters"
	default:
		for _, c := range name {
			if !nameCharacter(c) {
				bad = "it has " + strconv.QuoteRune(c)
				break
			}
		}
	}
	if bad == "" {
		return nil
	}
	if len(name) > NameMax {
		name = strings.ToValidUTF8(name[:NameMax], "") + "…"
	}
	return refuse(ErrNameInvalid, pb.Code_CODE_INVALID_ARGUMENT, "%q cannot be the name of a %s: %s; use 1 to %d letters, digits and _ - . : / < >", name, what, bad, NameMax)
}

func nameCharacter(c rune) bool {
	return unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.IsMark(c) || strings.ContainsRune("_-.:/<>", c)
}

// encodeName returns name as one token of a NATS subject: everything but ASCII letters, digits, "_" and "-" becomes "=" and two
// hexadecimal digits a byte.
func encodeName(name string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(name))
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			b.WriteByte(c)
		default:
			b.WriteByte('=')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// splitRef cuts "sq@3" into name and version; a reference without a version has version 0. ok is false when what follows the @
// is no version.
func splitRef(ref string) (name string, version uint64, ok bool) {
	at := strings.LastIndexByte(ref, '@')
	if at < 0 {
		return ref, 0, true
	}
	version, err := strconv.ParseUint(ref[at+1:], 10, 64)
	return ref[:at], version, err == nil && version > 0
}
