package core_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"manifold/internal/data/errdisk"
	"manifold/internal/data/gc"
	"manifold/internal/data/segment"
	"manifold/internal/fs"
	"manifold/internal/fs/core"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
	"manifold/internal/meta"
)

// faulty is a file system on a disk that fails as told.
type faulty struct {
	*core.FS
	t      *testing.T
	kv     kv.Engine
	disk   *errdisk.Disk
	store  *segment.Store
	o      core.Options
	so     segment.Options
	closed bool
}

func newFaulty(t *testing.T, o core.Options, so segment.Options) *faulty {
	t.Helper()
	x := &faulty{t: t, kv: memkv.New(), disk: errdisk.New(), o: o, so: so}
	if err := meta.Format(t.Context(), x.kv, meta.FormatOptions{Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	x.open()
	t.Cleanup(func() {
		x.disk.SetFaults(errdisk.Faults{})
		if !t.Failed() {
			mustCheck(t, x.FS, x.kv)
		}
		x.close()
		_ = x.kv.Close()
	})
	return x
}

func (x *faulty) open() {
	x.t.Helper()
	var err error
	if x.store, err = segment.Open(x.disk, x.so); err != nil {
		x.t.Fatal(err)
	}
	x.o.KV, x.o.Store = x.kv, x.store
	if x.FS, err = core.New(context.WithoutCancel(x.t.Context()), x.o); err != nil {
		x.t.Fatal(err)
	}
}

func (x *faulty) close() {
	x.t.Helper()
	if err := x.FS.Close(context.WithoutCancel(x.t.Context())); err != nil {
		x.t.Error(err)
	}
	if err := x.store.Close(); err != nil {
		x.t.Error(err)
	}
}

// reopen forgets all that is cached.
func (x *faulty) reopen() {
	x.t.Helper()
	x.close()
	x.open()
}

// put makes a file and writes it durably.
func (x *faulty) put(name string, b []byte) error {
	ctx := x.t.Context()
	r, err := x.Create(ctx, root, fs.Root, name, &fs.CreateSpec{Type: fs.File})
	if err != nil {
		return err
	}
	if _, err := x.Write(ctx, root, r.Attr.Node, &fs.WriteRequest{Data: b}); err != nil {
		return err
	}
	_, _, err = x.Commit(ctx, root, r.Attr.Node, 0, 0, 0)
	return err
}

func (x *faulty) get(name string, size int) ([]byte, error) {
	a, err := x.Lookup(x.t.Context(), root, fs.Root, name, fs.AttrBasic)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	r, err := x.Read(x.t.Context(), root, a.Node, &fs.ReadRequest{}, b)
	if err != nil {
		return nil, err
	}
	return b[:r.N], nil
}

func (x *faulty) mustHave(files map[string][]byte) {
	x.t.Helper()
	for name, want := range files {
		if b, err := x.get(name, len(want)+1); err != nil || !bytes.Equal(b, want) {
			x.t.Errorf("%s: %d bytes of %d, %v", name, len(b), len(want), err)
		}
	}
}

// noise does not compress.
func noise(rnd *rand.Rand, n int) []byte {
	b := make([]byte, (n+7)&^7)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rnd.Uint64())
	}
	return b[:n]
}

// collect frees what is dead, as the server does in the background.
func (x *faulty) collect() {
	x.t.Helper()
	if err := x.Quiesce(x.t.Context()); err != nil {
		x.t.Fatal(err)
	}
	now := time.Now()
	c, err := gc.New(x.kv, x.store, gc.Options{Now: func() time.Time { return now }})
	if err != nil {
		x.t.Fatal(err)
	}
	for quiet := 0; quiet < 3; {
		more, err := c.Step(x.t.Context())
		if err != nil {
			x.t.Fatal(err)
		}
		if !more {
			quiet++
			now = now.Add(time.Hour) // every grace has passed
		}
	}
}

