package node

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"manifold/internal/control/audit"
	"manifold/internal/identity"
	"manifold/internal/wire/nfs3"
	"manifold/internal/wire/smb"
)

// What a protocol refuses by itself is recorded as what it is.
func TestTrail_refusals(t *testing.T) {
	server, conn := net.Pipe()
	l, err := audit.Open(audit.Options{
		Dir:  filepath.Join(t.TempDir(), "audit"),
		Dial: func(context.Context, string, bool) (net.Conn, error) { return conn, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Configure(audit.Config{Enabled: true, Server: "logs:514"})
	tr := &trail{log: l}
	client := netip.MustParseAddr("10.0.0.1")
	user := identity.UID(1000)
	tr.smb(smb.Access{Kind: smb.Connect, Client: netip.AddrPortFrom(client, 1), Share: "gone", Refused: true, Missing: true})
	tr.smb(smb.Access{Kind: smb.Connect, Client: netip.AddrPortFrom(client, 1), Share: "secret", Refused: true})
	for _, o := range []nfs3.Op{
		{Program: "nfs3", Name: "GETATTR", Status: nfs3.ErrStale, Refused: true, File: 77, Client: client, User: user},
		{Program: "nfs3", Name: "GETATTR", Status: nfs3.ErrStale, Refused: true, File: 77, Client: client, User: user}, // again
		{Program: "nfs3", Name: "REMOVE", Status: nfs3.ErrAcces, Refused: true, File: 78, Client: client, User: user},
		{Program: "nfs3", Name: "READ", Status: nfs3.ErrBadHandle, Refused: true, Client: client, User: user},
		{Program: "nfs3", Name: "FSINFO", Status: nfs3.ErrStale, Refused: true, File: 77, Client: client, User: user}, // leaves none
		{Program: "nfs3", Name: "GETATTR", Status: nfs3.ErrStale, File: 79, Client: client, User: user},               // the file system has recorded it
	} {
		tr.nfs(&o)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	var got strings.Builder
	b := make([]byte, 4096)
	for !strings.Contains(got.String(), "remote_syslog_startup") { // the last record
		n, err := server.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(b[:n])
	}
	stop()
	_ = server.Close()
	running.Wait()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		`smb,share_connect,fs_no_such_entry,,"gone",""`, `smb,share_connect,fs_access_denied,,"secret",""`,
		`10.0.0.1,"1000",nfsv3,fs_read_metadata,fs_no_such_inode,77,"",""`, `nfsv3,fs_delete,fs_access_denied,78,"",""`,
	} {
		if strings.Count(got.String(), want) != 1 {
			t.Errorf("want once: %s", want)
		}
	}
	if n := strings.Count(got.String(), "nfsv3,"); n != 3 || !strings.Contains(got.String(), "nfsv3,fs_read_data,fs_no_such_inode,") {
		t.Errorf("%d records of NFS", n)
	}
	if t.Failed() {
		t.Log(got.String())
	}
}
