package embedded

import "math"

// Held returns how many messages the files of a stream hold whose server has stopped.
func Held(stream string) (uint64, error) {
	s, err := scan(stream)
	if err != nil {
		return 0, err
	}
	return s.live(0, math.MaxUint64), nil
}
