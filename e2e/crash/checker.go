// Package crash checks that a file server keeps its promises over crashes: it
// makes load over NFSv3, remembers every acknowledged operation, and compares
// after each crash.
//
// Invariants: each worker owns its names, so what it believes is exact; it has
// one call outstanding, so at most one outcome per worker is unknown, and that
// one has to be found done or not done, never half done (writes excepted, whose
// bytes may be old or new). Bytes that were written UNSTABLE and not committed
// may be lost, nothing else may. The package must not know how the server
// crashes or is started.
package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"manifold/e2e/nfsclient"
)

// Dial connects to the server under test.
type Dial func(ctx context.Context) (*nfsclient.Conn, error)

// Checker is a set of workers and what they know.
type Checker struct {
	root    nfsclient.Handle
	workers []*worker
}

// New makes a checker below an export's root. The same seed gives the same
// operations to each worker, though not the same interleaving.
func New(root nfsclient.Handle, workers int, seed uint64) *Checker {
	c := &Checker{root: root}
	for i := range workers {
		c.workers = append(c.workers, &worker{
			name: fmt.Sprintf("w%d", i),
			rng:  rand.New(rand.NewPCG(seed, uint64(i))),
		})
	}
	return c
}

// Setup makes the workers' directories: one each, and one that all share.
func (c *Checker) Setup(ctx context.Context, conn *nfsclient.Conn) error {
	shared, attr, err := conn.Mkdir(ctx, c.root, "shared", nfsclient.SetAttr{})
	if err != nil {
		return err
	}
	for _, w := range c.workers {
		mode := uint32(0o755)
		h, a, err := conn.Mkdir(ctx, c.root, w.name, nfsclient.SetAttr{Mode: &mode})
		if err != nil {
			return err
		}
		if h == "" || a == nil || attr == nil {
			return errors.New("crash: a create without handle and attributes")
		}
		w.own = &node{typ: nfsclient.Dir, handle: h, fileid: a.FileID, names: map[string]*node{}}
		w.shared = &node{typ: nfsclient.Dir, handle: shared, fileid: attr.FileID, names: map[string]*node{}, prefix: w.name + "-"}
	}
	return nil
}

// Load runs all workers until stop is closed (finishing what is under way), ctx
// ends or the server goes away, and calls acked after each acknowledged
// operation. It returns what the server did wrong while it lived.
func (c *Checker) Load(ctx context.Context, dial Dial, stop <-chan struct{}, acked func()) (findings []string) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, w := range c.workers {
		wg.Go(func() {
			conn, err := dial(ctx)
			if err != nil {
				return // killed before it began
			}
			defer conn.Close()
			for ctx.Err() == nil {
				select {
				case <-stop:
					return
				default:
				}
				err := w.step(ctx, conn)
				if err == nil {
					acked()
					continue
				}
				if f := (finding)(""); errors.As(err, &f) {
					mu.Lock()
					findings = append(findings, w.name+": "+string(f))
					mu.Unlock()
				}
				return
			}
		})
	}
	wg.Wait()
	return findings
}

// Verify compares the server with what every worker knows and returns the
// differences. Afterwards unknown outcomes are known.
func (c *Checker) Verify(ctx context.Context, dial Dial) (findings []string, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, w := range c.workers {
		wg.Go(func() {
			conn, e := dial(ctx)
			var found []string
			if e == nil {
				defer conn.Close()
				found, e = w.verify(ctx, conn)
			}
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, e)
			for _, f := range found {
				findings = append(findings, w.name+": "+f)
			}
		})
	}
	wg.Wait()
	return findings, err
}

// Nodes counts the names that the checker expects to find.
func (c *Checker) Nodes() (n int) {
	for _, w := range c.workers {
		count := func(string, string, *node, *node) { n++ }
		w.own.walk("", count)
		w.shared.walk("", count)
	}
	return n
}

// finding is a promise that the server broke.
type finding string

func (f finding) Error() string { return string(f) }

func findingf(format string, args ...any) error { return finding(fmt.Sprintf(format, args...)) }
