package printed

// order is one of the lists that a line is in.
type order int

const (
	ofAll order = iota
	ofRun
	ofFunction
	orders
)

// link is the place of a line in one list.
type link struct{ before, after *entry }

// list is a list of lines in the order in which they came. The links are in the lines, so that a line is taken out of all of its
// lists at once.
type list struct {
	order       order
	first, last *entry
	n           int
}

func (l *list) push(e *entry) {
	e.links[l.order].before = l.last
	if l.last != nil {
		l.last.links[l.order].after = e
	} else {
		l.first = e
	}
	l.last = e
	l.n++
}

func (l *list) remove(e *entry) {
	at := &e.links[l.order]
	if at.before != nil {
		at.before.links[l.order].after = at.after
	} else {
		l.first = at.after
	}
	if at.after != nil {
		at.after.links[l.order].before = at.before
	} else {
		l.last = at.before
	}
	*at = link{} // so that a line that is read on does not keep its neighbours
	l.n--
}
