// Package memfs is the file system of the contract in memory: the fake that
// protocols are tested on, and the oracle that the real implementation is
// compared with.
//
// Invariants: one mutex guards everything and is never held while a caller's
// function runs. Snapshots are copies, totals are walks, diffs are comparisons:
// what is plainly right is preferred to what is fast. Blocks of file data are
// never changed once stored, so that copies may share them.
//
// The package must not know any protocol, nor how the real implementation stores things.
package memfs

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/fold"
	"manifold/internal/fs/lock"
	"manifold/internal/identity"
)

// Options of New. The zero value works.
type Options struct {
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Capacity in bytes of data and metadata blocks; 0 is no limit, shown as 1 TiB.
	Capacity uint64
	// FSID is the UUID of the file system.
	FSID [16]byte
	// HoldTreeDeletes keeps tree deletions running until FinishTreeDeletes;
	// otherwise they are finished when StartTreeDelete returns.
	HoldTreeDeletes bool
	// RootMode is the mode of the root directory; default 0755.
	RootMode fs.Mode
}

// link is a name of an inode.
type link struct {
	dir  fs.FileID
	name fs.Name
}

// entry is what a name in a directory stands for.
type entry struct {
	id     fs.FileID
	cookie uint64
}

type inode struct {
	id    fs.FileID
	typ   fs.Type
	acl   fs.ACL // owner, group and mode are here
	links []link // the first is the primary one; the root has none

	entries map[fs.Name]entry // of a directory
	subdirs uint32
	order   []fs.Name // names in order of cookies; nil: to be made

	data    stream
	streams map[fs.StreamID]*stream // named ones
	meta    map[fs.MetaSpace]map[string][]byte

	atime, mtime, ctime, btime fs.Time
	change                     uint64
	dos                        fs.DOSAttr
	hint                       fs.SymlinkHint
	target                     []byte
	rdevMajor, rdevMinor       uint32
	verifier                   *uint64
	retention                  fs.Time
	hold                       bool
	// pending are the streams that go when their last handle closes, and by
	// which name the whole object does (stream 0).
	pending map[fs.StreamID]link
	staged  *stagedFor // nil: it is none
}

// tree is a set of inodes: the live ones or those of a snapshot.
type tree map[fs.FileID]*inode

// FS implements fs.FS.
type FS struct {
	opt Options
	*lock.Table

	mu       sync.Mutex
	live     tree
	nextID   fs.FileID
	nextOpen uint64
	cookie   uint64 // joins events of renames
	verifier fs.Verifier
	snaps    map[fs.SnapshotID]*snapshot
	nextSnap fs.SnapshotID
	quotas   map[fs.FileID]*fs.Quota
	opens    map[uint64]*handle
	shares   *lock.Shares
	jobs     map[fs.FileID]*job
	watches  map[*watch]struct{}
}

var _ fs.FS = (*FS)(nil)

// New makes an empty file system: a root that belongs to user and group 0.
func New(opt Options) *FS {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.RootMode == 0 {
		opt.RootMode = 0o755
	}
	f := &FS{
		opt: opt, Table: newLocks(), live: tree{}, nextID: fs.RootID + 1, nextSnap: 1, nextOpen: 1, verifier: 1,
		snaps: map[fs.SnapshotID]*snapshot{}, quotas: map[fs.FileID]*fs.Quota{}, opens: map[uint64]*handle{}, shares: &lock.Shares{},
		jobs: map[fs.FileID]*job{}, watches: map[*watch]struct{}{},
	}
	root := f.newInode(fs.Directory)
	root.acl = fs.ACL{Owner: identity.UID(0), Group: identity.GID(0), Mode: opt.RootMode, ModeOnly: true}
	delete(f.live, root.id)
	root.id, f.nextID = fs.RootID, fs.RootID+1
	f.live[root.id] = root
	return f
}

func (f *FS) newInode(t fs.Type) *inode {
	now := fs.TimeOf(f.opt.Now())
	n := &inode{id: f.nextID, typ: t, atime: now, mtime: now, ctime: now, btime: now, change: 1}
	if t == fs.Directory {
		n.entries = map[fs.Name]entry{}
	}
	f.nextID++
	f.live[n.id] = n
	return n
}

