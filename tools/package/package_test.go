package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// has tells whether a program is there; in CI it must be.
func has(t *testing.T, program string) bool {
	t.Helper()
	_, err := exec.LookPath(program)
	if err != nil && os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: make setup, as root", program)
	}
	if err != nil {
		t.Logf("%s is missing, so a part is not tested: make setup, as root", program)
	}
	return err == nil
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestPackages(t *testing.T) {
	dir := t.TempDir()
	// As make build does it, so that what it compiled is used again.
	binary := filepath.Join(dir, "manifold")
	build := exec.Command("go", "build", "-o", binary, "manifold/cmd/manifold")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := command(build); err != nil {
		t.Fatal(err)
	}
	o := options{out: dir, binary: binary, version: "1.2.3~rc1", formats: []string{"deb"}}
	rpm := has(t, "rpmbuild")
	if rpm {
		o.formats = append(o.formats, "rpm")
	}
	if err := run(o); err != nil {
		t.Fatal(err)
	}
	if rpm {
		pkg := one(t, dir, "manifold-1.2.3~rc1-1.*.rpm")
		list := output(t, "rpm", "-qpl", pkg)
		for _, want := range []string{"/usr/bin/manifold\n", "/usr/lib/systemd/system/manifold.service\n", "/usr/share/man/man1/manifold-serve.1.gz\n"} {
			if !strings.Contains(list, want) {
				t.Errorf("rpm lacks %q:\n%s", want, list)
			}
		}
		if got := output(t, "rpm", "-qpc", pkg); got != "/etc/default/manifold\n" {
			t.Errorf("configuration files: %q", got)
		}
	}
	if !has(t, "dpkg-deb") {
		return
	}
	pkg := one(t, dir, "manifold_1.2.3~rc1_*.deb")
	if v := strings.TrimSpace(output(t, "dpkg-deb", "-f", pkg, "Version")); v != "1.2.3~rc1" {
		t.Errorf("version %q", v)
	}
	tree, control := filepath.Join(dir, "tree"), filepath.Join(dir, "control")
	output(t, "dpkg-deb", "-x", pkg, tree)
	output(t, "dpkg-deb", "-e", pkg, control)
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		output(t, "sh", "-n", filepath.Join(control, script))
	}
	if b, err := os.ReadFile(filepath.Join(control, "conffiles")); err != nil || string(b) != "/etc/default/manifold\n" {
		t.Errorf("%q %v", b, err)
	}
	if st, err := os.Stat(filepath.Join(tree, "etc/default/manifold")); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", st, err) // a password may stand there
	}
	if out := output(t, filepath.Join(tree, "usr/bin/manifold"), "version"); !strings.HasPrefix(out, "manifold ") {
		t.Errorf("%q", out)
	}
	unit, err := os.ReadFile(filepath.Join(tree, "usr/lib/systemd/system/manifold.service"))
	if err != nil {
		t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=(\S+) serve `).FindSubmatch(unit)
	if start == nil {
		t.Fatalf("no ExecStart in\n%s", unit)
	}
	if _, err := os.Stat(filepath.Join(tree, string(start[1]))); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"Type=notify", "WatchdogSec=", "User=manifold", "NoNewPrivileges=yes"} {
		if !bytes.Contains(unit, []byte(want)) {
			t.Errorf("the unit lacks %s", want)
		}
	}
	for _, name := range []string{"usr/share/man/man1/manifold.1.gz", "usr/share/man/man1/manifold-nfs-export-add.1.gz",
		"usr/share/bash-completion/completions/manifold", "usr/share/zsh/vendor-completions/_manifold", "usr/share/fish/vendor_completions.d/manifold.fish", "usr/share/doc/manifold/copyright", "usr/lib/sysusers.d/manifold.conf"} {
		if st, err := os.Stat(filepath.Join(tree, name)); err != nil || st.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The same source makes the same package.
func TestDeb_reproducible(t *testing.T) {
	files := []file{{"/usr/bin/x", 0o755, []byte("x"), false}, {"/etc/x", 0o644, []byte("odd"), true}}
	var got [2][]byte
	for i := range got {
		name, err := writeDeb(t.TempDir(), "1", files)
		if err != nil {
			t.Fatal(err)
		}
		if got[i], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got[0], got[1]) {
		t.Error("two packages of the same files differ")
	}
}

func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	m, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(m) != 1 {
		t.Fatalf("%s: %q %v", pattern, m, err)
	}
	return m[0]
}
