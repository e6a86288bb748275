package meta

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/blake2b"

	"manifold/internal/fs"
	"manifold/internal/fs/fold"
	"manifold/internal/kv"
)

// Txn is an Update in progress. Not safe for concurrent use. Objects that it
// returns belong to the caller, who changes and puts them.
type Txn struct {
	Reader
	kv            kv.Txn
	epoch, newest uint64
	ep            epochRecord

	owners   map[fs.FileID]ownerInfo // as stored, for coverage; only with live snapshots
	deltas   []pendingDelta
	gone     []pendingDelta // of removed directories
	pending  Delta          // of one directory, most often all of a transaction
	pendDir  fs.FileID
	released []releaseRow
	orphaned bool
	free     freeName
}

// freeName is the name that Vacant found free, and its cookie.
type freeName struct {
	dir    fs.FileID
	name   string
	cookie uint64
}

// KV is the transaction of the key store, for records of other rooms.
func (tx *Txn) KV() kv.Txn { return tx.kv }

// View returns the reading half.
func (tx *Txn) View() *Reader { return &tx.Reader }

// Epoch is the epoch that the transaction writes in.
func (tx *Txn) Epoch() uint64 { return tx.epoch }

// Inode returns the record of an object. ErrNotFound.
func (tx *Txn) Inode(ctx context.Context, id fs.FileID) (*Inode, error) {
	n, err := tx.Reader.Inode(ctx, id)
	if err == nil && tx.newest != 0 {
		tx.remember(n)
	}
	return n, err
}

// PutInode stores n.
func (tx *Txn) PutInode(ctx context.Context, n *Inode) error {
	key := inodeKey(n.ID)
	if err := tx.age(ctx, n.ID, key, n.Birth, logInode); err != nil {
		return err
	}
	if n.Birth == 0 && n.Type == fs.Directory {
		n.Sole = n.Children == 0
	}
	n.Birth = tx.epoch
	tx.kv.Put(key, n.encode())
	return nil
}

// deleteInode removes the record of an object whose streams and xattrs are gone.
func (tx *Txn) deleteInode(ctx context.Context, n *Inode) error {
	key := inodeKey(n.ID)
	if err := tx.age(ctx, n.ID, key, n.Birth, logInode); err != nil {
		return err
	}
	tx.kv.Delete(key)
	if n.Type == fs.Directory {
		return tx.deleteTotals(ctx, n)
	}
	return nil
}

const cookiesPerHash = 256

// cookieBase is the first of the cookies that names folding to folded may have.
func (db *DB) cookieBase(folded string) uint64 {
	base := fold.Hash(db.super.HashKey, folded) &^ (cookiesPerHash - 1)
	if base == 0 {
		base = cookiesPerHash
	}
	return base
}

// Vacant returns the entry of a name as Dentry does, for a caller who will add
// the name if there is none: one key tells both the name and its cookie to be
// free where the directory is Sole. ErrNotFound.
func (tx *Txn) Vacant(ctx context.Context, dir *Inode, name string) (Dentry, error) {
	if !dir.Sole {
		return tx.Dentry(ctx, dir.ID, name)
	}
	base := tx.db.cookieBase(fold.Name(1, name))
	d, err := tx.byCookie(ctx, dir.ID, base)
	if errors.Is(err, ErrNotFound) {
		tx.free = freeName{dir.ID, name, base}
	}
	if err == nil && d.Name != name {
		return Dentry{}, ErrNotFound
	}
	return d, err
}

// freeCookie finds the cookie of a new name. Lookups without case scan the same
// range, so names that differ only by case find each other.
func (tx *Txn) freeCookie(ctx context.Context, dir fs.FileID, name string) (uint64, error) {
	known := tx.free
	tx.free = freeName{} // it is about to be taken, by this name or another
	if known.cookie != 0 && known.dir == dir && known.name == name {
		return known.cookie, nil
	}
	base := tx.db.cookieBase(fold.Name(1, name))
	_, err := tx.kv.Get(ctx, cookieKey(dir, base))
	if errors.Is(err, kv.ErrNotFound) {
		return base, nil
	}
	if err != nil {
		return 0, err
	}
	rng := kv.Range{Start: cookieKey(dir, base), End: cookieKey(dir, base+cookiesPerHash)}
	next := base
	for e, err := range tx.kv.Scan(ctx, rng, kv.ScanOptions{KeysOnly: true}) {
		if err != nil {
			return 0, err
		}
		if binary.BigEndian.Uint64(e.Key[9:]) != next {
			break
		}
		next++
	}
	if next == base+cookiesPerHash {
		return 0, ErrFull
	}
	return next, nil
}

