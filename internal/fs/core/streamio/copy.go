package streamio

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"manifold/internal/data"
	"manifold/internal/fs"
	"manifold/internal/meta"
)

// Bounds of one transaction of a copy, well inside kv.DefaultLimits even when
// each chunk must also be copied to history.
const (
	copyRefs   = 48
	copyInline = 256 << 10
	copyChunks = 12
)

// Piece is a run of bytes to be copied.
type Piece struct {
	Node   fs.Node
	Stream fs.StreamID
	Off    uint64
	// Len is cut at the end of the stream.
	Len uint64
}

// CopyTo says where a copy goes and asks who has a say in it. The functions run
// in the transactions of the copy, Room between them.
type CopyTo struct {
	ID     fs.FileID
	Stream fs.StreamID
	// Off is where the first piece goes; End instead means the present end.
	Off uint64
	End bool
	// Source and Target check the inodes of a step that will write [off, off+n).
	Source func(ctx context.Context, r *meta.Reader, src *meta.Inode, p Piece) error
	Target func(ctx context.Context, r *meta.Reader, dst *meta.Inode, off, n, size uint64) error
	// Touch notes the change of contents.
	Touch func(dst *meta.Inode)
	// Room reserves what the target grows by.
	Room func(ctx context.Context, dst *meta.Inode, bytes uint64) (release func(), err error)
}

// needRoom says how much must be reserved for a step.
type needRoom struct {
	dst   *meta.Inode
	bytes int64
}

func (e *needRoom) Error() string { return fmt.Sprintf("streamio: %d bytes to be reserved", e.bytes) }

// Copy makes the pieces, one after the other, part of a stream: by reference to
// their extents, and with new ones for what lies inline. It works in
// transactions each of which leaves a copy of the first so many bytes, and
// answers how many those were, also with an error.
func (e *Engine) Copy(ctx context.Context, to CopyTo, pieces []Piece) (done uint64, err error) {
	for _, p := range pieces {
		if p.Node.Live() && p.Node.ID != to.ID {
			if err := e.Flush(ctx, p.Node.ID); err != nil {
				return 0, err
			}
		}
	}
	err = e.Exclusive(ctx, to.ID, func() error {
		c := copying{e: e, to: to, left: slices.Clone(pieces)}
		for first := true; first || len(c.left) > 0; first = false {
			if err := c.step(ctx); err != nil {
				return err
			}
			done = c.done
		}
		return nil
	})
	return done, err
}

// copying is a copy under way.
type copying struct {
	e    *Engine
	to   CopyTo
	left []Piece
	done uint64
	ids  []data.ExtentID // not used yet

	reserved int64
}

// step is one transaction, with what has to be reserved for it.
func (c *copying) step(ctx context.Context) error {
	for len(c.ids) < copyRefs {
		id, err := c.e.db.NewExtentID(ctx)
		if err != nil {
			return err
		}
		c.ids = append(c.ids, data.ExtentID(id))
	}
	c.reserved = 0
	release := func() {}
	defer func() { release() }()
	for range 16 {
		var s copyStep
		err := c.e.db.Update(ctx, func(tx *meta.Txn) error {
			s = copyStep{c: c, tx: tx, left: slices.Clone(c.left), refs: copyRefs, inline: copyInline, chunks: copyChunks}
			return s.run(ctx)
		})
		var need *needRoom
		if errors.As(err, &need) {
			release()
			release = func() {}
			r, err := c.to.Room(ctx, need.dst, uint64(need.bytes))
			if err != nil {
				return err
			}
			release, c.reserved = r, need.bytes
			continue
		}
		if err != nil {
			return err
		}
		c.done += s.done
		c.left = s.left
		c.ids = c.ids[s.used:]
		if c.to.End { // from now on the place is known
			c.to.End, c.to.Off = false, s.start
		}
		for _, idx := range s.crowded {
			if err := c.e.merge(ctx, c.to.ID, c.to.Stream, idx); err != nil {
				c.e.o.Logger.Warn("merging small fragments failed; copying goes on", "inode", c.to.ID, "chunk", idx, "err", err)
			}
		}
		return nil
	}
	return fs.Retry
}

// copyStep is one transaction of a copy.
type copyStep struct {
	c    *copying
	tx   *meta.Txn
	left []Piece
	done uint64
	used int // of c.ids

	refs, inline, chunks int // what is left of the bounds
	start                uint64
	grown                int64
	crowded              []uint64
}

func (s *copyStep) run(ctx context.Context) error {
	to := &s.c.to
	ino, err := s.tx.Inode(ctx, to.ID)
	gone := errors.Is(err, meta.ErrNotFound)
	if err != nil && !gone {
		return err
	}
	var t *target // known once the first source has been checked
	off := uint64(0)
	load := func() error {
		if gone { // said after what is wrong with a source, as of one that is being freed
			return fs.Stale
		}
		if t, err = targetOf(ctx, s.tx, ino, to.Stream); errors.Is(err, meta.ErrNotFound) {
			return fs.NoAttr
		} else if err != nil {
			return err
		}
		if s.start = to.Off; to.End {
			s.start = t.Size
		}
		off = s.start + s.c.done
		return nil
	}
	for len(s.left) > 0 && s.refs > 0 && s.inline > 0 && s.chunks > 0 {
		p := &s.left[0]
		src, err := s.source(ctx, p)
		if err != nil {
			return err
		}
		if t == nil {
			if err := load(); err != nil {
				return err
			}
		}
		if off > fs.MaxFileSize || p.Len > fs.MaxFileSize-off {
			return fs.TooBig
		}
		if err := to.Target(ctx, s.tx.View(), ino, off, p.Len, t.Size); err != nil {
			return err
		}
		for p.Len > 0 && s.refs > 0 && s.inline > 0 && s.chunks > 0 {
			n, err := s.chunk(ctx, t, src, off, p)
			if err != nil {
				return err
			}
			p.Off, p.Len = p.Off+n, p.Len-n
			off, s.done = off+n, s.done+n
		}
		if p.Len == 0 {
			s.left = s.left[1:]
		}
	}
	if t == nil { // no pieces
		if err := load(); err != nil {
			return err
		}
		return to.Target(ctx, s.tx.View(), ino, off, 0, t.Size)
	}
	if s.grown > s.c.reserved {
		return &needRoom{ino, s.grown}
	}
	if s.done == 0 {
		return nil
	}
	t.Size = max(t.Size, off)
	t.Rev++
	to.Touch(ino)
	if err := t.put(ctx, s.tx); err != nil {
		return err
	}
	return s.tx.PutInode(ctx, ino)
}

