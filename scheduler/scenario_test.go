package scheduler

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"cloudburst/cache"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// TestScenarios plays the files in testdata: what is called, what the executor answers, and what becomes of it. Time is
// virtual. Commands:
//
//	register NAME [retries=N] [retry_on=A,B] [backoff=D] [rate=N/D[/KEY]] [queue=D] [timeout=D] [class]   a new version of a function
//	dag NAME f,g,h [f>g] [g>h] [colocated=f,g]
//	call run=N function=REF|dag=NAME [timeout=D] [retries=N] [store] [key=K] [gone] [resent] [level=N] [parent=N] [detached]
//	     [label=L]; a line of arguments for each function, and after a line "then run=N function=REF|dag=NAME [store] [key=K]" those
//	     of the continuation
//	answer NAME [VALUE]     the oldest invocation that begins with the function returns, by default what apply says
//	raise NAME [TEXT]       … or raises a ValueError, which derives from Exception
//	lose NAME running|unstarted|along   … or its worker ends
//	fail NAME CODE          … or fails otherwise
//	cancel run=N [REASON]
//	runs [state=S] [function=F] [label=L] [parent=N] [limit=N]    lists them
//	tree run=N | tree prefix=P                                    shows one with its steps, and those below it
//	read NAME KEY cache|store    the oldest invocation that begins with the function reads a key
//	advance D               time passes
//	hide                    what is registered from here on is known only after the registry was asked
//	broken log|store        from here on
//	drain | stop | stats
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newScenario(t, Config{})
				datadriven.RunTest(t, file, s.command)
				s.stop()
			})
		})
	}
}

type scenario struct {
	*Scheduler
	registry *fakeRegistry
	store    *fakeStore
	cancel   context.CancelFunc
	events   chan string
	invoked  chan *wire.Invocation
	held     []*wire.Invocation
	hiding   bool
	stopped  bool
}

func newScenario(t *testing.T, cfg Config) *scenario {
	s := &scenario{
		registry: newFakeRegistry(), store: newFakeStore(),
		events: make(chan string, 1000), invoked: make(chan *wire.Invocation, 1000),
	}
	s.store.wrote = func(w cache.Write, ack pb.Ack) {
		kept := "for ever"
		if w.TTL > 0 {
			kept = "for " + w.TTL.String()
		}
		if w.Volatile {
			kept += ", volatile"
		}
		s.events <- fmt.Sprintf("store %s = %s (%s, %s)", trimID(w.Key), show(w.Values[0]), kept, strings.ToLower(strings.TrimPrefix(ack.String(), "ACK_")))
	}
	scheduler, err := New(cfg, s.registry, []Executor{scenarioExecutor{s}}, s.store)
	if err != nil {
		t.Fatal(err)
	}
	s.Scheduler = scheduler
	s.jitter = func(pause time.Duration) time.Duration { return pause }
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	go func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	return s
}

type scenarioExecutor struct{ *scenario }

func (s scenarioExecutor) Invoke(inv *wire.Invocation) {
	inv.Trace.Queue(time.Now())
	inv.Trace.Start(time.Now(), 7, inv.Attempt)
	s.invoked <- inv
	attempt := ""
	if inv.Again {
		attempt = fmt.Sprintf(", attempt %d", inv.Attempt)
	}
	if inv.QueueTimeout > 0 {
		attempt += fmt.Sprintf(", to start within %v", inv.QueueTimeout)
	}
	s.events <- "invoke " + describe(inv) + attempt
}

func (s scenarioExecutor) Cancel(invs []*wire.Invocation) {
	for _, inv := range invs {
		reason, _ := inv.Trace.Cancelled()
		s.events <- fmt.Sprintf("interrupt %s: %s", describe(inv), reason)
	}
}

// trimID shows run 7 as run 7.
func trimID(key string) string {
	id, err := wire.ParseResultKey(key)
	if err != nil {
		return key
	}
	return fmt.Sprintf("run-%d", binary.BigEndian.Uint16(id[14:]))
}

