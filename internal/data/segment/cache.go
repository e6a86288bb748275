package segment

import (
	"sync"
	"sync/atomic"

	"manifold/internal/data"
)

// block is a buffer of one block, plain or stored.
type block struct {
	b    [data.BlockBytes + data.TagBytes]byte
	refs atomic.Int32
}

type blockKey struct {
	id    data.ExtentID
	block uint64
}

// cache keeps verified plain blocks that were wanted in part, since such
// readers tend to come back for the rest. Extents never change and ids are
// never reused, so an entry is never stale, moved or not.
//
// Readers copy outside the lock; a buffer goes back to the pool when the cache
// and the last reader have let it go.
type cache struct {
	shards [cacheShards]cacheShard
	pool   *sync.Pool
}

const cacheShards = 8

type cacheShard struct {
	mu    sync.Mutex
	at    map[blockKey]int // index into slots
	slots []cacheSlot
	hand  int
	max   int
}

type cacheSlot struct {
	key  blockKey
	b    *block
	used bool // since the hand came by
}

func newCache(bytes int64, pool *sync.Pool) *cache {
	c := &cache{pool: pool}
	for i := range c.shards {
		if n := int(max(bytes, 0) / data.BlockBytes / cacheShards); n > 0 {
			c.shards[i].max = n
			c.shards[i].at = make(map[blockKey]int, n)
		}
	}
	return c
}

func (c *cache) shard(k blockKey) *cacheShard {
	h := (uint64(k.id) ^ k.block<<48) * 0x9e3779b97f4a7c15
	return &c.shards[h>>61]
}

// get returns the block with a reference that put drops, or nil.
func (c *cache) get(k blockKey) *block {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.at[k]
	if !ok {
		return nil
	}
	s.slots[i].used = true
	b := s.slots[i].b
	b.refs.Add(1)
	return b
}

func (c *cache) put(b *block) {
	if b.refs.Add(-1) == 0 {
		c.pool.Put(b)
	}
}

// fresh returns a buffer with one reference.
func (c *cache) fresh() *block {
	b := c.pool.Get().(*block)
	b.refs.Store(1)
	return b
}

// add keeps a verified block; the caller keeps its own reference.
func (c *cache) add(k blockKey, b *block) {
	s := c.shard(k)
	if s.max == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.at[k]; ok {
		return
	}
	b.refs.Add(1)
	if len(s.slots) < s.max {
		s.at[k] = len(s.slots)
		s.slots = append(s.slots, cacheSlot{key: k, b: b})
		return
	}
	for s.slots[s.hand].used { // CLOCK: ends after one round at most
		s.slots[s.hand].used = false
		s.hand = (s.hand + 1) % s.max
	}
	old := &s.slots[s.hand]
	delete(s.at, old.key)
	c.put(old.b)
	*old = cacheSlot{key: k, b: b}
	s.at[k] = s.hand
	s.hand = (s.hand + 1) % s.max
}

// drop empties the cache.
func (c *cache) drop() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for _, sl := range s.slots {
			c.put(sl.b)
		}
		s.slots, s.hand = nil, 0
		clear(s.at)
		s.mu.Unlock()
	}
}
