package core

import (
	"context"
	"errors"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/fs/core/streamio"
	"manifold/internal/meta"
)

// Read implements fs.Files.
func (f *FS) Read(ctx context.Context, c *fs.Caller, n fs.Node, q *fs.ReadRequest, dst []byte) (fs.ReadResult, error) {
	err := f.free(c, n, q.Stream, q.Offset, uint64(len(dst)), false)
	check := func(r *meta.Reader, i *meta.Inode) error {
		want := fs.RightRead
		if q.Execute {
			want |= fs.RightExecute
		}
		got, err := f.granted(ctx, r, c, i, want)
		if err != nil {
			return err
		}
		if got == 0 && !(q.OwnerOverride && c.Cred.IsUser(i.Owner)) {
			return fs.Access
		}
		return nil
	}
	if err == nil {
		_, err = f.breach(ctx, c, n, q.Stream, fs.BreachRead, f.mayAt(ctx, n, check))
	}
	if err != nil {
		return fs.ReadResult{}, wrap("read", n, "", err)
	}
	res, err := f.read(ctx, n, q.Stream, q.Offset, dst, check)
	return res, wrap("read", n, "", err)
}

// isFile refuses what has no bytes to read or write.
func isFile(i *meta.Inode) error {
	switch i.Type {
	case fs.File:
		return nil
	case fs.Directory:
		return fs.IsDir
	}
	return fs.NotFile
}

func (f *FS) read(ctx context.Context, n fs.Node, sid fs.StreamID, off uint64, dst []byte, check func(*meta.Reader, *meta.Inode) error) (fs.ReadResult, error) {
	if n.Snap == fs.SnapshotDir {
		return fs.ReadResult{}, fs.IsDir
	}
	got, eof, i, err := f.io.Read(ctx, n, sid, off, dst, func(r *meta.Reader, i *meta.Inode) error {
		if err := f.alive(ctx, r, i); err != nil {
			return err
		}
		if sid == 0 {
			if err := isFile(i); err != nil {
				return err
			}
		}
		return check(r, i)
	})
	if err != nil {
		return fs.ReadResult{}, f.streamErr(ctx, n, sid, err)
	}
	f.accessed(n, &i)
	return fs.ReadResult{N: got, EOF: eof, Attr: attrOf(n, &i)}, nil
}

// Write implements fs.Files.
func (f *FS) Write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	place := uint64(len(w.Data))
	if w.Append {
		place = 0 // where it goes is known only inside its transaction
	}
	if err := f.free(c, n, w.Stream, w.Offset, place, true); err != nil {
		return fs.WriteResult{}, wrap("write", n, "", err)
	}
	res, err := f.write(ctx, c, n, w, false)
	return res, wrap("write", n, "", err)
}

// write stores bytes; opened says that the right was checked when a handle was opened.
func (f *FS) write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest, opened bool) (fs.WriteResult, error) {
	var res fs.WriteResult
	if err := writable(c, n); err != nil {
		return res, err
	}
	if !w.Append && (w.Offset > fs.MaxFileSize || uint64(len(w.Data)) > fs.MaxFileSize-w.Offset) {
		return res, fs.TooBig
	}
	if err := f.roomFor(len(w.Data)); err != nil {
		return res, err
	}
	may := func(r *meta.Reader, i *meta.Inode, off uint64) error {
		if err := f.alive(ctx, r, i); err != nil {
			return err
		}
		if w.Stream == 0 {
			if err := isFile(i); err != nil {
				return err
			}
		}
		if !opened && !(w.OwnerOverride && c.Cred.IsUser(i.Owner)) {
			want := fs.RightModify
			if off >= i.Data.Size {
				want = fs.RightExtend
			}
			if err := f.need(ctx, r, c, i, want); err != nil {
				return err
			}
		}
		return f.checkWORM(i)
	}
	end, err := f.breach(ctx, c, n, w.Stream, fs.BreachWrite, f.mayAt(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		off := w.Offset
		if w.Append {
			off = i.Data.Size
		}
		return may(r, i, off)
	}))
	if err != nil {
		return res, err
	}
	defer end()
	still := f.quotas.still()
	defer func() { still() }()
	limits := f.quotas.any()
	accept := func(r *meta.Reader, i *meta.Inode, off uint64, need func() (uint64, error)) (e streamio.Effect, err error) {
		if err := may(r, i, off); err != nil {
			return e, err
		}
		e.KillPrivilege = i.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 && !acl.IsSuper(c) && acl.DropSetID(i.Mode, i.Type == fs.Directory) != i.Mode
		if limits && (i.Parent != 0 || i.Staged != nil) {
			n, err := need()
			if err == nil && n > 0 {
				e.Release, err = f.reserveGrowth(ctx, i, n)
			}
			return e, err
		}
		return e, nil
	}
	got, err := f.io.Write(ctx, n.ID, w, func(r *meta.Reader, i *meta.Inode, off uint64) (streamio.Effect, error) {
		return accept(r, i, off, func() (uint64, error) { return growth(i, w.Stream, off, uint64(len(w.Data))), nil })
	})
	if errors.Is(err, fs.QuotaExceeded) {
		// By an estimate: so near the limit it is worth to find out.
		err = f.exactly(ctx, func() (err error) {
			got, err = f.io.WriteAlone(ctx, n.ID, w, func(r *meta.Reader, i *meta.Inode, off uint64, blocks func() (uint64, error)) (streamio.Effect, error) {
				return accept(r, i, off, func() (uint64, error) {
					n, err := blocks()
					return n * fs.BlockSize, err
				})
			})
			return err
		})
	}
	if err != nil {
		return res, f.streamErr(ctx, n, w.Stream, err)
	}
	still()
	still = func() {}
	res = fs.WriteResult{Count: len(w.Data), Committed: got.Committed, Verifier: f.io.Verifier(), Offset: got.Offset,
		File: fs.Changed{Before: before(&got.Before), After: attrOf(n, &got.After), Atomic: true}}
	f.hub.object(fs.EventData, n.ID)
	return res, nil
}

