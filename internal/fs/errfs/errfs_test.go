package errfs_test

import (
	"context"
	"errors"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/errfs"
	"manifold/internal/fs/fstest"
	"manifold/internal/fs/memfs"
)

func TestSuite_withoutHooks(t *testing.T) {
	fstest.Run(t, func(*testing.T) fs.FS { return errfs.New(memfs.New(memfs.Options{}), errfs.Options{}) })
}

func create(ctx context.Context, f fs.FS, name string) error {
	_, err := f.Create(ctx, fs.SystemCaller(), fs.Root, name, &fs.CreateSpec{Type: fs.File})
	return err
}

func TestFailOn(t *testing.T) {
	f := errfs.New(memfs.New(memfs.Options{}), errfs.Options{Before: errfs.FailOn("Create", 2, fs.NoSpace)})
	if err := create(t.Context(), f, "a"); err != nil {
		t.Fatal(err)
	}
	err := create(t.Context(), f, "b")
	var fe *fs.Error
	if fs.KindOf(err) != fs.NoSpace || !errors.As(err, &fe) || fe.Name != "b" {
		t.Fatalf("got %v", err)
	}
	if err := create(t.Context(), f, "b"); err != nil {
		t.Fatal(err)
	}
}

// After leaves the caller in doubt: the name is there.
func TestAfter(t *testing.T) {
	f := errfs.New(memfs.New(memfs.Options{}), errfs.Options{After: func(_ context.Context, c errfs.Call, err error) error {
		if c.Op == "Create" {
			return fs.Unavailable
		}
		return err
	}})
	if err := create(t.Context(), f, "a"); fs.KindOf(err) != fs.Unavailable {
		t.Fatalf("got %v", err)
	}
	if _, err := f.Lookup(t.Context(), fs.SystemCaller(), fs.Root, "a", 0); err != nil {
		t.Fatal(err)
	}
}

func TestGate(t *testing.T) {
	g := errfs.NewGate("Create")
	f := errfs.New(memfs.New(memfs.Options{}), errfs.Options{Before: g.Before})
	done := make(chan error, 2)
	go func() { done <- create(t.Context(), f, "a") }()
	if c := <-g.Arrived(); c.Name != "a" {
		t.Fatalf("arrived: %+v", c)
	}
	// Other calls pass.
	if _, err := f.Lookup(t.Context(), fs.SystemCaller(), fs.Root, "a", 0); fs.KindOf(err) != fs.NotExist {
		t.Fatalf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- create(ctx, f, "b") }()
	<-g.Arrived()
	cancel()
	if err := <-done; fs.KindOf(err) != fs.Canceled {
		t.Fatalf("canceled call: %v", err)
	}
	g.Open()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