// describe shows an invocation; a result of an upstream function is marked with a star.
func describe(inv *wire.Invocation) string {
	var steps []string
	values := inv.Values
	for i := range inv.Steps {
		step := &inv.Steps[i]
		var arguments []string
		for k := range step.Positional {
			star := ""
			if slices.Contains(step.Spread, uint32(k)) {
				star = "*"
			}
			arguments = append(arguments, star+show(values[k]))
		}
		values = values[step.Positional:]
		for k, keyword := range step.Keywords {
			arguments = append(arguments, keyword+"="+show(values[k]))
		}
		values = values[len(step.Keywords):]
		steps = append(steps, fmt.Sprintf("%s@%d(%s)", step.Function.GetName(), step.Function.GetVersion(), strings.Join(arguments, ", ")))
	}
	return strings.Join(steps, " → ")
}

func (s *scenario) command(t *testing.T, d *datadriven.TestData) string {
	var direct string
	switch d.Cmd {
	case "register":
		direct = s.register(t, d)
	case "dag":
		direct = s.dag(t, d)
	case "call":
		s.call(t, d)
	case "answer", "raise", "fail", "lose":
		s.answer(t, d)
	case "cancel":
		direct = s.cancelRun(t, d)
	case "runs":
		direct = s.list(t, d)
	case "tree":
		direct = s.tree(t, d)
	case "read":
		at := slices.IndexFunc(s.held, func(inv *wire.Invocation) bool { return inv.Steps[0].Function.GetName() == d.CmdArgs[0].Key })
		s.held[at].Trace.Read(d.CmdArgs[1].Key, d.CmdArgs[2].Key == "store")
	case "advance":
		pause, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause)
	case "hide":
		s.hiding = true
	case "broken":
		broken := wire.Errorf(pb.Code_CODE_UNAVAILABLE, "the log is away")
		if d.CmdArgs[0].Key == "log" {
			s.registry.syncFails = broken
		} else {
			s.store.fails = broken
		}
	case "drain":
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s.events <- fmt.Sprintf("drained: %v", s.Drain(ctx))
		}()
	case "stop":
		s.stop()
	case "stats":
		stats := s.Stats()
		direct = fmt.Sprintf("in flight %d, started %d, finished %d, failed %d, cancelled %d, refused %d, attached %d, retried %d, undelivered %d, lost %d",
			stats.InFlight, stats.Started, stats.Finished, stats.Failed, stats.Cancelled, stats.Refused, stats.Attached, stats.Retried,
			stats.Undelivered, stats.Lost)
	default:
		t.Fatalf("%s: no such command", d.Cmd)
	}
	synctest.Wait()
	var lines []string
	for {
		select {
		case inv := <-s.invoked:
			s.held = append(s.held, inv)
			continue
		default:
		}
		select {
		case e := <-s.events:
			lines = append(lines, e)
			continue
		default:
		}
		break
	}
	if direct != "" {
		lines = append(lines, direct)
	}
	return strings.Join(lines, "\n")
}

func (s *scenario) stop() {
	if !s.stopped {
		s.stopped = true
		s.cancel()
		synctest.Wait()
	}
}

