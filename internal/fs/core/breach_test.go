package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/kv/memkv"
)

// holder is a Breaker that notes what it is asked.
type holder struct {
	asked []string
	open  int // breaches that have not ended
	err   error
	quiet bool // about reads
}

func (h *holder) Break(_ context.Context, _ *fs.Caller, n fs.Node, s fs.StreamID, b fs.Breach, may func() error) (func(), error) {
	if err := may(); err != nil {
		return nil, err
	}
	if h.quiet && b == fs.BreachRead {
		return nil, nil
	}
	h.asked = append(h.asked, fmt.Sprintf("%s %d/%d", [...]string{"read", "write", "name", "lock"}[b], n.ID, s))
	if h.err != nil {
		return nil, h.err
	}
	if b == fs.BreachRead {
		return nil, nil
	}
	h.open++
	return func() { h.open-- }, nil
}

func (h *holder) Caching() bool { return true }

// TestBreaches: whatever reads, changes or takes away something asks before,
// and says when it is done.
func TestBreaches(t *testing.T) {
	f := newFS(t, memkv.New())
	ctx := t.Context()
	n := mustCreate(t, f, fs.Root, "f", fs.File)
	two := mustCreate(t, f, fs.Root, "two", fs.File)
	third := mustCreate(t, f, fs.Root, "third", fs.File)
	si, err := f.CreateStream(ctx, root, n, "s", true)
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{}
	f.SetBreaker(h)
	size := uint64(3)
	open := func(d fs.OpenDisposition) fs.Handle {
		h, _, err := f.Open(ctx, root, &fs.OpenSpec{Dir: n, Desired: fs.RightRead | fs.RightModify, Share: fs.ShareAll, Disposition: d})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close(context.WithoutCancel(ctx)) })
		return h
	}
	handle := open(fs.OpenExisting)
	data := &fs.WriteRequest{Data: []byte("abcd")}
	lock := &fs.LockRequest{Node: n, Owner: fs.LockOwner{Client: "nfs"}}
	of, both := fmt.Sprintf("%d/0", n.ID), fmt.Sprintf("name %d/0, name %d/0", n.ID, two.ID)
	for _, c := range []struct {
		name, want string
		do         func() error
	}{
		{"write", "write " + of, func() error { _, err := f.Write(ctx, root, n, data); return err }},
		{"read", "read " + of, func() error {
			_, err := f.Read(ctx, root, n, &fs.ReadRequest{}, make([]byte, 4))
			return err
		}},
		{"write by handle", "write " + of, func() error { _, err := handle.Write(ctx, data); return err }},
		{"read by handle", "read " + of, func() error { _, err := handle.Read(ctx, 0, make([]byte, 4)); return err }},
		{"truncate", "write " + of, func() error { _, err := f.SetAttr(ctx, root, n, &fs.SetAttr{Size: &size}); return err }},
		{"zero", "write " + of, func() error { _, err := f.Zero(ctx, root, n, 0, 0, 2); return err }},
		{"truncating open", "write " + of, func() error { open(fs.OpenOverwrite); return nil }},
		{"copy", fmt.Sprintf("read %s, write %d/0", of, two.ID), func() error {
			if _, err := f.Write(ctx, fs.SystemCaller(), n, data); err != nil {
				return err
			}
			h.asked = nil
			_, err := f.CopyRange(ctx, root, n, 0, 0, two, 0, 0, 4)
			return err
		}},
		{"stream", fmt.Sprintf("write %d/%d", n.ID, si.ID), func() error { _, err := f.SetStreamSize(ctx, root, n, si.ID, 9); return err }},
		{"stream goes", fmt.Sprintf("write %d/%d", n.ID, si.ID), func() error { return f.RemoveStream(ctx, root, n, si.ID) }},
		{"lock", "", func() error { _, err := f.Lock(ctx, root, lock); return err }},
		{"lock, strict", "lock " + of, func() error {
			f.SetStrict(true)
			_, err := f.Lock(ctx, root, lock)
			return err
		}},
		{"lock in order, strict", "lock " + of, func() error { _, err := f.LockWait(ctx, root, lock); return err }},
		{"test of a lock, strict", "lock " + of, func() error { _, err := f.TestLock(ctx, root, lock); return err }},
		{"attributes", "", func() error {
			f.SetStrict(false)
			m := fs.Mode(0o600)
			_, err := f.SetAttr(ctx, root, n, &fs.SetAttr{Mode: &m})
			return err
		}},
		{"rename over", both, func() error {
			_, err := f.Rename(ctx, root, fs.Root, "f", fs.Root, "two", fs.RenameOptions{})
			return err
		}},
		{"remove", "name " + of, func() error { _, err := f.Remove(ctx, root, fs.Root, "two", fs.RemoveAny); return err }},
		{"remove nothing", "", func() error {
			_, err := f.Remove(ctx, root, fs.Root, "two", fs.RemoveAny)
			if !errors.Is(err, fs.NotExist) {
				return fmt.Errorf("of what is not there: %w", err)
			}
			return nil
		}},
		{"publish over", fmt.Sprintf("name %d/0", third.ID), func() error {
			st, err := f.Stage(ctx, root, &fs.StageSpec{Dir: fs.Root})
			if err == nil {
				_, err = f.Publish(ctx, root, st, fs.Root, "third", &fs.PublishSpec{})
			}
			return err
		}},
	} {
		h.asked = nil
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := strings.Join(slices.Clip(h.asked), ", "); got != c.want || h.open != 0 {
			t.Errorf("%s: asked %q, want %q; %d not ended", c.name, got, c.want, h.open)
		}
	}
	last := mustCreate(t, f, fs.Root, "last", fs.File)
	h.err = context.DeadlineExceeded
	for name, do := range map[string]func() error{
		"write": func() error { _, err := f.Write(ctx, root, last, data); return err },
		"read":  func() error { _, err := f.Read(ctx, root, last, &fs.ReadRequest{}, make([]byte, 4)); return err },
	} {
		if err := do(); !errors.Is(err, fs.Canceled) {
			t.Errorf("%s while a client does not answer: %v", name, err)
		}
	}
}

