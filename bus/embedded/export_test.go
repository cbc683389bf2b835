package embedded

import (
	"math"

	"github.com/nats-io/nats-server/v2/server"
)

// Held returns how many messages the files of a stream hold whose server has stopped.
func Held(stream string) (uint64, error) {
	s, err := scan(stream)
	if err != nil {
		return 0, err
	}
	return s.live(0, math.MaxUint64), nil
}

// Messages returns how many messages a running server's own copy of a stream has.
func (s *Server) Messages(stream string) uint64 {
	info, err := s.nats.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return 0
	}
	for _, account := range info.AccountDetails {
		for _, detail := range account.Streams {
			if detail.Name == stream {
				return detail.State.Msgs
			}
		}
	}
	return 0
}
