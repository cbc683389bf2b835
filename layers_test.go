package cloudburst_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "cloudburst"

// floors of the house, the lowest first: a package imports only what is on floors below its own. Packages of one floor never
// import each other; they meet in wire. "." is the root package, the Go client.
var floors = [][]string{
	{"lattice", "dag", "session"},
	{"wire/pb"},
	{"wire", "bus"},
	{"anna", "registry"},
	{"cache"},
	{".", "scheduler", "executor", "monitor"},
	{"gateway", "resp"},
	{"node"},
	{"cmd/cloudburst"},
}

// leaves have heavy dependencies. They stand beside the package that they extend, and only node imports them; tests may.
var leaves = map[string]string{"bus/embedded": "bus", "executor/wasm": "executor"}

// outside are programs and tests that use the house and that nothing in it uses.
var outside = []string{"bench", "examples", "e2e", "tools"}

// impure is what the lowest floor does not import: time and randomness arrive as arguments, and it neither logs nor waits.
var impure = []string{"time", "math/rand", "math/rand/v2", "crypto/rand", "context", "log", "log/slog", "os", "net"}

// clientTests may run what they are to talk to.
var clientTests = []string{"node", "bus/embedded"}

func TestLayers(t *testing.T) {
	t.Parallel()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if file != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "python" || slices.Contains(outside, file)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(fset, file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		here, test := filepath.ToSlash(filepath.Dir(file)), strings.HasSuffix(name, "_test.go")
		if floorOf(here) < 0 {
			t.Errorf("%s: package %s has no floor", file, here)
			return nil
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if fault := mayNot(here, imported, test); fault != "" {
				t.Errorf("%s imports %s: %s", file, imported, fault)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// floorOf returns the floor of a package, or of the one that it is a part of; -1 if it has none.
func floorOf(pkg string) int {
	for ; ; pkg = path.Dir(pkg) {
		if floor := slices.IndexFunc(floors, func(names []string) bool { return slices.Contains(names, pkg) }); floor >= 0 {
			return floor
		}
		if !strings.Contains(pkg, "/") {
			return -1
		}
	}
}

// mayNot returns why a package may not import another, or "".
func mayNot(here, imported string, test bool) string {
	target, ours := strings.CutPrefix(imported+"/", module+"/")
	target = path.Clean(target)
	if !ours {
		if floorOf(here) == 0 && !test && (slices.Contains(impure, imported) || strings.Contains(strings.Split(imported, "/")[0], ".")) {
			return "the lowest floor is pure"
		}
		return ""
	}
	if target == here || test && here == "." && slices.Contains(clientTests, target) {
		return "" // the tests of a package, from outside
	}
	if base, leaf := leaves[target]; leaf && here != "node" && !test {
		return "a leaf beside " + base + ", for node alone"
	} else if leaf {
		return ""
	}
	// A leaf and the parts of a package stand on that package's floor and may use it.
	if base := leaves[here]; base == target || strings.HasPrefix(here, target+"/") {
		return ""
	}
	if floorOf(target) >= floorOf(here) {
		return "it is not on a floor below"
	}
	return ""
}
