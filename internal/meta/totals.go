package meta

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// Delta is a change of totals; totals themselves have the same fields.
type Delta struct {
	DataBytes    int64
	MetaBytes    int64
	LogicalBytes int64
	Files        int64
	Directories  int64
	Symlinks     int64
	Other        int64
	Streams      int64
	StreamBytes  int64
	WORM         int64
}

func (d *Delta) fields() [10]*int64 {
	return [10]*int64{&d.DataBytes, &d.MetaBytes, &d.LogicalBytes, &d.Files, &d.Directories, &d.Symlinks, &d.Other, &d.Streams, &d.StreamBytes, &d.WORM}
}

// Add sums.
func (d *Delta) Add(o Delta) {
	f, g := d.fields(), o.fields()
	for i := range f {
		*f[i] += *g[i]
	}
}

func (d Delta) neg() Delta {
	for _, f := range d.fields() {
		*f = -*f
	}
	return d
}

// Capacity is what counts against quotas: all blocks.
func (d Delta) Capacity() int64 { return d.DataBytes + d.MetaBytes + d.StreamBytes }

func (d *Delta) encode(e *encoder) {
	for _, f := range d.fields() {
		e.i(*f)
	}
}

func (d *Delta) decode(in *decoder) {
	for _, f := range d.fields() {
		*f = in.i()
	}
}

// ObjectDelta is what an object adds to the totals of the directory that has
// its primary link. Of a directory only itself, not what is below.
func ObjectDelta(n *Inode) Delta {
	d := Delta{MetaBytes: MetaBytesPerObject, DataBytes: int64(n.Data.AllocBytes), Streams: int64(n.NamedStreams), StreamBytes: int64(n.StreamBytes)}
	switch n.Type {
	case fs.File:
		d.Files = 1
		d.LogicalBytes = int64(n.Data.Size)
	case fs.Directory:
		d.Directories = 1
	case fs.Symlink:
		d.Symlinks = 1
	default:
		d.Other = 1
	}
	if n.LegalHold || n.Retention != (fs.Time{}) {
		d.WORM = 1
	}
	return d
}

// totals is the stored record of a directory.
type totals struct {
	Birth  uint64
	Totals Delta
	// Gone: the directory was removed; what is still pending goes to Parent.
	Gone   bool
	Parent fs.FileID
}

func (t *totals) encode() []byte {
	e := newEncoder(48, t.Birth)
	t.Totals.encode(&e)
	if t.Gone {
		e.b(1)
		e.u(uint64(t.Parent))
	} else {
		e.b(0)
	}
	return e
}

func decodeTotals(dir fs.FileID, v []byte) (totals, error) {
	d, birth := newDecoder(v)
	t := totals{Birth: birth}
	t.Totals.decode(&d)
	if d.byte() == 1 {
		t.Gone, t.Parent = true, fs.FileID(d.u())
	}
	return t, d.end("totals", uint64(dir))
}

// pendingDelta is a delta written by a transaction.
type pendingDelta struct {
	dir   fs.FileID
	mark  uint64
	delta Delta
}

// AddDelta posts a change of the totals of dir and so of all above it.
func (tx *Txn) AddDelta(ctx context.Context, dir fs.FileID, d Delta) error {
	if d == (Delta{}) || dir == 0 {
		return nil
	}
	if tx.pendDir == dir {
		tx.pending.Add(d)
		return nil
	}
	if tx.pendDir != 0 {
		for i := range tx.deltas {
			if tx.deltas[i].dir == dir {
				tx.deltas[i].delta.Add(d)
				return nil
			}
		}
		tx.deltas = append(tx.deltas, pendingDelta{dir: dir, delta: d})
		return nil
	}
	tx.pendDir, tx.pending = dir, d
	return nil
}

func (tx *Txn) writeDeltas() {
	if tx.pendDir != 0 {
		tx.deltas = append(tx.deltas, pendingDelta{dir: tx.pendDir, delta: tx.pending})
		tx.pendDir, tx.pending = 0, Delta{}
	}
	out := tx.deltas[:0]
	for _, p := range tx.deltas {
		if p.delta == (Delta{}) {
			continue
		}
		m := tx.db.mark()
		p.mark = m
		e := newEncoder(32, tx.epoch)
		p.delta.encode(&e)
		tx.kv.Put(deltaKey(p.dir, m), e)
		out = append(out, p)
	}
	tx.deltas = out
}

// snapshotsDir is the id under which the bytes that only snapshots keep are
// counted, as a directory's are; no object has it.
const snapshotsDir fs.FileID = 1

