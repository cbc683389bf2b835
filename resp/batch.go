package resp

// batchMax bounds the commands that are read before the first of them is carried out.
const batchMax = 64

// asked is a command that has been read and not been carried out yet.
type asked struct {
	is           *command // nil when there is no such command
	first, words int      // where its words are in the arguments of the request; no words ask for nothing
	end          int      // of its bytes
}

// consume carries out the commands in data and keeps what is left; own says that data is the connection's own buffer.
func (c *conn) consume(data []byte, own bool) {
	at := 0
	for !c.halted() && !c.full() {
		most := batchMax
		if c.request.bound {
			most = 1 // what follows the password is not a stranger's
		}
		batch, breach := c.readBatch(data[at:], most)
		c.touch(batch)
		done := 0
		for done < len(batch) && !c.halted() && !c.full() && c.execute(&batch[done]) {
			done++
		}
		if done > 0 {
			at += batch[done-1].end
		}
		c.request.release()
		if done < len(batch) {
			c.request.forget() // the rest is read again when it is its turn
			break
		}
		if breach != nil {
			c.breach(breach)
			return
		}
		if len(batch) < most {
			break
		}
	}
	rest := data[at:]
	c.held = len(rest) > 0 && (c.halted() || c.full())
	switch {
	case own && len(rest) == 0 && cap(data) > readGrowMin:
		c.in = nil
	case own:
		c.in = data[:copy(data, rest)]
	case len(rest) > 0:
		c.in = append(c.in[:0], rest...)
	}
}

// readBatch reads the commands that data begins with, up to most of them. The error says how what follows breaks the protocol.
func (c *conn) readBatch(data []byte, most int) ([]asked, error) {
	batch := c.loop.batch[:0]
	r := &c.request
	for end := 0; len(batch) < most; {
		first := len(r.args)
		n, err := r.next(data[end:])
		if n == 0 || err != nil {
			c.loop.batch = batch
			return batch, err
		}
		end += n
		cmd := asked{first: first, words: len(r.args) - first, end: end}
		if cmd.words > 0 {
			cmd.is = c.server.commandOf(r.args[first])
		}
		batch = append(batch, cmd)
	}
	c.loop.batch = batch
	return batch, nil
}

// touch has the store look at all keys of a batch before they are accessed one after another. What is not in the processor's cache is
// then fetched from memory for several keys at a time, which is where most of the time goes.
func (c *conn) touch(batch []asked) {
	if len(batch) < 2 || !c.client.authenticated {
		return
	}
	t := &c.loop.touched
	for i := range batch {
		cmd := &batch[i]
		if cmd.is == nil || cmd.is.first == 0 || cmd.words <= cmd.is.first {
			continue
		}
		args := c.request.args[cmd.first : cmd.first+cmd.words]
		member := ""
		if at := cmd.is.member; at > 0 && len(args) > at && len(args[at]) <= touchMemberMax {
			from := len(t.room)
			t.room = appendEncoded(t.room, args[at])
			member = textOf(t.room[from:])
		}
		t.keys = append(t.keys, textOf(args[cmd.is.first]))
		t.members = append(t.members, member)
	}
	c.server.store.Touch(t.keys, t.members)
	clear(t.keys)
	clear(t.members)
	t.keys, t.members, t.room = t.keys[:0], t.members[:0], t.room[:0]
}

// touchMemberMax is up to how many bytes a member has that is looked for before its command is carried out.
const touchMemberMax = 1 << 10

// touched is what a loop has the store look at.
type touched struct {
	keys    []string
	members []string
	room    []byte // of the members
}
