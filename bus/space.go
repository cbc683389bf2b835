package bus

// Space is how much of its room a server's logs take.
type Space struct {
	// Used is how many bytes the logs take, and Limit how many they may take.
	Used, Limit int64
	// Free is how many bytes the disk has left.
	Free int64
	// Kept is how many bytes of the room are for deletes, for shortening the logs, and for what the nodes say of themselves.
	Kept int64
	// Setting says what sets the limit, for people.
	Setting string
}

// Left is the room for what may be refused when there is none; it is negative when what is kept has been begun.
func (s Space) Left() int64 { return min(s.Limit-s.Used, s.Free) - s.Kept }

// Space returns how much of its room the server's logs take; false when that is not known here.
func (c *Conn) Space() (Space, bool) { return c.space() }
