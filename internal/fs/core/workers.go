package core

import (
	"context"
	"errors"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/core/streamio"
	"manifold/internal/meta"
)

// startWorkers starts the background jobs; each ends with ctx.
func (f *FS) startWorkers(ctx context.Context) {
	for _, w := range []func(context.Context){f.roller, f.releaser, f.reclaimer, f.snapshotWorker, f.maskWorker, f.treeWorker, f.spaceWorker, f.stageWorker, f.atimeWorker} {
		f.workers.Add(1)
		go func() {
			defer f.workers.Done()
			w(ctx)
		}()
	}
}

// failed logs an error of a job that will be tried again.
func (f *FS) failed(ctx context.Context, job string, err error) {
	if err != nil && ctx.Err() == nil {
		f.log.Error("background job failed; it will be tried again", "job", job, "err", err)
	}
}

// retryAfter is the pause after a failure.
const retryAfter = time.Second

// steps calls step until it has no more work; after an error it waits.
func (f *FS) steps(ctx context.Context, job string, step func(context.Context) (bool, error)) {
	for ctx.Err() == nil {
		more, err := step(ctx)
		if err != nil {
			f.failed(ctx, job, err)
			if !pause(ctx, retryAfter) {
				return
			}
			continue
		}
		if !more {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (f *FS) roller(ctx context.Context) {
	for pause(ctx, f.o.RollEvery) {
		f.failed(ctx, "totals", f.db.Roll(ctx))
	}
}

// releaseDelay is how long released extents may gather.
const releaseDelay = 100 * time.Millisecond

func (f *FS) releaser(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.db.Released():
			// Many files are often removed in a row; one transaction releases
			// what many of them held.
			if !pause(ctx, releaseDelay) {
				return
			}
			f.steps(ctx, "release of extents", f.db.StepRelease)
		}
	}
}

// reclaimer frees objects without a name that nobody has open.
func (f *FS) reclaimer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.db.Orphaned():
		}
		f.steps(ctx, "orphans", f.stepOrphans())
	}
}

// stepOrphans returns a job that goes once over all orphans, a hundred a step.
func (f *FS) stepOrphans() func(context.Context) (bool, error) {
	var after []byte
	return func(ctx context.Context) (bool, error) {
		ids, next, err := f.db.Orphans(ctx, after, 100)
		if err != nil {
			return false, err
		}
		for _, id := range ids {
			if f.opens.peek(id) != nil {
				continue // the last close frees it
			}
			if err := f.reclaimOne(ctx, id); err != nil {
				return false, err
			}
		}
		after = next
		return len(ids) == 100, nil
	}
}

func (f *FS) reclaimOne(ctx context.Context, id fs.FileID) error {
	for ctx.Err() == nil {
		done, err := f.db.StepOrphan(ctx, id)
		if done || err != nil {
			return err
		}
	}
	return ctx.Err()
}

// reclaim frees an orphan whose last open has ended.
func (f *FS) reclaim(id fs.FileID) {
	if err := f.reclaimOne(f.work, id); err != nil {
		f.failed(f.work, "orphans", err)
	}
}

// expiryEvery is how often snapshots are looked at for expiry.
const expiryEvery = 20 * time.Second

func (f *FS) snapshotWorker(ctx context.Context) {
	t := time.NewTicker(expiryEvery)
	defer t.Stop()
	for {
		f.failed(ctx, "snapshot expiry", f.expire(ctx))
		f.steps(ctx, "snapshot reclaim", f.db.StepSnapshotDelete)
		f.steps(ctx, "change log", f.db.TrimLog)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-f.kickSnapshots:
		}
	}
}

// OnExpiry registers who is told of snapshots that were deleted because their
// time had come.
func (f *FS) OnExpiry(tell func(fs.Snapshot)) { f.expired.Store(&tell) }

func (f *FS) expire(ctx context.Context) error {
	all, err := f.db.Snapshots(ctx)
	if err != nil {
		return err
	}
	now := f.o.Now()
	for _, s := range all {
		if s.InDelete || s.Expires.IsZero() || s.Expires.After(now) {
			continue
		}
		// A lock lasts until the snapshot expires.
		err := f.db.DeleteSnapshot(ctx, s.ID, func(s *fs.Snapshot) error {
			if len(s.Owners) > 0 || s.Expires.IsZero() || s.Expires.After(now) {
				return fs.Busy
			}
			return nil
		})
		if tell := f.expired.Load(); err == nil && tell != nil {
			(*tell)(s)
		}
		err = notThere(err)
		if k := fs.KindOf(err); err != nil && k != fs.Busy && k != fs.NotExist {
			return err
		}
	}
	return nil
}

// maskWork names a stream with masks to apply.
type maskWork struct {
	id  fs.FileID
	sid fs.StreamID
}

func (f *FS) kickMask(id fs.FileID, sid fs.StreamID) {
	select {
	case f.kickMasks <- maskWork{id, sid}:
	default: // the next start, or a later truncation, finds the intent
	}
}

func (f *FS) maskWorker(ctx context.Context) {
	f.steps(ctx, "truncation", func(ctx context.Context) (bool, error) {
		var found []maskWork
		err := f.db.View(ctx, func(r *meta.Reader) error {
			found = found[:0]
			return r.Intents(ctx, func(_ uint64, decode func(any) error) error {
				var in struct {
					Kind   string
					Inode  fs.FileID
					Stream fs.StreamID
				}
				if err := decode(&in); err != nil {
					return err
				}
				if in.Kind == streamio.MaskIntent {
					found = append(found, maskWork{in.Inode, in.Stream})
				}
				return nil
			})
		})
		for _, w := range found {
			err = errors.Join(err, f.io.ApplyMasks(ctx, w.id, w.sid))
		}
		return false, err
	})
	for {
		select {
		case <-ctx.Done():
			return
		case w := <-f.kickMasks:
			f.failed(ctx, "truncation", f.io.ApplyMasks(ctx, w.id, w.sid))
		}
	}
}

func (f *FS) treeWorker(ctx context.Context) {
	for {
		f.steps(ctx, "tree delete", func(ctx context.Context) (bool, error) {
			ids, err := f.treeIntents(ctx)
			if err != nil {
				return false, err
			}
			for _, id := range ids {
				if err := f.deleteTree(ctx, id); err != nil {
					return false, err
				}
				f.settleTree(id)
			}
			return len(ids) > 0, nil
		})
		select {
		case <-ctx.Done():
			return
		case <-f.kickTrees:
		}
	}
}

// spaceEvery is how often the free space of the data store is read.
const spaceEvery = 500 * time.Millisecond

func (f *FS) spaceWorker(ctx context.Context) {
	for pause(ctx, spaceEvery) {
		f.failed(ctx, "free space", f.measureSpace(ctx))
	}
}

func (f *FS) measureSpace(ctx context.Context) error {
	s, err := f.o.Store.Space(ctx)
	if err != nil {
		return err
	}
	f.space.total.Store(s.Total)
	f.space.free.Store(s.Free)
	return nil
}
