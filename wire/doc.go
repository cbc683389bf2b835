// Package wire is the schema of everything that crosses a process boundary: frames, states of lattices and error codes.
//
// It carries no behaviour of the platform, so that every floor above can share it.
package wire
