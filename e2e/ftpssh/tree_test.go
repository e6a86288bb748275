package ftpssh

import (
	"bytes"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"manifold/e2e/netns"
	"manifold/e2e/nfsclient"
)

// A tree that was put over one protocol is the same tree over every other.
func TestTree(t *testing.T) {
	w := newWorld(t)
	files := w.tree()
	w.lftp("mirror -R --parallel=4 tree byftp")
	w.lftp("mirror --parallel=4 byftp ftpback")
	w.same("ftpback/empty", nil)
	if st, err := os.Stat(w.path("ftpback/empty")); err != nil || st.ModTime().UTC().Year() != 2001 {
		t.Errorf("%v %v", st.ModTime(), err)
	}
	w.must("diff", "-r", "--no-dereference", "tree", "ftpback")
	// What is there already is not sent again.
	if out := w.lftp("mirror -v -R tree byftp"); strings.Contains(out, "Transferring file") {
		t.Errorf("sent twice:\n%s", out)
	}

	// OpenSSH's clients leave symlinks out, or follow them.
	if err := os.Remove(w.path("tree/link")); err != nil {
		t.Fatal(err)
	}
	w.sftp("admin", "get -r /byftp sftpback\n")
	w.must("diff", "-r", "tree", "sftpback")

	w.sftp("admin", "put -r tree /bysftp\n")
	scp := func(args ...string) { t.Helper(); w.must("scp", w.sshArgs("admin", args...)...) }
	scp("-r", "-p", netns.Server+":/bysftp", "scpback")
	w.must("diff", "-r", "tree", "scpback")

	// REST and NFS read the same bytes.
	nfs := w.s.NFS(t, nfsclient.Cred{})
	root, err := nfs.Mount(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	overNFS := func(path string) (all []byte) {
		t.Helper()
		h := root
		for name := range strings.SplitSeq(path, "/") {
			if h, _, err = nfs.Lookup(t.Context(), h, name); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
		}
		for {
			b, eof, err := nfs.Read(t.Context(), h, uint64(len(all)), 1<<17)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if all = append(all, b...); eof {
				return all
			}
		}
	}
	r := w.s.Login(t)
	names := slices.Sorted(maps.Keys(files))
	for i, name := range names {
		var got []byte
		r.Must(t, "GET", "/v1/files/"+url.PathEscape("/byftp/"+name)+"/data", nil, &got)
		if !bytes.Equal(got, files[name]) {
			t.Errorf("%s over REST: %d bytes that are not the %d that were sent", name, len(got), len(files[name]))
		}
		if i%5 == 0 {
			if got := overNFS("byftp/" + name); !bytes.Equal(got, files[name]) {
				t.Errorf("%s over NFS: %d bytes that are not the %d that were sent", name, len(got), len(files[name]))
			}
		}
	}
}

// sshfs mounts the file system as its users do.
func TestSSHFS(t *testing.T) {
	w := newWorld(t)
	if _, err := exec.LookPath("sshfs"); err != nil {
		t.Fatal("sshfs is missing: make setup, as root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		// Some containers come without it, yet let root make it.
		if out, err := exec.Command("mknod", "/dev/fuse", "c", "10", "229").CombinedOutput(); err != nil {
			t.Fatalf("there is no /dev/fuse and it cannot be made: %v\n%s", err, out)
		}
	}
	w.tree()
	mnt := w.path("mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	p, out := w.start("", "sshfs", "-f", "admin@"+netns.Server+":/", mnt, "-o", "IdentityFile="+w.path("id"), "-o", "StrictHostKeyChecking=accept-new",
		"-o", "UserKnownHostsFile="+w.path("hosts"), "-o", "BatchMode=yes", "-o", "ssh_command=ssh -F none")
	mounted := func() bool {
		b, _ := os.ReadFile("/proc/self/mounts")
		return strings.Contains(string(b), " "+mnt+" fuse.sshfs")
	}
	t.Cleanup(func() {
		_ = exec.Command("umount", "-l", mnt).Run()
		p.Kill()
	})
	w.until("the mount", func() bool {
		select {
		case <-p.Done():
			t.Fatalf("sshfs: %v\n%s", p.Err(), out)
		default:
		}
		return mounted()
	})
	w.must("cp", "-r", "tree", "mnt/tree")
	w.must("diff", "-r", "tree", "mnt/tree")
	w.must("mv", "mnt/tree/d0", "mnt/tree/moved")
	w.must("ln", "-s", "moved", "mnt/tree/d0")
	w.must("diff", "-r", "tree/d0", "mnt/tree/d0/")
	data := w.write("big", 8<<20+5, 9)
	w.must("dd", "if=big", "of=mnt/big", "bs=1M", "conv=fsync", "status=none")
	w.must("truncate", "-s", "5000000", "mnt/big")
	w.same("mnt/big", data[:5_000_000])
	w.must("chmod", "600", "mnt/big")
	if st, err := os.Stat(filepath.Join(mnt, "big")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	w.must("rm", "-r", "mnt/tree")
	if _, err := os.Stat(filepath.Join(mnt, "tree")); err == nil {
		t.Error("the tree is still there")
	}
}
