package meta_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// compare checks the live tree and every snapshot against the model.
func (w *world) compare() error {
	if w.early != nil {
		return w.early
	}
	if err := w.compareTree(0, fs.RootID, w.live); err != nil {
		return fmt.Errorf("live: %w", err)
	}
	for s, t := range w.snaps {
		if err := w.compareTree(s, w.roots[s], t); err != nil {
			return fmt.Errorf("snapshot %d of %d: %w", s, w.roots[s], err)
		}
	}
	have, err := w.holds()
	if err != nil {
		return err
	}
	all := []tree{w.live}
	for _, t := range w.snaps {
		all = append(all, t)
	}
	for _, t := range all {
		for id, o := range t {
			for _, fr := range o.chunks {
				for _, f := range fr {
					if have[meta.Hold{Extent: f.Extent, Stream: fs.StreamID(id)}] == 0 {
						return fmt.Errorf("extent %d of %d is mapped but not held", f.Extent, id)
					}
				}
			}
		}
	}
	return nil
}

func (w *world) compareTree(s fs.SnapshotID, root fs.FileID, t tree) error {
	if s == 0 {
		if err := w.db.Roll(w.ctx); err != nil {
			return err
		}
	}
	return w.db.ViewAt(w.ctx, s, func(r *meta.Reader) error {
		_, err := w.compareObject(r, root, t, map[fs.FileID]bool{})
		return err
	})
}

// compareObject compares an object and all below; it returns the totals of the
// tree by the model, with hard links once. An object under several names counts
// where its primary link is, so totals of inner directories are compared only
// when nothing below has several names.
func (w *world) compareObject(r *meta.Reader, id fs.FileID, t tree, seen map[fs.FileID]bool) (meta.Delta, error) {
	var sum meta.Delta
	ctx := w.ctx
	o := t[id]
	if o == nil {
		return sum, fmt.Errorf("%d is not in the model", id)
	}
	i, err := r.Inode(ctx, id)
	if err != nil {
		return sum, fmt.Errorf("inode %d: %w", id, err)
	}
	if i.Type != o.typ || i.Mode != o.mode || i.Data.Size != o.size {
		return sum, fmt.Errorf("inode %d: type %d mode %o size %d, want %d %o %d", id, i.Type, i.Mode, i.Data.Size, o.typ, o.mode, o.size)
	}
	if !isDir(o) {
		return sum, w.compareFile(r, i, o)
	}
	byName := map[string]fs.FileID{}
	last := ""
	for e, err := range r.DentriesByName(ctx, id, "", 0) {
		if err != nil {
			return sum, err
		}
		if e.Name <= last {
			return sum, fmt.Errorf("directory %d: names out of order", id)
		}
		last = e.Name
		byName[e.Name] = e.ID
	}
	byCookie := map[string]fs.FileID{}
	cookie := uint64(0)
	for e, err := range r.Dentries(ctx, id, 0, 0) {
		if err != nil {
			return sum, err
		}
		if e.Cookie <= cookie {
			return sum, fmt.Errorf("directory %d: cookies out of order", id)
		}
		cookie = e.Cookie
		byCookie[e.Name] = e.ID
	}
	if !maps.Equal(byName, o.names) || !maps.Equal(byCookie, o.names) {
		return sum, fmt.Errorf("directory %d: %v by name, %v by cookie, want %v", id, byName, byCookie, o.names)
	}
	multi := false
	for name, c := range o.names {
		e, err := r.Dentry(ctx, id, name)
		if err != nil || e.ID != c {
			return sum, fmt.Errorf("directory %d: lookup of %q: %d %w", id, name, e.ID, err)
		}
		child := t[c]
		below, err := w.compareObject(r, c, t, seen)
		if err != nil {
			return sum, err
		}
		multi = multi || child.links > 1 && !isDir(child) || below.WORM != 0
		below.WORM = 0
		sum.Add(below)
		if !seen[c] {
			seen[c] = true
			sum.Add(deltaOf(child))
		}
	}
	have, err := r.Totals(ctx, id)
	if err != nil {
		return sum, fmt.Errorf("totals of %d: %w", id, err)
	}
	if !multi && have != sum {
		return sum, fmt.Errorf("totals of %d: %+v, want %+v", id, have, sum)
	}
	if multi {
		sum.WORM = 1 // tells the caller that links cross directories
	}
	return sum, nil
}

