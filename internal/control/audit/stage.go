package audit

import (
	"context"
	"sync"
	"sync/atomic"

	"manifold/internal/fs"
)

// stagedSet are files that this process knows to have no name yet: what is done
// to them is recorded when they get one.
type stagedSet struct {
	count atomic.Int32
	mu    sync.RWMutex
	ids   map[fs.FileID]struct{}
}

// maxStaged bounds them; what is done to further ones is recorded without a path.
const maxStaged = 1 << 16

func (s *stagedSet) has(n fs.Node) bool {
	if s.count.Load() == 0 {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.ids[n.ID]
	return ok
}

func (s *stagedSet) add(n fs.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[fs.FileID]struct{}{}
	}
	if len(s.ids) < maxStaged {
		s.ids[n.ID] = struct{}{}
		s.count.Store(int32(len(s.ids)))
	}
}

func (s *stagedSet) remove(n fs.Node) {
	if s.count.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, n.ID)
	s.count.Store(int32(len(s.ids)))
}

// Stage implements fs.Staging. A file that has no name is nothing to record. One
// that was staged while nothing is recorded is not remembered: what is done to
// it, if recording begins meanwhile, is recorded without a path.
func (f *FS) Stage(ctx context.Context, c *fs.Caller, s *fs.StageSpec) (fs.Node, error) {
	n, err := f.FS.Stage(ctx, c, s)
	if err == nil && f.log.Enabled() {
		f.staged.add(n)
	}
	return n, err
}

// Publish implements fs.Staging: this is when the file is made and written.
func (f *FS) Publish(ctx context.Context, c *fs.Caller, staged, dir fs.Node, name fs.Name, p *fs.PublishSpec) (fs.PublishResult, error) {
	if !f.log.Enabled() {
		res, err := f.FS.Publish(ctx, c, staged, dir, name, p)
		f.published(staged, &res, err)
		return res, err
	}
	sized := *p
	sized.Want |= fs.AttrSize
	moves := f.movesOf(ctx, p.Moves)
	res, err := f.FS.Publish(ctx, c, staged, dir, name, &sized)
	f.rearranged(ctx, c, moves, err)
	f.published(staged, &res, err)
	path := f.path(ctx, dir)
	if res.Replaced != (fs.Node{}) {
		f.add(c, &Record{Operation: "fs_delete", FileID: uint64(res.Replaced.ID), Path: path, Name: name}, nil)
	}
	f.add(c, &Record{Operation: "fs_create_file", FileID: uint64(staged.ID), Path: path, Name: name}, err)
	if err == nil {
		f.wrote(ctx, c, staged, 0, res.Attr.Size, &res.Attr, nil)
	}
	for _, l := range p.Links {
		f.add(c, &Record{Operation: "fs_create_hard_link", FileID: uint64(staged.ID), Path: f.path(ctx, l.Dir), Name: l.Name, Target: path, TargetName: name}, err)
	}
	return res, err
}

// moving is a move before it was made.
type moving struct {
	node   fs.Node
	record Record
}

// movesOf describes moves before they are made: what has which name, and where.
func (f *FS) movesOf(ctx context.Context, moves []fs.Move) []moving {
	out := make([]moving, len(moves))
	for i, m := range moves {
		r := Record{Operation: "fs_delete", Path: f.path(ctx, m.From.Dir), Name: m.From.Name}
		if m.To.Name != "" {
			r.Operation, r.Target, r.TargetName = "fs_rename", f.path(ctx, m.To.Dir), m.To.Name
		}
		if m.Keep { // a link's path is that of the new name
			r.Operation = "fs_create_hard_link"
			r.Path, r.Name, r.Target, r.TargetName = r.Target, r.TargetName, r.Path, r.Name
		}
		if a, err := f.FS.Lookup(context.WithoutCancel(ctx), fs.SystemCaller(), m.From.Dir, m.From.Name, fs.AttrType); err == nil {
			out[i].node, r.FileID = a.Node, uint64(a.Node.ID)
		}
		out[i].record = r
	}
	return out
}

// rearranged records moves that were made, or were not.
func (f *FS) rearranged(ctx context.Context, c *fs.Caller, moves []moving, err error) {
	for i := range moves {
		m := &moves[i]
		if err == nil && m.node != (fs.Node{}) && m.record.Operation != "fs_create_hard_link" {
			f.paths.forget(m.node)
		}
		f.add(c, &m.record, err)
	}
}

// Rearrange implements fs.Staging.
func (f *FS) Rearrange(ctx context.Context, c *fs.Caller, moves []fs.Move, within fs.Node) error {
	if !f.log.Enabled() {
		return f.FS.Rearrange(ctx, c, moves, within)
	}
	before := f.movesOf(ctx, moves)
	err := f.FS.Rearrange(ctx, c, moves, within)
	f.rearranged(ctx, c, before, err)
	return err
}

// published forgets what is no longer so.
func (f *FS) published(staged fs.Node, res *fs.PublishResult, err error) {
	if err != nil {
		return
	}
	f.staged.remove(staged)
	if res.Replaced != (fs.Node{}) && f.log.Enabled() {
		f.paths.forget(res.Replaced)
	}
}

// Splice implements fs.Staging.
func (f *FS) Splice(ctx context.Context, c *fs.Caller, dst fs.Node, parts []fs.Node) (uint64, error) {
	size, err := f.FS.Splice(ctx, c, dst, parts)
	for _, p := range parts {
		f.looked(ctx, c, readData, p, nil, err)
	}
	return size, err
}

// Unstage implements fs.Staging.
func (f *FS) Unstage(ctx context.Context, c *fs.Caller, staged fs.Node) error {
	err := f.FS.Unstage(ctx, c, staged)
	if err == nil || fs.KindOf(err) == fs.Stale {
		f.staged.remove(staged)
	}
	return err
}
