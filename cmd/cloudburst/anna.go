package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cloudburst/client"
)

// slotsShown is how many slots are shown when not all are asked for: the busiest, and those that move.
const slotsShown = 8

func (c *cli) annaCommand() *cobra.Command {
	anna := c.toClient(&cobra.Command{Use: "anna", Short: "Look at the store: how it is spread over its nodes", RunE: group, Args: cobra.ArbitraryArgs})
	var slots bool
	status := &cobra.Command{
		Use: "status", Short: "Show which nodes hold the store, how far they have followed the log, and what is moving",
		Long: `Show how the store is spread over its nodes, how far each of them has followed the log, and what is moving.

The counters start with each node. KEYS and MEMORY say what the node holds. READS counts the reads that its store answered, for its own
clients and for other nodes; reads that a cache answered are not among them. COLD counts the keys that are only in the log, and
THROUGH the reads of such keys. The reads of slots and of hot keys are reads of clients, estimated from a sample.`,
		Args: between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(ctx context.Context, cloud *client.Client) error {
				return c.annaStatus(ctx, cloud, slots)
			})
		},
	}
	status.Flags().BoolVar(&slots, "slots", false, "show all slots with their masters; -o json always does")
	anna.AddCommand(status)
	return anna
}

func (c *cli) annaStatus(ctx context.Context, cloud *client.Client, slots bool) error {
	s, err := cloud.AnnaStatus(ctx)
	if err != nil {
		return err
	}
	if c.output == "json" {
		return c.json(s)
	}
	moving := slices.DeleteFunc(slices.Clone(s.Slots), func(slot client.AnnaSlot) bool { return !slot.Moves() })
	if err := c.annaSummary(s); err != nil {
		return err
	}
	if err := c.section("MEMBER SERVES LEADS KEYS MEMORY READS COLD THROUGH EVICTED LAG STATE", memberRows(s)); err != nil {
		return err
	}
	if err := c.section("STREAM "+strings.Join(memberNames(s), " "), lagRows(s)); err != nil {
		return err
	}
	if len(s.Hot) > 0 {
		if err := c.say("\nhot keys"); err != nil {
			return err
		}
		if err := c.table("KEY SLOT READS/S REPLICAS", hotRows(s.Hot)); err != nil {
			return err
		}
	}
	const heading = "SLOT KEYS MEMORY READS WRITES MASTERS SERVING"
	if slots {
		return c.section(heading, slotRows(s.Slots))
	}
	if len(moving) > 0 {
		if err := c.say("\nmoving"); err != nil {
			return err
		}
		if err := c.table(heading, slotRows(moving[:min(len(moving), slotsShown)])); err != nil {
			return err
		}
		if more := len(moving) - slotsShown; more > 0 {
			if err := c.say("and %s more: --slots shows all", plural(more, "slot")); err != nil {
				return err
			}
		}
	}
	busiest := busiestSlots(s.Slots)
	if len(busiest) == 0 {
		return nil
	}
	if err := c.say("\nbusiest slots"); err != nil {
		return err
	}
	return c.table(heading, slotRows(busiest))
}

// section writes a table below an empty line.
func (c *cli) section(heading string, rows [][]string) error {
	if err := c.say(""); err != nil {
		return err
	}
	return c.table(heading, rows)
}

func (c *cli) annaSummary(s client.AnnaStatus) error {
	var keys, reads, writes uint64
	for _, slot := range s.Slots {
		keys, reads, writes = keys+slot.Keys, reads+slot.Reads, writes+slot.Writes
	}
	moving := "none moving"
	if s.Moving > 0 {
		moving = fmt.Sprintf("%d moving", s.Moving)
	}
	return c.fields(
		"asked", s.Asked,
		"members", fmt.Sprint(len(s.Members)),
		"slots", fmt.Sprintf("%d, %s each, %s", len(s.Slots), plural(min(s.Masters, max(1, masters(s))), "master"), moving),
		"keys", fmt.Sprint(keys),
		"accesses", fmt.Sprintf("about %s, %s", plural(int(reads), "read"), plural(int(writes), "write")),
	)
}

