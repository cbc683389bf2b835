package slots

// Event is what has happened, for a Mover to take in.
type Event interface{ event() }

// Members says who else there is. It is the first event, and comes again whenever that has changed, or may have.
type Members struct{ Others []Member }

// Member is what another member says about itself.
type Member struct {
	ID string
	// Guest is to be a master of nothing, and Leaving is about to go.
	Guest, Leaving bool
	// Serves are the slots that it serves, and Leads those of them that it leads.
	Serves, Leads Bitmap
}

// Alive says when this member was last able to say that it is there.
type Alive struct{ At int64 }

// Tick lets time pass. It is due at the latest when Mover.Wake says so.
type Tick struct{}

// Replayed answers Replay.
type Replayed struct {
	Transfer uint64
	// Gap says that something was not in the stream any more when its turn came.
	Gap bool
	Err error
}

// Loaded answers Load.
type Loaded struct {
	Transfer uint64
	// End is the sequence up to which the stream's records have been brought.
	End uint64
	Err error
}

// EndKnown answers AskEnd.
type EndKnown struct {
	Transfer uint64
	// Record is the sequence of the stream's last record.
	Record uint64
	// Gaps counts how often something was not in the stream any more when its turn came, as of before the question was put.
	Gaps uint64
	Err  error
}

// Position tells how far the stream that Await names has been followed. It comes as long as the transfer goes on.
type Position struct {
	Transfer       uint64
	Sequence, Gaps uint64
}

// Listening answers Listen.
type Listening struct {
	Transfer uint64
	Err      error
}

// Announced answers Announce.
type Announced struct{ Err error }

// Leave asks the member to hand all its slots over, since it is about to go. Stop answers it.
type Leave struct{}

func (Members) event()   {}
func (Alive) event()     {}
func (Tick) event()      {}
func (Replayed) event()  {}
func (Loaded) event()    {}
func (EndKnown) event()  {}
func (Position) event()  {}
func (Listening) event() {}
func (Announced) event() {}
func (Leave) event()     {}

// Action is what a Mover wants done, in the order of the list.
type Action interface{ action() }

// Assign tells the kernels what they are to some slots of one tenure.
type Assign struct {
	Slots  []uint16
	Tenure Tenure
	// Sequence is up to where the slots have been loaded, and First says that the kernel was a master of no other slot of their
	// stream. Both are zero for slots that were not loaded.
	Sequence uint64
	First    bool
}

// Route says which members are to serve which slots from now on.
type Route struct{ Table Table }

// Company says whether there are other members that can be masters.
type Company struct{ Others bool }

// Replay has a stream followed from where the kernel is to where the stream ends now. It is answered by Replayed.
type Replay struct {
	Transfer uint64
	Stream   int
}

// Load has all records of some slots brought to the kernel. It is answered by Loaded.
type Load struct {
	Transfer uint64
	Stream   int
	Slots    []uint16
}

// AskEnd has a stream followed, and asks where its last record is. It is answered by EndKnown.
type AskEnd struct {
	Transfer uint64
	Stream   int
}

// Await asks how far a stream has been followed, until that is Sequence. It is answered by Position, again and again.
type Await struct {
	Transfer uint64
	Stream   int
	Sequence uint64
}

// Abandon ends a transfer, whose slots are not taken over. What it has asked for need not be answered any more.
type Abandon struct {
	Transfer uint64
	Slots    []uint16
	Err      error
}

// Listen has requests for some slots come to this member. It is answered by Listening.
type Listen struct {
	Transfer uint64
	Slots    []uint16
}

// Serve has the requests answered that come for some slots.
type Serve struct {
	Transfer uint64
	Slots    []uint16
}

// Unserve ends Serve and Listen: others serve the slots.
type Unserve struct{ Slots []uint16 }

// Announce lets the other members know what this one does. It is answered by Announced.
type Announce struct {
	Serves, Leads Bitmap
	Leaving       bool
}

// Ready says that the slots that this member got at first are served.
type Ready struct {
	// All says that they are all that there are.
	All bool
}

// Stop answers Leave: the member can go. Err says why others do not serve all that it served; nil if they do, or there are none.
type Stop struct{ Err error }

// Fail says that this member could not begin.
type Fail struct{ Err error }

func (Assign) action()   {}
func (Route) action()    {}
func (Company) action()  {}
func (Replay) action()   {}
func (Load) action()     {}
func (AskEnd) action()   {}
func (Await) action()    {}
func (Abandon) action()  {}
func (Listen) action()   {}
func (Serve) action()    {}
func (Unserve) action()  {}
func (Announce) action() {}
func (Ready) action()    {}
func (Stop) action()     {}
func (Fail) action()     {}
