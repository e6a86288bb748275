package bench

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/nfsclient"
)

var (
	auditOps  = flag.Int("audit-ops", 20_000, "operations of a turn with or without the audit log")
	auditRows = flag.String("audit-rows", "", "what to measure of the audit log; empty: all")
)

// clockOf is what a process took so far, to the nanosecond: ticks of 10 ms
// would be most of what the audit log costs in a turn.
func clockOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	const scheduled = 2 // CPUCLOCK_SCHED of the kernel's posix-timers.h
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// auditRun is a server and clients that do one kind of operation at a time.
type auditRun struct {
	b     *testing.B
	s     *harness.Server
	rest  *harness.REST
	ops   int
	turn  int
	conns []*nfsclient.Conn
	root  nfsclient.Handle
	dir   nfsclient.Handle
	large nfsclient.Handle
	files []nfsclient.Handle
}

const (
	auditConns   = 4
	auditWorkers = 16
	auditBlock   = 4096
	auditBlocks  = 4096
	syslogPort   = 6514
	// auditRest is how long a turn goes on after its last operation, so that
	// all that is done for its records falls into it: the log is made durable
	// once a second.
	auditRest = 1300 * time.Millisecond
)

// each does something n times, with all connections.
func (r *auditRun) each(n int, op func(ctx context.Context, c *nfsclient.Conn, i int) error) time.Duration {
	r.b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for w := range auditWorkers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := op(r.b.Context(), r.conns[w%auditConns], i); err != nil {
					r.b.Errorf("operation %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if r.b.Failed() {
		r.b.FailNow()
	}
	return time.Since(start)
}

// user connects as one who has done nothing yet: what was looked at within the
// last minute by the same user leaves no record.
func (r *auditRun) user() {
	r.b.Helper()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = r.conns[:0]
	r.turn++
	for range auditConns {
		r.conns = append(r.conns, r.s.NFS(r.b, nfsclient.Cred{UID: uint32(1000 + r.turn)}))
	}
	if _, err := r.conns[0].Mount(r.b.Context(), "/"); err != nil {
		r.b.Fatal(err)
	}
}

func auditName(i int) string { return fmt.Sprintf("f%08d", i) }

// fill makes files.
func (r *auditRun) fill() {
	r.b.Helper()
	mode := uint32(0o666)
	r.each(r.ops, func(ctx context.Context, c *nfsclient.Conn, i int) (err error) {
		r.files[i], _, err = c.Create(ctx, r.dir, auditName(i), nfsclient.SetAttr{Mode: &mode}, false)
		return err
	})
}

func (r *auditRun) empty() {
	r.b.Helper()
	r.each(r.ops, func(ctx context.Context, c *nfsclient.Conn, i int) error { return c.Remove(ctx, r.dir, auditName(i)) })
}

// audited is one turn of an operation.
type audited struct{ cpu, took float64 } // µs of an operation

// do is one turn; what it needs is made, and what it made removed, out of it.
func (r *auditRun) do(op string, conf map[string]any) audited {
	r.b.Helper()
	r.rest.Must(r.b, "PUT", "/v1/audit/syslog/config", conf, nil)
	r.user()
	data := make([]byte, auditBlock)
	mode := uint32(0o666)
	if op == "remove" {
		r.fill()
	}
	<-time.After(auditRest) // what that left behind
	before := clockOf(r.b, r.s.Pid())
	took := r.each(r.ops, func(ctx context.Context, c *nfsclient.Conn, i int) (err error) {
		switch op {
		case "getattr":
			_, err = c.GetAttr(ctx, r.files[i])
		case "lookup":
			_, _, err = c.Lookup(ctx, r.dir, auditName(i))
		case "create":
			_, _, err = c.Create(ctx, r.dir, auditName(i), nfsclient.SetAttr{Mode: &mode}, false)
		case "remove":
			err = c.Remove(ctx, r.dir, auditName(i))
		case "read":
			_, _, err = c.Read(ctx, r.large, rand.Uint64N(auditBlocks)*auditBlock, auditBlock)
		case "first read":
			_, _, err = c.Read(ctx, r.files[i], 0, auditBlock)
		case "write":
			_, err = c.Write(ctx, r.large, rand.Uint64N(auditBlocks)*auditBlock, data, nfsclient.Unstable)
		}
		return err
	})
	<-time.After(auditRest)
	t := audited{float64((clockOf(r.b, r.s.Pid()) - before).Nanoseconds()) / float64(r.ops) / 1e3, float64(took.Nanoseconds()) / float64(r.ops) / 1e3}
	if op == "create" {
		r.empty()
	}
	return t
}

// BenchmarkAudit is what the audit log costs the server's process by operation
// of NFSv3: turns without it and with it alternate, each with all that is done
// for its records, and each pair gives one difference. The audited turns are kept
// in the local log or sent to a syslog server that takes everything.
func BenchmarkAudit(b *testing.B) {
	ops := []string{"getattr", "lookup", "read", "first read", "write", "create", "remove"}
	if *auditRows != "" {
		ops = strings.Split(*auditRows, ",")
	}
	for _, to := range []string{"local", "syslog"} {
		b.Run(to, func(b *testing.B) { benchmarkAudit(b, to, ops) })
	}
}

func benchmarkAudit(b *testing.B, to string, ops []string) {
	s := harness.StartServer(b)
	off := map[string]any{"enabled": false, "server_address": "", "server_port": syslogPort, "local_enabled": false}
	on := map[string]any{"enabled": false, "server_address": "", "server_port": syslogPort, "local_enabled": true}
	if to == "syslog" {
		l, err := s.Net.Listen("tcp", fmt.Sprintf("%s:%d", netns.Server, syslogPort))
		if err != nil {
			b.Fatal(err)
		}
		var taking sync.WaitGroup
		defer taking.Wait()
		defer l.Close()
		taking.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				taking.Go(func() {
					_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
					_ = c.Close()
				})
			}
		})
		on = map[string]any{"enabled": true, "server_address": netns.Server, "server_port": syslogPort, "local_enabled": false}
	}
	r := &auditRun{b: b, s: s, rest: s.Login(b), ops: *auditOps, files: make([]nfsclient.Handle, *auditOps)}
	r.user()
	c := s.NFS(b, nfsclient.Cred{})
	ctx, all := b.Context(), uint32(0o777)
	var err error
	if r.root, err = c.Mount(ctx, "/"); err != nil {
		b.Fatal(err)
	}
	made := func(name string) nfsclient.Handle {
		h, _, err := c.Mkdir(ctx, r.root, name, nfsclient.SetAttr{Mode: &all})
		if err != nil {
			b.Fatal(err)
		}
		return h
	}
	few, many := made("few"), made("many")
	if r.large, _, err = c.Create(ctx, few, "large", nfsclient.SetAttr{Mode: &all}, false); err != nil {
		b.Fatal(err)
	}
	for i := range uint64(auditBlocks * auditBlock / (1 << 20)) {
		if _, err := c.Write(ctx, r.large, i<<20, make([]byte, 1<<20), nfsclient.FileSync); err != nil {
			b.Fatal(err)
		}
	}
	r.dir = many
	r.fill()
	r.each(r.ops, func(ctx context.Context, c *nfsclient.Conn, i int) error {
		_, err := c.Write(ctx, r.files[i], 0, make([]byte, auditBlock), nfsclient.Unstable)
		return err
	})
	var table strings.Builder
	for _, op := range ops {
		r.dir = many
		if op == "create" || op == "remove" {
			r.dir = few
		}
		var base, cpu, took, diff, rate []float64
		for n := range *rounds {
			var got [2]audited
			for i := range 2 {
				side := (i + n) & 1
				got[side] = r.do(op, []map[string]any{off, on}[side])
			}
			base, took = append(base, got[0].cpu), append(took, got[0].took)
			cpu = append(cpu, got[1].cpu)
			diff = append(diff, got[1].cpu-got[0].cpu)
			rate = append(rate, got[1].took/got[0].took*100-100)
		}
		of := func(v []float64) (median, low, high float64) {
			slices.Sort(v)
			return v[len(v)/2], v[len(v)/4], v[len(v)*3/4]
		}
		// What else the machine does only adds, so the lower quartiles tell most.
		_, without, _ := of(base)
		_, with, _ := of(cpu)
		d, dl, dh := of(diff)
		t, _, _ := of(took)
		f, fl, fh := of(rate)
		fmt.Fprintf(&table, "| %s | %.2f | %.2f | %+.1f | %+.2f (%+.2f to %+.2f) | %.0f | %+.1f (%+.1f to %+.1f) |\n", op, without, with, (with/without-1)*100, d, dl, dh, 1e6/t, f, fl, fh)
		b.Logf("%s: without %.1f, with %.1f, differences %.2f", op, base, cpu, diff)
	}
	b.Logf("\n%d operations a turn, %d rounds, %s\n| | without, µs, lower quartile | with | %% | difference of a pair, median (quartiles) | operations/s without | time with, %%, median (quartiles) |\n|---|---|---|---|---|---|---|\n%s", r.ops, *rounds, to, table.String())
}
