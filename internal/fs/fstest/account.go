package fstest

import (
	"fmt"
	"strings"

	"manifold/internal/fs"
)

func (e *env) totals(n fs.Node) fs.Totals {
	e.Helper()
	t, err := e.TotalsOf(e.ctx, n)
	e.must(err)
	return t
}

// walked sums up what a walk finds below a directory, each object once.
func walked(e *env, dir fs.Node) fs.Totals {
	e.Helper()
	seen := map[fs.FileID]bool{}
	var sum fs.Totals
	var add func(a fs.Attr)
	add = func(a fs.Attr) {
		if seen[a.Node.ID] {
			return
		}
		seen[a.Node.ID] = true
		sum.DataBytes += a.DataBytes
		sum.MetaBytes += a.MetaBytes
		ss, err := e.Streams(e.ctx, e.system, a.Node)
		e.must(err)
		for _, s := range ss {
			sum.Streams++
			sum.StreamBytes += s.DataBytes
		}
		switch a.Type {
		case fs.File:
			sum.Files++
			sum.LogicalBytes += a.Size
			if a.LegalHold || a.Retention != (fs.Time{}) {
				sum.WORM++
			}
		case fs.Symlink:
			sum.Symlinks++
		case fs.Directory:
			if a.Node != dir {
				sum.Directories++
			}
			var below []fs.Attr
			_, err := e.ReadDir(e.ctx, e.system, a.Node, 0, fs.AttrEverything, func(d *fs.Dirent) bool {
				below = append(below, d.Attr)
				return true
			})
			e.must(err)
			for _, b := range below {
				add(b)
			}
		default:
			sum.Other++
		}
	}
	a, err := e.GetAttr(e.ctx, e.system, dir, fs.AttrEverything)
	e.must(err)
	add(a)
	return sum
}

func (e *env) exact(what string, dir fs.Node) {
	e.Helper()
	if got, want := e.totals(dir), walked(e, dir); got != want {
		e.Fatalf("%s: totals %+v, a walk finds %+v", what, got, want)
	}
}