func deltaOf(o *object) meta.Delta {
	d := meta.Delta{MetaBytes: meta.MetaBytesPerObject}
	if isDir(o) {
		d.Directories = 1
		return d
	}
	d.Files, d.LogicalBytes = 1, int64(o.size)
	for _, fr := range o.chunks {
		d.DataBytes += bytesOf(fr)
	}
	return d
}

func (w *world) compareFile(r *meta.Reader, i *meta.Inode, o *object) error {
	ctx := w.ctx
	have := map[uint64][]meta.Frag{}
	for c, err := range r.Chunks(ctx, i.Data.ID, 0, 0) {
		if err != nil {
			return err
		}
		have[c.Index] = c.Chunk.Frags
	}
	for idx := range o.chunks {
		if !slices.Equal(have[idx], o.chunks[idx]) {
			return fmt.Errorf("chunk %d of %d: %v, want %v", idx, o.id, have[idx], o.chunks[idx])
		}
	}
	if len(have) != len(o.chunks) {
		return fmt.Errorf("file %d has %d chunks, want %d", o.id, len(have), len(o.chunks))
	}
	xs := map[string]string{}
	for k, v := range r.XattrValues(ctx, o.id, fs.MetaXattr, "") {
		if v.Err != nil {
			return v.Err
		}
		xs[k] = string(bytes.Clone(v.Value))
	}
	if !maps.Equal(xs, o.xattrs) {
		return fmt.Errorf("metadata of %d: %v, want %v", o.id, xs, o.xattrs)
	}
	return nil
}

// drain finishes all background work.
func (w *world) drain() error {
	for _, step := range []func(context.Context) (bool, error){w.db.StepSnapshotDelete, w.db.TrimLog, w.db.StepRelease} {
		n := 0
		for {
			more, err := step(w.ctx)
			if err != nil {
				return err
			}
			if !more {
				break
			}
			if n++; w.bound > 0 && n > w.bound {
				return errors.New("background work does not end")
			}
		}
	}
	return w.db.Roll(w.ctx)
}

// finish removes everything and demands that every extent was released.
func (w *world) finish() error {
	if err := w.drain(); err != nil {
		return err
	}
	if err := w.compare(); err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	for id := range w.snaps {
		delete(w.snaps, id)
		if err := w.db.DeleteSnapshot(w.ctx, id, func(*fs.Snapshot) error { return nil }); err != nil {
			return err
		}
	}
	if err := w.drain(); err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	have, err := w.holds()
	if err != nil {
		return err
	}
	// Without snapshots a chunk holds each extent that it maps once.
	want := map[meta.Hold]int{}
	for id, o := range w.live {
		for _, fr := range o.chunks {
			in := map[uint64]bool{}
			for _, f := range fr {
				in[f.Extent] = true
			}
			for x := range in {
				want[meta.Hold{Extent: x, Stream: fs.StreamID(id)}]++
			}
		}
	}
	if !maps.Equal(have, want) {
		return fmt.Errorf("holds %v, should be %v", have, want)
	}
	return nil
}

func (w *world) check() error {
	var first error
	rep, err := w.db.Check(w.ctx, meta.CheckOptions{Found: func(f meta.Finding) {
		if first == nil {
			first = fmt.Errorf("check of inode %d: %s", f.Inode, f.What)
		}
	}})
	if have, herr := w.holds(); err == nil && (herr != nil || !maps.Equal(have, rep.Holds)) {
		first = fmt.Errorf("check counts holds %v, there are %v: %w", rep.Holds, have, herr)
	}
	if err == nil && rep.Snapshots == 0 && rep.History != 0 {
		first = fmt.Errorf("%d old versions without any snapshot", rep.History)
	}
	return errors.Join(err, first)
}