// TestBreaches_refused: whoever is refused makes no client give anything up.
func TestBreaches_refused(t *testing.T) {
	f := newFS(t, memkv.New())
	ctx := t.Context()
	bob := &fs.Caller{Cred: &identity.Credential{User: identity.UID(2000), Group: identity.GID(2000)}}
	n := mustCreate(t, f, fs.Root, "f", fs.File)
	open := mustCreate(t, f, fs.Root, "open", fs.File)
	for n, m := range map[fs.Node]fs.Mode{n: 0o600, open: 0o666} {
		if _, err := f.SetAttr(ctx, root, n, &fs.SetAttr{Mode: &m}); err != nil {
			t.Fatal(err)
		}
	}
	si, err := f.CreateStream(ctx, root, n, "s", true)
	if err != nil {
		t.Fatal(err)
	}
	staged, err := f.Stage(ctx, bob, &fs.StageSpec{Dir: fs.Root})
	if err != nil {
		t.Fatal(err)
	}
	locked := mustCreate(t, f, fs.Root, "locked", fs.File)
	hold, size := true, uint64(1)
	if _, err := f.SetAttr(ctx, root, locked, &fs.SetAttr{LegalHold: &hold}); err != nil {
		t.Fatal(err)
	}
	h := &holder{}
	f.SetBreaker(h)
	data := &fs.WriteRequest{Data: []byte("abcd")}
	for name, do := range map[string]func() error{
		"write": func() error { _, err := f.Write(ctx, bob, n, data); return err },
		"append": func() error {
			_, err := f.Write(ctx, bob, n, &fs.WriteRequest{Data: data.Data, Append: true})
			return err
		},
		"read":      func() error { _, err := f.Read(ctx, bob, n, &fs.ReadRequest{}, make([]byte, 4)); return err },
		"truncate":  func() error { _, err := f.SetAttr(ctx, bob, n, &fs.SetAttr{Size: &size}); return err },
		"zero":      func() error { _, err := f.Zero(ctx, bob, n, 0, 0, 2); return err },
		"copy from": func() error { _, err := f.CopyRange(ctx, bob, n, 0, 0, open, 0, 0, 4); return err },
		"copy to": func() error {
			h.quiet = true
			defer func() { h.quiet = false }()
			_, err := f.CopyRange(ctx, bob, open, 0, 0, n, 0, 0, 4)
			return err
		},
		"stream":      func() error { _, err := f.SetStreamSize(ctx, bob, n, si.ID, 9); return err },
		"stream goes": func() error { return f.RemoveStream(ctx, bob, n, si.ID) },
		"remove":      func() error { _, err := f.Remove(ctx, bob, fs.Root, "f", fs.RemoveAny); return err },
		"rename":      func() error { _, err := f.Rename(ctx, bob, fs.Root, "f", fs.Root, "g", fs.RenameOptions{}); return err },
		"rename over": func() error {
			_, err := f.Rename(ctx, bob, fs.Root, "open", fs.Root, "f", fs.RenameOptions{})
			return err
		},
		"publish over":    func() error { _, err := f.Publish(ctx, bob, staged, fs.Root, "f", &fs.PublishSpec{}); return err },
		"locked: write":   func() error { _, err := f.Write(ctx, root, locked, data); return err },
		"locked: size":    func() error { _, err := f.SetAttr(ctx, root, locked, &fs.SetAttr{Size: &size}); return err },
		"locked: goes":    func() error { _, err := f.Remove(ctx, root, fs.Root, "locked", fs.RemoveAny); return err },
		"not a directory": func() error { _, err := f.Remove(ctx, root, fs.Root, "f", fs.RemoveDir); return err },
	} {
		h.asked = nil
		if err := do(); err == nil || len(h.asked) > 0 || h.open != 0 {
			t.Errorf("%s: asked %q, %v", name, h.asked, err)
		}
	}
}
