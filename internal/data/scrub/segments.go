package scrub

import (
	"context"
	"errors"

	"manifold/internal/data"
	"manifold/internal/kv"
)

// segments goes from the bytes and the index of every segment to the records.
func (s *scrubber) segments(ctx context.Context) error {
	for _, info := range s.store.Segments() {
		if err := s.index(ctx, info.Num); err != nil {
			return err
		}
		if err := s.entries(ctx, info); err != nil {
			return err
		}
		s.rep.Segments++
		s.page()
	}
	return nil
}

// index looks for rows that no record agrees with: they would keep the segment
// for good, or hide that it is needed.
func (s *scrubber) index(ctx context.Context, num uint64) error {
	from := uint64(0)
	for {
		var ls []data.Located
		var lost []data.Located
		err := s.view(ctx, func(r kv.Reader) (err error) {
			if ls, err = data.InSegment(ctx, r, num, from, pageRows); err != nil {
				return err
			}
			lost, err = unowned(ctx, r, num, ls)
			return err
		})
		if errors.Is(err, data.ErrCorrupt) || errors.Is(err, data.ErrFormat) {
			s.found(Finding{Kind: BadIndex, Segment: num, Block: -1, Err: err})
			return nil
		}
		if err != nil {
			return err
		}
		for _, l := range lost {
			s.found(Finding{Kind: BadIndex, Extent: l.ID, Segment: num, Block: -1})
		}
		if len(ls) < pageRows {
			return nil
		}
		from = ls[len(ls)-1].Offset + 1
	}
}

// unowned returns those of ls that the record of their extent does not confirm.
func unowned(ctx context.Context, r kv.Reader, num uint64, ls []data.Located) ([]data.Located, error) {
	var lost []data.Located
	for _, l := range ls {
		recs, err := data.GetExtents(ctx, r, []data.ExtentID{l.ID})
		switch {
		case errors.Is(err, data.ErrNotFound):
			lost = append(lost, l)
		case errors.Is(err, data.ErrCorrupt), errors.Is(err, data.ErrFormat): // found from the other side
		case err != nil:
			return nil, err
		case recs[0].IsInline || recs[0].Segment != num || recs[0].Offset != l.Offset:
			lost = append(lost, l)
		}
	}
	return lost, nil
}

// entries walks the headers of a segment and counts what is dead.
func (s *scrubber) entries(ctx context.Context, info data.SegmentInfo) error {
	var batch []data.Entry
	flush := func() error {
		var dead, n uint64
		err := s.view(ctx, func(r kv.Reader) error {
			ls := make([]data.Located, len(batch))
			for i, e := range batch {
				ls[i] = data.Located{Offset: e.Offset, ID: e.ID, Bytes: e.Bytes}
			}
			lost, err := unowned(ctx, r, info.Num, ls)
			for _, l := range lost {
				dead += uint64(l.Bytes)
				n++
			}
			return err
		})
		s.rep.DeadBytes += dead
		s.rep.DeadEntries += n
		batch = batch[:0]
		return err
	}
	sound, err := s.store.Entries(ctx, info.Num, func(e data.Entry) error {
		if batch = append(batch, e); len(batch) < pageRows {
			return nil
		}
		if err := s.wait(ctx, pageRows*512); err != nil {
			return err
		}
		return flush()
	})
	if err == nil && len(batch) > 0 {
		err = flush()
	}
	switch {
	case errors.Is(err, data.ErrMoved): // collected meanwhile
		return nil
	case err != nil:
		return err
	case !sound && !info.Open:
		s.found(Finding{Kind: BadSegment, Segment: info.Num, Block: -1})
	}
	return nil
}
