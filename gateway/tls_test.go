package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificate makes a certificate for this machine, and returns its files and a pool that trusts it.
func certificate(t *testing.T) (certificateFile, keyFile string, trust *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificateFile, keyFile = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certificateFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return certificateFile, keyFile, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	certificateFile, keyFile, trust := certificate(t)
	h := open(t, Config{CertificateFile: certificateFile, KeyFile: keyFile})
	c := h.secured(t, trust)
	for k := range uint32(100) {
		c.send(t, call("echo", 1), number(k))
	}
	for range 100 {
		if reply := c.receive(t); len(reply.Values) != 1 || numberOf(reply.Values[0]) != uint32(reply.Header.GetId()-1) {
			t.Fatalf("reply: %v", failure(reply))
		}
	}
	if reply := c.do(t, call("size", 1), number(16<<20)); len(reply.Values) != 1 || len(reply.Values[0]) != 16<<20+1 {
		t.Errorf("16 MiB: %v", failure(reply))
	}
	plain, err := net.Dial("tcp", h.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	response, _ := ask(t, plain, upgradeHeaders...)
	defer response.Body.Close()
	if response.StatusCode < 400 || h.taken.Load() != 101 {
		t.Errorf("without TLS: %s", response.Status)
	}
}
