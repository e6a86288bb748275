package meta_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
	"manifold/internal/meta"
)

// The model of the metadata engine: a plain tree in memory that is copied
// whole for every snapshot. World runs the same random operations on both.

type object struct {
	id     fs.FileID
	typ    fs.Type
	mode   fs.Mode
	links  int // names
	size   uint64
	chunks map[uint64][]meta.Frag
	xattrs map[string]string
	names  map[string]fs.FileID
	parent fs.FileID // directories
}

func (o *object) clone() *object {
	c := *o
	c.chunks = map[uint64][]meta.Frag{}
	for i, f := range o.chunks {
		c.chunks[i] = slices.Clone(f)
	}
	c.xattrs = maps.Clone(o.xattrs)
	c.names = maps.Clone(o.names)
	return &c
}

type tree map[fs.FileID]*object

// below copies the tree of root.
func (t tree) below(root fs.FileID) tree {
	out := tree{}
	var walk func(id fs.FileID)
	walk = func(id fs.FileID) {
		if out[id] != nil {
			return
		}
		out[id] = t[id].clone()
		for _, c := range t[id].names {
			walk(c)
		}
	}
	walk(root)
	return out
}

type world struct {
	ctx     context.Context
	rnd     *rand.Rand
	engine  kv.Engine
	db      *meta.DB
	live    tree
	held    map[fs.FileID]bool // removed but open
	snaps   map[fs.SnapshotID]tree
	roots   map[fs.SnapshotID]fs.FileID
	early   error
	nextExt uint64
	now     time.Time
	bound   int // of background steps in a row; 0: none
}

func newWorld(ctx context.Context, seed uint64, engine kv.Engine) (*world, error) {
	w := &world{ctx: ctx, rnd: rand.New(rand.NewPCG(seed, 7)), engine: engine, live: tree{}, held: map[fs.FileID]bool{}, snaps: map[fs.SnapshotID]tree{},
		roots: map[fs.SnapshotID]fs.FileID{}, now: time.Unix(1_700_000_000, 0)}
	if err := meta.Format(ctx, engine, meta.FormatOptions{Now: w.now}); err != nil {
		return nil, err
	}
	w.live[fs.RootID] = &object{id: fs.RootID, typ: fs.Directory, mode: 0o755, names: map[string]fs.FileID{}}
	return w, w.open()
}

func (w *world) open() (err error) {
	w.db, err = meta.Open(w.ctx, w.engine, meta.Options{Release: func(_ context.Context, tx kv.Txn, sid fs.StreamID, ids []uint64) error {
		for _, x := range ids {
			// The rows live in the store so that a retried transaction counts once.
			var key []byte
			for e, err := range tx.Scan(w.ctx, kv.Prefix(holdKey(sid, x, 0)[:25]), kv.ScanOptions{Limit: 1}) {
				if err != nil {
					return err
				}
				key = bytes.Clone(e.Key)
			}
			if key == nil {
				w.early = fmt.Errorf("extent %d is released by stream %d, which does not hold it", x, sid)
				continue
			}
			tx.Delete(key)
		}
		return nil
	}})
	return err
}

// holdKey is a row of the model's table of holds.
func holdKey(sid fs.StreamID, extent, number uint64) []byte {
	k := binary.BigEndian.AppendUint64([]byte{0xf0}, 1)
	k = binary.BigEndian.AppendUint64(k, uint64(sid))
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(k, extent), number)
}

// holds reads how often streams hold extents.
func (w *world) holds() (map[meta.Hold]int, error) {
	out := map[meta.Hold]int{}
	err := w.engine.View(w.ctx, kv.Linearizable, func(r kv.Reader) error {
		clear(out)
		for e, err := range r.Scan(w.ctx, kv.Prefix([]byte{0xf0}), kv.ScanOptions{}) {
			if err != nil {
				return err
			}
			out[meta.Hold{Stream: fs.StreamID(binary.BigEndian.Uint64(e.Key[9:])), Extent: binary.BigEndian.Uint64(e.Key[17:])}]++
		}
		return nil
	})
	return out, err
}

