package errfs

import (
	"context"

	"manifold/internal/fs"
)

// TakeSnapshot implements fs.Snapshots.
func (f *FS) TakeSnapshot(ctx context.Context, s fs.SnapshotSpec) (fs.Snapshot, error) {
	return run(ctx, f, "TakeSnapshot", fs.Node{ID: s.Root}, s.Suffix, func() (fs.Snapshot, error) { return f.FS.TakeSnapshot(ctx, s) })
}

// Snapshot implements fs.Snapshots.
func (f *FS) Snapshot(ctx context.Context, id fs.SnapshotID) (fs.Snapshot, error) {
	return run(ctx, f, "Snapshot", fs.Node{Snap: id}, "", func() (fs.Snapshot, error) { return f.FS.Snapshot(ctx, id) })
}

// ListSnapshots implements fs.Snapshots.
func (f *FS) ListSnapshots(ctx context.Context, after fs.SnapshotID, yield func(*fs.Snapshot) bool) error {
	return act(ctx, f, "ListSnapshots", fs.Node{}, "", func() error { return f.FS.ListSnapshots(ctx, after, yield) })
}

// ModifySnapshot implements fs.Snapshots.
func (f *FS) ModifySnapshot(ctx context.Context, s fs.Snapshot) (fs.Snapshot, error) {
	return run(ctx, f, "ModifySnapshot", fs.Node{Snap: s.ID}, "", func() (fs.Snapshot, error) { return f.FS.ModifySnapshot(ctx, s) })
}

// DeleteSnapshot implements fs.Snapshots.
func (f *FS) DeleteSnapshot(ctx context.Context, id fs.SnapshotID) error {
	return act(ctx, f, "DeleteSnapshot", fs.Node{Snap: id}, "", func() error { return f.FS.DeleteSnapshot(ctx, id) })
}

// SnapshotsKeep implements fs.Snapshots.
func (f *FS) SnapshotsKeep(ctx context.Context, ids []fs.SnapshotID) (uint64, error) {
	return run(ctx, f, "SnapshotsKeep", fs.Node{}, "", func() (uint64, error) { return f.FS.SnapshotsKeep(ctx, ids) })
}

// DiffSnapshots implements fs.Snapshots.
func (f *FS) DiffSnapshots(ctx context.Context, older, newer fs.SnapshotID, after string, yield func(*fs.DiffEntry) bool) error {
	return act(ctx, f, "DiffSnapshots", fs.Node{Snap: newer}, after, func() error { return f.FS.DiffSnapshots(ctx, older, newer, after, yield) })
}

// DiffFile implements fs.Snapshots.
func (f *FS) DiffFile(ctx context.Context, older, newer fs.SnapshotID, id fs.FileID, off uint64, yield func(fs.Region) bool) error {
	return act(ctx, f, "DiffFile", fs.Node{ID: id, Snap: newer}, "", func() error { return f.FS.DiffFile(ctx, older, newer, id, off, yield) })
}

// TotalsOf implements fs.Accounting.
func (f *FS) TotalsOf(ctx context.Context, n fs.Node) (fs.Totals, error) {
	return run(ctx, f, "TotalsOf", n, "", func() (fs.Totals, error) { return f.FS.TotalsOf(ctx, n) })
}

// ChildTotalsOf implements fs.Accounting.
func (f *FS) ChildTotalsOf(ctx context.Context, n fs.Node, yield func(*fs.ChildTotals) bool) error {
	return act(ctx, f, "ChildTotalsOf", n, "", func() error { return f.FS.ChildTotalsOf(ctx, n, yield) })
}

// StatFS implements fs.Accounting.
func (f *FS) StatFS(ctx context.Context, c *fs.Caller, n fs.Node) (fs.StatFS, error) {
	return run(ctx, f, "StatFS", n, "", func() (fs.StatFS, error) { return f.FS.StatFS(ctx, c, n) })
}

