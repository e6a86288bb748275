package lock

import (
	"cmp"
	"context"
	"slices"

	"manifold/internal/fs"
)

// ReleaseClient implements [fs.Locks].
func (t *Table) ReleaseClient(ctx context.Context, client string) (int, error) {
	return t.release(ctx, fs.Node{}, func(h *held) bool { return h.owner.Client == client })
}

// ReleaseOwner implements [fs.Locks].
func (t *Table) ReleaseOwner(ctx context.Context, o fs.LockOwner, n fs.Node) (int, error) {
	return t.release(ctx, n, func(h *held) bool {
		return h.owner.Client == o.Client && (o.Owner == "" || h.owner.Owner == o.Owner)
	})
}

// ReleaseHandle frees all locks and waiters that are tied to an open of n.
func (t *Table) ReleaseHandle(n fs.Node, handle uint64) int {
	if handle == 0 {
		return 0
	}
	s := t.shard(n)
	return t.releaseIn(s, n, func(h *held) bool { return h.handle == handle })
}

// release frees what matches, on one node or with the zero Node everywhere.
func (t *Table) release(ctx context.Context, n fs.Node, match func(*held) bool) (int, error) {
	if n != (fs.Node{}) {
		return t.releaseIn(t.shard(n), n, match), nil
	}
	freed := 0
	for i := range t.shards {
		if err := ctx.Err(); err != nil {
			return freed, fs.E("release locks", n, "", fs.Canceled, err)
		}
		freed += t.releaseIn(&t.shards[i], n, match)
	}
	return freed, nil
}

func (t *Table) releaseIn(s *shard, n fs.Node, match func(*held) bool) int {
	t.world.RLock()
	defer t.world.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	freed := 0
	if n != (fs.Node{}) {
		if f := s.files[n]; f != nil {
			freed = t.releaseFile(s, f, match)
		}
		return freed
	}
	for _, f := range s.files {
		freed += t.releaseFile(s, f, match)
	}
	return freed
}

func (t *Table) releaseFile(s *shard, f *file, match func(*held) bool) int {
	freed := 0
	// Waiters first, lest one be granted a lock of a client that is going.
	for i := 0; i < len(f.queue); {
		w := f.queue[i]
		if !match(&w.want) {
			i++
			continue
		}
		t.leave(w)
		close(w.canceled)
		freed++
	}
	for i := 0; i < len(f.held); {
		if !match(&f.held[i]) {
			i++
			continue
		}
		t.drop(f, i)
		freed++
	}
	if freed > 0 {
		t.wake(f)
		s.tidy(f)
	}
	return freed
}

// LockList implements [fs.Locks]: in order of nodes; of one node granted locks
// by stream and offset, then waiters as they came. Each node is as of one
// moment. yield runs without locks held.
func (t *Table) LockList(ctx context.Context, n fs.Node, yield func(*fs.LockInfo) bool) error {
	nodes := []fs.Node{n}
	if n == (fs.Node{}) {
		nodes = t.nodes()
	}
	for _, n := range nodes {
		if err := ctx.Err(); err != nil {
			return fs.E("list locks", n, "", fs.Canceled, err)
		}
		for _, l := range t.listOf(n) {
			if !yield(&l) {
				return nil
			}
		}
	}
	return nil
}

func (t *Table) nodes() []fs.Node {
	var nodes []fs.Node
	for i := range t.shards {
		s := &t.shards[i]
		t.world.RLock()
		s.mu.Lock()
		for n := range s.files {
			nodes = append(nodes, n)
		}
		s.mu.Unlock()
		t.world.RUnlock()
	}
	slices.SortFunc(nodes, func(a, b fs.Node) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Snap, b.Snap))
	})
	return nodes
}

func (t *Table) listOf(n fs.Node) []fs.LockInfo {
	t.world.RLock()
	defer t.world.RUnlock()
	s := t.shard(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[n]
	if f == nil {
		return nil
	}
	ls := make([]fs.LockInfo, 0, len(f.held)+len(f.queue))
	for i := range f.held {
		ls = append(ls, f.held[i].listed(n, false))
	}
	slices.SortStableFunc(ls, func(a, b fs.LockInfo) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Range.Offset, b.Range.Offset),
			cmp.Compare(a.Owner.Client, b.Owner.Client), cmp.Compare(a.Owner.Owner, b.Owner.Owner))
	})
	for _, w := range f.queue {
		ls = append(ls, w.want.listed(n, true))
	}
	return ls
}

func (h *held) listed(n fs.Node, waiting bool) fs.LockInfo {
	return fs.LockInfo{Waiting: waiting, LockRequest: fs.LockRequest{
		Node: n, Stream: h.stream, Space: h.space, Owner: h.owner, Range: h.rangeOf(),
		Exclusive: h.exclusive, Reclaim: h.reclaim, Handle: h.handle, Cookie: h.cookie,
	}}
}
