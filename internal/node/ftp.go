package node

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/ports"
	"manifold/internal/telemetry"
	"manifold/internal/wire/ftp"
)

// ftpDoor makes a door of FTP on a file system that may be decorated; at the
// port of FTPS, TLS starts with the connection.
func ftpDoor(o *remoteOptions, g *guests, who *ftpUsers, id ports.ID) *door {
	implicit := id == ports.FTPS
	name := map[bool]string{false: "FTP", true: "FTPS"}[implicit]
	c := o.logins.config
	wanted := func() (bool, <-chan struct{}) {
		changed := c.Changed()
		return c.FTPInForce().Enabled, changed
	}
	return newDoor(name, id, o.ledger, o.drain, o.log, wanted, func() doorServer {
		s, err := ftp.New(ftp.Options{
			FS: o.fs, Auth: who, Ports: ftpPorts{o.ledger}, Settings: func() ftp.Settings { return ftpSettings(c.FTPInForce()) },
			TLS:        func() *tls.Config { return o.certs.settings() },
			Identities: c.Resolver(), Observer: who, Logger: o.log,
		})
		return g.opening(s, err, func(ctx context.Context, l net.Listener) error { return s.Serve(ctx, l, implicit) })
	})
}

func ftpSettings(v config.FTP) ftp.Settings {
	return ftp.Settings{
		AllowUnencrypted: v.AllowUnencrypted, ChrootUsers: v.ChrootUsers, AnyRemoteHost: !v.CheckRemoteHost,
		ExpandWildcards: v.ExpandWildcards, LogOperations: v.LogOperations, Greeting: v.Greeting,
	}
}

// ftpPorts opens data connections through the ledger.
type ftpPorts struct{ l *ports.Ledger }

// ListenData implements ftp.Ports.
func (p ftpPorts) ListenData(ctx context.Context, local netip.Addr) (net.Listener, error) {
	return p.l.ListenIn(ctx, ports.FTPPassive, local, 0, 0)
}

// DialData implements ftp.Ports.
func (p ftpPorts) DialData(ctx context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error) {
	return p.l.Dial(ctx, ports.FTPActive, "tcp", to.String(), ports.DialOptions{LocalAddr: local})
}

// ftpUsers logs users in and is told what they do.
type ftpUsers struct {
	*logins
	log *slog.Logger
	ops *opCounter
}

// Password implements ftp.Authenticator.
func (u *ftpUsers) Password(ctx context.Context, user, password string, from netip.AddrPort) (ftp.Account, error) {
	a, err := u.password(ctx, user, password, from, u.config.FTPInForce().ChrootUsers)
	return u.account(ctx, a, err)
}

// Anonymous implements ftp.Authenticator.
func (u *ftpUsers) Anonymous(ctx context.Context, from netip.AddrPort) (ftp.Account, error) {
	id := u.config.FTPInForce().Anonymous
	if id == 0 {
		return ftp.Account{}, ftp.ErrDenied
	}
	rec, err := u.config.User(ctx, id)
	if errors.Is(err, config.ErrNotFound) {
		return ftp.Account{}, ftp.ErrDenied
	}
	if err != nil {
		return ftp.Account{}, err
	}
	a, err := u.known(ctx, rec, from, true)
	return u.account(ctx, a, err)
}

func (u *ftpUsers) account(ctx context.Context, a account, err error) (ftp.Account, error) {
	switch {
	case errors.Is(err, errNoHome):
		u.log.WarnContext(ctx, "ftp: login refused", "error", err)
		return ftp.Account{}, ftp.ErrDenied
	case errors.Is(err, service.ErrSignIn):
		return ftp.Account{}, ftp.ErrDenied
	case err != nil:
		return ftp.Account{}, err
	}
	return ftp.Account{User: a.user.Value.Name, Cred: a.cred, Home: a.home}, nil
}

// Login implements ftp.Observer.
func (u *ftpUsers) Login(l ftp.Login) { u.trail.login("ftp", l.User, l.Client.Addr(), l.OK, "") }

// Observe implements ftp.Observer.
func (u *ftpUsers) Observe(o ftp.Op) {
	u.ops.done(o.Command, o.Duration, int(o.In+o.Out), o.Code >= 400)
}

// Connected implements ftp.Observer.
func (u *ftpUsers) Connected(int) {}

func ftpKind(command string) (telemetry.DataType, telemetry.IOType) {
	switch command {
	case "RETR", "HASH", "XCRC", "XMD5", "XSHA", "XSHA1", "XSHA256", "XSHA512":
		return telemetry.Data, telemetry.Read
	case "STOR", "APPE", "STOU":
		return telemetry.Data, telemetry.Write
	case "MKD", "XMKD", "RMD", "XRMD", "DELE", "RNFR", "RNTO", "MFMT", "SITE":
		return telemetry.Metadata, telemetry.Write
	case "LIST", "NLST", "MLSD", "MLST", "STAT", "SIZE", "MDTM", "CWD", "XCWD", "CDUP", "XCUP", "AVBL":
		return telemetry.Metadata, telemetry.Read
	}
	return telemetry.NoData, telemetry.NoIO
}

// ftpAdmin is FTP as administrators see it: a change is in force, and the ports
// open or closed, when its call returns.
type ftpAdmin struct {
	*config.Store
	r *remote
}

// SetFTP implements control.FTP.
func (f ftpAdmin) SetFTP(ctx context.Context, revision uint64, v config.FTP) (config.Record[config.FTP], error) {
	return move(ctx, v.Enabled, f.r.ftp, func() (config.Record[config.FTP], error) { return f.Store.SetFTP(ctx, revision, v) })
}

// FTPStatus implements control.FTP.
func (f ftpAdmin) FTPStatus() control.ServiceStatus {
	return f.r.status(f.FTPInForce().Enabled, ports.FTP)
}
