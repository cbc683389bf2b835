package anna

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/bus"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	// openTimeout bounds the time until the log is there; a cluster that just started needs some of it to elect.
	openTimeout    = 30 * time.Second
	attemptTimeout = 5 * time.Second
	answerTimeout  = time.Second
	openRetryDelay = 100 * time.Millisecond
	// duplicateWindow is the least that JetStream allows: merging twice does no harm, so nothing is to be remembered.
	duplicateWindow = 100 * time.Millisecond

	metadataSlots   = "cloudburst-slots"
	metadataStreams = "cloudburst-streams"
	metadataFormat  = "cloudburst-format"
	// format is that of the records: 2 = of several keys.
	format = 2
)

// streams is Anna's log: some JetStream streams, every one with the records of its part of the slots.
type streams struct {
	cfg     Config
	conn    *bus.Conn
	streams []jetstream.Stream
	// subjects are those of the records of each stream.
	subjects []string
}

// partitionOf returns the stream of a slot.
func (c *Config) partitionOf(slot uint16) int { return int(slot) % c.Streams }

func (c *Config) streamName(partition int) string { return c.Prefix + "-" + strconv.Itoa(partition) }

// open finds or makes the streams. In a cluster that is still forming this takes more than one attempt.
func (l *streams) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	l.streams = make([]jetstream.Stream, l.cfg.Streams)
	l.subjects = make([]string, l.cfg.Streams)
	for i := range l.streams {
		l.subjects[i] = recordSubject(l.cfg.Prefix, i)
		for {
			stream, err := l.openStream(ctx, i)
			if err == nil {
				l.streams[i] = stream
				break
			}
			if wireError, ok := errors.AsType[*wire.Error](err); ok {
				return wireError
			}
			select {
			case <-time.After(openRetryDelay):
			case <-ctx.Done():
				return fmt.Errorf("open stream %s of the store's log: %w", l.cfg.streamName(i), err)
			}
		}
	}
	return nil
}

func (l *streams) openStream(ctx context.Context, partition int) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	js := l.conn.JetStream
	name := l.cfg.streamName(partition)
	stream, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, l.streamConfig(partition))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = js.Stream(ctx, name) // another node was faster
		}
	}
	if err != nil {
		return nil, err
	}
	held := stream.CachedInfo().Config
	if err := l.checkStream(name, &held); err != nil {
		return nil, err
	}
	if held.Replicas < l.cfg.Replicas {
		held.Replicas = l.cfg.Replicas
		if stream, err = js.UpdateStream(ctx, held); err != nil {
			return nil, fmt.Errorf("give it %d replicas: %w", l.cfg.Replicas, err)
		}
	}
	return stream, nil
}

func (l *streams) streamConfig(partition int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        l.cfg.streamName(partition),
		Description: "Anna's log: what epochs changed",
		Subjects:    []string{fmt.Sprintf("%s.%d.>", l.cfg.Prefix, partition)},
		Storage:     jetstream.FileStorage,
		Replicas:    l.cfg.Replicas,
		// Nothing leaves the log but its first part when that is not needed any more, and the chunks of states that were replaced.
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		DenyDelete:  true,
		AllowDirect: true,
		Duplicates:  duplicateWindow,
		Metadata: map[string]string{
			metadataSlots:   strconv.Itoa(l.cfg.Slots),
			metadataStreams: strconv.Itoa(l.cfg.Streams),
			metadataFormat:  strconv.Itoa(format),
		},
	}
}

// checkStream refuses a log that was made for other keys in other places.
func (l *streams) checkStream(name string, held *jetstream.StreamConfig) error {
	for setting, want := range map[string]int{metadataSlots: l.cfg.Slots, metadataStreams: l.cfg.Streams} {
		short := strings.TrimPrefix(setting, "cloudburst-")
		if got := held.Metadata[setting]; got != strconv.Itoa(want) {
			return wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT,
				"the store's log (stream %s) was made with anna.%s = %q and this node is set to %d; it cannot be changed later: set it back, or begin with an empty log",
				name, short, got, want)
		}
	}
	if got := held.Metadata[metadataFormat]; got != strconv.Itoa(format) {
		return wire.Errorf(pb.Code_CODE_INCOMPATIBLE,
			"the store's log (stream %s) has format %q and this version reads format %d: begin with an empty log, or read it with the version that wrote it",
			name, got, format)
	}
	if !held.AllowDirect {
		return wire.Errorf(pb.Code_CODE_INCOMPATIBLE, "stream %s allows no direct reads: another program has changed it", name)
	}
	return nil
}

// extent is how far a stream goes.
type extent struct {
	// first is the sequence of the first message that the stream holds.
	first uint64
	// record is the sequence of the last record that it holds; 0 without any.
	record uint64
	// end is a sequence up to which there is no further one.
	end uint64
	// bytes is what the stream takes.
	bytes uint64
}

var errElecting = errors.New("the stream has no leader; its servers are electing one")

// extent asks the leader of a stream how far it goes. No other server's word will do, since it may be behind.
func (l *streams) extent(ctx context.Context, partition int) (extent, error) {
	// In this order, so that a record which comes meanwhile is not taken for one that is not there.
	e, err := l.end(ctx, partition)
	if err != nil {
		return extent{}, err
	}
	e.record, err = l.lastRecord(ctx, partition)
	e.end = max(e.end, e.record)
	return e, err
}

// end asks a stream for all of its extent but the last record. While the stream elects, it may be what a server says that is behind.
func (l *streams) end(ctx context.Context, partition int) (extent, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	info, err := l.streams[partition].Info(ctx)
	if err == nil && info.Cluster != nil && info.Cluster.Leader == "" {
		err = errElecting
	}
	if err != nil {
		return extent{}, fmt.Errorf("ask stream %s how far it is: %w", l.cfg.streamName(partition), err)
	}
	return extent{first: info.State.FirstSeq, end: info.State.LastSeq, bytes: info.State.Bytes}, nil
}

// truncate cuts off what a stream holds before a sequence.
func (l *streams) truncate(ctx context.Context, partition int, sequence uint64) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	if err := l.streams[partition].Purge(ctx, jetstream.WithPurgeSequence(sequence)); err != nil {
		return fmt.Errorf("cut off stream %s before %d: %w", l.cfg.streamName(partition), sequence, err)
	}
	return nil
}

// lastRecord returns the sequence of the last record of a stream. Only its leader answers: an ordinary read of the last message
// can be answered by any server.
func (l *streams) lastRecord(ctx context.Context, partition int) (uint64, error) {
	failed := func(err error) (uint64, error) {
		return 0, fmt.Errorf("ask stream %s for its last record: %w", l.cfg.streamName(partition), err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	question := fmt.Sprintf(`{"last_by_subj":%q}`, l.subjects[partition])
	m, err := l.conn.NATS.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+l.cfg.streamName(partition), []byte(question))
	if err != nil {
		return failed(err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Sequence uint64 `json:"seq"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return failed(err)
	}
	if answer.Error != nil && answer.Error.ErrorCode != jetstream.JSErrCodeMessageNotFound {
		return failed(answer.Error)
	}
	return answer.Message.Sequence, nil
}

// insist does again what fails until it does not, or for openTimeout: a cluster that is coming up, or electing, refuses what it
// takes a moment later, or drops it without a word.
func insist(ctx context.Context, what func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	for {
		err := what(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(openRetryDelay):
		case <-ctx.Done():
			return err
		}
	}
}
