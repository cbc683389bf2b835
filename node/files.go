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

	"cloudburst/contexts"
)

const (
	tokenFile   = "token"
	addressFile = "address"
	memberFile  = "store-member"
	tokenBytes  = 32
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
	if err := contexts.WritePrivate(path, token); err != nil {
		return "", fmt.Errorf("store the token: %w", err)
	}
	return token, nil
}

// publish lets the clients of this user find the node.
func (n *Node) publish() error {
	data, err := filepath.Abs(n.cfg.Node.Data)
	if err != nil {
		return fmt.Errorf("find the data directory: %w", err)
	}
	folder, err := contexts.Open()
	if err == nil {
		n.published, err = folder.Publish(contexts.Context{
			Name: n.cfg.Node.Context, Address: n.address(), Token: n.cfg.Gateway.Token, Data: data,
		})
	}
	if errors.Is(err, contexts.ErrTaken) {
		return err
	}
	if err != nil {
		n.cfg.Logger.Warn("clients on this machine cannot find the node by themselves; give them CLOUDBURST_ADDRESS and CLOUDBURST_TOKEN", "error", err)
	}
	return nil
}

// withdraw notes for the clients of this user that the node has ended.
func (n *Node) withdraw() {
	if n.published.Name == "" {
		return
	}
	data, err := filepath.Abs(n.cfg.Node.Data)
	if err != nil {
		return
	}
	if folder, err := contexts.Open(); err == nil {
		// Without the note, it is noticed by its process that the node is gone.
		_ = folder.Withdraw(n.published.Name, data)
	}
}
