package resp_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cloudburst/resp"
)

// TestGoRedis uses the endpoint through the client that most Go programs have.
func TestGoRedis(t *testing.T) {
	t.Parallel()
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", protocol), func(t *testing.T) {
			t.Parallel()
			e := start(t, func(cfg *resp.Config) { cfg.Token = "secret" })
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			stranger := redis.NewClient(&redis.Options{Addr: e.Address(), Protocol: protocol, Password: "guess", MaxRetries: -1})
			defer stranger.Close()
			if err := stranger.Ping(ctx).Err(); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
				t.Fatalf("with a wrong password: %v", err)
			}
			r := redis.NewClient(&redis.Options{Addr: e.Address(), Protocol: protocol, Password: "secret", ClientName: "test", PoolSize: 4})
			defer r.Close()
			useGoRedis(ctx, t, r)
		})
	}
}

func useGoRedis(ctx context.Context, t *testing.T, r *redis.Client) {
	t.Helper()
	check := func(got any, err error) func(want any) {
		return func(want any) {
			t.Helper()
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("got %#v, %v; want %#v", got, err, want)
			}
		}
	}
	none := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	none(r.Ping(ctx).Err())
	check(r.ClientGetName(ctx).Result())("test")

	none(r.Set(ctx, "k", []byte("v\x00\r\n"), 0).Err())
	check(r.Get(ctx, "k").Result())("v\x00\r\n")
	if err := r.Get(ctx, "nothing").Err(); !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	none(r.Set(ctx, "t", "v", time.Hour).Err())
	if ttl, err := r.TTL(ctx, "t").Result(); err != nil || ttl < 59*time.Minute || ttl > time.Hour {
		t.Fatal(ttl, err)
	}
	check(r.Persist(ctx, "t").Result())(true)
	check(r.TTL(ctx, "t").Result())(time.Duration(-1))
	check(r.PExpire(ctx, "t", time.Hour).Result())(true)
	check(r.SetNX(ctx, "t", "w", 0).Result())(false)
	check(r.GetDel(ctx, "t").Result())("v")
	none(r.MSet(ctx, "a", 1, "b", 2).Err())
	check(r.MGet(ctx, "a", "nothing", "b").Result())([]any{"1", nil, "2"})
	check(r.Exists(ctx, "a", "b", "nothing").Result())(int64(2))
	check(r.Del(ctx, "a", "nothing").Result())(int64(1))
	check(r.IncrBy(ctx, "n", 40).Result())(int64(40))
	check(r.Incr(ctx, "n").Result())(int64(41))
	check(r.DecrBy(ctx, "n", 50).Result())(int64(-9))
	check(r.Type(ctx, "n").Result())("string")

	check(r.SAdd(ctx, "s", "a", "b", "c").Result())(int64(3))
	check(r.SRem(ctx, "s", "b", "nobody").Result())(int64(1))
	check(r.SIsMember(ctx, "s", "a").Result())(true)
	check(r.SMIsMember(ctx, "s", "a", "b").Result())([]bool{true, false})
	members, err := r.SMembers(ctx, "s").Result()
	slices.Sort(members)
	check(members, err)([]string{"a", "c"})
	check(r.SCard(ctx, "s").Result())(int64(2))

	check(r.ZAdd(ctx, "z", redis.Z{Score: 1, Member: "one"}, redis.Z{Score: 2.5, Member: "two"}).Result())(int64(2))
	check(r.ZIncrBy(ctx, "z", 3, "one").Result())(4.0)
	check(r.ZRangeWithScores(ctx, "z", 0, -1).Result())([]redis.Z{{Score: 2.5, Member: "two"}, {Score: 4, Member: "one"}})
	byScore := redis.ZRangeBy{Min: "(2.5", Max: "+inf"}
	check(r.ZRangeByScore(ctx, "z", &byScore).Result())([]string{"one"}) //nolint:staticcheck // programs still send it
	check(r.ZRangeArgs(ctx, redis.ZRangeArgs{Key: "z", Start: 10, Stop: 0, ByScore: true, Rev: true, Count: 1}).Result())([]string{"one"})
	check(r.ZScore(ctx, "z", "two").Result())(2.5)
	check(r.ZRank(ctx, "z", "one").Result())(int64(1))
	check(r.ZCount(ctx, "z", "-inf", "3").Result())(int64(1))
	check(r.ZRem(ctx, "z", "one").Result())(int64(1))
	check(r.ZCard(ctx, "z").Result())(int64(1))

	commands, err := r.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range 500 {
			p.Set(ctx, fmt.Sprintf("page:%03d", i), i, 0)
		}
		return nil
	})
	none(err)
	if len(commands) != 500 {
		t.Fatal(len(commands))
	}
	var scanned []string
	for it := r.Scan(ctx, 0, "page:*", 7).Iterator(); it.Next(ctx); {
		scanned = append(scanned, it.Val())
	}
	if len(scanned) != 500 || !slices.IsSorted(scanned) {
		t.Fatalf("a scan of 500 keys returned %d", len(scanned))
	}
	check(r.Do(ctx, "CLOUDBURST.ACK").Result())("memory")
	info, err := r.Info(ctx, "server", "keyspace").Result()
	none(err)
	if !strings.Contains(info, "redis_version:7") || !strings.Contains(info, "db0:keys=") || strings.Contains(info, "# Memory") {
		t.Fatal(info)
	}
	if known, err := r.Command(ctx).Result(); err != nil || known["get"] == nil || !known["get"].ReadOnly || known["mset"].StepCount != 2 {
		t.Fatal(known["get"], err)
	}
	if _, err := r.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, "k", "v", 0).Err() }); err == nil ||
		!strings.Contains(err.Error(), "transactions") {
		t.Fatal(err)
	}
	if err := r.HSet(ctx, "h", "f", "v").Err(); err == nil || !strings.Contains(err.Error(), "maps are only") {
		t.Fatal(err)
	}

	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if err := r.Incr(ctx, "hot").Err(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	check(r.Get(ctx, "hot").Int())(400)
}

// TestScanSeesWhatStays lists keys while others come and go.
func TestScanSeesWhatStays(t *testing.T) {
	t.Parallel()
	e := start(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r := redis.NewClient(&redis.Options{Addr: e.Address(), PoolSize: 4})
	defer r.Close()
	const n = 300
	for i := range n {
		if err := r.Set(ctx, fmt.Sprintf("stays:%03d", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			key := fmt.Sprintf("stays:%03d+", i%n)
			if err := errors.Join(r.Set(ctx, key, i, 0).Err(), r.Del(ctx, key).Err()); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 5 {
		seen := map[string]int{}
		for cursor := uint64(0); ; {
			keys, next, err := r.Scan(ctx, cursor, "stays:*", 10).Result()
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range keys {
				seen[key]++
			}
			if cursor = next; cursor == 0 {
				break
			}
		}
		for i := range n {
			if key := fmt.Sprintf("stays:%03d", i); seen[key] != 1 {
				t.Fatalf("%s was listed %d times", key, seen[key])
			}
		}
	}
	close(stop)
	<-ended
}
