package resp

import "bytes"

// match reports whether a key matches a pattern: * is any bytes, ? is one, [a-c] and [^a-c] are one of some, \ takes the next
// literally. It takes time in the product of both lengths at most, whatever the pattern.
func match(pattern []byte, key string) bool {
	p, k := 0, 0
	star, mark := -1, 0 // where to go on when what follows the last * does not match after all
	for k < len(key) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, mark = p, k
				p++
				continue
			}
			if ok, n := matchOne(pattern[p:], key[k]); ok {
				p += n
				k++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, k = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne reports whether the first element of a pattern, which takes n bytes, matches a byte.
func matchOne(pattern []byte, c byte) (ok bool, n int) {
	switch pattern[0] {
	case '?':
		return true, 1
	case '\\':
		if len(pattern) > 1 {
			return pattern[1] == c, 2
		}
	case '[':
		return matchClass(pattern, c)
	}
	return pattern[0] == c, 1
}

func matchClass(pattern []byte, c byte) (ok bool, n int) {
	i := 1
	negated := i < len(pattern) && pattern[i] == '^'
	if negated {
		i++
	}
	for i < len(pattern) && pattern[i] != ']' {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		low := pattern[i]
		high := low
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			high = pattern[i+2]
			i += 2
		}
		if min(low, high) <= c && c <= max(low, high) {
			ok = true
		}
		i++
	}
	return ok != negated, min(i+1, len(pattern))
}

// literalPrefix returns what every key that matches begins with.
func literalPrefix(pattern []byte) string {
	if at := bytes.IndexAny(pattern, `*?[\`); at >= 0 {
		pattern = pattern[:at]
	}
	return string(pattern)
}
