package core

import (
	"context"
	"errors"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/fs/core/streamio"
	"manifold/internal/meta"
)

// maxCopy bounds what one CopyRange does; by reference it is quick.
const maxCopy = 4 << 30

// CopyRange implements fs.Files, by reference to extents.
func (f *FS) CopyRange(ctx context.Context, c *fs.Caller, src fs.Node, srcStream fs.StreamID, srcOff uint64, dst fs.Node, dstStream fs.StreamID, dstOff, length uint64) (uint64, error) {
	if err := writable(c, dst); err != nil {
		return 0, wrap("copy", dst, "", err)
	}
	if src.ID == dst.ID && src.Live() && srcStream == dstStream && srcOff < dstOff+length && dstOff < srcOff+length {
		return 0, wrap("copy", dst, "", fs.Invalid) // overlapping
	}
	if src.Snap == fs.SnapshotDir {
		return 0, wrap("copy", src, "", fs.IsDir)
	}
	p := streamio.Piece{Node: src, Stream: srcStream, Off: srcOff, Len: min(length, maxCopy)}
	done, err := f.copyTo(ctx, c, dst, streamio.CopyTo{ID: dst.ID, Stream: dstStream, Off: dstOff}, []streamio.Piece{p})
	if done > 0 {
		return done, nil
	}
	return 0, wrap("copy", dst, "", err)
}

// copyTo copies what the caller may read to where it may write.
func (f *FS) copyTo(ctx context.Context, c *fs.Caller, dst fs.Node, to streamio.CopyTo, pieces []streamio.Piece) (uint64, error) {
	to.Source = func(ctx context.Context, r *meta.Reader, src *meta.Inode, p streamio.Piece) error {
		if err := f.free(c, p.Node, p.Stream, p.Off, p.Len, false); err != nil {
			return err
		}
		if err := f.alive(ctx, r, src); err != nil {
			return err
		}
		if p.Stream == 0 {
			if err := isFile(src); err != nil {
				return err
			}
		}
		return f.need(ctx, r, c, src, fs.RightRead)
	}
	to.Target = func(ctx context.Context, r *meta.Reader, i *meta.Inode, off, n, size uint64) error {
		if err := f.free(c, dst, to.Stream, off, n, true); err != nil {
			return err
		}
		if err := f.alive(ctx, r, i); err != nil {
			return err
		}
		if to.Stream == 0 {
			if err := isFile(i); err != nil {
				return err
			}
		}
		want := fs.RightModify
		if off >= i.Data.Size {
			want = fs.RightExtend
		}
		if err := f.need(ctx, r, c, i, want); err != nil {
			return err
		}
		if err := f.checkWORM(i); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		return f.roomFor(0)
	}
	to.Touch = func(i *meta.Inode) {
		if !acl.IsSuper(c) {
			i.Mode = acl.DropSetID(i.Mode, i.Type == fs.Directory)
		}
		touchData(i, f.now())
	}
	to.Room = func(ctx context.Context, i *meta.Inode, n uint64) (func(), error) {
		if i.Parent == 0 && i.Staged == nil {
			return func() {}, nil
		}
		return f.reserveGrowth(ctx, i, n)
	}
	for _, p := range pieces {
		may := f.mayAt(ctx, p.Node, func(r *meta.Reader, i *meta.Inode) error { return to.Source(ctx, r, i, p) })
		if _, err := f.breach(ctx, c, p.Node, p.Stream, fs.BreachRead, may); err != nil {
			return 0, err
		}
	}
	end, err := f.breach(ctx, c, dst, to.Stream, fs.BreachWrite, f.mayAt(ctx, dst, func(r *meta.Reader, i *meta.Inode) error {
		off := to.Off
		if to.End {
			off = i.Data.Size
		}
		return to.Target(ctx, r, i, off, 0, i.Data.Size)
	}))
	if err != nil {
		return 0, err
	}
	defer end()
	var done uint64
	err = f.exactly(ctx, func() (err error) {
		done, err = f.io.Copy(ctx, to, pieces)
		if done > 0 && errors.Is(err, errReserved) {
			return fs.QuotaExceeded // so much is done; whoever goes on is told
		}
		return err
	})
	if done > 0 {
		f.hub.object(fs.EventData, dst.ID)
	}
	return done, err
}
