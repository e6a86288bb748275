package pebblekv

import (
	"bytes"
	"sync/atomic"
)

// rowCache holds small values that were read lately, above Pebble, where a hit
// costs a hash and two loads. Entries are never removed when a key changes:
// one is good only while the slot of its key is not newer than the state it
// was read from, which every change raises.
type rowCache struct{ rows []atomic.Pointer[row] }

type row struct {
	key, val []byte // val is nil when the key is absent
	seq      uint64 // of the state it was read from
}

const (
	rowBits    = 15
	maxRowSize = 512 // key and value; with rowBits this bounds the memory
)

func (c *rowCache) init() { c.rows = make([]atomic.Pointer[row], 1<<rowBits) }

func (c *rowCache) at(h uint64) *atomic.Pointer[row] { return &c.rows[h>>(64-rowBits)] }

// get returns the value that key had in the state slot and has had since, if
// it is cached.
func (c *rowCache) get(h uint64, key []byte, slot uint64) (val []byte, ok bool) {
	r := c.at(h).Load()
	if r == nil || slot > r.seq || !bytes.Equal(r.key, key) {
		return nil, false
	}
	return r.val, true
}

// put remembers what key held in state seq.
func (c *rowCache) put(h uint64, key, val []byte, seq uint64) {
	if len(key)+len(val) <= maxRowSize {
		c.at(h).Store(&row{key: bytes.Clone(key), val: val, seq: seq})
	}
}

// refresh replaces the value of a key that is cached, because it was written.
func (c *rowCache) refresh(h uint64, key, val []byte, seq uint64) {
	p := c.at(h)
	if r := p.Load(); r != nil && bytes.Equal(r.key, key) && len(key)+len(val) <= maxRowSize {
		if val != nil {
			val = append([]byte{}, val...)
		}
		p.Store(&row{key: r.key, val: val, seq: seq})
	}
}