// growth bounds the blocks that a write of [off, off+n) may add: none when it
// lies within a file without holes.
func growth(i *meta.Inode, sid fs.StreamID, off, n uint64) uint64 {
	if n == 0 {
		return 0
	}
	whole := (i.Data.Size + fs.BlockSize - 1) / fs.BlockSize * fs.BlockSize
	if sid == 0 && off+n <= whole && i.Data.AllocBytes >= whole {
		return 0
	}
	from := off / fs.BlockSize
	if sid == 0 && i.Data.AllocBytes >= whole {
		from = max(from, whole/fs.BlockSize)
	}
	to := (off + n + fs.BlockSize - 1) / fs.BlockSize
	if to <= from {
		return 0
	}
	return (to - from) * fs.BlockSize
}

// roomFor refuses writes that would eat the reserve of the data store.
func (f *FS) roomFor(n int) error {
	free := f.space.free.Load()
	if uint64(f.io.DirtyBytes())+uint64(n)+f.o.ReserveBytes > free {
		return fs.NoSpace
	}
	return nil
}

// WriteVerifier implements fs.Files.
func (f *FS) WriteVerifier() fs.Verifier { return f.io.Verifier() }

// Commit implements fs.Files.
func (f *FS) Commit(ctx context.Context, c *fs.Caller, n fs.Node, stream fs.StreamID, off, length uint64) (fs.Verifier, fs.Changed, error) {
	v := f.io.Verifier()
	if err := writable(&fs.Caller{Cred: c.Cred}, n); err != nil {
		return v, fs.Changed{}, wrap("commit", n, "", err)
	}
	var ch fs.Changed
	err := f.load(ctx, n, func(_ *meta.Reader, i *meta.Inode) error {
		if stream == 0 {
			if err := isFile(i); err != nil {
				return err
			}
		}
		ch = changed(before(i), i)
		return nil
	})
	if err == nil {
		v, err = f.io.Commit(ctx, n.ID, stream, off, length)
	}
	return v, ch, wrap("commit", n, "", err)
}

// Zero implements fs.Files.
func (f *FS) Zero(ctx context.Context, c *fs.Caller, n fs.Node, stream fs.StreamID, off, length uint64) (fs.Changed, error) {
	var ch fs.Changed
	err := writable(c, n)
	if err == nil && (off > fs.MaxFileSize || length > fs.MaxFileSize-off) {
		err = fs.TooBig
	}
	if err == nil {
		err = f.free(c, n, stream, off, length, true)
	}
	masked := false
	run := func(tx *meta.Txn) error {
		i, err := f.inode(ctx, tx, n.ID)
		if err != nil {
			return err
		}
		if stream == 0 {
			if err := isFile(i); err != nil {
				return err
			}
		}
		if err := f.need(ctx, tx.View(), c, i, fs.RightModify); err != nil {
			return err
		}
		if err := f.checkWORM(i); err != nil {
			return err
		}
		b := before(i)
		size := i.Data.Size
		if stream != 0 {
			s, err := tx.Stream(ctx, i.ID, stream)
			if err != nil {
				return noStream(err)
			}
			size = s.Size
		}
		if off >= size || length == 0 {
			ch = changed(b, i)
			return nil
		}
		if masked, err = f.io.Zero(ctx, tx, i, stream, off, off+length); err != nil {
			return noStream(err)
		}
		if !acl.IsSuper(c) {
			i.Mode = acl.DropSetID(i.Mode, i.Type == fs.Directory)
		}
		touchData(i, f.now())
		ch = changed(b, i)
		return tx.PutInode(ctx, i)
	}
	if err == nil {
		var end func()
		if end, err = f.breach(ctx, c, n, stream, fs.BreachWrite, func() error { return f.would(ctx, run) }); err == nil {
			defer end()
		}
	}
	if err == nil {
		err = f.io.Exclusive(ctx, n.ID, func() error { return f.db.Update(ctx, run) })
	}
	if err == nil {
		if masked {
			f.kickMask(n.ID, stream)
		}
		f.hub.object(fs.EventData, n.ID)
	}
	return ch, wrap("zero", n, "", err)
}

// streamErr tells a missing named stream from a missing object.
func (f *FS) streamErr(ctx context.Context, n fs.Node, sid fs.StreamID, err error) error {
	if sid == 0 || !errors.Is(err, meta.ErrNotFound) {
		return err
	}
	_, gone := f.GetAttr(ctx, fs.SystemCaller(), n, 0)
	if gone != nil {
		return gone
	}
	return fs.NoAttr
}

// noStream names what is missing when a named stream was asked for.
func noStream(err error) error {
	if errors.Is(err, meta.ErrNotFound) {
		return fs.NoAttr
	}
	return err
}

// Regions implements fs.Files.
func (f *FS) Regions(ctx context.Context, c *fs.Caller, n fs.Node, stream fs.StreamID, off uint64, yield func(fs.Region) bool) error {
	err := f.io.Regions(ctx, n, stream, off, func(r *meta.Reader, i *meta.Inode) error {
		if err := f.alive(ctx, r, i); err != nil {
			return err
		}
		if stream == 0 {
			if err := isFile(i); err != nil {
				return err
			}
		}
		return f.need(ctx, r, c, i, fs.RightRead)
	}, yield)
	return wrap("regions", n, "", f.streamErr(ctx, n, stream, err))
}
