package service

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/identity/attempts"
)

// Session is somebody who has proved who it is.
type Session struct {
	User   config.Record[config.User]
	Groups []config.Record[config.Group]
	// AccessToken is the id of the access token used, 0 with a password login.
	AccessToken uint64
	// Caller acts for the session on the file system.
	Caller *fs.Caller

	privileges map[control.Privilege]bool
}

// Has tells whether the session may do what p guards.
func (s *Session) Has(p control.Privilege) bool { return p == control.Anyone || s.privileges[p] }

// Privileges lists them, sorted.
func (s *Session) Privileges() []control.Privilege {
	out := []control.Privilege{}
	for _, p := range control.AllPrivileges() {
		if s.privileges[p] {
			out = append(out, p)
		}
	}
	return out
}

// Roles names the roles that the session's user holds now, directly or through groups.
func (s *Service) Roles(ctx context.Context, ses *Session) ([]string, error) {
	held, err := s.rolesOf(ctx, ses.User, ses.Groups)
	names := []string{}
	for _, r := range held {
		names = append(names, r.Value.Name)
	}
	return names, err
}

func (s *Service) rolesOf(ctx context.Context, u config.Record[config.User], groups []config.Record[config.Group]) ([]config.Record[config.Role], error) {
	c := credential(u, groups)
	roles, err := s.roles.Roles(ctx)
	return slices.DeleteFunc(roles, func(r config.Record[config.Role]) bool {
		return !slices.ContainsFunc(r.Value.Members, c.Is)
	}), err
}

// all stands in a stored session for every privilege there is.
const all = "ALL"

// Login proves a user by its password and answers a token for it.
func (s *Service) Login(ctx context.Context, client netip.Addr, name, password string) (string, error) {
	u, err := s.prove(ctx, client, name, password)
	if err != nil {
		return "", err
	}
	return s.Token(ctx, u.ID)
}

// SignIn proves a user by its password, for a protocol that needs no token.
func (s *Service) SignIn(ctx context.Context, client netip.AddrPort, name, password string) (*Session, error) {
	u, err := s.prove(ctx, client.Addr(), name, password)
	if err != nil {
		return nil, err
	}
	return s.SessionOf(ctx, u, client)
}

// prove counts failed attempts, of all protocols together.
func (s *Service) prove(ctx context.Context, client netip.Addr, name, password string) (config.Record[config.User], error) {
	k := attempts.Of(name, client)
	done, err := s.attempts.Begin(ctx, k)
	if err != nil {
		return config.Record[config.User]{}, err
	}
	defer done()
	u, err := s.auth.Authenticate(ctx, name, password)
	if errors.Is(err, config.ErrCredentials) {
		s.attempts.Fail(k)
		return u, ErrSignIn
	}
	if err == nil {
		s.attempts.Succeed(k)
	}
	return u, err
}

// SessionOf is the session of a user who has been proved in another way, with
// the privileges that its roles give it now.
func (s *Service) SessionOf(ctx context.Context, u config.Record[config.User], client netip.AddrPort) (*Session, error) {
	ses := &Session{User: u}
	var err error
	if ses.Groups, err = s.who.GroupsOf(ctx, u.ID); err != nil {
		return nil, err
	}
	names, err := s.privilegesOf(ctx, u, ses.Groups)
	if err != nil {
		return nil, err
	}
	ses.act(names, client)
	return ses, nil
}

// Token opens a session that lasts for a user who has been proved.
func (s *Service) Token(ctx context.Context, user uint64) (string, error) {
	u, err := s.who.User(ctx, user)
	if errors.Is(err, config.ErrNotFound) { // deleted meanwhile
		return "", ErrSignIn
	}
	if err != nil {
		return "", err
	}
	groups, err := s.who.GroupsOf(ctx, u.ID)
	if err != nil {
		return "", err
	}
	privileges, err := s.privilegesOf(ctx, u, groups)
	if err != nil {
		return "", err
	}
	token, _, err := s.sessions.NewSession(ctx, u.ID, privileges)
	if errors.Is(err, config.ErrNotFound) {
		return "", ErrSignIn
	}
	return token, err
}

// EndToken ends the session of a token.
func (s *Service) EndToken(ctx context.Context, token string) error {
	return s.sessions.EndSession(ctx, token)
}

