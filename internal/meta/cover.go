package meta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// ownerInfo is what coverage needs of an inode as stored before the transaction.
type ownerInfo struct {
	parent fs.FileID
	extra  bool
	dir    bool
	cover  []Cover
}

func (tx *Txn) remember(n *Inode) {
	if tx.owners == nil {
		tx.owners = map[fs.FileID]ownerInfo{}
	}
	if _, ok := tx.owners[n.ID]; !ok {
		tx.owners[n.ID] = ownerInfo{n.Parent, n.Extra != 0, n.Type == fs.Directory, slices.Clone(n.Cover)}
	}
}

// age copies the stored value of key to history if a live snapshot needs it,
// and logs the change (kind 0: not logged).
func (tx *Txn) age(ctx context.Context, owner fs.FileID, key []byte, birth uint64, kind byte) error {
	if tx.newest == 0 {
		return nil
	}
	if birth != 0 && birth <= tx.newest {
		if _, err := tx.keep(ctx, owner, key, birth); err != nil {
			return err
		}
	}
	if kind != 0 && birth != tx.epoch {
		return tx.log(ctx, owner, kind, "")
	}
	return nil
}

// keep copies the stored value of key, of birth birth, to history if a live
// snapshot needs it, and says whether it did.
func (tx *Txn) keep(ctx context.Context, owner fs.FileID, key []byte, birth uint64) (bool, error) {
	if birth == 0 || birth > tx.newest || birth >= tx.epoch {
		return false, nil
	}
	s, err := tx.newestCovering(ctx, owner, birth)
	if err != nil || s == 0 {
		return false, err
	}
	v, err := tx.kv.Unvalidated().Get(ctx, key)
	if err != nil {
		return false, fmt.Errorf("meta: read what a snapshot needs: %w", err)
	}
	h := historyKey(key, tx.epoch)
	tx.kv.Put(h, v)
	tx.kv.Put(deathKey(fs.SnapshotID(s), h), []byte{recordFormat})
	return true, nil
}

// newestCovering returns the newest live snapshot of at least epoch since that
// sees owner, 0 if none.
func (tx *Txn) newestCovering(ctx context.Context, owner fs.FileID, since uint64) (uint64, error) {
	list, err := tx.db.snaps.get(ctx, tx.kv.Unvalidated(), tx.ep)
	if err != nil {
		return 0, err
	}
	if len(list.roots) == 0 {
		return 0, nil
	}
	cov, err := tx.coverage(ctx, owner)
	if err != nil {
		return 0, err
	}
	best := uint64(0)
	for _, c := range cov {
		for _, s := range list.roots[c.Root] { // newest first
			if s <= c.UpTo {
				best = max(best, s)
				break
			}
		}
	}
	if best < since {
		return 0, nil
	}
	return best, nil
}

const forever = ^uint64(0)

// coverage lists the directories whose snapshots see owner as stored.
func (tx *Txn) coverage(ctx context.Context, owner fs.FileID) ([]Cover, error) {
	if err := tx.readTopology(ctx); err != nil {
		return nil, err
	}
	o, ok := tx.owners[owner]
	if !ok {
		n, err := (&Reader{db: tx.db, r: tx.kv.Unvalidated()}).Inode(ctx, owner)
		if errors.Is(err, ErrNotFound) {
			return nil, nil // made in this transaction: no snapshot sees it
		}
		if err != nil {
			return nil, err
		}
		tx.remember(n)
		o = tx.owners[owner]
	}
	if o.dir {
		return tx.dirCoverage(ctx, owner)
	}
	// A snapshot may root at the file itself.
	cov := append([]Cover{{owner, forever}}, o.cover...)
	dirs := []fs.FileID{o.parent}
	if o.extra {
		r := &Reader{db: tx.db, r: tx.kv.Unvalidated()}
		ls, err := r.Links(ctx, &Inode{ID: owner, Extra: 1})
		if err != nil {
			return nil, err
		}
		for _, l := range ls {
			dirs = append(dirs, l.Dir)
		}
	}
	for _, d := range dirs {
		if d == 0 {
			continue
		}
		c, err := tx.dirCoverage(ctx, d)
		if err != nil {
			return nil, err
		}
		cov = append(cov, c...)
	}
	return cov, nil
}

// dirCoverage walks from a directory to the root and gathers cover lists.
func (tx *Txn) dirCoverage(ctx context.Context, dir fs.FileID) ([]Cover, error) {
	var cov []Cover
	for range maxDepth {
		cov = append(cov, Cover{dir, forever})
		l, err := tx.dirLink(ctx, dir)
		if errors.Is(err, ErrNotFound) {
			return cov, nil
		}
		if err != nil {
			return nil, err
		}
		cov = append(cov, l.cover...)
		if l.parent == 0 {
			return cov, nil
		}
		dir = l.parent
	}
	return nil, fmt.Errorf("%w: directory %d is deeper than %d", ErrCorrupt, dir, maxDepth)
}

// maxDepth bounds walks to the root; paths are at most 32,760 bytes.
const maxDepth = 1 << 15