func (s *scenario) register(t *testing.T, d *datadriven.TestData) string {
	f := &pb.Function{Name: d.CmdArgs[0].Key}
	for _, arg := range d.CmdArgs[1:] {
		switch arg.Key {
		case "retries":
			n, err := strconv.Atoi(arg.Vals[0])
			if err != nil {
				t.Fatal(err)
			}
			f.Retries = new(uint32(n))
		case "timeout":
			timeout, err := time.ParseDuration(arg.Vals[0])
			if err != nil {
				t.Fatal(err)
			}
			f.TimeoutMilliseconds = uint64(timeout.Milliseconds())
		case "retry_on":
			f.RetryOn = arg.Vals
		case "rate": // its key is the first parameter
			starts, period, _ := strings.Cut(arg.Vals[0], "/")
			period, key, _ := strings.Cut(period, "/")
			n, err := strconv.Atoi(starts)
			if err != nil {
				t.Fatal(err)
			}
			each, err := time.ParseDuration(period)
			if err != nil {
				t.Fatal(err)
			}
			f.RateLimit = &pb.RateLimit{Starts: uint32(n), PeriodMilliseconds: uint64(each.Milliseconds()), Key: key, Position: 1}
		case "queue":
			wait, err := time.ParseDuration(arg.Vals[0])
			if err != nil {
				t.Fatal(err)
			}
			f.QueueTimeoutMilliseconds = uint64(wait.Milliseconds())
		case "backoff":
			backoff, err := time.ParseDuration(arg.Vals[0])
			if err != nil {
				t.Fatal(err)
			}
			f.BackoffMilliseconds = uint64(backoff.Milliseconds())
		case "class":
			f.Convention = pb.Convention_CONVENTION_CLASS
		}
	}
	if s.hiding {
		s.registry.hidden = append(s.registry.hidden, func() { s.registry.register(f) })
		return "hidden"
	}
	s.registry.register(f)
	return fmt.Sprintf("%s@%d", f.GetName(), f.GetVersion())
}

func (s *scenario) dag(t *testing.T, d *datadriven.TestData) string {
	var colocated []string
	composition := &pb.Dag{Name: d.CmdArgs[0].Key, Functions: strings.Split(d.CmdArgs[1].Key, ",")}
	for _, arg := range d.CmdArgs[2:] {
		if arg.Key == "colocated" {
			colocated = strings.Split(arg.Vals[0], ",")
			continue
		}
		source, sink, _ := strings.Cut(arg.Key, ">")
		composition.Links = append(composition.Links, &pb.Link{Source: source, Sink: sink})
	}
	composition.Colocated = colocated
	if err := s.registry.registerDAG(composition); err != nil {
		t.Fatal(err)
	}
	return ""
}

func (s *scenario) call(t *testing.T, d *datadriven.TestData) {
	number, gone := "", false
	target := func(call *pb.Call, key, value string) {
		switch key {
		case "run":
			if value == "short" {
				call.RunId = []byte{1}
				return
			}
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			id := runID(n)
			call.RunId = id[:]
		case "parent":
			call.Parent = runNumbered(t, value)
		case "detached":
			call.Detached = true
		case "label":
			call.Label = strings.ReplaceAll(value, "bell", "\a")
		case "function":
			call.Target = &pb.Call_Function{Function: value}
		case "dag":
			call.Target = &pb.Call_Dag{Dag: value}
		case "timeout":
			timeout, err := time.ParseDuration(value)
			if err != nil {
				t.Fatal(err)
			}
			call.TimeoutMilliseconds = uint64(timeout.Milliseconds())
		case "retries":
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			call.Retries = new(uint32(n))
		case "store":
			call.Store = true
		case "key":
			call.Store, call.OutputKey = true, value
		case "gone":
			gone = true
		case "resent":
			call.Resent = true
		case "level":
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			call.Level = pb.Level(n)
		}
	}
	first := new(pb.Call)
	for _, arg := range d.CmdArgs {
		value := ""
		if len(arg.Vals) > 0 {
			value = arg.Vals[0]
		}
		if arg.Key == "run" {
			number = value
		}
		target(first, arg.Key, value)
	}
	var values [][]byte
	current := first
	for line := range strings.Lines(d.Input) {
		words := strings.Fields(line)
		if words[0] == "then" {
			current.Continuation = new(pb.Call)
			current = current.Continuation
			for _, word := range words[1:] {
				key, value, _ := strings.Cut(word, "=")
				target(current, key, value)
			}
			continue
		}
		a := &pb.Arguments{Function: words[0]}
		for _, word := range words[1:] {
			switch keyword, value, is := strings.Cut(word, "="); {
			case word == "+": // announced, and not there
				a.Positional++
			case is:
				a.Keywords = append(a.Keywords, keyword)
				values = append(values, text(value))
			default:
				a.Positional++
				values = append(values, text(word))
			}
		}
		current.Arguments = append(current.Arguments, a)
	}
	s.Call(1, first, values, nil, func(r wire.Result) bool {
		what := show(r.Value)
		if r.Err != nil {
			what = strings.ToLower(strings.TrimPrefix(r.Err.Code.String(), "CODE_")) + ": " + r.Err.Error()
			if r.Err.RetryAfter > 0 {
				what += fmt.Sprintf(" (retry after %v)", r.Err.RetryAfter)
			}
		}
		s.events <- fmt.Sprintf("run %s: %s", number, what)
		return !gone
	})
}

