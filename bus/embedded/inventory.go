package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// inventory is how long each file of each stream was when the server had stopped. The other members of a cluster write to a stream until
// then, so that its messages cannot be counted before. After that, the files do not change.
type inventory map[string]map[string]int64

// takeInventory looks at the files of all streams, and makes them outlive the machine.
func takeInventory(dataDir string) (inventory, error) {
	found := inventory{}
	for _, folder := range newGuard(dataDir).below(streamsFolder) {
		name := filepath.Base(folder)
		if strings.HasPrefix(name, ".") {
			continue // removed, but for its files
		}
		found[name] = map[string]int64{}
		paths, _ := filepath.Glob(filepath.Join(folder, messagesFolder, "*"+blockSuffix)) // the pattern is well-formed
		for _, path := range paths {
			size, err := syncFile(path)
			if err != nil {
				return nil, fmt.Errorf("note the files of stream %s: %w", name, err)
			}
			found[name][filepath.Base(path)] = size
		}
	}
	return found, nil
}

func syncFile(path string) (size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err == nil {
		size = info.Size()
		err = file.Sync()
	}
	return size, errors.Join(err, file.Close())
}

// missing says what a stream lacks of the files that it had, a sentence each.
func (v inventory) missing(s *scanned) (found []string) {
	there := map[string]int64{}
	for i := range s.blocks {
		there[filepath.Base(s.blocks[i].path)] = int64(s.blocks[i].size)
	}
	for name, size := range v[s.name] {
		path := filepath.Join(s.folder, messagesFolder, name)
		switch now, is := there[name]; {
		case !is:
			found = append(found, fmt.Sprintf("stream %s: %s with %d bytes is missing", s.name, path, size))
		case now < size:
			found = append(found, fmt.Sprintf("stream %s: %s has %d of %d bytes", s.name, path, now, size))
		}
	}
	return found
}
