package node

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"manifold/internal/data/segment"
	"manifold/internal/fs"
)

// withFile makes a data directory that holds one file of a million bytes.
func withFile(t *testing.T) string {
	t.Helper()
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "data")
	st, err := openStorage(ctx, storageOptions{dir: dir, create: true, segments: segment.Options{SegmentBytes: 8 << 20, ReserveBytes: -1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.openFS(ctx); err != nil {
		t.Fatal(err)
	}
	who := fs.SystemCaller()
	res, err := st.fs.Create(ctx, who, fs.Root, "file", &fs.CreateSpec{Type: fs.File, Want: fs.AttrType})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.fs.Write(ctx, who, res.Attr.Node, &fs.WriteRequest{Data: bytes.Repeat([]byte("manifold"), 125_000), Stability: fs.FileSync}); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, segmentDir, "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	return names
}

func check(t *testing.T, dir string) []CheckFinding {
	t.Helper()
	var found []CheckFinding
	r, err := Check(t.Context(), CheckOptions{DataDir: dir, Found: func(f CheckFinding) { found = append(found, f) }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Findings != uint64(len(found)) {
		t.Errorf("%d findings reported, %d counted", len(found), r.Findings)
	}
	return found
}

func scrubbed(t *testing.T, dir string) []ScrubFinding {
	t.Helper()
	var found []ScrubFinding
	r, err := Scrub(t.Context(), ScrubOptions{DataDir: dir, Found: func(f ScrubFinding) { found = append(found, f) }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Extents == 0 || r.Bytes < 1_000_000 && len(found) == 0 {
		t.Errorf("verified %+v", r.Progress)
	}
	return found
}

func TestDamage_none(t *testing.T) {
	dir := withFile(t)
	if f := check(t, dir); len(f) != 0 {
		t.Errorf("%+v", f)
	}
	if f := scrubbed(t, dir); len(f) != 0 {
		t.Errorf("%+v", f)
	}
}

func TestDamage_segmentGone(t *testing.T) {
	dir := withFile(t)
	for _, s := range segments(t, dir) {
		if err := os.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	if f := check(t, dir); len(f) == 0 || !strings.Contains(f[0].What, "does not exist") {
		t.Errorf("%+v", f)
	}
	if f := scrubbed(t, dir); len(f) == 0 {
		t.Error("scrub finds nothing")
	}
}

func TestDamage_segmentCutOff(t *testing.T) {
	dir := withFile(t)
	for _, s := range segments(t, dir) {
		if err := os.Truncate(s, 5000); err != nil {
			t.Fatal(err)
		}
	}
	if f := check(t, dir); len(f) == 0 || !strings.Contains(f[0].What, "which has 5000 bytes") {
		t.Errorf("%+v", f)
	}
}

func TestDamage_flippedBit(t *testing.T) {
	dir := withFile(t)
	flipped := false
	for _, s := range segments(t, dir) {
		b, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, []byte("manifoldmanifold")); i >= 0 {
			b[i+100_001] ^= 0x10
			flipped = true
		}
		if err := os.WriteFile(s, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !flipped {
		t.Fatal("the file's bytes were not found")
	}
	if f := check(t, dir); len(f) != 0 {
		t.Errorf("fsck reads file data: %+v", f)
	}
	if f := scrubbed(t, dir); len(f) != 1 || f[0].Kind.String() != "checksum" || f[0].Block != 1 {
		t.Errorf("%+v", f)
	}
}