func (s *scenario) answer(t *testing.T, d *datadriven.TestData) {
	name := d.CmdArgs[0].Key
	at := slices.IndexFunc(s.held, func(inv *wire.Invocation) bool { return inv.Steps[0].Function.GetName() == name })
	if at < 0 {
		t.Fatalf("%s: no invocation of %s is under way", d.Pos, name)
	}
	inv := s.held[at]
	s.held = slices.Delete(s.held, at, at+1)
	word := ""
	if len(d.CmdArgs) > 1 {
		word = d.CmdArgs[1].Key
	}
	switch d.Cmd {
	case "raise":
		inv.Done(wire.Result{Err: &wire.Error{Code: pb.Code_CODE_EXECUTION, Exception: &pb.RemoteException{
			Type: "ValueError", Message: word, Bases: []string{"builtins.ValueError", "builtins.Exception"},
		}}})
	case "lose":
		lost := map[string]wire.Loss{"running": wire.LostRunning, "unstarted": wire.LostUnstarted, "along": wire.LostAlong}[word]
		inv.Done(wire.Result{Err: wire.Errorf(pb.Code_CODE_WORKER_DIED, "worker 7 was killed"), Lost: lost})
	case "fail":
		inv.Done(wire.Result{Err: wire.Errorf(pb.Code(pb.Code_value["CODE_"+strings.ToUpper(word)]), "the executor says so")})
	default:
		value := evaluate(inv)
		if word != "" {
			value = text(word)
		}
		inv.Done(wire.Result{Value: value})
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	registry, store := newFakeRegistry(), newFakeStore()
	nothing := executorFunc(func(*wire.Invocation) {})
	if _, err := New(Config{}, registry, nil, store); err == nil {
		t.Error("no executor was accepted")
	}
	cfg := Config{Timeout: -1, TimeoutMax: -2, ResultTTL: -1, ResultsMax: -1, ResultsBytesMax: -1, RunsMax: -1}
	_, err := New(cfg, registry, []Executor{nothing}, store)
	for _, setting := range []string{"timeout ", "timeout_max", "result_ttl", "results_max", "results_bytes_max", "runs_max"} {
		if err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s is not in: %v", setting, err)
		}
	}
}

func TestRunsMax(t *testing.T) {
	t.Parallel()
	registry := newFakeRegistry()
	registry.register(&pb.Function{Name: "f"})
	held := make(chan *wire.Invocation, 1)
	s := start(t, Config{RunsMax: 1}, registry, newFakeStore(), executorFunc(func(inv *wire.Invocation) { held <- inv }))
	results := make(chan wire.Result, 1)
	s.Call(1, callFunction(runID(1), "f", 0), nil, nil, func(r wire.Result) bool { results <- r; return true })
	r := await(t, s, callFunction(runID(2), "f", 0))
	if !fails(r, wire.ErrNoResources) || !strings.Contains(r.Err.Error(), "runs_max") || r.Err.RetryAfter != paceWindow {
		t.Errorf("a run too many: %+v", r.Err)
	}
	(<-held).Done(wire.Result{Value: text("done")})
	if r := <-results; show(r.Value) != "done" {
		t.Errorf("got %+v", r)
	}
}
