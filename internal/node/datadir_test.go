package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDataDir_lifecycle(t *testing.T) {
	p := filepath.Join(t.TempDir(), "data")
	if _, err := openDataDir(p, false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent, not to be made: %v", err)
	}
	d, err := openDataDir(p, true)
	if err != nil {
		t.Fatal(err)
	}
	if !d.fresh {
		t.Error("a new directory is not fresh")
	}
	if st, err := os.Stat(p); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v %v", st.Mode(), err)
	}
	_, err = openDataDir(p, true)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "process") {
		t.Errorf("second opener: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d, err = openDataDir(p, false)
	if err != nil {
		t.Fatal(err)
	}
	if d.fresh {
		t.Error("fresh twice")
	}
	sub, err := d.subdir(kvDir)
	if err != nil || sub != filepath.Join(p, kvDir) {
		t.Errorf("subdir %q %v", sub, err)
	}
	if _, err := d.subdir(kvDir); err != nil {
		t.Errorf("subdir again: %v", err)
	}
	if err := d.writeFile("x", []byte("y"), 0o600); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(d.join("x")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDataDir_refuses(t *testing.T) {
	t.Run("foreign", func(t *testing.T) {
		p := t.TempDir()
		if err := os.WriteFile(filepath.Join(p, "thesis.txt"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := openDataDir(p, true); !errors.Is(err, ErrNotData) {
			t.Errorf("%v", err)
		}
		if st, _ := os.Stat(p); st.Mode().Perm() != 0o755 {
			t.Error("a refused directory was changed")
		}
	})
	t.Run("newer", func(t *testing.T) {
		p := t.TempDir()
		if err := os.WriteFile(filepath.Join(p, markFile), []byte(`{"format":99}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openDataDir(p, true); !errors.Is(err, ErrNewer) {
			t.Errorf("%v", err)
		}
	})
	t.Run("garbled mark", func(t *testing.T) {
		p := t.TempDir()
		if err := os.WriteFile(filepath.Join(p, markFile), []byte(`{`), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openDataDir(p, true); !errors.Is(err, ErrNotData) {
			t.Errorf("%v", err)
		}
	})
	t.Run("missing parent", func(t *testing.T) {
		if _, err := openDataDir(filepath.Join(t.TempDir(), "a", "b"), true); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
	t.Run("empty, not to be made", func(t *testing.T) {
		if _, err := openDataDir(t.TempDir(), false); !errors.Is(err, ErrNotData) {
			t.Errorf("%v", err)
		}
	})
}

// TestDataDir_older: versions that know a lower format only refuse a directory that
// this one has opened.
func TestDataDir_older(t *testing.T) {
	for _, create := range []bool{true, false} {
		p := t.TempDir()
		if err := os.WriteFile(filepath.Join(p, markFile), []byte(`{"format":1}`), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := openDataDir(p, create)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(p, markFile)); err != nil || string(b) != "{\"format\":2}\n" {
			t.Errorf("%q, %v", b, err)
		}
	}
}

func TestDataDir_crashBeforeMark(t *testing.T) {
	p := t.TempDir()
	for _, n := range []string{lockFile, markFile + ".tmp"} {
		if err := os.WriteFile(filepath.Join(p, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := openDataDir(p, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
