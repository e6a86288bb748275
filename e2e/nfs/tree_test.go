package nfs

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
)

// figures are what find counts in a tree, the top itself left out and a file
// with several links once.
type figures struct{ files, dirs, symlinks, bytes int }

const countScript = `
cd /mnt
for t in f d l; do echo $t $(find . -mindepth 1 -type $t -printf '%i\n' | sort -u | wc -l); done
echo b $(find . -type f -printf '%i %s\n' | sort -u | awk '{n += $2} END {printf "%d", n}')
cd /
`

func parseFigures(t *testing.T, out string) (f figures) {
	t.Helper()
	for line := range strings.Lines(out) {
		key, val, ok := strings.Cut(strings.TrimSpace(line), " ")
		p, known := map[string]*int{"f": &f.files, "d": &f.dirs, "l": &f.symlinks, "b": &f.bytes}[key]
		if !ok || !known {
			continue
		}
		n, err := strconv.Atoi(val)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		*p = n
	}
	return f
}

// aggregates is what the REST API says of a directory's whole tree.
type aggregates struct {
	Logical  string `json:"total_logical_size"` // sizes, where total_data is blocks
	Files    string `json:"total_files"`
	Dirs     string `json:"total_directories"`
	Symlinks string `json:"total_symlinks"`
}

func (a aggregates) figures(t *testing.T) (f figures) {
	t.Helper()
	for p, s := range map[*int]string{&f.files: a.Files, &f.dirs: a.Dirs, &f.symlinks: a.Symlinks, &f.bytes: a.Logical} {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%+v: %v", a, err)
		}
		*p = n
	}
	return f
}

// A real tree is copied in, survives kill -9, is counted exactly, and stays
// whole in a snapshot after it is removed.
func TestTree(t *testing.T) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(strings.TrimSpace(string(out)), "src")
	s := harness.StartServer(t)
	guest := harness.Guest{Net: s.Net, Realtime: true, Timeout: 15 * time.Minute, MemoryMB: 768}
	run := func(what, script string) string {
		t.Helper()
		at := time.Now()
		res := guest.Run(t, "mount -t nfs -o vers=3,proto=tcp,nolock $SERVER:/ /mnt || exit 1\n"+script)
		if res.Code != 0 {
			t.Fatalf("%s: exit code %d\n%s\n%s", what, res.Code, res.Stdout, res.Stderr)
		}
		t.Logf("%s: %v", what, time.Since(at).Round(time.Second/10))
		return res.Stdout
	}

	run("copy", "cp -r "+src+" /mnt/src && ln /mnt/src/fmt/print.go /mnt/hard && ln -s src/fmt /mnt/soft && umount /mnt")
	s.Kill9()
	s.Fsck(t)
	s.Start(t)
	want := parseFigures(t, run("diff after kill -9", "diff -r "+src+" /mnt/src || exit 1\n"+countScript))
	if want.files < 10_000 || want.symlinks != 1 {
		t.Fatalf("the tree has %+v", want)
	}

	rest := s.Login(t)
	var agg aggregates
	rest.Must(t, "GET", "/v1/files/%2F/aggregates/", nil, &agg)
	if got := agg.figures(t); got != want {
		t.Errorf("totals %+v, find counts %+v", got, want)
	}

	var best time.Duration
	name := ""
	for i := range 3 {
		var snap struct {
			ID   int    `json:"id"`
			Name string `json:"name"`
			Dir  string `json:"directory_name"`
		}
		at := time.Now()
		rest.Must(t, "POST", "/v2/snapshots/", map[string]string{"name": fmt.Sprintf("before%d", i), "source_file_id": "2", "expiration": ""}, &snap)
		took := time.Since(at)
		t.Logf("snapshot of %d files: %v", want.files, took)
		if best == 0 || took < best {
			best = took
		}
		name = snap.Dir
	}
	if best > 50*time.Millisecond {
		t.Errorf("a snapshot takes %v, at most 50 ms", best)
	}

	run("remove", "rm -rf /mnt/src /mnt/hard /mnt/soft && test -z \"$(ls -A /mnt)\"")
	rest.Must(t, "GET", "/v1/files/%2F/aggregates/", nil, &agg)
	if got := agg.figures(t); got != (figures{}) {
		t.Errorf("totals of the empty root: %+v", got)
	}
	got := parseFigures(t, run("diff of the snapshot", "diff -r "+src+" /mnt/.snapshot/"+name+"/src || exit 1\n"+
		strings.Replace(countScript, "cd /mnt\n", "cd /mnt/.snapshot/"+name+"\n", 1)))
	if got != want {
		t.Errorf("the snapshot holds %+v, want %+v", got, want)
	}
	s.Stop(t)
	s.Fsck(t)
	t.Log(strings.TrimSpace(s.MustCLI(t, "scrub", "--data", s.Data)))
}
