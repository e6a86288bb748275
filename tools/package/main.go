// Command package builds manifold.deb and manifold.rpm from the work tree: the
// static binary, its manual, the service unit and the user it runs as.
//
// Invariants: the files of both packages come from one list; nothing in a .deb
// depends on when or where it was made. The .deb is written here, the .rpm by
// rpmbuild.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	out := flag.String("out", "dist", "folder for the packages")
	version := flag.String("version", "", "version of the packages; the binary's own without it")
	binary := flag.String("binary", "", "binary to pack; built without it")
	formats := flag.String("formats", "deb,rpm", "what to make")
	flag.Parse()
	err := run(options{out: *out, version: *version, binary: *binary, formats: strings.Split(*formats, ",")})
	if err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

type options struct {
	out, version, binary string
	formats              []string
}

// file is what a package installs.
type file struct {
	path   string // absolute
	mode   int64
	data   []byte
	config bool // an operator may change it
}

func run(o options) error {
	work, err := os.MkdirTemp("", "package")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if o.binary == "" {
		o.binary = filepath.Join(work, "manifold")
		c := exec.Command("go", "build", "-trimpath", "-o", o.binary, "./cmd/manifold")
		c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if err := command(c); err != nil {
			return err
		}
	}
	if o.version == "" {
		if o.version, err = versionOf(o.binary); err != nil {
			return err
		}
	}
	files, err := collect(root, o.binary, work)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	for _, f := range o.formats {
		var name string
		switch f {
		case "deb":
			name, err = writeDeb(o.out, o.version, files)
		case "rpm":
			name, err = writeRPM(o.out, o.version, files, work)
		default:
			err = fmt.Errorf("format %q: want deb or rpm", f)
		}
		if err != nil {
			return err
		}
		fmt.Println(name)
	}
	return nil
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

func command(c *exec.Cmd) error {
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, out)
	}
	return nil
}

// versionOf asks the binary and spells the answer as both formats allow, such
// that a version before a release sorts before it.
func versionOf(binary string) (string, error) {
	out, err := exec.Command(binary, "version", "--json").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", binary, err)
	}
	var v struct{ Version, Revision, Time string }
	if err := json.Unmarshal(out, &v); err != nil {
		return "", err
	}
	s := strings.ReplaceAll(strings.TrimPrefix(v.Version, "v"), "-", "~")
	if s != "" && s[0] >= '0' && s[0] <= '9' {
		return s, nil
	}
	t, err := time.Parse(time.RFC3339, v.Time)
	if err != nil {
		return "0.0.0~devel", nil
	}
	return fmt.Sprintf("0.0.0~%s.%.12s", t.UTC().Format("20060102150405"), v.Revision), nil
}

// collect is the list of files of both packages.
func collect(root, binary, work string) ([]file, error) {
	var files []file
	var failure error
	add := func(to string, mode int64, config bool, from string) {
		b, err := os.ReadFile(from)
		failure = errors.Join(failure, err)
		files = append(files, file{to, mode, b, config})
	}
	add("/usr/bin/manifold", 0o755, false, binary)
	add("/usr/lib/systemd/system/manifold.service", 0o644, false, filepath.Join(root, "deploy/manifold.service"))
	add("/usr/lib/sysusers.d/manifold.conf", 0o644, false, filepath.Join(root, "deploy/manifold.sysusers"))
	add("/etc/default/manifold", 0o640, true, filepath.Join(root, "deploy/manifold.default"))
	add("/usr/share/doc/manifold/copyright", 0o644, false, filepath.Join(root, "LICENSE"))
	add("/usr/share/doc/manifold/README.md", 0o644, false, filepath.Join(root, "README.md"))
	docs, err := filepath.Glob(filepath.Join(root, "docs/reference/*.md"))
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		add("/usr/share/doc/manifold/reference/"+filepath.Base(d), 0o644, false, d)
	}
	man := filepath.Join(work, "man")
	if err := command(exec.Command(binary, "man", man)); err != nil {
		return nil, err
	}
	pages, err := filepath.Glob(filepath.Join(man, "*.gz"))
	if err != nil {
		return nil, err
	}
	for _, p := range pages {
		add("/usr/share/man/man1/"+filepath.Base(p), 0o644, false, p)
	}
	for shell, path := range map[string]string{
		"bash": "/usr/share/bash-completion/completions/manifold",
		"zsh":  "/usr/share/zsh/vendor-completions/_manifold",
		"fish": "/usr/share/fish/vendor_completions.d/manifold.fish",
	} {
		completion, err := exec.Command(binary, "completion", shell).Output()
		if err != nil {
			return nil, fmt.Errorf("completion of %s: %w", shell, err)
		}
		files = append(files, file{path, 0o644, completion, false})
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return files, failure
}

const summary = "file server with NFS and a REST API on one file system"

//go:embed postinst.sh
var postinst string

//go:embed prerm.sh
var prerm string

//go:embed postrm.sh
var postrm string

// architectures by Go's name: Debian's and RPM's.
var architectures = map[string][2]string{"amd64": {"amd64", "x86_64"}, "arm64": {"arm64", "aarch64"}}

