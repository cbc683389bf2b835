package embedded

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrForeignData is returned by Start when a data directory holds what a server with these settings would not find, or lose.
var ErrForeignData = errors.New("the data directory belongs to another kind of node")

const (
	memberFile   = "member"
	nameBytesMax = 64
)

// membership is what a data directory remembers of its cluster: a replicated log is of use to its member only, and a member
// that came back under another name would count as one more.
type membership struct {
	cluster, member string
	formed          bool // the cluster has been together once
}

// join returns the membership of a data directory in the cluster of c, made if the directory is new.
func join(dir string, c Cluster) (membership, error) {
	held, found, err := readMembership(dir)
	if err != nil {
		return held, err
	}
	if !found {
		if streams, err := hasStreams(dir); err != nil {
			return held, err
		} else if streams {
			return held, fmt.Errorf("%w: %s holds the log of one that runs alone, which a cluster would not keep; join with an empty directory (--data)",
				ErrForeignData, dir)
		}
		held = membership{cluster: c.Name, member: c.Member}
		if held.member == "" {
			var random [6]byte
			_, _ = rand.Read(random[:]) // never fails
			held.member = "node-" + hex.EncodeToString(random[:])
		}
		return held, held.write(dir)
	}
	if held.cluster != c.Name {
		return held, fmt.Errorf("%w: %s belongs to cluster %s, not to %s (cluster.name)", ErrForeignData, dir, held.cluster, c.Name)
	}
	if c.Member != "" && held.member != c.Member {
		return held, fmt.Errorf("%w: %s belongs to member %s, not to %s (cluster.member)", ErrForeignData, dir, held.member, c.Member)
	}
	return held, nil
}

// alone makes sure that a data directory is not that of a member.
func alone(dir string) error {
	held, found, err := readMembership(dir)
	if err != nil || !found {
		return err
	}
	return fmt.Errorf("%w: %s is that of member %s of cluster %s; start it with --join and --cluster-listen as before, or give another directory (--data)",
		ErrForeignData, dir, held.member, held.cluster)
}

func readMembership(dir string) (m membership, found bool, err error) {
	path := filepath.Join(dir, memberFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("read which member of the cluster this is: %w", err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 || len(fields) > 3 || !plainName(fields[0]) || !plainName(fields[1]) || len(fields) == 3 && fields[2] != "formed" {
		return m, false, fmt.Errorf("read which member of the cluster this is: %s is damaged: it must say CLUSTER MEMBER, and formed when the cluster has been together", path)
	}
	return membership{cluster: fields[0], member: fields[1], formed: len(fields) == 3}, true, nil
}

// write replaces the file in one step, on the disk before anything that relies on it.
func (m membership) write(dir string) error {
	text := m.cluster + " " + m.member
	if m.formed {
		text += " formed"
	}
	file, err := os.CreateTemp(dir, "."+memberFile+"-*")
	if err != nil {
		return fmt.Errorf("store which member of the cluster this is: %w", err)
	}
	err = write(file, text+"\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), filepath.Join(dir, memberFile))
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the error says what matters
		return fmt.Errorf("store which member of the cluster this is: %w", err)
	}
	return nil
}

// hasStreams reports whether JetStream keeps any stream in a data directory.
func hasStreams(dir string) (bool, error) {
	found, err := filepath.Glob(filepath.Join(dir, StoreFolder, "*", "streams", "*"))
	return len(found) > 0, err
}

func plainName(name string) bool {
	if name == "" || len(name) > nameBytesMax {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
