package contexts

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func folder(t *testing.T) Folder {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	f, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func publish(t *testing.T, f Folder, c Context) Published {
	t.Helper()
	p, err := f.Publish(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// data makes a data directory.
func data(t *testing.T, elements ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{t.TempDir()}, elements...)...)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// kill makes the node of a context one whose process has ended.
func kill(t *testing.T, f Folder, name string) {
	t.Helper()
	c, err := f.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	c.Process.Started--
	if err := f.write(c); err != nil {
		t.Fatal(err)
	}
}

func TestCurrentStaysWhileItsNodeMayRun(t *testing.T) {
	f := folder(t)
	first := Context{Address: "127.0.0.1:1", Token: "one", Data: data(t, "first", "data")}
	second := Context{Address: "127.0.0.1:2", Token: "two", Data: data(t, "second", ".cloudburst")}
	if p := publish(t, f, first); p.Name != "first" || p.Current.Name != "first" || p.Before != "" {
		t.Errorf("got %+v", p)
	}
	if p := publish(t, f, second); p.Name != "second" || p.Current.Name != "first" || p.Current.Address != first.Address {
		t.Errorf("got %+v", p)
	}
	if err := f.Remove("first"); !errors.Is(err, ErrRunning) {
		t.Errorf("got %v", err)
	}
	if err := f.Use("third"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "first, second") {
		t.Errorf("got %v", err)
	}
	// The node of the current context ends in order: the next one that starts is current, and is told.
	if err := f.Withdraw("first", first.Data); err != nil {
		t.Fatal(err)
	}
	if f.Current() != "first" {
		t.Errorf("current is %s", f.Current())
	}
	second.Address = "127.0.0.1:3"
	if p := publish(t, f, second); p.Current.Name != "second" || p.Before != "first" {
		t.Errorf("got %+v", p)
	}
	if p := publish(t, f, first); p.Name != "first" || p.Current.Name != "second" {
		t.Errorf("got %+v", p)
	}
	// The same when its process has ended otherwise.
	kill(t, f, "second")
	if p := publish(t, f, first); p.Current.Name != "first" || p.Before != "second" {
		t.Errorf("got %+v", p)
	}
	if err := f.Remove("second"); err != nil {
		t.Error(err)
	}
	if at, ok := f.At(func(address string) bool { return address == first.Address }); !ok || at.Token != "one" {
		t.Errorf("got %+v", at)
	}
}

func TestAProcessThatCannotBeJudged(t *testing.T) {
	f := folder(t)
	publish(t, f, Context{Address: "127.0.0.1:1", Data: data(t, "first")})
	c, err := f.Get("first")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Process){
		func(p *Process) { p.Host, p.Boot, p.ID = "elsewhere", "other", 1<<22+1 },
		func(p *Process) { p.Namespace, p.ID = "pid:[1]", 1<<22+1 },
	} {
		other := c
		change(&other.Process)
		if other.Gone() {
			t.Errorf("%+v is gone", other.Process)
		}
	}
	c.Process.Boot = "before"
	if !c.Gone() {
		t.Error("a process has survived a restart of the machine")
	}
}

func TestAChildThatHasEnded(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	c := Context{Process: thisProcess()}
	c.Process.ID = child.Process.Pid
	var err error
	if c.Process.Started, err = startOf(child.Process.Pid); err != nil || c.Gone() {
		t.Errorf("gone: %v, %v", c.Gone(), err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if !c.Gone() {
		t.Error("not gone")
	}
}

func TestNames(t *testing.T) {
	for path, want := range map[string]string{
		"/srv/ada/.local/share/cloudburst": "default",
		"/srv/ada/shop/.cloudburst":        "shop",
		"/srv/shop/data":                   "shop",
		"/srv/shop":                        "shop",
		"/srv/my shop é":                   "my-shop--",
		"/":                                "default",
		"/.x":                              "default",
		"/srv/" + strings.Repeat("a", 100): strings.Repeat("a", 60),
	} {
		if got := nameFor(path); got != want || CheckName(got) != nil {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	f := folder(t)
	a, b := data(t, "a", "shop"), data(t, "b", "shop")
	publish(t, f, Context{Address: "127.0.0.1:1", Data: a})
	if p := publish(t, f, Context{Address: "127.0.0.1:2", Data: b}); p.Name != "shop-2" {
		t.Errorf("got %s", p.Name)
	}
	if p := publish(t, f, Context{Address: "127.0.0.1:3", Data: b}); p.Name != "shop-2" {
		t.Errorf("started again it is %s", p.Name)
	}
	if _, err := f.Publish(Context{Name: "shop", Address: "127.0.0.1:2", Data: b}); !errors.Is(err, ErrTaken) {
		t.Errorf("got %v", err)
	}
	if p := publish(t, f, Context{Name: "mine", Address: "127.0.0.1:3", Data: b}); p.Name != "mine" {
		t.Errorf("got %s", p.Name)
	}
	if got := strings.Join(f.names(), " "); got != "mine shop" {
		t.Errorf("there are %s", got)
	}
	for _, name := range []string{"", ".lock", "a/b", "../token", "a b", strings.Repeat("a", 65)} {
		if err := CheckName(name); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestContextsOfNodesThatAreGoneWithTheirData(t *testing.T) {
	f := folder(t)
	kept, gone := data(t, "kept"), data(t, "gone")
	publish(t, f, Context{Address: "127.0.0.1:1", Data: gone})
	publish(t, f, Context{Address: "127.0.0.1:2", Data: kept})
	kill(t, f, "gone")
	kill(t, f, "kept")
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	if p := publish(t, f, Context{Address: "127.0.0.1:3", Data: data(t, "next")}); p.Before != "gone" || p.Current.Name != "next" {
		t.Errorf("got %+v", p)
	}
	if got := strings.Join(f.names(), " "); got != "kept next" {
		t.Errorf("there are %s", got)
	}
}

// What a node of an earlier version has left becomes a context while that node runs.
func TestMigrate(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, running := range []bool{true, false} {
		f := folder(t)
		address := listener.Addr().String()
		if !running {
			_ = listener.Close()
		}
		if err := os.MkdirAll(f.path, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"address": address, "token": "old"} {
			if err := os.WriteFile(filepath.Join(f.path, name), []byte(text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p := publish(t, f, Context{Address: "127.0.0.1:1", Data: data(t, "new")})
		if running && (p.Current.Name != "default" || p.Current.Token != "old") || !running && p.Current.Name != "new" {
			t.Errorf("running %v: got %+v", running, p)
		}
		if _, err := os.Stat(filepath.Join(f.path, "token")); err == nil {
			t.Error("the old files are there")
		}
	}
}

func TestManyNodesStartAtOnce(t *testing.T) {
	f := folder(t)
	const nodes = 8
	var started sync.WaitGroup
	for range nodes {
		own := data(t, "shop")
		started.Go(func() {
			if _, err := f.Publish(Context{Address: "127.0.0.1:1", Data: own}); err != nil {
				t.Error(err)
			}
		})
	}
	started.Wait()
	if got := f.names(); len(got) != nodes {
		t.Errorf("there are %v", got)
	}
	if _, err := f.Get(f.Current()); err != nil {
		t.Error(err)
	}
}