// addSnapshotBytes counts what came to be kept by snapshots only, or ceased to be.
func (tx *Txn) addSnapshotBytes(ctx context.Context, n int64) error {
	return tx.AddDelta(ctx, snapshotsDir, Delta{DataBytes: n})
}

// lost is how many bytes of old lie in extents that now does not map.
func lost(old, now []Frag) int64 {
	gone := missing(old, now)
	if len(gone) == 0 {
		return 0
	}
	n := int64(0)
	for _, f := range old {
		if slices.Contains(gone, f.Extent) {
			n += int64(f.Len)
		}
	}
	return n
}

// SnapshotBytes is how many bytes of data snapshots alone keep: of each version
// of a chunk that is not the present one, what lies in extents that the next
// does not map. They would be free were there no snapshots, but for what other
// files share.
func (db *DB) SnapshotBytes(ctx context.Context) (uint64, error) {
	d, err := db.TotalsOf(ctx, 0, snapshotsDir)
	if errors.Is(err, ErrNotFound) {
		return 0, nil // there never were any
	}
	return uint64(max(0, d.DataBytes)), err
}

// NewTotals gives a new directory its empty record.
func (tx *Txn) NewTotals(dir fs.FileID) {
	t := totals{Birth: tx.epoch}
	tx.kv.Put(totalsKey(dir), t.encode())
}

// deleteTotals leaves a mark that sends what is still pending to the parent.
func (tx *Txn) deleteTotals(ctx context.Context, n *Inode) error {
	key := totalsKey(n.ID)
	v, err := tx.kv.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("meta: read totals of %d: %w", n.ID, err)
	}
	t, err := decodeTotals(n.ID, v)
	if err != nil {
		return err
	}
	if _, err := tx.keep(ctx, n.ID, key, t.Birth); err != nil {
		return err
	}
	t.Gone, t.Parent, t.Birth = true, n.OrphanedFrom, tx.epoch
	tx.kv.Put(key, t.encode())
	// An empty delta keeps the mark known until the roller retires it.
	m := tx.db.mark()
	e := newEncoder(16, tx.epoch)
	(&Delta{}).encode(&e)
	tx.kv.Put(deltaKey(n.ID, m), e)
	tx.gone = append(tx.gone, pendingDelta{dir: n.ID, mark: m})
	return nil
}

// MoveTotals moves the totals of the tree of dir from one parent to another.
// Only inside Exclusive, where nothing is pending.
func (tx *Txn) MoveTotals(ctx context.Context, dir, from, to fs.FileID) error {
	v, err := tx.kv.Get(ctx, totalsKey(dir))
	if err != nil {
		return fmt.Errorf("meta: read totals of %d: %w", dir, err)
	}
	t, err := decodeTotals(dir, v)
	if err != nil {
		return err
	}
	if err := tx.AddDelta(ctx, from, t.Totals.neg()); err != nil {
		return err
	}
	return tx.AddDelta(ctx, to, t.Totals)
}

// dirDeltas are the committed deltas of one directory.
type dirDeltas struct {
	marks  []uint64
	deltas []Delta // of each mark
	sum    Delta   // of all
}

func (d *dirDeltas) add(mark uint64, one Delta) {
	d.marks = append(d.marks, mark)
	d.deltas = append(d.deltas, one)
	d.sum.Add(one)
}

// deltaQueue knows all committed deltas that are not yet rolled up.
type deltaQueue struct {
	mu   sync.Mutex
	dirs map[fs.FileID]*dirDeltas
	// retire are removed directories whose records wait until no transaction
	// can still be about to register a delta below them.
	retire []retiree

	roll sync.Mutex // one roller at a time
}

type retiree struct {
	dir   fs.FileID
	mark  uint64
	since time.Time
}

// retireAfter is longer than any transaction may take from its commit to its
// registration.
const retireAfter = 10 * time.Second

func (q *deltaQueue) add(p pendingDelta) {
	d := q.dirs[p.dir]
	if d == nil {
		d = &dirDeltas{}
		q.dirs[p.dir] = d
	}
	d.add(p.mark, p.delta)
}

// register makes the deltas of a committed transaction known to the roller.
func (db *DB) register(tx *Txn) {
	if len(tx.deltas) == 0 && len(tx.gone) == 0 {
		return
	}
	if db.o.Committed != nil {
		for _, p := range tx.deltas {
			db.o.Committed(p.dir, p.delta)
		}
	}
	q := &db.deltas
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range tx.deltas {
		q.add(p)
	}
	for _, p := range tx.gone {
		q.retire = append(q.retire, retiree{p.dir, p.mark, time.Now()})
	}
}

