package client_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloudburst/client"
	"cloudburst/wire"
)

// refusal is a case of testdata/refused.json, which all clients must refuse in the same way. The Python client and the command
// line read it in e2e/test_refused.py.
type refusal struct {
	Case      string
	Op        string
	Key       string
	KeyBytes  int `json:"key_bytes"`
	Keys      []string
	TTL       *float64
	N         json.Number
	Function  string
	Ref       *string
	DAG       string
	Arguments map[string][]any
	Limit     int
	Error     string
	Says      string
	Only      []string
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "refused.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	cloud := connect(t)
	put(t, cloud, "value", 1)
	if err := cloud.RegisterPickle(t.Context(), "echo", callables["identity"]); err != nil {
		t.Fatal(err)
	}
	if err := cloud.RegisterDAG(t.Context(), client.DAG{Name: "echoes", Functions: []string{"echo"}}); err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		var scope struct{ Only []string }
		if err := json.Unmarshal(one, &scope); err != nil {
			t.Fatal(err)
		}
		if len(scope.Only) > 0 && !slices.Contains(scope.Only, "go") {
			continue
		}
		var test refusal
		if err := json.Unmarshal(one, &test); err != nil {
			t.Fatal(err)
		}
		t.Run(test.Case, func(t *testing.T) {
			t.Parallel()
			err := attempt(t, cloud, test)
			if err == nil || wire.CodeName(wire.CodeOf(err)) != test.Error || !strings.Contains(err.Error(), test.Says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func attempt(t *testing.T, cloud *client.Client, test refusal) error {
	ctx, key := t.Context(), test.Key
	if test.KeyBytes > 0 {
		key = strings.Repeat("k", test.KeyBytes)
	}
	call := func(future *client.Future, err error) error {
		if err != nil {
			return err
		}
		return future.Get(ctx, new(any))
	}
	switch test.Op {
	case "get":
		return cloud.Get(ctx, key, new(any))
	case "put":
		if test.TTL != nil {
			return cloud.Put(ctx, key, 1, client.TTL(*test.TTL*float64(time.Second)))
		}
		return cloud.Put(ctx, key, 1)
	case "delete":
		return cloud.Delete(ctx, key)
	case "increment":
		n, err := test.N.Int64()
		if err != nil {
			return err
		}
		return cloud.Put(ctx, key, client.Increment(n))
	case "watch":
		for _, err := range cloud.Watch(ctx, test.Keys...) {
			return err
		}
	case "call":
		if test.Ref != nil {
			return call(cloud.Call(ctx, test.Function, client.Ref{Key: *test.Ref}))
		}
		return call(cloud.Call(ctx, test.Function))
	case "call_dag":
		return call(cloud.CallDAG(ctx, test.DAG, test.Arguments))
	case "list":
		_, _, err := cloud.Keys(ctx, "", "", test.Limit)
		return err
	case "delete_function":
		return cloud.DeleteFunction(ctx, test.Function)
	default:
		t.Fatalf("unknown operation %q", test.Op)
	}
	return nil
}
