package kernel

import (
	"cloudburst/anna/slots"
	"cloudburst/lattice"
)

// Ack says when a write is answered.
type Ack uint8

const (
	// Durable answers when the log has persisted the write.
	Durable Ack = iota
	// Memory answers when the write is merged in the memory of one master.
	Memory
)

// Message is what reaches a kernel:
//
//	from clients        *Write, *Read
//	from caches         *Watch, *Unwatch, *CachesGone
//	from the log        *Acknowledged, *Advanced, *Failed, *Applied, *Loaded
//	from other masters  *Heard
//	from the cluster    *Assign, *Company, *Compact
//	from the clock      *Tick
type Message interface{ message() }

// Write merges a delta into a key.
type Write struct {
	// Key may change once Step has returned.
	Key  string
	Slot uint16
	// Delta belongs to the kernel from then on. The kernel completes what the writer left zero (stamps, generations).
	Delta *lattice.State
	// Put is the value that is written, unless it is nil; there is no Delta. It must not change afterwards.
	Put []byte
	// Add is added to a counter, unless it is 0; there is no Delta. If there is a Make, it is called unless the key holds a counter.
	Add int64
	// Make makes the delta from what the key holds; there is no Delta.
	Make Maker
	// Stamp is that of the write, if the writer has stamped it: it replaces zero stamps in Delta, and the write is not made when the key
	// holds something later. There is no Put, Add or Make. Zero = the kernel stamps it.
	Stamp lattice.Timestamp
	// Floor is the Time of the latest stamp that the writer may know of: those of this write are later. 0 = it knows of none.
	Floor uint64
	// Expect is the fingerprint (Config.Fingerprint) of what the key must hold for the write to be made; 0 = it may hold anything. Delta was
	// made from what the key must hold.
	Expect uint64
	// Replace deletes content of another type, which would have the write refused otherwise.
	Replace bool
	// Delete deletes what is there; there is no Delta.
	Delete bool
	// Persist takes back an expiry; there is no Delta.
	Persist bool
	// Volatile keeps the write out of the log.
	Volatile bool
	// Cache is the cache that writes, if one does: it watches the key from then on, unless what the key holds is large.
	Cache uint16
	Ack   Ack
	// Ticket comes back in the Reply; nil when none is wanted.
	Ticket any
}

// Maker makes the delta of a write that depends on what its key holds. No other write of this master comes in between; one of
// another master may.
type Maker interface {
	// Make is called once, in a Step. It may read held and must not keep it. The delta is nil when there is nothing to write; what
	// it leaves zero is completed as in any other, and stamp, which the kernel has just made, is for a tombstone. Value is that of
	// the Reply.
	Make(held *lattice.State, stamp lattice.Timestamp, nowMillis int64) (delta *lattice.State, value int64, err error)
}

// Read asks for a key that is not in memory to be brought there. It is answered when the key is there.
type Read struct {
	Key    string
	Ticket any
}

// Watch makes a cache get every change of a key, beginning with what the key holds now.
type Watch struct {
	Key   string
	Slot  uint16
	Cache uint16
}

// Unwatch ends a Watch.
type Unwatch struct {
	Key   string
	Cache uint16
}

// CachesGone ends all Watches of some caches.
type CachesGone struct{ Caches []uint16 }

// Acknowledged says that the log has persisted a publish, as the record of a sequence.
type Acknowledged struct {
	Publish   uint64
	Partition int
	Sequence  uint64
	// Upload names the chunks of the state, if it was too large for one record.
	Upload string
}

// Advanced says that a publish of a large state is getting on. Sequence is that of a chunk that the log has persisted; 0 = there is none
// yet.
type Advanced struct {
	Publish   uint64
	Partition int
	Sequence  uint64
}

// Failed says that a publish was not persisted, as far as is known.
type Failed struct {
	Publish uint64
	Err     error
}

// Heard brings the delta that another master has made of a write for this node, before the log brings it.
type Heard struct {
	Key  string
	Slot uint16
	// Delta is complete, and immutable.
	Delta *lattice.State
}

// Applied brings a record of the log, in the order of its sequences: when the log is replayed, and when it is followed because
// there are other masters.
type Applied struct {
	Partition int
	Sequence  uint64
	// Publisher is the kernel that published the record, and Since as in its Publish.
	Publisher, Since uint64
	// Entries are those of slots of which the kernel is a master. The slice may change once Step has returned; the states belong to the
	// kernel. None = everything up to Sequence has been brought.
	Entries []Applying
	// Loading says that the entries are of slots that are being taken over, and not in order with the others.
	Loading bool
}