func writeDeb(out, version string, files []file) (string, error) {
	arch, ok := architectures[runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("no package for %s", runtime.GOARCH)
	}
	var sums, conf strings.Builder
	size := 0
	data := newTarball()
	for _, f := range files {
		data.add(f.path, f.mode, f.data)
		size += len(f.data)
		if f.config {
			fmt.Fprintln(&conf, f.path)
		} else {
			fmt.Fprintf(&sums, "%x  %s\n", md5.Sum(f.data), f.path[1:])
		}
	}
	control := newTarball()
	control.add("/control", 0o644, fmt.Appendf(nil, `Package: manifold
Version: %s
Architecture: %s
Maintainer: The manifold authors <root@localhost>
Installed-Size: %d
Depends: systemd
Section: net
Priority: optional
Description: %s
 One static binary that serves one file system by several protocols.
 The service is installed stopped: systemctl enable --now manifold
`, version, arch[0], size/1024+1, summary))
	control.add("/md5sums", 0o644, []byte(sums.String()))
	control.add("/conffiles", 0o644, []byte(conf.String()))
	control.add("/postinst", 0o755, []byte(postinst))
	control.add("/prerm", 0o755, []byte(prerm))
	control.add("/postrm", 0o755, []byte(postrm))

	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range []struct {
		name string
		tar  *tarball
	}{{"debian-binary", nil}, {"control.tar.gz", control}, {"data.tar.gz", data}} {
		content := []byte("2.0\n")
		if m.tar != nil {
			var err error
			if content, err = m.tar.bytes(); err != nil {
				return "", err
			}
		}
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(content))
		b.Write(content)
		if len(content)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	name := filepath.Join(out, fmt.Sprintf("manifold_%s_%s.deb", version, arch[0]))
	return name, os.WriteFile(name, b.Bytes(), 0o644)
}

// tarball is a compressed archive with the folders that its files lie in.
type tarball struct {
	buf  bytes.Buffer
	gz   *gzip.Writer
	tar  *tar.Writer
	dirs map[string]bool
	err  error
}

func newTarball() *tarball {
	t := &tarball{dirs: map[string]bool{}}
	t.gz = gzip.NewWriter(&t.buf)
	t.tar = tar.NewWriter(t.gz)
	t.dir("/")
	return t
}

func (t *tarball) header(h *tar.Header) {
	h.Uname, h.Gname, h.ModTime, h.Format = "root", "root", time.Unix(0, 0), tar.FormatGNU
	t.err = errors.Join(t.err, t.tar.WriteHeader(h))
}

func (t *tarball) dir(p string) {
	if t.dirs[p] {
		return
	}
	if p != "/" {
		t.dir(path.Dir(p))
	}
	t.dirs[p] = true
	t.header(&tar.Header{Typeflag: tar.TypeDir, Name: "." + strings.TrimSuffix(p, "/") + "/", Mode: 0o755})
}

func (t *tarball) add(p string, mode int64, data []byte) {
	t.dir(path.Dir(p))
	t.header(&tar.Header{Typeflag: tar.TypeReg, Name: "." + p, Mode: mode, Size: int64(len(data))})
	_, err := io.Copy(t.tar, bytes.NewReader(data))
	t.err = errors.Join(t.err, err)
}

func (t *tarball) bytes() ([]byte, error) {
	err := errors.Join(t.err, t.tar.Close(), t.gz.Close())
	return t.buf.Bytes(), err
}

// writeRPM has rpmbuild pack the files, which it wants in a tree.
func writeRPM(out, version string, files []file, work string) (string, error) {
	arch, ok := architectures[runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("no package for %s", runtime.GOARCH)
	}
	tree := filepath.Join(work, "tree")
	var list strings.Builder
	for _, f := range files {
		to := filepath.Join(tree, f.path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(to, f.data, os.FileMode(f.mode)); err != nil {
			return "", err
		}
		kind := ""
		if f.config {
			kind = "%config(noreplace) "
		}
		fmt.Fprintf(&list, "%%attr(%04o, root, root) %s%s\n", f.mode, kind, f.path)
	}
	spec := filepath.Join(work, "manifold.spec")
	err := os.WriteFile(spec, fmt.Appendf(nil, `Name: manifold
Version: %s
Release: 1
Summary: %s
License: Apache-2.0
AutoReqProv: no
Requires: systemd

%%description
One static binary that serves one file system by several protocols.
The service is installed stopped: systemctl enable --now manifold

%%install
cp -a %s/. %%{buildroot}/

%%files
%s
%%post
%s
%%preun
if [ "$1" = 0 ]; then set -- remove; else set -- upgrade; fi
%s
%%postun
%s`, version, summary, tree, list.String(), postinst, prerm, postrm), 0o644)
	if err != nil {
		return "", err
	}
	c := exec.Command("rpmbuild", "-bb", "--quiet", "--target", arch[1],
		"--define", "_topdir "+filepath.Join(work, "rpm"), "--define", "_rpmdir "+filepath.Join(work, "rpm"),
		"--define", "_binary_payload w6.gzdio", "--define", "debug_package %{nil}", "--define", "__os_install_post %{nil}", "--define", "_build_id_links none",
		"--define", "_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm", "--define", "_dbpath "+filepath.Join(work, "db"), spec)
	if err := command(c); err != nil {
		return "", err
	}
	base := fmt.Sprintf("manifold-%s-1.%s.rpm", version, arch[1])
	b, err := os.ReadFile(filepath.Join(work, "rpm", base))
	if err != nil {
		return "", err
	}
	name := filepath.Join(out, base)
	return name, os.WriteFile(name, b, 0o644)
}