var totalsTests = []test{
	{"every_change", func(e *env) {
		a := e.mkdir(e.home, "a")
		deep := e.mkdir(e.mkdir(a, "b"), "c")
		dirs := []fs.Node{fs.Root, e.home, a, deep}
		check := func(what string) {
			e.Helper()
			for _, d := range dirs {
				e.exact(fmt.Sprintf("%s, of %v", what, d), d)
			}
		}
		check("directories")
		f := e.file(deep, "f", strings.Repeat("x", 10000))
		check("file")
		_, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Offset: 50000, Data: make([]byte, 9000)})
		e.must(err)
		_, _, err = e.Commit(e.ctx, e.root, f, 0, 0, 0)
		e.must(err)
		check("write")
		_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(5000))})
		e.must(err)
		check("truncate")
		_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(1 << 30))})
		e.must(err)
		check("extend")
		_, err = e.Zero(e.ctx, e.root, f, 0, 0, 5000)
		e.must(err)
		check("zero")
		e.symlink(deep, "s", "target")
		e.createAs(e.root, deep, "fifo", fs.CreateSpec{Type: fs.FIFO})
		check("others")
		s := e.stream(f, "stream", strings.Repeat("s", 5000))
		check("stream")
		e.must(e.RemoveStream(e.ctx, e.root, f, s))
		check("removed stream")
		_, err = e.Link(e.ctx, e.root, f, e.home, "hard")
		e.must(err)
		check2 := func(what string) { e.Helper(); e.exact(what, fs.Root); e.exact(what, e.home) }
		check2("hard link")
		_, err = e.Remove(e.ctx, e.root, deep, "f", fs.RemoveAny)
		e.must(err)
		check("primary link removed")
		_, err = e.rename(e.home, "hard", deep, "f")
		e.must(err)
		check("moved back")
		x := e.mkdir(e.home, "x")
		dirs = append(dirs, x)
		_, err = e.rename(a, "b", x, "b")
		e.must(err)
		check("moved tree")
		_, err = e.Remove(e.ctx, e.root, deep, "f", fs.RemoveAny)
		e.must(err)
		check("removed")
		eq(e, "files", e.totals(fs.Root).Files, 0)
		eq(e, "data", e.totals(fs.Root).DataBytes, 0)
	}},
	{"snapshots", func(e *env) {
		d := e.mkdir(e.home, "d")
		f := e.file(d, "f", strings.Repeat("x", 10000))
		s := e.snapshot(e.home)
		was := e.totals(e.home)
		e.write(f, 0, strings.Repeat("y", 50000))
		e.file(d, "g", "x")
		_, err := e.rename(e.home, "d", fs.Root, "d")
		e.must(err)
		eq(e, "totals in the snapshot", e.totals(at(e.home, s)), was)
		e.exact("snapshot", at(e.home, s))
		e.exact("snapshot", at(d, s))
		e.exact("live", e.home)
		e.exact("live", d)
	}},
	{"children", func(e *env) {
		d := e.mkdir(e.home, "d")
		f := e.file(d, "f", strings.Repeat("x", 5000))
		e.file(e.home, "g", "")
		got := map[string]fs.ChildTotals{}
		e.must(e.ChildTotalsOf(e.ctx, e.home, func(c *fs.ChildTotals) bool { got[c.Name] = *c; return true }))
		eq(e, "entries", len(got), 2)
		eq(e, "totals of d", got["d"].Totals, e.totals(d))
		eq(e, "id", got["d"].ID, d.ID)
		eq(e, "type", got["g"].Type, fs.File)
		eq(e, "size", got["d"].LogicalBytes, 5000)
		eq(e, "data", got["d"].DataBytes, e.attr(f).DataBytes)
	}},
	{"of_files", func(e *env) {
		_, err := e.TotalsOf(e.ctx, e.file(e.home, "f", ""))
		e.want(err, fs.NotDir)
		_, err = e.TotalsOf(e.ctx, fs.Node{ID: 1 << 40})
		e.want(err, fs.Stale)
	}},
	{"statfs", func(e *env) {
		before, err := e.StatFS(e.ctx, e.root, fs.Root)
		e.must(err)
		if before.TotalBytes == 0 || before.FreeBytes > before.TotalBytes || before.AvailBytes > before.FreeBytes {
			e.Fatalf("%+v", before)
		}
		if before.FreeFiles == 0 || before.FreeFiles > before.TotalFiles {
			e.Fatalf("%+v", before)
		}
	}},
}

const kib = 1 << 10