// clone copies an inode for a snapshot.
func (n *inode) clone() *inode {
	c := *n
	c.acl.Entries = slices.Clone(n.acl.Entries)
	c.links = slices.Clone(n.links)
	c.entries = maps.Clone(n.entries)
	c.order = nil
	c.data = n.data.clone()
	c.streams = nil
	for id, s := range n.streams {
		if c.streams == nil {
			c.streams = map[fs.StreamID]*stream{}
		}
		s := s.clone()
		c.streams[id] = &s
	}
	c.pending = nil
	c.meta = nil
	for space, kv := range n.meta {
		if c.meta == nil {
			c.meta = map[fs.MetaSpace]map[string][]byte{}
		}
		c.meta[space] = maps.Clone(kv)
	}
	return &c
}

// find returns the inode of n and the tree it is in. The virtual snapshot
// directory is found as an inode made for the purpose.
func (f *FS) find(op string, n fs.Node) (*inode, tree, error) {
	switch n.Snap {
	case 0:
		if i := f.live[n.ID]; i != nil {
			return i, f.live, nil
		}
	case fs.SnapshotDir:
		if d := f.live[n.ID]; d != nil && d.typ == fs.Directory {
			return f.snapshotDir(d), f.live, nil
		}
	default:
		if s := f.snaps[n.Snap]; s != nil {
			if i := s.tree[n.ID]; i != nil {
				return i, s.tree, nil
			}
		}
	}
	return nil, nil, fs.E(op, n, "", fs.Stale, nil)
}

// findLive returns the inode of n, which is going to be changed.
func (f *FS) findLive(op string, c *fs.Caller, n fs.Node) (*inode, error) {
	if err := writable(op, c, n); err != nil {
		return nil, err
	}
	i, _, err := f.find(op, n)
	return i, err
}

// writable refuses what may never change: snapshots, and callers whose way in
// is read-only.
func writable(op string, c *fs.Caller, n fs.Node) error {
	if !n.Live() || c.ReadOnly {
		return fs.E(op, n, "", fs.ReadOnly, nil)
	}
	return nil
}

func (f *FS) now() fs.Time { return fs.TimeOf(f.opt.Now()) }

// touch notes a change of n; of its data or entries too if data. Change time
// never stands still, so that clients which compare it see every change.
func (f *FS) touch(n *inode, data bool) {
	now := f.now()
	if now.Compare(n.ctime) <= 0 {
		now = n.ctime.Next()
	}
	n.ctime = now
	if data {
		n.mtime = now
	}
	n.change++
}

func before(n *inode) fs.Before {
	return fs.Before{Set: true, Size: n.size(), Mtime: n.mtime, Ctime: n.ctime, Change: n.change, Mode: n.mode(), Owner: n.acl.Owner, Group: n.acl.Group}
}

// changed makes the answer about n after a change.
func (f *FS) changed(n *inode, b fs.Before) fs.Changed {
	return fs.Changed{Before: b, After: f.attr(n, fs.Node{ID: n.id}, fs.AttrEverything), Atomic: true}
}

func (n *inode) size() uint64 {
	switch n.typ {
	case fs.Directory:
		return 512 * uint64(len(n.entries))
	case fs.Symlink:
		return uint64(len(n.target))
	}
	return n.data.size
}

func (n *inode) locked(now fs.Time) bool { return n.hold || n.retention.Compare(now) > 0 }

