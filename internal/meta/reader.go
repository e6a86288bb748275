package meta

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"manifold/internal/fs"
	"manifold/internal/fs/fold"
	"manifold/internal/kv"
)

// Reader reads metadata of the live tree or as of a snapshot.
type Reader struct {
	db   *DB
	r    kv.Reader
	snap uint64 // 0: live
	puts int    // of chunks, if it is a transaction's
}

// KV is the snapshot of the key store that r reads, for records of other rooms.
func (r *Reader) KV() kv.Reader { return r.r }

// Snap is the snapshot that r reads, 0 for the live tree.
func (r *Reader) Snap() fs.SnapshotID { return fs.SnapshotID(r.snap) }

// get reads a record that keeps history.
func (r *Reader) get(ctx context.Context, key []byte) ([]byte, error) {
	v, err := r.r.Get(ctx, key)
	if r.snap == 0 {
		if errors.Is(err, kv.ErrNotFound) {
			return nil, ErrNotFound
		}
		return v, err
	}
	if err == nil && birthOf(v) <= r.snap {
		return v, nil
	}
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, err
	}
	p := historyPrefix(key)
	rng := kv.Range{Start: binary.BigEndian.AppendUint64(bytes.Clone(p), r.snap+1), End: kv.Successor(p)}
	for e, err := range r.r.Scan(ctx, rng, kv.ScanOptions{Limit: 1}) {
		if err != nil {
			return nil, err
		}
		if birthOf(e.Value) <= r.snap {
			return bytes.Clone(e.Value), nil
		}
	}
	return nil, ErrNotFound
}

// row is one record of a scan: rest is its key without tag and id.
type row struct{ rest, value []byte }

// scan yields the records under a 9-byte prefix from rest on, in order, merged
// with history when r reads a snapshot. Rows are valid until the next step.
func (r *Reader) scan(ctx context.Context, prefix, from []byte, limit int) iter.Seq2[row, error] {
	rng := kv.Range{Start: append(bytes.Clone(prefix), from...), End: kv.Successor(prefix)}
	if r.snap == 0 {
		return func(yield func(row, error) bool) {
			for e, err := range r.r.Scan(ctx, rng, kv.ScanOptions{Limit: limit}) {
				if err != nil {
					yield(row{}, err)
					return
				}
				if !yield(row{e.Key[len(prefix):], e.Value}, nil) {
					return
				}
			}
		}
	}
	return func(yield func(row, error) bool) {
		next, stop := iter.Pull2(r.history(ctx, prefix, from))
		defer stop()
		old, oldErr, more := next()
		n := 0
		emit := func(w row) bool {
			n++
			return yield(w, nil) && (limit == 0 || n < limit)
		}
		for e, err := range r.r.Scan(ctx, rng, kv.ScanOptions{}) {
			if err == nil && more && oldErr != nil {
				err = oldErr
			}
			if err != nil {
				yield(row{}, err)
				return
			}
			rest := e.Key[len(prefix):]
			for more && bytes.Compare(old.rest, rest) < 0 {
				if !emit(old) {
					return
				}
				if old, oldErr, more = next(); more && oldErr != nil {
					yield(row{}, oldErr)
					return
				}
			}
			same := more && bytes.Equal(old.rest, rest)
			switch {
			case birthOf(e.Value) <= r.snap:
				if !emit(row{rest, e.Value}) {
					return
				}
			case same:
				if !emit(old) {
					return
				}
			}
			if same {
				old, oldErr, more = next()
			}
		}
		for more {
			if oldErr != nil {
				yield(row{}, oldErr)
				return
			}
			if !emit(old) {
				return
			}
			old, oldErr, more = next()
		}
	}
}

// history yields for each key of a prefix the old version that was valid at
// the snapshot, if one was.
func (r *Reader) history(ctx context.Context, prefix, from []byte) iter.Seq2[row, error] {
	hp := bytes.Clone(prefix)
	hp[0] |= historyBit
	rng := kv.Range{Start: append(bytes.Clone(hp), from...), End: kv.Successor(hp)}
	return func(yield func(row, error) bool) {
		var done []byte // the key that has been decided
		for e, err := range r.r.Scan(ctx, rng, kv.ScanOptions{}) {
			if err != nil {
				yield(row{}, err)
				return
			}
			n := len(e.Key) - 9
			if n < len(prefix) {
				yield(row{}, fmt.Errorf("%w: history key", ErrCorrupt))
				return
			}
			end := binary.BigEndian.Uint64(e.Key[n+1:])
			rest := e.Key[len(prefix):n]
			if end <= r.snap || done != nil && bytes.Equal(done, rest) {
				continue
			}
			done = bytes.Clone(rest)
			if birthOf(e.Value) <= r.snap && !yield(row{done, bytes.Clone(e.Value)}, nil) {
				return
			}
		}
	}
}