var quotaTests = []test{
	{"records", func(e *env) {
		d := e.mkdir(e.home, "d")
		_, err := e.Quota(e.ctx, d.ID)
		e.want(err, fs.NoAttr)
		_, err = e.SetQuota(e.ctx, d.ID, 100, false, 0)
		e.want(err, fs.NoAttr)
		q, err := e.SetQuota(e.ctx, d.ID, 100*kib, true, 0)
		e.must(err)
		eq(e, "limit", q.Limit, 100*kib)
		eq(e, "dir", q.Dir, d.ID)
		_, err = e.SetQuota(e.ctx, d.ID, 1, true, 0)
		e.want(err, fs.Exist)
		_, err = e.SetQuota(e.ctx, d.ID, 1, false, q.Revision+5)
		e.want(err, fs.RevisionMismatch)
		q2, err := e.SetQuota(e.ctx, d.ID, 200*kib, false, q.Revision)
		e.must(err)
		if q2.Revision == q.Revision {
			e.Fatal("revision stands still")
		}
		e.file(d, "f", strings.Repeat("x", 10000))
		q, err = e.Quota(e.ctx, d.ID)
		e.must(err)
		t := e.totals(d)
		eq(e, "used", q.Used, t.DataBytes+t.MetaBytes+t.StreamBytes-e.attr(d).MetaBytes)
		x := e.mkdir(e.home, "x")
		_, err = e.SetQuota(e.ctx, x.ID, 1<<30, true, 0)
		e.must(err)
		var list []fs.FileID
		e.must(e.ListQuotas(e.ctx, 0, func(q *fs.Quota) bool { list = append(list, q.Dir); return true }))
		if len(list) != 2 || list[0] != d.ID || list[1] != x.ID {
			e.Fatalf("list %v", list)
		}
		list = nil
		e.must(e.ListQuotas(e.ctx, d.ID, func(q *fs.Quota) bool { list = append(list, q.Dir); return true }))
		if len(list) != 1 || list[0] != x.ID {
			e.Fatalf("rest of the list %v", list)
		}
		e.want(e.RemoveQuota(e.ctx, d.ID, q.Revision+5), fs.RevisionMismatch)
		e.must(e.RemoveQuota(e.ctx, d.ID, 0))
		e.want(e.RemoveQuota(e.ctx, d.ID, 0), fs.NoAttr)
		f := e.file(e.home, "file", "")
		_, err = e.SetQuota(e.ctx, f.ID, 1, true, 0)
		e.want(err, fs.NotDir)
		_, err = e.SetQuota(e.ctx, 1<<40, 1, true, 0)
		e.want(err, fs.Stale)
	}},
	{"hard_limit", func(e *env) {
		d := e.mkdir(e.home, "d")
		sub := e.mkdir(d, "sub")
		f := e.file(sub, "f", "")
		_, err := e.SetQuota(e.ctx, d.ID, 64*kib, true, 0)
		e.must(err)
		write := func(off, n uint64) error {
			_, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Offset: off, Data: make([]byte, n), Stability: fs.FileSync})
			return err
		}
		e.must(write(0, 32*kib))
		e.want(write(32*kib, 64*kib), fs.QuotaExceeded)
		eq(e, "size after the refused write", e.attr(f).Size, 32*kib)
		e.must(write(0, 32*kib)) // overwriting takes nothing
		for i := range 20 {
			if err = write(uint64(32+4*i)*kib, 4*kib); err != nil {
				break
			}
		}
		e.want(err, fs.QuotaExceeded)
		q, err := e.Quota(e.ctx, d.ID)
		e.must(err)
		if q.Used > q.Limit || q.Used < q.Limit-4*kib {
			e.Fatalf("used %d of %d", q.Used, q.Limit)
		}
		_, err = e.Create(e.ctx, e.root, sub, "g", &fs.CreateSpec{Type: fs.File})
		if q.Limit-q.Used < fs.BlockSize {
			e.want(err, fs.QuotaExceeded)
		}
		s, err := e.StatFS(e.ctx, e.root, sub)
		e.must(err)
		eq(e, "total space", s.TotalBytes, q.Limit)
		if s.AvailBytes > 4*kib {
			e.Fatalf("space left %d", s.AvailBytes)
		}
		// Freeing works, and makes room.
		_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(0))})
		e.must(err)
		e.must(write(0, 32*kib))
		// Outside nothing is bound.
		e.file(e.home, "big", strings.Repeat("x", 128*kib))
	}},
	{"exact", func(e *env) {
		d := e.mkdir(e.home, "d")
		f := e.file(d, "f", "x")
		other := e.file(d, "other", "x")
		room := func(blocks uint64) { // lets so many more blocks in
			e.Helper()
			q, err := e.Quota(e.ctx, d.ID)
			if fs.KindOf(err) == fs.NoAttr && err != nil {
				q, err = e.SetQuota(e.ctx, d.ID, 1<<40, true, 0)
			}
			e.must(err)
			_, err = e.SetQuota(e.ctx, d.ID, q.Used+blocks*fs.BlockSize, false, 0)
			e.must(err)
		}
		full := func() {
			e.Helper()
			_, _, err := e.Commit(e.ctx, e.root, f, 0, 0, 0)
			e.must(err)
			q, err := e.Quota(e.ctx, d.ID)
			e.must(err)
			if q.Used != q.Limit {
				e.Errorf("used %d of %d", q.Used, q.Limit)
			}
		}
		write := func(n fs.Node, off uint64, size int, s fs.Stability) error {
			_, err := e.Write(e.ctx, e.root, n, &fs.WriteRequest{Offset: off, Data: make([]byte, size), Stability: s})
			return err
		}
		room(0)
		for off := range uint64(4) { // a block that is there
			e.must(write(f, 1024*off, 1024, fs.Unstable))
		}
		e.want(write(f, fs.BlockSize, 1, fs.Unstable), fs.QuotaExceeded)
		_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(1 << 20))})
		e.must(err) // a hole takes nothing
		e.must(write(f, 100, 100, fs.Unstable))
		e.must(write(f, 200, 100, fs.FileSync))
		e.want(write(f, 512*kib, 1, fs.Unstable), fs.QuotaExceeded)
		full()
		room(1)
		e.must(write(f, 512*kib, 10, fs.Unstable))
		e.must(write(f, 512*kib+5, 1000, fs.Unstable)) // the block of what is buffered
		e.must(write(f, 512*kib, 10, fs.Unstable))
		e.want(write(f, 512*kib-1, 2, fs.Unstable), fs.QuotaExceeded)
		e.want(write(other, fs.BlockSize, 1, fs.Unstable), fs.QuotaExceeded)
		full()
		// Copies.
		_, err = e.CopyRange(e.ctx, e.root, other, 0, 0, f, 0, 512*kib, 1)
		e.must(err)
		_, err = e.CopyRange(e.ctx, e.root, other, 0, 0, f, 0, 256*kib, 1)
		e.want(err, fs.QuotaExceeded)
		full()
		// What a truncation frees is there to be taken.
		_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(8 * kib))})
		e.must(err)
		e.must(write(f, 4*kib, 4*kib, fs.Unstable))
		e.want(write(f, 8*kib, 1, fs.Unstable), fs.QuotaExceeded)
		full()
		// Staged files: the object and two blocks.
		room(3)
		st, err := e.Stage(e.ctx, e.root, &fs.StageSpec{Dir: d})
		e.must(err)
		e.must(write(st, 0, fs.BlockSize, fs.Unstable))
		e.must(write(st, 10, 10, fs.Unstable))
		e.must(write(st, fs.BlockSize, 1, fs.Unstable))
		e.must(write(st, fs.BlockSize+1, 100, fs.Unstable))
		e.want(write(st, 2*fs.BlockSize, 1, fs.Unstable), fs.QuotaExceeded)
		e.publish(e.root, st, d, "staged", fs.PublishSpec{})
		full()
		// What replaces takes the place of the old.
		st, err = e.Stage(e.ctx, e.root, &fs.StageSpec{Dir: e.home})
		e.must(err)
		e.must(write(st, 0, 2*fs.BlockSize, fs.Unstable))
		e.publish(e.root, st, d, "staged", fs.PublishSpec{})
		full()
		e.file(e.home, "moved", strings.Repeat("x", 8*kib))
		_, err = e.rename(e.home, "moved", d, "staged")
		e.must(err)
		full()
		e.file(e.home, "larger", strings.Repeat("x", 12*kib))
		_, err = e.rename(e.home, "larger", d, "staged")
		e.want(err, fs.QuotaExceeded)
		// Named streams.
		room(1)
		sid := e.stream(f, "s", "x")
		data := &fs.WriteRequest{Stream: sid, Offset: 1, Data: make([]byte, 100)}
		_, err = e.Write(e.ctx, e.root, f, data)
		e.must(err)
		data.Offset = fs.BlockSize
		_, err = e.Write(e.ctx, e.root, f, data)
		e.want(err, fs.QuotaExceeded)
	}},
	{"below_use", func(e *env) {
		d := e.mkdir(e.home, "d")
		f := e.file(d, "f", strings.Repeat("x", 64*kib))
		_, err := e.SetQuota(e.ctx, d.ID, 8*kib, true, 0)
		e.must(err)
		_, err = e.Write(e.ctx, e.root, f, &fs.WriteRequest{Offset: 64 * kib, Data: []byte("x"), Stability: fs.FileSync})
		e.want(err, fs.QuotaExceeded)
		_, err = e.Create(e.ctx, e.root, d, "g", &fs.CreateSpec{Type: fs.File})
		e.want(err, fs.QuotaExceeded)
		e.write(f, 0, "within")
		_, err = e.Remove(e.ctx, e.root, d, "f", fs.RemoveAny)
		e.must(err)
	}},
	{"nested", func(e *env) {
		d := e.mkdir(e.home, "d")
		sub := e.mkdir(d, "sub")
		f := e.file(sub, "f", "")
		_, err := e.SetQuota(e.ctx, sub.ID, 1<<30, true, 0)
		e.must(err)
		_, err = e.SetQuota(e.ctx, d.ID, 32*kib, true, 0)
		e.must(err)
		_, err = e.Write(e.ctx, e.root, f, &fs.WriteRequest{Data: make([]byte, 64*kib), Stability: fs.FileSync})
		e.want(err, fs.QuotaExceeded)
		s, err := e.StatFS(e.ctx, e.root, sub)
		e.must(err)
		eq(e, "total space", s.TotalBytes, 32*kib)
		// The wider quota may have less left.
		x := e.mkdir(e.mkdir(e.home, "outer"), "inner")
		e.file(e.lookup(e.home, "outer").Node, "f", strings.Repeat("x", 40*kib))
		_, err = e.SetQuota(e.ctx, x.ID, 32*kib, true, 0)
		e.must(err)
		_, err = e.SetQuota(e.ctx, e.lookup(e.home, "outer").Node.ID, 64*kib, true, 0)
		e.must(err)
		s, err = e.StatFS(e.ctx, e.root, x)
		e.must(err)
		if s.AvailBytes > 24*kib {
			e.Fatalf("space left %d", s.AvailBytes)
		}
	}},
	{"rename", func(e *env) {
		d := e.mkdir(e.home, "d")
		_, err := e.SetQuota(e.ctx, d.ID, 64*kib, true, 0)
		e.must(err)
		big := e.mkdir(e.home, "big")
		e.file(big, "f", strings.Repeat("x", 100*kib))
		_, err = e.rename(e.home, "big", d, "big")
		e.want(err, fs.QuotaExceeded)
		_, err = e.rename(big, "f", d, "f")
		e.want(err, fs.QuotaExceeded)
		e.file(e.home, "small", strings.Repeat("x", 8*kib))
		_, err = e.rename(e.home, "small", d, "small")
		e.must(err)
		q, err := e.Quota(e.ctx, d.ID)
		e.must(err)
		t := e.totals(d)
		eq(e, "used", q.Used, t.DataBytes+t.MetaBytes-e.attr(d).MetaBytes)
		// Within the tree nothing grows.
		_, err = e.SetQuota(e.ctx, d.ID, 1, false, 0)
		e.must(err)
		_, err = e.rename(d, "small", d, "small2")
		e.must(err)
		_, err = e.rename(d, "small2", e.home, "small")
		e.must(err)
	}},
	{"goes_with_its_directory", func(e *env) {
		d := e.mkdir(e.home, "d")
		_, err := e.SetQuota(e.ctx, d.ID, 64*kib, true, 0)
		e.must(err)
		_, err = e.Remove(e.ctx, e.root, e.home, "d", fs.RemoveAny)
		e.must(err)
		n := 0
		e.must(e.ListQuotas(e.ctx, 0, func(*fs.Quota) bool { n++; return true }))
		eq(e, "quotas", n, 0)
	}},
}

