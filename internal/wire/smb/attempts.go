package smb

import (
	"context"
	"errors"
	"net/netip"

	"manifold/internal/identity/attempts"
	"manifold/internal/identity/ntlm"
)

// gate is the accounts as one exchange may ask for them: not when the client
// has guessed too often.
type gate struct {
	s      *Server
	client netip.Addr
	user   string // whom the client said to be
	key    attempts.Key
	leave  func() // ends the turn of key; nil while there is none
}

// Account implements ntlm.Authenticator. The turn that it takes ends with the step.
func (g *gate) Account(ctx context.Context, domain, user string) (*ntlm.Account, error) {
	g.user = user
	key := attempts.Of(user, g.client)
	leave, err := g.s.o.Attempts.Begin(ctx, key)
	if errors.Is(err, attempts.ErrTooMany) {
		err = ntlm.ErrDenied // not counted, or guessing would lock out for ever
	}
	if err != nil {
		return nil, err
	}
	g.key, g.leave = key, leave
	return g.s.o.Accounts.Account(ctx, domain, user)
}

// step takes an exchange further and counts how that went. An account is asked
// for and proved in one step.
func (g *gate) step(ctx context.Context, auth *ntlm.Acceptor, token []byte) (out []byte, done bool, err error) {
	defer func() {
		if g.leave != nil {
			g.leave()
			g.leave = nil
		}
	}()
	out, done, err = auth.Step(ctx, token)
	switch {
	case g.leave == nil:
	case errors.Is(err, ntlm.ErrDenied), errors.Is(err, ntlm.ErrNoUser):
		g.s.o.Attempts.Fail(g.key)
	case err == nil && done:
		g.s.o.Attempts.Succeed(g.key)
	}
	return out, done, err
}
