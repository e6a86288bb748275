package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	groups map[uint64][]uint64 // of a user, the primary one first; never changed
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
		all = d.appendGroups(all, user)
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
	if _, ok := d.groups[user]; !ok {
		return nil, ErrNotFound
	}
	groups := d.appendGroups(nil, user)
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

// appendGroups appends the groups of a user, each with the gid that it is one
// with; the primary group is the first.
func (d *Directory) appendGroups(to []identity.AuthID, user uint64) []identity.AuthID {
	for _, g := range d.groups[user] {
		to = append(to, identity.AuthID(g))
		if n, ok := d.gid[identity.AuthID(g)]; ok {
			to = append(to, identity.GID(n))
		}
	}
	return to
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

func newDirectory() *Directory {
	return &Directory{
		byUID: map[uint32]uint64{}, byGID: map[uint32]uint64{},
		uid: map[identity.AuthID]uint32{}, gid: map[identity.AuthID]uint32{},
		groups: map[uint64][]uint64{}, names: map[identity.AuthID]string{},
	}
}

func (d *Directory) clone() *Directory {
	return &Directory{
		byUID: maps.Clone(d.byUID), byGID: maps.Clone(d.byGID), uid: maps.Clone(d.uid), gid: maps.Clone(d.gid),
		groups: maps.Clone(d.groups), names: maps.Clone(d.names),
	}
}

// setUser puts a user in, with the groups that it is a member of; dropUser takes
// it out, and so do their likes. The directory is not in force yet.
func (d *Directory) setUser(u *Record[User], memberOf []uint64) {
	d.dropUser(u.ID)
	a := identity.AuthID(u.ID)
	d.names[a] = u.Value.Name
	if n := u.Value.UID; n != nil {
		d.byUID[*n], d.uid[a] = u.ID, *n
	}
	d.groups[u.ID] = groupsOf(&u.Value, memberOf)
}

func (d *Directory) dropUser(id uint64) {
	a := identity.AuthID(id)
	if n, ok := d.uid[a]; ok && d.byUID[n] == id {
		delete(d.byUID, n)
	}
	delete(d.uid, a)
	delete(d.names, a)
	delete(d.groups, id)
}

func (d *Directory) setGroup(g *Record[Group]) {
	d.dropGroup(g.ID)
	a := identity.AuthID(g.ID)
	d.names[a] = g.Value.Name
	if n := g.Value.GID; n != nil {
		d.byGID[*n], d.gid[a] = g.ID, *n
	}
}

func (d *Directory) dropGroup(id uint64) {
	a := identity.AuthID(id)
	if n, ok := d.gid[a]; ok && d.byGID[n] == id {
		delete(d.byGID, n)
	}
	delete(d.gid, a)
	delete(d.names, a)
}

// groupsOf are those of a user, the primary one first.
func groupsOf(u *User, memberOf []uint64) []uint64 {
	out := append(make([]uint64, 0, 1+len(memberOf)), u.PrimaryGroup)
	for _, g := range memberOf {
		if g != u.PrimaryGroup {
			out = append(out, g)
		}
	}
	return out
}

// readDirectory reads all stored users and groups.
func readDirectory(ctx context.Context, r kv.Reader) (*Directory, error) {
	d := newDirectory()
	for g, err := range all[Group](ctx, r, kindGroup, 0, 0) {
		if err != nil {
			return nil, err
		}
		d.setGroup(&g)
	}
	in := map[uint64][]uint64{}
	for e, err := range r.Scan(ctx, kv.Prefix([]byte{tagMemberOf}), kv.ScanOptions{KeysOnly: true}) {
		if err != nil {
			return nil, err
		}
		if len(e.Key) != 17 {
			return nil, fmt.Errorf("%w: membership %x", ErrCorrupt, e.Key)
		}
		user := lastNumber(e.Key[:9])
		in[user] = append(in[user], lastNumber(e.Key))
	}
	for u, err := range all[User](ctx, r, kindUser, 0, 0) {
		if err != nil {
			return nil, err
		}
		d.setUser(&u, in[u.ID])
	}
	return d, nil
}

// refreshDirectory answers the directory in force with some users and groups as
// they are stored now: the one in force if that is how it is.
func (s *Store) refreshDirectory(ctx context.Context, r kv.Reader, users, groups []uint64) (*Directory, error) {
	old := s.Directory()
	d := old.clone()
	// All go before any comes: numbers may have passed from one to another.
	for _, id := range groups {
		d.dropGroup(id)
	}
	for _, id := range users {
		d.dropUser(id)
	}
	for _, id := range groups {
		switch g, err := get[Group](ctx, r, kindGroup, id); {
		case err == nil:
			d.setGroup(&g)
		case !errors.Is(err, ErrNotFound):
			return nil, err
		}
	}
	for _, id := range users {
		u, err := get[User](ctx, r, kindUser, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		in, err := pairs(ctx, r, tagMemberOf, id)
		if err != nil {
			return nil, err
		}
		d.setUser(&u, in)
	}
	for _, id := range groups {
		if !d.sameGroup(old, identity.AuthID(id)) {
			return d, nil
		}
	}
	for _, id := range users {
		if !d.sameUser(old, id) {
			return d, nil
		}
	}
	return old, nil
}

func (d *Directory) sameGroup(o *Directory, a identity.AuthID) bool {
	return same(d.names, o.names, a) && same(d.gid, o.gid, a)
}

func (d *Directory) sameUser(o *Directory, id uint64) bool {
	a := identity.AuthID(id)
	return same(d.names, o.names, a) && same(d.uid, o.uid, a) && slices.Equal(d.groups[id], o.groups[id])
}

func same[K, V comparable](m, o map[K]V, k K) bool {
	v, ok := m[k]
	w, had := o[k]
	return ok == had && v == w
}
