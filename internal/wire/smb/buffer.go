package smb

import (
	"sync"
	"sync/atomic"
)

// buffer is pooled memory of one frame. It goes back when the last of its
// holders has released it.
type buffer struct {
	b     []byte
	class int
	refs  atomic.Int32
	pool  *bufferPool
}

// Retain implements fs.Buffer.
func (b *buffer) Retain() { b.refs.Add(1) }

// Release implements fs.Buffer.
func (b *buffer) Release() {
	if b.refs.Add(-1) == 0 && b.class >= 0 {
		b.pool.classes[b.class].Put(b)
	}
}

var bufferSizes = [...]int{4 << 10, 80 << 10, 1<<20 + 8<<10, 8<<20 + 64<<10}

type bufferPool struct {
	classes [len(bufferSizes)]sync.Pool
}

// get answers a buffer of length n with one holder.
func (p *bufferPool) get(n int) *buffer {
	for i, size := range bufferSizes {
		if n > size {
			continue
		}
		b, _ := p.classes[i].Get().(*buffer)
		if b == nil {
			b = &buffer{b: make([]byte, size), class: i, pool: p}
		}
		b.b = b.b[:n]
		b.refs.Store(1)
		return b
	}
	b := &buffer{b: make([]byte, n), class: -1, pool: p}
	b.refs.Store(1)
	return b
}
