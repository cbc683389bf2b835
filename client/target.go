package client

import (
	"cmp"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"

	"cloudburst/contexts"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

const (
	addressDefault = "127.0.0.1:7100"
	portDefault    = "7100"
)

// target is where a node is and how to get in.
type target struct {
	address string // host:port
	secure  bool
	token   string
	context string // the context that says so; empty when the address was given
}

// String names the node for people.
func (t target) String() string {
	if t.context == "" {
		return t.address
	}
	return t.address + " (context " + t.context + ")"
}

// settled returns the options with what the environment and the current context say now, so that a client stays with its node.
func (o options) settled() (options, error) {
	if o.address != "" && o.context != "" {
		return o, errors.New("an address and a context name two nodes; give one of them")
	}
	o.named = o.context != ""
	if o.context == "" {
		o.address = cmp.Or(o.address, os.Getenv("CLOUDBURST_ADDRESS"))
	}
	if o.address != "" {
		return o, nil
	}
	if o.context = cmp.Or(o.context, os.Getenv("CLOUDBURST_CONTEXT")); o.context == "" {
		if folder, err := contexts.Open(); err == nil {
			o.context = folder.Current()
		}
	}
	return o, nil
}

// find puts the target together. It is asked again for each connection, since a node that was started again may have another
// port and another token.
func (o options) find() (target, error) {
	folder, unknown := contexts.Open()
	if o.context != "" {
		if unknown != nil {
			return target{}, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "context %q: %v", o.context, unknown)
		}
		c, err := folder.Get(o.context)
		if err != nil {
			return target{}, wire.Errorf(pb.Code_CODE_INVALID_ARGUMENT, "%v", err)
		}
		t, err := parseAddress(c.Address)
		t.secure = t.secure || o.tls != nil
		t.context = c.Name
		if t.token = o.token; t.token == "" && !o.named {
			t.token = os.Getenv("CLOUDBURST_TOKEN")
		}
		t.token = cmp.Or(t.token, c.Token)
		return t, err
	}
	t, err := parseAddress(cmp.Or(o.address, addressDefault))
	if err != nil {
		return t, err
	}
	t.secure = t.secure || o.tls != nil
	t.token = cmp.Or(o.token, os.Getenv("CLOUDBURST_TOKEN"))
	// A token that a node has left goes only to the address that it left it for.
	if t.token == "" && unknown == nil {
		left, _ := folder.At(func(address string) bool {
			at, err := parseAddress(address)
			return err == nil && at.address == t.address
		})
		t.token = left.Token
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
