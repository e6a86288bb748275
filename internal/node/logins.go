package node

import (
	"context"
	"errors"
	"net/netip"

	"manifold/internal/config"
	"manifold/internal/control/service"
	"manifold/internal/identity"
)

// logins are the local users as protocols that log them in see them.
type logins struct {
	config *config.Store
	svc    *service.Service
	trail  *trail
}

// account is a user who was recognised.
type account struct {
	user config.Record[config.User]
	cred *identity.Credential
	home string
}

// errNoHome: a user who is confined to a home directory has none.
var errNoHome = errors.New("the user has no home directory to be confined to")

// password proves a user by its password. Failures count together with those
// of the REST API; any of them is service.ErrSignIn.
func (a *logins) password(ctx context.Context, user, password string, from netip.AddrPort, confined bool) (account, error) {
	ses, err := a.svc.SignIn(ctx, from, user, password)
	if errors.Is(err, service.ErrTooManyAttempts) {
		err = service.ErrSignIn
	}
	if err != nil {
		return account{}, err
	}
	return a.of(ctx, ses, confined)
}

// known is a user who was proved in another way.
func (a *logins) known(ctx context.Context, u config.Record[config.User], from netip.AddrPort, confined bool) (account, error) {
	ses, err := a.svc.SessionOf(ctx, u, from)
	if err != nil {
		return account{}, err
	}
	return a.of(ctx, ses, confined)
}

func (a *logins) of(ctx context.Context, ses *service.Session, confined bool) (account, error) {
	out := account{user: ses.User, cred: ses.Caller.Cred, home: ses.User.Value.Home}
	if out.home == "" {
		at, err := a.config.AttributesOf(ctx, identity.AuthID(ses.User.ID))
		if err != nil {
			return account{}, err
		}
		out.home = at.Home
	}
	if confined && out.home == "" {
		return account{}, errNoHome
	}
	return out, nil
}

// disconnecting ends the connections of users who are changed, as the sessions
// of the API end.
type disconnecting struct {
	*config.Store
	guests []*guests
}

func (s *disconnecting) out(user string) {
	for _, g := range s.guests {
		g.disconnect(user)
	}
}

// ModifyUser is that of the store: another name, uid or home is another session.
func (s *disconnecting) ModifyUser(ctx context.Context, id, revision uint64, u config.User) (config.Record[config.User], error) {
	old, _ := s.User(ctx, id)
	rec, err := s.Store.ModifyUser(ctx, id, revision, u)
	if err == nil {
		s.out(old.Value.Name)
	}
	return rec, err
}

// DeleteUser is that of the store.
func (s *disconnecting) DeleteUser(ctx context.Context, id, revision uint64) error {
	old, _ := s.User(ctx, id)
	err := s.Store.DeleteUser(ctx, id, revision)
	if err == nil {
		s.out(old.Value.Name)
	}
	return err
}

// SetPassword is that of the store.
func (s *disconnecting) SetPassword(ctx context.Context, user uint64, password string) error {
	err := s.Store.SetPassword(ctx, user, password)
	if u, uerr := s.User(ctx, user); err == nil && uerr == nil {
		s.out(u.Value.Name)
	}
	return err
}

// DeleteSSHKey is that of the store.
func (s *disconnecting) DeleteSSHKey(ctx context.Context, user uint64, fingerprint string) error {
	err := s.Store.DeleteSSHKey(ctx, user, fingerprint)
	if u, uerr := s.User(ctx, user); err == nil && uerr == nil {
		s.out(u.Value.Name)
	}
	return err
}
