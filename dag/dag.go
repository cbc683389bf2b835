// Package dag holds the shape of a composition: which functions it has, which feeds which, and how it is cut into chains.
//
// It is pure: a DAG is validated once, when it is made, and never changes.
package dag

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FunctionsMax bounds the functions of one DAG.
const FunctionsMax = 1024

// Errors of New. Every one of them is wrapped with the names at fault.
var (
	// ErrEmpty is returned for a DAG without functions.
	ErrEmpty = errors.New("dag has no functions")
	// ErrTooManyFunctions is returned for a DAG of more than FunctionsMax functions.
	ErrTooManyFunctions = errors.New("dag has too many functions")
	// ErrDuplicateFunction is returned when a function stands in the list twice.
	ErrDuplicateFunction = errors.New("function is listed twice")
	// ErrDuplicateLink is returned when a link stands in the list twice.
	ErrDuplicateLink = errors.New("link is listed twice")
	// ErrUnknownFunction is returned when a link names a function that is not in the list.
	ErrUnknownFunction = errors.New("link names a function that the dag does not list")
	// ErrCycle is returned when functions feed each other in a circle.
	ErrCycle = errors.New("dag has a cycle")
	// ErrSeveralSinks is returned when more than one function feeds nothing, so that the result would not be one.
	ErrSeveralSinks = errors.New("dag has several sinks")
)

// Link says that what Source returns is an argument of Sink.
type Link struct {
	Source, Sink string
}

// DAG is a validated composition. It is immutable and safe for concurrent use. Functions are addressed by their index in
// Functions.
type DAG struct {
	Name      string
	Functions []string
	Links     []Link

	index    map[string]int
	upstream [][]int // per function, in the order of the links
	chains   []Chain
	chainOf  []int
	sink     int
}

// New validates a composition. The links into one function give the order in which upstream results are appended to its
// arguments.
func New(name string, functions []string, links []Link) (*DAG, error) {
	if len(functions) == 0 {
		return nil, fmt.Errorf("%w: give at least one", ErrEmpty)
	}
	if len(functions) > FunctionsMax {
		return nil, fmt.Errorf("%w: %d, the limit is %d", ErrTooManyFunctions, len(functions), FunctionsMax)
	}
	d := &DAG{
		Name:      name,
		Functions: slices.Clone(functions),
		Links:     slices.Clone(links),
		index:     make(map[string]int, len(functions)),
		upstream:  make([][]int, len(functions)),
	}
	for i, f := range functions {
		if _, taken := d.index[f]; taken {
			return nil, fmt.Errorf("%w: %q", ErrDuplicateFunction, f)
		}
		d.index[f] = i
	}
	downstream, err := d.connect()
	if err != nil {
		return nil, err
	}
	if cycle := d.cycle(downstream); cycle != nil {
		return nil, fmt.Errorf("%w: %s", ErrCycle, strings.Join(cycle, " → "))
	}
	var sinks []string
	for i := range functions {
		if len(downstream[i]) == 0 {
			sinks = append(sinks, functions[i])
			d.sink = i
		}
	}
	if len(sinks) > 1 {
		return nil, fmt.Errorf("%w: %s; exactly one function may have no outgoing link", ErrSeveralSinks, strings.Join(sinks, ", "))
	}
	d.cut(downstream)
	return d, nil
}

// Index returns the index of a function.
func (d *DAG) Index(function string) (int, bool) {
	i, ok := d.index[function]
	return i, ok
}

// Upstream returns the functions whose results function i takes, in the order of the links.
func (d *DAG) Upstream(i int) []int { return d.upstream[i] }

// Sources returns the functions that nothing feeds.
func (d *DAG) Sources() []int {
	var sources []int
	for i := range d.Functions {
		if len(d.upstream[i]) == 0 {
			sources = append(sources, i)
		}
	}
	return sources
}

// Sink returns the function whose result is the DAG's.
func (d *DAG) Sink() int { return d.sink }

func (d *DAG) connect() (downstream [][]int, err error) {
	downstream = make([][]int, len(d.Functions))
	seen := make(map[Link]bool, len(d.Links))
	for _, link := range d.Links {
		source, ok := d.index[link.Source]
		if !ok {
			return nil, fmt.Errorf("%w: %q in (%s, %s)", ErrUnknownFunction, link.Source, link.Source, link.Sink)
		}
		sink, ok := d.index[link.Sink]
		if !ok {
			return nil, fmt.Errorf("%w: %q in (%s, %s)", ErrUnknownFunction, link.Sink, link.Source, link.Sink)
		}
		if seen[link] {
			return nil, fmt.Errorf("%w: (%s, %s)", ErrDuplicateLink, link.Source, link.Sink)
		}
		seen[link] = true
		d.upstream[sink] = append(d.upstream[sink], source)
		downstream[source] = append(downstream[source], sink)
	}
	return downstream, nil
}

// cycle returns the names along one cycle, the first repeated at the end, or nil without a cycle.
func (d *DAG) cycle(downstream [][]int) []string {
	const (
		white = iota // not visited
		grey         // on the path
		black        // done
	)
	colour := make([]int, len(d.Functions))
	var path []int
	var visit func(i int) []string
	visit = func(i int) []string {
		colour[i] = grey
		path = append(path, i)
		for _, next := range downstream[i] {
			if colour[next] == grey {
				var names []string
				for _, on := range path[slices.Index(path, next):] {
					names = append(names, d.Functions[on])
				}
				return append(names, d.Functions[next])
			}
			if colour[next] == white {
				if names := visit(next); names != nil {
					return names
				}
			}
		}
		colour[i] = black
		path = path[:len(path)-1]
		return nil
	}
	for i := range d.Functions {
		if colour[i] == white {
			if names := visit(i); names != nil {
				return names
			}
		}
	}
	return nil
}
