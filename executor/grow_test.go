package executor

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestGrowth(t *testing.T) {
	t.Parallel()
	base := pool{waiting: 100, size: 2, cores: 2, room: 254, after: 20 * time.Millisecond}
	for name, c := range map[string]struct {
		change func(*pool)
		want   int
	}{
		"nothing is blocked":                        {func(*pool) {}, 0},
		"all are blocked":                           {func(p *pool) { p.blocked = 2 }, 2},
		"one is blocked":                            {func(p *pool) { p.blocked = 1 }, 1},
		"it is made up for":                         {func(p *pool) { p.size, p.blocked = 3, 1 }, 0},
		"more than are made up for":                 {func(p *pool) { p.size, p.blocked = 10, 7 }, 0},
		"nearly all of many are blocked":            {func(p *pool) { p.size, p.blocked = 40, 39 }, growAtOnce},
		"all of few are blocked":                    {func(p *pool) { p.size, p.blocked = 4, 4 }, 4},
		"no more than wait":                         {func(p *pool) { p.size, p.blocked, p.waiting = 40, 40, 3 }, 3},
		"no more than may be added":                 {func(p *pool) { p.size, p.blocked, p.room = 40, 40, 2 }, 2},
		"there are fewer workers than cores":        {func(p *pool) { p.size = 1 }, 1},
		"there is less room than workers":           {func(p *pool) { p.size, p.blocked, p.room = 40, 40, -1 }, 0},
		"none has ended for a while":                {func(p *pool) { p.still = 200 * time.Millisecond }, 1},
		"none has ended, and one was added":         {func(p *pool) { p.size, p.still = 3, 200*time.Millisecond }, 1},
		"none has ended, and few were added":        {func(p *pool) { p.size, p.still = 4, 9*time.Second }, 0},
		"none has ended for long":                   {func(p *pool) { p.size, p.still = 4, 10*time.Second }, 1},
		"none has ended for long, a second time":    {func(p *pool) { p.size, p.still = 5, 19*time.Second }, 0},
		"none has ended for longer, a second time":  {func(p *pool) { p.size, p.still = 5, 20*time.Second }, 1},
		"they poll, and none has ended":             {func(p *pool) { p.size, p.polling, p.still = 9, 9, 200*time.Millisecond }, 1},
		"some are blocked, and the others are slow": {func(p *pool) { p.size, p.blocked, p.still = 30, 26, 9*time.Second }, 0},
	} {
		p := base
		c.change(&p)
		if got := p.growth(); got != c.want {
			t.Errorf("%s: %d workers more, want %d", name, got, c.want)
		}
	}
}

// However invocations block or spin, the workers that use the CPU stay few, and blocked ones are made up for.
func TestThePoolSettles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cores := rapid.IntRange(1, 8).Draw(t, "cores")
		blockers := rapid.IntRange(0, 100).Draw(t, "blockers")
		spinners := rapid.IntRange(0, 100).Draw(t, "spinners")
		p := pool{size: cores, cores: cores, after: 20 * time.Millisecond}
		running := 0 // of the invocations, which are served in their order: those that block first
		for range 200 {
			running = min(p.size, blockers+spinners)
			p.blocked = min(running, blockers)
			p.waiting = blockers + spinners - running
			p.room = 256 - p.size
			p.size += p.growth()
		}
		if want := min(blockers+spinners, blockers+cores, 256); running < want {
			t.Fatalf("%d run of %d that block and %d that spin", running, blockers, spinners)
		}
		if spinning := running - p.blocked; spinning > cores+growAtOnce {
			t.Fatalf("%d spin at once on %d cores", spinning, cores)
		}
	})
}

// toldView says what a test has it say.
type toldView struct {
	usage
	fault error
	now   bool
}

func (v *toldView) used() (usage, error) { return v.usage, v.fault }
func (v *toldView) ready() bool          { return v.now }

func TestBlockedWorkersAreMeasured(t *testing.T) {
	t.Parallel()
	const window = 20 * time.Millisecond
	var o observer
	now := time.Unix(1, 0)
	idler, spinner, starved, other, poller := new(toldView), new(toldView), &toldView{now: true}, new(toldView), &toldView{now: true}
	ended := &toldView{fault: errors.New("it has ended")}
	var workers [6]worker
	measure := func(others uint64) int {
		o.measure([]observed{
			{&workers[0], 7, idler, true},
			{&workers[1], 7, spinner, true},
			{&workers[2], 7, starved, false},
			{&workers[3], others, other, false},
			{&workers[4], 7, ended, false},
			{&workers[5], 7, poller, false},
		}, now, window)
		now = now.Add(10 * time.Millisecond)
		idler.ran += time.Millisecond
		idler.turns++
		spinner.waited += 6 * time.Millisecond
		poller.ran += time.Millisecond
		poller.waited += time.Millisecond
		poller.turns += 10
		return o.blocked
	}
	equal(t, []int{measure(1), measure(2), measure(3)}, []int{0, 0, 0}) // seen, measured, and not long enough
	equal(t, measure(4), 2)                                             // the idler and the poller; the other one goes on with something else
	equal(t, []int{measure(4), measure(4), measure(4)}, []int{2, 2, 3})
	equal(t, []int{o.polling, o.waiting}, []int{0, 1})
	for range 3 {
		poller.waited += 9 * time.Millisecond // since others want the cores as well
		measure(4)
	}
	equal(t, []int{o.blocked, o.polling}, []int{2, 1})
	spinner.ran = -time.Second // a thread has ended: what the process used since is not known
	equal(t, []int{measure(4), measure(4), measure(4), o.polling}, []int{2, 3, 3, 0})
	if !o.next.After(time.Unix(1, 0)) {
		t.Error("looking at the workers takes no time")
	}
}

func TestSchedstat(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]usage{"": {}, "12 30 7\n": {12, 30, 7}, "12": {ran: 12}, "x 30 7": {0, 30, 7}} {
		equal(t, schedstat([]byte(text)), want)
	}
	for stat, want := range map[string]bool{"": false, "7 (a": false, "7 (a) R 1": true, "7 (R) R) S 1": false, "7 (a)": false} {
		equal(t, threadReady([]byte(stat)), want)
	}
	ours, theirs, err := socketPair(syscall.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	defer ours.Close()
	this := process{os.Getpid(), ours}
	if used, err := this.used(); err != nil || used.ran <= 0 || !this.ready() {
		t.Errorf("this process: %v, %v, ready: %v", used, err, this.ready())
	}
	equal(t, this.unread(), 0)
	if _, err := theirs.WriteString("answer"); err != nil {
		t.Fatal(err)
	}
	equal(t, this.unread(), len("answer"))
	none := process{1 << 30, ours}
	if _, err := none.used(); err == nil || none.ready() {
		t.Error("a process that is not there has a CPU time")
	}
}
