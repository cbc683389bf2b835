package client

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFind(t *testing.T) {
	tests := []struct {
		name       string
		options    options
		env, saved map[string]string
		want       target
	}{
		{name: "nothing is known", want: target{address: "127.0.0.1:7100"}},
		{
			name: "the last node of this machine", saved: map[string]string{"address": "127.0.0.1:9\n", "token": "s\n"},
			want: target{address: "127.0.0.1:9", token: "s"},
		},
		{
			name: "the environment comes before it", env: map[string]string{"CLOUDBURST_ADDRESS": "h:1", "CLOUDBURST_TOKEN": "e"},
			saved: map[string]string{"address": "127.0.0.1:9", "token": "s"}, want: target{address: "h:1", token: "e"},
		},
		{
			name: "an option before both", options: options{address: "o", token: "t"},
			env:   map[string]string{"CLOUDBURST_ADDRESS": "h:1", "CLOUDBURST_TOKEN": "e"},
			saved: map[string]string{"address": "127.0.0.1:9", "token": "s"}, want: target{address: "o:7100", token: "t"},
		},
		{
			name: "the saved token is for the node that saved it", options: options{address: "h:1"},
			saved: map[string]string{"address": "127.0.0.1:9", "token": "s"}, want: target{address: "h:1"},
		},
		{
			name: "by whatever name", options: options{address: "http://localhost:9"},
			saved: map[string]string{"address": "127.0.0.1:9", "token": "s"}, want: target{address: "127.0.0.1:9", token: "s"},
		},
		{name: "TLS", options: options{address: "https://[::1]"}, want: target{address: "[::1]:7100", secure: true}},
		{name: "a saved address that is none", saved: map[string]string{"address": "127.0.0.1:9 x", "token": "s"}, options: options{address: "h"}, want: target{address: "h:7100"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("XDG_CONFIG_HOME", dir)
			t.Setenv("CLOUDBURST_ADDRESS", test.env["CLOUDBURST_ADDRESS"])
			t.Setenv("CLOUDBURST_TOKEN", test.env["CLOUDBURST_TOKEN"])
			if err := os.Mkdir(filepath.Join(dir, savedFolder), 0o700); err != nil {
				t.Fatal(err)
			}
			for name, text := range test.saved {
				if err := os.WriteFile(filepath.Join(dir, savedFolder, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := test.options.find(); err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}
