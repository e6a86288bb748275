package service

import (
	"context"
	"errors"
	"net/netip"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/identity"
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

// Roles names the roles that the session holds.
func (s *Session) Roles() []string {
	for _, g := range s.Groups {
		if identity.AuthID(g.ID) == identity.Administrators {
			return []string{"Administrators"}
		}
	}
	return []string{}
}

// all stands in a stored session for every privilege there is.
const all = "ALL"

// Login proves a user by its password and answers a token for it.
func (s *Service) Login(ctx context.Context, client netip.Addr, name, password string) (string, error) {
	k := keyOf(name, client)
	done, err := s.attempts.begin(ctx, k)
	if err != nil {
		return "", err
	}
	defer done()
	u, err := s.auth.Authenticate(ctx, name, password)
	if errors.Is(err, config.ErrCredentials) {
		s.attempts.fail(k)
		return "", ErrSignIn
	}
	if err != nil {
		return "", err
	}
	s.attempts.succeed(k)
	privileges, err := s.privilegesOf(ctx, u.ID)
	if err != nil {
		return "", err
	}
	token, _, err := s.sessions.NewSession(ctx, u.ID, privileges)
	if errors.Is(err, config.ErrNotFound) { // the user was deleted meanwhile
		return "", ErrSignIn
	}
	return token, err
}

func (s *Service) privilegesOf(ctx context.Context, user uint64) ([]string, error) {
	admin, err := s.who.IsAdministrator(ctx, user)
	if err != nil || !admin {
		return []string{}, err
	}
	return []string{all}, nil
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
	ses := &Session{User: b.User, AccessToken: b.AccessToken, privileges: map[control.Privilege]bool{}}
	if ses.Groups, err = s.who.GroupsOf(ctx, b.User.ID); err != nil {
		return nil, err
	}
	names := b.Privileges
	if b.AccessToken != 0 {
		if names, err = s.privilegesOf(ctx, b.User.ID); err != nil {
			return nil, err
		}
	}
	for _, n := range names {
		if n == all {
			for _, p := range control.AllPrivileges() {
				ses.privileges[p] = true
			}
			break
		}
		ses.privileges[control.Privilege(n)] = true
	}
	ses.Caller = &fs.Caller{Cred: ses.credential(), Protocol: fs.ProtoREST, Client: client}
	return ses, nil
}

// credential expands the session once for the file system.
func (s *Session) credential() *identity.Credential {
	var same, groups []identity.AuthID
	if uid := s.User.Value.UID; uid != nil {
		same = append(same, identity.UID(*uid))
	}
	for _, g := range s.Groups {
		groups = append(groups, identity.AuthID(g.ID))
		if gid := g.Value.GID; gid != nil {
			groups = append(groups, identity.GID(*gid))
		}
	}
	c := identity.New(identity.AuthID(s.User.ID), identity.AuthID(s.User.Value.PrimaryGroup), same, groups)
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
	k := keyOf(ses.User.Value.Name, ses.Caller.Client.Addr())
	done, err := s.attempts.begin(ctx, k)
	if err != nil {
		return err
	}
	defer done()
	err = s.auth.ChangePassword(ctx, ses.User.ID, old, new)
	if errors.Is(err, config.ErrCredentials) {
		s.attempts.fail(k)
		return ErrSignIn
	}
	return err
}

// CanChangePassword tells whether the session's user has a password.
func (s *Service) CanChangePassword(ctx context.Context, ses *Session) (bool, error) {
	return s.auth.HasPassword(ctx, ses.User.ID)
}