// treeGone waits until a tree deletion has finished.
func (e *env) treeGone(id fs.FileID) {
	e.Helper()
	e.eventually("end of the tree deletion", func() bool {
		_, err := e.TreeDelete(e.ctx, id)
		if err != nil {
			e.want(err, fs.NotExist)
		}
		return err != nil
	})
}

var treeDeleteTests = []test{
	{"delete", func(e *env) {
		d := e.mkdir(e.home, "d")
		outside := e.file(e.home, "outside", "data")
		_, err := e.Link(e.ctx, e.root, outside, d, "link")
		e.must(err)
		var nodes []fs.Node
		for i := range 5 {
			sub := e.mkdir(d, fmt.Sprint(i))
			nodes = append(nodes, sub)
			for k := range 20 {
				nodes = append(nodes, e.file(sub, fmt.Sprint(k), "x"))
			}
		}
		s := e.snapshot(d)
		before := e.attr(e.home)
		sum := e.totals(d)
		j, err := e.StartTreeDelete(e.ctx, e.root, d.ID)
		e.must(err)
		eq(e, "id", j.ID, d.ID)
		eq(e, "path", j.InitialPath, "/home/d")
		eq(e, "files", j.Initial.Files, sum.Files)
		eq(e, "directories", j.Initial.Directories, sum.Directories)
		// It is gone at once.
		e.missing(e.home, "d")
		e.later("parent", before, e.attr(e.home))
		eq(e, "links of parent", e.attr(e.home).Links, before.Links-1)
		eq(e, "files", e.totals(fs.Root).Files, 1)
		e.treeGone(d.ID)
		for _, n := range nodes {
			_, err := e.GetAttr(e.ctx, e.root, n, 0)
			e.want(err, fs.Stale)
		}
		e.hasContent(outside, "data")
		eq(e, "links", e.attr(outside).Links, 1)
		e.exact("root", fs.Root)
		// Snapshots keep it.
		e.hasContent(at(nodes[1], s), "x")
		e.has(at(d, s), "0", "1", "2", "3", "4", "link")
		e.mkdir(e.home, "d")
	}},
	{"stale_at_once", func(e *env) {
		d := e.mkdir(e.home, "d")
		sub := e.mkdir(d, "sub")
		for i := range 300 { // so that it takes a while to free
			e.file(sub, fmt.Sprint("n", i), "")
		}
		f, dir := e.file(sub, "f", "data"), e.mkdir(sub, "dir")
		link := e.symlink(sub, "l", "target")
		kept := e.file(sub, "kept", "kept")
		two := e.file(sub, "two", "two names")
		outside := e.file(e.home, "outside", "data")
		_, err := e.Link(e.ctx, e.root, two, e.home, "other")
		e.must(err)
		h, _, err := e.Open(e.ctx, e.root, &fs.OpenSpec{Dir: kept, Desired: fs.RightRead | fs.RightModify, Share: fs.ShareAll})
		e.must(err)
		_, err = e.StartTreeDelete(e.ctx, e.root, d.ID)
		e.must(err)
		req, buf := &fs.WriteRequest{Data: []byte("x"), Stability: fs.FileSync}, make([]byte, 4)
		calls := map[string]func() error{
			"kept":    func() error { _, err := h.Read(e.ctx, 0, buf); return err },
			"two":     func() error { _, err := e.Read(e.ctx, e.root, two, &fs.ReadRequest{}, buf); return err },
			"outside": func() error { _, err := e.GetAttr(e.ctx, e.root, outside, 0); return err },
		}
		for name, call := range calls {
			if err := call(); err != nil {
				e.Errorf("%s is to be had: %v", name, err)
			}
		}
		for name, call := range map[string]func() error{
			"root": func() error { _, err := e.GetAttr(e.ctx, e.root, d, 0); return err },
			"dir":  func() error { _, err := e.GetAttr(e.ctx, e.root, dir, 0); return err },
			"file": func() error { _, err := e.GetAttr(e.ctx, e.root, f, 0); return err },
			"lookup": func() error {
				_, err := e.Lookup(e.ctx, e.root, sub, "f", 0)
				return err
			},
			"fold":   func() error { _, _, err := e.LookupFold(e.ctx, e.root, sub, "F", 0); return err },
			"dotdot": func() error { _, err := e.Lookup(e.ctx, e.root, dir, "..", 0); return err },
			"readdir": func() error {
				_, err := e.ReadDir(e.ctx, e.root, sub, 0, 0, func(*fs.Dirent) bool { return true })
				return err
			},
			"read":    func() error { _, err := e.Read(e.ctx, e.root, f, &fs.ReadRequest{}, buf); return err },
			"write":   func() error { _, err := e.Write(e.ctx, e.root, f, req); return err },
			"commit":  func() error { _, _, err := e.Commit(e.ctx, e.root, f, 0, 0, 0); return err },
			"zero":    func() error { _, err := e.Zero(e.ctx, e.root, f, 0, 0, 1); return err },
			"regions": func() error { return e.Regions(e.ctx, e.root, f, 0, 0, func(fs.Region) bool { return true }) },
			"copy":    func() error { _, err := e.CopyRange(e.ctx, e.root, f, 0, 0, outside, 0, 0, 4); return err },
			"chmod": func() error {
				_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Mode: ptr(fs.Mode(0o600))})
				return err
			},
			"create": func() error {
				_, err := e.Create(e.ctx, e.root, dir, "new", &fs.CreateSpec{Type: fs.File})
				return err
			},
			"remove":   func() error { _, err := e.Remove(e.ctx, e.root, sub, "f", fs.RemoveAny); return err },
			"rename":   func() error { _, err := e.rename(sub, "f", e.home, "saved"); return err },
			"move in":  func() error { _, err := e.rename(e.home, "outside", dir, "in"); return err },
			"link":     func() error { _, err := e.Link(e.ctx, e.root, f, e.home, "saved"); return err },
			"readlink": func() error { _, err := e.Readlink(e.ctx, e.root, link); return err },
			"access":   func() error { _, err := e.Access(e.ctx, e.root, f, fs.RightRead); return err },
			"ACL":      func() error { _, err := e.GetACL(e.ctx, e.root, f); return err },
			"xattr":    func() error { _, err := e.GetMeta(e.ctx, e.root, f, fs.MetaXattr, "k"); return err },
			"path":     func() error { _, err := e.PathOf(e.ctx, f); return err },
			"open": func() error {
				h, _, err := e.Open(e.ctx, e.root, &fs.OpenSpec{Dir: f, Desired: fs.RightRead, Share: fs.ShareAll})
				if err == nil {
					_ = h.Close(e.ctx)
				}
				return err
			},
			"quota":  func() error { _, err := e.SetQuota(e.ctx, sub.ID, 1<<30, true, 0); return err },
			"totals": func() error { _, err := e.TotalsOf(e.ctx, sub); return err },
			"delete": func() error { _, err := e.StartTreeDelete(e.ctx, e.root, sub.ID); return err },
		} {
			if err := call(); err == nil || fs.KindOf(err) != fs.Stale {
				e.Errorf("%s in a detached tree: %v", name, err)
			}
		}
		e.treeGone(d.ID)
		for name, call := range calls {
			if err := call(); err != nil {
				e.Errorf("%s is to be had still: %v", name, err)
			}
		}
		e.must(h.Close(e.ctx))
		_, err = e.GetAttr(e.ctx, e.root, kept, 0)
		e.want(err, fs.Stale)
	}},
	{"errors", func(e *env) {
		_, err := e.StartTreeDelete(e.ctx, e.root, fs.RootID)
		e.want(err, fs.Invalid)
		_, err = e.StartTreeDelete(e.ctx, e.root, 1<<40)
		e.want(err, fs.Stale)
		_, err = e.StartTreeDelete(e.ctx, e.root, e.file(e.home, "f", "").ID)
		e.want(err, fs.NotDir)
		d := e.mkdirAs(e.alice, e.home, "d", 0o755)
		sub := e.mkdirAs(e.alice, d, "sub", 0o755)
		_, err = e.StartTreeDelete(e.ctx, e.bob, sub.ID)
		e.want(err, fs.Access)
		_, err = e.TreeDelete(e.ctx, d.ID)
		e.want(err, fs.NotExist)
		e.want(e.CancelTreeDelete(e.ctx, d.ID), fs.NotExist)
		locked := e.file(sub, "locked", "")
		_, err = e.SetAttr(e.ctx, e.system, locked, &fs.SetAttr{LegalHold: ptr(true)})
		e.must(err)
		_, err = e.StartTreeDelete(e.ctx, e.root, d.ID)
		e.want(err, fs.WORM)
		e.lookup(e.home, "d")
	}},
}