// AddDentry gives child the name in dir, which must be free, and counts it:
// dir.Children, links, the parent link, totals if the link becomes the primary
// one. The caller puts dir and child afterwards.
func (tx *Txn) AddDentry(ctx context.Context, dir *Inode, name string, child *Inode) (uint64, error) {
	cookie, err := tx.freeCookie(ctx, dir.ID, name)
	if err != nil {
		return 0, err
	}
	d := Dentry{Dir: dir.ID, Name: name, ID: child.ID, Type: child.Type, Cookie: cookie, Birth: tx.epoch}
	tx.kv.Put(nameKey(dir.ID, name), d.encodeByName())
	tx.kv.Put(cookieKey(dir.ID, cookie), d.encodeByCookie())
	if err := tx.logName(ctx, dir.ID, name); err != nil {
		return 0, err
	}
	dir.Children++
	dir.Sole = dir.Sole && cookie%cookiesPerHash == 0
	if child.Type == fs.Directory {
		dir.Links++
	} else {
		child.Links++
	}
	if child.Parent == 0 {
		child.Parent, child.ParentName, child.OrphanedFrom = dir.ID, name, 0
		return cookie, tx.AddDelta(ctx, dir.ID, ObjectDelta(child))
	}
	child.Extra++
	key := parentKey(child.ID, dir.ID, name)
	// A name that comes back in the same epoch would be a fresh record.
	tx.kv.Put(key, newEncoder(4, tx.epoch))
	return cookie, nil
}

// Leave says whether RemoveDentry must note which snapshots still see the child.
type Leave bool

// A name that goes for good or to another directory leaves; one that changes
// within its directory stays below the same snapshots.
const (
	Leaves Leave = true
	Stays  Leave = false
)

// RemoveDentry takes the name d of child away and counts it. If it was the
// primary link of several, another becomes primary and the totals move there.
// The caller puts dir and child afterwards.
func (tx *Txn) RemoveDentry(ctx context.Context, dir *Inode, d Dentry, child *Inode, leave Leave) error {
	if leave {
		if err := tx.stamp(ctx, child); err != nil {
			return err
		}
	}
	for _, key := range [][]byte{nameKey(dir.ID, d.Name), cookieKey(dir.ID, d.Cookie)} {
		if err := tx.age(ctx, dir.ID, key, d.Birth, 0); err != nil {
			return err
		}
		tx.kv.Delete(key)
	}
	if err := tx.logName(ctx, dir.ID, d.Name); err != nil {
		return err
	}
	if dir.Children == 0 {
		return fmt.Errorf("%w: directory %d counts no entries but has one", ErrCorrupt, dir.ID)
	}
	dir.Children--
	if child.Type == fs.Directory {
		dir.Links--
	} else {
		child.Links--
	}
	if child.Parent == dir.ID && child.ParentName == d.Name {
		if err := tx.AddDelta(ctx, dir.ID, ObjectDelta(child).neg()); err != nil {
			return err
		}
		child.Parent, child.ParentName = 0, ""
		if child.Type == fs.Directory {
			child.OrphanedFrom = dir.ID
		}
		return tx.promote(ctx, child)
	}
	key := parentKey(child.ID, dir.ID, d.Name)
	v, err := tx.kv.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("%w: inode %d has no link to its name in %d: %w", ErrCorrupt, child.ID, dir.ID, err)
	}
	if err := tx.age(ctx, child.ID, key, birthOf(v), 0); err != nil {
		return err
	}
	tx.kv.Delete(key)
	child.Extra--
	return nil
}

// promote makes some further link the primary one.
func (tx *Txn) promote(ctx context.Context, n *Inode) error {
	if n.Extra == 0 {
		return nil
	}
	for e, err := range tx.kv.Scan(ctx, kv.Prefix(keyOf(tagParent, uint64(n.ID), 0)), kv.ScanOptions{Limit: 1}) {
		if err != nil {
			return err
		}
		key := bytes.Clone(e.Key)
		if len(key) < 18 {
			return fmt.Errorf("%w: parent link of %d", ErrCorrupt, n.ID)
		}
		if err := tx.age(ctx, n.ID, key, birthOf(e.Value), 0); err != nil {
			return err
		}
		tx.kv.Delete(key)
		n.Extra--
		n.Parent, n.ParentName = fs.FileID(binary.BigEndian.Uint64(key[9:])), string(key[17:])
		return tx.AddDelta(ctx, n.Parent, ObjectDelta(n))
	}
	return fmt.Errorf("%w: inode %d counts further links but has none", ErrCorrupt, n.ID)
}