// Applying is an entry of a record that the log has brought.
type Applying struct {
	Entry
	// Without a State it is in chunks: then Type is that of its lattice and Latest its latest stamp, Upload names the chunks, and they
	// are loaded when the key is read.
	Type   lattice.Type
	Latest lattice.Timestamp
	Upload string
	// Bytes is the size of the entry and its chunks.
	Bytes int
}

// Assign changes what the kernel is to some slots. Before a kernel becomes a master of one it is
// Joining, and is brought all its records with Loading, up to Sequence, which is not less than Kernel.Position then; those that
// follow come in order with the others.
type Assign struct {
	Slots    []uint16
	Tenure   slots.Tenure
	Sequence uint64
	// First says that the kernel has been a master of no other slot of their partitions, so that it needs nothing before Sequence.
	First bool
}

// Company says whether there are other masters, which read writes from the log. A kernel assumes at first that there are.
type Company struct{ Others bool }

// Compact says that the kernel is to need nothing of a log before Target: what it still needs it publishes again. The message is repeated
// until Kernel.Floor has reached Target.
type Compact struct {
	Partition int
	Target    uint64
}

// Loaded answers a Load.
type Loaded struct {
	Key string
	// State is what the records of Sequences hold of the key, merged; nil when none holds anything.
	State     *lattice.State
	Sequences []uint64
	Err       error
}

// Tick lets time pass. It is due at the latest when Kernel.Wake says so.
type Tick struct {
	// Hurry makes the kernel publish everything as soon as it can from now on, since it is about to end.
	Hurry bool
}

func (*Write) message()        {}
func (*Read) message()         {}
func (*Watch) message()        {}
func (*Unwatch) message()      {}
func (*CachesGone) message()   {}
func (*Acknowledged) message() {}
func (*Advanced) message()     {}
func (*Failed) message()       {}
func (*Heard) message()        {}
func (*Applied) message()      {}
func (*Loaded) message()       {}
func (*Assign) message()       {}
func (*Compact) message()      {}
func (*Company) message()      {}
func (*Tick) message()         {}

// Effects is what a kernel wants done. Steps append to it. The caller of Step carries the effects out and then calls Reset.
type Effects struct {
	Replies   []Reply
	Publishes []Publish
	Pushes    []Push
	Loads     []Load
	// Behind names the partitions whose log holds something that the kernel has not merged: it must be followed from
	// Kernel.Position on.
	Behind []int
	// Superseded names uploads whose chunks are not needed any more.
	Superseded []Upload

	entries []Entry // of Publishes
}

// Reply answers a Write or a Read.
type Reply struct {
	Ticket any
	Err    error
	// Value is the number of members that a write added or removed, the value of a counter after it, or 1 when there was
	// something to delete.
	Value int64
}

// Publish appends a record to the log, with what has changed of one or several keys. It is answered by Acknowledged or Failed.
type Publish struct {
	ID        uint64
	Partition int
	// Since is a sequence up to which the kernel has merged everything: the record and its chunks come after it.
	Since uint64
	// Entries are of different keys. They are valid until Effects.Reset.
	Entries []Entry
}

// Entry is what a record says of one key.
type Entry struct {
	Key  string
	Slot uint16
	// Whole says that all records of the key up to Since are merged in State: with it they are not needed any more.
	Whole bool
	// State is immutable once it is published.
	State *lattice.State
}

// Push brings a change to a cache.
type Push struct {
	Cache uint16
	Key   string
	// Delta is immutable.
	Delta *lattice.State
	// Whole says that Delta is all that the key holds, and answers a Watch. It then belongs to the cache.
	Whole bool
	// Asked says that the cache is about to be told all that the key holds, though it has not asked.
	Asked bool
	// Lost says that the cache gets no more changes of the key, since other masters have it now.
	Lost bool
	// Err says why a Watch cannot be answered.
	Err error
}

// Load asks for what the log holds of a key. It is answered by Loaded.
type Load struct {
	Key       string
	Slot      uint16
	Partition int
	// Sequences are those of the records that matter, in their order.
	Sequences []uint64
}

// Upload names the chunks of one state.
type Upload struct {
	Slot      uint16
	Partition int
	Name      string
}

// Reset empties e and keeps its memory.
func (e *Effects) Reset() {
	clear(e.Replies)
	clear(e.Publishes)
	clear(e.Pushes)
	clear(e.Loads)
	clear(e.Superseded)
	clear(e.entries)
	e.Replies, e.Publishes, e.Pushes = e.Replies[:0], e.Publishes[:0], e.Pushes[:0]
	e.Loads, e.Behind, e.Superseded, e.entries = e.Loads[:0], e.Behind[:0], e.Superseded[:0], e.entries[:0]
}
