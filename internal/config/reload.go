package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"

	"manifold/internal/kv"
)

// watched are the keys whose changes follow reads; sessions are not among them.
var watched = kv.Range{Start: []byte{tagRecord}, End: []byte{tagSession}}

// change is update for what is in force in memory: it is when change returns.
func (s *Store) change(ctx context.Context, fn func(kv.Txn) error) error {
	var keys [][]byte
	err := s.update(ctx, func(tx kv.Txn) error {
		n := noting{Txn: tx}
		err := fn(&n)
		keys = n.keys
		return err
	})
	if err != nil {
		return err
	}
	// The change is durable: loading it must not depend on the caller's patience.
	return s.refresh(context.WithoutCancel(ctx), keys)
}

// noting remembers which keys a transaction writes.
type noting struct {
	kv.Txn
	keys [][]byte
}

func (n *noting) note(k []byte) { n.keys = append(n.keys, slices.Clone(k)) }

func (n *noting) Put(k, v []byte)     { n.note(k); n.Txn.Put(k, v) }
func (n *noting) Delete(k []byte)     { n.note(k); n.Txn.Delete(k) }
func (n *noting) DeleteOnce(k []byte) { n.note(k); n.Txn.DeleteOnce(k) }

// follow brings into force what another node has changed; our own changes are
// before their calls return.
func (s *Store) follow(ctx context.Context, changes <-chan kv.Batch) {
	for b := range changes {
		if b.Resync || slices.ContainsFunc(b.Keys, s3Record) {
			if err := s.followS3(ctx, b); err != nil && ctx.Err() == nil {
				s.log.ErrorContext(ctx, "S3 configuration not reloaded; what was in force stays so", "error", err)
			}
		}
		var err error
		if b.Resync {
			err = s.load(ctx)
		} else {
			err = s.refresh(ctx, b.Keys)
		}
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "configuration not reloaded; what was in force stays so", "error", err)
		}
	}
}

// nextConfig is what is about to be in force; nil is what is already.
type nextConfig struct {
	nfs       *NFS
	ftp       *FTP
	ssh       *SSH
	smb       *SMB
	general   *General
	directory *Directory
	shares    []Record[Share]
	exports   []Record[Export]

	someShares, someExports bool
}

// load makes everything stored what is in force.
func (s *Store) load(ctx context.Context) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	n := nextConfig{someShares: true, someExports: true}
	err := s.view(ctx, func(r kv.Reader) (err error) {
		if err := s.readSingles(ctx, r, &n, func(kind) bool { return true }); err != nil {
			return err
		}
		if n.general, err = readGeneral(ctx, r, defaultGeneral, maps.Keys(generalSettings)); err != nil {
			return err
		}
		if n.directory, err = readDirectory(ctx, r); err != nil {
			return err
		}
		if n.shares, err = collect(all[Share](ctx, r, kindShare, 0, 0)); err != nil {
			return err
		}
		n.exports, err = collect(all[Export](ctx, r, kindExport, 0, 0))
		return err
	})
	if err != nil {
		return fmt.Errorf("config: load: %w", err)
	}
	s.enforce(ctx, &n)
	return nil
}

// refresh makes what is stored under some keys what is in force. It reads the
// records that they belong to and no others.
func (s *Store) refresh(ctx context.Context, keys [][]byte) error {
	t := touch(keys)
	if t.nothing() {
		return nil
	}
	s.reload.Lock()
	defer s.reload.Unlock()
	var n nextConfig
	err := s.view(ctx, func(r kv.Reader) (err error) {
		n = nextConfig{}
		if err := s.readSingles(ctx, r, &n, func(k kind) bool { return len(t.records[k]) > 0 }); err != nil {
			return err
		}
		if n.general, err = readGeneral(ctx, r, s.GeneralInForce(), slices.Values(t.ids(kindSetting))); err != nil {
			return err
		}
		users, groups := t.ids(kindUser), t.ids(kindGroup)
		if len(users)+len(groups) > 0 {
			if n.directory, err = s.refreshDirectory(ctx, r, users, groups); err != nil {
				return err
			}
		}
		if ids := t.ids(kindShare); len(ids) > 0 {
			var now []Record[Share]
			for _, x := range s.ShareTable().All() {
				now = append(now, x.Record)
			}
			if n.shares, n.someShares, err = refreshRecords(ctx, r, kindShare, now, ids); err != nil {
				return err
			}
		}
		n.exports, n.someExports, err = refreshRecords(ctx, r, kindExport, s.ExportTable().All(), t.ids(kindExport))
		return err
	})
	if err != nil {
		return fmt.Errorf("config: reload: %w", err)
	}
	s.enforce(ctx, &n)
	return nil
}

