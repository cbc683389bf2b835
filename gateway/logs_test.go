package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cloudburst/printed"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

func logsOf(get *pb.GetLogs) *pb.Header { return &pb.Header{Body: &pb.Header_GetLogs{GetLogs: get}} }

// lines receives replies until the last one, and returns what the lines say and how many are missing.
func (c *client) lines(t testing.TB, id uint64) (texts []string, dropped uint64) {
	t.Helper()
	for {
		reply := c.receive(t)
		if reply.Header.GetId() != id {
			continue
		}
		if reply.Header.GetDone() != nil {
			return texts, dropped
		}
		lines := reply.Header.GetLogLines()
		if lines == nil {
			t.Fatalf("not lines: %v", failure(reply))
		}
		dropped += lines.GetDropped()
		for _, line := range lines.GetLines() {
			texts = append(texts, line.GetText())
		}
	}
}

func (h *house) print(run []byte, function, text string) {
	h.printed.Add(printed.Source{Run: wire.RunID(run), Function: function, Version: 1}, text)
}

func TestLogs(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c, other := h.dial(t), h.dial(t)
	parent, child := call("hold", 0), call("hold", 0)
	child.GetCall().Parent = parent.GetCall().GetRunId()
	c.send(t, parent)
	first := <-h.held
	other.send(t, child)
	second := <-h.held
	h.print(first.RunID[:], "hold", "parent")
	h.print(second.RunID[:], "hold", "child")
	h.print(make([]byte, 16), "echo", "other")
	for name, test := range map[string]struct {
		get   *pb.GetLogs
		texts []string
	}{
		"all":             {&pb.GetLogs{}, []string{"parent", "child", "other"}},
		"the latest":      {&pb.GetLogs{Limit: 1}, []string{"other"}},
		"a run":           {&pb.GetLogs{RunId: first.RunID[:]}, []string{"parent", "child"}},
		"a run below":     {&pb.GetLogs{RunId: second.RunID[:]}, []string{"child"}},
		"a function":      {&pb.GetLogs{Function: "echo"}, []string{"other"}},
		"a version":       {&pb.GetLogs{Function: "hold@1"}, []string{"parent", "child"}},
		"another version": {&pb.GetLogs{Function: "hold@2"}, nil},
		"a short id":      {&pb.GetLogs{Prefix: second.RunID.String()}, []string{"child"}},
		"own":             {&pb.GetLogs{Own: true}, []string{"parent", "child"}},
	} {
		if texts, dropped := c.lines(t, c.send(t, logsOf(test.get))); !slices.Equal(texts, test.texts) || dropped != 0 {
			t.Errorf("%s: %q, and %d are missing", name, texts, dropped)
		}
	}
	if texts, _ := other.lines(t, other.send(t, logsOf(&pb.GetLogs{Own: true}))); len(texts) != 0 {
		t.Errorf("of another client: %q", texts)
	}
	first.Done(wire.Result{Value: number(1)})
	second.Done(wire.Result{Value: number(1)})
}

// The lines of a run are followed until it ends, and all that it has printed comes before the last reply.
func TestTheLogsOfARunThatIsFollowed(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	caller, c := h.dial(t), h.dial(t)
	caller.send(t, call("hold", 0))
	inv := <-h.held
	h.print(inv.RunID[:], "hold", "before")
	id := c.send(t, logsOf(&pb.GetLogs{RunId: inv.RunID[:], Follow: true}))
	if text := c.receive(t).Header.GetLogLines().GetLines()[0].GetText(); text != "before" {
		t.Fatal(text)
	}
	h.print(inv.RunID[:], "hold", "while")
	if text := c.receive(t).Header.GetLogLines().GetLines()[0].GetText(); text != "while" {
		t.Fatal(text)
	}
	var want []string
	for n := range 5000 {
		want = append(want, fmt.Sprint("line ", n))
	}
	h.print(inv.RunID[:], "hold", strings.Join(want, "\n"))
	inv.Done(wire.Result{Value: number(1)})
	if texts, dropped := c.lines(t, id); !slices.Equal(texts, want) || dropped != 0 {
		t.Errorf("%d lines, and %d are missing", len(texts), dropped)
	}
	if texts, _ := c.lines(t, c.send(t, logsOf(&pb.GetLogs{RunId: inv.RunID[:], Follow: true, Limit: 2}))); !slices.Equal(texts, want[4998:]) {
		t.Errorf("of a run that has ended: %q", texts)
	}
	await(t, "nothing outstanding", func() bool { return h.outstanding.Load() == 0 })
	if n := h.printed.Stats().Followers; n != 0 {
		t.Errorf("%d followers", n)
	}
}

