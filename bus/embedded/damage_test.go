package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"cloudburst/bus"
	"cloudburst/bus/embedded"
)

// messages is how many a log of a test holds: enough for several files.
const messages = 24

// fill writes messages of 1 MiB to the stream S, which becomes four files.
func fill(t *testing.T, conn *bus.Conn, replicas int) {
	t.Helper()
	if _, err := conn.JetStream.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: replicas}); err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte{7}, 1<<20)
	for i := range messages {
		for { // a new stream takes messages once it has a leader
			ctx, cancel := context.WithTimeout(t.Context(), publishWait)
			ack, err := conn.JetStream.Publish(ctx, fmt.Sprintf("s.%d", i), body, jetstream.WithMsgID(fmt.Sprint(i)))
			cancel()
			if err == nil && ack.Sequence == uint64(i+1) {
				break
			}
			if t.Context().Err() != nil {
				t.Fatalf("message %d: %+v, %v", i, ack, err)
			}
		}
	}
}

// publishWait bounds one attempt to publish.
const publishWait = 5 * time.Second

// damaged is a way in which a log of four files, of 7, 7, 7 and 3 messages, is damaged while its server does not run.
type damaged struct {
	name   string
	damage func(t *testing.T, stream string)
	want   string // what the error says; "" when the server starts
	left   uint64 // messages with what is left, when the damage is accepted
	member bool   // a member of a cluster is tried too, which takes seconds
}

// file returns the path of one of the files of a stream, from 0 on, or from the last one, -1, backwards.
func file(t *testing.T, stream string, index int) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(stream, "msgs", "*.blk"))
	if err != nil || len(found) < 3 {
		t.Fatalf("files %v, %v: want several", found, err)
	}
	slices.Sort(found)
	if index < 0 {
		index += len(found)
	}
	return found[index]
}

func edit(t *testing.T, path string, change func(data []byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(data), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func flip(data []byte) []byte { data[len(data)/2] ^= 1; return data }

var damages = []damaged{
	{"clean", func(*testing.T, string) {}, "", messages, true},
	{"without its index", func(t *testing.T, stream string) { remove(t, filepath.Join(stream, "msgs", "index.db")) }, "", messages, false},
	{"last file missing", func(t *testing.T, stream string) { remove(t, file(t, stream, -1)) }, "are missing", messages - 3, false},
	{"middle file missing", func(t *testing.T, stream string) { remove(t, file(t, stream, 1)) }, "are missing", messages - 7, true},
	{"bit flipped", func(t *testing.T, stream string) { edit(t, file(t, stream, 1), flip) }, "2.blk are not what was written", messages - 1, false},
	{"bit of the last file flipped", func(t *testing.T, stream string) { edit(t, file(t, stream, -1), flip) }, "are not what was written", messages - 1, false},
	{"zeros", func(t *testing.T, stream string) {
		edit(t, file(t, stream, 0), func(data []byte) []byte { clear(data[len(data)/2:][:4096]); return data })
	}, "1.blk are not what was written", messages - 1, false},
	{"end cut off", func(t *testing.T, stream string) {
		edit(t, file(t, stream, -1), func(data []byte) []byte { return data[:len(data)-100] })
	}, "the last 1 messages are missing", messages - 1, false},
	{"stream missing", func(t *testing.T, stream string) { remove(t, stream) }, "stream S is missing", 0, true},
}

func TestADamagedLog(t *testing.T) {
	t.Parallel()
	whole := t.TempDir()
	s := start(t, embedded.Config{DataDir: whole})
	conn := connect(t, s)
	fill(t, conn, 1)
	conn.Close()
	s.Shutdown()
	for _, test := range damages {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := embedded.Config{DataDir: filepath.Join(t.TempDir(), "data")}
			if err := os.CopyFS(cfg.DataDir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			test.damage(t, filepath.Join(cfg.DataDir, embedded.StoreFolder, "$G", "streams", "S"))
			if test.want != "" {
				for range 2 { // nothing is changed by it
					refused, err := embedded.Start(t.Context(), cfg)
					if err == nil {
						refused.Shutdown()
					}
					if !errors.Is(err, embedded.ErrDamaged) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "--accept-damage") {
						t.Fatalf("got %v, want ErrDamaged that says %q", err, test.want)
					}
				}
				cfg.AcceptDamage = true
			}
			s := start(t, cfg)
			if test.left > 0 {
				if held := held(t, s); held != test.left {
					t.Errorf("%d messages are left, want %d", held, test.left)
				}
			}
			s.Shutdown()
			cfg.AcceptDamage = false
			start(t, cfg) // it is settled
		})
	}
}

