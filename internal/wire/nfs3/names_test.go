package nfs3

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/export"
	"manifold/internal/wire/nfs3/mount"
	"manifold/internal/wire/sunrpc"
)

func TestNames_makeFindRemove(t *testing.T) {
	b := start(t)
	d, st := b.mkdir(b.root, "d")
	want(t, "mkdir", st, OK)
	f, a, w, st := b.create(d, "f", createGuarded, wset{mode: ptr(uint32(0o640)), size: ptr(uint64(5))}, 0)
	want(t, "create", st, OK)
	if a.typ != typeReg || a.mode != 0o640 || a.size != 5 || a.nlink != 1 || a.uid != 0 {
		t.Errorf("attributes %+v", a)
	}
	if !w.pre || w.post == nil || w.post.typ != typeDir || w.post.mtime.Compare(w.mtime) <= 0 {
		t.Errorf("directory before and after: %+v", w)
	}
	h, a2, st := b.lookup(d, "f")
	want(t, "lookup", st, OK)
	if !bytes.Equal(h, f) || a2.fileid != a.fileid {
		t.Errorf("found %x %d, made %x %d", h, a2.fileid, f, a.fileid)
	}
	_, _, _, st = b.create(d, "f", createGuarded, wset{}, 0)
	want(t, "guarded create of what is there", st, ErrExist)
	h, a2, _, st = b.create(d, "f", createUnchecked, wset{size: ptr(uint64(2))}, 0)
	want(t, "unchecked create of what is there", st, OK)
	if !bytes.Equal(h, f) || a2.size != 2 {
		t.Errorf("unchecked create: size %d", a2.size)
	}
	_, st = b.remove(procRemove, b.root, "d")
	want(t, "remove of a directory", st, ErrIsDir)
	_, st = b.remove(procRmdir, b.root, "d")
	want(t, "rmdir of a full directory", st, ErrNotEmpty)
	_, st = b.remove(procRmdir, d, "f")
	want(t, "rmdir of a file", st, ErrNotDir)
	w, st = b.remove(procRemove, d, "f")
	want(t, "remove", st, OK)
	if !w.pre || w.post == nil {
		t.Errorf("remove: %+v", w)
	}
	_, st = b.getAttr(f)
	want(t, "getattr of what is gone", st, ErrStale)
	_, _, st = b.lookup(d, "f")
	want(t, "lookup of what is gone", st, ErrNoEnt)
	_, st = b.remove(procRmdir, b.root, "d")
	want(t, "rmdir", st, OK)
}

func TestNames_exclusiveCreate(t *testing.T) {
	b := start(t)
	f, _, _, st := b.create(b.root, "x", createExclusive, wset{}, 77)
	want(t, "exclusive", st, OK)
	again, _, _, st := b.create(b.root, "x", createExclusive, wset{}, 77)
	want(t, "same verifier", st, OK)
	if !bytes.Equal(f, again) {
		t.Error("another file")
	}
	_, _, _, st = b.create(b.root, "x", createExclusive, wset{}, 78)
	want(t, "other verifier", st, ErrExist)
	want(t, "bad mode is garbage", garbageStatus(b, procCreate, func(e *sunrpc.Encoder) {
		e.Opaque(b.root)
		e.String("y")
		e.U32(3)
	}), 4)
}

// garbageStatus answers the accept state of a call that is not accepted.
func garbageStatus(b *bench, proc uint32, args func(*sunrpc.Encoder)) Status {
	err := b.c.Call(b.t.Context(), Program, 3, proc, b.cred, args, nil)
	if e, ok := err.(*sunrpc.Error); ok {
		return Status(e.Accept)
	}
	return 0
}

func TestNames_linksRenames(t *testing.T) {
	b := start(t)
	d1, _ := b.mkdir(b.root, "d1")
	d2, _ := b.mkdir(b.root, "d2")
	f := b.mustCreate(d1, "f")
	a, st := b.link(f, d2, "g")
	want(t, "link", st, OK)
	if a == nil || a.nlink != 2 {
		t.Errorf("link: %+v", a)
	}
	_, st = b.link(d1, d2, "h")
	if st == OK {
		t.Error("a hard link to a directory was made")
	}
	_, st = b.link(f, d2, "g")
	want(t, "link to a taken name", st, ErrExist)
	want(t, "rename", b.rename(d1, "f", d2, "f2"), OK)
	_, _, st = b.lookup(d1, "f")
	want(t, "old name", st, ErrNoEnt)
	want(t, "rename below itself", b.rename(b.root, "d1", d1, "x"), ErrInval)
	want(t, "rename onto a full directory", b.rename(b.root, "d1", b.root, "d2"), ErrNotEmpty)
	want(t, "rename of nothing", b.rename(d1, "f", d2, "f3"), ErrNoEnt)
	s, st := b.symlink(d1, "s", "../some/where")
	want(t, "symlink", st, OK)
	target, st := b.readlink(s)
	if want(t, "readlink", st, OK); target != "../some/where" {
		t.Errorf("target %q", target)
	}
	_, st = b.readlink(f)
	want(t, "readlink of a file", st, ErrInval)
	for typ, name := range map[uint32]string{typeFIFO: "fifo", typeSocket: "sock", typeBlock: "blk", typeChar: "chr"} {
		a, st := b.mknod(d1, name, typ, 8, 17)
		want(t, "mknod "+name, st, OK)
		if a.typ != typ {
			t.Errorf("%s has type %d", name, a.typ)
		}
		if (typ == typeBlock || typ == typeChar) && (a.major != 8 || a.minor != 17) {
			t.Errorf("%s is %d:%d", name, a.major, a.minor)
		}
	}
	_, st = b.mknod(d1, "reg", typeReg, 0, 0)
	want(t, "mknod of a file", st, ErrBadType)
}

