package resp

// backlog is the replies that a client has not read yet, in the pieces in which they were made, so that each piece is given
// back as soon as it has been written.
type backlog struct {
	chunks []chunk // from head
	head   int
	bytes  int // of memory that they take
}

type chunk struct {
	buf  []byte
	sent int
}

// backlogShareMin is how many bytes every client may leave unread whatever others do; beyond that the replies of all clients
// share half of Config.BufferBytesMax.
const backlogShareMin = 1 << 20

// allowed returns how many bytes of replies a client may leave unread for now.
func (s *Server) allowed() int {
	if s.buffered.Load() > s.cfg.BufferBytesMax/2 {
		return min(backlogShareMin, s.cfg.ClientBufferBytesMax)
	}
	return s.cfg.ClientBufferBytesMax
}

func (b *backlog) empty() bool { return b.head == len(b.chunks) }

// push adds a buffer whose beginning has been sent.
func (b *backlog) push(buf []byte, sent int) {
	if b.head > len(b.chunks)/2 {
		n := copy(b.chunks, b.chunks[b.head:])
		clear(b.chunks[n:])
		b.chunks, b.head = b.chunks[:n], 0
	}
	b.chunks = append(b.chunks, chunk{buf, sent})
	b.bytes += cap(buf)
}

// front returns what is to be sent next, nil if there is nothing.
func (b *backlog) front() []byte {
	if b.empty() {
		return nil
	}
	c := &b.chunks[b.head]
	return c.buf[c.sent:]
}

// took says how much of the front has been sent.
func (b *backlog) took(n int) {
	c := &b.chunks[b.head]
	if c.sent += n; c.sent < len(c.buf) {
		return
	}
	b.bytes -= cap(c.buf)
	*c = chunk{}
	if b.head++; b.empty() {
		*b = backlog{}
	}
}
