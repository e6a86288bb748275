package node

import (
	"context"
	"fmt"
	"io"
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

// audited is a file system on disk under an audit log that is sent to a server
// which takes everything.
type audited struct {
	fs  *audit.FS
	log *audit.Log
}

func newAudited(b *testing.B) *audited {
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
	return &audited{audit.Wrap(st.fs, a), a}
}

// BenchmarkAudit is what the audit log costs: of rounds that take turns with it
// on and off, the median of CPU and time of each, with all that is done for the
// records meanwhile.
func BenchmarkAudit(b *testing.B) {
	c := &fs.Caller{Cred: identity.POSIX(0, 0, nil), Protocol: fs.ProtoNFS3, Client: netip.MustParseAddrPort("10.0.0.1:800")}
	const size = 4096
	buf := make([]byte, size)
	for _, op := range []string{"create", "getattr", "write", "read"} {
		for _, format := range []audit.Format{audit.CSV, audit.JSON} {
			b.Run(op+"/"+string(format), func(b *testing.B) {
				ctx := b.Context()
				x := newAudited(b)
				made := 0
				var dir fs.Node
				create := func() fs.Node {
					if made%1000 == 0 {
						r, err := x.fs.Create(ctx, c, fs.Root, fmt.Sprint("directory", made), &fs.CreateSpec{Type: fs.Directory})
						if err != nil {
							b.Fatal(err)
						}
						dir = r.Attr.Node
					}
					made++
					r, err := x.fs.Create(ctx, c, dir, fmt.Sprint("file", made), &fs.CreateSpec{Type: fs.File})
					if err != nil {
						b.Fatal(err)
					}
					return r.Attr.Node
				}
				var files []fs.Node
				var large fs.Node
				if op == "read" || op == "write" {
					large = create()
					for i := range uint64(1024) {
						if _, err := x.fs.Write(ctx, c, large, &fs.WriteRequest{Offset: i * size, Data: buf}); err != nil {
							b.Fatal(err)
						}
					}
					if _, _, err := x.fs.Commit(ctx, c, large, 0, 0, 0); err != nil {
						b.Fatal(err)
					}
				}
				const ops = 4000
				i := uint64(0)
				round := func() {
					for range ops {
						i++
						var err error
						switch op {
						case "create":
							create()
						case "getattr":
							_, err = x.fs.GetAttr(ctx, c, files[i%ops], fs.AttrBasic)
						case "write":
							_, err = x.fs.Write(ctx, c, large, &fs.WriteRequest{Offset: i * 7 % 1024 * size, Data: buf})
						case "read":
							_, err = x.fs.Read(ctx, c, large, &fs.ReadRequest{Offset: i * 7 % 1024 * size}, buf)
						}
						if err != nil {
							b.Fatal(err)
						}
					}
				}
				var cpu, took [2][]time.Duration
				b.ResetTimer()
				for n := range 2 * max(b.N, 5) {
					on := n & 1
					x.log.Configure(audit.Config{Enabled: on == 1, Format: format})
					if on == 1 {
						waitSent(x.log)
					}
					b.StopTimer()
					if op == "getattr" { // of files that nobody looked at
						files = files[:0]
						for range ops {
							files = append(files, create())
						}
						if on == 1 {
							waitSent(x.log)
						}
					}
					b.StartTimer()
					start, used := time.Now(), cpuTime(b)
					round()
					took[on] = append(took[on], time.Since(start))
					if on == 1 {
						waitSent(x.log)
					}
					cpu[on] = append(cpu[on], cpuTime(b)-used)
				}
				median := func(d []time.Duration) float64 {
					slices.Sort(d)
					return float64(d[len(d)/2].Nanoseconds()) / ops / 1e3
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(median(cpu[0]), "off-cpu-us")
				b.ReportMetric(median(cpu[1]), "on-cpu-us")
				b.ReportMetric(median(took[0]), "off-us")
				b.ReportMetric(median(took[1]), "on-us")
				b.ReportMetric(100*(median(cpu[1])/median(cpu[0])-1), "cpu-%")
				b.ReportMetric(100*(median(took[1])/median(took[0])-1), "time-%")
			})
		}
	}
}

// waitSent until everything that was recorded has gone out.
func waitSent(l *audit.Log) {
	// Looked at now and then: to be told would cost what is measured.
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for s := l.Status(); s.State != audit.Connected || s.Sent < s.Last; s = l.Status() {
		<-t.C
	}
}
