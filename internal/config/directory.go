package config

import (
	"context"
	"fmt"
	"slices"

	"manifold/internal/identity"
	"manifold/internal/kv"
)

// Directory is all local users and groups at one moment: what turns POSIX
// numbers into principals and back. It is immutable and an identity.Resolver.
//
// A local user with a uid and the POSIX user of that number are one person,
// and so are groups: each is an equivalent of the other in every credential.
type Directory struct {
	byUID  map[uint32]uint64
	byGID  map[uint32]uint64
	uid    map[identity.AuthID]uint32
	gid    map[identity.AuthID]uint32
	groups map[uint64][]identity.AuthID // of a user, with the gids they are one with
	names  map[identity.AuthID]string
}

var _ identity.Resolver = (*Directory)(nil)

// Expand implements identity.Resolver.
func (d *Directory) Expand(_ context.Context, uid, gid uint32, gids []uint32) (*identity.Credential, error) {
	user, isLocal := d.byUID[uid]
	all := make([]identity.AuthID, 0, 2*len(gids)+8)
	for _, g := range gids {
		all = append(all, identity.GID(g))
	}
	for _, g := range append(slices.Clone(gids), gid) {
		if local, ok := d.byGID[g]; ok {
			all = append(all, identity.AuthID(local))
		}
	}
	var same []identity.AuthID
	if isLocal {
		same = append(same, identity.AuthID(user))
		all = append(all, d.groups[user]...)
	}
	c := identity.New(identity.UID(uid), identity.GID(gid), same, all)
	c.Superuser = uid == 0
	return c, nil
}

// UIDOf implements identity.Resolver.
func (d *Directory) UIDOf(a identity.AuthID) uint32 {
	if n, ok := d.uid[a]; ok {
		return n
	}
	return identity.Numeric{}.UIDOf(a)
}

// GIDOf implements identity.Resolver.
func (d *Directory) GIDOf(a identity.AuthID) uint32 {
	if n, ok := d.gid[a]; ok {
		return n
	}
	return identity.Numeric{}.GIDOf(a)
}

// Name answers the name of a local user or group, or of the local user that is
// one with a POSIX user; "" if there is none.
func (d *Directory) Name(a identity.AuthID) string {
	if n, ok := a.POSIX(); ok && a.Kind() == identity.KindUID {
		if u, ok := d.byUID[n]; ok {
			return d.names[identity.AuthID(u)]
		}
	}
	return d.names[a]
}

// LocalCredential expands a local user who has logged in; ErrNotFound if there
// is none. Administrators pass every check of the file system.
func (d *Directory) LocalCredential(user uint64) (*identity.Credential, error) {
	groups, ok := d.groups[user]
	if !ok {
		return nil, ErrNotFound
	}
	a := identity.AuthID(user)
	var same []identity.AuthID
	if uid, ok := d.uid[a]; ok {
		same = append(same, identity.UID(uid))
	}
	primary := identity.Unset
	if len(groups) > 0 {
		primary = groups[0]
	}
	c := identity.New(a, primary, same, groups)
	if slices.Contains(groups, identity.Administrators) {
		c.Superuser = true
		c.Privileges = identity.FileFullAccess | identity.FileReadAccess | identity.ChangeOwner | identity.FileLockWrite
	}
	return c, nil
}

// Directory answers the users and groups in force. It costs one atomic load.
func (s *Store) Directory() *Directory { return s.directory.Load() }

// Resolver is an identity.Resolver on a Store.
type Resolver struct{ s *Store }

var _ identity.Resolver = Resolver{}

// Resolver answers from whatever directory is in force when it is asked.
func (s *Store) Resolver() Resolver { return Resolver{s} }

// Version grows when answers may have changed.
func (r Resolver) Version() uint64 { return r.s.ExportTable().Version }

// Expand, UIDOf and GIDOf implement identity.Resolver.
func (r Resolver) Expand(ctx context.Context, uid, gid uint32, gids []uint32) (*identity.Credential, error) {
	return r.s.Directory().Expand(ctx, uid, gid, gids)
}
func (r Resolver) UIDOf(a identity.AuthID) uint32 { return r.s.Directory().UIDOf(a) }
func (r Resolver) GIDOf(a identity.AuthID) uint32 { return r.s.Directory().GIDOf(a) }

