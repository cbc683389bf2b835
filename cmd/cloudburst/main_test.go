package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cloudburst/codec"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// The scripts run the program itself: this test binary is the program when it is called by its name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cloudburst": main})
}

// registered is what each script's node has: pickles of callables that every Python has.
var registered = []struct{ name, pickle, doc string }{
	{"incr", "cfunctools\npartial\n(coperator\nadd\np0\ntR(g0\n(I1\nt(dNtb.", "Add one."},
	{"sq", "cfunctools\npartial\n(cbuiltins\npow\np0\ntR(g0\n(t(dVexp\nI2\nsNtb.", ""},
	{"sorted", "cbuiltins\nsorted\n.", "Return a sorted list."},
	{"repr", "cbuiltins\nrepr\n.", ""},
	{"bytes", "cbuiltins\nbytes\n.", ""},
	{"divmod", "cbuiltins\ndivmod\n.", ""},
	{"divide", "coperator\ntruediv\n.", ""},
	{"complex", "cbuiltins\ncomplex\n.", ""},
	{"sleep", "ctime\nsleep\n.", ""},
	{"print", "cbuiltins\nprint\n.", ""},
	{"warn", "clogging\nwarning\n.", ""},
}

func TestScripts(t *testing.T) {
	t.Parallel()
	python, err := filepath.Abs(filepath.Join("..", "..", ".venv", "bin", "python"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "share"))
			env.Setenv("CLOUDBURST_PYTHON", python)
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // or each of these short commands takes a second longer
			return certificate(env.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "register": register, "free": free, "busy": busy, "draining": draining,
		},
	})
}

// ready waits until a node that runs in the background is ready, by the address that it leaves in its data directory: `ready
// DATA`.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	file := filepath.Join(ts.MkAbs(args[0]), "address")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		address, err := os.ReadFile(file)
		if err == nil && len(address) > 0 {
			ts.Setenv("ADDRESS", strings.TrimSpace(string(address)))
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("the node on %s is not ready after 30s", args[0])
		}
	}
}

// free sets a variable to an address at which nothing listens: `free VARIABLE`.
func free(ts *testscript.TestScript, _ bool, args []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], listener.Addr().String())
	ts.Check(listener.Close())
}

// register registers functions on the node of a data directory, as a Python program would: `register DATA [RETRIES]`.
func register(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(ts.MkAbs(args[0]), name))
		ts.Check(err)
		return strings.TrimSpace(string(text))
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", read("address"))
	ts.Check(err)
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	ts.Check(conn.SetDeadline(deadline))
	_, err = fmt.Fprintf(conn, "GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: cloudburst/1\r\nAuthorization: Bearer %s\r\n\r\n", read("token"))
	ts.Check(err)
	buffered := bufio.NewReader(conn)
	response, err := http.ReadResponse(buffered, nil)
	ts.Check(err)
	if response.StatusCode != http.StatusSwitchingProtocols {
		ts.Fatalf("register: %s", response.Status)
	}
	frames := wire.NewFrameReaderFrom(buffered)
	send := func(header *pb.Header, values ...[]byte) {
		header.Id = 1
		_, err := wire.WriteFrame(conn, nil, header, values)
		ts.Check(err)
		frame, err := frames.Read()
		ts.Check(err)
		if e := wire.ErrorFromFrame(frame); e != nil && e.Code != pb.Code_CODE_DAG_EXISTS {
			ts.Check(e)
		}
	}
	retries := uint64(2)
	if len(args) > 1 {
		retries, err = strconv.ParseUint(args[1], 10, 32)
		ts.Check(err)
	}
	for _, f := range registered {
		function := &pb.Function{
			Name: f.name, Doc: f.doc, Runtime: pb.Runtime_RUNTIME_PYTHON, Convention: pb.Convention_CONVENTION_PLAIN, Retries: new(uint32(retries)),
		}
		header := &pb.Header{Body: &pb.Header_RegisterFunction{RegisterFunction: &pb.RegisterFunction{Function: function}}}
		send(header, append([]byte{codec.KindPickle}, f.pickle...))
	}
	dag := &pb.Dag{Name: "f", Functions: []string{"incr", "sq"}, Links: []*pb.Link{{Source: "incr", Sink: "sq"}}}
	send(&pb.Header{Body: &pb.Header_RegisterDag{RegisterDag: &pb.RegisterDag{Dag: dag}}})
}

// busy waits until a worker of the node runs something.
func busy(ts *testscript.TestScript, _ bool, _ []string) {
	for {
		ts.Check(ts.Exec("cloudburst", "status", "-o", "json"))
		if !strings.Contains(ts.ReadFile("stdout"), `"workers_busy": 0`) {
			return
		}
	}
}

// draining waits until the node takes no new requests.
func draining(ts *testscript.TestScript, _ bool, _ []string) {
	for {
		response, err := http.Get("http://" + ts.Getenv("ADDRESS") + "/readyz")
		ts.Check(err)
		ts.Check(response.Body.Close())
		if response.StatusCode == http.StatusServiceUnavailable {
			return
		}
	}
}

// certificate makes node.pem and node-key.pem, for a node on the loopback address.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "node.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(dir, "node-key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600),
	)
}
