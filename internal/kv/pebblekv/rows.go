package pebblekv

import (
	"bytes"
	"sync/atomic"
)

// rowCache holds small values that were read lately, above Pebble, where a hit
// costs a hash and two loads. Entries are never removed when a key changes:
// one is good only for a reader that finds the slot of the key at the version
// the entry was made for. That is not the same as "not newer": between a
// reader's look at the slot and its look here, a commit may raise the first
// and replace the second.
type rowCache struct{ rows []atomic.Pointer[row] }

type row struct {
	key, val []byte // val is nil when the key is absent
	ver      uint64 // what the slot of the key held
}

const (
	rowBits    = 15
	maxRowSize = 512 // key and value; with rowBits this bounds the memory
)

func (c *rowCache) init() { c.rows = make([]atomic.Pointer[row], 1<<rowBits) }

func (c *rowCache) at(h uint64) *atomic.Pointer[row] { return &c.rows[h>>(64-rowBits)] }

// get returns the value that key has had since commit slot, if it is cached.
func (c *rowCache) get(h uint64, key []byte, slot uint64) (val []byte, ok bool) {
	r := c.at(h).Load()
	if r == nil || slot != r.ver || !bytes.Equal(r.key, key) {
		return nil, false
	}
	return r.val, true
}

// put remembers what key holds since commit slot.
func (c *rowCache) put(h uint64, key, val []byte, slot uint64) {
	if len(key)+len(val) <= maxRowSize {
		c.at(h).Store(&row{key: bytes.Clone(key), val: val, ver: slot})
	}
}

// refresh replaces the value of a key that is cached, because commit slot
// writes it.
func (c *rowCache) refresh(h uint64, key, val []byte, slot uint64) {
	p := c.at(h)
	if r := p.Load(); r != nil && bytes.Equal(r.key, key) && len(key)+len(val) <= maxRowSize {
		if val != nil {
			val = append([]byte{}, val...)
		}
		p.Store(&row{key: r.key, val: val, ver: slot})
	}
}
