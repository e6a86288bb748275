package streamio

import (
	"context"
	"errors"
	"slices"

	"manifold/internal/data"
	"manifold/internal/fs"
	"manifold/internal/meta"
)

// cutChunks is how many chunks one transaction cuts itself; more are masked.
const cutChunks = 8

// Exclusive runs fn while the inode has no buffered bytes and takes none: what
// was buffered is flushed first. fn may use SetSize and Zero in a transaction.
func (e *Engine) Exclusive(ctx context.Context, id fs.FileID, fn func() error) error {
	f := e.hold(id)
	defer e.drop(f)
	f.gate.Lock()
	defer f.gate.Unlock()
	f.flushMu.Lock()
	defer f.flushMu.Unlock()
	if err := e.flushFileLocked(ctx, f); err != nil {
		return err
	}
	return fn()
}

// SetSize truncates or extends a stream of ino, which the caller puts
// afterwards. Only within Exclusive. masked says that ApplyMasks has work.
func (e *Engine) SetSize(ctx context.Context, tx *meta.Txn, ino *meta.Inode, sid fs.StreamID, size uint64) (masked bool, err error) {
	t, err := targetOf(ctx, tx, ino, sid)
	if err != nil {
		return false, err
	}
	if size < t.Size {
		if masked, err = e.unmap(ctx, tx, t, size, t.Size); err != nil {
			return false, err
		}
	}
	if size != t.Size {
		t.Rev++
	}
	t.Size = size
	return masked, t.put(ctx, tx)
}

// Zero deallocates [from, to) of a stream of ino, which the caller puts
// afterwards. Only within Exclusive. masked says that ApplyMasks has work.
func (e *Engine) Zero(ctx context.Context, tx *meta.Txn, ino *meta.Inode, sid fs.StreamID, from, to uint64) (masked bool, err error) {
	t, err := targetOf(ctx, tx, ino, sid)
	if err != nil {
		return false, err
	}
	if to = min(to, t.Size); from < to {
		if masked, err = e.unmap(ctx, tx, t, from, to); err != nil {
			return false, err
		}
		t.Rev++
	}
	return masked, t.put(ctx, tx)
}

// maskIntent is the durable note that a stream has masks to apply.
type maskIntent struct {
	Kind   string
	Inode  fs.FileID
	Stream fs.StreamID
}

// MaskIntent is the kind of intents that ApplyMasks ends.
const MaskIntent = "masks"

func (e *Engine) unmap(ctx context.Context, tx *meta.Txn, t *target, from, to uint64) (masked bool, err error) {
	if t.AllocBytes == 0 && len(t.Masks) == 0 {
		return false, nil
	}
	idx, _ := chunkOf(from)
	last, _ := chunkOf(to - 1)
	var found []meta.ChunkAt
	for c, err := range tx.Chunks(ctx, t.ID, idx, cutChunks+1) {
		if err != nil {
			return false, err
		}
		if c.Index > last {
			break
		}
		found = append(found, c)
	}
	if len(found) > cutChunks {
		seq := uint64(1)
		if n := len(t.Masks); n > 0 {
			seq = t.Masks[n-1].Seq + 1
		}
		t.Masks = append(t.Masks, meta.Mask{From: from, To: to, Seq: seq})
		return true, tx.PutIntent(uint64(t.ID), maskIntent{MaskIntent, t.ino.ID, t.sid})
	}
	for _, c := range found {
		before := blocksOf(c.Chunk.Frags)
		applyMasks(t.Stream, c.Index, c.Chunk)
		base := c.Index * ChunkBytes
		a, b := uint32(0), uint32(ChunkBytes)
		if from > base {
			a = uint32(from - base)
		}
		if to < base+ChunkBytes {
			b = uint32(to - base)
		}
		c.Chunk.Frags = cutFrags(c.Chunk.Frags, a, b)
		t.grow(int64(blocksOf(c.Chunk.Frags)) - int64(before))
		if err := tx.PutChunk(ctx, t.ino.ID, t.ID, c.Index, c.Chunk); err != nil {
			return false, err
		}
	}
	return false, nil
}

// ApplyMasks applies the masks of a stream chunk by chunk and drops them. It
// may be stopped and repeated at any point.
func (e *Engine) ApplyMasks(ctx context.Context, id fs.FileID, sid fs.StreamID) error {
	f := e.hold(id)
	defer e.drop(f)
	from := uint64(0)
	for {
		f.flushMu.Lock()
		done, err := e.applySome(ctx, id, sid, &from)
		f.flushMu.Unlock()
		if done || err != nil {
			return err
		}
	}
}

