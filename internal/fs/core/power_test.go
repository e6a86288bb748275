package core_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"manifold/internal/data/errdisk"
	"manifold/internal/data/segment"
	"manifold/internal/fs"
	"manifold/internal/fs/core"
	"manifold/internal/kv/pebblekv"
	"manifold/internal/meta"
)

// machine is the state of a server's disks: what a power failure leaves of
// both engines at one moment.
type machine struct {
	mem  *vfs.MemFS
	disk *errdisk.Disk
}

// boot opens the file system of a machine.
func (m machine) boot(ctx context.Context, format bool) (*core.FS, func() error, error) {
	engine, err := pebblekv.Open(ctx, pebblekv.Options{Dir: "kv", FS: m.mem, CacheBytes: 4 << 20})
	if err != nil {
		return nil, nil, err
	}
	if format {
		if err := meta.Format(ctx, engine, meta.FormatOptions{Now: time.Now()}); err != nil {
			return nil, nil, err
		}
	}
	store, err := segment.Open(m.disk, segment.Options{SegmentBytes: 8 << 20})
	if err != nil {
		return nil, nil, err
	}
	f, err := core.New(ctx, core.Options{KV: engine, Store: store, RollEvery: time.Millisecond})
	if err != nil {
		return nil, nil, err
	}
	return f, func() error {
		return errors.Join(f.Close(ctx), store.Close(), engine.Close())
	}, nil
}