// loadDeltas finds what a crash left pending.
func (db *DB) loadDeltas(ctx context.Context) error {
	from := []byte{tagDelta}
	for {
		n := 0
		err := db.kv.View(ctx, kv.Linearizable, func(r kv.Reader) error {
			rng := table(tagDelta)
			rng.Start = from
			for e, err := range r.Scan(ctx, rng, kv.ScanOptions{Limit: 10_000}) {
				if err != nil {
					return err
				}
				n++
				from = append(append(from[:0], e.Key...), 0)
				if len(e.Key) != 17 {
					return fmt.Errorf("%w: delta key", ErrCorrupt)
				}
				d, _ := newDecoder(e.Value)
				p := pendingDelta{dir: fs.FileID(idOf(e.Key)), mark: binary.BigEndian.Uint64(e.Key[9:])}
				p.delta.decode(&d)
				if err := d.end("delta", uint64(p.dir)); err != nil {
					return err
				}
				if p.delta == (Delta{}) {
					db.deltas.retire = append(db.deltas.retire, retiree{dir: p.dir, mark: p.mark})
				} else {
					db.deltas.add(p)
				}
			}
			return nil
		})
		if err != nil || n < 10_000 {
			return err
		}
	}
}

// Pending is how many directories have deltas to roll up.
func (db *DB) Pending() int {
	db.deltas.mu.Lock()
	defer db.deltas.mu.Unlock()
	return len(db.deltas.dirs)
}

// rollPerTxn bounds the keys of one roll transaction: each delta is a key, each
// directory a few more.
const rollPerTxn = 180

// Roll folds every delta that was registered before the call into the totals
// of its directory and of all above, deepest first.
func (db *DB) Roll(ctx context.Context) error {
	q := &db.deltas
	q.roll.Lock()
	defer q.roll.Unlock()

	q.mu.Lock()
	todo := q.dirs
	q.dirs = map[fs.FileID]*dirDeltas{}
	q.mu.Unlock()
	for len(todo) > 0 {
		if err := db.rollSome(ctx, todo); err != nil {
			q.mu.Lock()
			for dir, d := range todo { // put back what is left
				have := q.dirs[dir]
				if have == nil {
					q.dirs[dir] = d
					continue
				}
				have.marks = append(have.marks, d.marks...)
				have.deltas = append(have.deltas, d.deltas...)
				have.sum.Add(d.sum)
			}
			q.mu.Unlock()
			return fmt.Errorf("meta: roll up totals: %w", err)
		}
	}
	return db.retireSome(ctx)
}

// retireSome removes the records of directories that went long enough ago.
func (db *DB) retireSome(ctx context.Context) error {
	q := &db.deltas
	q.mu.Lock()
	limit := time.Now().Add(-retireAfter)
	var now []retiree
	for len(q.retire) > 0 && len(now) < rollPerTxn/2 && q.retire[0].since.Before(limit) {
		now = append(now, q.retire[0])
		q.retire = q.retire[1:]
	}
	q.mu.Unlock()
	if len(now) == 0 {
		return nil
	}
	_, err := db.kv.Update(ctx, func(k kv.Txn) error {
		for _, g := range now {
			k.Delete(totalsKey(g.dir))
			k.DeleteOnce(deltaKey(g.dir, g.mark))
		}
		return nil
	})
	if err != nil {
		q.mu.Lock()
		q.retire = append(now, q.retire...)
		q.mu.Unlock()
		return fmt.Errorf("meta: retire totals: %w", err)
	}
	return nil
}