// Quota implements fs.Accounting.
func (f *FS) Quota(ctx context.Context, dir fs.FileID) (fs.Quota, error) {
	return run(ctx, f, "Quota", fs.Node{ID: dir}, "", func() (fs.Quota, error) { return f.FS.Quota(ctx, dir) })
}

// SetQuota implements fs.Accounting.
func (f *FS) SetQuota(ctx context.Context, dir fs.FileID, limit uint64, create bool, revision uint64) (fs.Quota, error) {
	return run(ctx, f, "SetQuota", fs.Node{ID: dir}, "", func() (fs.Quota, error) { return f.FS.SetQuota(ctx, dir, limit, create, revision) })
}

// RemoveQuota implements fs.Accounting.
func (f *FS) RemoveQuota(ctx context.Context, dir fs.FileID, revision uint64) error {
	return act(ctx, f, "RemoveQuota", fs.Node{ID: dir}, "", func() error { return f.FS.RemoveQuota(ctx, dir, revision) })
}

// ListQuotas implements fs.Accounting.
func (f *FS) ListQuotas(ctx context.Context, after fs.FileID, yield func(*fs.Quota) bool) error {
	return act(ctx, f, "ListQuotas", fs.Node{}, "", func() error { return f.FS.ListQuotas(ctx, after, yield) })
}

// StartTreeDelete implements fs.TreeDeletes.
func (f *FS) StartTreeDelete(ctx context.Context, c *fs.Caller, dir fs.FileID) (fs.TreeDelete, error) {
	return run(ctx, f, "StartTreeDelete", fs.Node{ID: dir}, "", func() (fs.TreeDelete, error) { return f.FS.StartTreeDelete(ctx, c, dir) })
}

// TreeDelete implements fs.TreeDeletes.
func (f *FS) TreeDelete(ctx context.Context, id fs.FileID) (fs.TreeDelete, error) {
	return run(ctx, f, "TreeDelete", fs.Node{ID: id}, "", func() (fs.TreeDelete, error) { return f.FS.TreeDelete(ctx, id) })
}

// ListTreeDeletes implements fs.TreeDeletes.
func (f *FS) ListTreeDeletes(ctx context.Context, yield func(*fs.TreeDelete) bool) error {
	return act(ctx, f, "ListTreeDeletes", fs.Node{}, "", func() error { return f.FS.ListTreeDeletes(ctx, yield) })
}

// CancelTreeDelete implements fs.TreeDeletes.
func (f *FS) CancelTreeDelete(ctx context.Context, id fs.FileID) error {
	return act(ctx, f, "CancelTreeDelete", fs.Node{ID: id}, "", func() error { return f.FS.CancelTreeDelete(ctx, id) })
}

// Watch implements fs.Watcher.
func (f *FS) Watch(ctx context.Context, dir fs.FileID, recursive bool, types fs.EventType) (<-chan fs.Event, error) {
	return run(ctx, f, "Watch", fs.Node{ID: dir}, "", func() (<-chan fs.Event, error) { return f.FS.Watch(ctx, dir, recursive, types) })
}

// Open implements fs.Opener. Its handle is decorated too.
func (f *FS) Open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec) (h fs.Handle, r fs.OpenResult, err error) {
	err = act(ctx, f, "Open", o.Dir, o.Name, func() (err error) {
		h, r, err = f.FS.Open(ctx, c, o)
		return err
	})
	if h == nil {
		return nil, r, err
	}
	if err != nil {
		// Opened, but the caller is not told: nobody else could close it.
		_ = h.Close(context.WithoutCancel(ctx))
		return nil, fs.OpenResult{}, err
	}
	return &handle{h, f}, r, nil
}

// Opens implements fs.Opener.
func (f *FS) Opens(ctx context.Context, n fs.Node, yield func(fs.OpenInfo) bool) error {
	return act(ctx, f, "Opens", n, "", func() error { return f.FS.Opens(ctx, n, yield) })
}

