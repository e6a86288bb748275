package rest

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/nfsclient"
)

// A file that REST locks is locked for NFS and SMB, and no longer once it is
// free; a tree with retentions that are over can be deleted.
func TestFileLock(t *testing.T) {
	harness.Require(t, "smbclient")
	s := harness.StartServer(t)
	ctx := t.Context()
	s.MustCLI(t, "login", "--password", harness.Password)
	s.MustCLI(t, "fs", "mkdir", "/d")
	s.MustCLI(t, "fs", "create", "/d/f")
	s.MustCLI(t, "nfs", "export", "add", "/d", "/d")
	s.MustCLI(t, "smb", "share", "add", "d", "/d")
	s.MustCLI(t, "fs", "lock", "/d/f", "--legal-hold", "on")
	nfs := s.NFS(t, nfsclient.Cred{})
	root, err := nfs.Mount(ctx, "/d")
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := nfs.Lookup(ctx, root, "f")
	if err != nil {
		t.Fatal(err)
	}
	smb := func(command string) (string, error) {
		cmd := exec.Command("smbclient", "//127.0.0.1/d", "-U", "admin%"+harness.Password, "-c", command)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		err := s.Net.Run(ctx, cmd)
		return out.String(), err
	}
	size := uint64(0)
	changes := map[string]func() error{
		"NFS write":    func() error { _, err := nfs.Write(ctx, f, 0, []byte("x"), nfsclient.FileSync); return err },
		"NFS truncate": func() error { _, err := nfs.SetAttr(ctx, f, nfsclient.SetAttr{Size: &size}); return err },
		"NFS rename":   func() error { return nfs.Rename(ctx, root, "f", root, "g") },
		"NFS link":     func() error { return nfs.Link(ctx, f, root, "g") },
		"NFS remove":   func() error { return nfs.Remove(ctx, root, "f") },
	}
	for name, change := range changes {
		if err := change(); err == nil {
			t.Errorf("%s of a locked file", name)
		}
	}
	for _, c := range []string{"put /etc/hostname f", "rename f g", "del f"} {
		out, err := smb(c)
		if err == nil && !strings.Contains(out, "NT_STATUS_") {
			t.Errorf("SMB %s of a locked file: %s", c, out)
		}
	}
	if out := s.MustCLI(t, "fs", "ls", "/d"); out != "f\n" {
		t.Fatalf("%q", out)
	}
	s.MustCLI(t, "fs", "lock", "/d/f", "--legal-hold", "off")
	if err := changes["NFS write"](); err != nil {
		t.Error(err)
	}
	s.MustCLI(t, "fs", "lock", "/d/f", "--until", time.Now().Add(3*time.Second).UTC().Format(time.RFC3339))
	if _, _, err := s.CLI(ctx, "fs", "tree-delete", "/d", "--yes"); err == nil {
		t.Fatal("a tree with a locked file was deleted")
	}
	if !harness.Within(20*time.Second, func() bool { _, _, err := s.CLI(ctx, "fs", "tree-delete", "/d", "--yes", "--wait"); return err == nil }) {
		t.Error("a tree whose retentions are over cannot be deleted")
	}
}
