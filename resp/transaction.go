package resp

import "bytes"

// A client that begins a transaction sends its commands at once and EXEC behind them, often without waiting for what MULTI is
// answered. Carried out one by one they would be what the client asked not to have, so none is until the transaction is over.

// discarded answers a command of a transaction that has been refused.
func (c *conn) discarded(args [][]byte) {
	switch {
	case bytes.EqualFold(args[0], []byte("exec")):
		c.client.refused = false
		c.w.error("EXECABORT Transaction discarded, since MULTI was refused")
	case bytes.EqualFold(args[0], []byte("discard")):
		c.client.refused = false
		c.w.ok()
	default:
		c.w.error("ERR not carried out: it is part of a transaction, and MULTI was refused; EXEC or DISCARD ends it")
	}
}
