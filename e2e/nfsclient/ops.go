package nfsclient

import "context"

// do runs one NFS call; dec reads the results whatever the status was.
func (c *Conn) do(ctx context.Context, proc uint32, w *writer, dec func(r *reader, ok bool)) error {
	r, err := c.call(ctx, progNFS, proc, w.b)
	if err != nil {
		return err
	}
	st := Status(r.u32())
	if dec != nil {
		dec(r, st == 0)
	}
	if r.bad {
		return ErrGarbled
	}
	if st != 0 {
		return st
	}
	return nil
}

func fh(h Handle) *writer {
	w := &writer{}
	w.str(string(h))
	return w
}

func dirOp(dir Handle, name string) *writer {
	w := fh(dir)
	w.str(name)
	return w
}

// Unmount says that an export is not used any more (RFC 1813 §5.2.3).
func (c *Conn) Unmount(ctx context.Context, path string) error {
	w := &writer{}
	w.str(path)
	_, err := c.call(ctx, progMount, 3, w.b)
	return err
}

// Mount returns the root handle of an export (RFC 1813 §5.2.1). The connection
// must reach a port that serves MOUNT.
func (c *Conn) Mount(ctx context.Context, path string) (Handle, error) {
	w := &writer{}
	w.str(path)
	r, err := c.call(ctx, progMount, 1, w.b)
	if err != nil {
		return "", err
	}
	if st := Status(r.u32()); st != 0 {
		return "", st
	}
	h := Handle(r.opaque(64))
	if r.bad {
		return "", ErrGarbled
	}
	return h, nil
}

// Null pings the server (§3.3.0).
func (c *Conn) Null(ctx context.Context) error {
	_, err := c.call(ctx, progNFS, 0, nil)
	return err
}

// GetAttr is §3.3.1.
func (c *Conn) GetAttr(ctx context.Context, h Handle) (a *Attr, err error) {
	err = c.do(ctx, 1, fh(h), func(r *reader, ok bool) {
		if ok {
			a = r.attr()
		}
	})
	return a, err
}

// SetAttr is §3.3.2, without a guard.
func (c *Conn) SetAttr(ctx context.Context, h Handle, s SetAttr) (wcc WCC, err error) {
	w := fh(h)
	w.sattr(s)
	w.u32(0)
	err = c.do(ctx, 2, w, func(r *reader, _ bool) { wcc = r.wcc() })
	return wcc, err
}

// Lookup is §3.3.3.
func (c *Conn) Lookup(ctx context.Context, dir Handle, name string) (h Handle, a *Attr, err error) {
	err = c.do(ctx, 3, dirOp(dir, name), func(r *reader, ok bool) {
		if ok {
			h = Handle(r.opaque(64))
			a = r.postAttr()
		}
		r.postAttr()
	})
	return h, a, err
}

// Access is §3.3.4.
func (c *Conn) Access(ctx context.Context, h Handle, want uint32) (got uint32, err error) {
	w := fh(h)
	w.u32(want)
	err = c.do(ctx, 4, w, func(r *reader, ok bool) {
		r.postAttr()
		if ok {
			got = r.u32()
		}
	})
	return got, err
}

// ReadLink is §3.3.5.
func (c *Conn) ReadLink(ctx context.Context, h Handle) (target string, err error) {
	err = c.do(ctx, 5, fh(h), func(r *reader, ok bool) {
		r.postAttr()
		if ok {
			target = string(r.opaque(1 << 16))
		}
	})
	return target, err
}

// Read is §3.3.6.
func (c *Conn) Read(ctx context.Context, h Handle, off uint64, n uint32) (p []byte, eof bool, err error) {
	w := fh(h)
	w.u64(off)
	w.u32(n)
	err = c.do(ctx, 6, w, func(r *reader, ok bool) {
		r.postAttr()
		if ok {
			r.u32()
			eof = r.bool()
			p = r.opaque(int(n))
		}
	})
	return p, eof, err
}

// Written is the outcome of a WRITE.
type Written struct {
	WCC      WCC
	Count    uint32
	Stable   Stable
	Verifier Verifier
}

