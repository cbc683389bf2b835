// Package anna is the store: lattices in memory, many masters, one log.
//
// A kernel owns a part of the keys and is a pure state machine, entered by one goroutine at a time; the server around it does
// the input and output. Writes merge, so masters need no agreement, and whatever was acknowledged as durable is in the log.
package anna
