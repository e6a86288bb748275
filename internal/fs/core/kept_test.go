package core_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/kv/memkv"
)

// What is said to be freed with some snapshots is what is freed with them,
// whatever directories they are of and whatever the others keep.
func TestSnapshotsKeep_random(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			f := newFS(t, memkv.New())
			ctx := t.Context()
			dirs := []fs.Node{fs.Root}
			for i := range 4 {
				dirs = append(dirs, mustCreate(t, f, dirs[rng.IntN(len(dirs))], fmt.Sprint("d", i), fs.Directory))
			}
			type file struct {
				dir  fs.Node
				name string
				n    fs.Node
			}
			var files []file
			var snaps []fs.SnapshotID
			for i := range 120 {
				switch k := rng.IntN(10); {
				case k < 3 || len(files) == 0:
					d := dirs[rng.IntN(len(dirs))]
					name := fmt.Sprint("f", i)
					files = append(files, file{d, name, mustCreate(t, f, d, name, fs.File)})
					fallthrough
				case k < 6:
					x := files[rng.IntN(len(files))]
					w := &fs.WriteRequest{Offset: uint64(rng.IntN(4)) << 15, Data: []byte(strings.Repeat(fmt.Sprint(i%10), 1+rng.IntN(80000))), Stability: fs.FileSync}
					if _, err := f.Write(ctx, root, x.n, w); err != nil {
						t.Fatal(err)
					}
				case k < 8:
					s, err := f.TakeSnapshot(ctx, fs.SnapshotSpec{Root: dirs[rng.IntN(len(dirs))].ID})
					if err != nil {
						t.Fatal(err)
					}
					snaps = append(snaps, s.ID)
				default:
					j := rng.IntN(len(files))
					if _, err := f.Remove(ctx, root, files[j].dir, fs.Name(files[j].name), fs.RemoveFile); err != nil {
						t.Fatal(err)
					}
					files = slices.Delete(files, j, j+1)
				}
			}
			bytes := func() uint64 {
				st, err := f.StatFS(ctx, fs.SystemCaller(), fs.Root)
				if err != nil {
					t.Fatal(err)
				}
				return st.SnapshotBytes
			}
			quiet := func() { // removed files are freed, and deleted snapshots gone
				t.Helper()
				if err := f.Quiesce(ctx); err != nil {
					t.Fatal(err)
				}
			}
			for some := false; len(snaps) > 0; {
				quiet()
				rng.Shuffle(len(snaps), func(i, j int) { snaps[i], snaps[j] = snaps[j], snaps[i] })
				set := snaps[:1+rng.IntN(min(3, len(snaps)))]
				snaps = snaps[len(set):]
				want, err := f.SnapshotsKeep(ctx, set)
				if err != nil {
					t.Fatal(err)
				}
				before := bytes()
				for _, s := range set {
					if err := f.DeleteSnapshot(ctx, s); err != nil {
						t.Fatal(err)
					}
				}
				quiet()
				if got := before - bytes(); got != want {
					t.Fatalf("%d bytes went with %v, %d were to", got, set, want)
				}
				if some = some || want > 0; len(snaps) == 0 && (!some || bytes() != 0) {
					t.Errorf("anything was kept: %v; at the end: %d bytes", some, bytes())
				}
			}
		})
	}
}

// Of many files a sample is looked at, which says nearly the same.
func TestSnapshotsKeep_many(t *testing.T) {
	f := newFS(t, memkv.New())
	ctx := t.Context()
	d := mustCreate(t, f, fs.Root, "d", fs.Directory)
	const files, size = 9000, 4096
	for i := range files {
		n := mustCreate(t, f, d, fmt.Sprint(i), fs.File)
		if _, err := f.Write(ctx, root, n, &fs.WriteRequest{Data: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := f.TakeSnapshot(ctx, fs.SnapshotSpec{Root: d.ID})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.StartTreeDelete(ctx, root, d.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { _, err := f.TreeDelete(ctx, d.ID); return fs.KindOf(err) == fs.NotExist })
	if err := f.Quiesce(ctx); err != nil {
		t.Fatal(err)
	}
	n, err := f.SnapshotsKeep(ctx, []fs.SnapshotID{s.ID})
	if err != nil || n < files*size*9/10 || n > files*size*11/10 || n%size != 0 {
		t.Errorf("%d bytes, %v; want about %d", n, err, files*size)
	}
}
