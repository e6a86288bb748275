package errfs

import (
	"context"
	"sync"
	"sync/atomic"

	"manifold/internal/fs"
)

// Bug is a way to be wrong that a suite must notice.
type Bug struct {
	Name string
	// Plant wraps a sound file system.
	Plant func(f fs.FS) fs.FS
}

// every answers true at each nth call.
type every struct {
	n     uint64
	calls atomic.Uint64
}

func (e *every) turn() bool { return e.calls.Add(1)%e.n == 0 }

// Bugs are all of them. Each is the kind of fault that real file systems have had.
func Bugs() []Bug {
	return []Bug{
		{"lost write", func(f fs.FS) fs.FS { return &lostWrite{FS: f, at: every{n: 6}} }},
		{"torn write", func(f fs.FS) fs.FS { return &tornWrite{FS: f, at: every{n: 6}} }},
		{"append at the offset", func(f fs.FS) fs.FS { return &misplacedAppend{f} }},
		{"truncation leaves bytes", func(f fs.FS) fs.FS { return &halfTruncate{f} }},
		{"zeroing stops early", func(f fs.FS) fs.FS { return &shortZero{f} }},
		{"rename leaves the old name", func(f fs.FS) fs.FS { return &doubleName{f} }},
		{"rename forgets what was in the way", func(f fs.FS) fs.FS { return &rudeRename{f} }},
		{"hard link is a copy", func(f fs.FS) fs.FS { return &copyLink{f} }},
		{"permission is not asked", func(f fs.FS) fs.FS { return &open{f} }},
		{"setid bits survive writes", func(f fs.FS) fs.FS { return &keepSetid{f} }},
		{"snapshots see later data", func(f fs.FS) fs.FS { return &liveSnapshot{f} }},
		{"deleting a snapshot takes another along", func(f fs.FS) fs.FS { return &greedyDelete{f} }},
		{"listing by name loses an entry", func(f fs.FS) fs.FS { return &shortListing{FS: f, at: every{n: 40}} }},
		{"totals drift", func(f fs.FS) fs.FS { return &drift{FS: f} }},
		{"wrong kind of error", func(f fs.FS) fs.FS { return &wrongKind{f} }},
		{"change is not counted", func(f fs.FS) fs.FS { return &deafDiff{f} }},
		{"metadata lands in another space", func(f fs.FS) fs.FS { return &wrongSpace{f} }},
		{"crash loses a stable file", func(f fs.FS) fs.FS { return &lossyCrash{FS: f} }},
	}
}

type lostWrite struct {
	fs.FS
	at every
}

func (f *lostWrite) Write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	if f.at.turn() && !w.Append {
		r, err := f.FS.Write(ctx, c, n, &fs.WriteRequest{Stream: w.Stream, Offset: w.Offset, Stability: w.Stability, OwnerOverride: w.OwnerOverride, Want: w.Want})
		r.Count = len(w.Data)
		r.File.After.Size = max(r.File.After.Size, w.Offset+uint64(len(w.Data)))
		return r, err
	}
	return f.FS.Write(ctx, c, n, w)
}

type tornWrite struct {
	fs.FS
	at every
}

func (f *tornWrite) Write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	if len(w.Data) > 1 && f.at.turn() {
		torn := *w
		torn.Data = append([]byte(nil), w.Data...)
		clear(torn.Data[len(torn.Data)/2:])
		return f.FS.Write(ctx, c, n, &torn)
	}
	return f.FS.Write(ctx, c, n, w)
}

type misplacedAppend struct{ fs.FS }

func (f *misplacedAppend) Write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	plain := *w
	plain.Append = false
	return f.FS.Write(ctx, c, n, &plain)
}

type halfTruncate struct{ fs.FS }

func (f *halfTruncate) SetAttr(ctx context.Context, c *fs.Caller, n fs.Node, s *fs.SetAttr) (fs.Changed, error) {
	if s.Size == nil {
		return f.FS.SetAttr(ctx, c, n, s)
	}
	// The bytes that were cut off are back when the file grows.
	size := *s.Size
	var tail [100]byte
	r, readErr := f.FS.Read(ctx, fs.SystemCaller(), n, &fs.ReadRequest{Offset: size}, tail[:])
	ch, err := f.FS.SetAttr(ctx, c, n, s)
	if err == nil && readErr == nil && r.N > 0 {
		if _, err := f.FS.Write(ctx, fs.SystemCaller(), n, &fs.WriteRequest{Offset: size, Data: tail[:r.N]}); err == nil {
			ch.After.Size = size
		}
	}
	return ch, err
}

type shortZero struct{ fs.FS }

func (f *shortZero) Zero(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID, off, length uint64) (fs.Changed, error) {
	return f.FS.Zero(ctx, c, n, id, off, length-min(length, 1))
}

type doubleName struct{ fs.FS }

func (f *doubleName) Rename(ctx context.Context, c *fs.Caller, from fs.Node, fromName fs.Name, to fs.Node, toName fs.Name, o fs.RenameOptions) (fs.RenameResult, error) {
	r, err := f.FS.Rename(ctx, c, from, fromName, to, toName, o)
	if err == nil {
		_, _ = f.FS.Link(ctx, fs.SystemCaller(), r.Node, from, fromName) // fails for directories
	}
	return r, err
}

type rudeRename struct{ fs.FS }

func (f *rudeRename) Rename(ctx context.Context, c *fs.Caller, from fs.Node, fromName fs.Name, to fs.Node, toName fs.Name, o fs.RenameOptions) (fs.RenameResult, error) {
	r, err := f.FS.Rename(ctx, c, from, fromName, to, toName, o)
	r.Replaced = fs.Node{}
	return r, err
}