// origin is the stream that a piece comes from.
type origin struct {
	r  *meta.Reader
	st *meta.Stream
}

// source loads and checks where a piece comes from, and cuts it at the end.
func (s *copyStep) source(ctx context.Context, p *Piece) (*origin, error) {
	r, err := s.tx.At(ctx, p.Node.Snap)
	var src *meta.Inode
	if err == nil {
		src, err = r.Inode(ctx, p.Node.ID)
	}
	if errors.Is(err, meta.ErrNotFound) {
		err = fs.Stale
	}
	if err != nil {
		return nil, err
	}
	st, serr := s.c.e.readerStream(ctx, r, src, p.Stream)
	if serr != nil && !errors.Is(serr, meta.ErrNotFound) {
		return nil, serr
	}
	if err := s.c.to.Source(ctx, r, src, *p); err != nil {
		return nil, err
	}
	if serr != nil {
		return nil, fs.NoAttr
	}
	p.Len = min(p.Len, st.Size-min(st.Size, p.Off))
	return &origin{r, st}, nil
}

// chunk copies what of a piece falls into one chunk of the target and the bounds.
func (s *copyStep) chunk(ctx context.Context, t *target, src *origin, off uint64, p *Piece) (uint64, error) {
	idx, in := chunkOf(off)
	n := min(p.Len, ChunkBytes-uint64(in))
	frags, n, err := src.frags(ctx, p.Off, n, in, s.refs)
	if err != nil {
		return 0, err
	}
	ids := make([]data.ExtentID, len(frags))
	for i, f := range frags {
		ids[i] = data.ExtentID(f.Extent)
	}
	recs, err := data.GetExtents(ctx, s.tx.KV(), ids)
	if err != nil {
		return 0, err
	}
	bytes := 0
	for i, r := range recs {
		if r.IsInline {
			bytes += int(frags[i].Len)
		}
		if i > 0 && bytes > s.inline {
			n, frags = uint64(frags[i].Off-in), frags[:i]
			s.inline = 0
			break
		}
	}
	ch, err := loadChunk(ctx, s.tx.View(), t.Stream, idx)
	if err != nil {
		return 0, err
	}
	before := blocksOf(ch.Frags)
	applyMasks(t.Stream, idx, ch)
	ch.Frags = cutFrags(ch.Frags, in, in+uint32(n))
	var shared []uint64
	for i, f := range frags {
		s.refs--
		if recs[i].IsInline {
			b := make([]byte, f.Len)
			if err := s.c.e.store.ReadAt(ctx, recs[i], uint64(f.ExtOff), b); err != nil {
				return 0, err
			}
			id := s.c.ids[s.used]
			s.used++
			s.inline -= len(b)
			if err := data.PutInline(s.tx.KV(), id, uint64(t.ID), [][]byte{b}); err != nil {
				return 0, err
			}
			f.Extent, f.ExtOff = uint64(id), 0
		} else {
			shared = append(shared, f.Extent)
		}
		ch.Frags = putFrag(ch.Frags, f)
	}
	s.chunks--
	slices.Sort(shared)
	more, err := s.tx.PutShared(ctx, t.ino.ID, t.ID, idx, ch, slices.Compact(shared))
	if err != nil {
		return 0, err
	}
	for _, x := range more {
		if err := data.AddRef(ctx, s.tx.KV(), data.ExtentID(x), uint64(t.ID), s.tx.Number()); err != nil {
			return 0, err
		}
	}
	if len(ch.Frags) > mergeAbove {
		s.crowded = append(s.crowded, idx)
	}
	blocks := int64(blocksOf(ch.Frags)) - int64(before)
	t.grow(blocks)
	s.grown += blocks * fs.BlockSize
	return n, nil
}

// frags lists what maps [off, off+n) of the stream, which may lie in two chunks,
// as fragments from in on; at most limit, so that n may become less.
func (o *origin) frags(ctx context.Context, off, n uint64, in uint32, limit int) ([]meta.Frag, uint64, error) {
	var out []meta.Frag
	for pos := off; pos < off+n; {
		idx, from := chunkOf(pos)
		to := uint32(min(uint64(ChunkBytes), uint64(from)+off+n-pos))
		ch, err := loadChunk(ctx, o.r, o.st, idx)
		if err != nil {
			return nil, 0, err
		}
		applyMasks(o.st, idx, ch)
		for _, f := range ch.Frags {
			a, b := max(f.Off, from), min(fragEnd(f), to)
			if a >= b {
				continue
			}
			at := uint64(a-from) + pos - off // from the start of the piece
			if len(out) == limit {
				return out, at, nil
			}
			out = append(out, meta.Frag{Off: in + uint32(at), Len: b - a, Extent: f.Extent, ExtOff: f.ExtOff + (a - f.Off)})
		}
		pos += uint64(to - from)
	}
	return out, n, nil
}
