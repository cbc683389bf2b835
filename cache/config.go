package cache

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// fetchTimeout bounds the wait for a key that is not here, when its caller names no deadline.
const fetchTimeout = 30 * time.Second

// Config says how large a cache is. The zero value runs.
type Config struct {
	// BytesMax bounds the memory of what is held; keys that were not read lately make room. Values are shared with Anna when that
	// is in the same process. Default 256 MiB.
	BytesMax int
	// WaitersMax bounds the calls that wait for keys to be read or to appear; one more is refused. Default 65,536.
	WaitersMax int
	// Logger gets what goes wrong in the background. Default: discarded.
	Logger *slog.Logger
}

// WithDefaults returns c with the settings that are zero filled in.
func (c Config) WithDefaults() Config {
	c.BytesMax = cmp.Or(c.BytesMax, 256<<20)
	c.WaitersMax = cmp.Or(c.WaitersMax, 1<<16)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	var faults []error
	if c.BytesMax < 1<<20 {
		faults = append(faults, fmt.Errorf("bytes_max %d: must be at least 1 MiB", c.BytesMax))
	}
	if c.WaitersMax < 1 {
		faults = append(faults, fmt.Errorf("waiters_max %d: must be at least 1", c.WaitersMax))
	}
	return errors.Join(faults...)
}
