package codec

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestWhatLatticesShow reads the golden states, which say what a program sees of them.
func TestWhatLatticesShow(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "wire", "testdata", "states", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var golden struct {
				Hex   string `json:"hex"`
				Value any    `json:"value"`
			}
			if err := json.Unmarshal(text, &golden); err != nil {
				t.Fatal(err)
			}
			state, err := hex.DecodeString(golden.Hex)
			if err != nil {
				t.Fatal(err)
			}
			var got any
			if err := Decode(append([]byte{KindLattice}, state...), &got); err != nil {
				t.Fatal(err)
			}
			want := golden.Value
			if diff := equal(fromGolden(want), loosely(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// fromGolden returns a value as the golden files write it: bytes are objects, and numbers have no type.
func fromGolden(v any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = fromGolden(v[i])
		}
		return list
	case map[string]any:
		if text, ok := v["bytes"].(string); ok && len(v) == 1 {
			return []byte(text)
		}
		object := make(map[string]any, len(v))
		for key := range v {
			object[key] = fromGolden(v[key])
		}
		return object
	}
	return v
}

// loosely returns a value without what JSON does not know.
func loosely(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case Set:
		return loosely([]any(v))
	case Tuple:
		return loosely([]any(v))
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = loosely(v[i])
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for key := range v {
			object[key] = loosely(v[key])
		}
		return object
	}
	return v
}

func TestLatticesFitTypedTargets(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "wire", "testdata", "states", "counter.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ Hex string }
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	state, err := hex.DecodeString(golden.Hex)
	if err != nil {
		t.Fatal(err)
	}
	var n uint8
	if err := Decode(append([]byte{KindLattice}, state...), &n); err != nil || n != 42 {
		t.Errorf("got %v, %v", n, err)
	}
}