// PutChunk stores the chunk map, or removes it when it maps nothing, and
// queues for release the extents that no version maps any more.
//
// Holds of a stream on an extent are counted by runs: for each chunk, the times
// that the extent comes to be mapped from one version to the next, an absent
// chunk being the last version and empty. A release ends one of them.
func (tx *Txn) PutChunk(ctx context.Context, id fs.FileID, sid fs.StreamID, idx uint64, c *Chunk) error {
	_, err := tx.PutShared(ctx, id, sid, idx, c, nil)
	return err
}

// PutShared is PutChunk of a chunk that maps extents which others hold. It
// answers those of shared that the stream needs one more hold of; the caller
// adds them in this transaction.
func (tx *Txn) PutShared(ctx context.Context, id fs.FileID, sid fs.StreamID, idx uint64, c *Chunk, shared []uint64) (more []uint64, err error) {
	key := chunkKey(sid, idx)
	more = slices.Clone(shared)
	stored, old, kept := &Chunk{}, (*Chunk)(nil), false
	if c.Birth != 0 {
		if stored, err = tx.storedChunk(ctx, sid, key, c); err != nil {
			return nil, err
		}
		if kept, err = tx.keep(ctx, id, key, c.Birth); err != nil {
			return nil, err
		}
		if kept {
			c.Prev = tx.epoch
		} else if old, err = tx.releaseUnmapped(ctx, sid, key, stored, c); err != nil {
			return nil, err
		}
		more = subtract(more, stored.Frags)
	}
	if len(more) > 0 && !kept {
		// What the newest old version maps is held already, through it.
		var end uint64
		if old, end, err = tx.newestVersion(ctx, sid, key); err != nil {
			return nil, err
		}
		if old != nil {
			more = subtract(more, old.Frags)
			c.Prev = end
		}
	}
	alone := int64(0)
	switch {
	case kept:
		alone = lost(stored.Frags, c.Frags)
	case old != nil:
		alone = lost(old.Frags, c.Frags) - lost(old.Frags, stored.Frags)
	}
	if err := tx.addSnapshotBytes(ctx, alone); err != nil {
		return nil, err
	}
	return more, tx.writeChunk(key, sid, idx, c)
}

// storedChunk answers what is stored of a chunk that is about to be changed.
func (tx *Txn) storedChunk(ctx context.Context, sid fs.StreamID, key []byte, c *Chunk) (*Chunk, error) {
	if c.from == &tx.Reader && c.puts == tx.puts {
		return &Chunk{Prev: c.storedPrev, Frags: c.stored}, nil
	}
	v, err := tx.kv.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("meta: read stored chunk: %w", err)
	}
	return decodeChunk(uint64(sid), v)
}

// Number returns one that was never returned before, for references.
func (tx *Txn) Number() uint64 { return tx.db.mark() }

func (tx *Txn) writeChunk(key []byte, sid fs.StreamID, idx uint64, c *Chunk) error {
	tx.puts++
	if len(c.Frags) == 0 {
		// A chunk without fragments is a hole with all masks applied; absence
		// says the same, unless an old version must be told apart by Prev.
		if c.Birth != 0 {
			tx.kv.Delete(key)
		}
		return nil
	}
	c.Birth = tx.epoch
	v := c.encode()
	tx.kv.Put(key, v)
	tx.db.chunks.put(sid, idx, v, c)
	c.read(&tx.Reader)
	return nil
}

// releaseUnmapped queues the extents that the stored chunk maps and c does
// not, unless the newest old version maps them too; it answers that version if
// it had to look.
func (tx *Txn) releaseUnmapped(ctx context.Context, sid fs.StreamID, key []byte, stored, c *Chunk) (old *Chunk, err error) {
	gone := missing(stored.Frags, c.Frags)
	if len(gone) > 0 && stored.Prev != 0 {
		if old, err = tx.version(ctx, sid, key, stored.Prev); err != nil {
			return nil, err
		}
		if old == nil {
			// That version went with its snapshot; an older one may be left.
			if old, c.Prev, err = tx.newestVersion(ctx, sid, key); err != nil {
				return nil, err
			}
		}
		if old != nil {
			gone = subtract(gone, old.Frags)
		}
	}
	return old, tx.queueRelease(ctx, sid, gone)
}

// version reads the old version of a chunk that ended with epoch end, nil if it is gone.
func (tx *Txn) version(ctx context.Context, sid fs.StreamID, key []byte, end uint64) (*Chunk, error) {
	v, err := tx.kv.Get(ctx, historyKey(key, end))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeChunk(uint64(sid), v)
}

