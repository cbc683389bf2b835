package client

import "cloudburst/codec"

// Set is a set of distinct values. Put stores one as a set lattice, whose elements join those that are there.
type Set = codec.Set

// FrozenSet is a set that is a key or an element of another set.
type FrozenSet = codec.FrozenSet

// Tuple is a list that is not changed, as Python's tuple.
type Tuple = codec.Tuple

// Ordered holds any value, with all dictionaries in it as Pairs, in their order: a *Ordered is a target of Get that takes
// whatever there is.
type Ordered = codec.Ordered

// Pair is one item of a dictionary.
type Pair = codec.Pair

// Pairs is a dictionary with keys that a Go map cannot have, such as tuples, in its order.
type Pairs = codec.Pairs

// Pickle is a value that only Python can read: a pickled object. It can be put back, or given to a function, as it is.
type Pickle = codec.Pickle

// Array is a NumPy array: its elements as they lie in memory.
type Array = codec.Array

// Ref stands for the value of a key as an argument of a call: the function gets the value. It may also stand inside a slice.
type Ref = codec.Ref
