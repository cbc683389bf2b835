package compaction_test

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"cloudburst/anna/compaction"
	"cloudburst/anna/slots"
)

// TestCompactor runs the scenarios in testdata. Every command is an event; what it prints is what the compactor wants done.
func TestCompactor(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &scenario{}
		datadriven.RunTest(t, path, s.run)
	})
}

// scenario drives one compactor with one stream of two slots. Times are in milliseconds.
type scenario struct {
	compactor *compaction.Compactor
	now       int64
}

const slotCount = 2

func (s *scenario) run(t *testing.T, d *datadriven.TestData) string {
	number := func(name string) (n int) { d.ScanArgs(t, name, &n); return n }
	var e compaction.Event
	switch d.Cmd {
	case "compactor":
		s.now = 0
		s.compactor = compaction.New(compaction.Config{
			Slots: slotCount, Streams: 1, Ratio: number("ratio"), BytesMin: number("min"), Wait: int64(number("wait")),
		})
		return ""
	case "pass":
		s.now += int64(number("ms"))
		return ""
	case "look":
		held := slotCount
		d.MaybeScanArgs(t, "held", &held)
		e = compaction.Look{Leads: d.HasArg("leads"), Held: held, Members: s.members(t, d)}
	case "extent":
		e = compaction.ExtentKnown{
			First: uint64(number("first")), End: uint64(number("end")), Bytes: uint64(number("bytes")), Needed: number("needed"),
		}
	case "truncated":
		done := compaction.Truncated{}
		if d.HasArg("error") {
			done.Err = errors.New("away")
		}
		e = done
	default:
		d.Fatalf(t, "unknown command %q", d.Cmd)
	}
	var out strings.Builder
	for _, a := range s.compactor.Step(s.now, e) {
		switch a := a.(type) {
		case compaction.AskExtent:
			out.WriteString("ask how long it is\n")
		case compaction.Compact:
			fmt.Fprintf(&out, "compact: nothing before %d is to be needed\n", a.Target)
		case compaction.Announce:
			fmt.Fprintf(&out, "announce: target %d\n", a.Target)
		case compaction.Truncate:
			fmt.Fprintf(&out, "cut off before %d\n", a.Before)
		}
	}
	return out.String()
}

// members reads one member a line: its name, and what it says about itself.
func (s *scenario) members(t *testing.T, d *datadriven.TestData) (members []compaction.Member) {
	for line := range strings.Lines(d.Input) {
		m := compaction.Member{Leads: slots.NewBitmap(slotCount)}
		for _, w := range strings.Fields(line)[1:] {
			what, value, _ := strings.Cut(w, "=")
			number, err := strconv.ParseUint(value, 10, 64)
			switch {
			case what == "guest":
				m.Guest = true
			case value == "nothing":
				m.Floors = []uint64{math.MaxUint64}
			case err != nil:
				d.Fatalf(t, "%s: %v", line, err)
			case what == "leads":
				m.Leads.Set(uint16(number))
			case what == "floor":
				m.Floors = []uint64{number}
			case what == "target":
				m.Targets = []uint64{number}
			}
		}
		members = append(members, m)
	}
	return members
}
