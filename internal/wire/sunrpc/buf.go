package sunrpc

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// A Buf is a pooled byte buffer with a count of owners. It goes back to its
// pool when the last owner releases it.
type Buf struct {
	b     []byte
	refs  atomic.Int32
	class int8
}

// Classes are a power of two plus room for headers, so that a 2^n payload and
// its RPC framing share one buffer without wasting half of it.
const (
	smallSize  = 512
	headroom   = 1024
	minShift   = 11 // 2 KiB
	maxShift   = 20 // 1 MiB
	classCount = maxShift - minShift + 2
)

var bufPools [classCount]sync.Pool

func classOf(n int) int {
	if n <= smallSize {
		return 0
	}
	if n <= headroom+1<<minShift {
		return 1
	}
	c := bits.Len(uint(n-headroom-1)) - minShift + 1
	if c >= classCount {
		return -1
	}
	return c
}

func classSize(c int) int {
	if c == 0 {
		return smallSize
	}
	return headroom + 1<<(minShift+c-1)
}

// NewBuf returns a buffer of length n with one owner. Its bytes are arbitrary.
func NewBuf(n int) *Buf {
	c := classOf(n)
	if c < 0 {
		b := &Buf{b: make([]byte, n), class: -1}
		b.refs.Store(1)
		return b
	}
	b, _ := bufPools[c].Get().(*Buf)
	if b == nil {
		b = &Buf{b: make([]byte, classSize(c)), class: int8(c)}
	}
	b.b = b.b[:n]
	b.refs.Store(1)
	return b
}

// Bytes are the bytes of the buffer.
func (b *Buf) Bytes() []byte { return b.b }

// Retain adds an owner.
func (b *Buf) Retain() {
	if b.refs.Add(1) <= 1 {
		panic("sunrpc: buffer retained after its release")
	}
}

// Release takes an owner away.
func (b *Buf) Release() {
	switch n := b.refs.Add(-1); {
	case n > 0:
	case n < 0:
		panic("sunrpc: buffer released too often")
	case b.class >= 0:
		bufPools[b.class].Put(b)
	}
}
