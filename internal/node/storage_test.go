package node

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"manifold/internal/config"
	"manifold/internal/data/segment"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
)

// testStorage opens a storage in dir over e, with a small extent store.
func testStorage(t *testing.T, dir string, e kv.Engine, create bool) (*storage, error) {
	t.Helper()
	return openStorage(t.Context(), storageOptions{
		dir: dir, create: create,
		engine:   func(context.Context, string) (kv.Engine, error) { return e, nil },
		segments: segment.Options{SegmentBytes: 8 << 20, ReserveBytes: -1},
	})
}

func TestStorage_firstRun(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "data")
	mem := memkv.New()
	st, err := testStorage(t, dir, mem, true)
	if err != nil {
		t.Fatal(err)
	}
	m := machine{name: "n1", hosts: []string{"localhost"}, subnets: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	_, err = firstRun(ctx, st, [16]byte{1}, m, "weak", false)
	if !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "MANIFOLD_ADMIN_PASSWORD") {
		t.Errorf("weak password: %v", err)
	}
	made, err := firstRun(ctx, st, [16]byte{1}, m, "", false)
	if err != nil {
		t.Fatal(err)
	}
	if made.password != "" || len(made.notes) != 1 || !strings.Contains(made.notes[0], passwordFile) {
		t.Errorf("%+v", made)
	}
	pass := readPrivate(t, filepath.Join(dir, passwordFile))
	if _, err := st.config.Authenticate(ctx, "admin", pass); err != nil {
		t.Errorf("password of the file: %v", err)
	}
	if ok, err := st.config.MetricsToken(ctx, readPrivate(t, filepath.Join(dir, metricsFile))); !ok || err != nil {
		t.Errorf("metrics token of the file: %v %v", ok, err)
	}
	c, err := st.config.Cluster(ctx)
	if err != nil || c.Value.UUID != "01000000-0000-0000-0000-000000000000" {
		t.Errorf("%+v %v", c, err)
	}
	if again, err := firstRun(ctx, st, [16]byte{1}, m, "", false); err != nil || len(again.notes) != 0 {
		t.Errorf("second time: %+v %v", again, err)
	}

	// A crash between the commit and the token's file: the next start makes one.
	if err := os.Remove(filepath.Join(dir, metricsFile)); err != nil {
		t.Fatal(err)
	}
	if err := ensureMetricsFile(ctx, st.config, st.dir); err != nil {
		t.Fatal(err)
	}
	if ok, err := st.config.MetricsToken(ctx, readPrivate(t, filepath.Join(dir, metricsFile))); !ok || err != nil {
		t.Errorf("new metrics token: %v %v", ok, err)
	}

	next := mem.Clone()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st, err = testStorage(t, dir, next, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := st.openExtents(); err != nil {
		t.Error(err)
	}
	if done, err := st.config.Initialized(ctx); !done || err != nil {
		t.Errorf("the configuration is gone: %v", err)
	}
	if _, err := testStorage(t, dir, next, true); !errors.Is(err, ErrLocked) {
		t.Errorf("second opener: %v", err)
	}
}

func TestStorage_showsPasswordOnTerminalOnly(t *testing.T) {
	st, err := testStorage(t, t.TempDir(), memkv.New(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	made, err := firstRun(t.Context(), st, [16]byte{1}, machine{}, "", true)
	if err != nil || made.password == "" || len(made.notes) != 0 {
		t.Fatalf("%+v %v", made, err)
	}
	if _, err := os.Stat(st.dir.join(passwordFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the password is in a file too: %v", err)
	}
	if _, err := st.config.Authenticate(t.Context(), "admin", made.password); err != nil {
		t.Error(err)
	}
}

func TestStorage_nothingThere(t *testing.T) {
	dir := t.TempDir()
	e := memkv.New()
	defer func() { _ = e.Close() }()
	if _, err := testStorage(t, dir, e, false); !errors.Is(err, ErrNotData) {
		t.Errorf("%v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v %v", names, err)
	}
}

func TestResetPassword(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "data")
	st, err := testStorage(t, dir, memkv.New(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := resetPassword(ctx, st.config, ""); !errors.Is(err, ErrNotData) {
		t.Errorf("before the first run: %v", err)
	}
	if _, err := firstRun(ctx, st, [16]byte{1}, machine{}, "First-Password-1", false); err != nil {
		t.Fatal(err)
	}
	if _, err := resetPassword(ctx, st.config, "weak"); !errors.Is(err, config.ErrInvalid) {
		t.Errorf("%v", err)
	}
	for _, given := range []string{"", "Second-Password-2"} {
		p, err := resetPassword(ctx, st.config, given)
		if err != nil || given != "" && p != given {
			t.Fatalf("%q %v", p, err)
		}
		if _, err := st.config.Authenticate(ctx, "admin", p); err != nil {
			t.Error(err)
		}
	}
	if _, err := ResetAdminPassword(ctx, dir, "", nil); !errors.Is(err, ErrLocked) {
		t.Errorf("of a running server: %v", err)
	}
}

// The real key store, from the first start to the next process.
func TestStorage_pebble(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "data")
	o := storageOptions{dir: dir, create: true, segments: segment.Options{SegmentBytes: 8 << 20, ReserveBytes: -1}}
	st, err := openStorage(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := firstRun(ctx, st, [16]byte{1}, machine{}, "First-Password-1", false); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := ResetAdminPassword(ctx, dir, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if st, err = openStorage(ctx, o); err != nil {
		t.Fatal(err)
	}
	if _, err := st.config.Authenticate(ctx, "admin", p); err != nil {
		t.Error(err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

func readPrivate(t *testing.T, path string) string {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v", path, st.Mode())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}