// Inode returns the record of an object. ErrNotFound.
func (r *Reader) Inode(ctx context.Context, id fs.FileID) (*Inode, error) {
	v, err := r.get(ctx, inodeKey(id))
	if err != nil {
		return nil, err
	}
	return decodeInode(id, v)
}

// inodesAtOnce bounds memory that one record, as long as it is held, keeps of others.
const inodesAtOnce = 32

// Inodes returns the records of ids in their order, nil where absent.
func (r *Reader) Inodes(ctx context.Context, ids []fs.FileID) ([]*Inode, error) {
	out := make([]*Inode, len(ids))
	if r.snap != 0 {
		for i, id := range ids {
			n, err := r.Inode(ctx, id)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return nil, err
			}
			out[i] = n
		}
		return out, nil
	}
	vals, err := r.r.GetMany(ctx, inodeKeys(ids))
	if err != nil {
		return nil, err
	}
	var room []Inode // one piece of memory for several
	for i, v := range vals {
		if v == nil {
			continue
		}
		if len(room) == 0 {
			room = make([]Inode, min(inodesAtOnce, len(ids)-i))
		}
		out[i], room = &room[0], room[1:]
		if err := out[i].decode(ids[i], v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Dentry finds a name by its bytes. ErrNotFound.
func (r *Reader) Dentry(ctx context.Context, dir fs.FileID, name string) (Dentry, error) {
	v, err := r.get(ctx, nameKey(dir, name))
	if err != nil {
		return Dentry{}, err
	}
	return decodeByName(dir, name, v)
}

// byCookie finds the entry that has a cookie. ErrNotFound.
func (r *Reader) byCookie(ctx context.Context, dir fs.FileID, cookie uint64) (Dentry, error) {
	v, err := r.get(ctx, cookieKey(dir, cookie))
	if err != nil {
		return Dentry{}, err
	}
	return decodeByCookie(dir, cookie, v)
}

// DentryFold finds a name without regard to case; an exact match wins.
func (r *Reader) DentryFold(ctx context.Context, in *Inode, name string) (Dentry, error) {
	dir := in.ID
	d, err := r.Dentry(ctx, dir, name)
	if !errors.Is(err, ErrNotFound) {
		return d, err
	}
	folded := fold.Name(1, name)
	base := r.db.cookieBase(folded)
	if in.Sole {
		d, err := r.byCookie(ctx, dir, base)
		if err == nil && fold.Name(1, d.Name) != folded {
			err = ErrNotFound
		}
		return d, err
	}
	for w, err := range r.scan(ctx, keyOf(tagCookie, uint64(dir), 0), binary.BigEndian.AppendUint64(nil, base), 0) {
		if err != nil {
			return Dentry{}, err
		}
		if len(w.rest) != 8 {
			return Dentry{}, fmt.Errorf("%w: cookie key in %d", ErrCorrupt, dir)
		}
		c := binary.BigEndian.Uint64(w.rest)
		if c-base >= cookiesPerHash {
			break
		}
		d, err := decodeByCookie(dir, c, w.value)
		if err != nil {
			return Dentry{}, err
		}
		if fold.Name(1, d.Name) == folded {
			return d, nil
		}
	}
	return Dentry{}, ErrNotFound
}

// Dentries yields the entries of dir with a cookie above after, in cookie order.
func (r *Reader) Dentries(ctx context.Context, dir fs.FileID, after uint64, limit int) iter.Seq2[Dentry, error] {
	return func(yield func(Dentry, error) bool) {
		from := binary.BigEndian.AppendUint64(nil, after+1)
		for w, err := range r.scan(ctx, keyOf(tagCookie, uint64(dir), 0), from, limit) {
			if err == nil && len(w.rest) != 8 {
				err = fmt.Errorf("%w: cookie key in %d", ErrCorrupt, dir)
			}
			var d Dentry
			if err == nil {
				d, err = decodeByCookie(dir, binary.BigEndian.Uint64(w.rest), w.value)
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// DentriesByName yields the entries of dir with a name above after, in byte order.
func (r *Reader) DentriesByName(ctx context.Context, dir fs.FileID, after string, limit int) iter.Seq2[Dentry, error] {
	return func(yield func(Dentry, error) bool) {
		from := []byte(after)
		if after != "" {
			// Names hold no NUL, so this is past the name and all its history.
			from = append(from, 1)
			if r.snap == 0 {
				from[len(from)-1] = 0
			}
		}
		for w, err := range r.scan(ctx, keyOf(tagName, uint64(dir), 0), from, limit) {
			var d Dentry
			if err == nil {
				d, err = decodeByName(dir, string(w.rest), w.value)
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// Link is one name of an object.
type Link struct {
	Dir  fs.FileID
	Name string
}

// Links returns all names of an object, the primary one first.
func (r *Reader) Links(ctx context.Context, n *Inode) ([]Link, error) {
	var ls []Link
	if n.Parent != 0 {
		ls = append(ls, Link{n.Parent, n.ParentName})
	}
	if n.Extra == 0 {
		return ls, nil
	}
	for w, err := range r.scan(ctx, keyOf(tagParent, uint64(n.ID), 0), nil, 0) {
		if err != nil {
			return nil, err
		}
		if len(w.rest) < 9 {
			return nil, fmt.Errorf("%w: parent link of %d", ErrCorrupt, n.ID)
		}
		ls = append(ls, Link{fs.FileID(binary.BigEndian.Uint64(w.rest)), string(w.rest[8:])})
	}
	return ls, nil
}

// Stream returns a named stream. ErrNotFound.
func (r *Reader) Stream(ctx context.Context, id fs.FileID, sid fs.StreamID) (*NamedStream, error) {
	v, err := r.get(ctx, streamKey(id, sid))
	if err != nil {
		return nil, err
	}
	return decodeNamedStream(id, v)
}

// Streams returns all named streams of an inode.
func (r *Reader) Streams(ctx context.Context, id fs.FileID) ([]*NamedStream, error) {
	var out []*NamedStream
	for w, err := range r.scan(ctx, keyOf(tagStream, uint64(id), 0), nil, 0) {
		if err != nil {
			return nil, err
		}
		s, err := decodeNamedStream(id, w.value)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Chunk returns a chunk map, nil if there is none.
func (r *Reader) Chunk(ctx context.Context, sid fs.StreamID, idx uint64) (*Chunk, error) {
	if sid == 0 {
		return nil, nil
	}
	v, err := r.get(ctx, chunkKey(sid, idx))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := r.db.chunks.decode(sid, idx, v)
	if err == nil {
		c.read(r)
	}
	return c, err
}

// ChunkAt is a chunk map with its index.
type ChunkAt struct {
	Index uint64
	Chunk *Chunk
}

// Chunks yields the chunk maps of a stream from index from on.
func (r *Reader) Chunks(ctx context.Context, sid fs.StreamID, from uint64, limit int) iter.Seq2[ChunkAt, error] {
	return func(yield func(ChunkAt, error) bool) {
		if sid == 0 {
			return
		}
		for w, err := range r.scan(ctx, keyOf(tagChunk, uint64(sid), 0), binary.BigEndian.AppendUint64(nil, from), limit) {
			var c ChunkAt
			if err == nil && len(w.rest) != 8 {
				err = fmt.Errorf("%w: chunk key of stream %d", ErrCorrupt, sid)
			}
			if err == nil {
				c.Index = binary.BigEndian.Uint64(w.rest)
				if c.Chunk, err = decodeChunk(uint64(sid), w.value); err == nil {
					c.Chunk.read(r)
				}
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// Xattr returns one metadata value. ErrNotFound.
func (r *Reader) Xattr(ctx context.Context, id fs.FileID, s fs.MetaSpace, key string) ([]byte, error) {
	v, err := r.get(ctx, xattrKey(id, s, key))
	if err != nil {
		return nil, err
	}
	return decodeXattr(id, v)
}

func decodeXattr(id fs.FileID, v []byte) ([]byte, error) {
	d, _ := newDecoder(v)
	b := d.raw()
	return b, d.end("xattr", uint64(id))
}

// Xattrs yields keys and value sizes of a space, those above after.
func (r *Reader) Xattrs(ctx context.Context, id fs.FileID, s fs.MetaSpace, after string) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for k, v := range r.XattrValues(ctx, id, s, after) {
			if v.Err != nil || !yield(k, len(v.Value)) {
				return
			}
		}
	}
}

// XattrValue is a value or the error that ended the walk.
type XattrValue struct {
	Value []byte
	Err   error
}

// XattrValues yields keys and values of a space, those above after.
func (r *Reader) XattrValues(ctx context.Context, id fs.FileID, s fs.MetaSpace, after string) iter.Seq2[string, XattrValue] {
	return func(yield func(string, XattrValue) bool) {
		from := append([]byte{byte(s)}, after...)
		for w, err := range r.scan(ctx, keyOf(tagXattr, uint64(id), 0), from, 0) {
			if err != nil {
				yield("", XattrValue{Err: err})
				return
			}
			if w.rest[0] != byte(s) {
				return
			}
			k := string(w.rest[1:])
			if after != "" && k <= after {
				continue
			}
			v, err := decodeXattr(id, w.value)
			if !yield(k, XattrValue{v, err}) || err != nil {
				return
			}
		}
	}
}

// ACL returns the bytes of an ACL record. ErrNotFound.
func (r *Reader) ACL(ctx context.Context, h ACLHash) ([]byte, error) {
	v, err := r.r.Get(ctx, aclKey(h))
	if errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("%w: ACL record", ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	d, _ := newDecoder(v)
	b := d.raw()
	return b, d.end("ACL record", 0)
}

func aclKey(h ACLHash) []byte {
	k := make([]byte, 0, 17)
	return append(append(k, tagACL), h[:]...)
}
