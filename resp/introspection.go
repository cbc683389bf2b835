package resp

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// section is a part of what INFO answers.
type section struct {
	name  string
	lines func(s *Server) []string
}

var sections = [...]section{
	{"server", serverLines},
	{"clients", clientsLines},
	{"memory", memoryLines},
	{"persistence", persistenceLines},
	{"stats", statsLines},
	{"replication", replicationLines},
	{"cluster", func(*Server) []string { return []string{"cluster_enabled:0"} }},
	{"keyspace", keyspaceLines},
}

func infoCommand(c *conn, args [][]byte) {
	wanted := map[string]bool{}
	for _, arg := range args[1:] {
		wanted[optionOf(arg)] = true
	}
	all := len(args) == 1 || wanted["all"] || wanted["default"] || wanted["everything"]
	var text strings.Builder
	for _, s := range sections {
		if !all && !wanted[s.name] {
			continue
		}
		if text.Len() > 0 {
			text.WriteString("\r\n")
		}
		fmt.Fprintf(&text, "# %s%s\r\n", strings.ToUpper(s.name[:1]), s.name[1:])
		for _, line := range s.lines(c.server) {
			text.WriteString(line)
			text.WriteString("\r\n")
		}
	}
	c.w.verbatim(text.String())
}

func serverLines(s *Server) []string {
	uptime := int(time.Since(s.started).Seconds())
	return []string{
		"redis_version:" + compatible,
		"redis_mode:standalone",
		"cloudburst_version:" + s.cfg.Version,
		fmt.Sprintf("os:%s %s", runtime.GOOS, runtime.GOARCH),
		fmt.Sprintf("arch_bits:%d", strconv.IntSize),
		fmt.Sprintf("process_id:%d", os.Getpid()),
		"tcp_port:" + s.address[strings.LastIndexByte(s.address, ':')+1:],
		fmt.Sprintf("uptime_in_seconds:%d", uptime),
		fmt.Sprintf("uptime_in_days:%d", uptime/86400),
		"executable:cloudburst",
	}
}

func clientsLines(s *Server) []string {
	stats := s.Stats()
	return []string{
		fmt.Sprintf("connected_clients:%d", stats.Connections),
		fmt.Sprintf("maxclients:%d", s.cfg.ConnectionsMax),
		fmt.Sprintf("blocked_clients:%d", stats.Background),
		fmt.Sprintf("buffer_bytes:%d", stats.BufferBytes),
	}
}

func memoryLines(s *Server) []string {
	store := s.store.Stats()
	resident := residentBytes()
	return []string{
		fmt.Sprintf("used_memory:%d", store.Bytes),
		"used_memory_human:" + human(int64(store.Bytes)),
		fmt.Sprintf("used_memory_rss:%d", resident),
		"used_memory_rss_human:" + human(resident),
		fmt.Sprintf("changeset_bytes:%d", store.ChangesetBytes),
		"maxmemory_policy:keys that are not used are left to the log",
	}
}

func persistenceLines(s *Server) []string {
	store := s.store.Stats()
	return []string{
		"loading:0",
		"ack:" + s.cfg.Ack,
		fmt.Sprintf("changes_not_in_the_log_bytes:%d", store.ChangesetBytes),
		fmt.Sprintf("publishes:%d", store.Publishes),
		fmt.Sprintf("publishes_failed:%d", store.Failed),
		fmt.Sprintf("records_behind:%d", store.Lag),
	}
}

func statsLines(s *Server) []string {
	stats, store := s.Stats(), s.store.Stats()
	return []string{
		fmt.Sprintf("total_connections_received:%d", stats.Accepted),
		fmt.Sprintf("total_commands_processed:%d", stats.Commands),
		fmt.Sprintf("total_net_input_bytes:%d", stats.BytesRead),
		fmt.Sprintf("total_net_output_bytes:%d", stats.BytesWritten),
		fmt.Sprintf("rejected_connections:%d", stats.Refused),
		fmt.Sprintf("expired_keys:%d", store.Expired),
		fmt.Sprintf("evicted_keys:%d", store.Evictions),
		fmt.Sprintf("merges:%d", store.Merges),
		fmt.Sprintf("acl_access_denied_auth:%d", stats.Denied),
	}
}

func replicationLines(*Server) []string {
	return []string{"role:master", "connected_slaves:0"}
}

func keyspaceLines(s *Server) []string {
	store := s.store.Stats()
	keys := store.Keys - store.Reserved
	if keys == 0 {
		return nil
	}
	return []string{fmt.Sprintf("db0:keys=%d,expires=%d,avg_ttl=0", keys, store.Expiring)}
}

