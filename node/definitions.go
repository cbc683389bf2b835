package node

import (
	"context"

	"cloudburst/cache"
	"cloudburst/wire"
	"cloudburst/wire/pb"
)

// definitionPrefix begins the keys of what functions are made of. Keys under "cloudburst/" are the node's own: clients neither
// see nor reach them.
const definitionPrefix = "cloudburst/definition/"

// definitions keeps what functions are made of in the store.
type definitions struct{ store *cache.Cache }

// Put implements registry.Definitions.
func (d definitions) Put(ctx context.Context, key string, value []byte) error {
	return d.store.Put(ctx, []cache.Write{{
		Key: definitionPrefix + key, Type: pb.LatticeType_LATTICE_TYPE_LWW, Values: [][]byte{value},
	}}, pb.Ack_ACK_DURABLE)
}

// Get implements registry.Definitions.
func (d definitions) Get(ctx context.Context, key string) ([]byte, error) {
	entries, err := d.store.Get(ctx, []string{definitionPrefix + key}, 0)
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
