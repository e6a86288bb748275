package node

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"manifold/internal/control/audit"
	"manifold/internal/data/segment"
	"manifold/internal/fs"
	"manifold/internal/identity"
)

// cpuTime of this process, that of the kernel included.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// audited is a file system on disk, with and without an audit log, which is kept
// on disk or sent to a server that takes everything.
type audited struct {
	sides [2]fs.FS // without, with
	log   *audit.Log
	conf  audit.Config
}

func newAudited(b *testing.B, conf audit.Config) *audited {
	st, err := openStorage(b.Context(), storageOptions{dir: filepath.Join(b.TempDir(), "data"), create: true, segments: segment.Options{SegmentBytes: 64 << 20, ReserveBytes: -1}})
	if err != nil {
		b.Fatal(err)
	}
	if err := st.openFS(b.Context()); err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var taking sync.WaitGroup
	taking.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	})
	a, err := audit.Open(audit.Options{
		Dir: filepath.Join(b.TempDir(), "audit"), Names: func(id identity.AuthID) (string, string) { return principalNames(st.config, id) },
		Dial: func(ctx context.Context, address string, _ bool) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", l.Addr().String())
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	b.Cleanup(func() {
		stop()
		running.Wait()
		_ = l.Close()
		taking.Wait()
		if err := a.Close(); err != nil {
			b.Error(err)
		}
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	a.Configure(conf)
	return &audited{[2]fs.FS{st.fs, audit.Wrap(st.fs, a)}, a, conf}
}

// settle waits until everything that was recorded is where it is to go.
func (x *audited) settle() {
	// Looked at now and then: to be told would cost what is measured.
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		s := x.log.Status()
		if x.conf.Local && s.Kept == s.Last || x.conf.Enabled && s.Sent == s.Last && s.State == audit.Connected {
			return
		}
		<-t.C
	}
}

// BenchmarkAudit is what the audit log costs: rounds take turns without and with
// it, each with all that is done for its records meanwhile. Of CPU and time it
// reports what an operation takes without, and what the log adds to it, with the
// error of that.
func BenchmarkAudit(b *testing.B) {
	for _, op := range []string{"create", "remove", "getattr", "write", "read"} {
		for _, to := range []struct {
			name string
			conf audit.Config
		}{
			{"local", audit.Config{Local: true}},
			{"syslog", audit.Config{Enabled: true}},
			{"syslog-json", audit.Config{Enabled: true, Format: audit.JSON}},
		} {
			b.Run(op+"/"+to.name, func(b *testing.B) { benchmarkAudit(b, op, to.conf) })
		}
	}
}

func benchmarkAudit(b *testing.B, op string, conf audit.Config) {
	const (
		ops  = 4000
		size = 4096
	)
	ctx := b.Context()
	c := &fs.Caller{Cred: identity.POSIX(0, 0, nil), Protocol: fs.ProtoNFS3, Client: netip.MustParseAddrPort("10.0.0.1:800")}
	buf := make([]byte, size)
	x := newAudited(b, conf)
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	make1 := func(f fs.FS, dir fs.Node, name string, t fs.Type) fs.Node {
		r, err := f.Create(ctx, c, dir, name, &fs.CreateSpec{Type: t})
		must(err)
		return r.Attr.Node
	}
	var names [ops]string
	for i := range names {
		names[i] = fmt.Sprintf("f%08d", i)
	}
	large := make1(x.sides[1], fs.Root, "large", fs.File)
	for i := range uint64(1024) {
		_, err := x.sides[1].Write(ctx, c, large, &fs.WriteRequest{Offset: i * size, Data: buf})
		must(err)
	}
	_, _, err := x.sides[1].Commit(ctx, c, large, 0, 0, 0)
	must(err)
	dirs := 0
	var files [ops]fs.Node
	round := func(f fs.FS, dir fs.Node) {
		for i := range uint64(ops) {
			var err error
			switch op {
			case "create":
				files[i] = make1(f, dir, names[i], fs.File)
			case "remove":
				_, err = f.Remove(ctx, c, dir, names[i], fs.RemoveFile)
			case "getattr":
				_, err = f.GetAttr(ctx, c, files[i], fs.AttrBasic)
			case "write":
				_, err = f.Write(ctx, c, large, &fs.WriteRequest{Offset: i * 7 % 1024 * size, Data: buf})
			case "read":
				_, err = f.Read(ctx, c, large, &fs.ReadRequest{Offset: i * 7 % 1024 * size}, buf)
			}
			must(err)
		}
	}
	var cpu, took [2]turns
	waited := 100 * time.Millisecond
	for n := range max(b.N, 4) * 2 {
		on := (n + n/2) & 1 // off on on off
		f := x.sides[on]
		dir := make1(x.sides[1], fs.Root, fmt.Sprint("directory", dirs), fs.Directory)
		dirs++
		if op == "remove" || op == "getattr" {
			for i := range files {
				files[i] = make1(x.sides[1], dir, names[i], fs.File)
			}
		}
		x.settle()
		start, used := time.Now(), cpuTime(b)
		round(f, dir)
		took[on].add(time.Since(start), ops)
		// What else is going on takes as much time from either, and so does looking.
		if on == 1 {
			from := time.Now()
			x.settle()
			waited = time.Since(from)
		} else {
			t := time.NewTicker(5 * time.Millisecond)
			for from := time.Now(); time.Since(from) < waited; <-t.C {
				_ = x.log.Status()
			}
			t.Stop()
		}
		cpu[on].add(cpuTime(b)-used, ops)
	}
	b.ReportMetric(0, "ns/op")
	for _, m := range []struct {
		name  string
		turns *[2]turns
	}{{"cpu", &cpu}, {"time", &took}} {
		off, offErr := m.turns[0].mean()
		on, onErr := m.turns[1].mean()
		b.ReportMetric(off, m.name+"-us")
		b.ReportMetric(on-off, m.name+"-added-us")
		b.ReportMetric(math.Hypot(offErr, onErr), m.name+"-err-us")
	}
}

// turns are what an operation took in microseconds, one for each turn.
type turns []float64

func (t *turns) add(d time.Duration, ops int) {
	*t = append(*t, float64(d.Nanoseconds())/float64(ops)/1e3)
}

// mean and its standard error, without the tenth at either end: those are what
// else the machine did.
func (t turns) mean() (mean, err float64) {
	slices.Sort(t)
	t = t[len(t)/10 : len(t)-len(t)/10]
	for _, v := range t {
		mean += v / float64(len(t))
	}
	sum := 0.0
	for _, v := range t {
		sum += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(sum) / float64(len(t))
}