// held returns how many messages of the stream S can be read from a server's own copy.
func held(t *testing.T, s *embedded.Server) (count uint64) {
	t.Helper()
	conn := connect(t, s)
	stream, err := conn.JetStream.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(messages) {
		if _, err := stream.GetMsg(t.Context(), i+1); err == nil {
			count++
		} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
			t.Fatal(err)
		}
	}
	conn.Close()
	return count
}

// untilWhole waits until a member's own copy has all messages. NATS may call a copy current that is still being filled.
func untilWhole(t *testing.T, s *embedded.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for s.Messages("S") != messages {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the member's copy has %d messages", s.Messages("S"))
		}
	}
}

// TestADamagedMember damages the log of one of three members while it does not run.
func TestADamagedMember(t *testing.T) {
	t.Parallel()
	configs := members(t, 3)
	servers := startAll(t, configs)
	conn := connect(t, servers[0])
	fill(t, conn, 3)
	conn.Close()
	cfg := configs[2]
	stream := filepath.Join(cfg.DataDir, embedded.StoreFolder, "$G", "streams", "S")
	kept := filepath.Join(cfg.DataDir, "damaged", embedded.StoreFolder, "$G", "streams", "S", "msgs")
	servers[2].Shutdown()
	for _, test := range damages {
		if !test.member {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			remove(t, filepath.Join(cfg.DataDir, "damaged"))
			test.damage(t, stream)
			back := start(t, cfg)
			untilWhole(t, back)
			back.Shutdown()
			if own, err := embedded.Held(stream); err != nil || own != messages {
				t.Errorf("the member's copy has %d messages, %v, want %d", own, err, messages)
			}
			if _, err := os.Stat(kept); (err == nil) != (test.want != "") && test.name != "stream missing" {
				t.Errorf("the damaged log: %v", err)
			}
		})
	}
	t.Run("others away", func(t *testing.T) {
		servers[1].Shutdown()
		edit(t, file(t, stream, 1), flip)
		waiting := cfg
		cluster := *cfg.Cluster
		cluster.FormTimeout = 2 * time.Second
		waiting.Cluster = &cluster
		for range 2 { // nothing is changed by it
			refused, err := embedded.Start(t.Context(), waiting)
			if err == nil {
				refused.Shutdown()
			}
			if !errors.Is(err, embedded.ErrDamaged) || !strings.Contains(err.Error(), "--accept-damage") || !strings.Contains(err.Error(), "the other members cannot replace it") {
				t.Fatalf("got %v, want ErrDamaged", err)
			}
		}
		// It goes on as soon as the other member is back, and not before that has caught up.
		var back *embedded.Server
		var group errgroup.Group
		group.Go(func() (err error) {
			back, err = embedded.Start(t.Context(), cfg)
			return err
		})
		servers[1] = start(t, configs[1])
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(back.Shutdown)
		untilWhole(t, back)
		back.Shutdown()
		if own, err := embedded.Held(stream); err != nil || own != messages {
			t.Errorf("the member's copy has %d messages, %v, want %d", own, err, messages)
		}
	})
	t.Run("others away and accepted", func(t *testing.T) {
		servers[0].Shutdown() // the other one has been stopped with the test before
		edit(t, file(t, stream, 1), flip)
		accepting := cfg
		cluster := *cfg.Cluster
		cluster.FormTimeout = time.Second
		accepting.Cluster, accepting.AcceptDamage = &cluster, true
		refused, err := embedded.Start(t.Context(), accepting)
		if err == nil {
			refused.Shutdown()
		}
		if !errors.Is(err, embedded.ErrNoQuorum) { // it has started with what is left, and waits for the others
			t.Fatalf("got %v, want ErrNoQuorum", err)
		}
		if own, err := embedded.Held(stream); err != nil || own != messages-1 {
			t.Errorf("the member's copy has %d messages, %v, want %d", own, err, messages-1)
		}
	})
}
