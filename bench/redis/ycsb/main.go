// Command ycsb is go-ycsb with nothing but its Redis client: the standard workloads, against any server that speaks that protocol.
//
//	ycsb load|run redis.addr=127.0.0.1:7379 recordcount=1000000 …
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/magiconair/properties"
	_ "github.com/pingcap/go-ycsb/db/redis"
	"github.com/pingcap/go-ycsb/pkg/client"
	"github.com/pingcap/go-ycsb/pkg/measurement"
	"github.com/pingcap/go-ycsb/pkg/prop"
	_ "github.com/pingcap/go-ycsb/pkg/workload"
	"github.com/pingcap/go-ycsb/pkg/ycsb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ycsb:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] != "load" && args[0] != "run" {
		return fmt.Errorf("usage: ycsb load|run NAME=VALUE …")
	}
	p := properties.NewProperties()
	set := map[string]string{
		prop.DoTransactions: strconv.FormatBool(args[0] == "run"), prop.TableName: "usertable", prop.OutputStyle: "json",
		prop.Status: "3600", // progress is not wanted
	}
	for _, arg := range args[1:] {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=VALUE", arg)
		}
		set[name] = value
	}
	for name, value := range set {
		if _, _, err := p.Set(name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	measurement.InitMeasure(p)
	workload, err := ycsb.GetWorkloadCreator("core").Create(p)
	if err != nil {
		return fmt.Errorf("make the workload: %w", err)
	}
	db, err := ycsb.GetDBCreator("redis").Create(p)
	if err != nil {
		return fmt.Errorf("reach the server: %w", err)
	}
	defer db.Close()
	client.NewClient(p, workload, client.DbWrapper{DB: db}).Run(ctx)
	measurement.Output()
	return nil
}
