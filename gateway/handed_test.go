package gateway

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// unixPair returns both ends of a connection that has no address.
func unixPair(t *testing.T) (theirs, ours *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "end")
		conn, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		ends[i] = conn.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

func TestAConnectionOfAFunctionNeedsNoTokenAndNoTLS(t *testing.T) {
	t.Parallel()
	certificateFile, keyFile, _ := certificate(t)
	h := open(t, Config{Token: "secret", CertificateFile: certificateFile, KeyFile: keyFile})
	theirs, ours := unixPair(t)
	h.Accept(theirs)
	c := clientOn(t, ours)
	if reply := c.do(t, call("echo", 1), number(7)); len(reply.Values) != 1 || numberOf(reply.Values[0]) != 7 {
		t.Errorf("reply: %v", failure(reply))
	}
}

func TestConnectionsOfFunctionsAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t, Config{ConnectionsMax: 1})
	h.dial(t)
	theirs, ours := unixPair(t)
	defer ours.Close()
	h.Accept(theirs)
	if _, err := ours.Read(make([]byte, 1)); err == nil {
		t.Error("a connection beyond the bound is served")
	}
}

func TestAGatewayThatHasEndedClosesConnectionsOfFunctions(t *testing.T) {
	t.Parallel()
	h := open(t, Config{})
	h.close()
	theirs, ours := unixPair(t)
	defer ours.Close()
	h.Accept(theirs)
	if _, err := ours.Read(make([]byte, 1)); err == nil {
		t.Error("a connection is served after the end")
	}
}
