package audit

import (
	"context"
	"sync"
	"sync/atomic"

	"manifold/internal/fs"
)

// paths remembers where objects are, until they move: of each set of them, the
// ones that were asked for last.
type paths struct{ shards [pathShards]pathShard }

const (
	pathShards = 16
	pathSets   = 1024 // in each shard
	pathWays   = 4
)

// pathEntry is one of a set, which has the one that was used last in front.
type pathEntry struct {
	node fs.Node
	made uint64 // what made was when it was put in; 0 if there is nothing
	path string
}

type pathShard struct {
	mu   sync.Mutex
	sets *[pathSets][pathWays]pathEntry
	// made grows when all of them are forgotten.
	made uint64
	// epoch of the log in which these paths are true.
	epoch uint64
	// moves counts what made paths untrue: one that was found before is not kept.
	moves atomic.Uint64
}

// place answers where a node belongs.
func place(n fs.Node) (shard, set uint64) {
	h := (uint64(n.ID) ^ uint64(n.Snap)<<32) * 0x9e3779b97f4a7c15
	return h >> 60 % pathShards, h >> 32 % pathSets
}

func shardOf(n fs.Node) uint64 {
	shard, _ := place(n)
	return shard
}

// stamps are the moves of all shards.
type stamps [pathShards]uint64

func (p *paths) stamps() (s stamps) {
	for i := range s {
		s[i] = p.shards[i].moves.Load()
	}
	return s
}

func (p *paths) get(n fs.Node, epoch uint64) (path string, ok bool) {
	shard, set := place(n)
	s := &p.shards[shard]
	s.mu.Lock()
	if s.epoch == epoch && s.sets != nil {
		if way := s.find(set, n); way < pathWays {
			e := &s.sets[set]
			path, ok = e[way].path, true
			e[0], e[way] = e[way], e[0]
		}
	}
	s.mu.Unlock()
	return path, ok
}

// find answers which of a set a node is, pathWays if it is none. mu is held.
func (s *pathShard) find(set uint64, n fs.Node) int {
	e := &s.sets[set]
	for i := range e {
		if e[i].node == n && e[i].made == s.made {
			return i
		}
	}
	return pathWays
}

// put keeps a path that was true when the moves of its shard were stamp.
func (p *paths) put(n fs.Node, path string, stamp, epoch uint64) {
	shard, set := place(n)
	s := &p.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sets == nil {
		s.sets = new([pathSets][pathWays]pathEntry)
		s.made = 1
	}
	if s.epoch != epoch {
		s.epoch = epoch
		s.made++
	}
	if s.moves.Load() != stamp {
		return
	}
	e := &s.sets[set]
	way := min(s.find(set, n), pathWays-1)
	copy(e[1:way+1], e[:way])
	e[0] = pathEntry{n, s.made, path}
}

// forget takes back the path of what is no directory, or is empty.
func (p *paths) forget(n fs.Node) {
	shard, set := place(n)
	s := &p.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves.Add(1)
	if s.sets != nil {
		if way := s.find(set, n); way < pathWays {
			s.sets[set][way] = pathEntry{}
		}
	}
}

// forgetAll takes back all: a directory has moved.
func (p *paths) forgetAll() {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		s.moves.Add(1)
		s.made++
		s.mu.Unlock()
	}
}

// where is the path of a node, as that of a directory and the name in it if a
// call has answered what they are: then only those of directories are to be
// looked up, of which there are few.
func (f *FS) where(ctx context.Context, n fs.Node, a *fs.Attr) (path, name string) {
	if a == nil || a.Mask&fs.AttrParent == 0 || a.ParentName == "" || !n.Live() {
		return f.path(ctx, n), ""
	}
	path = f.path(ctx, fs.Node{ID: a.Parent})
	if path == "" { // it has no path, so neither has what is in it
		return "", ""
	}
	return path, a.ParentName
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

// made notes the path of a new directory, if nothing has moved since before was
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