// residentBytes returns what the process takes of the machine's memory.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	_, _ = fmt.Sscan(string(text), &size, &resident)
	return resident * int64(unix.Getpagesize())
}

func human(n int64) string {
	const units = "BKMGT"
	f, unit := float64(n), 0
	for f >= 1024 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.2f%c", f, units[unit])
}

// configCommand answers the little that tools want to know.
func configCommand(c *conn, args [][]byte) {
	switch optionOf(args[1]) {
	case "get":
	case "resetstat":
		c.w.error("ERR counters are never reset here; take the difference of two readings")
		return
	default:
		c.w.error("ERR settings are given to the node when it starts (cloudburst serve --help), not with CONFIG " + strings.ToUpper(clean(args[1])))
		return
	}
	settings := [...][2]string{
		{"appendonly", "yes"}, // everything is in the log
		{"databases", "1"},
		{"maxclients", fmt.Sprint(c.server.cfg.ConnectionsMax)},
		{"maxmemory", "0"},
		{"proto-max-bulk-len", fmt.Sprint(argumentBytesMax)},
		{"save", ""},
		{"timeout", fmt.Sprint(int(c.server.cfg.IdleTimeout.Seconds()))},
	}
	found := settings[:0:0]
	for _, setting := range settings {
		if slices.ContainsFunc(args[2:], func(pattern []byte) bool { return match(bytes.ToLower(pattern), setting[0]) }) {
			found = append(found, setting)
		}
	}
	c.w.pairs(len(found))
	for _, setting := range found {
		c.w.text(setting[0])
		c.w.text(setting[1])
	}
}

func timeCommand(c *conn, _ [][]byte) {
	now := c.loop.now.UnixMicro()
	c.w.array(2)
	c.w.text(fmt.Sprint(now / 1e6))
	c.w.text(fmt.Sprint(now % 1e6))
}

// commandCommand is COMMAND [COUNT | INFO [name …] | DOCS [name …] | LIST | GETKEYS …].
func commandCommand(c *conn, args [][]byte) {
	if len(args) == 1 {
		c.w.array(len(c.server.list))
		for i := range c.server.list {
			c.server.list[i].describe(c.w)
		}
		return
	}
	switch optionOf(args[1]) {
	case "count":
		c.w.integer(int64(len(c.server.list)))
	case "list":
		c.w.array(len(c.server.list))
		for i := range c.server.list {
			c.w.text(c.server.list[i].name)
		}
	case "info":
		asked := c.asked(args[2:])
		c.w.array(len(asked))
		for _, cmd := range asked {
			if cmd == nil {
				c.w.nullArray()
				continue
			}
			cmd.describe(c.w)
		}
	case "docs":
		asked := slices.DeleteFunc(c.asked(args[2:]), func(cmd *command) bool { return cmd == nil })
		c.w.pairs(len(asked))
		for _, cmd := range asked {
			c.w.text(cmd.name)
			c.w.pairs(3)
			c.w.text("summary")
			c.w.text(cmd.summary)
			c.w.text("since")
			c.w.text("1.0.0")
			c.w.text("group")
			c.w.text(cmd.group)
		}
	default:
		c.w.error("ERR unknown subcommand '" + clean(args[1]) + "': there are COUNT, LIST, INFO and DOCS")
	}
}

// asked returns the commands of some names, nil where there is none; without names all.
func (c *conn) asked(names [][]byte) []*command {
	if len(names) == 0 {
		all := make([]*command, len(c.server.list))
		for i := range all {
			all[i] = &c.server.list[i]
		}
		return all
	}
	found := make([]*command, len(names))
	for i, name := range names {
		found[i] = c.server.commandOf(name)
	}
	return found
}

// describe answers what COMMAND tells of a command.
func (cmd *command) describe(w *reply) {
	w.array(10)
	w.text(cmd.name)
	w.integer(int64(cmd.arity))
	var flags []string
	if cmd.flags&reads != 0 {
		flags = append(flags, "readonly")
	}
	if cmd.flags&writes != 0 {
		flags = append(flags, "write")
	}
	if cmd.flags&stranger != 0 {
		flags = append(flags, "no_auth")
	}
	w.set(len(flags))
	for _, flag := range flags {
		w.simple(flag)
	}
	w.integer(int64(cmd.first))
	w.integer(int64(cmd.last))
	w.integer(int64(cmd.step))
	w.set(1)
	w.simple("@" + cmd.group)
	w.array(0) // tips
	w.array(0) // key specifications
	w.array(0) // subcommands
}