func TestNames_reservedAndLong(t *testing.T) {
	b := start(t)
	long := string(bytes.Repeat([]byte("n"), 256))
	for name, st := range map[string]Status{
		".": ErrExist, "..": ErrExist, ".snapshot": ErrExist, "": ErrInval, "a/b": ErrInval, "a\x00b": ErrInval, long: ErrNameTooLong,
	} {
		_, _, _, got := b.create(b.root, name, createGuarded, wset{}, 0)
		want(t, fmt.Sprintf("create %.20q", name), got, st)
		_, got = b.mkdir(b.root, name)
		want(t, fmt.Sprintf("mkdir %.20q", name), got, st)
	}
	_, _, _, st := b.create(b.root, long[:255], createGuarded, wset{}, 0)
	want(t, "255 bytes", st, OK)
	_, _, _, st = b.create(b.root, "\xff\xfe not utf-8", createGuarded, wset{}, 0)
	want(t, "any bytes", st, OK)
	_, _, st = b.lookup(b.root, long)
	want(t, "lookup of a long name", st, ErrNameTooLong)
	_, st = b.remove(procRmdir, b.root, ".")
	want(t, "rmdir .", st, ErrInval)
	_, st = b.remove(procRmdir, b.root, "..")
	want(t, "rmdir ..", st, ErrExist)
}

