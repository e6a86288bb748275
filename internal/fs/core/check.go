package core

import (
	"context"
	"fmt"

	"manifold/internal/data"
	"manifold/internal/fs"
	"manifold/internal/kv"
	"manifold/internal/meta"
)

// Finding is one thing wrong with a file system.
type Finding struct {
	Inode  fs.FileID // 0: none
	Extent uint64    // 0: none
	What   string
}

// CheckReport tells what a check looked at.
type CheckReport struct {
	meta.CheckReport
	ExtentRecords uint64
	References    uint64
}

// Check reads all metadata of a file system that nobody changes, and compares
// it with the records of extents. It changes nothing but rolls up totals.
func Check(ctx context.Context, engine kv.Engine, found func(Finding), progress func(records uint64)) (CheckReport, error) {
	var rep CheckReport
	db, err := meta.Open(ctx, engine, meta.Options{})
	if err != nil {
		return rep, err
	}
	rep.CheckReport, err = db.Check(ctx, meta.CheckOptions{
		Found:    func(m meta.Finding) { found(Finding{Inode: m.Inode, What: m.What}) },
		Progress: progress,
	})
	if err != nil {
		return rep, err
	}
	c := extentCheck{rep: &rep, engine: engine, left: rep.Holds, queued: map[data.ExtentID]bool{}, found: func(f Finding) { rep.Findings++; found(f) }}
	for _, step := range []func(context.Context) error{c.queue, c.references, c.records} {
		if err := step(ctx); err != nil {
			return rep, fmt.Errorf("core: check extents: %w", err)
		}
	}
	for h, n := range c.left {
		c.found(Finding{Extent: h.Extent, What: fmt.Sprintf("stream %d maps it, but lacks %d holds", h.Stream, n)})
	}
	return rep, nil
}

const checkPage = 1000

// extentCheck compares what streams map with what extents are held by.
type extentCheck struct {
	rep    *CheckReport
	engine kv.Engine
	found  func(Finding)
	queued map[data.ExtentID]bool
	held   map[data.ExtentID]bool // by references
	left   map[meta.Hold]int      // holds that were not seen yet
}

func (c *extentCheck) view(ctx context.Context, fn func(r kv.Reader) error) error {
	return c.engine.View(ctx, kv.Linearizable, fn)
}

func (c *extentCheck) queue(ctx context.Context) error {
	for after := data.ExtentID(0); ; {
		var ids []data.ExtentID
		err := c.view(ctx, func(r kv.Reader) (err error) {
			ids, err = data.Queued(ctx, r, after, checkPage)
			return err
		})
		for _, id := range ids {
			c.queued[id] = true
			after = id
		}
		if err != nil || len(ids) < checkPage {
			return err
		}
	}
}

// take counts one hold that is there.
func (c *extentCheck) take(id data.ExtentID, stream uint64) {
	h := meta.Hold{Extent: uint64(id), Stream: fs.StreamID(stream)}
	switch n := c.left[h]; n {
	case 0:
		c.found(Finding{Extent: h.Extent, What: fmt.Sprintf("stream %d holds it more often than it maps it", stream)})
	case 1:
		delete(c.left, h)
	default:
		c.left[h] = n - 1
	}
}

func (c *extentCheck) references(ctx context.Context) error {
	c.held = map[data.ExtentID]bool{}
	for after := (data.Ref{}); ; {
		var refs []data.Ref
		err := c.view(ctx, func(r kv.Reader) (err error) {
			refs, err = data.Refs(ctx, r, after, checkPage)
			return err
		})
		for _, ref := range refs {
			c.rep.References++
			c.held[ref.Extent] = true
			c.take(ref.Extent, ref.Stream)
			after = ref
		}
		if err != nil || len(refs) < checkPage {
			return err
		}
	}
}

func (c *extentCheck) records(ctx context.Context) error {
	seen := map[uint64]bool{}
	for after := data.ExtentID(0); ; {
		var recs []data.Record
		var bad []data.ExtentID
		err := c.view(ctx, func(r kv.Reader) (err error) {
			recs, bad, after, err = data.Extents(ctx, r, after, checkPage)
			return err
		})
		if err != nil {
			return err
		}
		for _, id := range bad {
			seen[uint64(id)] = true
			c.found(Finding{Extent: uint64(id), What: "extent record cannot be read"})
		}
		for _, r := range recs {
			c.rep.ExtentRecords++
			seen[uint64(r.ID)] = true
			switch {
			case r.Owner != 0:
				c.take(r.ID, r.Owner)
			case !c.held[r.ID] && !c.queued[r.ID]:
				c.found(Finding{Extent: uint64(r.ID), What: "extent that nothing holds and nothing will free"})
			}
			if c.queued[r.ID] && (r.Owner != 0 || c.held[r.ID]) {
				c.found(Finding{Extent: uint64(r.ID), What: "extent waits to be freed but is held"})
			}
		}
		if len(recs)+len(bad) == 0 {
			break
		}
	}
	for id := range c.held {
		if !seen[uint64(id)] {
			c.found(Finding{Extent: uint64(id), What: "reference to an extent without record"})
		}
	}
	for h, n := range c.left {
		if !seen[h.Extent] {
			delete(c.left, h)
			c.found(Finding{Extent: h.Extent, What: fmt.Sprintf("stream %d maps it %d times, but it has no record", h.Stream, n)})
		}
	}
	return nil
}
