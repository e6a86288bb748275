package pebblekv

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rowCache holds small values that were read or written lately, above Pebble.
//
// A row says what its key holds since commit ver, and is true of every state
// from ver on until the next commit that writes the key: such a commit raises
// the slot of the key, then replaces the row, and only then becomes visible. So
// a row is good for whoever reads a state that is not older than ver. A reader
// that puts what it read looks at the slot once more under the lock of the
// shard: either the slot still says what it said after the read, and a later
// commit comes to the shard later and finds the row, or nothing is put.
//
// Rows lie in rings of bytes that the garbage collector need not look into, a
// million of them in some 70 MB, and leave in the order they came. Nothing in a
// ring is ever pointed to from outside: a hit is a copy. Rings and indexes are memory
// of the system, touched as they fill, which does not move the collector's pace. They
// fill evenly, so chunks and buckets of the shards alternate: what is touched is the
// beginning of the memory, and the system may use its huge pages, without which each
// look at a row takes walks through the page tables besides.
type rowCache struct {
	hash   func([]byte) uint64
	barred [256]bool // first bytes of keys that get no row
	shards [1 << shardBits]rowShard
}

const (
	shardBits  = 6
	bucketRows = 8   // rows that a hash can be at: a cache line of the index
	bytesToRow = 32  // of rings, for each reference that an index has room for
	rowHead    = 16  // of a row: see rowShard.at
	maxRowSize = 512 // key and value
	chunkBytes = 32 << 10
	hugeFrom   = 64 << 20 // bytes of rings or indexes; below they would be a large part
)

// bucketsOf is how many buckets n bytes of rows need. Rows of inodes and directory
// entries take some 60 bytes, so that the index is half full at most: a row whose
// bucket is full drives another out, which at 95 % happens to one in five, and at
// 50 % to one in a hundred.
func bucketsOf(n uint64) uint64 {
	return (n + chunkBytes - 1) / chunkBytes * (chunkBytes / bytesToRow / bucketRows)
}

// rowShard is a ring of chunks with an index. Positions are bytes since the
// beginning and only grow; a row never crosses the end of a chunk.
type rowShard struct {
	mu    sync.RWMutex
	index []bucket // of all shards, from this one's first on: see bucket
	used  uint64   // buckets in use, a power of two
	rings []byte   // of all shards, from this one's first chunk on
	size  uint64   // of the ring: whole chunks, a power of two
	head  uint64   // where the next row goes
	tail  uint64   // the oldest row, unless it is head
	_     [24]byte // shards do not share cache lines
}

// A bucket has references to rows, 0 is none.
type bucket [bucketRows]uint64

// A reference is 24 bits of the hash and, in units of 8 bytes, 40 of the
// position + 1. Positions so repeat after 8 TiB written to one shard, of which
// a few megabytes are referred to at a time.
func rowRef(h, pos uint64) uint64 { return h<<40 | (pos>>3+1)&(1<<40-1) }
func sameTag(ref, h uint64) bool  { return ref>>40 == h&(1<<24-1) }
func refPos(ref uint64) uint64    { return (ref&(1<<40-1) - 1) << 3 }

// init makes room for rows of up to size bytes together, at least a few, but not
// for keys that begin with one of barred.
func (c *rowCache) init(size int64, barred string, hash func([]byte) uint64) {
	c.hash = hash
	for i := range len(barred) {
		c.barred[barred[i]] = true
	}
	// Powers of two, so that positions may wrap.
	chunks := uint64(1) << max(1, bits.Len64(uint64(size)>>shardBits/chunkBytes)-1)
	rings, buckets := chunks*chunkBytes, bucketsOf(chunks*chunkBytes)
	memory := c.memory(rings << shardBits)
	index := c.memory(buckets * uint64(unsafe.Sizeof(bucket{})) << shardBits)
	all := unsafe.Slice((*bucket)(unsafe.Pointer(unsafe.SliceData(index))), buckets<<shardBits)
	for i := range c.shards {
		s := &c.shards[i]
		s.rings, s.size = memory[i*chunkBytes:], rings
		s.index, s.used = all[i:], bucketsOf(1)
	}
}

// memory is n bytes of zeros that are the cache's as long as it lives.
func (c *rowCache) memory(n uint64) []byte {
	m, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	runtime.AddCleanup(c, func(m []byte) { _ = unix.Munmap(m) }, m)
	if n >= hugeFrom {
		_ = unix.Madvise(m, unix.MADV_HUGEPAGE) // a system without them does as well
	}
	return m
}

func (c *rowCache) shard(h uint64) *rowShard { return &c.shards[h>>(64-shardBits)] }

// bucket of a hash, whose highest bits chose the shard and whose lowest are the tag.
func (s *rowShard) bucket(h uint64) *bucket { return &s.index[(h>>24&(s.used-1))<<shardBits] }

// at returns the row at a position: the room it takes in units of 8 bytes (1
// byte, 0 where the rest of the chunk is empty), nothing (1), length of the key
// (2), length of the value + 1 or 0 for an absent key (2), nothing (2), ver (8),
// key, value.
func (s *rowShard) at(pos uint64) []byte {
	pos &= s.size - 1
	in := pos % chunkBytes
	return s.rings[(pos-in)<<shardBits+in:][:chunkBytes-in]
}

func rowKey(r []byte) []byte { return r[rowHead:][:binary.LittleEndian.Uint16(r[2:])] }

