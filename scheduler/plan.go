package scheduler

import (
	"slices"
	"strings"
	"sync"
	"time"

	"cloudburst/registry"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// plan is how a target is run: its functions, each of one version, cut into chains, each of which one worker runs as a whole. Immutable
// and shared by all runs that began while these versions were the ones to call.
type plan struct {
	dag *registry.DAG // nil for a single function
	// refs and functions stand in the order of the chains: those of one chain next to each other.
	refs      []string
	functions []*pb.Function
	// position is, for each function in the order of the DAG's list, where it stands here.
	position []int
	chains   []chain
	sink     int
	// timeout is what the functions ask for together with all their retries, and pauses what lies between the retries.
	timeout, pauses time.Duration
	limited         bool // one of the functions has a rate limit
	once            bool // one of them may run at most once

	apartPlan *plan // the same with every function in a chain of its own
	apartOnce sync.Once
}

// chain is a row of functions that one invocation runs: a chain of the DAG, or a section of one where a function retries or is a class.
type chain struct {
	first, end int // positions of its functions
	// upstream are the chains whose results the first function takes, in the order of its links.
	upstream []int
	// downstream are the chains that take this one's result.
	downstream []int
	colocated  bool
	// priority is the highest of its functions; queueTimeout is the shortest that one of them names, 0 when none does.
	priority     int32
	queueTimeout time.Duration
	rateLimit    *pb.RateLimit // of its only function; nil when it has none
	once         bool          // one of its functions may run at most once
}

// of takes over what a function asks for where it waits.
func (c *chain) of(f *pb.Function, first bool) {
	c.rateLimit = f.GetRateLimit() // such a function is alone
	c.once = c.once || f.Retries != nil && f.GetRetries() == 0
	if first || f.GetPriority() > c.priority {
		c.priority = f.GetPriority()
	}
	if own := queueTimeoutOf(f.GetQueueTimeoutMilliseconds()); own > 0 && (c.queueTimeout == 0 || own < c.queueTimeout) {
		c.queueTimeout = own
	}
}

// queueTimeoutOf returns a time limit for waiting, bounded.
func queueTimeoutOf(milliseconds uint64) time.Duration {
	return time.Duration(min(milliseconds, uint64(timeoutSumMax.Milliseconds()))) * time.Millisecond
}

// newPlan cuts a DAG. versions are its functions in the order of its list.
func newPlan(d *registry.DAG, versions []*pb.Function, stepsMax int) *plan {
	p := &plan{dag: d, position: make([]int, len(versions))}
	last := make([]int, 0, len(d.Graph.Chains())) // per chain of the graph, the last of its chains here
	for _, row := range d.Graph.Chains() {
		for i, f := range row.Functions {
			function := versions[f]
			if i == 0 || separate(function) || separate(p.functions[len(p.functions)-1]) || p.steps() >= stepsMax {
				next := chain{first: len(p.functions)}
				if i > 0 {
					next.upstream = []int{len(p.chains) - 1}
				} else {
					for _, up := range row.Upstream {
						next.upstream = append(next.upstream, last[up])
					}
				}
				for _, up := range next.upstream {
					p.chains[up].downstream = append(p.chains[up].downstream, len(p.chains))
				}
				p.chains = append(p.chains, next)
			}
			p.position[f] = len(p.functions)
			p.refs = append(p.refs, d.Graph.Functions[f])
			p.functions = append(p.functions, function)
			current := &p.chains[len(p.chains)-1]
			current.end = len(p.functions)
			current.of(function, current.end-current.first == 1)
			current.colocated = current.colocated || slices.Contains(d.GetColocated(), d.Graph.Functions[f])
		}
		last = append(last, len(p.chains)-1)
	}
	p.timeout, p.pauses = patience(p.functions, nil)
	p.limited = slices.ContainsFunc(p.functions, func(f *pb.Function) bool { return f.GetRateLimit() != nil })
	for i := range p.chains {
		p.once = p.once || p.chains[i].once
		if len(p.chains[i].downstream) == 0 {
			p.sink = i
		}
	}
	return p
}

// newPlanOf returns the plan of a single function.
func newPlanOf(ref string, f *pb.Function) *plan {
	only := chain{end: 1}
	only.of(f, true)
	p := &plan{refs: []string{ref}, functions: []*pb.Function{f}, position: []int{0}, chains: []chain{only}}
	p.timeout, p.pauses = patience(p.functions, nil)
	p.limited, p.once = f.GetRateLimit() != nil, only.once
	return p
}

// steps returns how many functions the last chain has.
func (p *plan) steps() int {
	last := &p.chains[len(p.chains)-1]
	return last.end - last.first
}

// separate reports whether a function is always an invocation of its own: since it says how often it may run, which is not said of
// another, or when it may start, or since its instance lives in a worker of its own.
func separate(f *pb.Function) bool {
	if f.GetCoroutine() && !f.GetGenerator() {
		return true // it shares a worker with others of its kind
	}
	return f.Retries != nil || f.GetConcurrency() > 0 || f.GetRateLimit() != nil || f.GetConvention() == pb.Convention_CONVENTION_CLASS
}

// timeoutSumMax is far beyond every timeout that can be asked for, and twice it does not overflow.
const timeoutSumMax = 100 * 365 * 24 * time.Hour

// patience returns how long functions may take together with all retries, without those that were registered without a timeout, and the
// pauses that they ask for between retries. retries, unless nil, is in place of what the functions say.
func patience(functions []*pb.Function, retries *uint32) (running, pauses time.Duration) {
	for _, f := range functions {
		n := f.GetRetries()
		if retries != nil {
			n = *retries
		}
		attempts := 1 + int64(n)
		timeout := timeoutSumMax
		if f.GetTimeoutMilliseconds() <= uint64(timeoutSumMax.Milliseconds()/attempts) {
			timeout = time.Duration(int64(f.GetTimeoutMilliseconds())*attempts) * time.Millisecond
		}
		running = min(running+timeout, timeoutSumMax)
		if f.GetBackoffMilliseconds() > 0 {
			pauses = min(pauses+backoffSum(f, n), timeoutSumMax)
		}
	}
	return running, pauses
}

// apart returns the plan in which every function is an invocation of its own.
func (p *plan) apart() *plan {
	if len(p.chains) == len(p.functions) {
		return p
	}
	p.apartOnce.Do(func() {
		versions := make([]*pb.Function, len(p.functions))
		for f, at := range p.position {
			versions[f] = p.functions[at]
		}
		p.apartPlan = newPlan(p.dag, versions, 1)
	})
	return p.apartPlan
}

// find returns the position of the function that an argument names.
func (p *plan) find(name string) (int, error) {
	if p.dag == nil {
		f := p.functions[0]
		if name == "" || name == p.refs[0] || name == f.GetName() {
			return 0, nil
		}
		return 0, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: arguments are given for function %q, which is not the one called", p, name)
	}
	if f, ok := p.dag.Graph.Index(name); ok {
		return p.position[f], nil
	}
	return 0, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "call %s: arguments are given for function %q, which it does not have; its functions are %s",
		p, name, enumerate(p.dag.Graph.Functions))
}

