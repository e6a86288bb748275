package meta_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
	"manifold/internal/meta"
)

// counting counts how often transactions read the two tables of dentries.
type counting struct {
	kv.Engine
	names, cookies int
}

func (c *counting) Update(ctx context.Context, fn func(kv.Txn) error) (kv.Rev, error) {
	return c.Engine.Update(ctx, func(tx kv.Txn) error { return fn(&countingTxn{tx, c}) })
}

type countingTxn struct {
	kv.Txn
	c *counting
}

func (t *countingTxn) Get(ctx context.Context, key []byte) ([]byte, error) {
	switch key[0] {
	case 0x11:
		t.c.names++
	case 0x12:
		t.c.cookies++
	}
	return t.Txn.Get(ctx, key)
}

// TestSole: in a directory whose entries never shared a hash one key tells that
// a name is free, and where it goes; and the directory stops to say so with the
// first two names that differ by case only.
func TestSole(t *testing.T) {
	ctx := t.Context()
	e := &counting{Engine: memkv.New()}
	if err := meta.Format(ctx, e, meta.FormatOptions{Now: time.Unix(1_700_000_000, 0)}); err != nil {
		t.Fatal(err)
	}
	db, err := meta.Open(ctx, e, meta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var files []fs.FileID
	update := func(fn func(tx *meta.Txn, root *meta.Inode) error) {
		t.Helper()
		*e = counting{Engine: e.Engine}
		err := db.Update(ctx, func(tx *meta.Txn) error {
			root, err := tx.Inode(ctx, fs.RootID)
			if err != nil {
				return err
			}
			if err := fn(tx, root); err != nil {
				return err
			}
			return tx.PutInode(ctx, root)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	free := func(tx *meta.Txn, root *meta.Inode, name string) {
		t.Helper()
		if d, err := tx.Vacant(ctx, root, name); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("%q is taken by %+v, %v", name, d, err)
		}
	}
	add := func(tx *meta.Txn, root *meta.Inode, name string) error {
		id, err := db.NewFileID(ctx)
		if err != nil {
			return err
		}
		files = append(files, id)
		i := &meta.Inode{ID: id, Type: fs.File, Mode: 0o644}
		if _, err := tx.AddDentry(ctx, root, name, i); err != nil {
			return err
		}
		return tx.PutInode(ctx, i)
	}
	remove := func(tx *meta.Txn, root *meta.Inode, name string) error {
		d, err := tx.Dentry(ctx, root.ID, name)
		if err != nil {
			return err
		}
		i, err := tx.Inode(ctx, d.ID)
		if err != nil {
			return err
		}
		if err := tx.RemoveDentry(ctx, root, d, i, meta.Leaves); err != nil {
			return err
		}
		return tx.PutInode(ctx, i)
	}
	folded := func(name, want string) {
		t.Helper()
		err := db.View(ctx, func(r *meta.Reader) error {
			root, err := r.Inode(ctx, fs.RootID)
			if err != nil {
				return err
			}
			d, err := r.DentryFold(ctx, root, name)
			if want == "" && errors.Is(err, meta.ErrNotFound) {
				return nil
			}
			if d.Name != want {
				t.Errorf("%q is found as %q, want %q", name, d.Name, want)
			}
			return err
		})
		if err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}

	update(func(tx *meta.Txn, root *meta.Inode) error {
		free(tx, root, "Name")
		return add(tx, root, "Name")
	})
	if e.names != 0 || e.cookies != 1 {
		t.Errorf("a new name read %d names and %d cookies, want 0 and 1", e.names, e.cookies)
	}
	update(func(tx *meta.Txn, root *meta.Inode) error {
		if d, err := tx.Vacant(ctx, root, "Name"); err != nil || d.ID != files[0] || d.Type != fs.File {
			t.Errorf("%+v, %v", d, err)
		}
		free(tx, root, "nAME") // but its cookie is taken
		if !root.Sole {
			t.Error("a directory with one entry is not sole")
		}
		return nil
	})
	folded("naME", "Name")
	folded("other", "")

	// What was found free may be taken in between, by a name of the same hash.
	update(func(tx *meta.Txn, root *meta.Inode) error {
		if err := remove(tx, root, "Name"); err != nil {
			return err
		}
		free(tx, root, "name")
		if err := add(tx, root, "NAME"); err != nil {
			return err
		}
		if !root.Sole {
			t.Error("not sole after one name made room for another")
		}
		if err := add(tx, root, "name"); err != nil {
			return err
		}
		if root.Sole {
			t.Error("sole with two names of one hash")
		}
		return nil
	})
	folded("name", "name")
	folded("NAME", "NAME")
	// The first of the hash goes; the other must be found, and not made again.
	update(func(tx *meta.Txn, root *meta.Inode) error { return remove(tx, root, "NAME") })
	folded("NaMe", "name")
	update(func(tx *meta.Txn, root *meta.Inode) error {
		if d, err := tx.Vacant(ctx, root, "name"); err != nil || d.Name != "name" {
			t.Errorf("%+v, %v", d, err)
		}
		free(tx, root, "NAME")
		return add(tx, root, "NAME")
	})
	// It says what is true, and a check tells when it does not.
	const denied = "entries share a hash, which it denies"
	check := func() (n int) {
		_, err := db.Check(ctx, meta.CheckOptions{Found: func(f meta.Finding) {
			if f.Inode == fs.RootID && f.What == denied {
				n++
			} else if f.Inode == fs.RootID {
				t.Errorf("check: %+v", f)
			}
		}})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	if n := check(); n != 0 {
		t.Errorf("the check found %d times: %s", n, denied)
	}
	update(func(tx *meta.Txn, root *meta.Inode) error {
		root.Sole = true
		return nil
	})
	if n := check(); n != 1 {
		t.Errorf("the check found %d times: %s", n, denied)
	}
}