// Write is §3.3.7.
func (c *Conn) Write(ctx context.Context, h Handle, off uint64, p []byte, how Stable) (res Written, err error) {
	w := fh(h)
	w.u64(off)
	w.u32(uint32(len(p)))
	w.u32(uint32(how))
	w.opaque(p)
	err = c.do(ctx, 7, w, func(r *reader, ok bool) {
		res.WCC = r.wcc()
		if ok {
			res.Count, res.Stable, res.Verifier = r.u32(), Stable(r.u32()), r.verifier()
		}
	})
	return res, err
}

// created reads the common result of the creating procedures.
func (c *Conn) created(ctx context.Context, proc uint32, w *writer) (h Handle, a *Attr, err error) {
	err = c.do(ctx, proc, w, func(r *reader, ok bool) {
		if ok {
			if r.bool() {
				h = Handle(r.opaque(64))
			}
			a = r.postAttr()
		}
		r.wcc()
	})
	return h, a, err
}

// Create is §3.3.8, UNCHECKED or, if guarded, GUARDED.
func (c *Conn) Create(ctx context.Context, dir Handle, name string, s SetAttr, guarded bool) (Handle, *Attr, error) {
	w := dirOp(dir, name)
	if guarded {
		w.u32(1)
	} else {
		w.u32(0)
	}
	w.sattr(s)
	return c.created(ctx, 8, w)
}

// CreateExclusive is §3.3.8 with a verifier.
func (c *Conn) CreateExclusive(ctx context.Context, dir Handle, name string, v Verifier) (Handle, *Attr, error) {
	w := dirOp(dir, name)
	w.u32(2)
	w.fixed(v[:])
	return c.created(ctx, 8, w)
}

// Mkdir is §3.3.9.
func (c *Conn) Mkdir(ctx context.Context, dir Handle, name string, s SetAttr) (Handle, *Attr, error) {
	w := dirOp(dir, name)
	w.sattr(s)
	return c.created(ctx, 9, w)
}

// Symlink is §3.3.10.
func (c *Conn) Symlink(ctx context.Context, dir Handle, name, target string, s SetAttr) (Handle, *Attr, error) {
	w := dirOp(dir, name)
	w.sattr(s)
	w.str(target)
	return c.created(ctx, 10, w)
}

// Mknod is §3.3.11; major and minor count for devices only.
func (c *Conn) Mknod(ctx context.Context, dir Handle, name string, t Type, s SetAttr, major, minor uint32) (Handle, *Attr, error) {
	w := dirOp(dir, name)
	w.u32(uint32(t))
	if t == Block || t == Char || t == Socket || t == FIFO {
		w.sattr(s)
	}
	if t == Block || t == Char {
		w.u32(major)
		w.u32(minor)
	}
	return c.created(ctx, 11, w)
}

// Remove is §3.3.12.
func (c *Conn) Remove(ctx context.Context, dir Handle, name string) error {
	return c.do(ctx, 12, dirOp(dir, name), func(r *reader, _ bool) { r.wcc() })
}

// Rmdir is §3.3.13.
func (c *Conn) Rmdir(ctx context.Context, dir Handle, name string) error {
	return c.do(ctx, 13, dirOp(dir, name), func(r *reader, _ bool) { r.wcc() })
}

// Rename is §3.3.14.
func (c *Conn) Rename(ctx context.Context, from Handle, old string, to Handle, name string) error {
	w := dirOp(from, old)
	w.str(string(to))
	w.str(name)
	return c.do(ctx, 14, w, func(r *reader, _ bool) { r.wcc(); r.wcc() })
}

// Link is §3.3.15.
func (c *Conn) Link(ctx context.Context, h, dir Handle, name string) error {
	w := fh(h)
	w.str(string(dir))
	w.str(name)
	return c.do(ctx, 15, w, func(r *reader, _ bool) { r.postAttr(); r.wcc() })
}

// Page is one page of a directory.
type Page struct {
	Entries  []Entry
	Verifier Verifier
	EOF      bool
}

// ReadDir is §3.3.16.
func (c *Conn) ReadDir(ctx context.Context, dir Handle, cookie uint64, v Verifier, count uint32) (Page, error) {
	w := fh(dir)
	w.u64(cookie)
	w.fixed(v[:])
	w.u32(count)
	return c.page(ctx, 16, w, false)
}

