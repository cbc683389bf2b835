package wire

import (
	"encoding/hex"
	"strings"

	"cloudburst/wire/pb"
)

const (
	// ReservedPrefix begins the keys that belong to Cloudburst itself. Clients do not write them, and listings leave them out
	// unless they are asked for by this prefix.
	ReservedPrefix = "cloudburst/"
	// ReservedEnd comes after all of them, and before every other key that comes after one of them.
	ReservedEnd = ReservedPrefix + "\xff" // no key has this byte, since keys are UTF-8
	// ResultPrefix begins the keys of the results of runs, which clients may read and delete.
	ResultPrefix = ReservedPrefix + "result/"
)

// Reserved reports whether a key belongs to Cloudburst itself.
func Reserved(key string) bool { return strings.HasPrefix(key, ReservedPrefix) }

// CheckWrite returns an error for a key that clients and functions must not write.
func CheckWrite(key string) error {
	if Reserved(key) {
		return Errorf(pb.Code_CODE_INVALID_ARGUMENT, "key %.64q: keys that begin with %q are Cloudburst's own; choose another", key, ReservedPrefix)
	}
	return nil
}

// CheckRead returns an error for a key that clients and functions must not read or delete: one of Cloudburst's own that is not
// the result of a run.
func CheckRead(key string) error {
	if strings.HasPrefix(key, ResultPrefix) {
		return nil
	}
	return CheckWrite(key)
}

// ResultKey returns the key under which the result of a run is kept, unless the caller has named one.
func (id RunID) ResultKey() string {
	key := make([]byte, 0, len(ResultPrefix)+2*len(id))
	return string(hex.AppendEncode(append(key, ResultPrefix...), id[:]))
}

// ParseResultKey is the inverse of ResultKey.
func ParseResultKey(key string) (id RunID, err error) {
	digits, ok := strings.CutPrefix(key, ResultPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(id)) {
		return id, Errorf(pb.Code_CODE_INVALID_ARGUMENT, "%.64q is not the key of a result: %q and %d hexadecimal digits", key, ResultPrefix, hex.EncodedLen(len(id)))
	}
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return id, Errorf(pb.Code_CODE_INVALID_ARGUMENT, "%q is not the key of a result: %v", key, err)
	}
	return id, nil
}
