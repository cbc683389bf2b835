package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"cloudburst/client"
)

// The functions incr and sq were registered from Python:
//
//	app = cloudburst.connect()
//	incr = app.function(lambda x: x + 1, name="incr")
//	sq = app.function(lambda x: x * x, name="sq")

func Example() {
	ctx := context.Background()
	cloud, err := client.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	future, err := cloud.Call(ctx, "sq", 4)
	if err != nil {
		log.Fatal(err)
	}
	result, err := client.Get[int](ctx, future)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result)
	// Output: 16
}

func ExampleClient_CallDAG() {
	ctx := context.Background()
	cloud, err := client.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	err = cloud.RegisterDAG(ctx, client.DAG{
		Name:      "f",
		Functions: []string{"incr", "sq"},
		Links:     []client.Link{{Source: "incr", Sink: "sq"}},
	})
	if err != nil && !errors.Is(err, client.ErrDAGExists) {
		log.Fatal(err)
	}
	future, err := cloud.CallDAG(ctx, "f", map[string][]any{"incr": {3}})
	if err != nil {
		log.Fatal(err)
	}
	var result int
	if err := future.Get(ctx, &result); err != nil {
		log.Fatal(err)
	}
	fmt.Println(result)
	// Output: 16
}

// A future, or a reference to a key, as an argument is replaced by its value before the function runs.
func ExampleRef() {
	ctx := context.Background()
	cloud, err := client.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	if err := cloud.Put(ctx, "answer", 41); err != nil {
		log.Fatal(err)
	}
	first, err := cloud.Call(ctx, "incr", client.Ref{Key: "answer"})
	if err != nil {
		log.Fatal(err)
	}
	second, err := cloud.Call(ctx, "sq", first)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(client.Get[int](ctx, second))
	// Output: 1764 <nil>
}

func ExampleClient_Put() {
	ctx := context.Background()
	cloud, err := client.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	type user struct {
		Name string `json:"name"`
		Age  int    `json:"age"`
	}
	if err := cloud.Put(ctx, "users/ada", user{"Ada", 36}); err != nil {
		log.Fatal(err)
	}
	var ada user
	if err := cloud.Get(ctx, "users/ada", &ada); err != nil {
		log.Fatal(err)
	}
	fmt.Println(ada.Name, ada.Age)
	err = cloud.Get(ctx, "users/nobody", &ada)
	fmt.Println(errors.Is(err, client.ErrKeyNotFound))
	// Output:
	// Ada 36
	// true
}

// What user code raises comes back as an error that has its type, its message and the remote traceback.
func ExampleError() {
	ctx := context.Background()
	cloud, err := client.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer cloud.Close()
	future, err := cloud.Call(ctx, "div", 1, 0)
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.Get[float64](ctx, future)
	var remote *client.Error
	if errors.Is(err, client.ErrExecution) && errors.As(err, &remote) {
		fmt.Println(remote.Exception.GetType())
		fmt.Println(remote.Exception.GetMessage())
	}
	// Output:
	// ZeroDivisionError
	// division by zero
}
