package client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leave does as nodes do that are started: one context for each address, the first of them current. Its token is its name.
func leave(t *testing.T, addresses map[string]string, current string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	folder := filepath.Join(dir, "cloudburst", "contexts")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, address := range addresses {
		text := `{"address":"` + address + `","token":"` + name + `"}`
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "cloudburst", "context"), []byte(current+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	two := map[string]string{"first": "127.0.0.1:9", "second": "127.0.0.1:10"}
	tests := []struct {
		name          string
		options       options
		env, contexts map[string]string
		want          target
		fails         string
	}{
		{name: "nothing is known", want: target{address: "127.0.0.1:7100"}},
		{name: "the current context", contexts: two, want: target{address: "127.0.0.1:9", token: "first", context: "first"}},
		{
			name: "another context", options: options{context: "second"}, contexts: two,
			env:  map[string]string{"CLOUDBURST_ADDRESS": "h:1", "CLOUDBURST_TOKEN": "e"},
			want: target{address: "127.0.0.1:10", token: "second", context: "second"},
		},
		{
			name: "a context of the environment", env: map[string]string{"CLOUDBURST_CONTEXT": "second"}, contexts: two,
			want: target{address: "127.0.0.1:10", token: "second", context: "second"},
		},
		{
			name: "an address comes before it", env: map[string]string{"CLOUDBURST_CONTEXT": "second", "CLOUDBURST_ADDRESS": "h:1"}, contexts: two,
			want: target{address: "h:1"},
		},
		{
			name: "the environment comes before the current context", env: map[string]string{"CLOUDBURST_ADDRESS": "h:1", "CLOUDBURST_TOKEN": "e"},
			contexts: two, want: target{address: "h:1", token: "e"},
		},
		{
			name: "an option before both", options: options{address: "o", token: "t"}, contexts: two,
			env: map[string]string{"CLOUDBURST_ADDRESS": "h:1", "CLOUDBURST_TOKEN": "e"}, want: target{address: "o:7100", token: "t"},
		},
		{
			name: "a token is for the address that it was left for", options: options{address: "h:1"},
			contexts: two, want: target{address: "h:1"},
		},
		{
			name: "by whatever name", options: options{address: "http://localhost:10"},
			contexts: two, want: target{address: "127.0.0.1:10", token: "second"},
		},
		{name: "TLS", options: options{address: "https://[::1]"}, want: target{address: "[::1]:7100", secure: true}},
		{
			name: "an address that is none", options: options{address: "h"}, contexts: map[string]string{"first": "127.0.0.1:9 x"},
			want: target{address: "h:7100"},
		},
		{name: "no such context", options: options{context: "third"}, contexts: two, fails: "first, second"},
		{name: "two nodes", options: options{context: "first", address: "h"}, contexts: two, fails: "one of them"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, variable := range []string{"CLOUDBURST_ADDRESS", "CLOUDBURST_TOKEN", "CLOUDBURST_CONTEXT"} {
				t.Setenv(variable, test.env[variable])
			}
			current := ""
			if test.contexts != nil {
				current = "first"
			}
			leave(t, test.contexts, current)
			var got target
			o, err := test.options.settled()
			if err == nil {
				got, err = o.find()
			}
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got %+v, %v, want %q", got, err, test.fails)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}
