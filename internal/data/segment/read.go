package segment

import (
	"context"
	"errors"
	"fmt"
	"io"

	"manifold/internal/data"
)

// ReadAt implements data.Store. A run of whole blocks is read by one call
// straight into dst. Of a block that is wanted in part all is read and
// verified, so that every byte handed out was, and kept in the cache.
func (s *Store) ReadAt(ctx context.Context, rec data.Record, off uint64, dst []byte) error {
	s.calls.RLock()
	defer s.calls.RUnlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := rec.CheckRange(off, len(dst)); err != nil {
		return err
	}
	if err := rec.Check(); err != nil {
		return err
	}
	s.count.reads.Add(1)
	s.count.readBytes.Add(uint64(len(dst)))
	if rec.IsInline {
		return readInline(rec, off, dst)
	}
	rd := reader{ctx: ctx, s: s, rec: rec}
	defer rd.close()
	for len(dst) > 0 {
		n, err := rd.some(off, dst)
		if err != nil {
			return err
		}
		off, dst = off+uint64(n), dst[n:]
	}
	return nil
}

func readInline(rec data.Record, off uint64, dst []byte) error {
	if len(rec.Inline) != int(rec.Length) {
		return &data.CorruptError{Extent: rec.ID, Block: -1}
	}
	if data.Sum(rec.ID, rec.Inline) != rec.Sums[0] {
		return &data.CorruptError{Extent: rec.ID}
	}
	copy(dst, rec.Inline[off:])
	return nil
}

// reader reads one extent. It opens the segment only when the cache lacks a block.
type reader struct {
	ctx context.Context
	s   *Store
	rec data.Record
	sg  *seg
	dec *decoder // of a compressed or encrypted extent
}

func (r *reader) close() {
	if r.sg != nil {
		r.s.release(r.sg)
	}
}

// some fills a front part of dst and returns its length.
func (r *reader) some(off uint64, dst []byte) (int, error) {
	block := off / data.BlockBytes
	size := r.rec.BlockLength(int(block))
	skip := int(off % data.BlockBytes)
	n := min(size-skip, len(dst))
	k := blockKey{r.rec.ID, block}
	if n < size {
		if b := r.s.cache.get(k); b != nil {
			r.s.count.hits.Add(1)
			copy(dst[:n], b.b[skip:])
			r.s.cache.put(b)
			return n, nil
		}
		r.s.count.misses.Add(1)
		b := r.s.cache.fresh()
		defer r.s.cache.put(b)
		if err := r.blocks(block, 1, b.b[:size]); err != nil {
			return 0, err
		}
		r.s.cache.add(k, b)
		copy(dst[:n], b.b[skip:])
		return n, nil
	}
	count := len(dst) / data.BlockBytes
	if uint64(len(dst)) >= uint64(r.rec.Length)-off { // up to the end of the extent
		n = int(uint64(r.rec.Length) - off)
		count = data.Blocks(n)
	} else {
		n = count * data.BlockBytes
	}
	return n, r.blocks(block, count, dst[:n])
}

// blocks fills dst with count whole blocks, verified.
func (r *reader) blocks(first uint64, count int, dst []byte) error {
	if r.sg == nil {
		sg, err := r.s.acquire(r.rec.Segment)
		if err != nil {
			return err
		}
		r.sg = sg
	}
	var err error
	if r.rec.Stored == nil {
		err = readBlocks(r.sg.file, r.rec, first, count, dst)
	} else {
		err = r.decode(first, count, dst)
	}
	if errors.Is(err, data.ErrCorrupt) {
		r.s.count.corrupt.Add(1)
	}
	if err != nil {
		clear(dst) // bad bytes must not leak to a caller that ignores the error
	}
	return err
}

// decode is blocks for a compressed or encrypted extent.
func (r *reader) decode(first uint64, count int, dst []byte) error {
	if r.dec == nil {
		d, err := r.s.decoder(r.ctx, r.rec)
		if err != nil {
			return err
		}
		r.dec = d
	}
	off := int64(r.rec.Offset)
	for _, n := range r.rec.Stored[:first] {
		off += int64(n)
	}
	buf := r.s.cache.fresh()
	defer r.s.cache.put(buf)
	for i := range count {
		block := int(first) + i
		stored := buf.b[:r.rec.Stored[block]]
		if err := readFull(r.sg.file, r.rec, uint64(block), stored, off); err != nil {
			return err
		}
		if data.Sum(r.rec.ID, stored) != r.rec.Sums[block] {
			return &data.CorruptError{Extent: r.rec.ID, Block: block}
		}
		n := r.rec.BlockLength(block)
		if err := r.dec.block(block, stored, dst[:n]); err != nil {
			return &data.CorruptError{Extent: r.rec.ID, Block: block, Cause: err}
		}
		off += int64(len(stored))
		dst = dst[n:]
	}
	return nil
}

func readBlocks(f File, rec data.Record, first uint64, count int, dst []byte) error {
	if err := readFull(f, rec, first, dst, int64(rec.Offset)+int64(first*data.BlockBytes)); err != nil {
		return err
	}
	for i := range count {
		block := first + uint64(i)
		b := dst[i*data.BlockBytes:]
		if b = b[:min(len(b), data.BlockBytes)]; data.Sum(rec.ID, b) != rec.Sums[block] {
			return &data.CorruptError{Extent: rec.ID, Block: int(block)}
		}
	}
	return nil
}

func readFull(f File, rec data.Record, block uint64, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) || err == nil {
		return &data.CorruptError{Extent: rec.ID, Block: int(block), Cause: io.ErrUnexpectedEOF}
	}
	return fmt.Errorf("segment: read extent %d: %w", rec.ID, err)
}
