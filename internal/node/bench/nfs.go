package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// NFSOptions shape a run over NFSv3. The zero value works except for Dial.
type NFSOptions struct {
	Options
	// Dial opens one connection to the NFS port, which serves MOUNT as well.
	Dial func(ctx context.Context) (net.Conn, error)
	// Export to mount; "" is "/".
	Export string
	// Bytes of the large file that each client writes and reads; 0 is 256 MiB
	// shared by all clients.
	Bytes int64
	// IOBytes of one read or write; 0 is 1 MiB.
	IOBytes int
	// Pair, if set, makes a TCP connection over loopback and answers both ends:
	// a cached read is then compared with a plain copy of a file in PlainDir.
	Pair     func(ctx context.Context) (from, to net.Conn, err error)
	PlainDir string
	// RandomOps reads and writes of 4 KiB; 0 is 20,000, or as many as the large
	// files have blocks if that is less.
	RandomOps int
}

// NFS runs the benchmark through NFSv3 connections, one for each client, into
// whatever Dial reaches. Processor time is that of this process: of both sides
// where the server is in it.
func NFS(ctx context.Context, o NFSOptions) (phases []Phase, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.setDefaults()
	if o.Export == "" {
		o.Export = "/"
	}
	if o.Bytes == 0 {
		o.Bytes = 256 << 20
	}
	if o.IOBytes == 0 {
		o.IOBytes = 1 << 20
	}
	if o.RandomOps == 0 {
		o.RandomOps = int(min(o.Bytes/4096, 20_000))
	}
	if o.IOBytes < 4096 || o.IOBytes > 1<<20 || o.IOBytes%4096 != 0 {
		return nil, errors.New("bench: a read or write moves 4 KiB to 1 MiB, a multiple of 4 KiB")
	}
	r := &nfsRun{o: o, top: fmt.Sprintf("bench-%016x", rand.Uint64())}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(ctx); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() {
		if !o.Keep {
			err = errors.Join(err, r.cleanUp(context.WithoutCancel(ctx)))
		}
	}()
	perClient := int(o.Bytes / int64(o.Clients) / int64(o.IOBytes))
	if perClient == 0 {
		perClient = 1
	}
	blocks := perClient * o.Clients
	total := int64(blocks) * int64(o.IOBytes)
	for _, s := range []struct {
		name  string
		count int
		bytes int64
		op    func(ctx context.Context, c *nfsConn, i int) error
	}{
		{"create", o.Files, 0, r.create},
		{"lookup", o.Files, 0, r.lookup},
		{"getattr", o.Files, 0, r.getattr},
		{"readdirplus", o.Clients, 0, r.readdirplus},
		{"write+commit", blocks, total, r.write},
		{"read", blocks, total, r.read},
		{"random read 4k", o.RandomOps, int64(o.RandomOps) * 4096, r.randomRead},
		{"random write 4k", o.RandomOps, int64(o.RandomOps) * 4096, r.randomWrite},
		{"remove", o.Files, 0, r.remove},
	} {
		if s.name == "remove" && o.Keep {
			continue
		}
		p, err := o.phase(ctx, s.name, s.count, func(ctx context.Context, i int) error {
			c := <-r.free
			defer func() { r.free <- c }()
			return s.op(ctx, c, i)
		})
		if err != nil {
			return phases, fmt.Errorf("bench: %s: %w", s.name, err)
		}
		if s.name == "readdirplus" {
			p.Ops = o.Files * o.Clients // an entry is what listing costs by
		}
		p.Bytes = s.bytes
		phases = append(phases, p)
		if s.name == "read" && o.Pair != nil {
			both, err := r.cached(ctx, perClient)
			if err != nil {
				return phases, fmt.Errorf("bench: %w", err)
			}
			phases = append(phases, both...)
		}
	}
	return phases, nil
}

type nfsRun struct {
	o     NFSOptions
	top   string
	root  handle
	dir   handle
	conns []*nfsConn
	free  chan *nfsConn

	mu      sync.Mutex
	handles map[int]handle
	pending map[int]int // blocks of a large file that are not committed
}

