package gc

import (
	"context"
	"errors"
	"fmt"

	"manifold/internal/data"
	"manifold/internal/kv"
)

type verdict int

const (
	keep verdict = iota
	condemn
	empty // by moving what lives
)

func (c *Collector) wants(info data.SegmentInfo, st *state) verdict {
	switch {
	case !st.scanned:
		return keep
	case st.live <= 0:
		if info.Bytes == 0 && info.Last {
			return keep // it only says which numbers were used
		}
		return condemn
	case st.fill(info) < c.minLive() && (st.moving || c.low || c.o.Now().Sub(st.died) >= c.o.Calm):
		return empty
	}
	return keep
}

// fill is the part of a segment that lives.
func (st *state) fill(info data.SegmentInfo) float64 {
	return float64(st.live) / float64(max(info.Bytes, 1))
}

// lowMinLive is MinLive while space is short.
const lowMinLive = 0.8

func (c *Collector) minLive() float64 {
	if c.low && c.o.MinLive > 0 {
		return max(c.o.MinLive, lowMinLive)
	}
	return c.o.MinLive
}

// look works on the first queued segment that can be worked on.
func (c *Collector) look(ctx context.Context) (more bool, err error) {
	rows := pageRows
	for len(c.queue) > 0 && rows > 0 {
		num := c.queue[0]
		again, used, err := c.lookAt(ctx, num)
		rows -= used
		if again {
			return true, err
		}
		// Off the queue on an error too: the next listing brings it back.
		c.queue = c.queue[1:]
		if st := c.segs[num]; st != nil {
			st.queued = false
		}
		if err != nil {
			return len(c.queue) > 0, err
		}
	}
	return len(c.queue) > 0, nil
}

// lookAt does a bounded piece of work on a segment; again if more is left.
func (c *Collector) lookAt(ctx context.Context, num uint64) (again bool, rows int, err error) {
	rows = 1
	info, ok := c.store.Segment(num)
	if !ok {
		delete(c.segs, num)
		return false, rows, nil
	}
	st := c.state(num)
	if _, dying := c.condemned[num]; dying || info.Open || st.stuck {
		return false, rows, nil
	}
	if now := c.o.Now(); info.Mine {
		if st.sealed.IsZero() {
			st.sealed = now
		}
		if at := st.sealed.Add(c.hurried(c.o.Settle)); now.Before(at) {
			if c.settles.IsZero() || at.Before(c.settles) {
				c.settles = at
			}
			return false, rows, nil
		}
	}
	if !st.scanned {
		n, err := c.scan(ctx, info, st)
		if err != nil {
			return false, rows + n, err
		}
		if !st.scanned {
			return true, rows + n, nil
		}
		rows += n
		// Nothing is ever added to the segment of an earlier process.
		if end := int64(max(st.end, st.freed)); !info.Mine && info.Bytes > end+tailBytes {
			if err := c.store.Trim(num, end); err != nil {
				return false, rows, err
			}
			info.Bytes = end
		}
	}
	switch c.wants(info, st) {
	case condemn:
		return false, rows, c.condemn(ctx, num, st)
	case empty:
		again, err := c.move(ctx, num, st)
		return again, rows + moveBatch, err
	}
	return false, rows, nil
}

// scan counts a page of what lives in a segment.
func (c *Collector) scan(ctx context.Context, info data.SegmentInfo, st *state) (rows int, err error) {
	var ls []data.Located
	err = c.eng.View(ctx, kv.Linearizable, func(r kv.Reader) (err error) {
		ls, err = data.InSegment(ctx, r, info.Num, st.cursor, pageRows)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, l := range ls {
		st.live += int64(l.Bytes)
		st.end = max(st.end, l.Offset+uint64(l.Bytes))
		st.cursor = l.Offset + 1
	}
	st.scanned = len(ls) < pageRows
	return len(ls), nil
}

func (c *Collector) condemn(ctx context.Context, num uint64, st *state) error {
	c.store.Condemn(num) // first: see data.Condemn
	ok := false
	rev, err := c.eng.Update(ctx, func(tx kv.Txn) (err error) {
		ok, err = data.Condemn(ctx, tx, num)
		return err
	})
	if err != nil {
		return fmt.Errorf("gc: condemn segment %d: %w", num, err)
	}
	if !ok { // an extent came late, or the count was wrong
		c.rescan(num)
		return nil
	}
	// The grace begins when the commit is durable.
	c.condemned[num] = sentence{c.o.Now(), rev}
	return nil
}

// move copies a batch of what lives in a segment to another.
func (c *Collector) move(ctx context.Context, num uint64, st *state) (again bool, err error) {
	var ls []data.Located
	var recs []data.Record
	err = c.eng.View(ctx, kv.Linearizable, func(r kv.Reader) (err error) {
		if ls, err = data.InSegment(ctx, r, num, 0, moveBatch); err != nil {
			return err
		}
		ids := make([]data.ExtentID, len(ls))
		for i, l := range ls {
			ids[i] = l.ID
		}
		recs, err = data.GetExtents(ctx, r, ids)
		return err
	})
	if errors.Is(err, data.ErrNotFound) || errors.Is(err, data.ErrCorrupt) || errors.Is(err, data.ErrFormat) {
		c.stick(num, st, err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if len(ls) == 0 {
		c.rescan(num)
		return true, nil
	}
	if !st.moving {
		// From now on no late commit may come: it would be left behind.
		st.moving = true
		c.store.Condemn(num)
	}
	to := make([]data.Record, 0, len(recs))
	bytes := int64(0)
	for i, rec := range recs {
		if rec.IsInline || rec.Segment != num || rec.Offset != ls[i].Offset {
			c.stick(num, st, fmt.Errorf("%w: index of segment %d names extent %d, which lies elsewhere", data.ErrCorrupt, num, rec.ID))
			return false, nil
		}
		if bytes > 0 && bytes+rec.StoredBytes() > moveBytes {
			break
		}
		t, err := c.store.Relocate(ctx, rec)
		switch {
		case errors.Is(err, data.ErrCorrupt), errors.Is(err, data.ErrMoved):
			c.stick(num, st, err)
			return false, nil
		case errors.Is(err, data.ErrNoSpace) && len(to) == 0:
			c.o.Logger.Warn("no space to move extents to; tried again later", "segment", num, "err", err)
			return false, nil
		case errors.Is(err, data.ErrNoSpace):
		case err != nil:
			return false, err
		default:
			to = append(to, t)
			bytes += rec.StoredBytes()
			continue
		}
		break
	}
	if err := c.store.Sync(ctx); err != nil {
		return false, err
	}
	moved, n := int64(0), uint64(0)
	_, err = c.eng.Update(ctx, func(tx kv.Txn) error {
		moved, n = 0, 0
		for i, t := range to {
			ok, err := data.Move(ctx, tx, recs[i], t)
			if err != nil {
				return err
			}
			if ok {
				moved += t.StoredBytes()
				n++
			}
		}
		return nil
	})
	if err != nil {
		c.rescan(num)
		return false, fmt.Errorf("gc: move extents: %w", err)
	}
	st.live -= moved
	c.count(func(s *Stats) { s.MovedExtents += n; s.MovedBytes += uint64(moved) })
	return true, nil
}

// stick leaves a segment alone: what cannot be read must not be removed.
func (c *Collector) stick(num uint64, st *state, err error) {
	st.stuck = true
	c.count(func(s *Stats) { s.Stuck++ })
	c.o.Logger.Error("a segment cannot be emptied", "segment", num, "err", err)
}