// enforce puts what was read in force and tells whoever follows, if anything is
// another. Exports come last: they name users; so do shares: their clients look
// at settings and users again. s.reload is held.
func (s *Store) enforce(ctx context.Context, n *nextConfig) {
	some := replaced(&s.nfs, n.nfs)
	some = replaced(&s.ftp, n.ftp) || some
	some = replaced(&s.ssh, n.ssh) || some
	smb := replaced(&s.smb, n.smb)
	some = replaced(&s.general, n.general) || some
	old := s.directory.Load()
	users := n.directory != nil && n.directory != old
	if users {
		s.directory.Store(n.directory)
	}
	d := s.Directory()
	switch {
	case n.someShares:
		s.supersedeShares(s.shareTable(ctx, n.shares))
	case smb || users:
		s.supersedeShares(s.ShareTable().again())
	}
	if n.someExports || users {
		recs := n.exports
		if !n.someExports {
			recs = s.ExportTable().All()
		}
		t := s.exportTable(ctx, recs, d, !users)
		if old := s.exports.Swap(t); old != nil {
			close(old.superseded)
		}
	}
	if some || smb || users || n.someShares || n.someExports {
		s.news.tell()
	}
}

func (s *Store) supersedeShares(t *ShareTable) {
	if old := s.shares.Swap(t); old != nil {
		close(old.superseded)
	}
}

// replaced puts a value in force, unless it is nil or the same.
func replaced[T any](in *atomic.Pointer[T], v *T) bool {
	if v == nil || in.Load() != nil && reflect.DeepEqual(in.Load(), v) {
		return false
	}
	in.Store(v)
	return true
}

// readSingles reads those settings of protocols that are wanted.
func (s *Store) readSingles(ctx context.Context, r kv.Reader, n *nextConfig, want func(kind) bool) error {
	return errors.Join(
		single(ctx, r, kindNFS, DefaultNFS, &n.nfs, want), single(ctx, r, kindFTP, DefaultFTP, &n.ftp, want),
		single(ctx, r, kindSSH, DefaultSSH, &n.ssh, want), single(ctx, r, kindSMB, DefaultSMB(), &n.smb, want))
}

func single[T any](ctx context.Context, r kv.Reader, k kind, def T, v **T, want func(kind) bool) error {
	if !want(k) {
		return nil
	}
	rec, err := get[T](ctx, r, k, theOne)
	if errors.Is(err, ErrNotFound) {
		rec.Value, err = def, nil
	}
	*v = &rec.Value
	return err
}

// refreshRecords answers records with some of them as they are stored now, and
// whether that makes a difference. They are in order of their ids.
func refreshRecords[T any](ctx context.Context, r kv.Reader, k kind, now []Record[T], ids []uint64) ([]Record[T], bool, error) {
	out, some := now, false
	for _, id := range ids {
		rec, err := get[T](ctx, r, k, id)
		gone := errors.Is(err, ErrNotFound)
		if err != nil && !gone {
			return nil, false, err
		}
		i, there := slices.BinarySearchFunc(out, id, func(x Record[T], id uint64) int { return cmp.Compare(x.ID, id) })
		if gone && !there || there && !gone && out[i].Revision == rec.Revision {
			continue
		}
		if !some {
			out, some = slices.Clone(out), true
		}
		switch {
		case gone:
			out = slices.Delete(out, i, i+1)
		case there:
			out[i] = rec
		default:
			out = slices.Insert(out, i, rec)
		}
	}
	return out, some, nil
}

// touched are the records that some keys belong to.
type touched struct{ records map[kind][]uint64 }

// inForceKinds are those of the records that are in force in memory.
var inForceKinds = []kind{kindExport, kindUser, kindGroup, kindNFS, kindFTP, kindSSH, kindShare, kindSMB, kindSetting}

func touch(keys [][]byte) touched {
	t := touched{records: map[kind][]uint64{}}
	for _, k := range keys {
		switch {
		case ofKind(k, inForceKinds...):
			t.add(kind(lastNumber(k[:9])), lastNumber(k))
		case len(k) == 17 && k[0] == tagMemberOf: // a user's groups go with it
			t.add(kindUser, lastNumber(k[:9]))
		}
	}
	return t
}

func (t *touched) add(k kind, id uint64) {
	if !slices.Contains(t.records[k], id) {
		t.records[k] = append(t.records[k], id)
	}
}

func (t *touched) nothing() bool       { return len(t.records) == 0 }
func (t *touched) ids(k kind) []uint64 { return t.records[k] }
