package bench

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/peers"
)

//go:embed small.py
var smallScript []byte

var (
	small    = flag.Int("small", 5000, "small files of FTP and SFTP")
	keys     = flag.Int("keys", 100_000, "keys of the S3 listing")
	smallLen = flag.Int("small-bytes", 4096, "size of each")
	synced   = flag.Bool("sync", true, "also measure the peers of FTP and SFTP on ext4 mounted sync, which takes the longest")
)

// contestant is one server of files by FTP or SFTP.
type contestant struct {
	Series
	net *netns.Namespace
	pid int
	// user, as curl and ssh take it, and the folder in which it works.
	user, folder string
}

// files makes what is sent: one large file and many small ones.
func makeFiles(b *testing.B) (dir string) {
	b.Helper()
	dir = b.TempDir()
	f, err := os.Create(filepath.Join(dir, "big"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	_, _ = rand.Read(block)
	for range *mib {
		if _, err := f.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "small.py"), smallScript, 0o600), os.Mkdir(filepath.Join(dir, "small"), 0o755), os.Mkdir(filepath.Join(dir, "back"), 0o755)); err != nil {
		b.Fatal(err)
	}
	for i := range *small {
		if err := os.WriteFile(filepath.Join(dir, "small", "f"+strconv.Itoa(i)), block[:*smallLen], 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// syncMount is a file system on which every write and name is durable when its
// call returns, as with us.
func syncMount(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	img, at := filepath.Join(dir, "ext4"), filepath.Join(dir, "mnt")
	for _, c := range [][]string{{"truncate", "-s", "6G", img}, {"mkfs.ext4", "-q", img}, {"mkdir", at}, {"mount", "-o", "loop,sync", img, at}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			b.Fatalf("%q: %v\n%s", c, err, out)
		}
	}
	b.Cleanup(func() { _ = exec.Command("umount", "-l", at).Run() })
	return at
}

// treeCPU is what a process, its children and those that it has buried took.
func treeCPU(root int) (time.Duration, error) {
	type proc struct {
		parent int
		ticks  uint64
	}
	all := map[int]proc{}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, s := range stats {
		text, err := os.ReadFile(s)
		if err != nil {
			continue // has ended
		}
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(f) < 16 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(s)))
		p := proc{}
		p.parent, _ = strconv.Atoi(f[1])
		for _, n := range f[11:15] {
			v, _ := strconv.ParseUint(n, 10, 64)
			p.ticks += v
		}
		all[pid] = p
	}
	var sum uint64
	for pid, p := range all {
		for at := pid; at > 1; at = all[at].parent {
			if at == root {
				sum += p.ticks
				break
			}
		}
	}
	const hertz = 100 // USER_HZ of every Linux that Go runs on
	return time.Duration(sum) * time.Second / hertz, nil
}

// settle waits until the processes that served a client have ended: their
// parent counts them then.
func settle(root int) {
	harness.Within(3*time.Second, func() bool {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", root, root))
		return len(bytes.TrimSpace(b)) == 0
	})
}

// measure runs a client and notes what it and the server took.
func (c *contestant) measure(b *testing.B, dir, row string, ops int, stdin, name string, args ...string) {
	b.Helper()
	m := meter{into: c.Samples, cpu: func() (time.Duration, error) { return treeCPU(c.pid) }}
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, strings.NewReader(stdin), &out
	m.line("begin " + row)
	began := time.Now()
	p, err := c.net.Start(cmd)
	if err != nil {
		b.Fatal(err)
	}
	<-p.Done()
	took := time.Since(began)
	if p.Err() != nil {
		b.Fatalf("%s: %s %q: %v\n%s", c.Server, name, args, p.Err(), &out)
	}
	settle(c.pid)
	m.line(fmt.Sprintf("end %s %d %f", row, ops, took.Seconds()))
	if m.err != nil {
		b.Fatal(m.err)
	}
}

