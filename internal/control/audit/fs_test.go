package audit

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/identity"
)

// wrapped is a fake under a log that nobody reads but the test.
type wrapped struct {
	*FS
	t   testing.TB
	ctx context.Context
	c   *fs.Caller
	l   *Log
	r   *reader
}

func wrap(t testing.TB, format Format) *wrapped {
	l, err := Open(Options{Dir: filepath.Join(t.TempDir(), "audit")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	l.Configure(Config{Local: true, Format: format})
	c := &fs.Caller{Cred: identity.POSIX(0, 0, nil), Protocol: fs.ProtoNFS3, Client: netip.MustParseAddrPort("10.0.0.1:800")}
	w := &wrapped{FS: Wrap(memfs.New(memfs.Options{}), l), t: t, ctx: t.Context(), c: c, l: l, r: l.spool.readFrom(1)}
	t.Cleanup(w.r.close)
	return w
}

// want fails unless these are the records since the last call, without user,
// address and protocol.
// read answers the next record, false if there is none.
func (w *wrapped) read() (entry, bool) {
	w.t.Helper()
	w.must(w.l.spool.file())
	return w.r.read()
}

func (w *wrapped) want(want ...string) {
	w.t.Helper()
	var got []string
	for {
		e, ok := w.read()
		if !ok {
			break
		}
		s, ok := strings.CutPrefix(string(e.text), `10.0.0.1,"0",nfsv3,`)
		if !ok {
			w.t.Errorf("%s", e.text)
		}
		got = append(got, s)
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("records:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (w *wrapped) create(dir fs.Node, name string, typ fs.Type) fs.Node {
	w.t.Helper()
	res, err := w.Create(w.ctx, w.c, dir, name, &fs.CreateSpec{Type: typ, Want: fs.AttrType, Target: []byte("/target")})
	if err != nil {
		w.t.Fatal(err)
	}
	return res.Attr.Node
}

func (w *wrapped) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestWrap_names(t *testing.T) {
	w := wrap(t, CSV)
	d := w.create(fs.Root, "d", fs.Directory)
	f := w.create(d, "f", fs.File)
	w.create(d, "s", fs.Symlink)
	w.create(d, "p", fs.FIFO)
	w.want(
		fmt.Sprintf(`fs_create_directory,ok,%d,"/d",""`, d.ID), fmt.Sprintf(`fs_create_file,ok,%d,"/d/f",""`, f.ID),
		fmt.Sprintf(`fs_create_symlink,ok,%d,"/d/s","/target"`, f.ID+1), fmt.Sprintf(`fs_create,ok,%d,"/d/p",""`, f.ID+2))
	write := func() {
		_, err := w.Write(w.ctx, w.c, f, &fs.WriteRequest{Data: []byte("hello")})
		w.must(err)
	}
	write()
	_, err := w.Rename(w.ctx, w.c, d, "f", fs.Root, "g", fs.RenameOptions{})
	w.must(err)
	write() // elsewhere by now
	_, err = w.Link(w.ctx, w.c, f, d, "h")
	w.must(err)
	_, err = w.Remove(w.ctx, w.c, fs.Root, "g", fs.RemoveAny)
	w.must(err)
	write()
	_, err = w.Rename(w.ctx, w.c, fs.Root, "d", fs.Root, "e", fs.RenameOptions{})
	w.must(err)
	write() // below what has moved
	_, err = w.Remove(w.ctx, w.c, fs.Root, "none", fs.RemoveAny)
	if err == nil {
		t.Fatal("removed")
	}
	_, err = w.StartTreeDelete(w.ctx, w.c, d.ID)
	w.must(err)
	line := func(s string, id fs.FileID) string { return strings.ReplaceAll(s, "ID", fmt.Sprint(id)) }
	w.want(
		line(`fs_write_data,ok,ID,"/d/f",""`, f.ID), line(`fs_rename,ok,ID,"/d/f","/g"`, f.ID), line(`fs_write_data,ok,ID,"/g",""`, f.ID),
		line(`fs_create_hard_link,ok,ID,"/d/h","/g"`, f.ID), line(`fs_delete,ok,ID,"/g",""`, f.ID), line(`fs_write_data,ok,ID,"/d/h",""`, f.ID),
		line(`fs_rename,ok,ID,"/d","/e"`, d.ID), line(`fs_write_data,ok,ID,"/e/h",""`, f.ID), `fs_delete,fs_no_such_entry,,"/none",""`,
		line(`fs_tree_delete,ok,ID,"/e",""`, d.ID))
}

// What a server does with rights of its own is recorded as done by whom it is for.
func TestWrap_onBehalf(t *testing.T) {
	w := wrap(t, CSV)
	c := &fs.Caller{Cred: identity.SystemCredential(), Protocol: w.c.Protocol, Client: w.c.Client, OnBehalf: w.c.Cred}
	n := w.file()
	mode := fs.Mode(0o700)
	_, err := w.SetAttr(w.ctx, c, n, &fs.SetAttr{Mode: &mode})
	w.must(err)
	w.want(fmt.Sprintf(`fs_write_metadata,ok,%d,"/f",""`, n.ID))
}

// A staged file is recorded once it has a name.
func TestWrap_stage(t *testing.T) {
	w := wrap(t, CSV)
	old := w.create(fs.Root, "f", fs.File)
	n, err := w.Stage(w.ctx, w.c, &fs.StageSpec{Dir: fs.Root})
	w.must(err)
	_, err = w.Write(w.ctx, w.c, n, &fs.WriteRequest{Data: []byte("hello")})
	w.must(err)
	_, err = w.SetMeta(w.ctx, w.c, n, fs.MetaS3, "k", nil, fs.MetaUpsert)
	w.must(err)
	_, err = w.Publish(w.ctx, w.c, n, fs.Root, "f", &fs.PublishSpec{Links: []fs.Entry{{Dir: fs.Root, Name: "g"}}})
	w.must(err)
	gone, err := w.Stage(w.ctx, w.c, &fs.StageSpec{Dir: fs.Root})
	w.must(err)
	w.must(w.Unstage(w.ctx, w.c, gone))
	w.want(
		fmt.Sprintf(`fs_create_file,ok,%d,"/f",""`, old.ID), fmt.Sprintf(`fs_delete,ok,%d,"/f",""`, old.ID),
		fmt.Sprintf(`fs_create_file,ok,%d,"/f",""`, n.ID), fmt.Sprintf(`fs_write_data,ok,%d,"/f",""`, n.ID),
		fmt.Sprintf(`fs_create_hard_link,ok,%d,"/g","/f"`, n.ID))
}

// What is staged while nothing is recorded costs nothing and is recorded by its
// name if that comes later; what has its name meanwhile is forgotten.
func TestWrap_stageOff(t *testing.T) {
	w := wrap(t, CSV)
	named, err := w.Stage(w.ctx, w.c, &fs.StageSpec{Dir: fs.Root})
	w.must(err)
	w.l.Configure(Config{})
	n, err := w.Stage(w.ctx, w.c, &fs.StageSpec{Dir: fs.Root})
	w.must(err)
	if w.staged.has(n) || !w.staged.has(named) {
		t.Error("the wrong file is remembered")
	}
	_, err = w.Publish(w.ctx, w.c, named, fs.Root, "f", &fs.PublishSpec{})
	w.must(err)
	if w.staged.count.Load() != 0 {
		t.Error("a file that has its name is remembered")
	}
	w.l.Configure(Config{Local: true})
	_, err = w.Publish(w.ctx, w.c, n, fs.Root, "g", &fs.PublishSpec{})
	w.must(err)
	w.want(fmt.Sprintf(`fs_create_file,ok,%d,"/g",""`, n.ID), fmt.Sprintf(`fs_write_data,ok,%d,"/g",""`, n.ID))
}

// What moves while nothing is recorded is known when it is again.
func TestWrap_off(t *testing.T) {
	w := wrap(t, CSV)
	d := w.create(fs.Root, "d", fs.Directory)
	w.l.Configure(Config{})
	_, err := w.Rename(w.ctx, w.c, fs.Root, "d", fs.Root, "e", fs.RenameOptions{})
	w.must(err)
	w.l.Configure(Config{Local: true})
	w.create(d, "f", fs.File)
	w.want(`fs_create_directory,ok,3,"/d",""`, `fs_create_file,ok,4,"/e/f",""`)
}

func TestWrap_folding(t *testing.T) {
	mode := fs.Mode(0o600)
	for _, format := range []Format{CSV, JSON} {
		w := wrap(t, format)
		f := w.create(fs.Root, "f", fs.File)
		buf := make([]byte, 5)
		other := *w.c
		other.Cred = identity.POSIX(1000, 1000, nil)
		for range 3 {
			_, err := w.Read(w.ctx, w.c, f, &fs.ReadRequest{}, buf)
			w.must(err)
			_, err = w.GetAttr(w.ctx, w.c, f, fs.AttrBasic)
			w.must(err)
			_, err = w.SetAttr(w.ctx, w.c, f, &fs.SetAttr{Mode: &mode})
			w.must(err)
			_, _ = w.Read(w.ctx, &other, f, &fs.ReadRequest{}, buf) // may fail, once
		}
		ops := map[string]int{}
		for {
			e, ok := w.read()
			if !ok {
				break
			}
			for _, op := range []string{"fs_read_data", "fs_read_metadata", "fs_write_metadata"} {
				if strings.Contains(string(e.text), op) {
					ops[op]++
				}
			}
		}
		writes := 1
		if format == JSON {
			writes = 3
		}
		if ops["fs_read_metadata"] != 1 || ops["fs_write_metadata"] != writes || ops["fs_read_data"] < 2 || ops["fs_read_data"] > 3 {
			t.Errorf("%s: %v", format, ops)
		}
	}
}

func TestWrap_handle(t *testing.T) {
	w := wrap(t, CSV)
	h, _, err := w.Open(w.ctx, w.c, &fs.OpenSpec{Dir: fs.Root, Name: "f", Desired: fs.RightRead | fs.RightModify | fs.RightDelete, Disposition: fs.OpenCreate, Share: fs.ShareAll, Create: fs.CreateSpec{Type: fs.File}})
	w.must(err)
	_, err = h.Write(w.ctx, &fs.WriteRequest{Data: []byte("hello")})
	w.must(err)
	over, _, err := w.Open(w.ctx, w.c, &fs.OpenSpec{Dir: fs.Root, Name: "f", Desired: fs.RightModify, Disposition: fs.OpenOverwrite, Share: fs.ShareAll})
	w.must(err)
	w.must(over.Close(w.ctx))
	if _, _, err := w.Open(w.ctx, w.c, &fs.OpenSpec{Dir: fs.Root, Name: "none", Desired: fs.RightModify, Share: fs.ShareAll, Disposition: fs.OpenExisting}); err == nil {
		t.Fatal("opened")
	}
	w.must(h.SetDeleteOnClose(w.ctx, true))
	w.must(h.Close(w.ctx))
	w.want(`fs_create_file,ok,3,"/f",""`, `fs_write_data,ok,3,"/f",""`, `fs_open,ok,3,"/f",""`, `fs_write_data,ok,3,"/f",""`,
		`fs_open,fs_no_such_entry,,"/none",""`, `fs_delete,ok,3,"/f",""`)
}

// Before and after of changes are shown where the format has them.
// A file that is made with contents was made and written.
func TestWrap_createWithData(t *testing.T) {
	w := wrap(t, CSV)
	spec := fs.CreateSpec{Type: fs.File, Data: []byte("data")}
	for range 2 { // the second finds the first
		spec.Disposition = fs.CreateUnchecked
		_, err := w.Create(w.ctx, w.c, fs.Root, "f", &spec)
		w.must(err)
	}
	for range 2 {
		h, _, err := w.Open(w.ctx, w.c, &fs.OpenSpec{Dir: fs.Root, Name: "g", Desired: fs.RightRead, Share: fs.ShareAll, Disposition: fs.OpenIf, Create: spec})
		w.must(err)
		w.must(h.Close(w.ctx))
	}
	w.want(`fs_create_file,ok,3,"/f",""`, `fs_write_data,ok,3,"/f",""`, `fs_create_file,ok,3,"/f",""`,
		`fs_create_file,ok,4,"/g",""`, `fs_write_data,ok,4,"/g",""`, `fs_open,ok,4,"/g",""`)
}

func TestWrap_attributes(t *testing.T) {
	w := wrap(t, JSON)
	f := w.create(fs.Root, "f", fs.File)
	mode := fs.Mode(0o604)
	_, err := w.SetAttr(w.ctx, w.c, f, &fs.SetAttr{Mode: &mode})
	w.must(err)
	got := stored(w.l.spool)
	last := got[len(got)-1]
	if !strings.Contains(last, `"before":{"ctime":"`) || !strings.Contains(last, `"mode":"0666"`) || !strings.Contains(last, `"mode":"0604"`) || !strings.Contains(last, `"owner":{"sid":"","auth_id":"`) {
		t.Error(last)
	}
}

// What recording costs on the data path.
func TestWrap_allocations(t *testing.T) {
	for _, format := range []Format{CSV, JSON} {
		w := wrap(t, format)
		n := fs.Node{ID: 7}
		w.FS.FS = still{w.FS.FS}
		buf := make([]byte, 16)
		write, read := &fs.WriteRequest{Data: buf}, &fs.ReadRequest{}
		for name, op := range map[string]func(){
			"write": func() { _, _ = w.Write(w.ctx, w.c, n, write) },
			"read":  func() { _, _ = w.Read(w.ctx, w.c, n, read, buf) },
			"attr":  func() { _, _ = w.GetAttr(w.ctx, w.c, n, fs.AttrBasic) },
		} {
			if got := testing.AllocsPerRun(1000, op); got > 0 {
				t.Errorf("%s, %s: %v allocations", format, name, got)
			}
		}
	}
}

// still does nothing, at once.
type still struct{ fs.FS }

func (still) Write(context.Context, *fs.Caller, fs.Node, *fs.WriteRequest) (r fs.WriteResult, err error) {
	return r, nil
}
func (still) Read(context.Context, *fs.Caller, fs.Node, *fs.ReadRequest, []byte) (r fs.ReadResult, err error) {
	return r, nil
}
func (still) GetAttr(context.Context, *fs.Caller, fs.Node, fs.AttrMask) (a fs.Attr, err error) {
	return fs.Attr{Mask: fs.AttrParent, Parent: fs.RootID, ParentName: "a file"}, nil
}
func (still) PathOf(context.Context, fs.Node) (string, error) { return "/some/directory/a file", nil }

// BenchmarkWrap is what the decorator adds to a call.
func BenchmarkWrap(b *testing.B) {
	for _, mode := range []struct {
		name string
		c    Config
	}{{"off", Config{}}, {"csv", Config{Local: true}}, {"json", Config{Local: true, Format: JSON}}} {
		for _, op := range []string{"write", "read"} {
			b.Run(mode.name+"/"+op, func(b *testing.B) {
				w := wrap(b, CSV)
				w.l.Configure(mode.c)
				w.FS.FS = still{w.FS.FS}
				buf := make([]byte, 16)
				write, read := &fs.WriteRequest{Data: buf}, &fs.ReadRequest{}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					n := fs.Node{ID: fs.FileID(3 + i&1023)}
					if op == "write" {
						_, _ = w.Write(w.ctx, w.c, n, write)
					} else {
						_, _ = w.Read(w.ctx, w.c, n, read, buf)
					}
					if i&0xffff == 0xffff { // as if it had been sent
						w.l.spool.sent(w.l.Status().Last, time.Now())
						_ = w.l.spool.sync()
						_ = w.l.spool.trim(w.l.Status().Last)
					}
				}
			})
		}
	}
}

// BenchmarkLog is what a record costs in all, with what is done with it after
// the call: microseconds of CPU, those of the kernel included.
func BenchmarkLog(b *testing.B) {
	for _, format := range []Format{CSV, JSON} {
		b.Run(string(format), func(b *testing.B) {
			l, err := Open(Options{Dir: filepath.Join(b.TempDir(), "audit")})
			if err != nil {
				b.Fatal(err)
			}
			l.Configure(Config{Local: true, Format: format})
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan struct{})
			go func() { defer close(done); l.Run(ctx) }()
			f := Wrap(still{memfs.New(memfs.Options{})}, l)
			c := &fs.Caller{Cred: identity.POSIX(0, 0, nil), Protocol: fs.ProtoNFS3, Client: netip.MustParseAddrPort("10.0.0.1:800")}
			write := &fs.WriteRequest{Data: make([]byte, 16)}
			before := cpu(b)
			n := 0
			for b.Loop() {
				_, _ = f.Write(b.Context(), c, fs.Node{ID: fs.FileID(3 + n&1023)}, write)
				if n++; n&1023 == 0 {
					for st := l.Status(); st.Last-l.local.Load() > 200_000 || st.Bytes > st.Limit/2; st = l.Status() {
						<-time.After(10 * time.Millisecond) // to spin would be most of what is counted
					}
				}
			}
			cancel()
			<-done
			b.ReportMetric(float64(cpu(b)-before)/float64(n)/1e3, "cpu-us/op")
			if st := l.Status(); st.Dropped > 0 {
				b.Errorf("%+v", st)
			}
			if err := l.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

// cpu is what the process took so far.
func cpu(tb testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
