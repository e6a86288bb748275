package meta

import (
	"bytes"
	"sync"

	"manifold/internal/fs"
)

// chunkCache keeps the fragments of large chunk maps beside the records they
// were decoded from. A record that was read is looked up by its bytes, all of
// them compared, so an entry can be useless but never wrong: nothing tells the
// cache of commits. Files that are written here and there have such maps, and
// decoding one costs more than the rest of a small read or write.
type chunkCache struct {
	mu    sync.Mutex
	slots [chunkSlots]cachedChunk
}

const (
	chunkSlots = 256 // at most 8 MB
	// cachedFrags is from how many fragments on a map is worth a slot.
	cachedFrags = 32
)

type cachedChunk struct {
	record []byte
	chunk  Chunk
}

func (c *chunkCache) slot(sid fs.StreamID, idx uint64) *cachedChunk {
	return &c.slots[(uint64(sid)*0x9e3779b97f4a7c15+idx)%chunkSlots]
}

// decode is decodeChunk.
func (c *chunkCache) decode(sid fs.StreamID, idx uint64, v []byte) (*Chunk, error) {
	if len(v) < 4*cachedFrags {
		return decodeChunk(uint64(sid), v)
	}
	s := c.slot(sid, idx)
	c.mu.Lock()
	old := *s
	c.mu.Unlock()
	if bytes.Equal(old.record, v) {
		return &old.chunk, nil
	}
	ch, err := decodeChunk(uint64(sid), v)
	if err == nil {
		c.put(sid, idx, bytes.Clone(v), ch) // v is the engine's
	}
	return ch, err
}

// put remembers that v is the record of ch; v must not change any more.
func (c *chunkCache) put(sid fs.StreamID, idx uint64, v []byte, ch *Chunk) {
	n := len(ch.Frags)
	if n < cachedFrags {
		return
	}
	// Many may get the fragments: none of them has room to append in place.
	kept := Chunk{Birth: ch.Birth, MaskSeq: ch.MaskSeq, Prev: ch.Prev, Frags: ch.Frags[:n:n]}
	c.mu.Lock()
	*c.slot(sid, idx) = cachedChunk{v, kept}
	c.mu.Unlock()
}