func (c *contestant) ftp(b *testing.B, dir, prefix string, flags ...string) {
	b.Helper()
	base := "ftp://" + netns.Server + c.folder
	curl := func(row string, ops int, args ...string) {
		b.Helper()
		c.measure(b, dir, prefix+row, ops, "", "curl", append(append([]string{"-sS", "-k", "--ftp-method", "nocwd", "--ftp-create-dirs", "-u", c.user}, flags...), args...)...)
	}
	// curl waits a second before each further transfer of a connection.
	user, password, _ := strings.Cut(c.user, ":")
	py := func(row, verb string) {
		b.Helper()
		how := "plain"
		if len(flags) > 0 {
			how = "tls"
		}
		c.measure(b, dir, prefix+row, *small, "", "python3", "small.py", verb, how, netns.Server, user, password, c.folder, strconv.Itoa(*small))
	}
	curl("put", *mib, "-T", "big", base+"/big"+prefix)
	curl("get", *mib, "-o", "/dev/null", base+"/big"+prefix)
	py("puts", "put")
	py("gets", "get")
}

func (c *contestant) sftp(b *testing.B, dir, key string, round int) {
	b.Helper()
	run := func(row string, ops int, batch string) {
		b.Helper()
		c.measure(b, dir, row, ops, batch, "sftp", "-q", "-F", "none", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
			"-c", "aes128-gcm@openssh.com", "-b", "-", c.user+"@"+netns.Server)
	}
	at := c.folder + "/r" + strconv.Itoa(round)
	run("put", *mib, "put big "+c.folder+"/big\n")
	run("get", *mib, "get "+c.folder+"/big /dev/null\n")
	run("puts", *small, "put -r small "+at+"\n")
	run("gets", *small, "get -r "+at+" "+filepath.Join("back", strings.ReplaceAll(c.Server, " ", "-")+strconv.Itoa(round))+"\n")
}

func newContestant(name string, net *netns.Namespace, pid int, user, folder string) *contestant {
	return &contestant{Series{name, map[string][]Sample{}}, net, pid, user, folder}
}

func report(b *testing.B, all []*contestant) {
	b.Helper()
	var series []Series
	for _, c := range all {
		series = append(series, c.Series)
	}
	fmt.Printf("\n%d rounds, %d MiB, %d files of %d bytes; median (min..max)\n\n", *rounds, *mib, *small, *smallLen)
	if err := WriteTable(os.Stdout, series); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkFTP compares with vsftpd, which acknowledges before anything is on
// disk, and with vsftpd on a file system that is mounted sync.
func BenchmarkFTP(b *testing.B) {
	dir := makeFiles(b)
	s := harness.StartServer(b)
	s.MustCLI(b, "login", "--password", harness.Password)
	s.MustCLI(b, "ftp", "enable")
	s.MustCLI(b, "ftp", "modify", "--allow-unencrypted")
	s.MustCLI(b, "fs", "mkdir", "/pub")
	v := peers.StartVsftpd(b, b.TempDir())
	all := []*contestant{
		newContestant("manifold", s.Net, s.Pid(), "admin:"+harness.Password, "/pub"),
		newContestant("vsftpd", v.Net, v.Pid(), "anonymous:x", "/pub"),
	}
	if *synced {
		d := peers.StartVsftpd(b, syncMount(b))
		all = append(all, newContestant("vsftpd on sync", d.Net, d.Pid(), "anonymous:x", "/pub"))
	}
	for round := range *rounds {
		for i := range all {
			c := all[(i+round)%len(all)]
			c.ftp(b, dir, "")
			c.ftp(b, dir, "tls", "--ssl-reqd")
			b.Logf("round %d: %s done", round+1, c.Server)
		}
	}
	report(b, all)
}

// BenchmarkSFTP compares with OpenSSH's sftp-server, whose files are durable
// only where the client asks for it, and with it on a file system mounted sync.
func BenchmarkSFTP(b *testing.B) {
	dir := makeFiles(b)
	key := filepath.Join(dir, "id")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	s := harness.StartServer(b)
	s.MustCLI(b, "login", "--password", harness.Password)
	s.MustCLI(b, "ssh", "key", "add", "admin", key+".pub")
	s.MustCLI(b, "fs", "mkdir", "/pub")
	o := peers.StartSSHD(b, key+".pub")
	all := []*contestant{
		newContestant("manifold", s.Net, s.Pid(), "admin", "/pub"),
		newContestant("OpenSSH", o.Net, o.Pid(), "root", b.TempDir()),
	}
	if *synced {
		all = append(all, newContestant("OpenSSH on sync", o.Net, o.Pid(), "root", syncMount(b)))
	}
	for round := range *rounds {
		for i := range all {
			c := all[(i+round)%len(all)]
			c.sftp(b, dir, key, round)
			b.Logf("round %d: %s done", round+1, c.Server)
		}
	}
	report(b, all)
}
