package gc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"manifold/internal/data"
	"manifold/internal/kv"
)

// age says which extents existed at a time: ids grow.
type age struct {
	at     time.Time
	newest data.ExtentID
}

// pack moves a batch of old inline extents into a segment.
func (c *Collector) pack(ctx context.Context) (more bool, err error) {
	if c.o.PackAge < 0 || c.low {
		return false, nil
	}
	limit, err := c.oldest(ctx)
	if err != nil || c.packed >= limit {
		return false, err
	}
	var page, recs []data.Record
	last := c.packed
	err = c.eng.View(ctx, kv.Linearizable, func(r kv.Reader) error {
		var err error
		if page, _, last, err = data.Extents(ctx, r, c.packed, packPage); err != nil {
			return err
		}
		if last == c.packed {
			last = limit // there are no more
		}
		var ids []data.ExtentID
		for _, rec := range page {
			if rec.ID > limit {
				last = limit
				break
			}
			if !rec.IsInline || rec.Length < c.o.PackMin {
				continue
			}
			if ids = append(ids, rec.ID); len(ids) == packBatch {
				last = rec.ID
				break
			}
		}
		recs, err = data.GetExtents(ctx, r, ids)
		return err
	})
	switch {
	case errors.Is(err, data.ErrCorrupt), errors.Is(err, data.ErrFormat):
		// A payload is missing; scrub says which. The others of the batch stay inline.
		c.packed = last
		return true, nil
	case err != nil:
		return false, err
	}
	if err := c.packThese(ctx, recs); err != nil {
		if errors.Is(err, data.ErrNoSpace) {
			return false, nil // tried again when there is some
		}
		return false, err
	}
	c.packed = min(last, limit)
	return c.packed < limit, nil
}

// oldest returns the newest extent that is old enough.
func (c *Collector) oldest(ctx context.Context) (limit data.ExtentID, err error) {
	now := c.o.Now()
	if n := len(c.ages); n == 0 || now.Sub(c.ages[n-1].at) >= max(c.o.PackAge/16, c.o.Interval) {
		a := age{at: now}
		err := c.eng.View(ctx, kv.Linearizable, func(r kv.Reader) (err error) {
			a.newest, err = data.Newest(ctx, r)
			return err
		})
		if err != nil {
			return 0, err
		}
		c.ages = append(c.ages, a)
	}
	for len(c.ages) > 1 && now.Sub(c.ages[1].at) >= c.o.PackAge {
		c.ages = c.ages[1:]
	}
	if now.Sub(c.ages[0].at) >= c.o.PackAge {
		limit = c.ages[0].newest
	}
	return limit, nil
}

func (c *Collector) packThese(ctx context.Context, recs []data.Record) error {
	var from, to []data.Record
	for _, rec := range recs {
		p := make([]byte, rec.Length)
		if err := c.store.ReadAt(ctx, rec, 0, p); errors.Is(err, data.ErrCorrupt) {
			continue // scrub says so; packed it would look good
		} else if err != nil {
			return err
		}
		t, err := c.store.Append(ctx, rec.ID, [][]byte{p})
		if err != nil {
			return err
		}
		from, to = append(from, rec), append(to, t)
	}
	if len(to) == 0 {
		return nil
	}
	if err := c.store.Sync(ctx); err != nil {
		return err
	}
	n, bytes := uint64(0), uint64(0)
	_, err := c.eng.Update(ctx, func(tx kv.Txn) error {
		n, bytes = 0, 0
		for i := range to {
			ok, err := data.Move(ctx, tx, from[i], to[i])
			if err != nil {
				return err
			}
			if ok {
				n++
				bytes += uint64(to[i].Length)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("gc: pack extents: %w", err)
	}
	c.count(func(s *Stats) { s.PackedExtents += n; s.PackedBytes += bytes })
	return nil
}
