package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"manifold/internal/data"
)

// ReadAt implements data.Store. Whole blocks are read straight into dst; a
// block of which only a part is wanted is read whole into scratch, so that
// every byte handed out was verified.
func (s *Store) ReadAt(ctx context.Context, rec data.Record, off uint64, dst []byte) error {
	s.calls.RLock()
	defer s.calls.RUnlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := rec.CheckRange(off, len(dst)); err != nil {
		return err
	}
	if len(rec.Sums) != (int(rec.Length)+data.BlockBytes-1)/data.BlockBytes {
		return &data.CorruptError{Extent: rec.ID, Block: -1}
	}
	if len(dst) == 0 {
		return nil
	}
	var src io.ReaderAt = inline(rec.Inline)
	base := int64(0)
	if !rec.IsInline {
		f, err := s.file(rec.Segment)
		if errors.Is(err, fs.ErrNotExist) {
			return &data.CorruptError{Extent: rec.ID, Block: int(off / data.BlockBytes), Cause: err}
		}
		if err != nil {
			return err
		}
		src, base = f, int64(rec.Offset)
	}
	for len(dst) > 0 {
		block := off / data.BlockBytes
		start := block * data.BlockBytes
		size := min(uint64(rec.Length)-start, data.BlockBytes)
		skip := off - start
		n := min(size-skip, uint64(len(dst)))
		var err error
		if n == size {
			err = readBlock(src, base, rec, block, dst[:n])
		} else {
			buf := s.scratch.Get().(*[data.BlockBytes]byte)
			if err = readBlock(src, base, rec, block, buf[:size]); err == nil {
				copy(dst[:n], buf[skip:])
			}
			s.scratch.Put(buf)
		}
		if err != nil {
			return err
		}
		off, dst = off+n, dst[n:]
	}
	return nil
}

func readBlock(src io.ReaderAt, base int64, rec data.Record, block uint64, b []byte) error {
	n, err := src.ReadAt(b, base+int64(block*data.BlockBytes))
	if n < len(b) {
		if errors.Is(err, io.EOF) || err == nil {
			return &data.CorruptError{Extent: rec.ID, Block: int(block), Cause: io.ErrUnexpectedEOF}
		}
		return fmt.Errorf("segment: read extent %d: %w", rec.ID, err)
	}
	if data.Sum(rec.ID, b) != rec.Sums[block] {
		clear(b) // bad bytes must not leak to a caller that ignores the error
		return &data.CorruptError{Extent: rec.ID, Block: int(block)}
	}
	return nil
}

type inline []byte

func (p inline) ReadAt(b []byte, off int64) (int, error) {
	if off >= int64(len(p)) {
		return 0, io.EOF
	}
	n := copy(b, p[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// file returns the open segment num.
func (s *Store) file(num uint64) (File, error) {
	s.mu.Lock()
	sg, closed := s.mu.open[num], s.mu.closed
	s.mu.Unlock()
	if closed {
		return nil, data.ErrClosed
	}
	if sg != nil {
		return sg.file, nil
	}
	f, err := s.disk.Open(nameOf(num))
	if err != nil {
		return nil, fmt.Errorf("segment: open %s: %w", nameOf(num), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sg := s.mu.open[num]; sg != nil {
		return sg.file, f.Close()
	}
	s.mu.open[num] = &seg{num: num, file: f}
	return f, nil
}