func TestList_everyEntryOnceAtAnySize(t *testing.T) {
	b := start(t)
	d, _ := b.mkdir(b.root, "d")
	names := []string{".", ".."}
	for i := range 300 {
		n := fmt.Sprintf("%0*d", 1+i%40, i)
		b.mustCreate(d, n)
		names = append(names, n)
	}
	slices.Sort(names)
	for _, plus := range []bool{false, true} {
		for _, size := range []uint32{512, 777, 4096, 1 << 20, 1<<32 - 1} {
			all := b.listAll(plus, d, size, size)
			var got []string
			for i, x := range all {
				got = append(got, x.name)
				if x.cookie == 0 || i > 0 && x.cookie <= all[i-1].cookie {
					t.Fatalf("cookie %d after %d", x.cookie, all[max(i, 1)-1].cookie)
				}
				if plus && (x.attr == nil || x.handle == nil || x.attr.fileid != x.fileid) {
					t.Fatalf("%s: %+v", x.name, x)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, names) {
				t.Errorf("plus %v size %d: %d names, want %d", plus, size, len(got), len(names))
			}
		}
	}
	es, _, _, st := b.list(true, d, 0, 100, 1<<16)
	if want(t, "small dircount", st, OK); len(es) == 0 || len(es) > 4 {
		t.Errorf("%d entries in a dircount of 100", len(es))
	}
	_, _, _, st = b.list(false, d, 0, 0, 100)
	want(t, "no room for one", st, ErrTooSmall)
	_, _, _, st = b.list(true, d, 0, 0, 150)
	want(t, "no room for one, plus", st, ErrTooSmall)
	_, _, _, st = b.list(false, d, 1<<63, 0, 4096)
	want(t, "impossible cookie", st, ErrBadCookie)
	_, _, _, st = b.list(false, b.mustCreate(d, "file"), 0, 0, 4096)
	want(t, "listing a file", st, ErrNotDir)
	if es := b.listAll(true, b.root, 4096, 4096); es[1].fileid != es[0].fileid {
		t.Errorf(".. of the root is %d, . is %d", es[1].fileid, es[0].fileid)
	}
}

// A file that is there throughout is listed exactly once, whatever happens to others.
func TestList_changesMeanwhile(t *testing.T) {
	b := start(t)
	for i := range 100 {
		b.mustCreate(b.root, fmt.Sprintf("stay%d", i))
		b.mustCreate(b.root, fmt.Sprintf("go%d", i))
	}
	seen := map[string]int{}
	i := 0
	for cookie := uint64(0); ; i++ {
		es, eof, _, st := b.list(true, b.root, cookie, 1000, 2000)
		want(t, "list", st, OK)
		for _, x := range es {
			seen[x.name]++
			cookie = x.cookie
		}
		if eof {
			break
		}
		b.remove(procRemove, b.root, fmt.Sprintf("go%d", i))
		b.mustCreate(b.root, fmt.Sprintf("new%d", i))
	}
	for i := range 100 {
		if n := seen[fmt.Sprintf("stay%d", i)]; n != 1 {
			t.Errorf("stay%d listed %d times", i, n)
		}
	}
}

func TestExport_nothingAboveItsDirectory(t *testing.T) {
	b := start(t)
	a, _ := b.mkdir(b.root, "a")
	if _, st := b.mkdir(a, "b"); st != OK {
		t.Fatal(st)
	}
	b.exports.set(&export.Export{ID: 1, Path: "/", FSPath: "/"}, &export.Export{ID: 2, Path: "/sub", FSPath: "/a"})
	sub := b.mount("/sub")
	up, at, st := b.lookup(sub, "..")
	want(t, "..", st, OK)
	if !bytes.Equal(up, sub) {
		t.Error(".. of the export leads elsewhere")
	}
	es := b.listAll(true, sub, 4096, 4096)
	if len(es) != 3 || es[1].name != ".." || es[1].fileid != at.fileid || !bytes.Equal(es[1].handle, sub) {
		t.Errorf("listing: %+v", es)
	}
	inner, _, st := b.lookup(sub, "b")
	want(t, "lookup below", st, OK)
	if up, _, _ := b.lookup(inner, ".."); !bytes.Equal(up, sub) {
		t.Error(".. of a directory in the export is not the export's")
	}
	want(t, "rename across exports", b.rename(b.root, "a", sub, "x"), ErrXDev)
	if _, st := b.tryMount("/sub/b"); st != mount.ErrNoEnt {
		t.Errorf("mount of a directory that is no export: %d", st)
	}

	b.exports.set(&export.Export{ID: 1, Path: "/", FSPath: "/"}, &export.Export{ID: 2, Path: "/sub", FSPath: "/a/b"})
	_, st = b.getAttr(sub)
	want(t, "handle of the directory shown before", st, ErrStale)
	b.exports.set(&export.Export{ID: 1, Path: "/", FSPath: "/"})
	_, st = b.getAttr(inner)
	want(t, "handle of a removed export", st, ErrStale)
}

func TestSnapshots_throughDotSnapshot(t *testing.T) {
	b := start(t)
	d, _ := b.mkdir(b.root, "d")
	f := b.mustCreate(d, "f")
	if _, _, _, _, st := b.write(f, 0, []byte("before"), 2); st != OK {
		t.Fatal(st)
	}
	live, _ := b.getAttr(f)
	ctx, _ := admin()
	top, err := b.fs.TakeSnapshot(ctx, fs.SnapshotSpec{Root: fs.RootID, Suffix: "s"})
	if err != nil {
		t.Fatal(err)
	}
	b.write(f, 0, []byte("AFTER!"), 2)

	for _, x := range b.listAll(false, b.root, 4096, 4096) {
		if x.name == fs.SnapshotDirName {
			t.Error(".snapshot is listed")
		}
	}
	snaps, sa, st := b.lookup(b.root, ".snapshot")
	want(t, "lookup .snapshot", st, OK)
	ra, _ := b.getAttr(b.root)
	if sa.typ != typeDir || sa.fileid == ra.fileid {
		t.Errorf(".snapshot: %+v", sa)
	}
	es := b.listAll(true, snaps, 4096, 4096)
	if len(es) != 3 || es[2].name != top.Name || es[2].attr == nil || es[2].fileid == ra.fileid || es[2].fileid == sa.fileid {
		t.Fatalf("listing of .snapshot: %+v", es)
	}
	if plain := b.listAll(false, snaps, 4096, 4096); plain[2].fileid != es[2].fileid {
		t.Errorf("READDIR shows %d, READDIRPLUS %d", plain[2].fileid, es[2].fileid)
	}
	sd, _, st := b.lookup(es[2].handle, "d")
	want(t, "lookup in a snapshot", st, OK)
	sf, a, st := b.lookup(sd, "f")
	want(t, "lookup in a snapshot", st, OK)
	if a.fileid == live.fileid {
		t.Error("an object and its image have one file id")
	}
	p, _, st := b.read(sf, 0, 100)
	if want(t, "read in a snapshot", st, OK); string(p) != "before" {
		t.Errorf("read %q", p)
	}
	_, _, _, _, st = b.write(sf, 0, []byte("x"), 2)
	want(t, "write in a snapshot", st, ErrROFS)
	if up, _, _ := b.lookup(es[2].handle, ".."); !bytes.Equal(up, snaps) {
		t.Error(".. of a snapshot is not .snapshot")
	}
	if up, _, _ := b.lookup(snaps, ".."); !bytes.Equal(up, b.root) {
		t.Error(".. of .snapshot is not its directory")
	}
}
