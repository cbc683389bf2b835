package client

import (
	"cmp"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	addressDefault = "127.0.0.1:7100"
	portDefault    = "7100"
	// A node leaves its address and its token in files of these names, in the folder "cloudburst" of the user's configuration
	// directory.
	savedFolder  = "cloudburst"
	savedAddress = "address"
	savedToken   = "token"
)

// target is where a node is and how to get in.
type target struct {
	address string // host:port
	secure  bool
	token   string
}

// find puts the target together. It is asked again for each connection, since a node that was started again may have another
// port and another token.
func (o options) find() (target, error) {
	saved := readSaved(savedAddress)
	address := cmp.Or(o.address, os.Getenv("CLOUDBURST_ADDRESS"), saved, addressDefault)
	t, err := parseAddress(address)
	if err != nil {
		return t, err
	}
	t.secure = t.secure || o.tls != nil
	t.token = cmp.Or(o.token, os.Getenv("CLOUDBURST_TOKEN"))
	// The saved token goes only to the node that saved it.
	if home, err := parseAddress(saved); t.token == "" && err == nil && home.address == t.address {
		t.token = readSaved(savedToken)
	}
	return t, nil
}

func parseAddress(address string) (target, error) {
	fail := func(why string) (target, error) {
		return target{}, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "address %q: %s; give it as host:port, http://host:port or https://host:port", address, why)
	}
	text := address
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fail("it cannot be read")
	case u.Scheme != "http" && u.Scheme != "https":
		return fail("unknown scheme " + u.Scheme)
	case u.Hostname() == "":
		return fail("it names no host")
	case u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fail("it says more than a host and a port")
	}
	host := u.Hostname()
	if host == "localhost" {
		host = "127.0.0.1"
	}
	return target{address: net.JoinHostPort(host, cmp.Or(u.Port(), portDefault)), secure: u.Scheme == "https"}, nil
}

// readSaved returns what the node that was last started on this machine left for its user's clients, or "".
func readSaved(name string) string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(dir, savedFolder, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