// open connects the clients and makes a directory and a large file for each.
func (r *nfsRun) open(ctx context.Context) error {
	r.handles, r.pending = map[int]handle{}, map[int]int{}
	r.free = make(chan *nfsConn, r.o.Clients)
	for i := range r.o.Clients {
		nc, err := r.o.Dial(ctx)
		if err != nil {
			return err
		}
		c := newNFSConn(nc)
		r.conns = append(r.conns, c)
		r.free <- c
		if i == 0 {
			if r.root, err = c.mount(ctx, r.o.Export); err != nil {
				return fmt.Errorf("mount %s: %w", r.o.Export, err)
			}
			if r.dir, err = c.make(ctx, procMkdir, r.root, r.top); err != nil {
				return fmt.Errorf("mkdir: %w", err)
			}
		}
		if c.large, err = c.make(ctx, procCreate, r.dir, fmt.Sprintf("large%d", i)); err != nil {
			return fmt.Errorf("create: %w", err)
		}
	}
	return nil
}

func (r *nfsRun) close() error {
	var errs []error
	for _, c := range r.conns {
		errs = append(errs, c.rpc.Close())
	}
	return errors.Join(errs...)
}

func (r *nfsRun) cleanUp(ctx context.Context) error {
	c := r.conns[0]
	var errs []error
	for i := range r.conns {
		errs = append(errs, c.unlink(ctx, procRemove, r.dir, fmt.Sprintf("large%d", i)))
	}
	errs = append(errs, c.unlink(ctx, procRmdir, r.root, r.top))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("bench: clean up: %w", err)
	}
	return nil
}

func fileName(i int) string { return fmt.Sprintf("f%08d", i) }

func (r *nfsRun) create(ctx context.Context, c *nfsConn, i int) error {
	h, err := c.make(ctx, procCreate, r.dir, fileName(i))
	r.mu.Lock()
	r.handles[i] = h
	r.mu.Unlock()
	return err
}

// scatter visits all files once, in an order far from that of creation: the
// factor is a prime.
func (r *nfsRun) scatter(i int) int { return int(uint64(i) * 2654435761 % uint64(r.o.Files)) }

func (r *nfsRun) lookup(ctx context.Context, c *nfsConn, i int) error {
	_, err := c.lookup(ctx, r.dir, fileName(r.scatter(i)))
	return err
}

func (r *nfsRun) getattr(ctx context.Context, c *nfsConn, i int) error {
	r.mu.Lock()
	h := r.handles[r.scatter(i)]
	r.mu.Unlock()
	return c.getattr(ctx, h)
}

func (r *nfsRun) readdirplus(ctx context.Context, c *nfsConn, _ int) error {
	n, err := c.list(ctx, r.dir)
	if want := r.o.Files + len(r.conns); err == nil && n != want {
		return fmt.Errorf("the directory lists %d entries, not %d", n, want)
	}
	return err
}

// place says which part of which large file block i is.
func (r *nfsRun) place(i int) (handle, uint64) {
	return r.conns[i%len(r.conns)].large, uint64(i/len(r.conns)) * uint64(r.o.IOBytes)
}

// write writes block i and commits the file with its last block.
func (r *nfsRun) write(ctx context.Context, c *nfsConn, i int) error {
	h, off := r.place(i)
	if err := c.write(ctx, h, off, r.o.IOBytes, unstable); err != nil {
		return err
	}
	per := int(r.o.Bytes / int64(r.o.Clients) / int64(r.o.IOBytes))
	r.mu.Lock()
	r.pending[i%len(r.conns)]++
	last := r.pending[i%len(r.conns)] == max(per, 1)
	r.mu.Unlock()
	if last {
		return c.commit(ctx, h)
	}
	return nil
}

func (r *nfsRun) read(ctx context.Context, c *nfsConn, i int) error {
	h, off := r.place(i)
	return c.read(ctx, h, off, r.o.IOBytes)
}

func (r *nfsRun) anywhere() (handle, uint64) {
	per := max(r.o.Bytes/int64(r.o.Clients)/4096, 1)
	return r.conns[rand.IntN(len(r.conns))].large, uint64(rand.Int64N(per)) * 4096
}

func (r *nfsRun) randomRead(ctx context.Context, c *nfsConn, _ int) error {
	h, off := r.anywhere()
	return c.read(ctx, h, off, 4096)
}

func (r *nfsRun) randomWrite(ctx context.Context, c *nfsConn, _ int) error {
	h, off := r.anywhere()
	return c.write(ctx, h, off, 4096, unstable)
}

func (r *nfsRun) remove(ctx context.Context, c *nfsConn, i int) error {
	return c.unlink(ctx, procRemove, r.dir, fileName(i))
}
