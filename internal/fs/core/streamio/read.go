package streamio

import (
	"context"
	"errors"

	"manifold/internal/data"
	"manifold/internal/fs"
	"manifold/internal/meta"
)

// Read fills dst from a stream of n and answers the inode it saw, buffered
// writes merged. check runs on that inode before anything is read.
func (e *Engine) Read(ctx context.Context, n fs.Node, sid fs.StreamID, off uint64, dst []byte, check func(r *meta.Reader, ino *meta.Inode) error) (read int, eof bool, ino meta.Inode, err error) {
	var f *file
	if n.Live() {
		if f = e.peek(n.ID); f != nil {
			defer e.drop(f)
			f.mu.RLock()
			defer f.mu.RUnlock()
		}
	}
	err = e.settled(ctx, n.Snap, func(r *meta.Reader) error {
		p, err := r.Inode(ctx, n.ID)
		if err != nil {
			return err
		}
		if f != nil {
			f.apply(p)
		}
		ino = *p
		if err := check(r, p); err != nil {
			return err
		}
		st, err := e.readerStream(ctx, r, p, sid)
		if err != nil {
			return err
		}
		size := st.Size
		var dirty *stream
		if f != nil && !f.gone {
			if dirty = f.streams[sid]; dirty != nil {
				size = max(size, dirty.end)
			}
		}
		if off >= size {
			read, eof = 0, true
			return nil
		}
		read = int(min(uint64(len(dst)), size-off))
		eof = off+uint64(read) == size
		b := dst[:read]
		if dirty == nil || !dirty.covers(off, off+uint64(read)) {
			if err := e.readStored(ctx, r, st, off, b); err != nil {
				return err
			}
		}
		if dirty != nil {
			dirty.overlay(off, b)
		}
		return nil
	})
	if err != nil {
		return 0, false, ino, err
	}
	return read, eof, ino, nil
}

// settled is viewAt for reads of extents: one that was moved or freed since the
// view began is looked up again in a new one.
func (e *Engine) settled(ctx context.Context, snap fs.SnapshotID, fn func(*meta.Reader) error) error {
	for again := 0; ; again++ {
		err := e.viewAt(ctx, snap, fn)
		if !errors.Is(err, data.ErrMoved) && !errors.Is(err, data.ErrNotFound) || again == maxMoves {
			return err
		}
	}
}

func (e *Engine) viewAt(ctx context.Context, snap fs.SnapshotID, fn func(*meta.Reader) error) error {
	if snap == 0 {
		return e.db.View(ctx, fn)
	}
	return e.db.ViewAt(ctx, snap, fn)
}

func (e *Engine) readerStream(ctx context.Context, r *meta.Reader, ino *meta.Inode, sid fs.StreamID) (*meta.Stream, error) {
	if sid == 0 {
		return &ino.Data, nil
	}
	named, err := r.Stream(ctx, ino.ID, sid)
	if err != nil {
		return nil, err
	}
	return &named.Stream, nil
}

// readStored fills all of dst from the chunk maps; holes are zeros.
func (e *Engine) readStored(ctx context.Context, r *meta.Reader, st *meta.Stream, off uint64, dst []byte) error {
	for len(dst) > 0 {
		idx, in := chunkOf(off)
		n := min(len(dst), ChunkBytes-int(in))
		ch, err := loadChunk(ctx, r, st, idx)
		if err != nil {
			return err
		}
		applyMasks(st, idx, ch)
		if err := e.readChunk(ctx, r, ch.Frags, in, dst[:n]); err != nil {
			return err
		}
		off, dst = off+uint64(n), dst[n:]
	}
	return nil
}

// readChunk fills dst from the fragments of a chunk at offset in.
func (e *Engine) readChunk(ctx context.Context, r *meta.Reader, frags []meta.Frag, in uint32, dst []byte) error {
	end := in + uint32(len(dst))
	i := 0
	for i < len(frags) && fragEnd(frags[i]) <= in {
		i++
	}
	j := i
	for j < len(frags) && frags[j].Off < end {
		j++
	}
	frags = frags[i:j]
	if len(frags) == 0 {
		clear(dst)
		return nil
	}
	var one [4]data.ExtentID
	ids := one[:0]
	for _, f := range frags {
		ids = append(ids, data.ExtentID(f.Extent))
	}
	recs, err := data.GetExtents(ctx, r.KV(), ids)
	if err != nil {
		return err
	}
	pos := in
	for k, f := range frags {
		from, to := max(f.Off, in), min(fragEnd(f), end)
		if from > pos {
			clear(dst[pos-in : from-in])
		}
		err := e.store.ReadAt(ctx, recs[k], uint64(f.ExtOff+(from-f.Off)), dst[from-in:to-in])
		if err != nil {
			if errors.Is(err, data.ErrCorrupt) {
				e.o.Logger.Error("stored bytes fail their checksum", "extent", f.Extent, "err", err)
			}
			return err
		}
		pos = to
	}
	clear(dst[pos-in:])
	return nil
}

// Regions yields data and holes of a stream from off on, adjoining runs joined,
// up to its end. Buffered writes are flushed first.
func (e *Engine) Regions(ctx context.Context, n fs.Node, sid fs.StreamID, off uint64, check func(*meta.Reader, *meta.Inode) error, yield func(fs.Region) bool) error {
	if n.Live() {
		if err := e.Flush(ctx, n.ID); err != nil {
			return err
		}
	}
	var cur fs.Region
	done := false
	emit := func(r fs.Region) bool {
		if r.Length == 0 {
			return true
		}
		if cur.Length > 0 && cur.Hole == r.Hole {
			cur.Length += r.Length
			return true
		}
		if cur.Length > 0 && !yield(cur) {
			done = true
			return false
		}
		cur = r
		return true
	}
	size := uint64(0)
	pos := off
	// One view a chunk page, so that a long walk does not pin a snapshot.
	for first := true; !done && (first || pos < size); first = false {
		err := e.viewAt(ctx, n.Snap, func(r *meta.Reader) error {
			ino, err := r.Inode(ctx, n.ID)
			if err != nil {
				return err
			}
			if first {
				if err := check(r, ino); err != nil {
					return err
				}
			}
			st, err := e.readerStream(ctx, r, ino, sid)
			if err != nil {
				return err
			}
			size = st.Size
			if pos >= size {
				return nil
			}
			idx, _ := chunkOf(pos)
			pages := 0
			for ch, err := range r.Chunks(ctx, st.ID, idx, 0) {
				if err != nil {
					return err
				}
				if pages++; pages > 256 {
					return nil
				}
				base := ch.Index * ChunkBytes
				if base >= size {
					break
				}
				c := ch.Chunk
				applyMasks(st, ch.Index, c)
				for _, f := range c.Frags {
					a, b := base+uint64(f.Off), min(base+uint64(fragEnd(f)), size)
					if b <= pos {
						continue
					}
					a = max(a, pos)
					if !emit(fs.Region{Offset: pos, Length: a - pos, Hole: true}) || !emit(fs.Region{Offset: a, Length: b - a}) {
						return nil
					}
					pos = b
				}
			}
			emit(fs.Region{Offset: pos, Length: size - pos, Hole: true})
			pos = size
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !done && cur.Length > 0 {
		yield(cur)
	}
	return nil
}
