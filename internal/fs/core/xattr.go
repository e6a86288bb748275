package core

import (
	"context"
	"errors"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/fs/fold"
	"manifold/internal/meta"
)

func checkMetaKey(s fs.MetaSpace, key string, size int) error {
	switch {
	case s < fs.MetaXattr || s > fs.MetaS3:
		return fs.Invalid
	case key == "" || strings.IndexByte(key, 0) >= 0:
		return fs.NameInvalid
	case len(key) > 1024:
		return fs.NameTooLong
	case len(key)+size > fs.MaxXattrBytes:
		return fs.TooBig
	}
	return nil
}

// GetMeta implements fs.Metadata.
func (f *FS) GetMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string) ([]byte, error) {
	var v []byte
	err := f.viewAt(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		if err := f.need(ctx, r, c, i, fs.RightReadEA); err != nil {
			return err
		}
		b, err := r.Xattr(ctx, i.ID, s, key)
		if errors.Is(err, meta.ErrNotFound) {
			return fs.NoAttr
		}
		v = append([]byte{}, b...)
		return err
	})
	return v, wrap("get metadata", n, key, err)
}

// SetMeta implements fs.Metadata.
func (f *FS) SetMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string, value []byte, m fs.MetaMode) (fs.Changed, error) {
	var ch fs.Changed
	err := writable(c, n)
	if err == nil {
		err = checkMetaKey(s, key, len(value))
	}
	if err == nil {
		err = f.change(ctx, n.ID, func(tx *meta.Txn, i *meta.Inode) error {
			if err := f.need(ctx, tx.View(), c, i, fs.RightWriteEA); err != nil {
				return err
			}
			if err := f.checkWORM(i); err != nil {
				return err
			}
			if m != fs.MetaUpsert {
				_, err := tx.Xattr(ctx, i.ID, s, key)
				switch {
				case err == nil && m == fs.MetaCreate:
					return fs.Exist
				case errors.Is(err, meta.ErrNotFound) && m == fs.MetaReplace:
					return fs.NoAttr
				case err != nil && !errors.Is(err, meta.ErrNotFound):
					return err
				}
			}
			b := before(i)
			created, err := tx.PutXattr(ctx, i.ID, s, key, value)
			if err != nil {
				return err
			}
			if created {
				i.Xattrs++
			}
			touchAttr(i, f.now())
			ch = changed(b, i)
			return tx.PutInode(ctx, i)
		})
	}
	if err == nil {
		f.hub.object(fs.EventXattr, n.ID)
	}
	return ch, wrap("set metadata", n, key, err)
}

// RemoveMeta implements fs.Metadata.
func (f *FS) RemoveMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string) (fs.Changed, error) {
	var ch fs.Changed
	err := writable(c, n)
	if err == nil {
		err = f.change(ctx, n.ID, func(tx *meta.Txn, i *meta.Inode) error {
			if err := f.need(ctx, tx.View(), c, i, fs.RightWriteEA); err != nil {
				return err
			}
			if err := f.checkWORM(i); err != nil {
				return err
			}
			b := before(i)
			err := tx.DeleteXattr(ctx, i.ID, s, key)
			if errors.Is(err, meta.ErrNotFound) {
				return fs.NoAttr
			}
			if err != nil {
				return err
			}
			i.Xattrs--
			touchAttr(i, f.now())
			ch = changed(b, i)
			return tx.PutInode(ctx, i)
		})
	}
	if err == nil {
		f.hub.object(fs.EventXattr, n.ID)
	}
	return ch, wrap("remove metadata", n, key, err)
}

// ListMeta implements fs.Metadata.
func (f *FS) ListMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, after string, yield func(string, int) bool) error {
	type item struct {
		key  string
		size int
	}
	var items []item
	err := f.viewAt(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		items = items[:0]
		if err := f.need(ctx, r, c, i, fs.RightReadEA); err != nil {
			return err
		}
		for k, v := range r.XattrValues(ctx, i.ID, s, after) {
			if v.Err != nil {
				return v.Err
			}
			items = append(items, item{k, len(v.Value)})
		}
		return nil
	})
	if err != nil {
		return wrap("list metadata", n, "", err)
	}
	for _, it := range items {
		if !yield(it.key, it.size) {
			break
		}
	}
	return nil
}

