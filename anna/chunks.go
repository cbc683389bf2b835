package anna

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/anna/kernel"
	"cloudburst/anna/record"
	"cloudburst/lattice"
	"cloudburst/wire"
)

// chunksAhead bounds the chunks of one state that are under way at a time.
const chunksAhead = 16

// upload publishes a state that is too large for one record: its chunks, and when the log has them all the record that names
// them. What fails in between leaves chunks that no record names; they are swept at a later start.
func (p *publisher) upload(ctx context.Context, m *kernel.Publish, now time.Time) error {
	e := &m.Entries[0]
	data := wire.AppendState(nil, e.State)
	if len(data) > record.StateBytesMax {
		return fmt.Errorf("key %.64q holds %d bytes; the limit is %d", e.Key, len(data), record.StateBytesMax)
	}
	up := kernel.Upload{Slot: e.Slot, Partition: m.Partition, Name: uploadName(now, p.publisher, m.ID)}
	c := &record.Chunks{Upload: up.Name, Bytes: len(data), Latest: e.State.Latest()}
	if e.State.Lattice != nil {
		c.Type = e.State.Lattice.Type()
	}
	var waiting []jetstream.PubAckFuture
	first := uint64(0)
	for len(data) > 0 || len(waiting) > 0 {
		if len(data) > 0 {
			chunk := data[:min(chunkBytes, len(data))]
			data = data[len(chunk):]
			subject := chunkSubject(p.log.cfg.Prefix, up, strconv.Itoa(c.Count))
			future, err := p.log.conn.JetStream.PublishMsgAsync(&nats.Msg{Subject: subject, Data: chunk})
			if err != nil {
				return err
			}
			p.spend(len(chunk))
			c.Count++
			waiting = append(waiting, future)
		}
		if len(waiting) < chunksAhead && len(data) > 0 {
			continue
		}
		sequence, err := stored(ctx, waiting[0])
		if err != nil {
			return err
		}
		p.step(&kernel.Advanced{Publish: m.ID, Partition: m.Partition, Sequence: sequence})
		first = min(cmp.Or(first, sequence), sequence)
		waiting = waiting[1:]
	}
	body := record.AppendChunked(record.AppendHead(nil, p.head(m)), e.Key, e.Whole, c)
	future, err := p.log.conn.JetStream.PublishMsgAsync(&nats.Msg{Subject: p.log.subjects[m.Partition], Data: body})
	if err != nil {
		return err
	}
	sequence, err := stored(ctx, future)
	if err != nil {
		return err
	}
	// The others may have taken this node for gone meanwhile, and not have known that the chunks are needed.
	held, err := p.log.extent(ctx, m.Partition)
	if err == nil && held.first > first {
		err = errChunksLost
	}
	if err != nil {
		return err
	}
	p.step(&kernel.Acknowledged{Publish: m.ID, Partition: m.Partition, Sequence: sequence, Upload: up.Name})
	return nil
}

var errChunksLost = errors.New("the log was cut off behind the first chunks before it had the last")

// stored waits until the log has a message, and returns its sequence.
func stored(ctx context.Context, future jetstream.PubAckFuture) (uint64, error) {
	select {
	case ack := <-future.Ok():
		return ack.Sequence, nil
	case err := <-future.Err():
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// uploadName names the chunks of one state: when they were written, in hexadecimal seconds, and by whom.
func uploadName(now time.Time, publisher, id uint64) string {
	return fmt.Sprintf("%x-%x-%x", now.Unix(), publisher, id)
}

// uploadTime is the inverse of uploadName.
func uploadTime(name string) (time.Time, bool) {
	first, _, _ := strings.Cut(name, "-")
	seconds, err := strconv.ParseInt(first, 16, 64)
	return time.Unix(seconds, 0), err == nil
}

// download reads the chunks of a state.
func (l *streams) download(ctx context.Context, partition int, slot uint16, c *record.Chunks) (*lattice.State, error) {
	data := make([]byte, 0, c.Bytes)
	up := kernel.Upload{Slot: slot, Partition: partition, Name: c.Upload}
	for i := range c.Count {
		chunk, err := l.chunk(ctx, partition, chunkSubject(l.cfg.Prefix, up, strconv.Itoa(i)))
		if err != nil {
			return nil, fmt.Errorf("read chunk %d of %d: %w", i+1, c.Count, err)
		}
		if len(data)+len(chunk) > c.Bytes {
			break
		}
		data = append(data, chunk...)
	}
	if len(data) != c.Bytes {
		return nil, fmt.Errorf("%w: its chunks are not %d bytes together", record.ErrMalformed, c.Bytes)
	}
	return wire.DecodeState(data)
}

// chunk reads one chunk. The server that answers may be behind, and not have it yet: it is not there only when the stream's leader does
// not have it either.
func (l *streams) chunk(ctx context.Context, partition int, subject string) ([]byte, error) {
	for since := time.Now(); ; {
		m, err := l.streams[partition].GetLastMsgForSubject(ctx, subject)
		if err == nil {
			return m.Data, nil
		}
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, err
		}
		asking, cancel := context.WithTimeout(ctx, answerTimeout)
		info, asked := l.streams[partition].Info(asking, jetstream.WithSubjectFilter(subject))
		cancel()
		switch {
		case asked != nil:
			return nil, asked
		case len(info.State.Subjects) == 0:
			return nil, err
		case time.Since(since) > loadTimeout:
			return nil, fmt.Errorf("it has not come to the server that was asked for %v", loadTimeout)
		}
		select {
		case <-time.After(lagPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// purge removes the chunks of a state.
func (l *streams) purge(ctx context.Context, up kernel.Upload) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return l.streams[up.Partition].Purge(ctx, jetstream.WithPurgeSubject(chunkSubject(l.cfg.Prefix, up, "*")))
}

// orphanAge is how old chunks must be before they are taken for forgotten: their record may be about to come.
const orphanAge = time.Hour

// orphans returns the uploads in a partition that no record names.
func (l *streams) orphans(ctx context.Context, partition int, named func(upload string) bool, now time.Time) ([]kernel.Upload, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	prefix := chunksSubject(l.cfg.Prefix, partition) + "."
	info, err := l.streams[partition].Info(ctx, jetstream.WithSubjectFilter(prefix+">"))
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var found []kernel.Upload
	for subject := range info.State.Subjects {
		tokens := strings.Split(strings.TrimPrefix(subject, prefix), ".")
		if len(tokens) != 3 || seen[tokens[1]] {
			continue
		}
		seen[tokens[1]] = true
		slot, err := strconv.ParseUint(tokens[0], 10, 16)
		began, ok := uploadTime(tokens[1])
		if err == nil && ok && now.Sub(began) > orphanAge && !named(tokens[1]) {
			found = append(found, kernel.Upload{Slot: uint16(slot), Partition: partition, Name: tokens[1]})
		}
	}
	return found, nil
}
