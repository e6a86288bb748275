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
	queued := map[data.ExtentID]bool{}
	seen := map[uint64]bool{}
	after := data.ExtentID(0)
	for {
		var ids []data.ExtentID
		err := engine.View(ctx, kv.Linearizable, func(r kv.Reader) error {
			var err error
			ids, err = data.Queued(ctx, r, after, 1000)
			return err
		})
		if err != nil {
			return rep, fmt.Errorf("core: check free queue: %w", err)
		}
		for _, id := range ids {
			queued[id] = true
			after = id
		}
		if len(ids) < 1000 {
			break
		}
	}
	after = 0
	for {
		var recs []data.Record
		var bad []data.ExtentID
		var last data.ExtentID
		err := engine.View(ctx, kv.Linearizable, func(r kv.Reader) error {
			var err error
			recs, bad, last, err = data.Extents(ctx, r, after, 1000)
			return err
		})
		if err != nil {
			return rep, fmt.Errorf("core: check extent records: %w", err)
		}
		for _, id := range bad {
			seen[uint64(id)] = true
			rep.Findings++
			found(Finding{Extent: uint64(id), What: "extent record cannot be read"})
		}
		for _, r := range recs {
			rep.ExtentRecords++
			seen[uint64(r.ID)] = true
			_, mapped := rep.Extents[uint64(r.ID)]
			if !mapped && !queued[r.ID] {
				rep.Findings++
				found(Finding{Extent: uint64(r.ID), What: "extent that nothing maps and nothing will free"})
			}
		}
		if len(recs)+len(bad) == 0 {
			break
		}
		after = last
	}
	for x := range rep.Extents {
		if !seen[x] {
			rep.Findings++
			found(Finding{Extent: x, What: "mapped extent has no record"})
		}
	}
	return rep, nil
}
