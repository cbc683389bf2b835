package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

const (
	// systemAccount is the account in which NATS servers answer questions about themselves.
	systemAccount = server.DEFAULT_SYSTEM_ACCOUNT
	// askWait bounds the wait for the answers of the other members, and askPause is the time between two questions.
	askWait  = time.Second
	askPause = 250 * time.Millisecond
	// acceptWait is how long a member that may start with what is left waits for the others first.
	acceptWait = 10 * time.Second
)

// rebuild sets the log of a member aside, so that it gets all of it from the others, as soon as these can spare it. It returns why
// they could not, when a time has passed; "" when the log has been set aside.
func (s *Server) rebuild(ctx context.Context, cfg Config, c Cluster, streams []string, limit time.Duration) (lack string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	e, err := enquire(ctx, c, cfg.Logger)
	if err != nil {
		return "", fmt.Errorf("ask the other members for the log: %w", err)
	}
	defer e.close()
	report := time.NewTimer(time.Second) // when it is more than the time that connections take
	defer report.Stop()
	for {
		rs, err := e.ask(ctx)
		if err != nil {
			return "", fmt.Errorf("ask the other members for the log: %w", err)
		}
		if lack = rs.spare(c.Member, streams); lack == "" {
			lack, err = roomAside(cfg.DataDir)
		}
		switch {
		case err != nil:
			return "", err
		case lack == "":
			s.logger.Warn("rebuilding the log of this member from the others; the damaged one is kept", "cluster", c.Name, "member", c.Member,
				"streams", len(streams), "folder", filepath.Join(cfg.DataDir, damagedFolder, StoreFolder))
			return "", setAside(cfg.DataDir)
		}
		select {
		case <-time.After(askPause):
		case <-report.C:
			s.logger.Warn("waiting to rebuild the log of this member from the others", "cluster", c.Name, "member", c.Member, "because", lack, "at_most", limit)
			report.Reset(formReportInterval)
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return lack, nil
			}
			return "", ctx.Err()
		}
	}
}

// enquirer asks the other members of a cluster, by a NATS server that is joined to theirs and holds nothing: the log of this member is
// not opened.
type enquirer struct {
	server *server.Server
	conn   *nats.Conn
}

// enquire joins the cluster under the member's own name: under another one the others would count a member more.
func enquire(ctx context.Context, c Cluster, logger *slog.Logger) (*enquirer, error) {
	options := &server.Options{NoSigs: true, NoLog: true, PingInterval: time.Hour}
	if err := c.options(options, ""); err != nil {
		return nil, err
	}
	key, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	user, err := key.PublicKey()
	if err != nil {
		return nil, err
	}
	system := server.NewAccount(systemAccount)
	options.Accounts = []*server.Account{system}
	options.Nkeys = []*server.NkeyUser{{Nkey: user, Account: system}}
	natsServer, err := server.NewServer(options)
	if err != nil {
		return nil, err
	}
	log := &logBridge{logger: logger, failed: make(chan struct{}, 1)}
	natsServer.SetLoggerV2(log, logger.Enabled(ctx, slog.LevelDebug), false, false)
	e := &enquirer{server: natsServer}
	natsServer.Start()
	if err = log.fatal(); err == nil {
		e.conn, err = nats.Connect("", nats.InProcessServer(natsServer), nats.Nkey(user, key.Sign), nats.NoReconnect())
	}
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *enquirer) close() {
	if e.conn != nil {
		e.conn.Close()
	}
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// ask returns what the other members that answer in time say of themselves.
func (e *enquirer) ask(ctx context.Context) (reports, error) {
	if e.reached() == 0 {
		return nil, nil
	}
	logs, err := answers[server.JSInfo](ctx, e, "JSZ", server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return nil, err
	}
	health, err := answers[server.HealthStatus](ctx, e, "HEALTHZ", server.HealthzOptions{Details: true})
	if err != nil {
		return nil, err
	}
	rs := reports{}
	for name, log := range logs {
		rs[name] = report{log: log, health: health[name]}
	}
	return rs, nil
}

// answers asks all NATS servers of the cluster one question and returns the answers by the names of the members.
func answers[T any](ctx context.Context, e *enquirer, question string, options any) (map[string]*T, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	text, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	inbox := e.conn.NewInbox()
	sub, err := e.conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	if err := e.conn.PublishRequest("$SYS.REQ.SERVER.PING."+question, inbox, text); err != nil {
		return nil, err
	}
	found := map[string]*T{}
	for len(found) < e.reached() {
		message, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return nil, err
		}
		var answer struct {
			Server struct{ Name string }
			Data   *T
		}
		// An answer that is an error, or cannot be read, is as good as none.
		if json.Unmarshal(message.Data, &answer) == nil && answer.Data != nil && answer.Server.Name != e.server.Name() {
			found[answer.Server.Name] = answer.Data
		}
	}
	return found, nil
}

// reached counts the other members that there is a connection to.
func (e *enquirer) reached() int {
	names := map[string]bool{}
	if routes, err := e.server.Routez(nil); err == nil {
		for _, route := range routes.Routes {
			names[route.RemoteName] = true
		}
	}
	return len(names)
}

// aside is where the damaged log of a member is kept: only the newest.
func aside(dataDir string) string { return filepath.Join(dataDir, damagedFolder, StoreFolder) }

// roomAside says how much room the disk lacks for a new log beside the damaged one; "" when it has enough.
func roomAside(dataDir string) (lack string, err error) {
	needed, err := bytesOf(filepath.Join(dataDir, StoreFolder))
	if err != nil {
		return "", err
	}
	old, err := bytesOf(aside(dataDir))
	if err != nil {
		return "", err
	}
	if free, ok := freeBytes(dataDir); ok && free+old < needed+roomNeeded {
		return fmt.Sprintf("the disk of %s has %d bytes left, and a new log beside the damaged one needs %d: make room", dataDir, free+old, needed+roomNeeded), nil
	}
	return "", nil
}

// bytesOf returns how much the files of a folder hold; none where it is missing.
func bytesOf(folder string) (sum uint64, err error) {
	err = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			sum += uint64(info.Size())
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return sum, nil
	}
	return sum, err
}

// setAside moves the log out of the way. A log without streams is not worth the one that is kept already.
func setAside(dataDir string) error {
	if streams, err := hasStreams(dataDir); err != nil || !streams {
		return err
	}
	to := aside(dataDir)
	err := os.MkdirAll(filepath.Dir(to), 0o700)
	if err == nil {
		err = os.RemoveAll(to)
	}
	if err == nil {
		err = os.Rename(filepath.Join(dataDir, StoreFolder), to)
	}
	if err = errors.Join(err, syncFolder(filepath.Dir(to)), syncFolder(dataDir)); err != nil {
		return fmt.Errorf("set the damaged log aside: %w", err)
	}
	return nil
}

// syncFolder makes what has happened to the names in a folder outlive the machine.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
