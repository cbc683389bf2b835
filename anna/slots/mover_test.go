package slots_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"cloudburst/anna/slots"
)

// TestMover runs the scenarios in testdata. Every command is an event; what it prints is what the mover wants done.
func TestMover(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &scenario{}
		datadriven.RunTest(t, path, s.run)
	})
}

// scenario drives one mover. Times are in milliseconds.
type scenario struct {
	mover *slots.Mover
	slots int
	now   int64
	table string
	out   strings.Builder
}

const millisecond = 1000

func (s *scenario) run(t *testing.T, d *datadriven.TestData) string {
	s.out.Reset()
	number := func(name string) (n int) { d.ScanArgs(t, name, &n); return n }
	optional := func(name string, n int) int { d.MaybeScanArgs(t, name, &n); return n }
	var err error
	if d.HasArg("error") {
		var text string
		d.ScanArgs(t, "error", &text)
		err = errors.New(text)
	}
	transfer := func() uint64 { return uint64(number("t")) }
	switch d.Cmd {
	case "mover":
		s.slots, s.now, s.table = number("slots"), 0, ""
		s.mover = slots.NewMover(slots.Config{
			Self: "a", Guest: d.HasArg("guest"), Slots: s.slots, Streams: optional("streams", 1), Masters: optional("masters", 1),
			MemberTTL: 4000 * millisecond, BeginTimeout: 3000 * millisecond, SettleTimeout: 2000 * millisecond,
			RetryPause: 1000 * millisecond, AnnouncePause: 100 * millisecond, LeaveTimeout: 500 * millisecond, DrainTimeout: 5000 * millisecond,
		})
	case "members":
		s.step(slots.Members{Others: s.members(t, d)})
	case "alive":
		s.step(slots.Alive{At: s.now})
	case "pass":
		s.now += int64(number("ms")) * millisecond
		s.step(slots.Tick{})
	case "replayed":
		s.step(slots.Replayed{Transfer: transfer(), Gap: d.HasArg("gap"), Err: err})
	case "loaded":
		s.step(slots.Loaded{Transfer: transfer(), End: uint64(optional("end", 0)), Err: err})
	case "end":
		s.step(slots.EndKnown{Transfer: transfer(), Record: uint64(optional("record", 0)), Gaps: uint64(optional("gaps", 0)), Err: err})
	case "position":
		s.step(slots.Position{Transfer: transfer(), Sequence: uint64(number("at")), Gaps: uint64(optional("gaps", 0))})
	case "listening":
		s.step(slots.Listening{Transfer: transfer(), Err: err})
	case "announced":
		s.step(slots.Announced{Err: err})
	case "leave":
		s.step(slots.Leave{})
	case "wake":
		fmt.Fprintf(&s.out, "in %d ms\n", (s.mover.Wake()-s.now)/millisecond)
	default:
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	return s.out.String()
}

// members reads one member a line: its name, and what it says about itself.
func (s *scenario) members(t *testing.T, d *datadriven.TestData) (others []slots.Member) {
	for line := range strings.Lines(d.Input) {
		words := strings.Fields(line)
		m := slots.Member{ID: words[0], Serves: slots.NewBitmap(s.slots), Leads: slots.NewBitmap(s.slots)}
		for _, w := range words[1:] {
			what, value, _ := strings.Cut(w, "=")
			switch what {
			case "guest":
				m.Guest = true
			case "leaving":
				m.Leaving = true
			case "serves", "leads":
				for number := range strings.SplitSeq(value, ",") {
					slot, err := strconv.Atoi(number)
					if err != nil {
						d.Fatalf(t, "%s: %v", line, err)
					}
					if what == "leads" {
						m.Leads.Set(uint16(slot))
					}
					m.Serves.Set(uint16(slot))
				}
			}
		}
		others = append(others, m)
	}
	return others
}

func (s *scenario) step(e slots.Event) {
	for _, a := range s.mover.Step(s.now, e) {
		if text := s.describe(a); text != "" {
			fmt.Fprintln(&s.out, text)
		}
	}
}

func (s *scenario) describe(a slots.Action) string {
	switch a := a.(type) {
	case slots.Assign:
		text := fmt.Sprintf("assign %s: %s", list(a.Slots), tenures[a.Tenure])
		if a.Sequence > 0 {
			text += fmt.Sprintf(", loaded up to %d", a.Sequence)
		}
		if a.First {
			text += ", the first of the stream"
		}
		return text
	case slots.Route:
		var table []string
		for slot, masters := range a.Table {
			table = append(table, fmt.Sprintf("%d=%s", slot, strings.Join(masters, ",")))
		}
		text := "route " + strings.Join(table, " ")
		if text == s.table {
			return "" // as before
		}
		s.table = text
		return text
	case slots.Company:
		return fmt.Sprintf("company: %v", a.Others)
	case slots.Replay:
		return fmt.Sprintf("replay t=%d stream %d", a.Transfer, a.Stream)
	case slots.Load:
		return fmt.Sprintf("load t=%d stream %d: %s", a.Transfer, a.Stream, list(a.Slots))
	case slots.AskEnd:
		return fmt.Sprintf("ask for the end t=%d stream %d", a.Transfer, a.Stream)
	case slots.Await:
		return fmt.Sprintf("await t=%d stream %d at %d", a.Transfer, a.Stream, a.Sequence)
	case slots.Abandon:
		return fmt.Sprintf("abandon t=%d: %s: %v", a.Transfer, list(a.Slots), a.Err)
	case slots.Listen:
		return fmt.Sprintf("listen t=%d: %s", a.Transfer, list(a.Slots))
	case slots.Serve:
		return fmt.Sprintf("serve t=%d: %s", a.Transfer, list(a.Slots))
	case slots.Unserve:
		return "unserve " + list(a.Slots)
	case slots.Announce:
		text := fmt.Sprintf("announce: serves %s, leads %s", s.set(a.Serves), s.set(a.Leads))
		if a.Leaving {
			text += ", is leaving"
		}
		return text
	case slots.Ready:
		return fmt.Sprintf("ready, all slots: %v", a.All)
	case slots.Stop:
		return fmt.Sprintf("stop: %v", a.Err)
	case slots.Fail:
		return fmt.Sprintf("fail: %v", a.Err)
	}
	return fmt.Sprintf("%+v", a)
}

var tenures = map[slots.Tenure]string{
	slots.Leading: "leading", slots.Serving: "serving", slots.Parting: "parting", slots.Joining: "joining", slots.Stranger: "stranger",
}

func (s *scenario) set(b slots.Bitmap) string {
	var which []uint16
	for slot := range uint16(s.slots) {
		if b.Has(slot) {
			which = append(which, slot)
		}
	}
	return list(which)
}

func list(which []uint16) string {
	if len(which) == 0 {
		return "none"
	}
	var texts []string
	for _, slot := range which {
		texts = append(texts, strconv.Itoa(int(slot)))
	}
	return strings.Join(texts, ",")
}
