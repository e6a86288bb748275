package ftp

import (
	"context"
	"errors"
	"strings"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/walk"
)

// auth is RFC 4217 4.
func (c *conn) auth(ctx context.Context, arg string) {
	switch strings.ToUpper(arg) {
	case "TLS", "TLS-C", "SSL", "TLS-P":
	default:
		c.reply(504, "Only TLS is known.")
		return
	}
	switch {
	case c.secure:
		c.reply(503, "TLS is on already.")
		return
	case c.account != nil:
		c.reply(503, "Too late, log in after AUTH.")
		return
	case c.s.o.TLS == nil:
		c.reply(431, "There is no certificate.")
		return
	case c.r.Buffered() > 0:
		// What was sent in the clear behind AUTH would count as encrypted.
		c.reply(421, "Nothing may follow AUTH before the handshake.")
		c.quit = true
		return
	}
	c.reply(234, "Start the TLS handshake.")
	if !c.startTLS(ctx) {
		c.quit = true
		return
	}
	c.user, c.anonymous = "", false
}

func (c *conn) pbszCmd(_ context.Context, _ string) {
	if !c.secure {
		c.reply(503, "AUTH TLS comes first.")
		return
	}
	c.pbsz = true
	c.reply(200, "PBSZ=0")
}

func (c *conn) prot(_ context.Context, arg string) {
	switch level := strings.ToUpper(arg); {
	case !c.secure || !c.pbsz && !c.implicit:
		c.reply(503, "AUTH TLS and PBSZ come first.")
	case level == "P":
		c.private = true
		c.reply(200, "Data connections are encrypted.")
	case level == "C" && c.set.AllowUnencrypted:
		c.private = false
		c.reply(200, "Data connections are in the clear.")
	case level == "C":
		c.reply(534, "Data connections must be encrypted.")
	case level == "S" || level == "E":
		c.reply(536, "Only PROT P and PROT C are known.")
	default:
		c.reply(504, "Only PROT P and PROT C are known.")
	}
}

// user_ is USER (RFC 959 4.1.1).
func (c *conn) user_(_ context.Context, arg string) {
	switch {
	case c.account != nil:
		c.reply(530, "Already logged in.")
		return
	case !c.secure && !c.set.AllowUnencrypted:
		c.reply(530, "Logins must be encrypted: AUTH TLS comes first.")
		return
	}
	c.user = arg
	switch strings.ToLower(arg) {
	case "anonymous", "ftp":
		c.anonymous = true
		c.reply(331, "Send your mail address as the password.")
	default:
		c.anonymous = false
		c.reply(331, "Password, please.")
	}
}

// pass is PASS.
func (c *conn) pass(ctx context.Context, arg string) {
	switch {
	case c.account != nil:
		c.reply(230, "Already logged in.")
		return
	case c.user == "":
		c.reply(503, "USER comes first.")
		return
	}
	var a Account
	var err error
	if c.anonymous {
		a, err = c.s.o.Auth.Anonymous(ctx, c.from)
	} else {
		a, err = c.s.o.Auth.Password(ctx, c.user, arg, c.from)
	}
	if err == nil {
		err = c.enter(ctx, &a)
	}
	if c.s.o.Observer != nil {
		c.s.o.Observer.Login(Login{User: c.user, Client: c.from, TLS: c.secure, OK: err == nil})
	}
	if err == nil {
		_ = c.nc.SetDeadline(time.Now().Add(c.s.o.IdleTimeout))
		c.reply(230, "Logged in.")
		return
	}
	if !errors.Is(err, ErrDenied) {
		c.s.o.Logger.ErrorContext(ctx, "ftp: a login could not be served", "user", c.user, "client", c.from, "err", err)
	}
	c.user = ""
	if c.s.o.FailDelay > 0 && !pause(ctx, c.s.o.FailDelay) {
		c.quit = true
		return
	}
	if c.tries++; c.tries >= c.s.o.MaxTries {
		c.reply(421, "Too many failed logins.")
		c.quit = true
		return
	}
	c.reply(530, "Login incorrect.")
}

// enter puts an account at its place.
func (c *conn) enter(ctx context.Context, a *Account) error {
	caller := &fs.Caller{Cred: a.Cred, Protocol: fs.ProtoFTP, Client: c.from, ReadOnly: a.ReadOnly}
	tree, cwd, err := walk.Home(ctx, c.s.o.FS, caller, a.Home, c.set.ChrootUsers || c.anonymous)
	if err != nil {
		return err
	}
	c.account, c.caller, c.tree, c.cwd = a, caller, tree, cwd
	c.nc.LoggedIn(a.User)
	return nil
}