// TestFault_diskFull fills the disk. What was acknowledged stays, what frees
// space works, and then there is room again.
func TestFault_diskFull(t *testing.T) {
	x := newFaulty(t, core.Options{ReserveBytes: 1 << 20}, segment.Options{SegmentBytes: 8 << 20, ReserveBytes: 16 << 20, BallastBytes: -1})
	x.disk.SetSize(64<<20, 0)
	x.reopen()
	ctx := t.Context()
	rnd := rand.New(rand.NewPCG(1, 2))
	if _, err := x.Create(ctx, root, fs.Root, "tree", &fs.CreateSpec{Type: fs.Directory}); err != nil {
		t.Fatal(err)
	}
	have := map[string][]byte{}
	full := false
	for i := 0; i < 400 && !full; i++ {
		name, b := fmt.Sprintf("f%03d", i), noise(rnd, 256<<10)
		switch err := x.put(name, b); {
		case err == nil:
			have[name] = b
		case errors.Is(err, fs.NoSpace):
			full = true
			// Its bytes may still wait for room; nobody does for them.
			if _, err := x.Remove(ctx, root, fs.Root, name, fs.RemoveFile); err != nil && !errors.Is(err, fs.NotExist) {
				t.Fatalf("remove on a full disk: %v", err)
			}
		default:
			t.Fatalf("%s: %v", name, err)
		}
	}
	if !full || len(have) < 100 {
		t.Fatalf("full is %t after %d files", full, len(have))
	}
	x.mustHave(have)
	x.reopen() // starts on a full disk
	x.mustHave(have)
	if _, err := x.get("f000", 1); err != nil {
		t.Error(err)
	}

	// What frees space must not need any.
	n := 0
	for name := range have {
		switch n++; n % 4 {
		case 0:
			continue
		case 1:
			if _, err := x.Remove(ctx, root, fs.Root, name, fs.RemoveFile); err != nil {
				t.Fatalf("remove on a full disk: %v", err)
			}
			delete(have, name)
		case 2:
			a, err := x.Lookup(ctx, root, fs.Root, name, fs.AttrBasic)
			if err != nil {
				t.Fatal(err)
			}
			size := uint64(0)
			if _, err := x.SetAttr(ctx, root, a.Node, &fs.SetAttr{Size: &size}); err != nil {
				t.Fatalf("truncate on a full disk: %v", err)
			}
			have[name] = nil
		case 3:
			d, err := x.Lookup(ctx, root, fs.Root, "tree", fs.AttrBasic)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x.Rename(ctx, root, fs.Root, name, d.Node, name, fs.RenameOptions{}); err != nil {
				t.Fatalf("rename on a full disk: %v", err)
			}
			delete(have, name)
		}
	}
	d, err := x.Lookup(ctx, root, fs.Root, "tree", fs.AttrBasic)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.StartTreeDelete(ctx, root, d.Node.ID); err != nil {
		t.Fatalf("tree delete on a full disk: %v", err)
	}
	x.mustHave(have)
	x.reopen()
	for _, err := x.TreeDelete(ctx, d.Node.ID); err == nil; _, err = x.TreeDelete(ctx, d.Node.ID) {
		if ctx.Err() != nil {
			t.Fatal("the tree is not deleted")
		}
	}
	x.collect()
	x.reopen() // measures the space
	for i := range 40 {
		name, b := fmt.Sprintf("g%03d", i), noise(rnd, 256<<10)
		if err := x.put(name, b); err != nil {
			t.Fatalf("no room after most was deleted: %v", err)
		}
		have[name] = b
	}
	x.mustHave(have)
}

