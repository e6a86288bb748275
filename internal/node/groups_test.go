package node

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"manifold/e2e/nfsclient"
	"manifold/internal/config"
	"manifold/internal/ports"
)

// TestManyGroups: AUTH_SYS carries 16 groups; a local user's others count all
// the same.
func TestManyGroups(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "data")
	r := startServer(t, dir)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	st, err := openStorage(ctx, storageOptions{dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	uid := uint32(1000)
	user, err := st.config.AddUser(ctx, config.User{Name: "jane", PrimaryGroup: 513, UID: &uid}, "")
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(40) {
		gid := 20000 + i
		g, err := st.config.AddGroup(ctx, config.Group{Name: fmt.Sprintf("g%d", i), GID: &gid})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.config.AddMember(ctx, g.ID, user.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	r = startServer(t, dir)
	dial := func(c nfsclient.Cred) (*nfsclient.Conn, nfsclient.Handle) {
		t.Helper()
		conn, err := nfsclient.Dial(ctx, r.address(ports.NFS), c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		root, err := conn.Mount(ctx, "/")
		if err != nil {
			t.Fatal(err)
		}
		return conn, root
	}
	super, root := dial(nfsclient.Cred{})
	mode, gid := uint32(0o770), uint32(20039)
	secret, _, err := super.Mkdir(ctx, root, "secret", nfsclient.SetAttr{Mode: &mode, GID: &gid})
	if err != nil {
		t.Fatal(err)
	}
	var sixteen []uint32
	for i := range uint32(16) {
		sixteen = append(sixteen, 20000+i)
	}
	jane, _ := dial(nfsclient.Cred{UID: uid, GID: 1000, GIDs: sixteen})
	if _, _, err := jane.Create(ctx, secret, "f", nfsclient.SetAttr{}, true); err != nil {
		t.Errorf("a member of 40 groups: %v", err)
	}
	other, _ := dial(nfsclient.Cred{UID: 1001, GID: 1000, GIDs: sixteen})
	if _, _, err := other.Create(ctx, secret, "g", nfsclient.SetAttr{}, true); !errors.Is(err, nfsclient.Access) {
		t.Errorf("no member: %v", err)
	}
}
