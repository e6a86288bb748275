package memfs

import (
	"maps"
	"slices"

	"manifold/internal/fs"
)

// stream is a sequence of bytes in blocks; what has no block reads as zeros.
type stream struct {
	name   string // of a named stream
	size   uint64
	rev    uint64
	blocks map[uint64][]byte // each of BlockSize, never changed in place
	// stable is the stream as of the last time it was all durable, nil if it is now.
	stable *stream
}

func (s *stream) clone() stream {
	return stream{name: s.name, size: s.size, rev: s.rev, blocks: maps.Clone(s.blocks)}
}

// unstable begins an unstable change.
func (s *stream) unstable() {
	if s.stable == nil {
		c := s.clone()
		s.stable = &c
	}
}

// sync makes all of it durable.
func (s *stream) sync() { s.stable = nil }

func (s *stream) crash() {
	if s.stable != nil {
		name := s.name
		*s = *s.stable
		s.name = name
	}
}

func (s *stream) bytes() uint64 { return uint64(len(s.blocks)) * fs.BlockSize }

func (s *stream) read(off uint64, dst []byte) int {
	if off >= s.size {
		return 0
	}
	dst = dst[:min(uint64(len(dst)), s.size-off)]
	for done := 0; done < len(dst); {
		pos := off + uint64(done)
		in := pos % fs.BlockSize
		part := dst[done:min(len(dst), done+int(fs.BlockSize-in))]
		if b := s.blocks[pos/fs.BlockSize]; b != nil {
			copy(part, b[in:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(dst)
}

// put stores p at off without regard to the size.
func (s *stream) put(off uint64, p []byte) {
	if s.blocks == nil {
		s.blocks = map[uint64][]byte{}
	}
	for len(p) > 0 {
		in := off % fs.BlockSize
		n := min(uint64(len(p)), fs.BlockSize-in)
		b := make([]byte, fs.BlockSize)
		copy(b, s.blocks[off/fs.BlockSize])
		copy(b[in:], p[:n])
		s.blocks[off/fs.BlockSize] = b
		p, off = p[n:], off+n
	}
}

func (s *stream) write(off uint64, p []byte) {
	s.put(off, p)
	s.size = max(s.size, off+uint64(len(p)))
	s.rev++
}

// growth is how many bytes of blocks a write to [off, off+n) would add.
func (s *stream) growth(off, n uint64) uint64 {
	if n == 0 {
		return 0
	}
	first, last := off/fs.BlockSize, (off+n-1)/fs.BlockSize
	var count uint64
	for b := first; b <= last; b++ {
		if s.blocks[b] == nil {
			count++
		}
	}
	return count * fs.BlockSize
}

// zero makes [from, to) read as zeros, taking away whole blocks.
func (s *stream) zero(from, to uint64) {
	for _, b := range slices.Collect(maps.Keys(s.blocks)) {
		start := b * fs.BlockSize
		lo, hi := max(from, start), min(to, start+fs.BlockSize)
		switch {
		case lo >= hi:
		case hi-lo == fs.BlockSize:
			delete(s.blocks, b)
		default:
			s.put(lo, make([]byte, hi-lo))
		}
	}
}

func (s *stream) truncate(size uint64) {
	if size < s.size {
		// To the end of the last block: nothing may reappear when it grows.
		end := (s.size + fs.BlockSize - 1) / fs.BlockSize * fs.BlockSize
		s.zero(size, end)
	}
	s.size = size
	s.rev++
}

// regions lists data and holes from off to the end.
func (s *stream) regions(off uint64) []fs.Region {
	var out []fs.Region
	add := func(from, to uint64, hole bool) {
		from, to = max(from, off), min(to, s.size)
		if from >= to {
			return
		}
		if n := len(out); n > 0 && out[n-1].Hole == hole {
			out[n-1].Length += to - from
			return
		}
		out = append(out, fs.Region{Offset: from, Length: to - from, Hole: hole})
	}
	pos := uint64(0)
	for _, b := range slices.Sorted(maps.Keys(s.blocks)) {
		add(pos, b*fs.BlockSize, true)
		pos = (b + 1) * fs.BlockSize
		add(b*fs.BlockSize, pos, false)
	}
	add(pos, s.size, true)
	return out
}

// stream returns a stream of n, or nil.
func (n *inode) stream(id fs.StreamID) *stream {
	if id == 0 {
		return &n.data
	}
	return n.streams[id]
}