// privilegesOf are those that roles give a user now.
func (s *Service) privilegesOf(ctx context.Context, u config.Record[config.User], groups []config.Record[config.Group]) ([]string, error) {
	held, err := s.rolesOf(ctx, u, groups)
	out := []string{}
	for i := range held {
		if held[i].ID == config.RoleAdministrators {
			return []string{all}, err
		}
		for _, p := range control.RolePrivileges(&held[i]) {
			out = append(out, string(p))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), err
}

// Session answers whom a token stands for, or ErrSignIn.
func (s *Service) Session(ctx context.Context, token string, client netip.AddrPort) (*Session, error) {
	b, err := s.sessions.Bearer(ctx, token)
	if errors.Is(err, config.ErrCredentials) {
		return nil, ErrSignIn
	}
	if err != nil {
		return nil, err
	}
	ses := &Session{User: b.User, AccessToken: b.AccessToken}
	if ses.Groups, err = s.who.GroupsOf(ctx, b.User.ID); err != nil {
		return nil, err
	}
	names := b.Privileges
	if b.AccessToken != 0 {
		if names, err = s.privilegesOf(ctx, b.User, ses.Groups); err != nil {
			return nil, err
		}
	}
	ses.act(names, client)
	return ses, nil
}

// act gives the session its privileges and a caller to use them.
func (s *Session) act(privileges []string, client netip.AddrPort) {
	s.privileges = privilegeSet(privileges)
	s.Caller = &fs.Caller{Cred: s.credential(), Protocol: fs.ProtoREST, Client: client}
}

// credential expands the session once for the file system.
func (s *Session) credential() *identity.Credential {
	c := credential(s.User, s.Groups)
	for p, q := range map[control.Privilege]identity.Privileges{
		control.FileFullAccess:  identity.FileFullAccess | identity.FileReadAccess | identity.ChangeOwner,
		control.FileReadAccess:  identity.FileReadAccess,
		control.FSFileLockWrite: identity.FileLockWrite,
	} {
		if s.privileges[p] {
			c.Privileges |= q
		}
	}
	return c
}

// ChangePassword sets the session's own password, given the present one.
func (s *Service) ChangePassword(ctx context.Context, ses *Session, old, new string) error {
	k := attempts.Of(ses.User.Value.Name, ses.Caller.Client.Addr())
	done, err := s.attempts.Begin(ctx, k)
	if err != nil {
		return err
	}
	defer done()
	err = s.auth.ChangePassword(ctx, ses.User.ID, old, new)
	if errors.Is(err, config.ErrCredentials) {
		s.attempts.Fail(k)
		return ErrSignIn
	}
	return err
}

// CanChangePassword tells whether the session's user has a password.
func (s *Service) CanChangePassword(ctx context.Context, ses *Session) (bool, error) {
	return s.auth.HasPassword(ctx, ses.User.ID)
}

// credential is everybody that a local user is.
func credential(u config.Record[config.User], in []config.Record[config.Group]) *identity.Credential {
	var same, groups []identity.AuthID
	if uid := u.Value.UID; uid != nil {
		same = append(same, identity.UID(*uid))
	}
	for _, g := range in {
		groups = append(groups, identity.AuthID(g.ID))
		if gid := g.Value.GID; gid != nil {
			groups = append(groups, identity.GID(*gid))
		}
	}
	return identity.New(identity.AuthID(u.ID), identity.AuthID(u.Value.PrimaryGroup), same, groups)
}

// FilePrivileges are the rights that bypass file permissions which the roles
// of a local user give it now.
func (s *Service) FilePrivileges(ctx context.Context, u config.Record[config.User]) (identity.Privileges, error) {
	groups, err := s.who.GroupsOf(ctx, u.ID)
	if err != nil {
		return 0, err
	}
	names, err := s.privilegesOf(ctx, u, groups)
	if err != nil {
		return 0, err
	}
	ses := &Session{User: u, Groups: groups, privileges: privilegeSet(names)}
	return ses.credential().Privileges, nil
}

// PrivilegesOf are those that roles give a local user now.
func (s *Service) PrivilegesOf(ctx context.Context, u config.Record[config.User]) (map[control.Privilege]bool, error) {
	groups, err := s.who.GroupsOf(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	names, err := s.privilegesOf(ctx, u, groups)
	return privilegeSet(names), err
}

// privilegeSet reads the names in a stored session. Callers must not change it:
// that of an administrator is one for all.
func privilegeSet(names []string) map[control.Privilege]bool {
	if slices.Contains(names, all) {
		return everything()
	}
	set := map[control.Privilege]bool{}
	for _, n := range names {
		set[control.Privilege(n)] = true
	}
	return set
}

// everything is made once: every request of an administrator asks for it.
var everything = sync.OnceValue(func() map[control.Privilege]bool {
	set := map[control.Privilege]bool{}
	for _, p := range control.AllPrivileges() {
		set[p] = true
	}
	return set
})
