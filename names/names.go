// Package names compares and converts names: those of settings, of functions, and of hosts.
package names

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"unicode"
)

// Snake returns the name of a Go field as settings and metrics write it: WorkersMax is workers_max, CAFile is ca_file, and DAGs
// is dags.
func Snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		plural := i+2 == len(runes) && runes[i+1] == 's' // the s of DAGs
		word := i+1 < len(runes) && unicode.IsLower(runes[i+1]) && !plural
		if i > 0 && unicode.IsUpper(r) && (!unicode.IsUpper(runes[i-1]) || word) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Distance returns how many bytes must be inserted, removed or replaced to get from a to b (the Levenshtein distance). It takes
// time and memory in proportion to the product of both lengths, which the caller bounds.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Near returns the known names that are at most within away from a wrong one, the nearest first, and no more than most of them.
func Near(wrong string, known []string, within, most int) []string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	for _, name := range known {
		if d := Distance(wrong, name); d <= within {
			near = append(near, candidate{name, d})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name))
	})
	found := make([]string, min(len(near), most))
	for i := range found {
		found[i] = near[i].name
	}
	return found
}

// Loopback reports whether only this machine can reach a host. A name other than localhost may stand for any machine.
func Loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}