// String names what is planned.
func (p *plan) String() string {
	if p.dag == nil {
		return `function "` + p.refs[0] + `"`
	}
	return `dag "` + p.dag.GetName() + `"`
}

// enumerateMax is how many names an error message shows.
const enumerateMax = 8

func enumerate(names []string) string {
	if len(names) <= enumerateMax {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:enumerateMax], ", ") + ", …"
}

// planner makes plans and keeps them until a function or DAG is registered again. Safe for concurrent use.
type planner struct {
	registry Functions

	mu        sync.RWMutex
	functions map[string]*plan
	dags      map[string]*plan
}

func newPlanner(registry Functions) *planner {
	return &planner{registry: registry, functions: make(map[string]*plan), dags: make(map[string]*plan)}
}

// of returns the plan for what a call asks for, with the versions that are registered now.
func (p *planner) of(call *pb.Call) (*plan, error) {
	switch target := call.GetTarget().(type) {
	case *pb.Call_Function:
		return p.function(target.Function)
	case *pb.Call_Dag:
		return p.composition(target.Dag)
	default:
		return nil, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "a call names neither a function nor a dag")
	}
}

func (p *planner) function(ref string) (*plan, error) {
	f, err := p.registry.Function(ref)
	if err != nil {
		return nil, err
	}
	p.mu.RLock()
	kept := p.functions[ref]
	p.mu.RUnlock()
	if kept != nil && kept.functions[0] == f {
		return kept, nil
	}
	made := newPlanOf(ref, f)
	p.keep(p.functions, ref, made)
	return made, nil
}

func (p *planner) composition(name string) (*plan, error) {
	d, err := p.registry.DAG(name)
	if err != nil {
		return nil, err
	}
	p.mu.RLock()
	kept := p.dags[name]
	p.mu.RUnlock()
	if kept != nil && kept.dag == d {
		current, err := p.current(kept)
		if err != nil || current {
			return kept, err
		}
	}
	versions := make([]*pb.Function, len(d.Graph.Functions))
	for i, ref := range d.Graph.Functions {
		if versions[i], err = p.registry.Function(ref); err != nil {
			return nil, err
		}
	}
	made := newPlan(d, versions, chainStepsMax)
	p.keep(p.dags, name, made)
	return made, nil
}

// current reports whether the functions of a plan are still the ones to call.
func (p *planner) current(kept *plan) (bool, error) {
	for i, ref := range kept.refs {
		f, err := p.registry.Function(ref)
		if err != nil {
			return false, err
		}
		if f != kept.functions[i] {
			return false, nil
		}
	}
	return true, nil
}

func (p *planner) keep(plans map[string]*plan, name string, made *plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(plans) >= plansMax {
		clear(plans)
	}
	plans[name] = made
}
