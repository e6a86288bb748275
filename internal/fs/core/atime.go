package core

import (
	"context"
	"errors"
	"time"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// accessed notes that a file was read, if its access time has to change. The
// reader does not wait, and a full queue forgets: a later read notes it again.
func (f *FS) accessed(n fs.Node, i *meta.Inode) {
	if f.o.Atime == nil || !n.Live() || i.Type != fs.File {
		return
	}
	if d := f.o.Atime(); d == 0 || !atimeDue(i, f.now(), d) {
		return
	}
	select {
	case f.readFiles <- n.ID:
	default:
	}
}

// atimeDue tells whether a read at now changes the access time.
func atimeDue(i *meta.Inode, now fs.Time, d time.Duration) bool {
	at := func(t fs.Time) time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }
	return at(now).Sub(at(i.Atime)) >= d
}

// atimeWorker writes the access times of files that were read.
func (f *FS) atimeWorker(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-f.readFiles:
			if err := f.setAtime(ctx, id); err != nil && !errors.Is(err, fs.Stale) && !errors.Is(err, fs.NotExist) {
				f.failed(ctx, "access times", err)
			}
		}
	}
}

// setAtime changes nothing but the access time: neither change nor ctime. A
// file with buffered writes is left alone, since their inode would be old; a
// later read sets the time.
func (f *FS) setAtime(ctx context.Context, id fs.FileID) error {
	if f.io.Active(id) {
		return nil
	}
	return f.db.Update(ctx, func(tx *meta.Txn) error {
		i, err := f.inode(ctx, tx, id)
		if err != nil {
			return err
		}
		d := f.o.Atime()
		now := f.now()
		if d == 0 || !atimeDue(i, now, d) {
			return nil
		}
		i.Atime = now
		return tx.PutInode(ctx, i)
	})
}