// ReadDirPlus is §3.3.17.
func (c *Conn) ReadDirPlus(ctx context.Context, dir Handle, cookie uint64, v Verifier, dirCount, maxCount uint32) (Page, error) {
	w := fh(dir)
	w.u64(cookie)
	w.fixed(v[:])
	w.u32(dirCount)
	w.u32(maxCount)
	return c.page(ctx, 17, w, true)
}

func (c *Conn) page(ctx context.Context, proc uint32, w *writer, plus bool) (p Page, err error) {
	err = c.do(ctx, proc, w, func(r *reader, ok bool) {
		r.postAttr()
		if !ok {
			return
		}
		p.Verifier = r.verifier()
		for r.bool() && !r.bad {
			e := Entry{FileID: r.u64(), Name: string(r.opaque(1 << 12)), Cookie: r.u64()}
			if plus {
				e.Attr = r.postAttr()
				if r.bool() {
					e.Handle = Handle(r.opaque(64))
				}
			}
			p.Entries = append(p.Entries, e)
		}
		p.EOF = r.bool()
	})
	return p, err
}

// ReadDirAll reads a whole directory with READDIRPLUS.
func (c *Conn) ReadDirAll(ctx context.Context, dir Handle) ([]Entry, error) {
	var all []Entry
	var v Verifier
	var cookie uint64
	for {
		p, err := c.ReadDirPlus(ctx, dir, cookie, v, 8<<10, 64<<10)
		if err != nil {
			return all, err
		}
		all = append(all, p.Entries...)
		if p.EOF {
			return all, nil
		}
		if len(p.Entries) == 0 {
			return all, ErrGarbled // no progress and no end
		}
		v, cookie = p.Verifier, p.Entries[len(p.Entries)-1].Cookie
	}
}

// FSStat is the outcome of FSSTAT.
type FSStat struct {
	TotalBytes, FreeBytes, AvailBytes uint64
	TotalFiles, FreeFiles, AvailFiles uint64
}

// FSStat is §3.3.18.
func (c *Conn) FSStat(ctx context.Context, h Handle) (s FSStat, err error) {
	err = c.do(ctx, 18, fh(h), func(r *reader, ok bool) {
		r.postAttr()
		if ok {
			s = FSStat{r.u64(), r.u64(), r.u64(), r.u64(), r.u64(), r.u64()}
			r.u32()
		}
	})
	return s, err
}

// FSInfo is the part of FSINFO that tests use.
type FSInfo struct {
	ReadMax, ReadPref, WriteMax, WritePref, DirPref uint32
	MaxFileSize                                     uint64
	Properties                                      uint32
}

// FSInfo is §3.3.19.
func (c *Conn) FSInfo(ctx context.Context, h Handle) (s FSInfo, err error) {
	err = c.do(ctx, 19, fh(h), func(r *reader, ok bool) {
		r.postAttr()
		if !ok {
			return
		}
		s.ReadMax, s.ReadPref = r.u32(), r.u32()
		r.u32() // rtmult
		s.WriteMax, s.WritePref = r.u32(), r.u32()
		r.u32() // wtmult
		s.DirPref, s.MaxFileSize = r.u32(), r.u64()
		r.time() // time_delta
		s.Properties = r.u32()
	})
	return s, err
}

// PathConf is the outcome of PATHCONF.
type PathConf struct {
	LinkMax, NameMax                                          uint32
	NoTrunc, ChownRestricted, CaseInsensitive, CasePreserving bool
}

// PathConf is §3.3.20.
func (c *Conn) PathConf(ctx context.Context, h Handle) (s PathConf, err error) {
	err = c.do(ctx, 20, fh(h), func(r *reader, ok bool) {
		r.postAttr()
		if ok {
			s = PathConf{r.u32(), r.u32(), r.bool(), r.bool(), r.bool(), r.bool()}
		}
	})
	return s, err
}

// Commit is §3.3.21; a count of 0 means up to the end.
func (c *Conn) Commit(ctx context.Context, h Handle, off uint64, count uint32) (v Verifier, err error) {
	w := fh(h)
	w.u64(off)
	w.u32(count)
	err = c.do(ctx, 21, w, func(r *reader, ok bool) {
		r.wcc()
		if ok {
			v = r.verifier()
		}
	})
	return v, err
}
