package streamio

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"manifold/internal/data"
	"manifold/internal/fs"
	"manifold/internal/meta"
)

// Bounds of one flush transaction, well inside kv.DefaultLimits even when each
// chunk must also be copied to history.
const (
	captureBytes = 16 << 20
	txnInline    = 256 << 10
	txnExtents   = 64
	txnChunks    = 24
	mergeAbove   = maxFrags - 2*txnExtents // merge small fragments beyond it
)

// also says which spans beyond the asked range a flush takes along.
type also int

const (
	rangeOnly also = iota
	// stableToo takes every span that some writer waits for: group commit.
	stableToo
)

// extent is a run of captured bytes within one chunk that becomes one extent.
type extent struct {
	off    uint64 // in the stream
	length int
	parts  [][]byte
	id     data.ExtentID
	record data.Record // of a segment extent
	inline bool
}

// flush makes every dirty byte of [from, to) of a stream durable.
func (e *Engine) flush(ctx context.Context, f *file, sid fs.StreamID, from, to uint64, a also) error {
	if !f.lead(sid, from, to) {
		return nil
	}
	defer f.follow()
	f.flushMu.Lock()
	defer f.flushMu.Unlock()
	return e.flushLocked(ctx, f, sid, from, to, a)
}

// lead returns true when it is the caller's turn to flush, and false if the flush
// before has made all of [from, to) durable. Those who wait are woken together:
// were each to get the lock in turn only to find nothing left to do, as many
// switches of threads would come one after the other.
func (f *file) lead(sid fs.StreamID, from, to uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.flushing {
		if f.flushed == nil {
			f.flushed = make(chan struct{})
		}
		ended := f.flushed
		f.waiting++
		f.mu.Unlock()
		<-ended
		f.mu.Lock()
		if st := f.streams[sid]; st == nil || !st.dirty(from, to) {
			return false
		}
	}
	f.flushing = true
	return true
}

// follow ends the turn.
func (f *file) follow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushing, f.waiting = false, 0
	if f.flushed != nil {
		close(f.flushed)
		f.flushed = nil
	}
}

