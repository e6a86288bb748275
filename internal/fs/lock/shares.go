package lock

import (
	"fmt"
	"sync"
	"sync/atomic"

	"manifold/internal/fs"
)

// Open is what an open does and lets others do.
type Open struct {
	Handle uint64 // not 0, unique
	Node   fs.Node
	Stream fs.StreamID
	Access fs.Rights
	Share  fs.Share
	Space  fs.LockSpace
	Owner  fs.LockOwner
}

// access of an open, in the terms of share modes.
func (o *Open) access() fs.Share { return accessOf(o.Access) }

// accessOf are the kinds of access that share modes speak of ([MS-FSA]
// 2.1.5.1.2.2). Opens for anything else, attributes for instance, neither
// exclude nor are excluded.
func accessOf(r fs.Rights) fs.Share {
	var s fs.Share
	if r&(fs.RightRead|fs.RightExecute) != 0 {
		s |= fs.ShareRead
	}
	if r&(fs.RightModify|fs.RightExtend) != 0 {
		s |= fs.ShareWrite
	}
	if r&fs.RightDelete != 0 {
		s |= fs.ShareDelete
	}
	return s
}

// Shares is the table of share modes. The zero value is empty and ready.
// Only opens whose access takes part are in it.
type Shares struct {
	shards [shardCount]shareShard
	// denying counts opens that deny anything: while there is none, operations
	// without an open need not look.
	denying atomic.Int64
	strict  atomic.Bool
}

// SetStrict makes opens of different spaces see each other, or ends that.
func (s *Shares) SetStrict(on bool) { s.strict.Store(on) }

type shareShard struct {
	mu    sync.Mutex
	opens map[fs.Node][]Open
}

func (s *Shares) shard(n fs.Node) *shareShard {
	h := (uint64(n.ID) ^ uint64(n.Snap)<<32) * 0x9e3779b97f4a7c15
	return &s.shards[h>>(64-6)]
}

// Acquire adds an open, or answers fs.Sharing and the open in the way.
func (s *Shares) Acquire(o Open) (*Open, error) {
	if o.Handle == 0 {
		return nil, fs.E("open", o.Node, "", fs.Invalid, fmt.Errorf("no handle"))
	}
	if o.access() == 0 {
		return nil, nil
	}
	sh := s.shard(o.Node)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if c := sh.conflict(&o, s.strict.Load()); c != nil {
		return c, fs.E("open", o.Node, "", fs.Sharing, nil)
	}
	sh.add(s, o)
	return nil, nil
}

// Change gives an open other access and share mode (NFSv4 upgrade and
// downgrade), or answers fs.Sharing and the open in the way, and nothing changes.
func (s *Shares) Change(o Open) (*Open, error) {
	sh := s.shard(o.Node)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if o.access() != 0 {
		if c := sh.conflict(&o, s.strict.Load()); c != nil {
			return c, fs.E("open", o.Node, "", fs.Sharing, nil)
		}
	}
	sh.remove(s, o.Node, o.Handle)
	if o.access() != 0 {
		sh.add(s, o)
	}
	return nil, nil
}

// Release removes an open; it may be absent.
func (s *Shares) Release(n fs.Node, handle uint64) {
	sh := s.shard(n)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.remove(s, n, handle)
}

// Test answers the open that forbids access by an operation without an open of
// its own, nil if none. Such an operation denies nothing. While no open denies
// anything it costs an atomic load.
func (s *Shares) Test(space fs.LockSpace, n fs.Node, stream fs.StreamID, access fs.Rights) *Open {
	if s.denying.Load() == 0 || accessOf(access) == 0 {
		return nil
	}
	sh := s.shard(n)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.conflict(&Open{Node: n, Stream: stream, Access: access, Share: fs.ShareAll, Space: space}, s.strict.Load())
}

// Of answers the opens of a node.
func (s *Shares) Of(n fs.Node) []Open {
	sh := s.shard(n)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return append([]Open(nil), sh.opens[n]...)
}

// conflict answers the open that o cannot live beside. The same stream: neither
// may do what the other denies. The default stream stands for the file: who
// deletes it deletes the other streams, so their opens must allow that, and the
// other way round.
func (sh *shareShard) conflict(o *Open, strict bool) *Open {
	access := o.access()
	opens := sh.opens[o.Node]
	for i := range opens {
		e := &opens[i]
		if e.Handle == o.Handle || e.Space != o.Space && !strict {
			continue
		}
		var bad bool
		switch {
		case e.Stream == o.Stream:
			bad = access&^e.Share != 0 || e.access()&^o.Share != 0
		case o.Stream == 0:
			bad = access&fs.ShareDelete&^e.Share != 0
		case e.Stream == 0:
			bad = e.access()&fs.ShareDelete&^o.Share != 0
		}
		if bad {
			c := *e
			return &c
		}
	}
	return nil
}

func (sh *shareShard) add(s *Shares, o Open) {
	if sh.opens == nil {
		sh.opens = map[fs.Node][]Open{}
	}
	sh.opens[o.Node] = append(sh.opens[o.Node], o)
	if o.Share&fs.ShareAll != fs.ShareAll {
		s.denying.Add(1)
	}
}

func (sh *shareShard) remove(s *Shares, n fs.Node, handle uint64) {
	opens := sh.opens[n]
	for i := range opens {
		if opens[i].Handle != handle {
			continue
		}
		if opens[i].Share&fs.ShareAll != fs.ShareAll {
			s.denying.Add(-1)
		}
		end := len(opens) - 1
		opens[i] = opens[end]
		opens[end] = Open{}
		if end == 0 {
			delete(sh.opens, n)
		} else {
			sh.opens[n] = opens[:end]
		}
		return
	}
}
