package slots

// Tenure is what a kernel is to a slot.
type Tenure uint8

const (
	// Leading is a master who also makes the tombstones of what has expired. It is what a kernel is to every slot in the beginning.
	Leading Tenure = iota
	// Serving is a master like any other; the one who leads makes the tombstones.
	Serving
	// Parting is a master whom others are about to follow. What was volatile goes to the log, so that they get it.
	Parting
	// Joining is not a master yet: the slot's records are being brought.
	Joining
	// Stranger is no master. What the kernel still has to publish it publishes.
	Stranger
)
