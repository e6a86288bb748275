package fstest

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"manifold/internal/fs"
)

// fill makes n files and returns their nodes by name.
func (e *env) fill(dir fs.Node, n int) map[string]fs.Node {
	e.Helper()
	out := map[string]fs.Node{}
	for i := range n {
		name := fmt.Sprintf("file-%03d", i)
		out[name] = e.fileAs(e.root, dir, name, 0o644)
	}
	return out
}

var readdirTests = []test{
	{"empty", func(e *env) {
		e.has(e.home)
		eof, err := e.ReadDirByName(e.ctx, e.root, e.home, "", 0, func(*fs.Dirent) bool { e.Error("an entry"); return true })
		e.must(err)
		eq(e, "end", eof, true)
	}},
	{"entries", func(e *env) {
		want := e.fill(e.home, 300)
		d := e.mkdir(e.home, "dir")
		want["dir"] = d
		last := uint64(0)
		n := 0
		eof, err := e.ReadDir(e.ctx, e.root, e.home, 0, fs.AttrBasic, func(x *fs.Dirent) bool {
			n++
			if x.Cookie <= last || x.Cookie < fs.FirstCookie || x.Cookie >= 1<<63 {
				e.Errorf("cookie %d after %d", x.Cookie, last)
			}
			last = x.Cookie
			node, ok := want[x.Name]
			typ := fs.File
			if x.Name == "dir" {
				typ = fs.Directory
			}
			if !ok || x.ID != node.ID || x.Type != typ || x.Attr.Mask&fs.AttrBasic != fs.AttrBasic || x.Attr.Node != node {
				e.Errorf("entry %+v, want %v", *x, node)
			}
			return true
		})
		e.must(err)
		eq(e, "end", eof, true)
		eq(e, "entries", n, len(want))
	}},
	{"pages", func(e *env) {
		want := e.fill(e.home, 100)
		for _, page := range []int{1, 7, 99, 100, 101} {
			seen := map[string]int{}
			after, calls := uint64(0), 0
			for eof := false; !eof; calls++ {
				if calls > 200 {
					e.Fatal("no end")
				}
				n := 0
				var err error
				eof, err = e.ReadDir(e.ctx, e.root, e.home, after, 0, func(x *fs.Dirent) bool {
					if n == page {
						return false
					}
					n++
					after = x.Cookie
					seen[x.Name]++
					return true
				})
				e.must(err)
			}
			for name := range want {
				if seen[name] != 1 {
					e.Fatalf("pages of %d: %s seen %d times", page, name, seen[name])
				}
			}
			eq(e, "names", len(seen), len(want))
		}
	}},
	{"small_cookies_start_anew", func(e *env) {
		e.fill(e.home, 5)
		for after := range uint64(fs.FirstCookie) {
			n := 0
			_, err := e.ReadDir(e.ctx, e.root, e.home, after, 0, func(*fs.Dirent) bool { n++; return true })
			e.must(err)
			eq(e, "entries", n, 5)
		}
	}},
	{"stable_under_change", func(e *env) {
		stay := e.fill(e.home, 60)
		for i := range 60 {
			e.fileAs(e.root, e.home, fmt.Sprintf("goes-%02d", i), 0o644)
		}
		seen := map[string]int{}
		after, turn := uint64(0), 0
		for eof := false; !eof; turn++ {
			n := 0
			var err error
			eof, err = e.ReadDir(e.ctx, e.root, e.home, after, 0, func(x *fs.Dirent) bool {
				if n == 3 {
					return false
				}
				n++
				after = x.Cookie
				seen[x.Name]++
				return true
			})
			e.must(err)
			if turn < 60 {
				_, err = e.Remove(e.ctx, e.root, e.home, fmt.Sprintf("goes-%02d", turn), fs.RemoveAny)
				e.must(err)
				e.fileAs(e.root, e.home, fmt.Sprintf("comes-%02d", turn), 0o644)
			}
		}
		for name := range stay {
			if seen[name] != 1 {
				e.Errorf("%s, there all the time, was listed %d times", name, seen[name])
			}
		}
		for name, n := range seen {
			if n > 1 {
				e.Errorf("%s listed %d times", name, n)
			}
		}
	}},
	{"cookies_outlive_their_entry", func(e *env) {
		e.fill(e.home, 10)
		var cookies []uint64
		var names []string
		_, err := e.ReadDir(e.ctx, e.root, e.home, 0, 0, func(x *fs.Dirent) bool {
			cookies, names = append(cookies, x.Cookie), append(names, x.Name)
			return true
		})
		e.must(err)
		_, err = e.Remove(e.ctx, e.root, e.home, names[4], fs.RemoveAny)
		e.must(err)
		var rest []string
		_, err = e.ReadDir(e.ctx, e.root, e.home, cookies[4], 0, func(x *fs.Dirent) bool {
			rest = append(rest, x.Name)
			return true
		})
		e.must(err)
		if !slices.Equal(rest, names[5:]) {
			e.Fatalf("after the removed entry come %q, want %q", rest, names[5:])
		}
	}},
	{"by_name", func(e *env) {
		all := []string{"a", "B", "b", "a-", "a.b", "aa", "\xff", "ä", "z"}
		for _, n := range all {
			e.fileAs(e.root, e.home, n, 0o644)
		}
		slices.SortFunc(all, func(a, b string) int { return cmp.Compare(a, b) })
		for i := -1; i < len(all); i++ {
			after := ""
			if i >= 0 {
				after = all[i]
			}
			var got []string
			eof, err := e.ReadDirByName(e.ctx, e.root, e.home, after, fs.AttrType, func(x *fs.Dirent) bool {
				got = append(got, x.Name)
				return true
			})
			e.must(err)
			eq(e, "end", eof, true)
			if !slices.Equal(got, all[i+1:]) {
				e.Fatalf("after %q: %q", after, got)
			}
		}
		var got []string
		_, err := e.ReadDirByName(e.ctx, e.root, e.home, "aaa", 0, func(x *fs.Dirent) bool {
			got = append(got, x.Name)
			return len(got) < 2
		})
		e.must(err)
		if !slices.Equal(got, []string{"b", "z"}) {
			e.Fatalf("after a name that is not there: %q", got)
		}
	}},
	{"snapshots_by_name", func(e *env) {
		var want []string
		for range 12 { // enough for names such as "9_x" and "10_x"
			s, err := e.TakeSnapshot(e.ctx, fs.SnapshotSpec{Root: e.home.ID})
			e.must(err)
			want = append(want, s.Name)
		}
		slices.Sort(want)
		var got []string
		for after, eof := "", false; !eof; {
			n := 0
			var err error
			eof, err = e.ReadDirByName(e.ctx, e.root, fs.Node{ID: e.home.ID, Snap: fs.SnapshotDir}, after, 0, func(x *fs.Dirent) bool {
				after = x.Name
				got = append(got, after)
				n++
				return n < 5
			})
			e.must(err)
		}
		if !slices.Equal(got, want) {
			e.Fatalf("%q, want %q", got, want)
		}
	}},
	{"yield_may_call_back", func(e *env) {
		e.fill(e.home, 10)
		n := 0
		_, err := e.ReadDir(e.ctx, e.root, e.home, 0, 0, func(x *fs.Dirent) bool {
			_, err := e.Lookup(e.ctx, e.root, e.home, x.Name, 0)
			e.must(err)
			n++
			return true
		})
		e.must(err)
		eq(e, "entries", n, 10)
	}},
	{"errors", func(e *env) {
		f := e.file(e.home, "f", "")
		yield := func(*fs.Dirent) bool { return true }
		_, err := e.ReadDir(e.ctx, e.root, f, 0, 0, yield)
		e.want(err, fs.NotDir)
		_, err = e.ReadDirByName(e.ctx, e.root, f, "", 0, yield)
		e.want(err, fs.NotDir)
		d := e.mkdirAs(e.alice, e.home, "d", 0o711)
		_, err = e.ReadDir(e.ctx, e.bob, d, 0, 0, yield)
		e.want(err, fs.Access)
		_, err = e.ReadDirByName(e.ctx, e.bob, d, "", 0, yield)
		e.want(err, fs.Access)
		_, err = e.ReadDir(e.ctx, e.root, fs.Node{ID: 1 << 40}, 0, 0, yield)
		e.want(err, fs.Stale)
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		if _, err = e.ReadDir(ctx, e.root, e.home, 0, 0, yield); err != nil {
			e.want(err, fs.Canceled)
		}
	}},
}