// newestVersion finds the newest old version of a chunk and where it ended, nil
// if there is none.
func (tx *Txn) newestVersion(ctx context.Context, sid fs.StreamID, key []byte) (*Chunk, uint64, error) {
	p := historyPrefix(key)
	for e, err := range tx.kv.Scan(ctx, kv.Prefix(p), kv.ScanOptions{Limit: 1, Reverse: true}) {
		if err != nil {
			return nil, 0, err
		}
		c, err := decodeChunk(uint64(sid), e.Value)
		return c, binary.BigEndian.Uint64(e.Key[len(p):]), err
	}
	return nil, 0, nil
}

// missing lists the extents of old that now does not map. Most changes are of a
// few fragments of many: what is the same in front and at the end is passed over.
func missing(old, now []Frag) []uint64 {
	rest := now
	for len(old) > 0 && len(rest) > 0 && old[0] == rest[0] {
		old, rest = old[1:], rest[1:]
	}
	for len(old) > 0 && len(rest) > 0 && old[len(old)-1] == rest[len(rest)-1] {
		old, rest = old[:len(old)-1], rest[:len(rest)-1]
	}
	if len(old) == 0 {
		return nil
	}
	if len(old) <= 8 {
		var out []uint64
		for _, f := range old {
			same := func(g Frag) bool { return g.Extent == f.Extent }
			if !slices.Contains(out, f.Extent) && !slices.ContainsFunc(rest, same) && !slices.ContainsFunc(now, same) {
				out = append(out, f.Extent)
			}
		}
		return out
	}
	has := make(map[uint64]struct{}, len(now))
	for _, g := range now {
		has[g.Extent] = struct{}{}
	}
	var out []uint64
	for _, f := range old {
		if _, ok := has[f.Extent]; !ok {
			has[f.Extent] = struct{}{}
			out = append(out, f.Extent)
		}
	}
	return out
}

func subtract(ids []uint64, frags []Frag) []uint64 {
	out := ids[:0]
next:
	for _, id := range ids {
		for _, f := range frags {
			if f.Extent == id {
				continue next
			}
		}
		out = append(out, id)
	}
	return out
}

// PutStream stores a named stream.
func (tx *Txn) PutStream(ctx context.Context, id fs.FileID, sid fs.StreamID, s *NamedStream) error {
	key := streamKey(id, sid)
	if err := tx.age(ctx, id, key, s.Birth, logInode); err != nil {
		return err
	}
	s.Birth = tx.epoch
	tx.kv.Put(key, s.encode())
	return nil
}

// deleteStream removes the record of a named stream whose chunks are gone.
func (tx *Txn) deleteStream(ctx context.Context, id fs.FileID, sid fs.StreamID, birth uint64) error {
	key := streamKey(id, sid)
	if err := tx.age(ctx, id, key, birth, logInode); err != nil {
		return err
	}
	tx.kv.Delete(key)
	return nil
}

// PutXattr stores a metadata value and says whether the key is new.
func (tx *Txn) PutXattr(ctx context.Context, id fs.FileID, s fs.MetaSpace, key string, value []byte) (created bool, err error) {
	k := xattrKey(id, s, key)
	birth, err := tx.storedBirth(ctx, k)
	if err != nil {
		return false, err
	}
	if err := tx.age(ctx, id, k, birth, logInode); err != nil {
		return false, err
	}
	e := newEncoder(len(value)+8, tx.epoch)
	e.bytes(value)
	tx.kv.Put(k, e)
	return birth == 0, nil
}

// DeleteXattr removes a metadata value. ErrNotFound.
func (tx *Txn) DeleteXattr(ctx context.Context, id fs.FileID, s fs.MetaSpace, key string) error {
	k := xattrKey(id, s, key)
	birth, err := tx.storedBirth(ctx, k)
	if err != nil {
		return err
	}
	if birth == 0 {
		return ErrNotFound
	}
	if err := tx.age(ctx, id, k, birth, logInode); err != nil {
		return err
	}
	tx.kv.Delete(k)
	return nil
}

// storedBirth is the birth epoch of a record, 0 if there is none.
func (tx *Txn) storedBirth(ctx context.Context, key []byte) (uint64, error) {
	v, err := tx.kv.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return birthOf(v), nil
}

// PutACL stores the bytes of an ACL and returns their name. Records are
// immutable and shared; they are not collected.
func (tx *Txn) PutACL(ctx context.Context, b []byte) (ACLHash, error) {
	var h ACLHash
	sum := blake2b.Sum256(b)
	copy(h[:], sum[:])
	key := aclKey(h)
	switch _, err := tx.kv.Unvalidated().Get(ctx, key); {
	case err == nil:
		return h, nil
	case !errors.Is(err, kv.ErrNotFound):
		return h, err
	}
	e := newEncoder(len(b)+8, tx.epoch)
	e.bytes(b)
	tx.kv.Put(key, e)
	return h, nil
}

// finish writes what was gathered.
func (tx *Txn) finish() { tx.writeDeltas() }
