package smbtorture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"manifold/internal/data/segment"
	"manifold/internal/fs"
	"manifold/internal/fs/core"
	"manifold/internal/identity"
	"manifold/internal/identity/ntlm"
	"manifold/internal/kv/memkv"
	"manifold/internal/meta"
	"manifold/internal/wire/smb"
)

// Server is one of ours, with the options that only the suite asks for: the
// product has neither Samba's private controls nor users called test.
type Server struct {
	Host string
	Port int

	closers []func() error // in the order of their opening
}

// users of every server, all with the password "test".
var users = []string{"test", "test2"}

type accounts map[string]*ntlm.Account

func (a accounts) Account(_ context.Context, _, user string) (*ntlm.Account, error) {
	if x := a[user]; x != nil {
		return x, nil
	}
	return nil, ntlm.ErrNoUser
}

type shares map[string]*smb.Share

func (s shares) Share(_ context.Context, name string, _ *fs.Caller) (*smb.Share, error) {
	if x := s[name]; x != nil {
		return x, nil
	}
	return nil, fs.NotExist
}

func (s shares) List(_ context.Context, _ *fs.Caller, yield func(*smb.Share) bool) error {
	for _, x := range s {
		if !yield(x) {
			break
		}
	}
	return nil
}

// hosts counts addresses given out, so that servers can all have port 445,
// which one of the tests insists on.
var hosts atomic.Uint32

func listen() (net.Listener, error) {
	port := 445
	if os.Getuid() != 0 {
		port = 0
	}
	n := hosts.Add(1)
	return net.Listen("tcp4", fmt.Sprintf("127.77.%d.%d:%d", 1+os.Getpid()%200, 1+n%250, port))
}

// startServer serves an empty file system, with its data in dir.
func startServer(ctx context.Context, dir, suite, variant string) (srv *Server, err error) {
	srv = &Server{}
	defer func() {
		if err != nil {
			err = errors.Join(err, srv.Close())
		}
	}()
	store, err := segment.Open(segment.OSDisk{Dir: dir}, segment.Options{})
	if err != nil {
		return nil, err
	}
	srv.closers = append(srv.closers, store.Close)
	engine := memkv.New()
	srv.closers = append(srv.closers, engine.Close)
	if err := meta.Format(ctx, engine, meta.FormatOptions{Now: time.Now()}); err != nil {
		return nil, err
	}
	f, err := core.New(ctx, core.Options{KV: engine, Store: store})
	if err != nil {
		return nil, err
	}
	srv.closers = append(srv.closers, func() error { return f.Close(context.WithoutCancel(ctx)) })
	sh, err := newShares(ctx, f, suite)
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	if path := os.Getenv("SMBTORTURE_LOG"); path != "" {
		out, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, err
		}
		srv.closers = append(srv.closers, out.Close)
		logger = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	l, err := listen()
	if err != nil {
		return nil, err
	}
	addr := l.Addr().(*net.TCPAddr)
	srv.Host, srv.Port = addr.IP.String(), addr.Port
	s := smb.New(ctx, smb.Options{
		FS: f, Accounts: newAccounts(variant), Shares: sh, Logger: logger,
		Policy: smb.Policy{
			SigningRequired: suite == "smb2.session-require-signing",
			BypassTraverse:  true,
		},
		// Some tests allow 35 s between what they see before and after.
		BreakTimeout: 34500 * time.Millisecond,
		// Some send on and take it for granted that what went before has begun.
		HeadStart:  5 * time.Second,
		TestFsctls: true, ShortNames: true,
		Interfaces: func() []smb.Interface {
			return []smb.Interface{{Index: 1, Addr: netip.MustParseAddr(srv.Host), LinkRate: 1e9}}
		},
	})
	f.SetBreaker(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	srv.closers = append(srv.closers, func() error {
		f.SetBreaker(nil)
		return errors.Join(s.Shutdown(context.WithoutCancel(ctx)), <-served)
	})
	return srv, nil
}

// Close ends the server and what it stands on.
func (s *Server) Close() (err error) {
	for _, c := range slices.Backward(s.closers) {
		err = errors.Join(err, c())
	}
	s.closers = nil
	return err
}

const firstUser = 1001

func newAccounts(variant string) accounts {
	a := accounts{}
	for i, u := range users {
		cred := identity.New(identity.AuthID(firstUser+i), identity.Users, nil, nil)
		if variant == giver {
			cred.Privileges = identity.ChangeOwner
		}
		a[u] = &ntlm.Account{Name: u, NTHash: ntlm.NTHash("test"), Cred: cred}
	}
	return a
}

// newShares makes the folders that the suite expects: "share" belongs to the
// first user and lets everybody in, "noperm" nobody.
func newShares(ctx context.Context, f fs.FS, suite string) (shares, error) {
	sys := fs.SystemCaller()
	folder := func(name string, mode fs.Mode) (fs.Node, error) {
		r, err := f.Create(ctx, sys, fs.Root, name, &fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}})
		return r.Attr.Node, err
	}
	root, err := folder("share", 0o777)
	if err != nil {
		return nil, err
	}
	closed, err := folder("noperm", 0)
	if err != nil {
		return nil, err
	}
	owner := identity.AuthID(firstUser)
	if _, err := f.SetAttr(ctx, sys, root, &fs.SetAttr{Owner: &owner}); err != nil {
		return nil, err
	}
	const full = 0x1f01ff
	_, err = f.SetACL(ctx, sys, root, &fs.ACL{Control: fs.ACLPresent, Entries: []fs.ACE{
		{Trustee: identity.CreatorOwner, Flags: fs.ACEObjectInherit | fs.ACEContainerInherit | fs.ACEInheritOnly, Rights: full},
		{Trustee: identity.Everyone, Rights: full},
	}})
	if err != nil {
		return nil, err
	}
	return shares{
		"share": {
			Name: "share", Root: root, FileMode: 0o755, DirMode: 0o755, Guest: true,
			NoStreams:         suite == "smb2.create_no_streams",
			NoChangeNotify:    suite == "smb2.change_notify_disabled",
			KeepInheritedFlag: suite == "smb2.acls_non_canonical",
			HideName:          hideName(suite),
		},
		"hideunread": {Name: "hideunread", Root: root, AccessBasedEnumeration: true, FileMode: 0o755},
		"noperm":     {Name: "noperm", Root: closed},
	}, nil
}

// hideName is the share option that smb2.dosmode is about.
func hideName(suite string) func(string) bool {
	if suite != "smb2.dosmode" {
		return nil
	}
	return func(name string) bool { return name == "hidefile" || name[0] == '.' }
}
