package anna

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"cloudburst/anna/kernel"
	"cloudburst/anna/record"
	"cloudburst/wire"
)

// publisher publishes for one kernel and tells it what became of it. The kernel bounds what is outstanding and watches the
// time.
type publisher struct {
	log       *streams
	publisher uint64
	inbox     string // answers come to INBOX.PARTITION.PUBLISH
	step      func(kernel.Message)
	spend     func(bytes int) // takes note of how much is published
	buffers   sync.Pool       // of *[]byte
}

func newPublisher(log *streams, id uint64, step func(kernel.Message), spend func(bytes int)) *publisher {
	return &publisher{
		log: log, publisher: id, inbox: nats.NewInbox(), step: step, spend: spend,
		buffers: sync.Pool{New: func() any { return new([]byte) }},
	}
}

// listen takes the answers of the log, until the subscription is ended.
func (p *publisher) listen() (*nats.Subscription, error) {
	sub, err := p.log.conn.NATS.Subscribe(p.inbox+".*.*", p.answered)
	if err != nil {
		return nil, fmt.Errorf("listen for the answers of the store's log: %w", err)
	}
	// One answer per publish that the kernel has allowed: they are bounded there.
	return sub, sub.SetPendingLimits(-1, -1)
}

// publish sends a record. Its answer comes to the kernel, now or later.
func (p *publisher) publish(m *kernel.Publish) {
	buffer := p.buffers.Get().(*[]byte)
	data := record.AppendHead((*buffer)[:0], p.head(m))
	for i := range m.Entries {
		e := &m.Entries[i]
		data = record.AppendEntry(data, e.Key, e.Whole, e.State)
	}
	if err := p.send(m, data); err != nil {
		p.step(&kernel.Failed{Publish: m.ID, Err: err})
	}
	*buffer = data
	p.buffers.Put(buffer)
}

func (p *publisher) head(m *kernel.Publish) record.Head {
	return record.Head{Publisher: p.publisher, Since: m.Since}
}

// send publishes the record of m. The connection copies what it sends.
func (p *publisher) send(m *kernel.Publish, data []byte) error {
	var scratch [128]byte
	answer := append(scratch[:0], p.inbox...)
	answer = append(answer, '.')
	answer = strconv.AppendInt(answer, int64(m.Partition), 10)
	answer = append(answer, '.')
	answer = strconv.AppendUint(answer, m.ID, 16)
	p.spend(len(data))
	return p.log.conn.NATS.PublishRequest(p.log.subjects[m.Partition], string(answer), data)
}

// answered takes the answer of the log to a publish.
func (p *publisher) answered(m *nats.Msg) {
	partition, id, ok := p.parse(m.Subject)
	if !ok {
		return
	}
	sequence, err := parseAnswer(m)
	if err != nil {
		p.step(&kernel.Failed{Publish: id, Err: err})
		return
	}
	p.step(&kernel.Acknowledged{Publish: id, Partition: partition, Sequence: sequence})
}

func (p *publisher) parse(subject string) (partition int, id uint64, ok bool) {
	if len(subject) < len(p.inbox)+4 {
		return 0, 0, false
	}
	rest := subject[len(p.inbox)+1:]
	for i := range len(rest) {
		if rest[i] != '.' {
			continue
		}
		n, err := strconv.Atoi(rest[:i])
		if err != nil || n < 0 || n >= p.log.cfg.Streams {
			return 0, 0, false
		}
		id, err = strconv.ParseUint(rest[i+1:], 16, 64)
		return n, id, err == nil
	}
	return 0, 0, false
}

var errNoStream = errors.New("no server answers for the log's stream; it may be electing a leader")

// parseAnswer reads what the log says. Its answers always look the same, and the one that counts begins like this.
func parseAnswer(m *nats.Msg) (uint64, error) {
	const mark = `,"seq":`
	if at := bytes.Index(m.Data, []byte(mark)); at > 0 && bytes.HasPrefix(m.Data, []byte(`{"stream":`)) {
		sequence := uint64(0)
		for _, c := range m.Data[at+len(mark):] {
			if c < '0' || c > '9' {
				break
			}
			sequence = sequence*10 + uint64(c-'0')
		}
		if sequence > 0 {
			return sequence, nil
		}
	}
	if m.Header.Get("Status") == "503" {
		return 0, errNoStream
	}
	var answer struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return 0, fmt.Errorf("the log's answer is malformed: %w", err)
	}
	if answer.Error != nil {
		return 0, answer.Error
	}
	if answer.Sequence == 0 {
		return 0, errors.New("the log's answer has no sequence")
	}
	return answer.Sequence, nil
}

// recordFits reports whether what is published goes into one record.
func recordFits(m *kernel.Publish) bool {
	if len(m.Entries) > 1 {
		return true // the kernel sees to that
	}
	state := m.Entries[0].State
	return state.Bytes() < recordBytesMax || wire.StateSize(state) < recordBytesMax
}