// loadDirectory makes the stored users and groups those in force. s.reload is held.
func (s *Store) loadDirectory(ctx context.Context) error {
	d := &Directory{
		byUID: map[uint32]uint64{}, byGID: map[uint32]uint64{},
		uid: map[identity.AuthID]uint32{}, gid: map[identity.AuthID]uint32{},
		groups: map[uint64][]identity.AuthID{}, names: map[identity.AuthID]string{},
	}
	err := s.view(ctx, func(r kv.Reader) error {
		for g, err := range all[Group](ctx, r, kindGroup, 0, 0) {
			if err != nil {
				return err
			}
			d.names[identity.AuthID(g.ID)] = g.Value.Name
			if n := g.Value.GID; n != nil {
				d.byGID[*n] = g.ID
				d.gid[identity.AuthID(g.ID)] = *n
			}
		}
		for u, err := range all[User](ctx, r, kindUser, 0, 0) {
			if err != nil {
				return err
			}
			d.names[identity.AuthID(u.ID)] = u.Value.Name
			if n := u.Value.UID; n != nil {
				d.byUID[*n] = u.ID
				d.uid[identity.AuthID(u.ID)] = *n
			}
			// The primary group is the first; see LocalCredential.
			d.groups[u.ID] = d.withGID(nil, u.Value.PrimaryGroup)
		}
		for e, err := range r.Scan(ctx, kv.Prefix([]byte{tagMemberOf}), kv.ScanOptions{KeysOnly: true}) {
			if err != nil {
				return err
			}
			if len(e.Key) != 17 {
				return fmt.Errorf("%w: membership %x", ErrCorrupt, e.Key)
			}
			user, group := lastNumber(e.Key[:9]), lastNumber(e.Key)
			if gs, ok := d.groups[user]; ok && !slices.Contains(gs, identity.AuthID(group)) {
				d.groups[user] = d.withGID(gs, group)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("config: load users and groups: %w", err)
	}
	s.directory.Store(d)
	return nil
}

func (d *Directory) withGID(gs []identity.AuthID, group uint64) []identity.AuthID {
	gs = append(gs, identity.AuthID(group))
	if n, ok := d.gid[identity.AuthID(group)]; ok {
		gs = append(gs, identity.GID(n))
	}
	return gs
}

// change is update for what is in force in memory: it is when change returns.
func (s *Store) change(ctx context.Context, fn func(kv.Txn) error) error {
	if err := s.update(ctx, fn); err != nil {
		return err
	}
	// The change is durable: loading it must not depend on the caller's patience.
	return s.load(context.WithoutCancel(ctx))
}

// watched are the keys whose changes follow reads; sessions are not among them.
var watched = kv.Range{Start: []byte{tagRecord}, End: []byte{tagSession}}

// follow reloads when another node has changed something; our own changes are
// loaded before their calls return.
func (s *Store) follow(ctx context.Context, changes <-chan kv.Batch) {
	for b := range changes {
		if b.Resync || slices.ContainsFunc(b.Keys, s3Record) {
			if err := s.followS3(ctx, b); err != nil && ctx.Err() == nil {
				s.log.ErrorContext(ctx, "S3 configuration not reloaded; what was in force stays so", "error", err)
			}
		}
		if !b.Resync && !slices.ContainsFunc(b.Keys, inForceKey) {
			continue
		}
		if err := s.load(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "configuration not reloaded; what was in force stays so", "error", err)
		}
	}
}

// inForceKinds are those of the records that load reads.
var inForceKinds = []kind{kindExport, kindUser, kindGroup, kindNFS, kindFTP, kindSSH, kindShare, kindSMB, kindSetting}

// inForceKey tells whether a key belongs to what load reads.
func inForceKey(k []byte) bool {
	return len(k) > 0 && k[0] == tagMemberOf || ofKind(k, inForceKinds...)
}
