// Package cache is the copy of the store that a node's executors share, in their own process.
//
// Executors talk to nothing else. What it holds is told to Anna key by key, so a change by anybody reaches it within one epoch.
package cache