func (e *Engine) flushLocked(ctx context.Context, f *file, sid fs.StreamID, from, to uint64, a also) error {
	for {
		batch := e.batches.Add(1)
		f.mu.Lock()
		st := f.streams[sid]
		if st == nil || f.gone {
			f.mu.Unlock()
			return nil
		}
		got, more := st.capture(from, to, batch, captureBytes)
		if a == stableToo && !more {
			got = append(got, st.captureStable(batch, captureBytes)...)
			slices.SortFunc(got, func(a, b span) int {
				if a.off < b.off {
					return -1
				}
				return 1
			})
		}
		c := commit{f: f, sid: sid, mtime: f.mtime, ctime: f.ctime, change: f.change, kill: f.kill, revs: st.revs}
		f.mu.Unlock()
		if len(got) == 0 {
			return nil
		}

		revs := c.revs
		err := e.commitSpans(ctx, &c, got)

		f.mu.Lock()
		before := st.bytes
		gone := errors.Is(err, meta.ErrNotFound)
		if gone {
			f.gone = true
			for _, s := range f.streams {
				before += s.bytes
				s.drop()
			}
			before -= st.bytes
		}
		st.settle(batch, err == nil || gone)
		if err == nil {
			st.revs -= min(st.revs, revs)
		}
		f.settleAttrs()
		freed := before - st.bytes
		f.mu.Unlock()
		for i := range got {
			got[i].release()
		}
		e.refund(int64(freed))
		if gone {
			return nil // the object was removed: its bytes went with it
		}
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

// settleAttrs ends the overlay once nothing is dirty; needs f.mu.
func (f *file) settleAttrs() {
	for _, st := range f.streams {
		if st.bytes > 0 {
			return
		}
	}
	clear(f.streams)
	f.dirtyAt = time.Time{}
}

// captureStable captures the spans that a writer waits for.
func (d *dirtySet) captureStable(batch uint64, maxBytes int) []span {
	var got []span
	bytes := 0
	for i := range d.spans {
		s := &d.spans[i]
		if !s.stable || s.batch != 0 {
			continue
		}
		if bytes += len(s.data); bytes > maxBytes {
			break
		}
		s.batch = batch
		if s.owner != nil {
			s.owner.Retain()
		}
		got = append(got, *s)
	}
	return got
}

// commit carries what the flush merges into the inode.
type commit struct {
	f            *file
	sid          fs.StreamID
	mtime, ctime fs.Time
	change       uint64
	kill         bool
	revs         uint64
}

// commitSpans stores payloads, syncs them, and installs them batch by batch.
func (e *Engine) commitSpans(ctx context.Context, c *commit, spans []span) error {
	exts := cutExtents(spans)
	for again := 0; ; again++ {
		if err := e.place(ctx, exts); err != nil {
			return err
		}
		var err error
		for len(exts) > 0 && err == nil {
			n := batchOf(exts)
			if err = e.install(ctx, c, exts[:n]); err == nil {
				exts = exts[n:]
			}
		}
		// The commit came so late that the segment was given up meanwhile: the
		// bytes go into another one.
		if !errors.Is(err, data.ErrMoved) || again == maxMoves {
			return err
		}
	}
}

// maxMoves bounds how often bytes are stored again because of ErrMoved.
const maxMoves = 3

// place gives every extent an id, and payloads too large to go with the
// transaction a place in a segment, synced.
func (e *Engine) place(ctx context.Context, exts []extent) error {
	appended := false
	for i := range exts {
		x := &exts[i]
		id, err := e.db.NewExtentID(ctx)
		if err != nil {
			return err
		}
		x.id = data.ExtentID(id)
		if x.length <= e.store.InlineMax() {
			x.inline = true
			continue
		}
		if x.record, err = e.store.Append(ctx, x.id, x.parts); err != nil {
			return err
		}
		appended = true
	}
	if !appended {
		return nil
	}
	return e.store.Sync(ctx)
}

// put records the extent, held by a stream.
func (x *extent) put(tx *meta.Txn, sid fs.StreamID) error {
	if x.inline {
		return data.PutInline(tx.KV(), x.id, uint64(sid), x.parts)
	}
	return data.PutExtent(tx.KV(), uint64(sid), x.record)
}

// cutExtents joins adjoining spans and cuts them at chunk boundaries.
func cutExtents(spans []span) []extent {
	var exts []extent
	for _, s := range spans {
		off, b := s.off, s.data
		for len(b) > 0 {
			n := min(uint64(len(b)), ChunkBytes-off%ChunkBytes)
			if k := len(exts) - 1; k >= 0 && off%ChunkBytes != 0 && exts[k].off+uint64(exts[k].length) == off {
				exts[k].parts = append(exts[k].parts, b[:n])
				exts[k].length += int(n)
			} else {
				exts = append(exts, extent{off: off, length: int(n), parts: [][]byte{b[:n]}})
			}
			off, b = off+n, b[n:]
		}
	}
	return exts
}

// batchOf is how many of exts fit one transaction.
func batchOf(exts []extent) int {
	inline, chunks, last := 0, 0, uint64(math.MaxUint64)
	for i, x := range exts {
		if x.inline {
			inline += x.length
		}
		if idx, _ := chunkOf(x.off); idx != last {
			last = idx
			chunks++
		}
		if i > 0 && (inline > txnInline || chunks > txnChunks || i >= txnExtents) {
			return i
		}
	}
	return len(exts)
}

// install is the metadata transaction of a flush.
func (e *Engine) install(ctx context.Context, c *commit, exts []extent) error {
	end := uint64(0)
	for _, x := range exts {
		end = max(end, x.off+uint64(x.length))
	}
	var crowded []uint64
	err := e.db.Update(ctx, func(tx *meta.Txn) error {
		crowded = crowded[:0]
		ino, err := tx.Inode(ctx, c.f.id)
		if err != nil {
			return err
		}
		st, err := targetOf(ctx, tx, ino, c.sid)
		if err != nil {
			return err
		}
		for i := 0; i < len(exts); {
			idx, _ := chunkOf(exts[i].off)
			ch, err := loadChunk(ctx, tx.View(), st.Stream, idx)
			if err != nil {
				return err
			}
			before := blocksOf(ch.Frags)
			applyMasks(st.Stream, idx, ch)
			for ; i < len(exts); i++ {
				x := &exts[i]
				k, in := chunkOf(x.off)
				if k != idx {
					break
				}
				ch.Frags = putFrag(ch.Frags, meta.Frag{Off: in, Len: uint32(x.length), Extent: uint64(x.id)})
				if err := x.put(tx, st.ID); err != nil {
					return err
				}
			}
			if len(ch.Frags) > mergeAbove {
				crowded = append(crowded, idx)
			}
			st.grow(int64(blocksOf(ch.Frags)) - int64(before))
			if err := tx.PutChunk(ctx, c.f.id, st.ID, idx, ch); err != nil {
				return err
			}
		}
		st.Size = max(st.Size, end)
		st.Rev += c.revs
		ino.Mtime = c.mtime // see apply
		if c.ctime.Compare(ino.Ctime) > 0 {
			ino.Ctime = c.ctime
		}
		ino.Change = max(ino.Change, c.change)
		if c.kill {
			ino.Mode &^= fs.ModeSetuid | fs.ModeSetgid
		}
		if err := st.put(ctx, tx); err != nil {
			return err
		}
		return tx.PutInode(ctx, ino)
	})
	if err != nil {
		return err
	}
	c.revs = 0 // counted
	for _, idx := range crowded {
		if err := e.merge(ctx, c.f.id, c.sid, idx); err != nil {
			e.o.Logger.Warn("merging small fragments failed; writing goes on", "inode", c.f.id, "chunk", idx, "err", err)
		}
	}
	return nil
}

// target is a stream of an inode being changed in a transaction.
type target struct {
	*meta.Stream
	ino   *meta.Inode
	sid   fs.StreamID
	named *meta.NamedStream // nil for the default stream
	alloc uint64            // as loaded
	size  uint64
}

// targetOf loads the record of a stream: the inode's own for 0.
func targetOf(ctx context.Context, tx *meta.Txn, ino *meta.Inode, sid fs.StreamID) (*target, error) {
	t := &target{Stream: &ino.Data, ino: ino, sid: sid}
	if sid != 0 {
		named, err := tx.Stream(ctx, ino.ID, sid)
		if err != nil {
			return nil, err
		}
		t.named, t.Stream = named, &named.Stream
	}
	t.alloc, t.size = t.AllocBytes, t.Size
	return t, nil
}

// grow counts blocks that came or went.
func (t *target) grow(blocks int64) {
	t.AllocBytes = uint64(int64(t.AllocBytes) + blocks*fs.BlockSize)
}

// put stores a named stream's record and posts what changed to the totals. The
// caller puts the inode.
func (t *target) put(ctx context.Context, tx *meta.Txn) error {
	d := meta.Delta{}
	if t.named == nil {
		d.DataBytes = int64(t.AllocBytes) - int64(t.alloc)
		if t.ino.Type == fs.File {
			d.LogicalBytes = int64(t.Size) - int64(t.size)
		}
	} else {
		d.StreamBytes = int64(t.AllocBytes) - int64(t.alloc)
		t.ino.StreamBytes = uint64(int64(t.ino.StreamBytes) + d.StreamBytes)
		if err := tx.PutStream(ctx, t.ino.ID, t.sid, t.named); err != nil {
			return err
		}
	}
	if t.ino.Parent == 0 {
		return nil // no name is left: nobody counts it
	}
	return tx.AddDelta(ctx, t.ino.Parent, d)
}

// loadChunk reads a chunk, an empty one if absent.
func loadChunk(ctx context.Context, r *meta.Reader, st *meta.Stream, idx uint64) (*meta.Chunk, error) {
	ch, err := r.Chunk(ctx, st.ID, idx)
	if err != nil {
		return nil, err
	}
	if ch == nil {
		ch = &meta.Chunk{}
	}
	return ch, nil
}

// Commit makes the unstable writes of [off, off+length) durable; 0 means to
// the end. It answers the verifier they were written under.
func (e *Engine) Commit(ctx context.Context, id fs.FileID, sid fs.StreamID, off, length uint64) (fs.Verifier, error) {
	to := uint64(math.MaxUint64)
	if length != 0 && off+length > off {
		to = off + length
	}
	f := e.peek(id)
	if f == nil {
		return e.Verifier(), nil
	}
	defer e.drop(f)
	err := e.flush(ctx, f, sid, off, to, rangeOnly)
	return e.Verifier(), err
}

// Flush makes everything of an inode durable.
func (e *Engine) Flush(ctx context.Context, id fs.FileID) error {
	f := e.peek(id)
	if f == nil {
		return nil
	}
	defer e.drop(f)
	return e.flushFile(ctx, f)
}

func (e *Engine) flushFile(ctx context.Context, f *file) error {
	f.flushMu.Lock()
	defer f.flushMu.Unlock()
	return e.flushFileLocked(ctx, f)
}

func (e *Engine) flushFileLocked(ctx context.Context, f *file) error {
	f.mu.RLock()
	ids := make([]fs.StreamID, 0, len(f.streams))
	for id := range f.streams {
		ids = append(ids, id)
	}
	f.mu.RUnlock()
	for _, sid := range ids {
		if err := e.flushLocked(ctx, f, sid, 0, math.MaxUint64, rangeOnly); err != nil {
			return err
		}
	}
	return nil
}

// FlushAll makes everything that was accepted before the call durable.
func (e *Engine) FlushAll(ctx context.Context) error {
	var errs []error
	for _, f := range e.heldFiles() {
		errs = append(errs, e.flushFile(ctx, f))
		e.drop(f)
	}
	return errors.Join(errs...)
}

// Forget drops the buffered bytes of an inode that is gone.
func (e *Engine) Forget(id fs.FileID) {
	f := e.peek(id)
	if f == nil {
		return
	}
	defer e.drop(f)
	f.flushMu.Lock()
	defer f.flushMu.Unlock()
	f.mu.Lock()
	f.gone = true
	var freed uint64
	for _, st := range f.streams {
		freed += st.bytes
		st.drop()
	}
	clear(f.streams)
	f.dirtyAt = time.Time{}
	f.mu.Unlock()
	e.refund(int64(freed))
}