// rollSome folds a bounded part of todo: the marks of some directories, and
// what they pass on to the directories above as new deltas, which join todo.
func (db *DB) rollSome(ctx context.Context, todo map[fs.FileID]*dirDeltas) error {
	// Choose directories, the deepest first, so that a chain folds in few steps.
	type item struct {
		dir   fs.FileID
		depth int
	}
	items := make([]item, 0, len(todo))
	err := db.view(ctx, func(r kv.Reader) error {
		items = items[:0]
		for dir := range todo {
			anc, err := db.ancestors(ctx, r, dir)
			if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
			depth := len(anc)
			if err != nil {
				depth = 1 << 20 // removed: first of all
			}
			items = append(items, item{dir, depth})
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(items, func(a, b item) int {
		if a.depth != b.depth {
			return b.depth - a.depth
		}
		return int(int64(a.dir) - int64(b.dir))
	})

	// What the transaction takes: a prefix of items, perhaps part of one's marks.
	type part struct {
		dir   fs.FileID
		marks []uint64
		sum   Delta
	}
	var parts []part
	budget := rollPerTxn
	for _, it := range items {
		if budget < 7 {
			break
		}
		d := todo[it.dir]
		n := min(len(d.marks), budget-6)
		p := part{dir: it.dir, marks: d.marks[:n], sum: d.sum}
		if n < len(d.marks) {
			p.sum = Delta{}
			for _, one := range d.deltas[:n] {
				p.sum.Add(one)
			}
		}
		parts = append(parts, p)
		budget -= n + 6
	}

	type forward struct {
		dir  fs.FileID
		mark uint64
		sum  Delta
	}
	var forwards []forward
	_, err = db.kv.Update(ctx, func(k kv.Txn) error {
		forwards = forwards[:0]
		ep, err := readEpoch(ctx, k)
		if err != nil {
			return err
		}
		tx := &Txn{Reader: Reader{db: db, r: k}, kv: k, epoch: ep.Epoch, newest: ep.Newest, ep: ep}
		passed := map[fs.FileID]Delta{}
		for _, p := range parts {
			sum := p.sum
			for _, m := range p.marks {
				k.DeleteOnce(deltaKey(p.dir, m))
			}
			if up, ok := passed[p.dir]; ok {
				sum.Add(up)
				delete(passed, p.dir)
			}
			parent, err := tx.fold(ctx, p.dir, sum)
			if err != nil {
				return err
			}
			if parent != 0 && sum != (Delta{}) {
				up := passed[parent]
				up.Add(sum)
				passed[parent] = up
			}
		}
		for dir, sum := range passed {
			if sum == (Delta{}) {
				continue
			}
			m := db.mark()
			e := newEncoder(32, ep.Epoch)
			sum.encode(&e)
			k.Put(deltaKey(dir, m), e)
			forwards = append(forwards, forward{dir, m, sum})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range parts {
		d := todo[p.dir]
		if len(p.marks) == len(d.marks) {
			delete(todo, p.dir)
			continue
		}
		d.marks, d.deltas = d.marks[len(p.marks):], d.deltas[len(p.marks):]
		d.sum.Add(p.sum.neg())
	}
	for _, f := range forwards {
		d := todo[f.dir]
		if d == nil {
			d = &dirDeltas{}
			todo[f.dir] = d
		}
		d.add(f.mark, f.sum)
	}
	return nil
}

// fold adds sum to the record of dir and returns the directory above, 0 if none.
func (tx *Txn) fold(ctx context.Context, dir fs.FileID, sum Delta) (fs.FileID, error) {
	key := totalsKey(dir)
	v, err := tx.kv.Get(ctx, key)
	if dir == snapshotsDir && errors.Is(err, kv.ErrNotFound) {
		v, err = (&totals{Birth: tx.epoch}).encode(), nil
	}
	if errors.Is(err, kv.ErrNotFound) {
		return 0, fmt.Errorf("%w: directory %d has no totals", ErrCorrupt, dir)
	}
	if err != nil {
		return 0, err
	}
	t, err := decodeTotals(dir, v)
	if err != nil {
		return 0, err
	}
	if t.Gone {
		return t.Parent, nil
	}
	if sum != (Delta{}) {
		if dir != snapshotsDir {
			if _, err := tx.keep(ctx, dir, key, t.Birth); err != nil {
				return 0, err
			}
		}
		t.Birth = tx.epoch
		t.Totals.Add(sum)
		tx.kv.Put(key, t.encode())
	}
	if dir == snapshotsDir {
		return 0, nil
	}
	l, err := tx.dirLink(ctx, dir)
	if err != nil {
		return 0, fmt.Errorf("meta: directory above %d: %w", dir, err)
	}
	// The link must still hold when this commits.
	return l.parent, tx.readTopology(ctx)
}

// TotalsOf returns the exact totals of the tree of a directory. ErrNotFound.
func (db *DB) TotalsOf(ctx context.Context, snap fs.SnapshotID, dir fs.FileID) (Delta, error) {
	if snap == 0 {
		if err := db.Roll(ctx); err != nil {
			return Delta{}, err
		}
	}
	var d Delta
	err := db.ViewAt(ctx, snap, func(r *Reader) error {
		var err error
		d, err = r.Totals(ctx, dir)
		return err
	})
	return d, err
}

// Totals returns the stored totals of a directory; see DB.TotalsOf for the live tree.
func (r *Reader) Totals(ctx context.Context, dir fs.FileID) (Delta, error) {
	v, err := r.get(ctx, totalsKey(dir))
	if err != nil {
		return Delta{}, err
	}
	t, err := decodeTotals(dir, v)
	if err == nil && t.Gone {
		err = ErrNotFound
	}
	return t.Totals, err
}
