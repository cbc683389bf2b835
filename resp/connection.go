package resp

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"cloudburst/anna/kernel"
)

const (
	// authFailuresMax is how many wrong passwords a client may say before its connection is closed.
	authFailuresMax = 16
	// clientTextMax bounds what a client may say of itself.
	clientTextMax = 256
	// compatible is the version of Redis whose commands and replies are followed.
	compatible = "7.2.0"
	// user is the only one there is.
	user = "default"
)

func pingCommand(c *conn, args [][]byte) {
	switch len(args) {
	case 1:
		c.w.simple("PONG")
	case 2:
		c.w.bulk(args[1])
	default:
		c.arity("ping")
	}
}

func echoCommand(c *conn, args [][]byte) { c.w.bulk(args[1]) }

func quitCommand(c *conn, _ [][]byte) {
	c.w.ok()
	c.closing = true
}

func selectCommand(c *conn, args [][]byte) {
	switch n, ok := parseInt(args[1]); {
	case !ok:
		c.w.error("ERR " + errNotInteger.Message)
	case n != 0:
		c.w.error("ERR DB index is out of range: there is one database, 0; tell keys apart by a prefix")
	default:
		c.w.ok()
	}
}

// authenticate says whether a name and password are right, and otherwise answers that they are not.
func (c *conn) authenticate(name string, password []byte) bool {
	s := c.server
	if s.cfg.Token == "" {
		c.w.error("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
		return false
	}
	sum := sha256.Sum256(password)
	if subtle.ConstantTimeCompare(sum[:], s.token[:]) == 1 && name == user {
		c.client.authenticated, c.request.bound = true, false
		return true
	}
	s.denied.Add(1)
	c.client.failures++
	s.cfg.Logger.Warn("wrong password of a Redis client", "remote", c.remote.String(), "failures", c.client.failures)
	c.w.error("WRONGPASS invalid username-password pair or user is disabled.")
	if c.client.failures >= authFailuresMax {
		c.closing = true
	}
	return false
}

func authCommand(c *conn, args [][]byte) {
	name, password := user, args[1]
	switch len(args) {
	case 2:
	case 3:
		name, password = string(args[1]), args[2]
	default:
		c.syntax()
		return
	}
	if c.authenticate(name, password) {
		c.w.ok()
	}
}

func helloCommand(c *conn, args [][]byte) {
	three := c.w.three
	if len(args) > 1 {
		version, ok := parseInt(args[1])
		if !ok {
			c.w.error("ERR Protocol version is not an integer or out of range")
			return
		}
		if version != 2 && version != 3 {
			c.w.error("NOPROTO unsupported protocol version")
			return
		}
		three = version == 3
	}
	name := c.client.name
	for i := 2; i < len(args); i++ {
		switch option := optionOf(args[i]); {
		case option == "auth" && i+2 < len(args):
			if !c.authenticate(string(args[i+1]), args[i+2]) {
				return
			}
			i += 2
		case option == "setname" && i+1 < len(args):
			if !c.clientText("Client names", args[i+1]) {
				return
			}
			name = string(args[i+1])
			i++
		default:
			c.w.error("ERR Syntax error in HELLO option '" + clean(args[i]) + "'")
			return
		}
	}
	if !c.client.authenticated {
		c.w.error("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
		return
	}
	c.client.name, c.w.three = name, three
	version := int64(2)
	if three {
		version = 3
	}
	w := c.w
	w.pairs(8)
	w.text("server")
	w.text("cloudburst")
	w.text("version")
	w.text(compatible)
	w.text("cloudburst_version")
	w.text(c.server.cfg.Version)
	w.text("proto")
	w.integer(version)
	w.text("id")
	w.integer(c.client.id)
	w.text("mode")
	w.text("standalone")
	w.text("role")
	w.text("master")
	w.text("modules")
	w.array(0)
}

// clientText reports whether a client may say this of itself, and otherwise answers why it may not.
func (c *conn) clientText(what string, text []byte) bool {
	if len(text) > clientTextMax {
		c.w.error(fmt.Sprintf("ERR %s are at most %d bytes", what, clientTextMax))
		return false
	}
	for _, b := range text {
		if b < '!' || b > '~' {
			c.w.error("ERR " + what + " cannot contain spaces, newlines or special characters.")
			return false
		}
	}
	return true
}

func clientCommand(c *conn, args [][]byte) {
	switch sub := optionOf(args[1]); {
	case sub == "id" && len(args) == 2:
		c.w.integer(c.client.id)
	case sub == "getname" && len(args) == 2:
		if c.client.name == "" {
			c.w.null()
			return
		}
		c.w.text(c.client.name)
	case sub == "setname" && len(args) == 3:
		if c.clientText("Client names", args[2]) {
			c.client.name = string(args[2])
			c.w.ok()
		}
	case sub == "setinfo" && len(args) == 4:
		c.setInfo(args[2], args[3])
	case sub == "info" && len(args) == 2:
		c.w.verbatim(c.info() + "\n")
	case sub == "no-evict" && len(args) == 3, sub == "no-touch" && len(args) == 3:
		c.w.ok() // nothing of the kind is done here, so there is nothing to leave undone
	default:
		c.w.error("ERR unknown subcommand or wrong number of arguments for 'client|" + clean(args[1]) + "': there are ID, GETNAME, SETNAME, SETINFO, INFO, NO-EVICT and NO-TOUCH")
	}
}

func (c *conn) setInfo(attribute, text []byte) {
	var what *string
	switch optionOf(attribute) {
	case "lib-name":
		what = &c.client.library
	case "lib-ver":
		what = &c.client.version
	default:
		c.w.error("ERR Unrecognized option '" + clean(attribute) + "'")
		return
	}
	if c.clientText("lib-name and lib-ver", text) {
		*what = string(text)
		c.w.ok()
	}
}

// info describes a connection as Redis does.
func (c *conn) info() string {
	protocol := 2
	if c.w.three {
		protocol = 3
	}
	var local netip.AddrPort
	if a, err := unix.Getsockname(c.fd); err == nil {
		local = addressOf(a)
	}
	last := "NULL"
	if c.client.last != nil {
		last = c.client.last.name
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d db=0 qbuf=%d omem=%d cmd=%s user=%s resp=%d lib-name=%s lib-ver=%s ack=%s",
		c.client.id, c.remote, local, c.fd, c.client.name,
		int(c.loop.now.Sub(c.since).Seconds()), int(c.loop.now.Sub(c.heard).Seconds()),
		len(c.in), len(c.out.buf)-c.sent+c.behind, last, user, protocol, c.client.library, c.client.version, ackName(c.client.ack))
}

// ackCommand is CLOUDBURST.ACK [durable|memory]: when this connection's writes are answered.
func ackCommand(c *conn, args [][]byte) {
	switch {
	case len(args) == 1:
		c.w.text(ackName(c.client.ack))
	case len(args) > 2:
		c.arity("cloudburst.ack")
	case strings.EqualFold(textOf(args[1]), AckDurable):
		c.client.ack = kernel.Durable
		c.w.ok()
	case strings.EqualFold(textOf(args[1]), AckMemory):
		c.client.ack = kernel.Memory
		c.w.ok()
	default:
		c.w.error("ERR CLOUDBURST.ACK takes durable or memory")
	}
}

func ackName(ack kernel.Ack) string {
	if ack == kernel.Memory {
		return AckMemory
	}
	return AckDurable
}

// background carries out what may take long on a goroutine of its own; the connection's later commands wait for it.
func (c *conn) background(task func(ctx context.Context, w *reply)) {
	s := c.server
	p := c.loop.begin(c)
	p.halts, p.body.three = true, c.w.three
	p.left.Add(1)
	if !s.tasks.start(func(ctx context.Context) {
		task(ctx, &p.body)
		p.Complete(0, nil)
	}) {
		p.body.error(fmt.Sprintf("OOM %d commands wait for something already, the limit (resp.background_max); try again", s.cfg.BackgroundMax))
		p.left.Add(-1)
	}
	c.await(p)
}