// attr answers the attributes of n that are wanted.
func (f *FS) attr(n *inode, node fs.Node, want fs.AttrMask) fs.Attr {
	want &= fs.AttrEverything
	a := fs.Attr{Mask: want, Node: node, Type: n.typ}
	if want == 0 {
		return a
	}
	a.Mode = n.mode()
	a.Links = uint32(len(n.links))
	if n.typ == fs.Directory {
		if len(n.links) > 0 || n.id == fs.RootID {
			a.Links = 2 + n.subdirs
		}
		a.Children = uint64(len(n.entries))
	}
	a.Owner, a.Group = n.acl.Owner, n.acl.Group
	a.Size, a.DataRevision = n.size(), n.data.rev
	a.DataBytes, a.MetaBytes = n.data.bytes(), fs.BlockSize
	a.Atime, a.Mtime, a.Ctime, a.Btime = n.atime, n.mtime, n.ctime, n.btime
	a.Change, a.DOS = n.change, n.dos
	if n.id == fs.RootID {
		a.Parent = fs.RootID
	} else if len(n.links) > 0 {
		a.Parent, a.ParentName = n.links[0].dir, n.links[0].name
	}
	a.NamedStreams = uint32(len(n.streams))
	for _, kv := range n.meta {
		a.Metas += uint32(len(kv))
	}
	a.RdevMajor, a.RdevMinor, a.SymlinkHint = n.rdevMajor, n.rdevMinor, n.hint
	a.Retention, a.LegalHold = n.retention, n.hold
	return a
}

// dir returns the directory that node names and the tree it is in.
func (f *FS) dir(op string, node fs.Node) (*inode, tree, error) {
	d, t, err := f.find(op, node)
	if err != nil {
		return nil, nil, err
	}
	if d.typ != fs.Directory {
		return nil, nil, fs.E(op, node, "", fs.NotDir, nil)
	}
	return d, t, nil
}

var cookieKey = [16]byte{'m', 'e', 'm', 'f', 's'}

// add enters a name for n in d. Cookies are hashes of the folded name, as in
// the real implementation, so that tests meet all of the number space.
func (f *FS) add(d *inode, name fs.Name, n *inode) {
	taken := make(map[uint64]bool, len(d.entries))
	for _, e := range d.entries {
		taken[e.cookie] = true
	}
	cookie := fold.Hash(cookieKey, fold.Name(fold.Policy, name))
	for taken[cookie] {
		if cookie++; cookie >= 1<<63 {
			cookie = fs.FirstCookie
		}
	}
	d.entries[name] = entry{n.id, cookie}
	d.order = nil
	n.links = append(n.links, link{d.id, name})
	if n.typ == fs.Directory {
		d.subdirs++
	}
}

// drop takes a name from d. If it was the primary one, the lowest of the others
// by directory and name takes its place.
func (f *FS) drop(d *inode, name fs.Name, n *inode) {
	delete(d.entries, name)
	d.order = nil
	if i := slices.Index(n.links, link{d.id, name}); i >= 0 {
		n.links = slices.Delete(n.links, i, i+1)
		if i == 0 {
			slices.SortFunc(n.links, func(a, b link) int {
				return cmp.Or(cmp.Compare(a.dir, b.dir), cmp.Compare(a.name, b.name))
			})
		}
	}
	if n.typ == fs.Directory {
		d.subdirs--
	}
}

// forget removes an inode that has neither names nor opens.
func (f *FS) forget(n *inode) {
	if len(n.links) > 0 || n.id == fs.RootID || n.staged != nil {
		return
	}
	if !f.held(n) {
		delete(f.live, n.id)
		delete(f.quotas, n.id)
	}
}

// held tells whether an open keeps n alive.
func (f *FS) held(n *inode) bool {
	for _, h := range f.opens {
		if h.node.ID == n.id && h.node.Live() {
			return true
		}
	}
	return false
}

// ordered returns the names of d in order of their cookies.
func (d *inode) ordered() []fs.Name {
	if d.order == nil {
		d.order = slices.SortedFunc(maps.Keys(d.entries), func(a, b fs.Name) int {
			return cmp.Compare(d.entries[a].cookie, d.entries[b].cookie)
		})
	}
	return d.order
}

// Crash loses what a crash may lose, unstable writes that were not committed,
// and with them all opens, locks and watches; the verifier changes. No call may
// be under way.
func (f *FS) Crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.verifier++
	f.Table = newLocks()
	for w := range f.watches {
		f.endWatch(w)
	}
	f.opens, f.shares = map[uint64]*handle{}, &lock.Shares{}
	for _, n := range slices.Collect(maps.Values(f.live)) {
		n.pending = nil
		if n.staged != nil && n.staged.owner == "" {
			n.staged = nil
		}
		n.data.crash()
		for _, s := range n.streams {
			s.crash()
		}
		f.forget(n)
	}
}
