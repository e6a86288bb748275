package meta

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// Finding is one thing wrong with the metadata.
type Finding struct {
	Inode fs.FileID // 0: none
	What  string
}

// CheckReport tells what was looked at.
type CheckReport struct {
	Inodes, Dentries, Chunks, History, Snapshots, Orphans, Findings uint64
	// Holds are how often streams must hold extents: once for every run of
	// versions of a chunk that map it, and for every release that waits.
	Holds map[Hold]int
}

// Hold is an extent and a stream that holds it.
type Hold struct {
	Extent uint64
	Stream fs.StreamID
}

// CheckOptions steer a check.
type CheckOptions struct {
	// Found is called for every finding; never nil.
	Found func(Finding)
	// Progress is called now and then with the number of records read; nil: not.
	Progress func(records uint64)
}

// checkPage is how many records one View reads, so that none grows old.
const checkPage = 2000

// checker holds what one check gathers. It needs memory for each directory,
// named stream, hold and chunk that has old versions.
type checker struct {
	db     *DB
	o      CheckOptions
	rep    CheckReport
	read   uint64
	dirs   map[fs.FileID]*dirCheck
	named  map[fs.StreamID]struct{}
	trees  map[fs.FileID]bool // roots of trees being deleted
	orphan map[fs.FileID]bool
	staged map[fs.FileID]string // the owner by the list
	aged   map[chunkID]struct{} // chunks with old versions
	kept   int64                // bytes that old versions alone hold
}

type dirCheck struct {
	parent  fs.FileID
	sum     Delta
	subdirs uint64
	entries uint64
	links   uint32
	count   uint64
	sole    bool // says so
	shared  bool // has an entry that is not the first of its hash
}

// Check reads all metadata of a store that nobody changes and reports what
// contradicts itself.
func (db *DB) Check(ctx context.Context, o CheckOptions) (CheckReport, error) {
	c := &checker{db: db, o: o, dirs: map[fs.FileID]*dirCheck{}, named: map[fs.StreamID]struct{}{}, trees: map[fs.FileID]bool{}, orphan: map[fs.FileID]bool{}, staged: map[fs.FileID]string{}, aged: map[chunkID]struct{}{}}
	c.rep.Holds = map[Hold]int{}
	if err := db.Roll(ctx); err != nil {
		return c.rep, err
	}
	for _, step := range []func(context.Context) error{c.intents, c.orphans, c.stages, c.names, c.cookies, c.inodes, c.parents, c.streams, c.history, c.chunks, c.releases, c.totals} {
		if err := step(ctx); err != nil {
			return c.rep, fmt.Errorf("meta: check: %w", err)
		}
	}
	return c.rep, nil
}

func (c *checker) found(id fs.FileID, format string, args ...any) {
	c.rep.Findings++
	c.o.Found(Finding{id, fmt.Sprintf(format, args...)})
}

