package nfs3

import (
	"bytes"
	"math"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/wire/sunrpc"
)

func TestData_writeReadCommit(t *testing.T) {
	m := memfs.New(memfs.Options{})
	b := start(t, func(o *Options) { o.FS = m })
	f := b.mustCreate(b.root, "f")
	big := bytes.Repeat([]byte("0123456789abcdef"), maxIO/16)
	n, committed, verf, w, st := b.write(f, 3, big, uint32(fs.Unstable))
	want(t, "write", st, OK)
	if n != maxIO || !w.pre || w.size != 0 || w.post.size != maxIO+3 {
		t.Errorf("wrote %d, %+v", n, w)
	}
	if committed == uint32(fs.Unstable) {
		v, st := b.commit(f, 0, 0)
		if want(t, "commit", st, OK); v != verf {
			t.Errorf("verifier of COMMIT %x, of WRITE %x", v, verf)
		}
	}
	for _, c := range []struct {
		off   uint64
		count uint32
		want  []byte
		eof   bool
	}{
		{0, 4, []byte("\x00\x00\x000"), false},
		{3, maxIO, big, true},
		{3, maxIO - 1, big[:maxIO-1], false},
		{maxIO, 100, big[maxIO-3:], true},
		{maxIO + 3, 100, nil, true},
		{1 << 40, 100, nil, true},
		{0, math.MaxUint32, append([]byte{0, 0, 0}, big[:maxIO-3]...), false},
	} {
		p, eof, st := b.read(f, c.off, c.count)
		want(t, "read", st, OK)
		if !bytes.Equal(p, c.want) || eof != c.eof {
			t.Errorf("read %d at %d: %d bytes, eof %v; want %d, %v", c.count, c.off, len(p), eof, len(c.want), c.eof)
		}
	}
	_, committed, _, _, _ = b.write(f, 0, []byte("x"), uint32(fs.FileSync))
	if committed != uint32(fs.FileSync) {
		t.Errorf("a stable write answered %d", committed)
	}
	m.Crash()
	if v, _ := b.commit(f, 0, 0); v == verf {
		t.Error("the verifier survives the loss of unstable writes")
	}
	_, _, _, _, st = b.write(f, math.MaxInt64, []byte("xy"), 0)
	want(t, "write past the largest offset", st, ErrFBig)
	_, _, _, _, st = b.write(b.root, 0, []byte("x"), 0)
	if st == OK {
		t.Error("a directory was written")
	}
	_, _, st = b.read(b.root, 0, 10)
	want(t, "read of a directory", st, ErrIsDir)
}

func TestData_writeCountMustMatch(t *testing.T) {
	b := start(t)
	f := b.mustCreate(b.root, "f")
	st := b.call(procWrite, func(e *sunrpc.Encoder) {
		e.Opaque(f)
		e.U64(0)
		e.U32(10)
		e.U32(0)
		e.String("short")
	}, nil)
	want(t, "count beyond the data", st, ErrInval)
	want(t, "no such stability", garbageStatus(b, procWrite, func(e *sunrpc.Encoder) {
		e.Opaque(f)
		e.U64(0)
		e.U32(1)
		e.U32(3)
		e.String("x")
	}), 4)
}

func TestAttr_set(t *testing.T) {
	b := start(t)
	f := b.mustCreate(b.root, "f")
	at, mt := fs.Time{Sec: 4_000_000_000, Nsec: 7}, fs.Time{Sec: 1, Nsec: 999_999_999}
	w, st := b.setAttr(f, wset{mode: ptr(uint32(0o4755)), uid: ptr(uint32(1000)), gid: ptr(uint32(100)), size: ptr(uint64(1 << 40)), atime: &at, mtime: &mt}, nil)
	want(t, "setattr", st, OK)
	a := w.post
	if a == nil || a.mode != 0o4755 || a.uid != 1000 || a.gid != 100 || a.size != 1<<40 || a.atime != at || a.mtime != mt {
		t.Errorf("attributes %+v", a)
	}
	_, st = b.setAttr(f, wset{size: ptr(uint64(0))}, &fs.Time{Sec: 1})
	want(t, "guard that does not hold", st, ErrNotSync)
	_, st = b.setAttr(f, wset{size: ptr(uint64(0))}, &a.ctime)
	want(t, "guard that holds", st, OK)
	_, st = b.setAttr(f, wset{size: ptr(uint64(1 << 63))}, nil)
	want(t, "size beyond the largest", st, ErrFBig)
	w, st = b.setAttr(f, wset{touch: true}, nil)
	if want(t, "touch", st, OK); w.post.mtime == mt {
		t.Error("time not set")
	}
}

func TestAccess_bits(t *testing.T) {
	b := start(t)
	d, _ := b.mkdir(b.root, "d")
	f := b.mustCreate(d, "f")
	other := b.as(1000, 1000)
	for _, c := range []struct {
		who  *bench
		h    []byte
		mode uint32
		want uint32
	}{
		{other, d, 0o755, accessRead | accessLookup},
		{other, d, 0o777, accessRead | accessLookup | accessModify | accessExtend | accessDelete},
		{other, d, 0o700, 0},
		{other, f, 0o644, accessRead},
		{other, f, 0o755, accessRead | accessExecute},
		{other, f, 0o666, accessRead | accessModify | accessExtend},
		{b, f, 0o000, accessRead | accessModify | accessExtend},
		{b, d, 0o000, accessRead | accessLookup | accessModify | accessExtend | accessDelete},
	} {
		b.setAttr(c.h, wset{mode: &c.mode}, nil)
		got, st := c.who.access(c.h, 0x3f)
		if want(t, "access", st, OK); got != c.want {
			t.Errorf("mode %o as %d: %06b, want %06b", c.mode, c.who.cred.UID, got, c.want)
		}
		if got, _ := c.who.access(c.h, accessRead); got&^accessRead != 0 {
			t.Errorf("more was granted than asked: %b", got)
		}
	}
}

func TestFS_figures(t *testing.T) {
	b := start(t)
	h := func(e *sunrpc.Encoder) { e.Opaque(b.root) }
	st := b.call(procFSInfo, h, func(_ Status, d *sunrpc.Decoder) {
		if readPost(d) == nil {
			t.Error("no attributes")
		}
		if rt := d.U32(); rt != 1<<20 {
			t.Errorf("rtmax %d", rt)
		}
		d.U64()
		if wt := d.U32(); wt != 1<<20 {
			t.Errorf("wtmax %d", wt)
		}
		d.U64()
		d.U32()
		if n := d.U64(); n != math.MaxInt64 {
			t.Errorf("largest file %d", n)
		}
		d.U64()
		if p := d.U32(); p != 0x1b {
			t.Errorf("properties %x", p)
		}
	})
	want(t, "fsinfo", st, OK)
	want(t, "fsstat", b.call(procFSStat, h, func(_ Status, d *sunrpc.Decoder) {
		readPost(d)
		if total, free, avail := d.U64(), d.U64(), d.U64(); total == 0 || free > total || avail > free {
			t.Errorf("bytes %d %d %d", total, free, avail)
		}
		d.U64()
		d.U64()
		d.U64()
		d.U32()
	}), OK)
	want(t, "pathconf", b.call(procPathConf, h, func(_ Status, d *sunrpc.Decoder) {
		readPost(d)
		if links, name := d.U32(), d.U32(); links != fs.MaxLinks || name != fs.MaxName {
			t.Errorf("links %d, name %d", links, name)
		}
		if !d.Bool() || !d.Bool() || d.Bool() || !d.Bool() {
			t.Error("properties of names")
		}
	}), OK)
}