// The lines of a function are followed until the client has enough of them, or leaves.
func TestTheLogsOfAFunctionThatIsFollowed(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c, leaves := h.dial(t), h.dial(t)
	id := c.send(t, logsOf(&pb.GetLogs{Function: "f", Follow: true}))
	leaves.send(t, logsOf(&pb.GetLogs{Follow: true}))
	await(t, "two followers", func() bool { return h.printed.Stats().Followers == 2 })
	_ = leaves.Close()
	await(t, "one follower", func() bool { return h.printed.Stats().Followers == 1 })
	h.print(make([]byte, 16), "g", "another")
	h.print(make([]byte, 16), "f", "one")
	if text := c.receive(t).Header.GetLogLines().GetLines()[0].GetText(); text != "one" {
		t.Fatal(text)
	}
	h.print(make([]byte, 16), "f", "two")
	c.send(t, &pb.Header{Body: &pb.Header_Unwatch{Unwatch: &pb.Unwatch{Id: id}}})
	if texts, _ := c.lines(t, id); !slices.Equal(texts, []string{"two"}) {
		t.Errorf("before the last reply: %q", texts)
	}
	await(t, "no follower", func() bool { return h.printed.Stats().Followers == 0 })
}

// A node that drains does not let the client think that the run which it follows has ended.
func TestLogsThatAreFollowedWhileTheNodeDrains(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	run := c.send(t, call("hold", 0))
	inv := <-h.held
	h.print(inv.RunID[:], "hold", "before")
	id := c.send(t, logsOf(&pb.GetLogs{RunId: inv.RunID[:], Follow: true}))
	if text := c.receive(t).Header.GetLogLines().GetLines()[0].GetText(); text != "before" {
		t.Fatal(text)
	}
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(context.Background()) }()
	if reply := c.receive(t); reply.Header.GetId() != id || !errors.Is(failure(reply), wire.ErrUnavailable) {
		t.Errorf("while the run goes on: %v", reply.Header)
	}
	inv.Done(wire.Result{Value: number(1)})
	if reply := c.receive(t); reply.Header.GetId() != run || reply.Header.GetDone() == nil {
		t.Errorf("the run: %v", reply.Header)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// Many lines come in several frames, and long ones too.
func TestLogsAreCutIntoFrames(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	long := strings.Repeat("x", printed.LineBytesMax)
	for range 40 {
		h.print(make([]byte, 16), "f", long)
	}
	c.send(t, logsOf(&pb.GetLogs{Function: "f"}))
	frames, lines := 0, 0
	for reply := c.receive(t); reply.Header.GetDone() == nil; reply = c.receive(t) {
		frames++
		lines += len(reply.Header.GetLogLines().GetLines())
	}
	if lines != 40 || frames < 10 {
		t.Errorf("%d lines in %d frames", lines, frames)
	}
}

func TestLogsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	c := h.dial(t)
	for _, get := range []*pb.GetLogs{
		{RunId: []byte("short")}, {RunId: make([]byte, 16)}, {Function: "f@"}, {Function: "@1"}, {Function: "f@0"}, {Function: "f@x"}, {Limit: printed.LinesOfRunMax + 1},
	} {
		if err := failure(c.do(t, logsOf(get))); !errors.Is(err, wire.ErrInvalidArgument) {
			t.Errorf("%v: %v", get, err)
		}
	}
	if err := failure(c.do(t, logsOf(&pb.GetLogs{Prefix: "ff"}))); !errors.Is(err, wire.ErrRunNotFound) {
		t.Errorf("the beginning of no id: %v", err)
	}
	storing := &request{id: 1, stream: &stream{gateway: new(Gateway)}}
	if _, err := storing.linesOf(&pb.GetLogs{}); !errors.Is(err, wire.ErrUnsupported) {
		t.Errorf("a node that runs no functions: %v", err)
	}
}
