package nfs3

import (
	"context"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/wire/sunrpc"
	"manifold/internal/wire/wiretest"
)

// instant is a file system that answers at once, so that what is measured is
// this room's.
type instant struct {
	fs.FS
	attr fs.Attr
}

func (f *instant) GetAttr(context.Context, *fs.Caller, fs.Node, fs.AttrMask) (fs.Attr, error) {
	return f.attr, nil
}

func (f *instant) Lookup(context.Context, *fs.Caller, fs.Node, fs.Name, fs.AttrMask) (fs.Attr, error) {
	return f.attr, nil
}

func (f *instant) Read(_ context.Context, _ *fs.Caller, _ fs.Node, _ *fs.ReadRequest, dst []byte) (fs.ReadResult, error) {
	return fs.ReadResult{N: len(dst), Attr: f.attr}, nil
}

func (f *instant) Write(_ context.Context, _ *fs.Caller, _ fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	return fs.WriteResult{Count: len(w.Data), File: fs.Changed{Before: fs.Before{Set: true}, After: f.attr, Atomic: true}}, nil
}

func (f *instant) ReadDir(_ context.Context, _ *fs.Caller, _ fs.Node, after uint64, _ fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	d := fs.Dirent{Name: "a-usual-name.txt", Attr: f.attr}
	for i := range uint64(1000) {
		if d.Cookie = after + i + 1; !yield(&d) {
			return false, nil
		}
	}
	return true, nil
}

func newInstant() *instant {
	m := memfs.New(memfs.Options{})
	a, err := m.GetAttr(context.Background(), fs.SystemCaller(), fs.Root, fs.AttrBasic)
	if err != nil {
		panic(err)
	}
	return &instant{FS: m, attr: a}
}

// benchCalls are the arguments of calls that matter, by name.
func benchCalls(h []byte) map[string]struct {
	proc uint32
	args func(*sunrpc.Encoder)
} {
	type call = struct {
		proc uint32
		args func(*sunrpc.Encoder)
	}
	data := make([]byte, maxIO)
	read := func(n uint32) call {
		return call{procRead, func(e *sunrpc.Encoder) { e.Opaque(h); e.U64(0); e.U32(n) }}
	}
	write := func(n uint32) call {
		return call{procWrite, func(e *sunrpc.Encoder) { e.Opaque(h); e.U64(0); e.U32(n); e.U32(0); e.Opaque(data[:n]) }}
	}
	return map[string]call{
		"getattr": {procGetAttr, func(e *sunrpc.Encoder) { e.Opaque(h) }},
		"lookup":  {procLookup, func(e *sunrpc.Encoder) { e.Opaque(h); e.String("name") }},
		"readdirplus1000": {procReadDirPlus, func(e *sunrpc.Encoder) {
			e.Opaque(h)
			e.U64(2)
			e.U64(0)
			e.U32(1 << 20)
			e.U32(1 << 20)
		}},
		"read4k": read(4096), "read1M": read(maxIO), "write4k": write(4096), "write1M": write(maxIO),
	}
}

// BenchmarkHandler measures decoding, the caller, and encoding.
func BenchmarkHandler(b *testing.B) {
	s, h := offline(b)
	s.o.FS = newInstant()
	for name, x := range benchCalls(h) {
		b.Run(name, func(b *testing.B) {
			e := sunrpc.NewEncoder(100)
			x.args(&e)
			rec := sunrpc.NewBuf(e.Len())
			copy(rec.Bytes(), e.Bytes())
			session := &sunrpc.Session{}
			c := &sunrpc.Call{}
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				*c = sunrpc.Call{Prog: Program, Vers: 3, Proc: x.proc, Record: rec, Args: sunrpc.NewDecoder(rec.Bytes()),
					Session: session, Cred: sunrpc.Cred{Flavor: sunrpc.FlavorSys}, Start: time.Now()}
				c.Reply = sunrpc.NewEncoder(replySize(c) + 28)
				if a := s.handle(ctx, c); a != sunrpc.Success {
					b.Fatal(a)
				}
				c.Reply.Release()
			}
		})
	}
}

// BenchmarkLoopback measures whole calls over a TCP connection, 16 under way.
func BenchmarkLoopback(b *testing.B) {
	for name, x := range benchCalls(nil) {
		b.Run(name, func(b *testing.B) {
			s := start(b, func(o *Options) { o.FS = newInstant() })
			h := s.mount("/")
			call := benchCalls(h)[name]
			b.ReportAllocs()
			wiretest.Pipeline(b, s.addr, 16, func(e *sunrpc.Encoder) {
				sunrpc.EncodeCall(e, 1, Program, 3, x.proc, s.cred)
				call.args(e)
			})
		})
	}
}