// TestPowerLoss cuts the power between acknowledged operations: the disks lose
// all that was not synced, more or less torn. What was acknowledged is there
// after the next start, and the check finds nothing wrong.
func TestPowerLoss(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	rnd := rand.New(rand.NewPCG(11, 12))
	m := machine{vfs.NewCrashableMem(), errdisk.New()}
	f, stop, err := m.boot(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	w := &acked{f: f, rnd: rnd, files: map[string][]byte{}}
	ops := 400
	if testing.Short() {
		ops = 100
	}
	for n := range ops {
		if err := w.step(ctx, n); err != nil {
			t.Fatal(err)
		}
		if n%20 != 19 {
			continue
		}
		// Data first: extents that the later copy of the key store names are synced.
		clone := machine{disk: m.disk.CrashTorn(rnd)}
		clone.mem = m.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
		g, stopClone, err := clone.boot(ctx, false)
		if err != nil {
			t.Fatalf("after operation %d: %v", n, err)
		}
		if err := w.verify(ctx, g); err != nil {
			t.Fatalf("after operation %d: %v", n, err)
		}
		if err := g.Quiesce(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := core.Check(ctx, g.DB().KV(), func(x core.Finding) { t.Errorf("after operation %d: %+v", n, x) }, nil); err != nil {
			t.Fatal(err)
		}
		if err := stopClone(); err != nil {
			t.Fatal(err)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// acked remembers what was acknowledged as durable.
type acked struct {
	f     *core.FS
	rnd   *rand.Rand
	files map[string][]byte
	snaps []snapped
}

type snapped struct {
	name  string
	files map[string][]byte
}

func (w *acked) pick() string {
	for name := range w.files {
		return name
	}
	return ""
}

func (w *acked) node(ctx context.Context, name string) (fs.Node, error) {
	a, err := w.f.Lookup(ctx, root, fs.Root, name, fs.AttrBasic)
	return a.Node, err
}

func (w *acked) step(ctx context.Context, n int) error {
	name := w.pick()
	switch k := w.rnd.IntN(12); {
	case k < 3 || name == "":
		name = fmt.Sprintf("f%d", n)
		data := make([]byte, w.rnd.IntN(2)*w.rnd.IntN(fs.MaxCreateData))
		for i := range data {
			data[i] = byte(w.rnd.Uint32())
		}
		r, err := w.f.Create(ctx, root, fs.Root, name, &fs.CreateSpec{Type: fs.File, Data: data})
		if err != nil {
			return err
		}
		if w.files[name] = data; k == 0 {
			return nil
		}
		return w.write(ctx, name, r.Attr.Node)
	case k < 6:
		node, err := w.node(ctx, name)
		if err != nil {
			return err
		}
		return w.write(ctx, name, node)
	case k < 7:
		to := fmt.Sprintf("r%d", n)
		if _, err := w.f.Rename(ctx, root, fs.Root, name, fs.Root, to, fs.RenameOptions{}); err != nil {
			return err
		}
		w.files[to] = w.files[name]
		delete(w.files, name)
	case k < 8:
		if _, err := w.f.Remove(ctx, root, fs.Root, name, fs.RemoveFile); err != nil {
			return err
		}
		delete(w.files, name)
	case k < 9:
		node, err := w.node(ctx, name)
		if err != nil {
			return err
		}
		size := uint64(w.rnd.IntN(100_000))
		if _, err := w.f.SetAttr(ctx, root, node, &fs.SetAttr{Size: &size}); err != nil {
			return err
		}
		b := make([]byte, size)
		copy(b, w.files[name])
		w.files[name] = b
	case k < 11:
		return w.copy(ctx, name, n)
	default:
		s, err := w.f.TakeSnapshot(ctx, fs.SnapshotSpec{Root: fs.RootID})
		if err != nil {
			return err
		}
		copied := map[string][]byte{}
		for name, b := range w.files {
			copied[name] = bytes.Clone(b)
		}
		w.snaps = append(w.snaps, snapped{s.Name, copied})
		if len(w.snaps) > 3 {
			old := w.snaps[0]
			w.snaps = w.snaps[1:]
			var id fs.SnapshotID
			if _, err := fmt.Sscanf(old.name, "%d_", &id); err != nil {
				return err
			}
			return w.f.DeleteSnapshot(ctx, id)
		}
	}
	return nil
}

// copy copies a part of a file, or of one as of a snapshot, into another one, or
// the whole into a staged file that takes its name.
func (w *acked) copy(ctx context.Context, name string, n int) error {
	to := w.pick()
	dir, have := "/", w.files
	if len(w.snaps) > 0 && w.rnd.IntN(2) == 0 {
		s := w.snaps[w.rnd.IntN(len(w.snaps))]
		dir, have = "/.snapshot/"+s.name, s.files
		for name = range have {
			break
		}
	}
	d, err := w.f.Resolve(ctx, root, dir, fs.AttrBasic)
	if err != nil {
		return err
	}
	src, err := w.f.Lookup(ctx, root, d.Node, name, fs.AttrBasic)
	if fs.KindOf(err) == fs.NotExist && err != nil {
		return nil // an empty snapshot
	}
	if err != nil {
		return err
	}
	dst, err := w.node(ctx, to)
	if err != nil || src.Node == dst {
		return err
	}
	if w.rnd.IntN(3) == 0 {
		st, err := w.f.Stage(ctx, root, &fs.StageSpec{Dir: fs.Root})
		if err != nil {
			return err
		}
		if _, err := w.f.Splice(ctx, root, st, []fs.Node{src.Node, dst}); err != nil {
			return err
		}
		if _, err := w.f.Publish(ctx, root, st, fs.Root, to, &fs.PublishSpec{}); err != nil {
			return err
		}
		w.files[to] = append(bytes.Clone(have[name]), w.files[to]...)
		return nil
	}
	off, at := w.rnd.IntN(30_000), w.rnd.IntN(30_000)
	got, err := w.f.CopyRange(ctx, root, src.Node, 0, uint64(off), dst, 0, uint64(at), uint64(w.rnd.IntN(60_000)))
	if err != nil || got == 0 {
		return err
	}
	b := have[name][off : off+int(got)]
	out := bytes.Clone(w.files[to])
	if len(out) < at+len(b) {
		out = append(out, make([]byte, at+len(b)-len(out))...)
	}
	copy(out[at:], b)
	w.files[to] = out
	return nil
}

// write makes some bytes durable, by a stable write or by a commit.
func (w *acked) write(ctx context.Context, name string, n fs.Node) error {
	off := w.rnd.IntN(50_000)
	b := make([]byte, 1+w.rnd.IntN(40_000))
	for i := range b {
		b[i] = byte(w.rnd.Uint32())
	}
	s := fs.Stability(w.rnd.IntN(2) * int(fs.FileSync))
	if _, err := w.f.Write(ctx, root, n, &fs.WriteRequest{Offset: uint64(off), Data: b, Stability: s}); err != nil {
		return err
	}
	if s == fs.Unstable {
		if _, _, err := w.f.Commit(ctx, root, n, 0, 0, 0); err != nil {
			return err
		}
	}
	have := w.files[name]
	if len(have) < off+len(b) {
		have = append(have, make([]byte, off+len(b)-len(have))...)
	}
	have = bytes.Clone(have)
	copy(have[off:], b)
	w.files[name] = have
	return nil
}

func (w *acked) verify(ctx context.Context, g *core.FS) error {
	if err := verifyDir(ctx, g, "/", w.files); err != nil {
		return err
	}
	for _, s := range w.snaps {
		if err := verifyDir(ctx, g, "/.snapshot/"+s.name, s.files); err != nil {
			return err
		}
	}
	return nil
}

func verifyDir(ctx context.Context, g *core.FS, dir string, files map[string][]byte) error {
	d, err := g.Resolve(ctx, root, dir, fs.AttrBasic)
	if err != nil {
		return err
	}
	seen := 0
	if _, err := g.ReadDir(ctx, root, d.Node, 0, 0, func(e *fs.Dirent) bool { seen++; return true }); err != nil {
		return err
	}
	if seen != len(files) {
		return fmt.Errorf("%s has %d entries, want %d", dir, seen, len(files))
	}
	for name, want := range files {
		a, err := g.Lookup(ctx, root, d.Node, name, fs.AttrBasic)
		if err != nil {
			return err
		}
		b := make([]byte, len(want)+1)
		r, err := g.Read(ctx, root, a.Node, &fs.ReadRequest{}, b)
		if err != nil || !bytes.Equal(b[:r.N], want) {
			return fmt.Errorf("%s/%s: %d bytes differ from the %d acknowledged: %w", dir, name, r.N, len(want), err)
		}
	}
	return nil
}
