package node

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/identity"
	"manifold/internal/node/shell"
	"manifold/internal/ports"
	"manifold/internal/telemetry"
	"manifold/internal/wire/ssh"
	"manifold/internal/wire/ssh/sftp"
)

// sshDoor makes the door of SSH on a file system that may be decorated; the
// shell works through the REST API.
func sshDoor(ctx context.Context, o *remoteOptions, g *guests) (*door, error) {
	a := o.logins
	c := a.config
	keys, err := c.SSHHostKeys(ctx, newHostKeys)
	if err != nil {
		return nil, err
	}
	who := &sshUsers{logins: a, ops: &opCounter{metrics: o.metrics, protocol: "sftp", kind: sftpKind}}
	sh := shell.New(shell.Options{
		API: o.api, Prompt: o.prompt, Logger: o.log,
		Token: func(ctx context.Context, c *identity.Credential) (string, error) {
			return a.svc.Token(ctx, uint64(c.User))
		},
		End: a.svc.EndToken,
	})
	wanted := func() (bool, <-chan struct{}) {
		changed := c.Changed()
		return c.SSHInForce().Enabled, changed
	}
	return newDoor("SSH", ports.SSH, o.ledger, o.drain, o.log, wanted, func() doorServer {
		s, err := ssh.New(ssh.Options{
			HostKeys: keys, Auth: who, Shell: sh, FS: o.fs, Identities: c.Resolver(),
			UserName:    func(_ context.Context, id uint32) string { return c.Directory().Name(identity.UID(id)) },
			NoPasswords: func() bool { return !c.SSHInForce().Passwords },
			Observer:    who, Logger: o.log,
		})
		return g.opening(s, err, func(ctx context.Context, l net.Listener) error { return s.Serve(ctx, l) })
	}), nil
}

// newHostKeys makes the keys by which clients know this server for ever.
func newHostKeys() ([][]byte, error) {
	var out [][]byte
	for _, t := range []ssh.KeyType{ssh.Ed25519, ssh.ECDSA} {
		k, err := ssh.GenerateHostKey(t, "manifold")
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// sshUsers logs users in and is told what they do.
type sshUsers struct {
	*logins
	ops *opCounter
}

// Password implements ssh.Authenticator.
func (u *sshUsers) Password(ctx context.Context, user, password string, from netip.AddrPort) (ssh.Account, error) {
	a, err := u.password(ctx, user, password, from, false)
	return u.account(a, err)
}

// PublicKey implements ssh.Authenticator.
func (u *sshUsers) PublicKey(ctx context.Context, user string, key ssh.PublicKey, from netip.AddrPort) (ssh.Account, error) {
	rec, err := u.config.UserByName(ctx, user)
	if errors.Is(err, config.ErrNotFound) {
		return ssh.Account{}, ssh.ErrDenied
	}
	if err != nil {
		return ssh.Account{}, err
	}
	keys, err := u.config.SSHKeys(ctx, rec.ID)
	if err != nil {
		return ssh.Account{}, err
	}
	for _, k := range keys {
		if bytes.Equal(k.Wire, key.Wire) { // public: how long it takes tells nothing
			a, err := u.known(ctx, rec, from, false)
			return u.account(a, err)
		}
	}
	return ssh.Account{}, ssh.ErrDenied
}

func (u *sshUsers) account(a account, err error) (ssh.Account, error) {
	if errors.Is(err, service.ErrSignIn) {
		err = ssh.ErrDenied
	}
	if err != nil {
		return ssh.Account{}, err
	}
	v := u.config.SSHInForce()
	// Whoever is to be confined and has no home gets the shell alone.
	return ssh.Account{
		User: a.user.Value.Name, Cred: a.cred, Home: a.home, Chroot: v.ChrootUsers,
		NoSFTP: !v.SFTP || v.ChrootUsers && a.home == "",
	}, nil
}

// Login implements ssh.Observer.
func (u *sshUsers) Login(l ssh.Login) {
	method := l.Method
	if l.Key != "" {
		method += " " + l.Key
	}
	u.trail.login("ssh", l.User, l.Client.Addr(), l.OK, method)
}

// SFTP implements ssh.Observer.
func (u *sshUsers) SFTP(_ *ssh.Account, o sftp.Op) {
	name, _, _ := strings.Cut(o.Name, "@")
	u.ops.done(name, o.Duration, int(o.In+o.Out), o.Err != nil)
}

// Connected implements ssh.Observer.
func (u *sshUsers) Connected(int) {}

func sftpKind(name string) (telemetry.DataType, telemetry.IOType) {
	switch name {
	case "read":
		return telemetry.Data, telemetry.Read
	case "write", "fsync", "copy-data":
		return telemetry.Data, telemetry.Write
	case "setstat", "fsetstat", "lsetstat", "remove", "mkdir", "rmdir", "rename", "posix-rename", "symlink", "hardlink":
		return telemetry.Metadata, telemetry.Write
	case "open", "close":
		return telemetry.Metadata, telemetry.Composite
	}
	return telemetry.Metadata, telemetry.Read
}

// sshAdmin is SSH as administrators see it: a change is in force, and the port
// open or closed, when its call returns.
type sshAdmin struct {
	*disconnecting
	r *remote
}

// SetSSH implements control.SSH.
func (s sshAdmin) SetSSH(ctx context.Context, revision uint64, v config.SSH) (config.Record[config.SSH], error) {
	return move(ctx, v.Enabled, s.r.ssh, func() (config.Record[config.SSH], error) { return s.Store.SetSSH(ctx, revision, v) })
}

// SSHStatus implements control.SSH.
func (s sshAdmin) SSHStatus() control.ServiceStatus {
	st := s.r.status(s.SSHInForce().Enabled, ports.SSH)
	if s.r.foreignSSH {
		st.Error = "another SSH server of this machine has the port"
	}
	return st
}

// HostKeys implements control.SSH.
func (s sshAdmin) HostKeys(ctx context.Context) ([]config.SSHKey, error) {
	keys, err := s.SSHHostKeys(ctx, newHostKeys)
	var out []config.SSHKey
	for _, k := range keys {
		p, perr := ssh.PublicOf(k)
		if perr != nil {
			return nil, perr
		}
		out = append(out, sshKey(p))
	}
	return out, err
}

// ParseKey implements control.SSH.
func (sshAdmin) ParseKey(line string) (config.SSHKey, error) {
	p, err := ssh.ParsePublicKey(line)
	if err != nil {
		return config.SSHKey{}, &config.InvalidError{Field: "public_key", Reason: strings.TrimPrefix(err.Error(), "ssh: ")}
	}
	return sshKey(p), nil
}

// KeyLine implements control.SSH.
func (sshAdmin) KeyLine(k config.SSHKey) string {
	return ssh.PublicKey{Type: k.Type, Wire: k.Wire, Comment: k.Comment}.String()
}

func sshKey(p ssh.PublicKey) config.SSHKey {
	return config.SSHKey{Fingerprint: p.Fingerprint(), Type: p.Type, Wire: p.Wire, Comment: p.Comment}
}
