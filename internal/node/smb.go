package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/identity/ntlm"
	"manifold/internal/identity/sid"
	"manifold/internal/ports"
	"manifold/internal/telemetry"
	"manifold/internal/wire/smb"
)

// newSMB builds the SMB server of a node on a file system that may be decorated.
func newSMB(ctx context.Context, st *storage, f fs.FS, l *ports.Ledger, tr *trail, metrics *telemetry.Registry, log *slog.Logger) (*smb.Server, error) {
	cluster, err := st.config.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	sids, err := st.config.SIDs(ctx)
	if err != nil {
		return nil, err
	}
	ops := &opCounter{metrics: metrics, protocol: "smb", kind: smbKind}
	// The server outlives ctx by the time that draining takes.
	srv := smb.New(context.WithoutCancel(ctx), smb.Options{
		FS: f, Accounts: accounts{st.config}, Shares: shares{st.config, st.fs}, Principals: principals{sids: sids, log: log},
		Admin: smbAdmin{st.config, f, tr.log, log}, Directory: smbAccounts{st.config, sids.Scheme().Domain()},
		Name: netBIOS(cluster.Value.Name), GUID: st.fs.Superblock().UUID,
		Policy:   smbPolicy(st.config),
		Observer: func(o smb.Op) { ops.done(o.Name, o.Duration, o.Bytes, o.Failed) },
		Access:   tr.smb, Attempts: tr.attempts,
		Interfaces: func() []smb.Interface { return smbInterfaces(l.Addresses()) },
		Logger:     log,
	})
	metrics.Connections("smb",
		func() uint64 { return srv.Stats().Accepted },
		func() uint64 { n := srv.Stats(); return n.Accepted - uint64(max(n.Conns, 0)) })
	return srv, nil
}

// smbPart serves on the sockets of the SMB port and puts changes of shares and
// settings in force.
func smbPart(s *smb.Server, c *config.Store, socks *ports.Sockets) part {
	return part{
		name: "SMB",
		serve: func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			var follow sync.WaitGroup
			follow.Go(func() {
				for {
					t := c.ShareTable()
					s.Apply(ctx, smbPolicy(c))
					select {
					case <-t.Superseded():
					case <-ctx.Done():
						return
					}
				}
			})
			defer follow.Wait()
			defer cancel()
			return serveSockets(socks, s.Serve, func(net.PacketConn) error { return nil })
		},
		shutdown: s.Shutdown,
	}
}

// smbPolicy is what the settings and shares in force mean for the server.
func smbPolicy(c *config.Store) smb.Policy {
	v := c.SMBInForce()
	p := smb.Policy{Dialects: []uint16{}, SigningRequired: v.SigningRequired, Encryption: smb.Encryption(v.Encryption), BypassTraverse: v.BypassTraverseChecking}
	switch v.Snapshots {
	case config.SnapshotsVisible:
		p.Snapshots = smb.SnapshotsVisible
	case config.SnapshotsDisabled:
		p.Snapshots = smb.SnapshotsDisabled
	}
	for _, d := range v.Dialects {
		p.Dialects = append(p.Dialects, uint16(d))
		if d == config.SMB3_0 {
			p.Dialects = append(p.Dialects, 0x0302) // the same but for a detail that clients care for
		}
	}
	for _, x := range c.ShareTable().All() {
		p.GuestAllowed = p.GuestAllowed || x.Guests()
	}
	return p
}

// netBIOS makes a name of at most 15 characters that clients of the protocol know.
func netBIOS(name string) string {
	s := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, strings.ToUpper(name))
	if s = strings.Trim(s[:min(len(s), 15)], "-"); s == "" {
		return "MANIFOLD"
	}
	return s
}

// accounts are the local users.
type accounts struct{ c *config.Store }

// Account implements ntlm.Authenticator. Local users are found whatever domain
// the client believes them in.
func (a accounts) Account(ctx context.Context, _, user string) (*ntlm.Account, error) {
	u, hash, err := a.c.NTHash(ctx, user)
	switch {
	case errors.Is(err, config.ErrNotFound), errors.Is(err, config.ErrCredentials) && u.ID == uint64(identity.Guest):
		return nil, ntlm.ErrNoUser
	case errors.Is(err, config.ErrCredentials):
		return nil, fmt.Errorf("%w: no password, or none that SMB can check: it must be set once more, or used to sign in elsewhere", ntlm.ErrDenied)
	case err != nil:
		return nil, err
	}
	cred, err := a.c.Directory().LocalCredential(u.ID)
	if err != nil {
		return nil, ntlm.ErrNoUser // removed just now
	}
	return &ntlm.Account{Name: u.Value.Name, NTHash: hash, Cred: cred}, nil
}

// shares are the shares in force.
type shares struct {
	c *config.Store
	f fs.FS
}

