package registry

import (
	"bytes"
	"container/list"
	"context"
	"sync"
)

// Definitions stores what functions are made of, under keys that the registry chooses. Put returns when the value is
// durable; Get of a key that is not there fails with an error that wraps wire.ErrKeyNotFound; Delete of such a key does
// not fail.
type Definitions interface {
	Put(ctx context.Context, key string, value []byte) error
	Get(ctx context.Context, key string) ([]byte, error)
	Delete(ctx context.Context, key string) error
}

// definitionCache holds definitions up to a number of bytes, those used last. Keys are never given a second value, so
// nothing in it is ever out of date. Safe for concurrent use.
type definitionCache struct {
	bytesMax int

	mu      sync.Mutex
	bytes   int
	entries map[string]*list.Element
	order   *list.List // of *definition, the one used last in front
}

type definition struct {
	key   string
	value []byte
}

func newDefinitionCache(bytesMax int) *definitionCache {
	return &definitionCache{bytesMax: bytesMax, entries: map[string]*list.Element{}, order: list.New()}
}

func (c *definitionCache) get(key string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.entries[key]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(element)
	return element.Value.(*definition).value, true
}

// put takes a copy of value in. One that would push out most of the others is not worth its place.
func (c *definitionCache) put(key string, value []byte) {
	if len(value) > c.bytesMax/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[key]; ok {
		return
	}
	c.entries[key] = c.order.PushFront(&definition{key, bytes.Clone(value)})
	c.bytes += len(value)
	for c.bytes > c.bytesMax {
		c.remove(c.order.Back())
	}
}

func (c *definitionCache) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element, ok := c.entries[key]; ok {
		c.remove(element)
	}
}

func (c *definitionCache) remove(element *list.Element) {
	d := c.order.Remove(element).(*definition)
	delete(c.entries, d.key)
	c.bytes -= len(d.value)
}