type handle struct {
	fs.Handle
	f *FS
}

func (h *handle) Read(ctx context.Context, off uint64, dst []byte) (fs.ReadResult, error) {
	return run(ctx, h.f, "Handle.Read", h.Node(), "", func() (fs.ReadResult, error) { return h.Handle.Read(ctx, off, dst) })
}

func (h *handle) Write(ctx context.Context, w *fs.WriteRequest) (fs.WriteResult, error) {
	return run(ctx, h.f, "Handle.Write", h.Node(), "", func() (fs.WriteResult, error) { return h.Handle.Write(ctx, w) })
}

func (h *handle) Flush(ctx context.Context) error {
	return act(ctx, h.f, "Handle.Flush", h.Node(), "", func() error { return h.Handle.Flush(ctx) })
}

func (h *handle) GetAttr(ctx context.Context, want fs.AttrMask) (fs.Attr, error) {
	return run(ctx, h.f, "Handle.GetAttr", h.Node(), "", func() (fs.Attr, error) { return h.Handle.GetAttr(ctx, want) })
}

func (h *handle) SetAttr(ctx context.Context, s *fs.SetAttr) (fs.Changed, error) {
	return run(ctx, h.f, "Handle.SetAttr", h.Node(), "", func() (fs.Changed, error) { return h.Handle.SetAttr(ctx, s) })
}

func (h *handle) SetDeleteOnClose(ctx context.Context, on bool) error {
	return act(ctx, h.f, "Handle.SetDeleteOnClose", h.Node(), "", func() error { return h.Handle.SetDeleteOnClose(ctx, on) })
}

// Close closes whatever Before says: a handle that stays open for ever is no
// fault that an implementation has.
func (h *handle) Close(ctx context.Context) error {
	c := Call{"Handle.Close", h.Node(), ""}
	before := h.f.begin(ctx, c)
	err := h.f.end(ctx, c, h.Handle.Close(ctx))
	if before != nil {
		return before
	}
	return err
}

// Stage implements fs.Staging.
func (f *FS) Stage(ctx context.Context, c *fs.Caller, s *fs.StageSpec) (fs.Node, error) {
	return run(ctx, f, "Stage", s.Dir, "", func() (fs.Node, error) { return f.FS.Stage(ctx, c, s) })
}

// Publish implements fs.Staging.
func (f *FS) Publish(ctx context.Context, c *fs.Caller, staged, dir fs.Node, name fs.Name, p *fs.PublishSpec) (fs.PublishResult, error) {
	return run(ctx, f, "Publish", dir, name, func() (fs.PublishResult, error) { return f.FS.Publish(ctx, c, staged, dir, name, p) })
}

// Rearrange implements fs.Staging.
func (f *FS) Rearrange(ctx context.Context, c *fs.Caller, moves []fs.Move, within fs.Node) error {
	return act(ctx, f, "Rearrange", within, "", func() error { return f.FS.Rearrange(ctx, c, moves, within) })
}

// Splice implements fs.Staging.
func (f *FS) Splice(ctx context.Context, c *fs.Caller, dst fs.Node, parts []fs.Node) (uint64, error) {
	return run(ctx, f, "Splice", dst, "", func() (uint64, error) { return f.FS.Splice(ctx, c, dst, parts) })
}

// Unstage implements fs.Staging.
func (f *FS) Unstage(ctx context.Context, c *fs.Caller, staged fs.Node) error {
	return act(ctx, f, "Unstage", staged, "", func() error { return f.FS.Unstage(ctx, c, staged) })
}

// ListStaged implements fs.Staging.
func (f *FS) ListStaged(ctx context.Context, prefix string, after *fs.Staged, yield func(*fs.Staged) bool) error {
	return act(ctx, f, "ListStaged", fs.Node{}, prefix, func() error { return f.FS.ListStaged(ctx, prefix, after, yield) })
}