// rowVal is nil for an absent key.
func rowVal(r []byte) []byte {
	n := int(binary.LittleEndian.Uint16(r[4:]))
	if n == 0 {
		return nil
	}
	return r[rowHead+int(binary.LittleEndian.Uint16(r[2:])):][:n-1]
}

func rowVer(r []byte) uint64 { return binary.LittleEndian.Uint64(r[8:]) }

// fillRow writes a row that has its room.
func fillRow(r, key, val []byte, ver uint64) {
	binary.LittleEndian.PutUint16(r[2:], uint16(len(key)))
	n := 0
	if val != nil {
		n = len(val) + 1
	}
	binary.LittleEndian.PutUint16(r[4:], uint16(n))
	binary.LittleEndian.PutUint64(r[8:], ver)
	copy(r[rowHead+copy(r[rowHead:], key):], val)
}

// find returns where in the index the row of key is, nil if nowhere.
func (s *rowShard) find(h uint64, key []byte) *uint64 {
	b := s.bucket(h)
	for i := range b {
		if b[i] != 0 && sameTag(b[i], h) && bytes.Equal(rowKey(s.at(refPos(b[i]))), key) {
			return &b[i]
		}
	}
	return nil
}

// get returns what key holds in state now, and the commit since which it has
// held that, if that is cached. val is the caller's, nil for an absent key.
func (c *rowCache) get(h uint64, key []byte, now uint64) (val []byte, ver uint64, ok bool) {
	if c.barred[key[0]] {
		return nil, 0, false
	}
	s := c.shard(h)
	s.mu.RLock()
	defer s.mu.RUnlock()
	ref := s.find(h, key)
	if ref == nil {
		return nil, 0, false
	}
	r := s.at(refPos(*ref))
	if ver = rowVer(r); ver > now {
		return nil, 0, false
	}
	if v := rowVal(r); v != nil {
		val = append(make([]byte, 0, len(v)), v...)
	}
	return val, ver, true
}

// put remembers what key holds since commit ver, which is what slot held after
// the value was read.
func (c *rowCache) put(h uint64, key, val []byte, ver uint64, slot *atomic.Uint64) {
	if len(key)+len(val) > maxRowSize || c.barred[key[0]] {
		return
	}
	s := c.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot.Load() == ver {
		s.set(c, h, key, val, ver)
	}
}

// write remembers what commit ver writes: a value, or nil to delete the key.
// The commit has raised the slot and holds the lock of commits.
func (c *rowCache) write(h uint64, key, val []byte, ver uint64) {
	if c.barred[key[0]] {
		return
	}
	s := c.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if val == nil || len(key)+len(val) > maxRowSize {
		if ref := s.find(h, key); ref != nil {
			*ref = 0
		}
		return
	}
	s.set(c, h, key, val, ver)
}

// set stores a row, in place of the one of its key if it fits there.
func (s *rowShard) set(c *rowCache, h uint64, key, val []byte, ver uint64) {
	n := (rowHead + len(key) + len(val) + 7) / 8
	if ref := s.find(h, key); ref != nil {
		if r := s.at(refPos(*ref)); n <= int(r[0]) {
			fillRow(r, key, val, ver)
			return
		}
		*ref = 0
	}
	pos := s.reserve(c, uint64(n)*8)
	r := s.at(pos)
	r[0] = byte(n)
	fillRow(r, key, val, ver)
	s.enter(h, pos)
}

// enter puts a row into the index, for the oldest of its bucket if that is full.
func (s *rowShard) enter(h, pos uint64) {
	b := s.bucket(h)
	at := 0
	for i, ref := range b {
		if ref == 0 {
			at = i
			break
		}
		if refPos(ref) < refPos(b[at]) {
			at = i
		}
	}
	b[at] = rowRef(h, pos)
}

// reserve makes room for n bytes at the head, where the oldest rows go.
func (s *rowShard) reserve(c *rowCache, n uint64) uint64 {
	if left := chunkBytes - s.head%chunkBytes; left < n {
		s.clear(c, s.head+left)
		s.at(s.head)[0] = 0
		s.head += left
	}
	if bucketsOf(min(s.head+n, s.size)) > s.used {
		s.grow(c)
	}
	s.clear(c, s.head+n)
	pos := s.head
	s.head += n
	return pos
}

// grow doubles the index, which so takes no more memory than there are rows for:
// of each bucket some rows go to the one that is as far behind the old end.
func (s *rowShard) grow(c *rowCache) {
	old := s.used
	s.used *= 2
	for i := range old {
		from, to := &s.index[i<<shardBits], &s.index[(i+old)<<shardBits]
		for j, ref := range from {
			if ref != 0 && c.hash(rowKey(s.at(refPos(ref))))>>24&old != 0 {
				from[j], to[j] = 0, ref
			}
		}
	}
}

// clear drops the oldest rows until nothing is in the way up to end.
func (s *rowShard) clear(c *rowCache, end uint64) {
	for s.tail+s.size < end {
		r := s.at(s.tail)
		if r[0] == 0 {
			s.tail += chunkBytes - s.tail%chunkBytes
			continue
		}
		h := c.hash(rowKey(r))
		b := s.bucket(h)
		for i := range b {
			if b[i] == rowRef(h, s.tail) {
				b[i] = 0
			}
		}
		s.tail += uint64(r[0]) * 8
	}
}
