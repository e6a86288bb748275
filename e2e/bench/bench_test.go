package bench

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/peers"
)

//go:embed work.py
var work []byte

var (
	rounds  = flag.Int("rounds", 5, "interleaved rounds")
	rowSets = flag.String("rows", "seq,rand,meta,tree", "sets of rows")
	mib     = flag.Int("mib", 1024, "size of the sequential file")
	files   = flag.Int("files", 10000, "files of the metadata rows")
	tree    = flag.String("tree", "", "source tree (default: cmd of the Go distribution)")
	dirsync = flag.Bool("dirsync", false, "also measure Ganesha on ext4 mounted dirsync, which makes names durable as we do")
	clients = flag.Int("clients", 1, "clients of NFS at the same time: processes of one guest, with as many connections")
	only    = flag.String("only", "", "manifold or ganesha alone")
)

// server is one contestant.
type server struct {
	Series
	net   *netns.Namespace
	pid   func() int
	mount string
}

func TestTable(t *testing.T) {
	now := time.Duration(0)
	m := meter{cpu: func() (time.Duration, error) { now += 10 * time.Millisecond; return now, nil }, into: map[string][]Sample{}}
	for _, l := range []string{"begin create", "noise", "end create 100 0.5", "begin create", "end create 100 0.25"} {
		m.line(l)
	}
	other := map[string][]Sample{"create": {{Ops: 100, Elapsed: time.Second, CPU: 5 * time.Millisecond}}}
	var b strings.Builder
	if err := errors.Join(m.err, WriteTable(&b, []Series{{"ours", m.into}, {"theirs", other}})); err != nil {
		t.Fatal(err)
	}
	const want = "| create | file | 300 (200..400) | 100 (100..100) | 3.00 | 100 (100..100) | 50.0 (50.0..50.0) | 0.50 |\n"
	if !strings.HasSuffix(b.String(), want) {
		t.Errorf("%s\nwant the line\n%s", b.String(), want)
	}
}

// BenchmarkNFS prints a Markdown table.
//
//	go test ./e2e/bench -run '^$' -bench NFS -benchtime 1x -timeout 2h -args -rounds 5
func BenchmarkNFS(b *testing.B) {
	dir := b.TempDir()
	if *tree == "" {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			b.Fatal(err)
		}
		*tree = filepath.Join(strings.TrimSpace(string(out)), "src", "cmd")
	}
	sh := func(name string, args ...string) string {
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			b.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	tar := filepath.Join(dir, "tree.tar")
	entries := strings.Count(sh("tar", "-C", *tree, "-cvf", tar, "."), "\n")
	script := filepath.Join(dir, "work.py")
	if err := os.WriteFile(script, work, 0o600); err != nil {
		b.Fatal(err)
	}

	var all []*server
	add := func(name string, net *netns.Namespace, pid func() int, mount string) {
		all = append(all, &server{Series{name, map[string][]Sample{}}, net, pid, mount})
	}
	ganesha := func(name, dir string) {
		g := peers.StartGanesha(b, dir)
		add(name, g.Net, g.Pid, "port=2049,mountport=20048,mountproto=tcp,nolock $SERVER:"+dir)
	}
	if *only != "ganesha" {
		s := harness.StartServer(b)
		add("manifold", s.Net, s.Pid, "nolock $SERVER:/")
	}
	if *only != "manifold" {
		ganesha("Ganesha", b.TempDir())
	}
	if *dirsync {
		img, at := filepath.Join(dir, "ext4"), filepath.Join(dir, "mnt")
		sh("truncate", "-s", "6G", img)
		sh("mkfs.ext4", "-q", img)
		sh("mkdir", at)
		sh("mount", "-o", "loop,dirsync", img, at)
		b.Cleanup(func() { sh("umount", "-l", at) })
		ganesha("Ganesha dirsync", at)
	}

	for round := range *rounds {
		for i := range all {
			s := all[(i+round)%len(all)] // each goes first in turn
			m := meter{into: s.Samples, cpu: func() (time.Duration, error) {
				u, err := harness.UsageOf(s.pid())
				return u.CPU, err
			}, kernel: harness.KernelThreads}
			guest := harness.Guest{Net: s.net, CPU: 1, MemoryMB: 768, Timeout: 20 * time.Minute, OnLine: m.line}
			res := guest.Run(b, fmt.Sprintf("mount -t nfs -o vers=3,proto=tcp,nconnect=%d,%s /mnt || exit 1\n"+
				"CLIENTS=%d ROWS=%s MIB=%d FILES=%d ENTRIES=%d python3 %s /mnt/bench %s",
				*clients, s.mount, *clients, *rowSets, *mib, *files, entries, script, tar))
			if res.Code != 0 || m.err != nil {
				b.Fatalf("%s: exit code %d, %v\n%s", s.Server, res.Code, m.err, res.Stderr)
			}
			b.Logf("round %d: %s done", round+1, s.Server)
		}
	}
	var series []Series
	for _, s := range all {
		series = append(series, s.Series)
	}
	fmt.Printf("\n%d rounds, clients at once: %d, %d MiB, %d files, tree of %d entries; median (min..max)\n\n", *rounds, *clients, *mib, *files, entries)
	if err := WriteTable(os.Stdout, series); err != nil {
		b.Fatal(err)
	}
}