// Share implements smb.Shares.
func (s shares) Share(ctx context.Context, name string, c *fs.Caller) (*smb.Share, error) {
	x, ok := s.c.ShareTable().Named(name)
	if !ok {
		return nil, fs.NotExist
	}
	if !s.visible(x, c) {
		return nil, fs.NotExist
	}
	out := s.render(x, c)
	if out.Rights == 0 {
		return nil, fs.Access
	}
	a, err := s.f.Resolve(ctx, fs.SystemCaller(), x.Value.FSPath, fs.AttrType)
	if err != nil {
		return nil, err
	}
	if a.Type != fs.Directory {
		return nil, fs.NotExist
	}
	out.Root = a.Node
	return out, nil
}

// List implements smb.Shares.
func (s shares) List(_ context.Context, c *fs.Caller, yield func(*smb.Share) bool) error {
	for _, x := range s.c.ShareTable().All() {
		if !s.visible(x, c) {
			continue
		}
		out := s.render(x, c)
		out.ACL = shareACL(&x.Value)
		if !yield(out) {
			return nil
		}
	}
	return nil
}

// visible tells whether a caller may know of a share.
func (s shares) visible(x *config.ShareInForce, c *fs.Caller) bool {
	v := s.c.SMBInForce()
	return (!v.HideFromUsers || x.For(c.Cred) != 0) && (!v.HideFromHosts || x.From(c.Client.Addr()) != 0)
}

func (s shares) render(x *config.ShareInForce, c *fs.Caller) *smb.Share {
	v := &x.Value
	r := x.For(c.Cred) & x.From(c.Client.Addr())
	return &smb.Share{
		Name: v.Name, Description: v.Description, Path: v.FSPath, Rights: r, ReadOnly: r&^config.ShareRead == 0, Guest: x.Guests(),
		Encrypt: v.RequireEncryption, Hidden: strings.HasSuffix(v.Name, "$"), AccessBasedEnumeration: v.AccessBasedEnumeration,
		FileMode: v.FileMode, DirMode: v.DirMode,
	}
}

// principals are the SIDs of everybody.
type principals struct {
	sids *config.SIDs
	log  *slog.Logger
	by   identity.AuthID // who brings SIDs in, Unset for administrators
}

// For implements smb.Principals: administrators bring in as many SIDs as they
// like, with the files that they copy.
func (p principals) For(c *identity.Credential) smb.Principals {
	if !c.Superuser && !c.Privileges.Has(identity.ChangeOwner) {
		p.by = c.User
	}
	return p
}

// SID implements smb.Principals.
func (p principals) SID(ctx context.Context, a identity.AuthID) []byte {
	n, err := p.sids.Of(ctx, a)
	if err != nil {
		p.log.WarnContext(ctx, "SID not known", "auth_id", a, "error", err)
		n = sid.Nobody
	}
	return []byte(n)
}

// AuthID implements smb.Principals.
func (p principals) AuthID(ctx context.Context, b []byte) (identity.AuthID, error) {
	n, ok := sid.Parse(b)
	if !ok {
		return 0, errors.New("malformed SID")
	}
	return p.sids.AuthIDFor(ctx, p.by, n)
}

func smbKind(command string) (telemetry.DataType, telemetry.IOType) {
	switch command {
	case "ECHO", "CANCEL":
		return telemetry.NoData, telemetry.NoIO
	case "READ":
		return telemetry.Data, telemetry.Read
	case "WRITE", "FLUSH":
		return telemetry.Data, telemetry.Write
	case "SET_INFO":
		return telemetry.Metadata, telemetry.Write
	}
	return telemetry.Metadata, telemetry.Read
}

// smbInterfaces lists the addresses that clients may open more channels to:
// those bound, or where all are, those of the machine but loopback.
func smbInterfaces(bound []netip.Addr) []smb.Interface {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var out []smb.Interface
	for _, i := range ifaces {
		addrs, err := i.Addrs()
		if err != nil || i.Flags&net.FlagUp == 0 {
			continue
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			if at := p.Addr().Unmap(); serves(bound, at) && !at.IsLinkLocalUnicast() {
				out = append(out, smb.Interface{Index: uint32(i.Index), Addr: at, LinkRate: linkRate(i.Name), RSS: i.Flags&net.FlagLoopback == 0})
			}
		}
	}
	return out
}

// serves tells whether an address is among those bound.
func serves(bound []netip.Addr, a netip.Addr) bool {
	for _, b := range bound {
		if b == a || b.IsUnspecified() && !a.IsLoopback() && (b.Is6() || a.Is4()) {
			return true
		}
	}
	return false
}

// linkRate of a network interface in bits per second, 1 Gbit/s if unknown.
func linkRate(name string) uint64 {
	b, _ := os.ReadFile(filepath.Join("/sys/class/net", name, "speed"))
	if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
		return uint64(n) * 1_000_000
	}
	return 1_000_000_000
}

// smbView is what an administrator sees of the server.
type smbView struct{ *smb.Server }

// Sessions implements control.SMBServer.
func (v smbView) Sessions() []control.SMBSession {
	var out []control.SMBSession
	for _, x := range v.Server.Sessions() {
		out = append(out, control.SMBSession(x))
	}
	return out
}

// Opens implements control.SMBServer.
func (v smbView) Opens() []control.SMBOpen {
	var out []control.SMBOpen
	for _, x := range v.Server.Opens() {
		out = append(out, control.SMBOpen(x))
	}
	return out
}
