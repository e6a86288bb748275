package bench

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStorage(t *testing.T) {
	f := memfs.New(memfs.Options{})
	var mu sync.Mutex
	seen := map[string]bool{}
	phases, err := Storage(t.Context(), f, Options{
		Files: 250, PerDirectory: 100, FileBytes: 100_000, Clients: 3,
		Progress: func(phase string, done, total int) {
			mu.Lock()
			defer mu.Unlock()
			seen[phase] = seen[phase] || done == total
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range phases {
		names = append(names, p.Name)
		if p.Ops != 250 || p.Wall <= 0 || p.P99 < p.P50 || !seen[p.Name] {
			t.Errorf("%+v, end reported: %v", p, seen[p.Name])
		}
	}
	if got := strings.Join(names, " "); got != "create stat list read remove" {
		t.Errorf("phases %s", got)
	}
	if phases[3].Bytes != 250*100_000 {
		t.Errorf("read %d bytes", phases[3].Bytes)
	}
	var out strings.Builder
	if err := Write(&out, phases); err != nil || strings.Count(out.String(), "\n") != 6 {
		t.Errorf("%v\n%s", err, &out)
	}
	if left := entries(t, f); left != 0 {
		t.Errorf("%d entries left behind", left)
	}
}

func TestStorage_keep(t *testing.T) {
	f := memfs.New(memfs.Options{})
	phases, err := Storage(t.Context(), f, Options{Files: 3, Keep: true})
	if err != nil || len(phases) != 3 {
		t.Errorf("%+v %v", phases, err)
	}
	if left := entries(t, f); left != 1 {
		t.Errorf("%d entries left, want the benchmark's", left)
	}
}

func entries(t *testing.T, f fs.FS) int {
	t.Helper()
	n := 0
	if _, err := f.ReadDir(t.Context(), fs.SystemCaller(), fs.Root, 0, fs.AttrType, func(*fs.Dirent) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	return n
}

// lossy is a file system that forgets some files.
type lossy struct{ fs.FS }

func (l lossy) Create(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, spec *fs.CreateSpec) (fs.CreateResult, error) {
	if name == "f00000007" {
		name = "elsewhere"
	}
	return l.FS.Create(ctx, c, dir, name, spec)
}

func TestStorage_noticesLostFiles(t *testing.T) {
	phases, err := Storage(t.Context(), lossy{memfs.New(memfs.Options{})}, Options{Files: 20})
	if !errors.Is(err, fs.NotExist) || !strings.Contains(err.Error(), "stat") || len(phases) != 1 {
		t.Errorf("%+v %v", phases, err)
	}
}

func TestStorage_stopsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Storage(ctx, memfs.New(memfs.Options{}), Options{Files: 20}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("an empty one has a median")
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond} {
		if got := h.quantile(q); got < want || got > want*5/4 {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
	h.add(0)
	h.add(-1)
	h.add(1 << 62)
}

func TestOptions_validate(t *testing.T) {
	for _, o := range []Options{{Files: -1}, {PerDirectory: -1}, {FileBytes: -1}, {Clients: -1}, {FileBytes: 1 << 31}} {
		if o.Validate() == nil {
			t.Errorf("%+v", o)
		}
	}
}