// pick returns a random object of the live tree that fits.
func (w *world) pick(fits func(*object) bool) *object {
	var ids []fs.FileID
	for id, o := range w.live {
		if fits(o) && !w.held[id] {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	return w.live[ids[w.rnd.IntN(len(ids))]]
}

func isDir(o *object) bool  { return o.typ == fs.Directory }
func isFile(o *object) bool { return o.typ == fs.File }

var someNames = []string{"a", "b", "c", "A", "d", "e-longer-name", "ä", "Ä"}

func (w *world) name() string { return someNames[w.rnd.IntN(len(someNames))] }

// entry picks a random name of the live tree.
func (w *world) entry() (dir *object, name string, o *object) {
	dir = w.pick(func(o *object) bool { return isDir(o) && len(o.names) > 0 })
	if dir == nil {
		return nil, "", nil
	}
	ns := slices.Sorted(maps.Keys(dir.names))
	name = ns[w.rnd.IntN(len(ns))]
	return dir, name, w.live[dir.names[name]]
}

func (w *world) above(id, top fs.FileID) bool {
	for id != fs.RootID {
		if id == top {
			return true
		}
		id = w.live[id].parent
	}
	return top == fs.RootID
}

// forget drops an object without names from the model.
func (w *world) forget(o *object, hold bool) {
	if o.links > 0 {
		return
	}
	if hold {
		w.held[o.id] = true
		return
	}
	delete(w.live, o.id)
}

// unlinkIn takes a name away in a transaction as the core does.
func unlinkIn(ctx context.Context, tx *meta.Txn, d *meta.Inode, name string, hold bool) error {
	e, err := tx.Dentry(ctx, d.ID, name)
	if err != nil {
		return err
	}
	i, err := tx.Inode(ctx, e.ID)
	if err != nil {
		return err
	}
	if err := tx.RemoveDentry(ctx, d, e, i, meta.Leaves); err != nil {
		return err
	}
	i.Change++
	if i.Type == fs.Directory {
		i.Links = 0
	}
	if i.Links > 0 {
		return tx.PutInode(ctx, i)
	}
	return tx.FreeInode(ctx, i, hold)
}

func (w *world) step() error {
	ctx := w.ctx
	switch k := w.rnd.IntN(100); {
	case k < 22:
		return w.create()
	case k < 27:
		return w.link()
	case k < 41:
		return w.remove()
	case k < 53:
		return w.rename()
	case k < 58:
		o := w.pick(func(o *object) bool { return true })
		mode := fs.Mode(w.rnd.IntN(0o1000))
		o.mode = mode
		return w.db.Update(ctx, func(tx *meta.Txn) error {
			i, err := tx.Inode(ctx, o.id)
			if err != nil {
				return err
			}
			i.Mode = mode
			i.Change++
			return tx.PutInode(ctx, i)
		})
	case k < 70:
		return w.write()
	case k < 74:
		return w.copy()
	case k < 79:
		return w.xattr()
	case k < 85:
		return w.snapshot()
	case k < 90:
		return w.unsnapshot()
	case k < 92:
		for id := range w.held { // a last close
			delete(w.held, id)
			delete(w.live, id)
			for {
				done, err := w.db.StepOrphan(ctx, id)
				if done || err != nil {
					return err
				}
			}
		}
		return nil
	case k < 94:
		_, err := w.db.StepSnapshotDelete(ctx)
		return err
	case k < 96:
		_, err := w.db.StepRelease(ctx)
		return err
	case k < 98:
		return w.db.Roll(ctx)
	default: // a restart: memory is lost, pending deltas are found again
		return w.open()
	}
}

func (w *world) create() error {
	ctx := w.ctx
	d := w.pick(isDir)
	name := w.name()
	if _, ok := d.names[name]; ok {
		return nil
	}
	id, err := w.db.NewFileID(ctx)
	if err != nil {
		return err
	}
	o := &object{id: id, typ: fs.File, mode: 0o644, links: 1, chunks: map[uint64][]meta.Frag{}, xattrs: map[string]string{}, parent: d.id}
	if w.rnd.IntN(3) == 0 {
		o.typ, o.names = fs.Directory, map[string]fs.FileID{}
	}
	d.names[name] = id
	w.live[id] = o
	return w.db.Update(ctx, func(tx *meta.Txn) error {
		p, err := tx.Inode(ctx, d.id)
		if err != nil {
			return err
		}
		i := &meta.Inode{ID: id, Type: o.typ, Mode: o.mode, Change: 1}
		if o.typ == fs.Directory {
			i.Links = 2
			tx.NewTotals(id)
		} else {
			i.Data.ID = fs.StreamID(id)
		}
		if _, err := tx.AddDentry(ctx, p, name, i); err != nil {
			return err
		}
		p.Change++
		if err := tx.PutInode(ctx, i); err != nil {
			return err
		}
		return tx.PutInode(ctx, p)
	})
}

func (w *world) link() error {
	ctx := w.ctx
	d, o, name := w.pick(isDir), w.pick(isFile), w.name()
	if o == nil {
		return nil
	}
	if _, ok := d.names[name]; ok {
		return nil
	}
	d.names[name] = o.id
	o.links++
	return w.db.Update(ctx, func(tx *meta.Txn) error {
		p, err := tx.Inode(ctx, d.id)
		if err != nil {
			return err
		}
		i, err := tx.Inode(ctx, o.id)
		if err != nil {
			return err
		}
		if _, err := tx.AddDentry(ctx, p, name, i); err != nil {
			return err
		}
		i.Change++
		p.Change++
		if err := tx.PutInode(ctx, i); err != nil {
			return err
		}
		return tx.PutInode(ctx, p)
	})
}

func (w *world) remove() error {
	ctx := w.ctx
	d, name, o := w.entry()
	if d == nil || isDir(o) && len(o.names) > 0 {
		return nil
	}
	hold := isFile(o) && w.rnd.IntN(6) == 0
	delete(d.names, name)
	o.links--
	w.forget(o, hold)
	return w.db.Update(ctx, func(tx *meta.Txn) error {
		p, err := tx.Inode(ctx, d.id)
		if err != nil {
			return err
		}
		if err := unlinkIn(ctx, tx, p, name, hold); err != nil {
			return err
		}
		p.Change++
		return tx.PutInode(ctx, p)
	})
}

func (w *world) rename() error {
	ctx := w.ctx
	d, name, o := w.entry()
	if d == nil {
		return nil
	}
	to, toName := w.pick(isDir), w.name()
	if isDir(o) && w.above(to.id, o.id) || d == to && name == toName {
		return nil
	}
	replaced := w.live[to.names[toName]]
	if replaced == o {
		return nil
	}
	if replaced != nil {
		if isDir(replaced) != isDir(o) || isDir(replaced) && len(replaced.names) > 0 {
			return nil
		}
		replaced.links--
		w.forget(replaced, false)
	}
	delete(d.names, name)
	to.names[toName] = o.id
	if isDir(o) {
		o.parent = to.id
	}
	update := w.db.Update
	whole := isDir(o) && d != to
	if whole {
		update = w.db.Exclusive
	}
	return update(ctx, func(tx *meta.Txn) error {
		src, err := tx.Inode(ctx, d.id)
		if err != nil {
			return err
		}
		dst := src
		if d != to {
			if dst, err = tx.Inode(ctx, to.id); err != nil {
				return err
			}
		}
		e, err := tx.Dentry(ctx, src.ID, name)
		if err != nil {
			return err
		}
		i, err := tx.Inode(ctx, o.id)
		if err != nil {
			return err
		}
		if replaced != nil {
			if err := unlinkIn(ctx, tx, dst, toName, false); err != nil {
				return err
			}
		}
		leave := meta.Leaves
		if d == to {
			leave = meta.Stays
		}
		if err := tx.RemoveDentry(ctx, src, e, i, leave); err != nil {
			return err
		}
		if _, err := tx.AddDentry(ctx, dst, toName, i); err != nil {
			return err
		}
		if whole {
			if err := tx.MoveTotals(ctx, i.ID, src.ID, dst.ID); err != nil {
				return err
			}
			if err := tx.BumpTopology(ctx); err != nil {
				return err
			}
		}
		i.Change++
		src.Change++
		dst.Change++
		if err := tx.PutInode(ctx, i); err != nil {
			return err
		}
		if dst != src {
			if err := tx.PutInode(ctx, dst); err != nil {
				return err
			}
		}
		return tx.PutInode(ctx, src)
	})
}

const block = fs.BlockSize

// write maps a fresh extent over a few blocks of a chunk, or truncates.
func (w *world) write() error {
	ctx := w.ctx
	o := w.pick(isFile)
	if w.rnd.IntN(10) == 0 {
		for id := range w.held { // writes to a removed open file
			o = w.live[id]
		}
	}
	if o == nil {
		return nil
	}
	idx := uint64(w.rnd.IntN(3))
	cut := w.rnd.IntN(5) == 0
	from := uint32(w.rnd.IntN(6))
	n := uint32(1 + w.rnd.IntN(3))
	w.nextExt++
	ext := w.nextExt
	frags := cutOut(o.chunks[idx], from*block, (from+n)*block)
	if !cut {
		frags = append(frags, meta.Frag{Off: from * block, Len: n * block, Extent: ext})
		slices.SortFunc(frags, func(a, b meta.Frag) int { return int(a.Off) - int(b.Off) })
		o.size = max(o.size, idx*(4<<20)+uint64(from+n)*block)
	}
	o.chunks[idx] = frags
	if len(frags) == 0 {
		delete(o.chunks, idx)
	}
	return w.db.Update(ctx, func(tx *meta.Txn) error {
		i, err := tx.Inode(ctx, o.id)
		if err != nil {
			return err
		}
		c, err := tx.Chunk(ctx, i.Data.ID, idx)
		if err != nil {
			return err
		}
		if c == nil {
			c = &meta.Chunk{}
		}
		before := bytesOf(c.Frags)
		c.Frags = slices.Clone(frags)
		if !cut {
			tx.KV().Put(holdKey(i.Data.ID, ext, 0), []byte{1})
		}
		if err := tx.PutChunk(ctx, i.ID, i.Data.ID, idx, c); err != nil {
			return err
		}
		grown := bytesOf(frags) - before
		i.Data.AllocBytes = uint64(int64(i.Data.AllocBytes) + grown)
		d := meta.Delta{DataBytes: grown, LogicalBytes: int64(o.size) - int64(i.Data.Size)}
		i.Data.Size = o.size
		i.Change++
		if i.Parent != 0 {
			if err := tx.AddDelta(ctx, i.Parent, d); err != nil {
				return err
			}
		}
		return tx.PutInode(ctx, i)
	})
}

// copy maps what some chunk of a file, now or as of a snapshot, maps into another
// chunk of any file, moved by some blocks.
func (w *world) copy() error {
	ctx := w.ctx
	src, at := w.live, fs.SnapshotID(0)
	if ids := slices.Sorted(maps.Keys(w.snaps)); len(ids) > 0 && w.rnd.IntN(2) == 0 {
		at = ids[w.rnd.IntN(len(ids))]
		src = w.snaps[at]
	}
	var from []*object
	for _, id := range slices.Sorted(maps.Keys(src)) {
		if o := src[id]; isFile(o) && len(o.chunks) > 0 && (at != 0 || !w.held[id]) {
			from = append(from, o)
		}
	}
	to := w.pick(isFile)
	if len(from) == 0 || to == nil {
		return nil
	}
	o := from[w.rnd.IntN(len(from))]
	if live := src[to.id]; live != nil && len(live.chunks) > 0 && w.rnd.IntN(3) == 0 {
		o = live // back, or within one file
	}
	ids := slices.Sorted(maps.Keys(o.chunks))
	srcIdx, idx := ids[w.rnd.IntN(len(ids))], uint64(w.rnd.IntN(3))
	shift := uint32(w.rnd.IntN(3))
	if w.rnd.IntN(2) == 0 {
		shift = 0
	}
	part := slices.Clone(o.chunks[srcIdx])
	if k := w.rnd.IntN(len(part)); w.rnd.IntN(2) == 0 {
		part = part[k : k+1]
	}
	frags := slices.Clone(to.chunks[idx])
	var shared []uint64
	end := uint64(0)
	for _, f := range part {
		f.Off += shift * block
		frags = append(cutOut(frags, f.Off, f.Off+f.Len), f)
		shared = append(shared, f.Extent)
		end = max(end, idx*(4<<20)+uint64(f.Off+f.Len))
	}
	slices.SortFunc(frags, func(a, b meta.Frag) int { return int(a.Off) - int(b.Off) })
	slices.Sort(shared)
	shared = slices.Compact(shared)
	to.chunks[idx] = frags
	to.size = max(to.size, end)
	return w.db.Update(ctx, func(tx *meta.Txn) error {
		i, err := tx.Inode(ctx, to.id)
		if err != nil {
			return err
		}
		c, err := tx.Chunk(ctx, i.Data.ID, idx)
		if err != nil {
			return err
		}
		if c == nil {
			c = &meta.Chunk{}
		}
		grown := bytesOf(frags) - bytesOf(c.Frags)
		c.Frags = slices.Clone(frags)
		more, err := tx.PutShared(ctx, i.ID, i.Data.ID, idx, c, shared)
		if err != nil {
			return err
		}
		for _, x := range more {
			tx.KV().Put(holdKey(i.Data.ID, x, tx.Number()), []byte{1})
		}
		i.Data.AllocBytes = uint64(int64(i.Data.AllocBytes) + grown)
		d := meta.Delta{DataBytes: grown, LogicalBytes: int64(to.size) - int64(i.Data.Size)}
		i.Data.Size = to.size
		i.Change++
		if i.Parent != 0 {
			if err := tx.AddDelta(ctx, i.Parent, d); err != nil {
				return err
			}
		}
		return tx.PutInode(ctx, i)
	})
}

func bytesOf(fr []meta.Frag) (n int64) {
	for _, f := range fr {
		n += int64(f.Len)
	}
	return n
}

func cutOut(fr []meta.Frag, from, to uint32) []meta.Frag {
	var out []meta.Frag
	for _, f := range fr {
		end := f.Off + f.Len
		if f.Off < from {
			out = append(out, meta.Frag{Off: f.Off, Len: min(end, from) - f.Off, Extent: f.Extent, ExtOff: f.ExtOff})
		}
		if end > to {
			s := max(f.Off, to)
			out = append(out, meta.Frag{Off: s, Len: end - s, Extent: f.Extent, ExtOff: f.ExtOff + s - f.Off})
		}
	}
	return out
}

func (w *world) xattr() error {
	ctx := w.ctx
	o := w.pick(isFile)
	if o == nil {
		return nil
	}
	key, val := fmt.Sprintf("k%d", w.rnd.IntN(3)), fmt.Sprintf("v%d", w.rnd.IntN(1000))
	_, had := o.xattrs[key]
	remove := had && w.rnd.IntN(2) == 0
	if remove {
		delete(o.xattrs, key)
	} else {
		o.xattrs[key] = val
	}
	return w.db.Update(ctx, func(tx *meta.Txn) error {
		i, err := tx.Inode(ctx, o.id)
		if err != nil {
			return err
		}
		if remove {
			i.Xattrs--
			if err := tx.DeleteXattr(ctx, i.ID, fs.MetaXattr, key); err != nil {
				return err
			}
		} else {
			created, err := tx.PutXattr(ctx, i.ID, fs.MetaXattr, key, []byte(val))
			if err != nil {
				return err
			}
			if created {
				i.Xattrs++
			}
		}
		i.Change++
		return tx.PutInode(ctx, i)
	})
}

func (w *world) snapshot() error {
	if len(w.snaps) > 6 {
		return nil
	}
	d := w.pick(isDir)
	s, err := w.db.TakeSnapshot(w.ctx, fs.Snapshot{Root: d.id, Created: w.now}, func(id fs.SnapshotID) string { return fmt.Sprint(id) })
	if err != nil {
		return err
	}
	w.snaps[s.ID] = w.live.below(d.id)
	w.roots[s.ID] = d.id
	return nil
}

func (w *world) unsnapshot() error {
	ids := slices.Sorted(maps.Keys(w.snaps))
	if len(ids) == 0 {
		return nil
	}
	id := ids[w.rnd.IntN(len(ids))] // in any order
	delete(w.snaps, id)
	return w.db.DeleteSnapshot(w.ctx, id, func(*fs.Snapshot) error { return nil })
}

// run plays ops operations and compares every now and then.
func run(ctx context.Context, seed uint64, ops int, engine kv.Engine) error {
	w, err := newWorld(ctx, seed, engine)
	if err != nil {
		return err
	}
	return w.play(seed, ops)
}

func (w *world) play(seed uint64, ops int) error {
	for n := range ops {
		if err := w.step(); err != nil {
			return fmt.Errorf("seed %d, operation %d: %w", seed, n, err)
		}
		if n%20 == 19 {
			if err := w.compare(); err != nil {
				return fmt.Errorf("seed %d, after operation %d: %w", seed, n, err)
			}
		}
	}
	if err := w.finish(); err != nil {
		return fmt.Errorf("seed %d, at the end: %w", seed, err)
	}
	return nil
}

func TestModel(t *testing.T) {
	runs := 120
	if testing.Short() {
		runs = 20
	}
	for seed := range uint64(runs) {
		if err := run(t.Context(), seed, 300, memkv.New()); err != nil {
			t.Fatal(err)
		}
	}
}
