package anna

import "time"

// SetClock makes a server go by another clock than the machine's. It comes before Run.
func (s *Server) SetClock(now func() time.Time) { s.now, s.stamps.wall = now, now }
