package embedded

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloudburst/names"

	"github.com/nats-io/nats-server/v2/server"
)

// ErrNoQuorum is returned by Start when a cluster did not come together in time.
var ErrNoQuorum = errors.New("the cluster has no quorum")

const (
	// MembersMin is the least of a cluster: of two members neither may be missing, so they are worse than one.
	MembersMin = 3
	// SecretBytesMin is the least length of what the members of a cluster prove themselves with.
	SecretBytesMin = 16

	membersMax         = 64
	formTimeoutDefault = 2 * time.Minute
	formPollInterval   = 50 * time.Millisecond
	formReportInterval = 5 * time.Second
	routeUser          = "cloudburst"
	routeAuthSeconds   = 5
	// routePingInterval and routePingsMax find a member that vanished without a word.
	routePingInterval = 2 * time.Second
	routePingsMax     = 2
)

// Cluster makes a server one of several that hold one replicated log.
type Cluster struct {
	// Name of the cluster, the same at all members: letters, digits, "-" and "_". Default "cloudburst".
	Name string
	// Member is this server's name, unlike all others'. Default: one that is made with the data directory. A member that begins
	// again with an empty directory takes the place, and gets the data, of the one whose name it is given.
	Member string
	// Listen is the address that the other members reach this one at.
	Listen string
	// Join are the addresses of all members, this one's included, the same list at every member.
	Join []string
	// Secret is what members prove to each other that they belong to the cluster with; at least SecretBytesMin bytes.
	Secret string
	// CertificateFile and KeyFile are PEM files of this member's certificate, for server and client use, and CAFile the
	// authorities that those of the others are checked against. All or none: without them what the members say is not encrypted.
	CertificateFile, KeyFile, CAFile string
	// FormTimeout is how long Start waits for the other members. Default 2m.
	FormTimeout time.Duration
}

// WithDefaults returns c with the settings that are zero filled in.
func (c Cluster) WithDefaults() Cluster {
	c.Name = cmp.Or(c.Name, "cloudburst")
	c.FormTimeout = cmp.Or(c.FormTimeout, formTimeoutDefault)
	return c
}

// Validate reports what is wrong with the settings of a cluster, without looking at any file.
func (c Cluster) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !plainName(c.Name) {
		fault("name %q: must be letters, digits, - and _, at most %d", c.Name, nameBytesMax)
	}
	if c.Member != "" && !plainName(c.Member) {
		fault("member %q: must be letters, digits, - and _, at most %d", c.Member, nameBytesMax)
	}
	if _, _, err := splitAddress(c.Listen); err != nil {
		fault("listen %q: %w; give the address that the other members reach this one at (--cluster-listen)", c.Listen, err)
	}
	for i, address := range c.Join {
		if _, _, err := splitAddress(address); err != nil {
			fault("join %q: %w", address, err)
		}
		if slices.Contains(c.Join[:i], address) {
			fault("join: %s is named twice", address)
		}
	}
	switch n := len(c.Join); {
	case n < MembersMin:
		fault("join names %d members: name all of them, this one too, and at least %d, since of fewer none may be missing", n, MembersMin)
	case n > membersMax:
		fault("join names %d members: the limit is %d", n, membersMax)
	}
	if c.FormTimeout < time.Second {
		fault("form_timeout %v: must be at least 1s", c.FormTimeout)
	}
	if set := []bool{c.CertificateFile != "", c.KeyFile != "", c.CAFile != ""}; slices.Contains(set, true) && slices.Contains(set, false) {
		fault("TLS between members needs certificate_file, key_file and ca_file: give all three, or none")
	}
	return errors.Join(faults...)
}

// check is Validate, and that there is a secret.
func (c Cluster) check() error {
	err := c.Validate()
	if len(c.Secret) < SecretBytesMin {
		err = errors.Join(err, c.noSecret())
	}
	if err != nil {
		return fmt.Errorf("cluster settings: %w", err)
	}
	return nil
}

func (c Cluster) noSecret() error {
	return fmt.Errorf("the cluster's secret has %d bytes: at least %d are needed, the same at all members; `openssl rand -hex 32` makes one",
		len(c.Secret), SecretBytesMin)
}

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, errors.New("must be host:port")
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return "", 0, errors.New("its port must be 1 to 65535")
	}
	if host == "" {
		return "", 0, errors.New("it has no host")
	}
	return host, port, nil
}

