package embedded

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
)

// The files of a stream are a sequence of records, as nats-server writes them (server/filestore.go):
//
//	length 4, with a bit for headers | sequence 8, with bits | time 8 | length of the subject 2 | subject
//	[| length of the headers 4 | headers] | message | checksum 8
//
// all little-endian. What is checked here is what NATS checks when it reads a stream; but NATS cuts a file off at the first record that is
// not right, with all that follows.
const (
	recordHead      = 22
	recordChecksum  = 8
	recordBytesMax  = 32 << 20
	headersBit      = 1 << 31
	erasedBit       = 1 << 63
	tombstoneBit    = 1 << 62
	blockSuffix     = ".blk"
	messagesFolder  = "msgs"
	indexFile       = "index.db"
	compressedStart = "cmp"
)

// span is a part of a file.
type span struct{ from, to int }

// block is what one file of a stream holds.
type block struct {
	path    string
	number  int
	size    int
	whole   []span   // of records that are right, in order
	broken  []span   // what lies between and behind them
	present []uint64 // sequences of messages
	removed []uint64 // sequences of messages that were removed later
}

// torn reports whether nothing but the end of the file is not right: a write that the end of the process or the machine has cut short.
func (b *block) torn() bool {
	return len(b.broken) == 1 && b.broken[0].to == b.size && (len(b.whole) == 0 || b.whole[len(b.whole)-1].to == b.broken[0].from)
}

// scanned is what the files of one stream hold.
type scanned struct {
	name   string
	folder string
	blocks []block
}

// scan reads the files of a stream.
func scan(folder string) (*scanned, error) {
	s := &scanned{name: filepath.Base(folder), folder: folder}
	entries, err := os.ReadDir(filepath.Join(folder, messagesFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("check stream %s: %w", s.name, err)
	}
	for _, entry := range entries {
		number, err := strconv.Atoi(strings.TrimSuffix(entry.Name(), blockSuffix))
		if err == nil && strings.HasSuffix(entry.Name(), blockSuffix) && entry.Type().IsRegular() {
			s.blocks = append(s.blocks, block{path: filepath.Join(folder, messagesFolder, entry.Name()), number: number})
		}
	}
	slices.SortFunc(s.blocks, func(a, b block) int { return a.number - b.number })
	for i := range s.blocks {
		if err := s.blocks[i].read(s.name); err != nil {
			return nil, fmt.Errorf("check stream %s: %w", s.name, err)
		}
	}
	return s, nil
}

func (b *block) read(stream string) error {
	data, err := os.ReadFile(b.path)
	if err != nil {
		return err
	}
	b.size = len(data)
	if bytes.HasPrefix(data, []byte(compressedStart)) {
		return nil // this node writes none; NATS checks them
	}
	key := sha256.Sum256([]byte(stream + "-" + strconv.Itoa(b.number)))
	at, bad := 0, -1
	for at < len(data) {
		length := checkRecord(data[at:], key[:])
		if length == 0 {
			if bad < 0 {
				bad = at
			}
			at++
			continue
		}
		if bad >= 0 {
			b.broken = append(b.broken, span{bad, at})
			bad = -1
		}
		b.take(data[at : at+length])
		if n := len(b.whole); n > 0 && b.whole[n-1].to == at {
			b.whole[n-1].to = at + length
		} else {
			b.whole = append(b.whole, span{at, at + length})
		}
		at += length
	}
	if bad >= 0 {
		b.broken = append(b.broken, span{bad, at})
	}
	return nil
}

// checkRecord returns the length of the record that some bytes begin with; 0 = they begin with none.
func checkRecord(data, key []byte) int {
	if len(data) < recordHead+recordChecksum {
		return 0
	}
	length := binary.LittleEndian.Uint32(data)
	headers := length&headersBit != 0
	length &^= headersBit
	subject := int(binary.LittleEndian.Uint16(data[20:]))
	skip := subject
	if headers {
		skip += 4
	}
	if length < uint32(recordHead+skip+recordChecksum) || length > recordBytesMax || int(length) > len(data) {
		return 0
	}
	body := data[recordHead:length]
	hash, err := highwayhash.New64(key)
	if err != nil {
		return 0 // the key has the right length
	}
	_, _ = hash.Write(data[4:20]) // a hash takes everything
	_, _ = hash.Write(body[:subject])
	_, _ = hash.Write(body[skip : len(body)-recordChecksum])
	if !bytes.Equal(hash.Sum(nil), body[len(body)-recordChecksum:]) {
		return 0
	}
	return int(length)
}

// take notes what a record says.
func (b *block) take(record []byte) {
	sequence := binary.LittleEndian.Uint64(record[4:])
	switch {
	case sequence&tombstoneBit != 0:
		b.removed = append(b.removed, sequence&^tombstoneBit)
	case sequence&erasedBit != 0:
		b.removed = append(b.removed, sequence&^erasedBit)
	case sequence != 0:
		b.present = append(b.present, sequence)
	}
}

// last returns the highest sequence that the stream has given out, as far as the files say.
func (s *scanned) last() (last uint64) {
	for i := range s.blocks {
		for _, sequences := range [][]uint64{s.blocks[i].present, s.blocks[i].removed} {
			for _, sequence := range sequences {
				last = max(last, sequence)
			}
		}
	}
	return last
}

// live returns how many messages of a range of sequences are there.
func (s *scanned) live(from, to uint64) (live uint64) {
	removed := map[uint64]bool{}
	for i := range s.blocks {
		for _, sequence := range s.blocks[i].removed {
			removed[sequence] = true
		}
	}
	for i := range s.blocks {
		for _, sequence := range s.blocks[i].present {
			if sequence >= from && sequence <= to && !removed[sequence] {
				live++
			}
		}
	}
	return live
}

// damage says what is not right in the files themselves, a sentence each. The end of the last file may be a write that was cut short, of
// a message that was never acknowledged.
func (s *scanned) damage() (found []string) {
	for i := range s.blocks {
		b := &s.blocks[i]
		if len(b.broken) == 0 || i == len(s.blocks)-1 && b.torn() {
			continue
		}
		lost := 0
		for _, part := range b.broken {
			lost += part.to - part.from
		}
		found = append(found, fmt.Sprintf("stream %s: %d of %d bytes in %s are not what was written, from byte %d on",
			s.name, lost, b.size, b.path, b.broken[0].from))
	}
	return found
}

// salvage writes the files that are damaged again, with the records that are right. What was there goes to a folder of its own. It is
// undone by nothing: the caller has been told to.
func (s *scanned) salvage(kept string) error {
	for i := range s.blocks {
		b := &s.blocks[i]
		if len(b.broken) == 0 {
			continue
		}
		if err := b.salvage(filepath.Join(kept, s.name)); err != nil {
			return fmt.Errorf("take what is left of %s: %w", b.path, err)
		}
	}
	// NATS makes it again from what the files hold.
	if err := os.Remove(filepath.Join(s.folder, messagesFolder, indexFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take what is left of stream %s: %w", s.name, err)
	}
	return nil
}

func (b *block) salvage(kept string) error {
	data, err := os.ReadFile(b.path)
	if err != nil {
		return err
	}
	var right []byte
	for _, part := range b.whole {
		right = append(right, data[part.from:part.to]...)
	}
	if err := os.MkdirAll(kept, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(kept, filepath.Base(b.path)), data, 0o600); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(b.path), ".salvaged-*")
	if err != nil {
		return err
	}
	_, err = file.Write(right)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), b.path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the error says what matters
	}
	return err
}
