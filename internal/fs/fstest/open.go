package fstest

import (
	"fmt"

	"manifold/internal/fs"
)

// opened is one open of name in the home directory.
func (e *env) opened(c *fs.Caller, name string, change func(o *fs.OpenSpec)) (fs.Handle, fs.OpenResult, error) {
	o := fs.OpenSpec{
		Dir: e.home, Name: name, Desired: fs.RightRead | fs.RightModify | fs.RightExtend, Share: fs.ShareAll, Disposition: fs.OpenExisting,
		Create: fs.CreateSpec{Type: fs.File}, Want: fs.AttrEverything,
	}
	if change != nil {
		change(&o)
	}
	return e.Open(e.ctx, c, &o)
}

func (e *env) mustOpen(c *fs.Caller, name string, change func(o *fs.OpenSpec)) fs.Handle {
	e.Helper()
	h, _, err := e.opened(c, name, change)
	e.must(err)
	return h
}

var openTests = []test{
	{"create_with_data", func(e *env) {
		d := e.mkdir(e.home, "d")
		_, err := e.SetQuota(e.ctx, d.ID, 100*kib, true, 0)
		e.must(err)
		suid := fs.ModeSetuid | 0o777
		data := pattern(7, 9000)
		r, err := e.Create(e.ctx, e.alice, d, "f", &fs.CreateSpec{Type: fs.File, Data: data, Set: fs.SetAttr{Mode: &suid}, Want: fs.AttrEverything})
		e.must(err)
		eq(e, "size", r.Attr.Size, uint64(len(data)))
		eq(e, "space", r.Attr.DataBytes, e.attr(r.Attr.Node).DataBytes)
		eq(e, "mode", e.attr(r.Attr.Node).Mode, fs.Mode(0o777))
		e.hasContent(r.Attr.Node, string(data))
		w := e.file(d, "written", "")
		e.write(w, 0, string(data))
		eq(e, "revision", e.attr(r.Attr.Node).DataRevision != 0, true)
		eq(e, "space as of a write", e.attr(r.Attr.Node).DataBytes, e.attr(w).DataBytes)
		e.exact("totals", d)
		// It is a file like any other.
		e.write(r.Attr.Node, 3, "xyz")
		e.hasContent(r.Attr.Node, string(data[:3])+"xyz"+string(data[6:]))
		_, err = e.Create(e.ctx, e.root, d, "f", &fs.CreateSpec{Type: fs.File, Disposition: fs.CreateUnchecked, Data: []byte("no")})
		e.must(err)
		_, err = e.Create(e.ctx, e.root, d, "f", &fs.CreateSpec{Type: fs.File, Data: []byte("no")})
		e.want(err, fs.Exist)
		eq(e, "size of what was there", e.lookup(d, "f").Size, uint64(len(data)))
		// What is too much, or no contents of a file.
		size := uint64(1)
		for _, spec := range []fs.CreateSpec{
			{Type: fs.File, Data: make([]byte, fs.MaxCreateData+1)},
			{Type: fs.File, Data: data, Set: fs.SetAttr{Size: &size}},
			{Type: fs.Directory, Data: data},
			{Type: fs.Symlink, Target: []byte("t"), Data: data},
		} {
			_, err := e.Create(e.ctx, e.root, d, "g", &spec)
			e.want(err, fs.Invalid)
			e.missing(d, "g")
		}
		q, err := e.Quota(e.ctx, d.ID)
		e.must(err)
		_, err = e.SetQuota(e.ctx, d.ID, q.Used+2*fs.BlockSize, false, 0)
		e.must(err)
		_, err = e.Create(e.ctx, e.root, d, "g", &fs.CreateSpec{Type: fs.File, Data: data})
		e.want(err, fs.QuotaExceeded)
		e.missing(d, "g")
		e.exact("totals after what was refused", d)
	}},
	{"open_creates_with_data", func(e *env) {
		made := func(o *fs.OpenSpec) { o.Disposition, o.Create.Data = fs.OpenOverwriteIf, []byte("data") }
		h, r, err := e.opened(e.alice, "f", made)
		e.must(err)
		eq(e, "action", r.Action, fs.OpenCreated)
		eq(e, "size", r.Attr.Size, uint64(4))
		_, err = h.Write(e.ctx, &fs.WriteRequest{Offset: 4, Data: []byte("more")})
		e.must(err)
		e.must(h.Close(e.ctx))
		e.hasContent(h.Node(), "datamore")
		h, r, err = e.opened(e.alice, "f", made)
		e.must(err)
		eq(e, "action", r.Action, fs.OpenOverwritten)
		e.must(h.Close(e.ctx))
		e.hasContent(h.Node(), "")
		_, _, err = e.opened(e.alice, "f", func(o *fs.OpenSpec) { o.Disposition, o.Create.Data = fs.OpenCreate, []byte("data") })
		e.want(err, fs.Exist)
		_, _, err = e.opened(e.alice, "g", func(o *fs.OpenSpec) { made(o); o.StreamName = "s" })
		e.want(err, fs.Invalid)
		e.missing(e.home, "g")
	}},
	{"dispositions", func(e *env) {
		const none = fs.Kind(255)
		for _, c := range []struct {
			d           fs.OpenDisposition
			there       fs.Kind
			thereAction fs.OpenAction
			content     string
			absent      fs.Kind
		}{
			{fs.OpenSupersede, none, fs.OpenSuperseded, "", none},
			{fs.OpenExisting, none, fs.OpenOpened, "data", fs.NotExist},
			{fs.OpenCreate, fs.Exist, 0, "data", none},
			{fs.OpenIf, none, fs.OpenOpened, "data", none},
			{fs.OpenOverwrite, none, fs.OpenOverwritten, "", fs.NotExist},
			{fs.OpenOverwriteIf, none, fs.OpenOverwritten, "", none},
		} {
			name := fmt.Sprint("f", c.d)
			f := e.file(e.home, name, "data")
			h, r, err := e.opened(e.root, name, func(o *fs.OpenSpec) { o.Disposition = c.d })
			if c.there != none {
				e.want(err, c.there)
			} else {
				e.must(err)
				eq(e, "action", r.Action, c.thereAction)
				eq(e, "node", h.Node(), f)
				eq(e, "attributes", r.Attr.Size, uint64(len(c.content)))
				e.must(h.Close(e.ctx))
			}
			e.hasContent(f, c.content)
			h, r, err = e.opened(e.root, "absent", func(o *fs.OpenSpec) { o.Disposition = c.d })
			if c.absent != none {
				e.want(err, c.absent)
				e.missing(e.home, "absent")
				continue
			}
			e.must(err)
			eq(e, "action", r.Action, fs.OpenCreated)
			eq(e, "node", h.Node(), e.lookup(e.home, "absent").Node)
			e.must(h.Close(e.ctx))
			_, err = e.Remove(e.ctx, e.root, e.home, "absent", fs.RemoveAny)
			e.must(err)
		}
	}},
	{"read_and_write", func(e *env) {
		f := e.file(e.home, "f", "data")
		h := e.mustOpen(e.root, "f", nil)
		eq(e, "node", h.Node(), f)
		_, err := h.Write(e.ctx, &fs.WriteRequest{Offset: 4, Data: []byte(" more")})
		e.must(err)
		buf := make([]byte, 20)
		r, err := h.Read(e.ctx, 0, buf)
		e.must(err)
		eq(e, "read", string(buf[:r.N]), "data more")
		eq(e, "end", r.EOF, true)
		a, err := h.GetAttr(e.ctx, fs.AttrSize)
		e.must(err)
		eq(e, "size", a.Size, 9)
		e.must(h.Flush(e.ctx))
		_, err = h.SetAttr(e.ctx, &fs.SetAttr{Size: ptr(uint64(2))})
		e.must(err)
		e.must(h.Close(e.ctx))
		e.hasContent(f, "da")
	}},
	{"rights", func(e *env) {
		e.fileAs(e.alice, e.home, "f", 0o640)
		_, _, err := e.opened(e.carol, "f", func(o *fs.OpenSpec) { o.Desired = fs.RightRead })
		e.want(err, fs.Access)
		h, r, err := e.opened(e.alice, "f", func(o *fs.OpenSpec) { o.Desired = fs.RightRead })
		e.must(err)
		eq(e, "granted", r.Granted, fs.RightRead)
		_, err = h.Write(e.ctx, &fs.WriteRequest{Data: []byte("x")})
		e.want(err, fs.Access)
		// What was granted holds after a chmod.
		e.chmod(h.Node(), 0)
		_, err = h.Read(e.ctx, 0, make([]byte, 1))
		e.must(err)
		e.must(h.Close(e.ctx))
		_, r, err = e.opened(e.root, "f", func(o *fs.OpenSpec) { o.Desired, o.MaximumAllowed = 0, true })
		e.must(err)
		if r.Granted&(fs.RightRead|fs.RightModify) != fs.RightRead|fs.RightModify {
			e.Fatalf("maximum allowed is %x", r.Granted)
		}
	}},
	{"creator_may_write_what_its_mode_forbids", func(e *env) {
		h, _, err := e.opened(e.alice, "f", func(o *fs.OpenSpec) {
			o.Disposition = fs.OpenCreate
			o.Create.Set.Mode = ptr(fs.Mode(0o444))
		})
		e.must(err)
		_, err = h.Write(e.ctx, &fs.WriteRequest{Data: []byte("x")})
		e.must(err)
		e.must(h.Close(e.ctx))
		_, _, err = e.opened(e.alice, "f", nil)
		e.want(err, fs.Access)
	}},
	{"share_modes", func(e *env) {
		e.file(e.home, "f", "")
		access := map[fs.Rights]fs.Share{fs.RightRead: fs.ShareRead, fs.RightModify: fs.ShareWrite, fs.RightDelete: fs.ShareDelete}
		for want1, needs1 := range access {
			for share1 := fs.Share(0); share1 <= fs.ShareAll; share1++ {
				h := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired, o.Share = want1, share1 })
				for want2, needs2 := range access {
					for share2 := fs.Share(0); share2 <= fs.ShareAll; share2++ {
						h2, _, err := e.opened(e.root, "f", func(o *fs.OpenSpec) { o.Desired, o.Share = want2, share2 })
						if share1&needs2 == 0 || share2&needs1 == 0 {
							e.want(err, fs.Sharing)
							continue
						}
						e.must(err)
						e.must(h2.Close(e.ctx))
					}
				}
				// Opens for attributes alone are in nobody's way.
				h2 := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired, o.Share = fs.RightReadAttr, 0 })
				e.must(h2.Close(e.ctx))
				e.must(h.Close(e.ctx))
			}
		}
	}},
	{"share_modes_of_other_spaces_bind_if_strict", func(e *env) {
		f := e.file(e.home, "f", "data")
		buf := make([]byte, 4)
		both := func(o *fs.OpenSpec) { o.Share = 0 }
		for _, strict := range []bool{false, true, false} {
			e.SetStrict(strict)
			h := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Share, o.Space = 0, fs.LockSMB })
			_, err := e.Read(e.ctx, e.root, f, &fs.ReadRequest{}, buf)
			_, err2 := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Data: buf})
			_, err3 := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(4))})
			h2, _, err4 := e.opened(e.root, "f", both)
			for _, err := range []error{err, err2, err3, err4} {
				if strict {
					e.want(err, fs.Sharing)
				} else {
					e.must(err)
				}
			}
			// SMB asks with its opens, never against itself.
			smb := *e.root
			smb.Protocol = fs.ProtoSMB
			_, err = e.Zero(e.ctx, &smb, f, 0, 0, 4)
			e.must(err)
			// Its own space is bound whatever is set.
			_, _, err = e.opened(e.root, "f", func(o *fs.OpenSpec) { o.Space = fs.LockSMB })
			e.want(err, fs.Sharing)
			if h2 != nil {
				e.must(h2.Close(e.ctx))
			}
			e.must(h.Close(e.ctx))
		}
	}},
	{"byte_ranges_of_other_spaces_bind_if_strict", func(e *env) {
		f := e.file(e.home, "f", "data")
		buf := make([]byte, 4)
		posix := &fs.LockRequest{Node: f, Owner: fs.LockOwner{Client: "nfs"}, Range: fs.LockRange{Length: 2}, Exclusive: true}
		for _, strict := range []bool{false, true, false} {
			e.SetStrict(strict)
			expect := func(err error) {
				e.Helper()
				if strict {
					e.want(err, fs.LockConflict)
				} else {
					e.must(err)
				}
			}
			h := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Space = fs.LockSMB })
			smb := &fs.LockRequest{Node: f, Space: fs.LockSMB, Handle: h.ID(), Range: fs.LockRange{Length: 2}, Exclusive: true}
			_, err := e.Lock(e.ctx, e.root, smb)
			e.must(err)
			_, err = e.Lock(e.ctx, e.root, posix)
			expect(err)
			_, err = e.Read(e.ctx, e.root, f, &fs.ReadRequest{}, buf)
			expect(err)
			_, err = e.Write(e.ctx, e.root, f, &fs.WriteRequest{Data: buf})
			expect(err)
			// An open of the other space is no better than a caller without one.
			h2 := e.mustOpen(e.root, "f", nil)
			_, err = h2.Write(e.ctx, &fs.WriteRequest{Data: buf})
			expect(err)
			e.must(h2.Close(e.ctx))
			h3 := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Space = fs.LockSMB })
			_, err = h3.Write(e.ctx, &fs.WriteRequest{Data: buf})
			e.want(err, fs.LockConflict)
			e.must(h3.Close(e.ctx))
			e.must(h.Close(e.ctx))
			_, err = e.ReleaseClient(e.ctx, "nfs")
			e.must(err)
			// The other way round.
			_, err = e.Lock(e.ctx, e.root, posix)
			e.must(err)
			h = e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Space = fs.LockSMB })
			smb.Handle = h.ID()
			_, err = e.Lock(e.ctx, e.root, smb)
			expect(err)
			e.must(h.Close(e.ctx))
			_, err = e.ReleaseClient(e.ctx, "nfs")
			e.must(err)
		}
	}},
	{"share_modes_bind_callers_without_opens", func(e *env) {
		f := e.file(e.home, "f", "data")
		buf := make([]byte, 4)
		read := func() error {
			_, err := e.Read(e.ctx, e.root, f, &fs.ReadRequest{}, buf)
			return err
		}
		write := func() error {
			_, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Data: buf})
			return err
		}
		h := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired, o.Share = fs.RightRead, fs.ShareRead })
		e.must(read())
		e.want(write(), fs.Sharing)
		_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(0))})
		e.want(err, fs.Sharing)
		e.must(h.Close(e.ctx))
		e.must(write())
		h = e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Share = 0 })
		e.want(read(), fs.Sharing)
		_, err = h.Read(e.ctx, 0, buf)
		e.must(err)
		_, err = h.Write(e.ctx, &fs.WriteRequest{Data: buf})
		e.must(err)
		e.must(h.Close(e.ctx))
		e.must(read())
	}},
	{"refused_open_changes_nothing", func(e *env) {
		f := e.file(e.home, "f", "data")
		h := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired, o.Share = fs.RightRead, fs.ShareRead })
		before := e.attr(f)
		_, _, err := e.opened(e.root, "f", func(o *fs.OpenSpec) { o.Disposition = fs.OpenOverwrite })
		e.want(err, fs.Sharing)
		e.same("file", before, e.attr(f))
		e.hasContent(f, "data")
		e.must(h.Close(e.ctx))
	}},
	{"refused_open_makes_nothing", func(e *env) {
		for _, c := range []struct {
			want   fs.Kind
			change func(o *fs.OpenSpec)
		}{
			{fs.NotDir, func(o *fs.OpenSpec) { o.MustBeDir = true }},
			{fs.IsDir, func(o *fs.OpenSpec) { o.MustNotBeDir, o.Create.Type = true, fs.Directory }},
			{fs.Access, func(o *fs.OpenSpec) { o.DeleteOnClose = true }},
			{fs.Invalid, func(o *fs.OpenSpec) { o.Create.Type = fs.FIFO }},
			{fs.NameInvalid, func(o *fs.OpenSpec) { o.StreamName = "a/b" }},
		} {
			_, _, err := e.opened(e.root, "new", func(o *fs.OpenSpec) { o.Disposition = fs.OpenIf; c.change(o) })
			e.want(err, c.want)
			e.missing(e.home, "new")
		}
	}},
	{"types", func(e *env) {
		e.file(e.home, "f", "")
		d := e.mkdir(e.home, "d")
		_, _, err := e.opened(e.root, "f", func(o *fs.OpenSpec) { o.MustBeDir = true })
		e.want(err, fs.NotDir)
		_, _, err = e.opened(e.root, "d", func(o *fs.OpenSpec) { o.MustNotBeDir = true })
		e.want(err, fs.IsDir)
		h := e.mustOpen(e.root, "d", func(o *fs.OpenSpec) { o.MustBeDir, o.Desired = true, fs.RightRead })
		eq(e, "node", h.Node(), d)
		e.must(h.Close(e.ctx))
		h = e.mustOpen(e.root, "", func(o *fs.OpenSpec) { o.Dir, o.Desired = d, fs.RightRead })
		eq(e, "node, by itself", h.Node(), d)
		e.must(h.Close(e.ctx))
		h, r, err := e.opened(e.root, "new", func(o *fs.OpenSpec) {
			o.Disposition, o.Create.Type, o.MustBeDir = fs.OpenIf, fs.Directory, true
		})
		e.must(err)
		eq(e, "type", r.Attr.Type, fs.Directory)
		e.must(h.Close(e.ctx))
	}},
	{"fold", func(e *env) {
		f := e.file(e.home, "Name", "")
		_, _, err := e.opened(e.root, "NAME", nil)
		e.want(err, fs.NotExist)
		h := e.mustOpen(e.root, "NAME", func(o *fs.OpenSpec) { o.FoldCase = true })
		eq(e, "node", h.Node(), f)
		e.must(h.Close(e.ctx))
	}},
	{"keeps_the_object", func(e *env) {
		f := e.file(e.home, "f", "data")
		h := e.mustOpen(e.root, "f", nil)
		_, err := e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveAny)
		e.must(err)
		e.missing(e.home, "f")
		buf := make([]byte, 10)
		r, err := h.Read(e.ctx, 0, buf)
		e.must(err)
		eq(e, "read", string(buf[:r.N]), "data")
		_, err = h.Write(e.ctx, &fs.WriteRequest{Data: []byte("DATA")})
		e.must(err)
		a, err := h.GetAttr(e.ctx, fs.AttrEverything)
		e.must(err)
		eq(e, "links", a.Links, 0)
		g := e.file(e.home, "f", "other")
		if g == f {
			e.Fatal("id used again")
		}
		e.must(h.Close(e.ctx))
		_, err = e.GetAttr(e.ctx, e.root, f, 0)
		e.want(err, fs.Stale)
		e.hasContent(g, "other")
	}},
	{"delete_on_close", func(e *env) {
		e.file(e.home, "f", "data")
		h := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired |= fs.RightDelete; o.DeleteOnClose = true })
		e.lookup(e.home, "f")
		e.must(h.Close(e.ctx))
		e.missing(e.home, "f")

		e.file(e.home, "f", "data")
		h = e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired |= fs.RightDelete })
		e.must(h.SetDeleteOnClose(e.ctx, true))
		e.must(h.SetDeleteOnClose(e.ctx, false))
		e.must(h.Close(e.ctx))
		e.lookup(e.home, "f")

		// The name goes when the last handle closes.
		h = e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired |= fs.RightDelete })
		h2 := e.mustOpen(e.root, "f", nil)
		e.must(h.SetDeleteOnClose(e.ctx, true))
		e.must(h.Close(e.ctx))
		e.lookup(e.home, "f")
		e.must(h2.Close(e.ctx))
		e.missing(e.home, "f")

		// A renamed object goes under its new name.
		e.file(e.home, "f", "data")
		h = e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired |= fs.RightDelete })
		e.must(h.SetDeleteOnClose(e.ctx, true))
		_, err := e.rename(e.home, "f", e.home, "g")
		e.must(err)
		e.must(h.Close(e.ctx))
		e.has(e.home)
	}},
	{"delete_on_close_waits_for_streams", func(e *env) {
		e.file(e.home, "f", "data")
		hs := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.StreamName, o.Disposition = "s", fs.OpenIf })
		h := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired = fs.RightDelete })
		e.must(h.SetDeleteOnClose(e.ctx, true))
		e.must(h.Close(e.ctx))
		e.lookup(e.home, "f")
		_, _, err := e.opened(e.root, "f", nil)
		e.want(err, fs.Sharing)
		_, err = hs.Write(e.ctx, &fs.WriteRequest{Data: []byte("x")})
		e.must(err)
		e.must(hs.Close(e.ctx))
		e.missing(e.home, "f")
	}},
	{"delete_on_close_errors", func(e *env) {
		e.fileAs(e.alice, e.home, "f", 0o666)
		h := e.mustOpen(e.alice, "f", nil)
		e.want(h.SetDeleteOnClose(e.ctx, true), fs.Access)
		e.must(h.Close(e.ctx))
		_, _, err := e.opened(e.alice, "f", func(o *fs.OpenSpec) { o.DeleteOnClose = true })
		e.want(err, fs.Access)
		d := e.mkdir(e.home, "d")
		e.file(d, "in", "")
		h = e.mustOpen(e.root, "d", func(o *fs.OpenSpec) { o.Desired = fs.RightDelete })
		e.want(h.SetDeleteOnClose(e.ctx, true), fs.NotEmpty)
		e.must(h.Close(e.ctx))
		e.lookup(e.home, "d")
	}},
	{"streams", func(e *env) {
		f := e.file(e.home, "f", "main")
		_, _, err := e.opened(e.root, "f", func(o *fs.OpenSpec) { o.StreamName = "s" })
		e.want(err, fs.NotExist)
		h, r, err := e.opened(e.root, "f", func(o *fs.OpenSpec) { o.StreamName = "s"; o.Disposition = fs.OpenIf })
		e.must(err)
		if r.Stream == 0 || h.Stream() != r.Stream {
			e.Fatalf("stream %d", r.Stream)
		}
		_, err = h.Write(e.ctx, &fs.WriteRequest{Data: []byte("stream")})
		e.must(err)
		// Share modes are the stream's own.
		h2 := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Share = 0 })
		e.must(h2.Close(e.ctx))
		e.must(h.Close(e.ctx))
		e.hasContent(f, "main")
		eq(e, "streams", e.streams(f), "s:6")
		h = e.mustOpen(e.root, "f", func(o *fs.OpenSpec) {
			o.StreamName, o.DeleteOnClose = "s", true
			o.Desired |= fs.RightDelete
		})
		e.must(h.Close(e.ctx))
		eq(e, "streams", e.streams(f), "")
		e.hasContent(f, "main")
	}},
	{"list", func(e *env) {
		f := e.file(e.home, "f", "")
		owner := fs.LockOwner{Client: "client", Owner: "owner"}
		h := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Owner = owner })
		g := e.file(e.home, "g", "")
		h2 := e.mustOpen(e.root, "g", nil)
		list := func(n fs.Node) (out []fs.OpenInfo) {
			e.must(e.Opens(e.ctx, n, func(o fs.OpenInfo) bool { out = append(out, o); return true }))
			return out
		}
		eq(e, "all", len(list(fs.Node{})), 2)
		eq(e, "of g", len(list(g)), 1)
		got := list(f)
		if len(got) != 1 || got[0].Handle != h.ID() || got[0].Owner != owner || got[0].Node != f {
			e.Fatalf("opens of f: %+v", got)
		}
		e.must(h.Close(e.ctx))
		e.must(h2.Close(e.ctx))
		eq(e, "all", len(list(fs.Node{})), 0)
	}},
	{"snapshots", func(e *env) {
		e.file(e.home, "f", "old")
		s := e.snapshot(e.home)
		e.write(e.lookup(e.home, "f").Node, 0, "new")
		_, _, err := e.opened(e.root, "f", func(o *fs.OpenSpec) { o.Dir = at(e.home, s) })
		e.want(err, fs.ReadOnly, fs.Access)
		h := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Dir, o.Desired = at(e.home, s), fs.RightRead })
		buf := make([]byte, 5)
		r, err := h.Read(e.ctx, 0, buf)
		e.must(err)
		eq(e, "read", string(buf[:r.N]), "old")
		e.must(h.Close(e.ctx))
	}},
}
