package bench

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	smb2 "github.com/oiweiwei/go-smb2.fork"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/nfsclient"
)

var (
	nfsIdle   = flag.Int("nfs-idle", 8000, "idle connections of NFS")
	nfsActive = flag.Int("nfs-active", 500, "active ones")
	smbIdle   = flag.Int("smb-idle", 5000, "idle sessions of SMB")
	smbActive = flag.Int("smb-active", 200, "active ones")
	loadFor   = flag.Duration("load", 10*time.Second, "length of each load")
)

// fromEach is how many connections come from one address; the server allows
// more from none.
const fromEach = 1500

// connect opens connections from to to-1 over the namespace's loopback, which
// come from several clients.
func connect(b *testing.B, n *netns.Namespace, port, from, to int) []net.Conn {
	b.Helper()
	all := make([]net.Conn, 0, to-from)
	b.Cleanup(func() {
		for _, c := range all {
			c.Close()
		}
	})
	err := n.Do(func() error {
		for i := from; i < to; i++ {
			d := net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/fromEach))}}
			c, err := d.DialContext(b.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				return fmt.Errorf("after %d connections: %w", len(all), err)
			}
			all = append(all, c)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return all
}

// forEach runs fn for 0 to n-1, a few at a time.
func forEach(b *testing.B, n int, fn func(i int) error) {
	b.Helper()
	var wg sync.WaitGroup
	next := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range next {
				if err := fn(i); err != nil {
					b.Errorf("client %d: %v", i, err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// crowd is a server with its clients and what was measured.
type crowd struct {
	b     *testing.B
	s     *harness.Server
	rows  strings.Builder
	start uint64 // resident
}

func (c *crowd) resident() uint64 {
	c.b.Helper()
	u, err := harness.UsageOf(c.s.Pid())
	if err != nil {
		c.b.Fatal(err)
	}
	return u.ResidentBytes
}

// load lets n clients work for a while, each as fast as it can or, with an
// interval, that often; then what an operation waits for its turn counts as well.
func (c *crowd) load(what string, n int, interval time.Duration, op func(ctx context.Context, client int, r *rand.Rand) error) {
	c.b.Helper()
	before, err := harness.UsageOf(c.s.Pid())
	if err != nil {
		c.b.Fatal(err)
	}
	var (
		mu    sync.Mutex
		all   []time.Duration
		wg    sync.WaitGroup
		start = time.Now()
		end   = start.Add(*loadFor)
	)
	for i := range n {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			var mine []time.Duration
			turn := time.NewTimer(time.Hour)
			defer turn.Stop()
			due := start
			if interval > 0 {
				due = start.Add(time.Duration(r.Int64N(int64(interval))))
			}
			for due.Before(end) {
				if wait := time.Until(due); wait > 0 {
					turn.Reset(wait)
					<-turn.C
				}
				if err := op(c.b.Context(), i, r); err != nil {
					c.b.Errorf("client %d: %v", i, err)
					return
				}
				now := time.Now()
				mine = append(mine, now.Sub(due))
				if due = due.Add(interval); interval == 0 {
					due = now
				}
			}
			mu.Lock()
			all = append(all, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	took := time.Since(start)
	after, err := harness.UsageOf(c.s.Pid())
	if err != nil || len(all) == 0 || c.b.Failed() {
		c.b.Fatalf("%d operations, %v", len(all), err)
	}
	slices.Sort(all)
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 }
	fmt.Fprintf(&c.rows, "| %s | %.0f | %.2f | %.2f | %.0f | %d |\n", what, float64(len(all))/took.Seconds(), ms(all[len(all)/2]), ms(all[len(all)*99/100]),
		float64((after.CPU-before.CPU).Microseconds())/float64(len(all)), after.ResidentBytes>>20)
}

// idle notes what n clients that do nothing take.
func (c *crowd) idle(n int, most uint64) {
	c.b.Helper()
	now := c.resident()
	per := (now - min(now, c.start)) / uint64(max(n, 1))
	fmt.Fprintf(&c.rows, "| %d idle, %.1f KiB resident each | - | - | - | - | %d |\n", n, float64(per)/1024, now>>20)
	if per > most {
		c.b.Errorf("an idle one takes %d bytes, more than %d", per, most)
	}
}

func (c *crowd) report() {
	fmt.Printf("\nat first %d MiB resident\n\n| clients | op/s | p50 ms | p99 ms | server CPU µs | resident MiB |\n|---|---|---|---|---|---|\n%s", c.start>>20, c.rows.String())
}

// BenchmarkManyConnections holds thousands of connections of which hundreds work:
// GETATTR, LOOKUP, READ of 4 KiB and, of one in ten, a stable WRITE of 4 KiB.
func BenchmarkManyConnections(b *testing.B) {
	c := &crowd{b: b, s: harness.StartServer(b)}
	first := c.s.NFS(b, nfsclient.Cred{})
	root, err := first.Mount(b.Context(), "/")
	if err != nil {
		b.Fatal(err)
	}
	block := bytes.Repeat([]byte("0123456789abcdef"), 4096/16)
	files := make([]nfsclient.Handle, *nfsActive)
	for i := range files {
		if files[i], _, err = first.Create(b.Context(), root, fmt.Sprintf("f%d", i), nfsclient.SetAttr{}, false); err == nil {
			_, err = first.Write(b.Context(), files[i], 0, block, nfsclient.FileSync)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	come := func(n int) []*nfsclient.Conn {
		conns := make([]*nfsclient.Conn, n)
		for i, nc := range connect(b, c.s.Net, 2049, 0, n) {
			conns[i] = nfsclient.NewConn(nc, nfsclient.Cred{})
		}
		forEach(b, n, func(i int) error { _, err := conns[i].GetAttr(b.Context(), root); return err })
		return conns
	}
	active := come(*nfsActive)
	op := func(ctx context.Context, i int, r *rand.Rand) (err error) {
		switch n := r.IntN(10); {
		case n < 4:
			_, err = active[i].GetAttr(ctx, files[r.IntN(len(files))])
		case n < 7:
			_, _, err = active[i].Lookup(ctx, root, fmt.Sprintf("f%d", r.IntN(len(files))))
		case n < 9:
			var got []byte
			if got, _, err = active[i].Read(ctx, files[r.IntN(len(files))], 0, 4096); err == nil && !bytes.Equal(got, block) {
				err = fmt.Errorf("%d wrong bytes", len(got))
			}
		default:
			_, err = active[i].Write(ctx, files[i], 0, block, nfsclient.FileSync)
		}
		return err
	}
	paced := time.Duration(*nfsActive) * time.Second / 4000
	c.load(fmt.Sprintf("%d as fast as they can, no others", *nfsActive), *nfsActive, 0, op)
	c.load(fmt.Sprintf("%d with 4,000 op/s together, no others", *nfsActive), *nfsActive, paced, op)
	c.start = c.resident()
	idle := come(*nfsIdle)
	c.idle(len(idle), 32<<10)
	c.load(fmt.Sprintf("%d as fast as they can", *nfsActive), *nfsActive, 0, op)
	c.load(fmt.Sprintf("%d with 4,000 op/s together", *nfsActive), *nfsActive, paced, op)
	forEach(b, len(idle), func(i int) error { return idle[i].Null(b.Context()) }) // all are still served
	c.idle(len(idle), 32<<10)
	c.report()
}

// BenchmarkManySessions holds thousands of sessions, each with a connection and a tree
// and logged in by NTLM, of which some work: open, read of 4 KiB, attributes, close.
func BenchmarkManySessions(b *testing.B) {
	c := &crowd{b: b, s: harness.StartServer(b)}
	come := func(n int) []*smb2.Share {
		const most = 200 // no more of one client may be about to log in
		shares := make([]*smb2.Share, n)
		for from := 0; from < n; from += most {
			conns := connect(b, c.s.Net, 445, from, min(from+most, n))
			forEach(b, len(conns), func(i int) error {
				d := smb2.Dialer{Initiator: &smb2.NTLMInitiator{User: "admin", Password: harness.Password}}
				s, err := d.DialContext(b.Context(), conns[i])
				if err == nil {
					shares[from+i], err = s.Mount(`\\127.0.0.1\Files`)
				}
				return err
			})
		}
		return shares
	}
	active := come(*smbActive)
	block := bytes.Repeat([]byte("0123456789abcdef"), 4096/16)
	forEach(b, len(active), func(i int) error { return active[i].WriteFile(fmt.Sprintf("f%d", i), block, 0o644) })
	op := func(_ context.Context, i int, r *rand.Rand) error {
		f, err := active[i].Open(fmt.Sprintf("f%d", r.IntN(len(active))))
		if err != nil {
			return err
		}
		defer f.Close()
		got := make([]byte, len(block))
		if n, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got[:n], block) {
			return fmt.Errorf("%d bytes, %w", n, err)
		}
		if _, err := f.Stat(); err != nil {
			return err
		}
		return f.Close()
	}
	paced := time.Duration(*smbActive) * time.Second / 400
	c.load(fmt.Sprintf("%d as fast as they can, no others", *smbActive), *smbActive, 0, op)
	c.load(fmt.Sprintf("%d with 400 rounds/s together, no others", *smbActive), *smbActive, paced, op)
	c.start = c.resident()
	idle := come(*smbIdle)
	c.idle(len(idle), 100<<10)
	c.load(fmt.Sprintf("%d as fast as they can", *smbActive), *smbActive, 0, op)
	c.load(fmt.Sprintf("%d with 400 rounds/s together", *smbActive), *smbActive, paced, op)
	forEach(b, len(idle), func(i int) error { _, err := idle[i].Stat("f0"); return err }) // all are still served
	c.idle(len(idle), 100<<10)
	c.report()
}