// options adds to the options of a server what makes it a member. The server starts its routes only when it has a port for clients:
// that is a free one on loopback, and refuses clients without token, which never leaves the process.
func (c Cluster) options(o *server.Options, token string) error {
	o.DontListen, o.Host, o.Port = false, "127.0.0.1", server.RANDOM_PORT
	o.Authorization = token
	o.ServerName = c.Member
	host, port, err := splitAddress(c.Listen)
	if err != nil {
		return err
	}
	// A password of its own, so that the secret itself is not what crosses the network.
	password := c.password()
	o.Cluster = server.ClusterOpts{
		Name: c.Name, Host: host, Port: port,
		Username: routeUser, Password: password, AuthTimeout: routeAuthSeconds,
		NoAdvertise: true, PingInterval: routePingInterval, MaxPingsOut: routePingsMax,
	}
	if c.CertificateFile != "" {
		if o.Cluster.TLSConfig, err = c.tls(); err != nil {
			return err
		}
		o.Cluster.TLSTimeout = routeAuthSeconds
	}
	for _, address := range c.Join {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats-route", User: url.UserPassword(routeUser, password), Host: address})
	}
	return nil
}

func (c Cluster) password() string {
	mac := hmac.New(sha256.New, []byte(c.Secret))
	mac.Write([]byte("cloudburst routes of cluster " + c.Name))
	return hex.EncodeToString(mac.Sum(nil))
}

// tls has both sides of a route show their certificates.
func (c Cluster) tls() (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(c.CertificateFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of the cluster: %w", err)
	}
	text, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read the authorities of the cluster: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the authorities of the cluster: %s holds no PEM certificate", c.CAFile)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate}, RootCAs: authorities, ClientCAs: authorities,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}, nil
}

// form waits until the cluster has a leader, and this member's replicas what it has missed. One that comes together for the first
// time waits for as many members as a replicated log needs as well.
func (s *Server) form(ctx context.Context, c Cluster, log *logBridge, first bool) error {
	if host, _, _ := net.SplitHostPort(c.Listen); c.CertificateFile == "" && !names.Loopback(host) {
		s.logger.Warn("what the members of the cluster say to each other is not encrypted; give them certificates, or a network of their own", "listen", c.Listen)
	}
	began := time.Now()
	deadline := time.NewTimer(c.FormTimeout)
	defer deadline.Stop()
	poll := time.NewTicker(formPollInterval)
	defer poll.Stop()
	report := time.NewTicker(formReportInterval)
	defer report.Stop()
	lack := ""
	for {
		if err := log.fatal(); err != nil {
			return err
		}
		reached := 0
		for _, m := range s.Members() {
			if m.Reachable {
				reached++
			}
		}
		leader := s.Leader()
		switch {
		case leader == "":
			lack = "it has no leader"
		case first && reached < MembersMin:
			lack = fmt.Sprintf("%d members are needed at first", MembersMin)
		default:
			lack = s.behind()
		}
		if lack == "" {
			s.logger.Info("the cluster is there", "cluster", c.Name, "member", c.Member, "leader", leader,
				"reached", reached, "members", len(c.Join), "took", time.Since(began).Round(time.Millisecond))
			return nil
		}
		select {
		case <-poll.C:
		case <-report.C:
			s.logger.Info("waiting for the cluster", "cluster", c.Name, "member", c.Member, "reached", reached,
				"members", len(c.Join), "because", lack, "at_most", c.FormTimeout)
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("%w: after %v (cluster.form_timeout) member %s of cluster %s reaches %d of %d members, itself included, and %s; "+
				"do the others run, with the same name, secret and list of members, and can they be reached at %s?",
				ErrNoQuorum, c.FormTimeout, c.Member, c.Name, reached, len(c.Join), lack, strings.Join(c.Join, ", "))
		}
	}
}

// behind says what this member has not caught up with; "" when nothing.
func (s *Server) behind() string { return lag(s.nats.Healthz(&server.HealthzOptions{Details: true})) }

// Member is one member of a cluster.
type Member struct {
	Name      string
	Reachable bool // from here, at this moment
	Leader    bool // of the cluster
	Self      bool
}

// Members returns the members that this one knows, in order of their names; none when it runs alone.
func (s *Server) Members() []Member {
	if s.nats == nil || !s.clustered {
		return nil
	}
	leader := s.Leader()
	known := map[string]bool{s.nats.Name(): true}
	if routes, err := s.nats.Routez(nil); err == nil {
		for _, r := range routes.Routes {
			known[r.RemoteName] = true
		}
	}
	if info, err := s.nats.Jsz(nil); err == nil && info.Meta != nil {
		for _, peer := range info.Meta.Replicas {
			if !known[peer.Name] {
				known[peer.Name] = false
			}
		}
	}
	members := make([]Member, 0, len(known))
	for name, reachable := range known {
		members = append(members, Member{Name: name, Reachable: reachable, Leader: name == leader, Self: name == s.nats.Name()})
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return members
}

// Leader returns the name of the member that leads the cluster; "" while there is none, as without a quorum.
func (s *Server) Leader() string {
	if s.nats == nil {
		return ""
	}
	if !s.clustered {
		return s.nats.Name()
	}
	info, err := s.nats.Jsz(nil)
	if err != nil || info.Meta == nil {
		return ""
	}
	return info.Meta.Leader
}
