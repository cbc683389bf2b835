package node

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"cloudburst/bus/embedded"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// Cluster is the section of the cluster: nodes whose NATS servers, each inside its process, hold one replicated log.
type Cluster struct {
	// Name of the cluster, the same at all members: letters, digits, "-" and "_". Default "cloudburst".
	Name string
	// Member is this node's name in it. Default: one that is made with the data directory.
	Member string
	// Listen is the address that the other members reach this one at.
	Listen string
	// Join are the addresses of all members, this one's included, the same list at every member. Empty: the node is alone.
	Join []string
	// SecretFile is a file with the secret that members prove themselves to each other with. Excludes Secret.
	SecretFile string
	// Secret is that secret itself.
	Secret string
	// CertificateFile, KeyFile and CAFile are the PEM files of TLS between members. All or none.
	CertificateFile, KeyFile, CAFile string
	// FormTimeout is how long a start waits for the other members. Default 2m.
	FormTimeout time.Duration
}

// secretBytesMax bounds the file of a secret.
const secretBytesMax = 4096

func (c Cluster) joined() bool { return len(c.Join) > 0 || c.Listen != "" }

func (c Cluster) embedded(secret string) embedded.Cluster {
	return embedded.Cluster{
		Name: c.Name, Member: c.Member, Listen: c.Listen, Join: c.Join, Secret: secret,
		CertificateFile: c.CertificateFile, KeyFile: c.KeyFile, CAFile: c.CAFile, FormTimeout: c.FormTimeout,
	}
}

func (c Cluster) withDefaults() Cluster {
	with := c.embedded("").WithDefaults()
	c.Name, c.FormTimeout = with.Name, with.FormTimeout
	return c
}

func (c Cluster) validate() error {
	if !c.joined() {
		if c.Secret != "" || c.SecretFile != "" || c.Member != "" {
			return errors.New("cluster: this node joins none; name all members with --join and its own address with --cluster-listen")
		}
		return nil
	}
	var faults []error
	if err := c.embedded("").Validate(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			faults = append(faults, errors.New("cluster."+line))
		}
	}
	switch {
	case c.SecretFile == "" && c.Secret == "":
		faults = append(faults, errors.New(
			"cluster.secret_file: the members of a cluster prove themselves to each other with a secret; give all of them the same (--cluster-secret-file)"))
	case c.SecretFile != "" && c.Secret != "":
		faults = append(faults, errors.New("cluster.secret and cluster.secret_file: give one of them"))
	}
	return errors.Join(faults...)
}

// server returns what the NATS server is told of the cluster; nil when the node is alone.
func (c Cluster) server() (*embedded.Cluster, error) {
	if !c.joined() {
		return nil, nil
	}
	secret := c.Secret
	if c.SecretFile != "" {
		info, err := os.Stat(c.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("read the secret of the cluster: %w", err)
		}
		if info.Size() > secretBytesMax {
			return nil, fmt.Errorf("read the secret of the cluster: %s has %d bytes; the limit is %d", c.SecretFile, info.Size(), secretBytesMax)
		}
		if info.Mode().Perm()&0o007 != 0 {
			return nil, fmt.Errorf("read the secret of the cluster: other users can read or write %s; chmod 600 it", c.SecretFile)
		}
		text, err := os.ReadFile(c.SecretFile)
		if err != nil {
			return nil, fmt.Errorf("read the secret of the cluster: %w", err)
		}
		secret = strings.TrimSpace(string(text))
	}
	cluster := c.embedded(secret)
	return &cluster, nil
}

// Roles that a node may have.
const (
	roleGateway   = "gateway"
	roleScheduler = "scheduler"
	roleExecutor  = "executor"
	roleAnna      = "anna"
	roleMonitor   = "monitor"
)

// rolesDefault are all that there is so far.
var rolesDefault = []string{roleGateway, roleScheduler, roleExecutor, roleAnna}

// validateRoles refuses what would only half work: what runs functions keeps its cache with the store of its own process.
func validateRoles(roles []string) error {
	has := func(role string) bool { return slices.Contains(roles, role) }
	for i, role := range roles {
		switch {
		case role == roleMonitor:
			return errors.New("node.roles monitor: there is none yet that a node could run; leave it out")
		case !slices.Contains(rolesDefault, role):
			return fmt.Errorf("node.roles %q: must be of %s", role, strings.Join(rolesDefault, ", "))
		case slices.Contains(roles[:i], role):
			return fmt.Errorf("node.roles: %s is named twice", role)
		}
	}
	switch {
	case !has(roleAnna):
		return fmt.Errorf("node.roles %s: a node keeps its cache with the store of its own process; add anna", strings.Join(roles, ","))
	case has(roleScheduler) && !has(roleExecutor):
		return errors.New("node.roles: a scheduler reaches the executors of its own node only; add executor, or leave scheduler out")
	case has(roleExecutor) && !has(roleScheduler):
		return errors.New("node.roles: an executor takes its work from the scheduler of its own node only; add scheduler, or leave executor out")
	case has(roleScheduler) && !has(roleGateway):
		return errors.New("node.roles: clients reach a scheduler only through the gateway of its node; add gateway, or leave scheduler and executor out")
	}
	return nil
}

func (n *Node) has(role string) bool { return slices.Contains(n.cfg.Node.Roles, role) }

// noScheduler stands in for the scheduler of a node that runs no functions.
type noScheduler struct{ roles []string }

// Call implements gateway.Scheduler.
func (s noScheduler) Call(_ uint64, _ *pb.Call, _ [][]byte, _ *wire.Items, done func(wire.Result) bool) {
	done(wire.Result{Err: s.absent()})
}

func (s noScheduler) absent() *wire.Error {
	return wire.Errorf(pb.Code_CODE_UNSUPPORTED, "this node runs no functions (--role %s); call one that does", strings.Join(s.roles, ","))
}

// Cancel implements gateway.Scheduler.
func (s noScheduler) Cancel(wire.RunID, string, string) error { return s.absent() }

// Runs implements gateway.Scheduler.
func (s noScheduler) Runs(*pb.ListRuns) (*pb.Runs, error) { return nil, s.absent() }

// Tree implements gateway.Scheduler.
func (s noScheduler) Tree(*pb.GetRun) (*pb.Runs, error) { return nil, s.absent() }

// WhenEnded implements gateway.Scheduler.
func (noScheduler) WhenEnded(_ wire.RunID, ended func()) (stop func()) {
	ended()
	return func() {}
}
