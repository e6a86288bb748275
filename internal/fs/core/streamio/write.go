package streamio

import (
	"context"
	"sync/atomic"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// WriteResult answers a write with the inode before and after it.
type WriteResult struct {
	Before, After meta.Inode
	Committed     fs.Stability
	Offset        uint64
}

// reserved releases a space reservation with the last piece of a write.
type reserved struct {
	refs    atomic.Int32
	owner   fs.Buffer // nil if the bytes are ours
	release func()
}

func (r *reserved) Retain() { r.refs.Add(1) }
func (r *reserved) Release() {
	if r.refs.Add(-1) == 0 {
		if r.owner != nil {
			r.owner.Release()
		}
		r.release()
	}
}

// Write accepts a write to a live stream. check sees the inode as stored, with
// buffered writes merged, and the place the bytes will go.
//
// Unstable bytes are buffered; for the others Write returns when they are
// durable together with the inode.
func (e *Engine) Write(ctx context.Context, id fs.FileID, w *fs.WriteRequest, check func(r *meta.Reader, ino *meta.Inode, off uint64) (Effect, error)) (WriteResult, error) {
	var res WriteResult
	n := len(w.Data)
	if err := e.spend(ctx, int64(n)); err != nil {
		return res, err
	}
	f := e.hold(id)
	defer e.drop(f)

	grew, err := e.buffer(ctx, f, w, check, &res)
	e.refund(int64(n) - grew)
	if err != nil {
		return res, err
	}
	return res, e.settleWrite(ctx, f, w, &res)
}

// settleWrite makes the bytes durable if they are to be.
func (e *Engine) settleWrite(ctx context.Context, f *file, w *fs.WriteRequest, res *WriteResult) error {
	res.Committed = w.Stability
	if w.Stability == fs.Unstable {
		return nil
	}
	if err := e.flush(ctx, f, w.Stream, res.Offset, res.Offset+uint64(len(w.Data)), stableToo); err != nil {
		return err
	}
	res.Committed = fs.FileSync
	return nil
}

// WriteAlone is Write while nothing else is buffered for the inode: what was is
// flushed first. So it is known what the bytes add to the blocks of the stream,
// which check is told by blocks.
func (e *Engine) WriteAlone(ctx context.Context, id fs.FileID, w *fs.WriteRequest, check func(r *meta.Reader, ino *meta.Inode, off uint64, blocks func() (uint64, error)) (Effect, error)) (WriteResult, error) {
	var res WriteResult
	n := len(w.Data)
	if err := e.spend(ctx, int64(n)); err != nil {
		return res, err
	}
	f := e.hold(id)
	defer e.drop(f)
	grew, err := e.bufferAlone(ctx, f, w, check, &res)
	e.refund(int64(n) - grew)
	if err != nil {
		return res, err
	}
	return res, e.settleWrite(ctx, f, w, &res)
}

func (e *Engine) bufferAlone(ctx context.Context, f *file, w *fs.WriteRequest, check func(*meta.Reader, *meta.Inode, uint64, func() (uint64, error)) (Effect, error), res *WriteResult) (grew int64, err error) {
	f.gate.Lock()
	defer f.gate.Unlock()
	f.flushMu.Lock()
	defer f.flushMu.Unlock()
	if err := e.flushFileLocked(ctx, f); err != nil {
		return 0, err
	}
	return e.insert(ctx, f, w, func(r *meta.Reader, ino *meta.Inode, off uint64) (Effect, error) {
		return check(r, ino, off, func() (uint64, error) { return e.newBlocks(ctx, r, ino, w.Stream, off, uint64(len(w.Data))) })
	}, res)
}

// newBlocks is how many blocks a write of [off, off+n) adds to a stream that
// has nothing buffered.
func (e *Engine) newBlocks(ctx context.Context, r *meta.Reader, ino *meta.Inode, sid fs.StreamID, off, n uint64) (uint64, error) {
	st, err := e.readerStream(ctx, r, ino, sid)
	if err != nil {
		return 0, err
	}
	blocks := uint64(0)
	for n > 0 {
		idx, in := chunkOf(off)
		now := min(n, ChunkBytes-uint64(in))
		ch, err := loadChunk(ctx, r, st, idx)
		if err != nil {
			return 0, err
		}
		before := blocksOf(ch.Frags)
		applyMasks(st, idx, ch)
		after := blocksOf(putFrag(ch.Frags, meta.Frag{Off: in, Len: uint32(now)}))
		blocks += max(after, before) - before
		off, n = off+now, n-now
	}
	return blocks, nil
}

// buffer inserts the bytes among others and answers by how much the dirty bytes
// grew.
func (e *Engine) buffer(ctx context.Context, f *file, w *fs.WriteRequest, check func(*meta.Reader, *meta.Inode, uint64) (Effect, error), res *WriteResult) (grew int64, err error) {
	f.gate.RLock()
	defer f.gate.RUnlock()
	return e.insert(ctx, f, w, check, res)
}

// insert inserts the bytes under the file's lock; needs the gate.
func (e *Engine) insert(ctx context.Context, f *file, w *fs.WriteRequest, check func(*meta.Reader, *meta.Inode, uint64) (Effect, error), res *WriteResult) (grew int64, err error) {
	n := uint64(len(w.Data))
	f.mu.Lock()
	defer f.mu.Unlock()

	// The inode is read under the lock: a flush that commits meanwhile leaves
	// the overlay in place until it gets the lock, so nothing is missed.
	var effect Effect
	off := w.Offset
	err = e.db.View(ctx, func(r *meta.Reader) error {
		ino, err := r.Inode(ctx, f.id)
		if err != nil {
			return err
		}
		f.apply(ino)
		// Asked for every named stream: what is buffered for one that is not
		// there could never be stored.
		if w.Append || w.Stream != 0 {
			size, err := f.sizeOf(ctx, r, ino, w.Stream)
			if err != nil {
				return err
			}
			if w.Append {
				off = size
			}
		}
		if off > fs.MaxFileSize || n > fs.MaxFileSize-off {
			return fs.TooBig
		}
		effect, err = check(r, ino, off)
		res.Before = *ino
		return err
	})
	if err != nil {
		return 0, err
	}
	res.Offset = off
	if n == 0 {
		res.After = res.Before
		if effect.Release != nil {
			effect.Release()
		}
		return 0, nil
	}

	s := span{off: off, seq: e.seq.Add(1), stable: w.Stability != fs.Unstable}
	if w.Owner == nil || n <= copyBelow {
		s.data = append(make([]byte, 0, n), w.Data...)
	} else {
		s.data, s.owner = w.Data[:n:n], w.Owner
		s.owner.Retain()
	}
	if effect.Release != nil {
		r := &reserved{owner: s.owner, release: effect.Release}
		r.refs.Store(1)
		s.owner = r
	}

	now := e.now()
	if f.dirtyAt.IsZero() {
		f.dirtyAt = e.o.Now()
		f.mtime, f.ctime, f.change, f.kill = fs.Time{}, fs.Time{}, 0, false
	}
	if now.Compare(res.Before.Ctime) <= 0 {
		now = res.Before.Ctime.Next() // clients take equal times for unchanged data
	}
	f.mtime, f.ctime = now, now
	f.change = max(f.change, res.Before.Change) + 1
	f.seen.Store(f.change)
	f.kill = f.kill || effect.KillPrivilege
	st := f.streams[w.Stream]
	if st == nil {
		st = &stream{}
		f.streams[w.Stream] = st
	}
	before := st.bytes
	st.insert(s)
	st.end = max(st.end, off+n)
	st.revs++
	grew = int64(st.bytes) - int64(before)

	res.After = res.Before
	f.apply(&res.After)
	if w.Stream == 0 {
		// Before already has the earlier buffered revisions.
		res.After.Data.Rev = res.Before.Data.Rev + 1
	}
	if int64(st.bytes) >= e.o.FlushBytes && !f.queued {
		f.queued = e.enqueue(f)
	}
	return grew, nil
}

// sizeOf is the size of a stream with buffered writes counted; needs f.mu.
func (f *file) sizeOf(ctx context.Context, r *meta.Reader, ino *meta.Inode, sid fs.StreamID) (uint64, error) {
	size := ino.Data.Size
	if sid != 0 {
		st, err := r.Stream(ctx, f.id, sid)
		if err != nil {
			return 0, err
		}
		size = st.Size
	}
	if st := f.streams[sid]; st != nil {
		size = max(size, st.end)
	}
	return size, nil
}