// each calls fn for every key of a table, page by page.
func (c *checker) each(ctx context.Context, tag byte, fn func(ctx context.Context, r *Reader, key, v []byte) error) error {
	from := []byte{tag}
	for {
		n := 0
		err := c.db.View(ctx, func(r *Reader) error {
			for e, err := range r.r.Scan(ctx, kv.Range{Start: from, End: []byte{tag + 1}}, kv.ScanOptions{Limit: checkPage}) {
				if err != nil {
					return err
				}
				n++
				key, v := bytes.Clone(e.Key), bytes.Clone(e.Value)
				from = append(bytes.Clone(key), 0)
				if err := fn(ctx, r, key, v); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		c.read += uint64(n)
		if c.o.Progress != nil {
			c.o.Progress(c.read)
		}
		if n < checkPage {
			return nil
		}
	}
}

func (c *checker) intents(ctx context.Context) error {
	return c.db.View(ctx, func(r *Reader) error {
		return r.Intents(ctx, func(id uint64, decode func(any) error) error {
			var in struct{ Kind string }
			if err := decode(&in); err != nil {
				c.found(0, "intent %d cannot be read: %v", id, err)
				return nil
			}
			if in.Kind == "tree-delete" {
				c.trees[fs.FileID(id)] = true
			}
			return nil
		})
	})
}

func (c *checker) orphans(ctx context.Context) error {
	return c.each(ctx, tagOrphan, func(ctx context.Context, r *Reader, key, _ []byte) error {
		c.rep.Orphans++
		c.orphan[fs.FileID(idOf(key))] = true
		return nil
	})
}

func (c *checker) stages(ctx context.Context) error {
	return c.each(ctx, tagStaged, func(ctx context.Context, r *Reader, key, _ []byte) error {
		owner, id, ok := splitStaged(key)
		if !ok {
			c.found(0, "key of a staged file cannot be read")
			return nil
		}
		c.staged[id] = owner
		n, err := r.Inode(ctx, id)
		if errors.Is(err, ErrNotFound) || err == nil && (n.Staged == nil || n.Staged.Owner != owner) {
			c.found(id, "listed as staged, but is not")
			return nil
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		return nil
	})
}

func (c *checker) dir(id fs.FileID) *dirCheck {
	d := c.dirs[id]
	if d == nil {
		d = &dirCheck{}
		c.dirs[id] = d
	}
	return d
}

func (c *checker) names(ctx context.Context) error {
	return c.each(ctx, tagName, func(ctx context.Context, r *Reader, key, v []byte) error {
		c.rep.Dentries++
		dir, name := fs.FileID(idOf(key)), string(key[9:])
		d, err := decodeByName(dir, name, v)
		if err != nil {
			c.found(dir, "entry %q cannot be read", name)
			return nil
		}
		dc := c.dir(dir)
		dc.entries++
		if d.Type == fs.Directory {
			dc.subdirs++
		}
		cv, err := r.r.Get(ctx, cookieKey(dir, d.Cookie))
		if errors.Is(err, kv.ErrNotFound) {
			c.found(dir, "entry %q is missing from the listing", name)
			return nil
		}
		if err != nil {
			return err
		}
		o, err := decodeByCookie(dir, d.Cookie, cv)
		if err != nil || o.Name != name || o.ID != d.ID || o.Type != d.Type {
			c.found(dir, "entry %q differs in the listing", name)
		}
		return nil
	})
}

func (c *checker) cookies(ctx context.Context) error {
	return c.each(ctx, tagCookie, func(ctx context.Context, r *Reader, key, v []byte) error {
		dir := fs.FileID(idOf(key))
		if len(key) != 17 {
			c.found(dir, "listing key of %d bytes", len(key))
			return nil
		}
		d, err := decodeByCookie(dir, binary.BigEndian.Uint64(key[9:]), v)
		if err != nil {
			c.found(dir, "listing entry cannot be read")
			return nil
		}
		if d.Cookie%cookiesPerHash != 0 {
			c.dir(dir).shared = true
		}
		o, err := r.Dentry(ctx, dir, d.Name)
		if errors.Is(err, ErrNotFound) || err == nil && o.Cookie != d.Cookie {
			c.found(dir, "entry %q is listed but not found by name", d.Name)
			return nil
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		return nil
	})
}

func (c *checker) inodes(ctx context.Context) error {
	return c.each(ctx, tagInode, func(ctx context.Context, r *Reader, key, v []byte) error {
		c.rep.Inodes++
		id := fs.FileID(idOf(key))
		n, err := decodeInode(id, v)
		if err != nil {
			c.found(id, "inode cannot be read")
			return nil
		}
		links, err := r.Links(ctx, n)
		if err != nil {
			c.found(id, "parent links cannot be read: %v", err)
			return nil
		}
		for _, l := range links {
			d, err := r.Dentry(ctx, l.Dir, l.Name)
			if err != nil || d.ID != id || d.Type != n.Type {
				c.found(id, "its name %q in directory %d does not lead to it", l.Name, l.Dir)
			}
		}
		if n.Type == fs.Directory {
			d := c.dir(id)
			d.parent, d.links, d.count, d.sole = n.Parent, n.Links, n.Children, n.Sole
			if n.Data.AllocBytes != 0 {
				c.found(id, "directory has data")
			}
		} else if int(n.Links) != len(links) {
			c.found(id, "counts %d links, has %d", n.Links, len(links))
		}
		if int(n.Extra) != max(0, len(links)-1) {
			c.found(id, "counts %d further links, has %d", n.Extra, max(0, len(links)-1))
		}
		switch {
		case n.Parent != 0:
			c.dir(n.Parent).sum.Add(ObjectDelta(n))
			if c.orphan[id] {
				c.found(id, "orphan has a name")
			}
		case n.Staged != nil:
			if owner, ok := c.staged[id]; !ok || owner != n.Staged.Owner {
				c.found(id, "staged, but not listed as such")
			}
		case id != fs.RootID && !c.orphan[id] && !c.trees[id]:
			c.found(id, "has no name and is no orphan")
		}
		if n.Staged != nil && (n.Parent != 0 || c.orphan[id] || n.Type != fs.File) {
			c.found(id, "staged, but has a name or waits to be freed")
		}
		return c.belongings(ctx, r, n)
	})
}

// belongings checks streams, xattrs and what an inode counts of them.
func (c *checker) belongings(ctx context.Context, r *Reader, n *Inode) error {
	if !c.orphan[n.ID] {
		if err := c.stream(ctx, r, n.ID, &n.Data); err != nil {
			return err
		}
	}
	if n.NamedStreams > 0 {
		ss, err := r.Streams(ctx, n.ID)
		if err != nil {
			c.found(n.ID, "named streams cannot be read: %v", err)
			return nil
		}
		var bytes uint64
		for _, s := range ss {
			bytes += s.AllocBytes
			if err := c.stream(ctx, r, n.ID, &s.Stream); err != nil {
				return err
			}
		}
		if !c.orphan[n.ID] && (len(ss) != int(n.NamedStreams) || bytes != n.StreamBytes) {
			c.found(n.ID, "counts %d named streams of %d bytes, has %d of %d", n.NamedStreams, n.StreamBytes, len(ss), bytes)
		}
	}
	if n.Xattrs > 0 && !c.orphan[n.ID] {
		have := uint32(0)
		for _, err := range r.scan(ctx, keyOf(tagXattr, uint64(n.ID), 0), nil, 0) {
			if err != nil {
				return err
			}
			have++
		}
		if have != n.Xattrs {
			c.found(n.ID, "counts %d metadata records, has %d", n.Xattrs, have)
		}
	}
	if n.ACL != (ACLHash{}) {
		if _, err := r.ACL(ctx, n.ACL); err != nil {
			c.found(n.ID, "its ACL record is missing or damaged")
		}
	}
	return nil
}

func (c *checker) stream(ctx context.Context, r *Reader, id fs.FileID, s *Stream) error {
	if s.ID == 0 || s.AllocBytes == 0 && len(s.Masks) == 0 {
		return nil
	}
	var blocks, end uint64
	for ch, err := range r.Chunks(ctx, s.ID, 0, 0) {
		if err != nil {
			if errors.Is(err, ErrCorrupt) {
				c.found(id, "a chunk map of stream %d cannot be read", s.ID)
				return nil
			}
			return err
		}
		next := uint32(0)
		for _, f := range ch.Chunk.Frags {
			a, b := max(f.Off/fs.BlockSize, next), (f.Off+f.Len+fs.BlockSize-1)/fs.BlockSize
			if b > a {
				blocks += uint64(b - a)
				next = b
			}
			end = ch.Index*chunkBytes + uint64(f.Off+f.Len)
		}
	}
	if len(s.Masks) > 0 {
		return nil
	}
	if blocks*fs.BlockSize != s.AllocBytes {
		c.found(id, "stream %d counts %d allocated bytes, maps %d", s.ID, s.AllocBytes, blocks*fs.BlockSize)
	}
	if end > s.Size {
		c.found(id, "stream %d maps bytes up to %d beyond its size %d", s.ID, end, s.Size)
	}
	return nil
}

func (c *checker) parents(ctx context.Context) error {
	return c.each(ctx, tagParent, func(ctx context.Context, r *Reader, key, _ []byte) error {
		id := fs.FileID(idOf(key))
		if len(key) < 18 {
			c.found(id, "damaged parent link")
			return nil
		}
		n, err := r.Inode(ctx, id)
		if errors.Is(err, ErrNotFound) {
			c.found(id, "parent link of a missing inode")
			return nil
		}
		if err == nil && n.Extra == 0 {
			c.found(id, "has a further link that it does not count")
		}
		return nil
	})
}

func (c *checker) streams(ctx context.Context) error {
	return c.each(ctx, tagStream, func(ctx context.Context, r *Reader, key, v []byte) error {
		id := fs.FileID(idOf(key))
		s, err := decodeNamedStream(id, v)
		if err != nil {
			c.found(id, "named stream cannot be read")
			return nil
		}
		c.named[s.ID] = struct{}{}
		if _, err := r.Inode(ctx, id); errors.Is(err, ErrNotFound) {
			c.found(id, "named stream of a missing inode")
		}
		return nil
	})
}

func (c *checker) chunks(ctx context.Context) error {
	return c.each(ctx, tagChunk, func(ctx context.Context, r *Reader, key, v []byte) error {
		c.rep.Chunks++
		sid := fs.StreamID(idOf(key))
		ch, err := decodeChunk(uint64(sid), v)
		if err != nil {
			c.found(0, "chunk map of stream %d cannot be read", sid)
			return nil
		}
		if _, ok := c.aged[chunkID{sid, binary.BigEndian.Uint64(key[9:])}]; !ok {
			c.run(sid, nil, ch.Frags)
		}
		if uint64(sid)&namedStreamBit != 0 {
			if _, ok := c.named[sid]; !ok {
				c.found(0, "chunk map of stream %d that nothing has", sid)
			}
			return nil
		}
		n, err := r.Inode(ctx, fs.FileID(sid))
		if errors.Is(err, ErrNotFound) || err == nil && n.Data.ID != sid {
			c.found(fs.FileID(sid), "chunk map without its inode")
		}
		return nil
	})
}

// history checks that every old version is in exactly one death list, of a
// snapshot that exists and is not younger than it.
func (c *checker) history(ctx context.Context) error {
	snaps := map[uint64]bool{}
	all, err := c.db.Snapshots(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		snaps[uint64(s.ID)] = true
	}
	c.rep.Snapshots = uint64(len(all))
	deaths := uint64(0)
	err = c.each(ctx, tagDeath, func(ctx context.Context, r *Reader, key, _ []byte) error {
		deaths++
		s := plainIDOf(key)
		if !snaps[s] {
			c.found(0, "death list of snapshot %d, which does not exist", s)
		}
		v, err := r.r.Get(ctx, key[9:])
		if errors.Is(err, kv.ErrNotFound) {
			c.found(0, "death list of snapshot %d names a missing version", s)
			return nil
		}
		if err != nil {
			return err
		}
		_, end, ok := splitHistory(key[9:])
		if !ok || birthOf(v) > s || end <= s {
			c.found(0, "snapshot %d keeps a version that it does not see", s)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for tag := tagInode | historyBit; tag <= tagTotals|historyBit; tag++ {
		if tag == tagChunk|historyBit {
			if err := c.oldChunks(ctx); err != nil {
				return err
			}
			continue
		}
		err := c.each(ctx, tag, func(context.Context, *Reader, []byte, []byte) error {
			c.rep.History++
			return nil
		})
		if err != nil {
			return err
		}
	}
	if deaths != c.rep.History {
		c.found(0, "%d old versions, but %d entries in death lists", c.rep.History, deaths)
	}
	return nil
}

// chunkID names a chunk.
type chunkID struct {
	sid   fs.StreamID
	index uint64
}

// run counts the holds that begin where frags follow before.
func (c *checker) run(sid fs.StreamID, before, frags []Frag) {
	for _, x := range missing(frags, before) {
		c.rep.Holds[Hold{x, sid}]++
	}
}

// oldChunks counts the runs of chunks that have old versions, which lie in
// order of their ends, the present one after them.
func (c *checker) oldChunks(ctx context.Context) error {
	var at chunkID
	var last []Frag
	open := false
	end := func(ctx context.Context, r *Reader) error {
		if !open {
			return nil
		}
		open = false
		ch, err := r.Chunk(ctx, at.sid, at.index)
		if err == nil {
			var now []Frag
			if ch != nil {
				now = ch.Frags
			}
			c.kept += lost(last, now)
		}
		if errors.Is(err, ErrCorrupt) {
			return nil // found where present chunks are read
		}
		if err == nil && ch != nil {
			c.run(at.sid, last, ch.Frags)
		}
		return err
	}
	err := c.each(ctx, tagChunk|historyBit, func(ctx context.Context, r *Reader, key, v []byte) error {
		c.rep.History++
		k, _, ok := splitHistory(key)
		if !ok || len(k) != 17 {
			c.found(0, "key of an old chunk map cannot be read")
			return nil
		}
		id := chunkID{fs.StreamID(idOf(k)), binary.BigEndian.Uint64(k[9:])}
		if open && id != at {
			if err := end(ctx, r); err != nil {
				return err
			}
		}
		if !open {
			at, last, open = id, nil, true
			c.aged[id] = struct{}{}
		}
		ch, err := decodeChunk(uint64(id.sid), v)
		if err != nil {
			c.found(0, "old chunk map of stream %d cannot be read", id.sid)
			return nil
		}
		c.run(id.sid, last, ch.Frags)
		c.kept += lost(last, ch.Frags)
		last = ch.Frags
		return nil
	})
	if err != nil {
		return err
	}
	return c.db.View(ctx, func(r *Reader) error { return end(ctx, r) })
}

func (c *checker) releases(ctx context.Context) error {
	return c.each(ctx, tagRelease, func(_ context.Context, _ *Reader, key, v []byte) error {
		ids, err := decodeRelease(v)
		if err != nil {
			c.found(0, "release record of stream %d cannot be read", idOf(key))
		}
		for _, x := range ids {
			c.rep.Holds[Hold{x, fs.StreamID(idOf(key))}]++
		}
		return nil
	})
}

// totals compares what directories count with what is there.
func (c *checker) totals(ctx context.Context) error {
	have, err := c.db.TotalsOf(ctx, 0, snapshotsDir)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if have.DataBytes != c.kept {
		c.found(0, "%d bytes are counted as kept by snapshots, should be %d", have.DataBytes, c.kept)
	}
	// Sum up from the leaves: each directory once all its children have been added.
	left := map[fs.FileID]uint64{}
	for _, d := range c.dirs {
		if d.parent != 0 {
			left[d.parent]++
		}
	}
	var ready []fs.FileID
	for id := range c.dirs {
		if left[id] == 0 {
			ready = append(ready, id)
		}
	}
	done := 0
	for len(ready) > 0 {
		id := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		done++
		d := c.dirs[id]
		if d.parent == 0 {
			continue
		}
		p := c.dir(d.parent)
		p.sum.Add(d.sum)
		if left[d.parent]--; left[d.parent] == 0 {
			ready = append(ready, d.parent)
		}
	}
	if done < len(c.dirs) {
		c.found(0, "%d directories form a loop", len(c.dirs)-done)
	}
	for id, d := range c.dirs {
		if d.links == 0 && d.entries == 0 && d.count == 0 {
			continue // an orphan
		}
		if d.links == 0 {
			c.found(id, "%d entries of a missing directory", d.entries)
			continue
		}
		if d.sole && d.shared {
			c.found(id, "entries share a hash, which it denies")
		}
		if d.count != d.entries {
			c.found(id, "counts %d entries, has %d", d.count, d.entries)
		}
		if uint64(d.links) != 2+d.subdirs {
			c.found(id, "counts %d links, should be %d", d.links, 2+d.subdirs)
		}
		var have Delta
		err := c.db.View(ctx, func(r *Reader) error {
			var err error
			have, err = r.Totals(ctx, id)
			return err
		})
		if errors.Is(err, ErrNotFound) {
			c.found(id, "has no totals")
			continue
		}
		if err != nil {
			return err
		}
		if have != d.sum {
			c.found(id, "totals %+v, should be %+v", have, d.sum)
		}
	}
	return nil
}
