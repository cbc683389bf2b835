package dag

// Chain is a longest row of functions in which each feeds only the next and is fed only by the one before. A chain runs
// without leaving the worker that starts it.
type Chain struct {
	// Functions of the chain, first to last.
	Functions []int
	// Upstream are the chains whose results the first function takes, in the order of its links.
	Upstream []int
	// Downstream are the chains that take this one's result; none for the sink's.
	Downstream []int
}

// Chains returns the DAG cut into chains, every function in exactly one, each chain after all that feed it.
func (d *DAG) Chains() []Chain { return d.chains }

// cut fills d.chains and d.chainOf. It walks the functions in topological order.
func (d *DAG) cut(downstream [][]int) {
	d.chainOf = make([]int, len(d.Functions))
	waiting := make([]int, len(d.Functions))
	var ready []int
	for i := range d.Functions {
		waiting[i] = len(d.upstream[i])
		if waiting[i] == 0 {
			ready = append(ready, i)
		}
	}
	for len(ready) > 0 {
		i := ready[0]
		ready = ready[1:]
		d.place(i, downstream)
		for _, next := range downstream[i] {
			if waiting[next]--; waiting[next] == 0 {
				ready = append(ready, next)
			}
		}
	}
}

// place puts function i at the end of its upstream's chain, or into a chain of its own.
func (d *DAG) place(i int, downstream [][]int) {
	up := d.upstream[i]
	if len(up) == 1 && len(downstream[up[0]]) == 1 {
		c := d.chainOf[up[0]]
		d.chains[c].Functions = append(d.chains[c].Functions, i)
		d.chainOf[i] = c
		return
	}
	c := len(d.chains)
	chain := Chain{Functions: []int{i}}
	for _, u := range up {
		from := d.chainOf[u]
		chain.Upstream = append(chain.Upstream, from)
		d.chains[from].Downstream = append(d.chains[from].Downstream, c)
	}
	d.chains = append(d.chains, chain)
	d.chainOf[i] = c
}
