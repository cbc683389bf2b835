// Package printed keeps what functions print, for those who ask for it: the latest lines of a node, by run and by function.
//
// Memory is bounded: the oldest lines of the node make room for new ones, and so do the oldest of a run that prints more than
// its share. A function that prints never waits for a reader: a follower that is too slow misses lines, and is told how many.
package printed