func (e *Engine) applySome(ctx context.Context, id fs.FileID, sid fs.StreamID, from *uint64) (done bool, err error) {
	next := *from
	err = e.db.Update(ctx, func(tx *meta.Txn) error {
		done = false
		next = *from
		ino, err := tx.Inode(ctx, id)
		if err != nil {
			return err
		}
		t, err := targetOf(ctx, tx, ino, sid)
		if err != nil {
			return err
		}
		end, start := uint64(0), ^uint64(0)
		for _, m := range t.Masks {
			end, start = max(end, m.To), min(start, m.From)
		}
		first, _ := chunkOf(start)
		next = max(next, first)
		n := 0
		if len(t.Masks) > 0 {
			for c, err := range tx.Chunks(ctx, t.ID, next, cutChunks) {
				if err != nil {
					return err
				}
				n++
				if c.Index*ChunkBytes >= end {
					n = 0 // the rest is beyond every mask
					break
				}
				next = c.Index + 1
				seq := c.Chunk.MaskSeq
				before := blocksOf(c.Chunk.Frags)
				applyMasks(t.Stream, c.Index, c.Chunk)
				if c.Chunk.MaskSeq == seq {
					continue
				}
				t.grow(int64(blocksOf(c.Chunk.Frags)) - int64(before))
				if err := tx.PutChunk(ctx, id, t.ID, c.Index, c.Chunk); err != nil {
					return err
				}
			}
		}
		if n < cutChunks {
			t.Masks = nil
			done = true
			tx.DeleteIntent(uint64(t.ID))
		}
		if err := t.put(ctx, tx); err != nil {
			return err
		}
		return tx.PutInode(ctx, ino)
	})
	if errors.Is(err, meta.ErrNotFound) {
		return true, nil
	}
	*from = next
	return done, err
}

// merge joins runs of small neighbouring fragments of a chunk into new
// extents. Only under flushMu, so the chunk does not change meanwhile except
// by another node.
func (e *Engine) merge(ctx context.Context, id fs.FileID, sid fs.StreamID, idx uint64) error {
	type run struct {
		frags []meta.Frag
		x     extent
	}
	var runs []run
	err := e.settled(ctx, 0, func(r *meta.Reader) error {
		runs = nil
		ino, err := r.Inode(ctx, id)
		if err != nil {
			return err
		}
		st, err := e.readerStream(ctx, r, ino, sid)
		if err != nil {
			return err
		}
		ch, err := loadChunk(ctx, r, st, idx)
		if err != nil {
			return err
		}
		applyMasks(st, idx, ch)
		for _, sr := range smallRuns(ch.Frags) {
			fr := slices.Clone(ch.Frags[sr.from:sr.to])
			n := int(fragEnd(fr[len(fr)-1]) - fr[0].Off)
			b := make([]byte, n)
			if err := e.readChunk(ctx, r, fr, fr[0].Off, b); err != nil {
				return err
			}
			runs = append(runs, run{fr, extent{off: uint64(fr[0].Off), length: n, parts: [][]byte{b}}})
		}
		return nil
	})
	if err != nil || len(runs) == 0 {
		return err
	}
	for i := range runs {
		x := &runs[i].x
		nid, err := e.db.NewExtentID(ctx)
		if err != nil {
			return err
		}
		x.id = data.ExtentID(nid)
		if x.inline = x.length <= e.store.InlineMax(); x.inline {
			continue
		}
		if x.record, err = e.store.Append(ctx, x.id, x.parts); err != nil {
			return err
		}
	}
	if err := e.store.Sync(ctx); err != nil {
		return err
	}
	for len(runs) > 0 {
		now := runs[:min(len(runs), 16)]
		runs = runs[len(now):]
		err := e.db.Update(ctx, func(tx *meta.Txn) error {
			ino, err := tx.Inode(ctx, id)
			if err != nil {
				return err
			}
			t, err := targetOf(ctx, tx, ino, sid)
			if err != nil {
				return err
			}
			ch, err := loadChunk(ctx, tx.View(), t.Stream, idx)
			if err != nil {
				return err
			}
			before := blocksOf(ch.Frags)
			applyMasks(t.Stream, idx, ch)
			for _, r := range now {
				at := slices.Index(ch.Frags, r.frags[0])
				if at < 0 || at+len(r.frags) > len(ch.Frags) || !slices.Equal(ch.Frags[at:at+len(r.frags)], r.frags) {
					continue // changed meanwhile; the new extent has no owner and its bytes are dead
				}
				ch.Frags = putFrag(ch.Frags, meta.Frag{Off: uint32(r.x.off), Len: uint32(r.x.length), Extent: uint64(r.x.id)})
				if r.x.inline {
					err = data.PutInline(tx.KV(), r.x.id, uint64(t.ID), r.x.parts)
				} else {
					err = data.PutExtent(tx.KV(), uint64(t.ID), r.x.record)
				}
				if err != nil {
					return err
				}
			}
			t.grow(int64(blocksOf(ch.Frags)) - int64(before))
			if err := tx.PutChunk(ctx, id, t.ID, idx, ch); err != nil {
				return err
			}
			if err := t.put(ctx, tx); err != nil {
				return err
			}
			return tx.PutInode(ctx, ino)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