type copyLink struct{ fs.FS }

func (f *copyLink) Link(ctx context.Context, c *fs.Caller, target, dir fs.Node, name fs.Name) (fs.LinkResult, error) {
	r, err := f.FS.Link(ctx, c, target, dir, name)
	if err != nil || r.Target.Type != fs.File {
		return r, err
	}
	sys := fs.SystemCaller()
	if _, err := f.FS.Remove(ctx, sys, dir, name, fs.RemoveAny); err != nil {
		return r, nil
	}
	mode := r.Target.Mode
	made, err := f.FS.Create(ctx, sys, dir, name, &fs.CreateSpec{
		Type: fs.File, Set: fs.SetAttr{Mode: &mode, Owner: &r.Target.Owner, Group: &r.Target.Group}, Want: fs.AttrEverything,
	})
	if err == nil && r.Target.Size > 0 {
		_, _ = f.FS.CopyRange(ctx, sys, target, 0, 0, made.Attr.Node, 0, 0, r.Target.Size)
	}
	return r, nil
}

type open struct{ fs.FS }

func (f *open) Read(ctx context.Context, _ *fs.Caller, n fs.Node, r *fs.ReadRequest, dst []byte) (fs.ReadResult, error) {
	return f.FS.Read(ctx, fs.SystemCaller(), n, r, dst)
}

type keepSetid struct{ fs.FS }

func (f *keepSetid) Write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	before, statErr := f.FS.GetAttr(ctx, c, n, fs.AttrMode)
	r, err := f.FS.Write(ctx, c, n, w)
	if err == nil && statErr == nil && before.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		_, _ = f.FS.SetAttr(ctx, fs.SystemCaller(), n, &fs.SetAttr{Mode: &before.Mode})
	}
	return r, err
}

type liveSnapshot struct{ fs.FS }

func (f *liveSnapshot) Read(ctx context.Context, c *fs.Caller, n fs.Node, r *fs.ReadRequest, dst []byte) (fs.ReadResult, error) {
	if _, err := f.FS.GetAttr(ctx, c, fs.Node{ID: n.ID}, 0); err == nil && !n.Live() {
		n.Snap = 0
	}
	return f.FS.Read(ctx, c, n, r, dst)
}

type greedyDelete struct{ fs.FS }

func (f *greedyDelete) DeleteSnapshot(ctx context.Context, id fs.SnapshotID) error {
	err := f.FS.DeleteSnapshot(ctx, id)
	if err == nil && id > 1 {
		_ = f.FS.DeleteSnapshot(ctx, id-1)
	}
	return err
}

type shortListing struct {
	fs.FS
	at every
}

func (f *shortListing) ReadDirByName(ctx context.Context, c *fs.Caller, dir fs.Node, after fs.Name, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	skip := f.at.turn()
	return f.FS.ReadDirByName(ctx, c, dir, after, want, func(d *fs.Dirent) bool {
		if skip {
			skip = false
			return true
		}
		return yield(d)
	})
}

type drift struct {
	fs.FS
	lost atomic.Uint64
}

func (f *drift) Remove(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, mode fs.RemoveMode) (fs.RemoveResult, error) {
	r, err := f.FS.Remove(ctx, c, dir, name, mode)
	if err == nil && !r.Gone {
		f.lost.Add(fs.BlockSize)
	}
	return r, err
}

func (f *drift) TotalsOf(ctx context.Context, n fs.Node) (fs.Totals, error) {
	t, err := f.FS.TotalsOf(ctx, n)
	if n == fs.Root {
		t.DataBytes += f.lost.Load()
	}
	return t, err
}

type wrongKind struct{ fs.FS }

func (f *wrongKind) Remove(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, mode fs.RemoveMode) (fs.RemoveResult, error) {
	r, err := f.FS.Remove(ctx, c, dir, name, mode)
	if err != nil && fs.KindOf(err) == fs.NotEmpty {
		err = fs.E("remove", dir, name, fs.Exist, nil)
	}
	return r, err
}

type deafDiff struct{ fs.FS }

func (f *deafDiff) DiffSnapshots(ctx context.Context, older, newer fs.SnapshotID, after string, yield func(*fs.DiffEntry) bool) error {
	return f.FS.DiffSnapshots(ctx, older, newer, after, func(e *fs.DiffEntry) bool {
		return e.Op == fs.DiffModify || yield(e)
	})
}

type wrongSpace struct{ fs.FS }

func (f *wrongSpace) SetMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string, value []byte, m fs.MetaMode) (fs.Changed, error) {
	if s == fs.MetaS3 {
		s = fs.MetaGeneric
	}
	return f.FS.SetMeta(ctx, c, n, s, key, value, m)
}

type lossyCrash struct {
	fs.FS
	mu   sync.Mutex
	last func() // loses what was written last
}

func (f *lossyCrash) Write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	r, err := f.FS.Write(ctx, c, n, w)
	if err == nil && w.Stream == 0 && r.Committed == fs.FileSync {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.last = func() {
			_, _ = f.FS.SetAttr(context.WithoutCancel(ctx), fs.SystemCaller(), n, &fs.SetAttr{Size: new(uint64)})
		}
	}
	return r, err
}

func (f *lossyCrash) Crash() {
	c, ok := f.FS.(interface{ Crash() })
	if !ok {
		return
	}
	c.Crash()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil {
		f.last()
	}
}
