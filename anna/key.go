package anna

import (
	"fmt"

	"cloudburst/anna/kernel"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// KeyBytesMax bounds a key.
const KeyBytesMax = 4 << 10

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

// Subjects of the log: PREFIX.PARTITION.r for records, PREFIX.PARTITION.c.SLOT.UPLOAD.NUMBER for chunks.

func recordSubject(prefix string, partition int) string {
	return fmt.Sprintf("%s.%d.r", prefix, partition)
}

func chunkSubject(prefix string, upload kernel.Upload, number string) string {
	return chunksSubject(prefix, upload.Partition) + fmt.Sprintf(".%d.%s.%s", upload.Slot, upload.Name, number)
}

// chunksSubject begins the subjects of all chunks of a stream.
func chunksSubject(prefix string, partition int) string {
	return fmt.Sprintf("%s.%d.c", prefix, partition)
}
