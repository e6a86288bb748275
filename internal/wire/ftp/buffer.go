package ftp

import (
	"sync"
	"sync/atomic"
)

// Sizes of what a transfer reads or writes at once: the first piece is small,
// since most files are.
const (
	firstBuffer    = 64 << 10
	transferBuffer = 1 << 20
)

// buffer holds bytes of a transfer. The file system keeps what it is given to
// write without a copy, so a buffer comes back when the last of its bytes is
// stored.
type buffer struct {
	b    []byte
	refs atomic.Int32
	pool *sync.Pool
}

var (
	firstBuffers    = sync.Pool{New: func() any { return &buffer{b: make([]byte, firstBuffer)} }}
	transferBuffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, transferBuffer)} }}
)

// take answers a buffer that the caller releases.
func take(p *sync.Pool) *buffer {
	b := p.Get().(*buffer)
	b.pool = p
	b.refs.Store(1)
	return b
}

// Retain implements fs.Buffer.
func (b *buffer) Retain() { b.refs.Add(1) }

// Release implements fs.Buffer.
func (b *buffer) Release() {
	if b.refs.Add(-1) == 0 {
		b.pool.Put(b)
	}
}