// stamp notes on n which snapshots see it now, before a name of it goes.
func (tx *Txn) stamp(ctx context.Context, n *Inode) error {
	if tx.newest == 0 {
		n.Cover = nil
		return nil
	}
	list, err := tx.db.snaps.get(ctx, tx.kv.Unvalidated(), tx.ep)
	if err != nil {
		return err
	}
	cov, err := tx.coverage(ctx, n.ID)
	if err != nil {
		return err
	}
	var out []Cover
	for _, c := range append(cov, n.Cover...) {
		c.UpTo = min(c.UpTo, tx.epoch-1)
		ss := list.roots[c.Root]
		if len(ss) == 0 || ss[len(ss)-1] > c.UpTo {
			continue // no live snapshot left that this entry speaks of
		}
		i := slices.IndexFunc(out, func(o Cover) bool { return o.Root == c.Root })
		if i < 0 {
			out = append(out, c)
		} else {
			out[i].UpTo = max(out[i].UpTo, c.UpTo)
		}
	}
	n.Cover = out
	return nil
}

// dirLink is what walks to the root need of a directory.
type dirLink struct {
	parent fs.FileID
	cover  []Cover
}

// topoCache keeps dirLinks as of one topology version.
type topoCache struct {
	mu      sync.RWMutex
	version uint64
	parents map[fs.FileID]dirLink
}

const topoCacheMax = 200_000

func (t *topoCache) lookup(version uint64, dir fs.FileID) (dirLink, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.version != version {
		return dirLink{}, false
	}
	l, ok := t.parents[dir]
	return l, ok
}

func (t *topoCache) store(version uint64, dir fs.FileID, l dirLink) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if version < t.version {
		return
	}
	if version > t.version || len(t.parents) >= topoCacheMax {
		t.parents = map[fs.FileID]dirLink{}
		t.version = version
	}
	t.parents[dir] = l
}

var topologyKey = plainKey(tagTopology, 0, 0)

func readTopology(ctx context.Context, r kv.Reader) (uint64, error) {
	v, err := r.Get(ctx, topologyKey)
	if err != nil {
		return 0, fmt.Errorf("meta: read topology version: %w", err)
	}
	return decodeNumber(v)
}

func (tx *Txn) readTopology(ctx context.Context) error {
	_, err := readTopology(ctx, tx.kv)
	return err
}

// BumpTopology says that a directory changes its parent or is detached.
func (tx *Txn) BumpTopology(ctx context.Context) error {
	n, err := readTopology(ctx, tx.kv)
	if err != nil {
		return err
	}
	tx.kv.Put(topologyKey, encodeNumber(n+1))
	return nil
}

// dirLink reads the link of a directory as stored, from the cache if its
// version still holds.
func (tx *Txn) dirLink(ctx context.Context, dir fs.FileID) (dirLink, error) {
	return tx.db.dirLink(ctx, tx.kv.Unvalidated(), dir)
}

func (db *DB) dirLink(ctx context.Context, r kv.Reader, dir fs.FileID) (dirLink, error) {
	version, err := readTopology(ctx, r)
	if err != nil {
		return dirLink{}, err
	}
	return db.dirLinkAt(ctx, r, version, dir)
}

// dirLinkAt is dirLink when r has the topology version read already.
func (db *DB) dirLinkAt(ctx context.Context, r kv.Reader, version uint64, dir fs.FileID) (dirLink, error) {
	if l, ok := db.topo.lookup(version, dir); ok {
		return l, nil
	}
	n, err := (&Reader{db: db, r: r}).Inode(ctx, dir)
	if err != nil {
		return dirLink{}, err
	}
	l := dirLink{n.Parent, n.Cover}
	db.topo.store(version, dir, l)
	return l, nil
}

// Ancestors returns dir and all above it up to the root, dir first. In a
// transaction the answer joins the read set. ErrNotFound: some of it is gone.
func (tx *Txn) Ancestors(ctx context.Context, dir fs.FileID) ([]fs.FileID, error) {
	if err := tx.readTopology(ctx); err != nil {
		return nil, err
	}
	return tx.db.ancestors(ctx, tx.kv.Unvalidated(), dir)
}

// Ancestors returns dir and all above it in the live tree, dir first.
func (r *Reader) Ancestors(ctx context.Context, dir fs.FileID) ([]fs.FileID, error) {
	if r.snap == 0 {
		return r.db.ancestors(ctx, r.r, dir)
	}
	var out []fs.FileID
	for range maxDepth {
		out = append(out, dir)
		n, err := r.Inode(ctx, dir)
		if err != nil {
			return nil, err
		}
		if n.Parent == 0 {
			return out, nil
		}
		dir = n.Parent
	}
	return nil, fmt.Errorf("%w: loop above %d", ErrCorrupt, dir)
}

func (db *DB) ancestors(ctx context.Context, r kv.Reader, dir fs.FileID) ([]fs.FileID, error) {
	version, err := readTopology(ctx, r)
	if err != nil {
		return nil, err
	}
	out := make([]fs.FileID, 0, 16)
	for range maxDepth {
		out = append(out, dir)
		l, err := db.dirLinkAt(ctx, r, version, dir)
		if err != nil {
			return nil, err
		}
		if l.parent == 0 {
			return out, nil
		}
		dir = l.parent
	}
	return nil, fmt.Errorf("%w: loop above %d", ErrCorrupt, dir)
}

// AncestorsOf returns a live directory and all above it up to the root.
func (db *DB) AncestorsOf(ctx context.Context, dir fs.FileID) ([]fs.FileID, error) {
	var out []fs.FileID
	err := db.view(ctx, func(r kv.Reader) error {
		var err error
		out, err = db.ancestors(ctx, r, dir)
		return err
	})
	return out, err
}