func infoOf(sid fs.StreamID, s *meta.NamedStream) fs.StreamInfo {
	return fs.StreamInfo{ID: sid, Name: s.Name, Size: s.Size, DataBytes: s.AllocBytes, DataRevision: s.Rev}
}

// Streams implements fs.Metadata.
func (f *FS) Streams(ctx context.Context, c *fs.Caller, n fs.Node) ([]fs.StreamInfo, error) {
	var out []fs.StreamInfo
	err := f.viewAt(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		out = out[:0]
		if err := f.need(ctx, r, c, i, fs.RightReadAttr); err != nil {
			return err
		}
		ss, err := r.Streams(ctx, i.ID)
		for _, s := range ss {
			out = append(out, infoOf(s.ID, s))
		}
		return err
	})
	for k := range out {
		if n.Live() {
			out[k].Size = f.io.StreamSize(n.ID, out[k].ID, out[k].Size)
		}
	}
	return out, wrap("streams", n, "", err)
}

// maxStreams bounds the named streams of a file.
const maxStreams = 16_384

// CreateStream implements fs.Metadata.
func (f *FS) CreateStream(ctx context.Context, c *fs.Caller, n fs.Node, name string, exclusive bool) (fs.StreamInfo, error) {
	var out fs.StreamInfo
	err := writable(c, n)
	if err == nil {
		err = fs.CheckName(name)
	}
	var id fs.StreamID
	if err == nil {
		id, err = f.db.NewStreamID(ctx)
	}
	if err == nil {
		err = f.change(ctx, n.ID, func(tx *meta.Txn, i *meta.Inode) error {
			if i.Type != fs.File && i.Type != fs.Directory {
				return fs.NotSupported
			}
			if err := f.need(ctx, tx.View(), c, i, fs.RightModify); err != nil {
				return err
			}
			ss, err := tx.Streams(ctx, i.ID)
			if err != nil {
				return err
			}
			for _, s := range ss {
				if fold.Name(fold.Policy, s.Name) != fold.Name(fold.Policy, name) {
					continue
				}
				if exclusive {
					return fs.Exist
				}
				out = infoOf(s.ID, s)
				return nil
			}
			if err := f.checkWORM(i); err != nil {
				return err
			}
			if len(ss) >= maxStreams {
				return fs.TooMany
			}
			s := &meta.NamedStream{Name: name, Stream: meta.Stream{ID: id}}
			if err := tx.PutStream(ctx, i.ID, id, s); err != nil {
				return err
			}
			i.NamedStreams++
			if i.Parent != 0 {
				if err := tx.AddDelta(ctx, i.Parent, meta.Delta{Streams: 1}); err != nil {
					return err
				}
			}
			touchAttr(i, f.now())
			out = infoOf(id, s)
			return tx.PutInode(ctx, i)
		})
	}
	if err == nil {
		f.hub.object(fs.EventStream, n.ID)
	}
	return out, wrap("create stream", n, name, err)
}

// SetStreamSize implements fs.Metadata.
func (f *FS) SetStreamSize(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID, size uint64) (fs.Changed, error) {
	if err := f.free(c, n, id, 0, 0, true); err != nil {
		return fs.Changed{}, wrap("resize stream", n, "", err)
	}
	return f.resize(ctx, c, n, id, size)
}

// resize sets the size of any stream, share modes not asked.
func (f *FS) resize(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID, size uint64) (fs.Changed, error) {
	var ch fs.Changed
	if id == 0 {
		s := &fs.SetAttr{Size: &size}
		err := f.setattr(ctx, c, n, s, false, &ch)
		if err == nil {
			f.hub.object(eventsOf(s), n.ID)
		}
		return ch, wrap("setattr", n, "", err)
	}
	err := writable(c, n)
	if err == nil && size > fs.MaxFileSize {
		err = fs.TooBig
	}
	masked := false
	run := func(tx *meta.Txn) error {
		i, err := f.inode(ctx, tx, n.ID)
		if err != nil {
			return err
		}
		if err := f.need(ctx, tx.View(), c, i, fs.RightModify); err != nil {
			return err
		}
		if err := f.checkWORM(i); err != nil {
			return err
		}
		b := before(i)
		if masked, err = f.io.SetSize(ctx, tx, i, id, size); err != nil {
			return noStream(err)
		}
		touchData(i, f.now())
		ch = changed(b, i)
		return tx.PutInode(ctx, i)
	}
	if err == nil {
		var end func()
		if end, err = f.breach(ctx, c, n, id, fs.BreachWrite, func() error { return f.would(ctx, run) }); err == nil {
			defer end()
		}
	}
	if err == nil {
		err = f.io.Exclusive(ctx, n.ID, func() error { return f.db.Update(ctx, run) })
	}
	if err == nil {
		f.hub.object(fs.EventStream, n.ID)
		if masked {
			f.kickMask(n.ID, id)
		}
	}
	return ch, wrap("resize stream", n, "", err)
}

