package fstest

import (
	"bytes"
	"fmt"
	"strings"

	"manifold/internal/fs"
)

// pattern makes n bytes that tell their place.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func (e *env) regions(n fs.Node, off uint64) []fs.Region {
	e.Helper()
	var out []fs.Region
	e.must(e.Regions(e.ctx, e.root, n, 0, off, func(r fs.Region) bool {
		out = append(out, r)
		return true
	}))
	return out
}

// covers checks that regions tile [off, size).
func (e *env) covers(rs []fs.Region, off, size uint64) {
	e.Helper()
	for i, r := range rs {
		if r.Length == 0 || r.Offset != off || i > 0 && r.Hole == rs[i-1].Hole {
			e.Fatalf("region %d of %+v does not go on at %d", i, rs, off)
		}
		off += r.Length
	}
	if len(rs) > 0 && off != size {
		e.Fatalf("regions %+v end at %d, want %d", rs, off, size)
	}
}

var dataTests = []test{
	{"write_and_read", func(e *env) {
		f := e.file(e.home, "f", "")
		before := e.attr(f)
		r, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Offset: 0, Data: []byte("hello"), Stability: fs.FileSync, Want: fs.AttrBasic})
		e.must(err)
		eq(e, "count", r.Count, 5)
		eq(e, "committed", r.Committed, fs.FileSync)
		eq(e, "verifier", r.Verifier, e.WriteVerifier())
		e.wcc("write", r.File, before)
		after := e.attr(f)
		e.later("file", before, after)
		eq(e, "size", after.Size, 5)
		if after.Mtime.Compare(before.Mtime) <= 0 || after.DataRevision <= before.DataRevision {
			e.Fatalf("mtime or data revision did not grow: %+v", after)
		}
		for _, c := range []struct {
			off  uint64
			len  int
			want string
			eof  bool
		}{{0, 5, "hello", true}, {0, 4, "hell", false}, {1, 100, "ello", true}, {5, 10, "", true}, {100, 10, "", true}, {0, 0, "", false}, {1 << 62, 1, "", true}} {
			buf := make([]byte, c.len)
			r, err := e.Read(e.ctx, e.root, f, &fs.ReadRequest{Offset: c.off, Want: fs.AttrBasic}, buf)
			e.must(err)
			if string(buf[:r.N]) != c.want || r.EOF != c.eof {
				e.Fatalf("read %d at %d: %q, end %v", c.len, c.off, buf[:r.N], r.EOF)
			}
			eq(e, "size", r.Attr.Size, 5)
		}
		e.same("file, by reading", after, e.attr(f))
	}},
	{"overwrite_extend_gap", func(e *env) {
		f := e.file(e.home, "f", "0123456789")
		e.write(f, 3, "abc")
		e.hasContent(f, "012abc6789")
		e.write(f, 8, "xyz")
		e.hasContent(f, "012abc67xyz")
		e.write(f, 20, "end")
		e.hasContent(f, "012abc67xyz"+strings.Repeat("\x00", 9)+"end")
	}},
	{"sizes", func(e *env) {
		// Around blocks and the sizes that implementations cut at.
		for i, n := range []int{1, 511, 4095, 4096, 4097, 65536, 1<<20 - 1, 1<<20 + 1, 5<<20 + 123} {
			f := e.file(e.home, fmt.Sprint("f", i), "")
			want := pattern(byte(i), n)
			for off := 0; off < n; off += 1 << 20 {
				part := want[off:min(n, off+1<<20)]
				_, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Offset: uint64(off), Data: part})
				e.must(err)
			}
			if got := e.content(f, 0); got != string(want) {
				e.Fatalf("%d bytes: content differs before commit", n)
			}
			_, ch, err := e.Commit(e.ctx, e.root, f, 0, 0, 0)
			e.must(err)
			eq(e, "size after commit", ch.After.Size, uint64(n))
			if got := e.content(f, 0); got != string(want) {
				e.Fatalf("%d bytes: content differs after commit", n)
			}
			a := e.attr(f)
			blocks := (uint64(n) + fs.BlockSize - 1) / fs.BlockSize * fs.BlockSize
			if a.DataBytes%fs.BlockSize != 0 || a.DataBytes > blocks {
				e.Fatalf("%d bytes take %d of data", n, a.DataBytes)
			}
		}
	}},
	{"big_offsets", func(e *env) {
		f := e.file(e.home, "f", "")
		e.write(f, 1<<40, "far")
		eq(e, "size", e.attr(f).Size, 1<<40+3)
		if got := e.attr(f).DataBytes; got > 1<<20 {
			e.Fatalf("3 bytes take %d", got)
		}
		buf := make([]byte, 10)
		r, err := e.Read(e.ctx, e.root, f, &fs.ReadRequest{Offset: 1<<40 - 5}, buf)
		e.must(err)
		eq(e, "read", string(buf[:r.N]), "\x00\x00\x00\x00\x00far")
		e.write(f, fs.MaxFileSize-1, "z")
		eq(e, "size", e.attr(f).Size, fs.MaxFileSize)
		for _, w := range []fs.WriteRequest{
			{Offset: fs.MaxFileSize, Data: []byte("x")}, {Offset: fs.MaxFileSize - 1, Data: []byte("xy")}, {Offset: 1 << 63, Data: []byte("x")},
			{Offset: 1<<64 - 1, Data: []byte("xy")},
		} {
			_, err := e.Write(e.ctx, e.root, f, &w)
			e.want(err, fs.TooBig)
		}
	}},
	{"mtime_survives_a_link_before_the_commit", func(e *env) {
		f := e.file(e.home, "f", "data")
		old := fs.Time{Sec: 1000}
		_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Mtime: &fs.TimeSet{Time: old}})
		e.must(err)
		_, err = e.Write(e.ctx, e.root, f, &fs.WriteRequest{Data: []byte("x")})
		e.must(err)
		written := e.attr(f)
		if written.Mtime == old {
			e.Fatal("a write left mtime as it was")
		}
		_, err = e.Link(e.ctx, e.root, f, e.home, "g")
		e.must(err)
		eq(e, "mtime after a link", e.attr(f).Mtime, written.Mtime)
		e.later("linked file", written, e.attr(f))
		written = e.attr(f)
		_, err = e.rename(e.home, "f", e.home, "h")
		e.must(err)
		_, _, err = e.Commit(e.ctx, e.root, f, 0, 0, 0)
		e.must(err)
		eq(e, "mtime after the commit", e.attr(f).Mtime, written.Mtime)
		e.later("file", written, e.attr(f))
	}},
	{"empty_write", func(e *env) {
		f := e.file(e.home, "f", "data")
		before := e.attr(f)
		_, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Offset: 100, Stability: fs.FileSync})
		e.must(err)
		e.same("file", before, e.attr(f))
	}},
	{"append", func(e *env) {
		f := e.file(e.home, "f", "one")
		r, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Offset: 999, Data: []byte("two"), Append: true})
		e.must(err)
		eq(e, "offset", r.Offset, 3)
		e.hasContent(f, "onetwo")
	}},
	{"data_is_copied", func(e *env) {
		f := e.file(e.home, "f", "")
		b := []byte("before")
		_, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Data: b})
		e.must(err)
		copy(b, "after!")
		e.hasContent(f, "before")
	}},
	{"wrong_types", func(e *env) {
		buf := make([]byte, 1)
		for kind, want := range map[string]fs.Kind{"dir": fs.IsDir, "symlink": fs.NotFile, "fifo": fs.NotFile} {
			n := e.object(e.home, kind, kind)
			_, err := e.Read(e.ctx, e.root, n, &fs.ReadRequest{}, buf)
			e.want(err, want)
			_, err = e.Write(e.ctx, e.root, n, &fs.WriteRequest{Data: buf})
			e.want(err, want)
			_, _, err = e.Commit(e.ctx, e.root, n, 0, 0, 0)
			e.want(err, want)
			_, err = e.Zero(e.ctx, e.root, n, 0, 0, 1)
			e.want(err, want)
		}
	}},
	{"truncate_leaves_no_trace", func(e *env) {
		f := e.file(e.home, "f", strings.Repeat("x", 20000))
		for _, size := range []uint64{10001, 4096, 17, 0} {
			_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: &size})
			e.must(err)
			_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(30000))})
			e.must(err)
			e.hasContent(f, strings.Repeat("x", int(size))+strings.Repeat("\x00", 30000-int(size)))
		}
		// Buffered bytes too.
		_, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Offset: 0, Data: []byte("secret")})
		e.must(err)
		_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(2))})
		e.must(err)
		e.write(f, 8, "!")
		e.hasContent(f, "se\x00\x00\x00\x00\x00\x00!")
	}},
	{"zero", func(e *env) {
		want := bytes.Repeat([]byte("x"), 40000)
		f := e.file(e.home, "f", string(want))
		for _, r := range [][2]uint64{{0, 10}, {4096, 8192}, {15000, 1}, {20000, 9000}, {39990, 1000}, {50000, 10}} {
			before := e.attr(f)
			ch, err := e.Zero(e.ctx, e.root, f, 0, r[0], r[1])
			e.must(err)
			if lo := min(r[0], uint64(len(want))); lo < uint64(len(want)) {
				clear(want[lo:min(r[0]+r[1], uint64(len(want)))])
				e.wcc("zero", ch, before)
				e.later("file", before, e.attr(f))
			}
			e.hasContent(f, string(want))
		}
		eq(e, "size", e.attr(f).Size, 40000)
		had := e.attr(f).DataBytes
		_, err := e.Zero(e.ctx, e.root, f, 0, 0, 40000)
		e.must(err)
		e.hasContent(f, strings.Repeat("\x00", 40000))
		if got := e.attr(f).DataBytes; got != 0 {
			e.Fatalf("zeroed file still takes %d of %d bytes", got, had)
		}
		_, err = e.Zero(e.ctx, e.root, f, 0, fs.MaxFileSize, 2)
		e.want(err, fs.TooBig)
	}},
	{"regions", func(e *env) {
		f := e.file(e.home, "f", "")
		if rs := e.regions(f, 0); len(rs) != 0 {
			e.Fatalf("empty file has regions %+v", rs)
		}
		const mib = 1 << 20
		e.write(f, 8*mib, strings.Repeat("d", 2*mib))
		_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(20 * mib))})
		e.must(err)
		rs := e.regions(f, 0)
		e.covers(rs, 0, 20*mib)
		if len(rs) != 3 || rs[1] != (fs.Region{Offset: 8 * mib, Length: 2 * mib}) {
			e.Fatalf("regions %+v", rs)
		}
		rs = e.regions(f, 9*mib)
		if len(rs) != 2 || rs[0] != (fs.Region{Offset: 9 * mib, Length: mib}) || rs[1] != (fs.Region{Offset: 10 * mib, Length: 10 * mib, Hole: true}) {
			e.Fatalf("regions from the middle %+v", rs)
		}
		if rs = e.regions(f, 20*mib); len(rs) != 0 {
			e.Fatalf("regions past the end %+v", rs)
		}
		_, err = e.Zero(e.ctx, e.root, f, 0, 9*mib, mib)
		e.must(err)
		rs = e.regions(f, 0)
		e.covers(rs, 0, 20*mib)
		if len(rs) != 3 || rs[1] != (fs.Region{Offset: 8 * mib, Length: mib}) {
			e.Fatalf("regions after zeroing %+v", rs)
		}
	}},
	{"copy", func(e *env) {
		want := string(pattern(1, 3<<20))
		f := e.file(e.home, "f", want)
		g := e.file(e.home, "g", "")
		for done := uint64(0); done < uint64(len(want)); {
			n, err := e.CopyRange(e.ctx, e.root, f, 0, done, g, 0, done, uint64(len(want))-done)
			e.must(err)
			if n == 0 {
				e.Fatal("no progress")
			}
			done += n
		}
		e.hasContent(g, want)
		n, err := e.CopyRange(e.ctx, e.root, f, 0, 10, g, 0, 5, 3)
		e.must(err)
		eq(e, "copied", n, 3)
		e.hasContent(g, want[:5]+want[10:13]+want[8:])
		n, err = e.CopyRange(e.ctx, e.root, f, 0, uint64(len(want)), g, 0, 0, 3)
		e.must(err)
		eq(e, "copied past the end", n, 0)
		n, err = e.CopyRange(e.ctx, e.root, f, 0, uint64(len(want))-2, g, 0, 0, 100)
		e.must(err)
		eq(e, "copied at the end", n, 2)
		// The copy stands alone.
		e.write(f, 0, "changed")
		e.hasContent(g, want[len(want)-2:]+want[2:5]+want[10:13]+want[8:])
		_, err = e.CopyRange(e.ctx, e.root, f, 0, 0, f, 0, 10, 100)
		e.want(err, fs.Invalid)
		n, err = e.CopyRange(e.ctx, e.root, f, 0, 0, f, 0, 4<<20, 7)
		e.must(err)
		eq(e, "copied within", n, 7)
		s := e.snapshot(e.home)
		n, err = e.CopyRange(e.ctx, e.root, at(f, s), 0, 0, g, 0, 0, 7)
		e.must(err)
		eq(e, "copied from a snapshot", n, 7)
		e.chmod(g, 0o444)
		_, err = e.CopyRange(e.ctx, e.alice, f, 0, 0, g, 0, 0, 7)
		e.want(err, fs.Access)
		e.chmod(f, 0o222)
		e.chmod(g, 0o666)
		_, err = e.CopyRange(e.ctx, e.alice, f, 0, 0, g, 0, 0, 7)
		e.want(err, fs.Access)
	}},
	{"crash", func(e *env) {
		c, ok := e.FS.(Crasher)
		if !ok {
			return
		}
		f := e.file(e.home, "f", "stable")
		g := e.file(e.home, "g", "stable")
		for _, n := range []fs.Node{f, g} {
			r, err := e.Write(e.ctx, e.root, n, &fs.WriteRequest{Data: []byte("UNSTABLE AND LONGER")})
			e.must(err)
			eq(e, "committed", r.Committed, fs.Unstable)
			e.hasContent(n, "UNSTABLE AND LONGER")
		}
		was := e.WriteVerifier()
		v, _, err := e.Commit(e.ctx, e.root, g, 0, 0, 0)
		e.must(err)
		eq(e, "verifier", v, was)
		c.Crash()
		e.hasContent(g, "UNSTABLE AND LONGER")
		if e.content(f, 0) != "UNSTABLE AND LONGER" && e.WriteVerifier() == was {
			e.Fatal("unstable data is gone, but the verifier is the same")
		}
	}},
}

