package node

import (
	"context"
	"time"

	"cloudburst/cache"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// definitionPrefix begins the keys of what functions are made of, which clients can list and nothing else.
const definitionPrefix = wire.ReservedPrefix + "definition/"

// definitions keeps what functions are made of in the store.
type definitions struct{ store *cache.Cache }

// Put implements registry.Definitions.
func (d definitions) Put(ctx context.Context, key string, value []byte) error {
	return d.store.Put(ctx, []cache.Write{{
		Key: definitionPrefix + key, Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: [][]byte{value},
	}}, pb.Ack_ACK_DURABLE)
}

// definitionWait is how long a definition may be under way: what the registry of one node announces reaches the store of another
// a little sooner or later.
const definitionWait = 5 * time.Second

// Get implements registry.Definitions.
func (d definitions) Get(ctx context.Context, key string) ([]byte, error) {
	entries, err := d.store.Get(ctx, []string{definitionPrefix + key}, definitionWait)
	if err != nil {
		return nil, err
	}
	if len(entries[0].Values) != 1 {
		return nil, wire.Errorf(pb.Code_CODE_KEY_NOT_FOUND, "the store has no definition %q", key)
	}
	return entries[0].Values[0], nil
}

// Delete implements registry.Definitions.
func (d definitions) Delete(ctx context.Context, key string) error {
	return d.store.Delete(ctx, []string{definitionPrefix + key}, pb.Ack_ACK_DURABLE)
}