// masters returns how many members can be masters.
func masters(s client.AnnaStatus) (n int) {
	for _, m := range s.Members {
		if !m.Guest && !m.Leaving {
			n++
		}
	}
	return n
}

func memberNames(s client.AnnaStatus) []string {
	names := make([]string, len(s.Members))
	for i, m := range s.Members {
		names[i] = m.Name
	}
	return names
}

func memberRows(s client.AnnaStatus) [][]string {
	rows := make([][]string, len(s.Members))
	for i, m := range s.Members {
		var state []string
		var lag uint64
		for _, stream := range m.Streams {
			lag += stream.Lag
		}
		if m.Guest {
			state = append(state, "guest")
		}
		if m.Leaving {
			state = append(state, "leaving")
		}
		if m.Joining > 0 {
			state = append(state, "takes over "+plural(m.Joining, "slot"))
		}
		if !m.Answers {
			state = append(state, "does NOT answer")
		}
		rows[i] = []string{
			m.Name, fmt.Sprint(m.Serves), fmt.Sprint(m.Leads), fmt.Sprint(m.Memory.Keys), bytesText(m.Memory.Bytes),
			fmt.Sprint(m.Memory.Reads), fmt.Sprint(m.Log.Keys), fmt.Sprint(m.Log.Reads), fmt.Sprint(m.Memory.Evictions),
			fmt.Sprint(lag), strings.Join(state, ", "),
		}
	}
	return rows
}

// lagRows has a row for every stream, and in it how far each member is behind.
func lagRows(s client.AnnaStatus) [][]string {
	var rows [][]string
	for column, m := range s.Members {
		for i, stream := range m.Streams {
			for len(rows) <= i {
				row := []string{stream.Name}
				for range s.Members {
					row = append(row, "?")
				}
				rows = append(rows, row)
			}
			rows[i][column+1] = fmt.Sprint(stream.Lag)
		}
	}
	return rows
}

// hotRows has a row for every hot key, with who holds it beside its masters, and who is about to.
func hotRows(hot []client.AnnaHotKey) [][]string {
	rows := make([][]string, len(hot))
	for i, h := range hot {
		replicas := make([]string, len(h.Replicas))
		for j, name := range h.Replicas {
			if replicas[j] = name; !slices.Contains(h.Serving, name) {
				replicas[j] += " (not yet)"
			}
		}
		rows[i] = []string{shortened(h.Key), fmt.Sprint(h.Slot), fmt.Sprintf("%.0f", h.Rate), cmp.Or(strings.Join(replicas, ", "), "none")}
	}
	return rows
}

// shortened returns as much of a key as fits into a column.
func shortened(key string) string {
	const charactersMax = 40
	if runes := []rune(key); len(runes) > charactersMax {
		return string(runes[:charactersMax-1]) + "…"
	}
	return key
}

// busiestSlots returns those that were read and written most, as far as they were at all.
func busiestSlots(all []client.AnnaSlot) []client.AnnaSlot {
	busy := slices.DeleteFunc(slices.Clone(all), func(s client.AnnaSlot) bool { return s.Reads+s.Writes == 0 })
	slices.SortStableFunc(busy, func(a, b client.AnnaSlot) int { return cmp.Compare(b.Reads+b.Writes, a.Reads+a.Writes) })
	return busy[:min(len(busy), slotsShown)]
}

func slotRows(slots []client.AnnaSlot) [][]string {
	rows := make([][]string, len(slots))
	for i, s := range slots {
		serving := "all of them"
		if s.Moves() {
			serving = cmp.Or(strings.Join(s.Serving, ","), "NOBODY")
		}
		rows[i] = []string{
			fmt.Sprint(s.Slot), fmt.Sprint(s.Keys), bytesText(s.Bytes), fmt.Sprint(s.Reads), fmt.Sprint(s.Writes),
			strings.Join(s.Masters, ","), serving,
		}
	}
	return rows
}