var concurrentTests = []test{
	{"creates", func(e *env) {
		const workers, each = 8, 20
		errs := make(chan error, workers)
		for w := range workers {
			go func() {
				var err error
				for i := 0; i < each && err == nil; i++ {
					_, err = e.Create(e.ctx, e.root, e.home, fmt.Sprintf("%d-%d", w, i), &fs.CreateSpec{Type: fs.File})
				}
				errs <- err
			}()
		}
		for range workers {
			e.must(<-errs)
		}
		eq(e, "children", e.attr(e.home).Children, workers*each)
		eq(e, "names", len(e.names(e.home)), workers*each)
	}},
	{"one_name", func(e *env) {
		const workers = 8
		type result struct {
			id  fs.FileID
			err error
		}
		results := make(chan result, workers)
		for range workers {
			go func() {
				r, err := e.Create(e.ctx, e.root, e.home, "f", &fs.CreateSpec{Type: fs.File})
				results <- result{r.Attr.Node.ID, err}
			}()
		}
		won := 0
		for range workers {
			r := <-results
			if r.err == nil {
				won++
			} else {
				e.want(r.err, fs.Exist)
			}
		}
		eq(e, "creates that succeeded", won, 1)
	}},
	{"appends", func(e *env) {
		const workers, each = 6, 20
		f := e.file(e.home, "f", "")
		errs := make(chan error, workers)
		for w := range workers {
			go func() {
				var err error
				for i := 0; i < each && err == nil; i++ {
					_, err = e.Write(e.ctx, e.root, f, &fs.WriteRequest{Data: bytes.Repeat([]byte{byte('a' + w)}, 10), Append: true})
				}
				errs <- err
			}()
		}
		for range workers {
			e.must(<-errs)
		}
		got := e.content(f, 0)
		eq(e, "length", len(got), workers*each*10)
		for i := 0; i < len(got); i += 10 {
			if strings.Count(got[i:i+10], got[i:i+1]) != 10 {
				e.Fatalf("append at %d is torn: %q", i, got[i:i+10])
			}
		}
	}},
	{"renames_make_no_loop", func(e *env) {
		// Two directories try to move below each other.
		for i := range 20 {
			a, b := e.mkdir(e.home, fmt.Sprint("a", i)), e.mkdir(e.home, fmt.Sprint("b", i))
			errs := make(chan error, 2)
			go func() { _, err := e.rename(e.home, fmt.Sprint("a", i), b, "x"); errs <- err }()
			go func() { _, err := e.rename(e.home, fmt.Sprint("b", i), a, "x"); errs <- err }()
			failed := 0
			for range 2 {
				if err := <-errs; err != nil {
					e.want(err, fs.Loop, fs.NotExist)
					failed++
				}
			}
			eq(e, "renames that failed", failed, 1)
		}
	}},
	{"links_count", func(e *env) {
		f := e.file(e.home, "f", "")
		const workers, each = 6, 15
		errs := make(chan error, workers)
		for w := range workers {
			go func() {
				var err error
				for i := 0; i < each && err == nil; i++ {
					name := fmt.Sprintf("%d-%d", w, i)
					if _, err = e.Link(e.ctx, e.root, f, e.home, name); err == nil && i%3 == 0 {
						_, err = e.Remove(e.ctx, e.root, e.home, name, fs.RemoveAny)
					}
				}
				errs <- err
			}()
		}
		for range workers {
			e.must(<-errs)
		}
		eq(e, "links", e.attr(f).Links, 1+workers*each*2/3)
		eq(e, "names", len(e.names(e.home)), 1+workers*each*2/3)
	}},
}