// RenameStream implements fs.Metadata.
func (f *FS) RenameStream(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID, name string) error {
	err := writable(c, n)
	if err == nil {
		err = fs.CheckName(name)
	}
	if err == nil {
		err = f.change(ctx, n.ID, func(tx *meta.Txn, i *meta.Inode) error {
			if err := f.need(ctx, tx.View(), c, i, fs.RightModify); err != nil {
				return err
			}
			if err := f.checkWORM(i); err != nil {
				return err
			}
			ss, err := tx.Streams(ctx, i.ID)
			if err != nil {
				return err
			}
			var s *meta.NamedStream
			for _, o := range ss {
				switch {
				case o.ID == id:
					s = o
				case fold.Name(fold.Policy, o.Name) == fold.Name(fold.Policy, name):
					return fs.Exist
				}
			}
			if s == nil {
				return fs.NoAttr
			}
			s.Name = name
			if err := tx.PutStream(ctx, i.ID, id, s); err != nil {
				return err
			}
			touchAttr(i, f.now())
			return tx.PutInode(ctx, i)
		})
	}
	if err == nil {
		f.hub.object(fs.EventStream, n.ID)
	}
	return wrap("rename stream", n, name, err)
}

// RemoveStream implements fs.Metadata. A large stream is emptied first, so it
// may be seen empty.
func (f *FS) RemoveStream(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID) error {
	end, err := f.breach(ctx, c, n, id, fs.BreachWrite, f.mayAt(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		if err := writable(c, n); err != nil {
			return err
		}
		return f.mayRemoveStream(ctx, r, c, i)
	}))
	if err != nil {
		return wrap("remove stream", n, "", err)
	}
	defer end()
	err = f.removeStream(ctx, c, n, id)
	if errors.Is(err, meta.ErrTooBig) {
		if _, err = f.resize(ctx, c, n, id, 0); err == nil {
			if err = f.io.ApplyMasks(ctx, n.ID, id); err == nil {
				err = f.removeStream(ctx, c, n, id)
			}
		}
	}
	if err == nil {
		f.hub.object(fs.EventStream, n.ID)
	}
	return wrap("remove stream", n, "", err)
}

func (f *FS) mayRemoveStream(ctx context.Context, r *meta.Reader, c *fs.Caller, i *meta.Inode) error {
	if err := f.need(ctx, r, c, i, fs.RightModify); err != nil {
		return err
	}
	return f.checkWORM(i)
}

func (f *FS) removeStream(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID) error {
	if err := writable(c, n); err != nil {
		return err
	}
	return f.io.Exclusive(ctx, n.ID, func() error {
		return f.db.Update(ctx, func(tx *meta.Txn) error {
			i, err := f.inode(ctx, tx, n.ID)
			if err != nil {
				return err
			}
			if err := f.mayRemoveStream(ctx, tx.View(), c, i); err != nil {
				return err
			}
			s, err := tx.Stream(ctx, i.ID, id)
			if err != nil {
				return noStream(err)
			}
			if i.Parent != 0 {
				if err := tx.AddDelta(ctx, i.Parent, meta.Delta{Streams: -1, StreamBytes: -int64(s.AllocBytes)}); err != nil {
					return err
				}
			}
			if err := tx.FreeStream(ctx, i, id, s); err != nil {
				return err
			}
			touchAttr(i, f.now())
			return tx.PutInode(ctx, i)
		})
	})
}

func sameFold(a, b string) bool { return fold.Name(fold.Policy, a) == fold.Name(fold.Policy, b) }
