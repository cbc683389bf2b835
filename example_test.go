package cloudburst_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"cloudburst"
)

// The functions incr and sq were registered from Python:
//
//	app = cloudburst.connect()
//	incr = app.function(lambda x: x + 1, name="incr")
//	sq = app.function(lambda x: x * x, name="sq")

func Example() {
	ctx := context.Background()
	client, err := cloudburst.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	future, err := client.Call(ctx, "sq", 4)
	if err != nil {
		log.Fatal(err)
	}
	result, err := cloudburst.Get[int](ctx, future)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result)
	// Output: 16
}

func ExampleClient_CallDAG() {
	ctx := context.Background()
	client, err := cloudburst.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	err = client.RegisterDAG(ctx, cloudburst.DAG{
		Name:      "f",
		Functions: []string{"incr", "sq"},
		Links:     []cloudburst.Link{{Source: "incr", Sink: "sq"}},
	})
	if err != nil && !errors.Is(err, cloudburst.ErrDAGExists) {
		log.Fatal(err)
	}
	future, err := client.CallDAG(ctx, "f", map[string][]any{"incr": {3}})
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
	client, err := cloudburst.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if err := client.Put(ctx, "answer", 41); err != nil {
		log.Fatal(err)
	}
	first, err := client.Call(ctx, "incr", cloudburst.Ref{Key: "answer"})
	if err != nil {
		log.Fatal(err)
	}
	second, err := client.Call(ctx, "sq", first)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cloudburst.Get[int](ctx, second))
	// Output: 1764 <nil>
}

func ExampleClient_Put() {
	ctx := context.Background()
	client, err := cloudburst.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	type user struct {
		Name string `json:"name"`
		Age  int    `json:"age"`
	}
	if err := client.Put(ctx, "users/ada", user{"Ada", 36}); err != nil {
		log.Fatal(err)
	}
	var ada user
	if err := client.Get(ctx, "users/ada", &ada); err != nil {
		log.Fatal(err)
	}
	fmt.Println(ada.Name, ada.Age)
	err = client.Get(ctx, "users/nobody", &ada)
	fmt.Println(errors.Is(err, cloudburst.ErrKeyNotFound))
	// Output:
	// Ada 36
	// true
}

// What user code raises comes back as an error that has its type, its message and the remote traceback.
func ExampleError() {
	ctx := context.Background()
	client, err := cloudburst.Connect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	future, err := client.Call(ctx, "div", 1, 0)
	if err != nil {
		log.Fatal(err)
	}
	_, err = cloudburst.Get[float64](ctx, future)
	var remote *cloudburst.Error
	if errors.Is(err, cloudburst.ErrExecution) && errors.As(err, &remote) {
		fmt.Println(remote.Exception.GetType())
		fmt.Println(remote.Exception.GetMessage())
	}
	// Output:
	// ZeroDivisionError
	// division by zero
}