// TestFault_diskFullUnderBuffers takes the space away that buffered writes were
// promised: the commit says so, nothing else is lost, and the writes are not
// taken for durable.
func TestFault_diskFullUnderBuffers(t *testing.T) {
	x := newFaulty(t, core.Options{ReserveBytes: 1 << 20}, segment.Options{SegmentBytes: 8 << 20, ReserveBytes: 8 << 20, BallastBytes: -1})
	x.disk.SetSize(64<<20, 0)
	x.reopen()
	ctx := t.Context()
	rnd := rand.New(rand.NewPCG(3, 4))
	have := map[string][]byte{"a": noise(rnd, 7<<20)}
	if err := x.put("a", have["a"]); err != nil {
		t.Fatal(err)
	}
	r, err := x.Create(ctx, root, fs.Root, "b", &fs.CreateSpec{Type: fs.File})
	if err != nil {
		t.Fatal(err)
	}
	b := noise(rnd, 4<<20)
	before := x.WriteVerifier()
	if _, err := x.Write(ctx, root, r.Attr.Node, &fs.WriteRequest{Data: b}); err != nil {
		t.Fatal(err)
	}
	x.disk.SetSize(64<<20, 60<<20) // others fill it
	if _, _, err := x.Commit(ctx, root, r.Attr.Node, 0, 0, 0); !errors.Is(err, fs.NoSpace) {
		t.Fatalf("commit on a full disk: %v", err)
	}
	x.mustHave(have)
	x.disk.SetSize(64<<20, 0)
	v, _, err := x.Commit(ctx, root, r.Attr.Node, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Either the bytes were kept and are durable now, or the client is told to
	// send them again.
	if got, err := x.get("b", len(b)+1); v == before && (err != nil || !bytes.Equal(got, b)) {
		t.Errorf("the verifier is as before, but the bytes are not: %d, %v", len(got), err)
	}
	x.reopen() // free space is measured now and then, and at the start
	if _, err := x.Write(ctx, root, r.Attr.Node, &fs.WriteRequest{Data: b, Stability: fs.FileSync}); err != nil {
		t.Fatal(err)
	}
	have["b"] = b
	x.reopen()
	x.mustHave(have)
}

// TestFault_readErrors: a disk that cannot read gives errors, and never bytes.
func TestFault_readErrors(t *testing.T) {
	x := newFaulty(t, core.Options{}, segment.Options{SegmentBytes: 8 << 20, CacheBytes: -1})
	rnd := rand.New(rand.NewPCG(5, 6))
	have := map[string][]byte{"a": noise(rnd, 1<<20), "b": noise(rnd, 100_000)}
	for name, b := range have {
		if err := x.put(name, b); err != nil {
			t.Fatal(err)
		}
	}
	x.reopen()
	x.disk.SetFaults(errdisk.Faults{Read: syscall.EIO})
	for name := range have {
		if b, err := x.get(name, 1<<20); !errors.Is(err, fs.Corrupt) {
			t.Errorf("%s: %d bytes of a disk that cannot read, %v", name, len(b), err)
		}
	}
	if err := x.put("c", noise(rnd, 100_000)); err != nil {
		t.Errorf("writing needs no read: %v", err)
	}
	x.disk.SetFaults(errdisk.Faults{})
	x.mustHave(have)
}

// TestFault_writeErrors: what a disk refused to write or sync is not
// acknowledged, and what was acknowledged before stays.
func TestFault_writeErrors(t *testing.T) {
	for _, faults := range []errdisk.Faults{{Write: syscall.EIO}, {Sync: syscall.EIO}} {
		x := newFaulty(t, core.Options{}, segment.Options{SegmentBytes: 8 << 20})
		rnd := rand.New(rand.NewPCG(7, 8))
		have := map[string][]byte{"a": noise(rnd, 300_000)}
		if err := x.put("a", have["a"]); err != nil {
			t.Fatal(err)
		}
		x.disk.SetFaults(faults)
		if err := x.put("b", noise(rnd, 300_000)); err == nil {
			t.Errorf("%+v: acknowledged", faults)
		}
		x.mustHave(have)
		x.disk.SetFaults(errdisk.Faults{})
		x.disk = x.disk.Crash() // what a failed sync left cannot be relied on
		_ = x.FS.Close(context.WithoutCancel(t.Context()))
		_ = x.store.Close()
		x.open()
		x.mustHave(have)
		have["c"] = noise(rnd, 300_000)
		if err := x.put("c", have["c"]); err != nil {
			t.Error(err)
		}
		x.mustHave(have)
	}
}

// TestFault_bitFlips flips bits of the segments: every read gives the bytes
// that were written or says that they are damaged.
func TestFault_bitFlips(t *testing.T) {
	for _, compress := range []bool{false, true} {
		t.Run(fmt.Sprintf("compress=%t", compress), func(t *testing.T) {
			x := newFaulty(t, core.Options{}, segment.Options{SegmentBytes: 8 << 20, CacheBytes: -1, Compress: compress})
			rnd := rand.New(rand.NewPCG(9, 10))
			have := map[string][]byte{}
			for i := range 20 {
				b := noise(rnd, 20_000+rnd.IntN(200_000))
				if compress {
					b = bytes.Repeat(b[:len(b)/8], 8)
				}
				name := fmt.Sprintf("f%02d", i)
				if err := x.put(name, b); err != nil {
					t.Fatal(err)
				}
				have[name] = b
			}
			x.reopen()
			segments, err := x.disk.List()
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			for range 100 {
				var name string
				for name = segments[rnd.IntN(len(segments))]; !strings.HasSuffix(name, ".seg"); {
					name = segments[rnd.IntN(len(segments))]
				}
				at := rnd.Int64N(3 << 20)
				x.disk.Flip(name, at)
				for name, want := range have {
					b, err := x.get(name, len(want)+1)
					switch {
					case errors.Is(err, fs.Corrupt):
						found++
					case err != nil:
						t.Fatalf("%s: %v", name, err)
					case !bytes.Equal(b, want):
						t.Fatalf("%s: wrong bytes are given for data after a flip at %d", name, at)
					}
				}
				x.disk.Flip(name, at) // back
			}
			if found < 10 {
				t.Errorf("%d flips found", found)
			}
			x.mustHave(have)
		})
	}
}

// TestFault_slowDisk stops the disk in a sync: what does not need it goes on,
// and writers wait for room instead of filling memory.
func TestFault_slowDisk(t *testing.T) {
	x := newFaulty(t, core.Options{DirtyBytes: 4 << 20}, segment.Options{SegmentBytes: 32 << 20})
	ctx := t.Context()
	rnd := rand.New(rand.NewPCG(11, 12))
	have := map[string][]byte{"a": noise(rnd, 100_000)}
	if err := x.put("a", have["a"]); err != nil {
		t.Fatal(err)
	}
	stuck, release := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	x.disk.SetFaults(errdisk.Faults{Hook: func(op errdisk.Op, _ string) error {
		if op == errdisk.OpSync {
			if once.CompareAndSwap(false, true) {
				close(stuck)
			}
			<-release
		}
		return nil
	}})
	done := make(chan error, 1)
	have["b"] = noise(rnd, 100_000)
	go func() { done <- x.put("b", have["b"]) }()
	<-stuck

	quick, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for i := range 20 {
		r, err := x.Create(quick, root, fs.Root, fmt.Sprintf("d%d", i), &fs.CreateSpec{Type: fs.Directory})
		if err != nil {
			t.Fatalf("mkdir beside a slow disk: %v", err)
		}
		if _, err := x.GetAttr(quick, root, r.Attr.Node, fs.AttrBasic); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := x.get("a", 100_001); err != nil || !bytes.Equal(b, have["a"]) {
		t.Errorf("read beside a slow disk: %v", err)
	}
	r, err := x.Create(quick, root, fs.Root, "c", &fs.CreateSpec{Type: fs.File})
	if err != nil {
		t.Fatal(err)
	}
	short, cancelShort := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancelShort()
	var wrote int
	for err == nil && wrote < 64<<20 {
		_, err = x.Write(short, root, r.Attr.Node, &fs.WriteRequest{Offset: uint64(wrote), Data: noise(rnd, 256<<10)})
		if err == nil {
			wrote += 256 << 10
		}
	}
	if fs.KindOf(err) != fs.Canceled || wrote > 8<<20 {
		t.Errorf("%d bytes were buffered with room for %d: %v", wrote, 4<<20, err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	x.mustHave(have)
}
