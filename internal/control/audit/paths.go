package audit

import (
	"context"
	"sync"
	"sync/atomic"

	"manifold/internal/fs"
)

// paths remembers where objects are, until they move. It forgets what was not
// asked for lately.
type paths struct{ shards [pathShards]pathShard }

const (
	pathShards   = 16
	pathsInShard = 2048 // in each of two generations
)

type pathShard struct {
	mu         sync.RWMutex
	young, old map[fs.Node]string
	// moves counts what made paths untrue: one that was found before is not kept.
	moves atomic.Uint64
	// epoch of the log in which these paths are true.
	epoch uint64
}

func shardOf(n fs.Node) uint64 {
	return (uint64(n.ID)*0x9e3779b97f4a7c15 ^ uint64(n.Snap)) >> 60 % pathShards
}

// stamps are the moves of all shards.
type stamps [pathShards]uint64

func (p *paths) stamps() (s stamps) {
	for i := range s {
		s[i] = p.shards[i].moves.Load()
	}
	return s
}

func (p *paths) get(n fs.Node, epoch uint64) (string, bool) {
	s := &p.shards[shardOf(n)]
	stamp := s.moves.Load()
	s.mu.RLock()
	path, ok := s.young[n]
	older := false
	if !ok {
		path, ok = s.old[n]
		older = ok
	}
	ok = ok && s.epoch == epoch
	s.mu.RUnlock()
	if ok && older {
		p.put(n, path, stamp, epoch)
	}
	return path, ok
}

// put keeps a path that was true when the moves of its shard were stamp.
func (p *paths) put(n fs.Node, path string, stamp, epoch uint64) {
	s := &p.shards[shardOf(n)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != epoch {
		s.young, s.old, s.epoch = nil, nil, epoch
	}
	if s.moves.Load() != stamp {
		return
	}
	if s.young == nil || len(s.young) >= pathsInShard {
		s.old, s.young = s.young, make(map[fs.Node]string, 64)
	}
	s.young[n] = path
}

// forget takes back the path of what is no directory, or is empty.
func (p *paths) forget(n fs.Node) {
	s := &p.shards[shardOf(n)]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves.Add(1)
	delete(s.young, n)
	delete(s.old, n)
}

// forgetAll takes back all: a directory has moved.
func (p *paths) forgetAll() {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		s.moves.Add(1)
		s.young, s.old = nil, nil
		s.mu.Unlock()
	}
}

// path is that of a node, "" if it has none.
func (f *FS) path(ctx context.Context, n fs.Node) string {
	epoch := f.log.epoch.Load()
	if p, ok := f.paths.get(n, epoch); ok {
		return p
	}
	stamp := f.paths.shards[shardOf(n)].moves.Load()
	// The call is over: its end must not cost the record its path.
	ctx = context.WithoutCancel(ctx)
	p, err := f.FS.PathOf(ctx, n)
	if err != nil {
		return ""
	}
	if n.Snap != 0 && n.Snap != fs.SnapshotDir {
		if s, err := f.FS.Snapshot(ctx, n.Snap); err == nil {
			p = "/.snapshot/" + s.Name + p
		}
	}
	f.paths.put(n, p, stamp, epoch)
	return p
}

// made notes the path of a new object, if nothing has moved since before was
// taken, which was before it was made.
func (f *FS) made(n fs.Node, dir, name string, before *stamps) {
	if dir == "" {
		return
	}
	b := make([]byte, 0, len(dir)+1+len(name))
	b = append(b, dir...)
	if dir != "/" {
		b = append(b, '/')
	}
	f.paths.put(n, string(append(b, name...)), before[shardOf(n)], f.log.epoch.Load())
}
