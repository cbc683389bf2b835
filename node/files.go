package node

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	tokenFile   = "token"
	addressFile = "address"
	memberFile  = "store-member"
	// userFolder is where in the user's configuration directory the clients of this machine look for a node.
	userFolder = "cloudburst"
	tokenBytes = 32
)

// readToken returns the token that clients must bear, made on the first start of a data directory.
func readToken(data string) (string, error) {
	path := filepath.Join(data, tokenFile)
	text, err := os.ReadFile(path)
	if token := strings.TrimSpace(string(text)); err == nil && token != "" {
		return token, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the token: %w", err)
	}
	random := make([]byte, tokenBytes)
	_, _ = rand.Read(random) // never fails
	token := base64.RawURLEncoding.EncodeToString(random)
	if err := writePrivate(path, token); err != nil {
		return "", fmt.Errorf("store the token: %w", err)
	}
	return token, nil
}

// publish tells the clients of this user on this machine where the node is and how to get in. The node that was started last
// is the one that they find; what it leaves stays, since a client that gets no answer there says so.
func publish(address, token string) error {
	dir, err := os.UserConfigDir()
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, userFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(writePrivate(filepath.Join(dir, tokenFile), token), writePrivate(filepath.Join(dir, addressFile), address))
}

// writePrivate replaces a file in one step by one that only the user can read.
func writePrivate(path, text string) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = file.WriteString(text + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
