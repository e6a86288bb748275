// Package bench measures the storage engine through the fs contract: it makes
// files, asks for their attributes, lists, reads and removes them, and says
// what each cost in time, processor and memory.
//
// Invariants: it only touches a directory that it made itself; every operation
// is checked, so that a figure never stands for work that was not done.
//
// The package must not know which implementation it measures.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"manifold/internal/fs"
)

// Options shape a run. The zero value makes 10,000 files of 0 bytes in one
// directory with one client.
type Options struct {
	// Files to make; default 10,000.
	Files int
	// PerDirectory files lie in one directory; 0: all in one.
	PerDirectory int
	// FileBytes are written to each file, unstable, and committed.
	FileBytes int
	// Clients work at the same time; default 1.
	Clients int
	// Keep leaves the files.
	Keep bool
	// Progress, if set, is called now and then from many goroutines.
	Progress func(phase string, done, total int)
}

// Validate reports options that cannot work.
func (o Options) Validate() error {
	switch {
	case o.Files < 0 || o.PerDirectory < 0 || o.FileBytes < 0 || o.Clients < 0:
		return errors.New("bench: counts must not be negative")
	case o.FileBytes > 1<<30:
		return errors.New("bench: files of more than 1 GiB are not made here")
	}
	return nil
}

func (o *Options) setDefaults() {
	if o.Files == 0 {
		o.Files = 10_000
	}
	if o.Clients == 0 {
		o.Clients = 1
	}
	if o.PerDirectory == 0 {
		o.PerDirectory = o.Files
	}
}

// Phase is the result of one kind of operation.
type Phase struct {
	Name string `json:"name"`
	Ops  int    `json:"ops"`
	// Bytes moved, 0 where bytes are not the point.
	Bytes int64         `json:"bytes,omitempty"`
	Wall  time.Duration `json:"wall_ns"`
	CPU   time.Duration `json:"cpu_ns"`
	// P50 and P99 of the time of one operation, to 1/8.
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	// PeakRSS of the process during the phase, in bytes; 0 if unknown.
	PeakRSS int64 `json:"peak_rss_bytes"`
}

// PerSecond is the rate.
func (p *Phase) PerSecond() float64 {
	if p.Wall <= 0 {
		return 0
	}
	return float64(p.Ops) / p.Wall.Seconds()
}

// CPUPerOp is the processor time of one operation.
func (p *Phase) CPUPerOp() time.Duration {
	if p.Ops == 0 {
		return 0
	}
	return p.CPU / time.Duration(p.Ops)
}

// Write renders results for people.
func Write(w io.Writer, phases []Phase) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "phase\toperations\tper second\tMiB/s\tCPU/op\tp50\tp99\tpeak RSS\t")
	for _, p := range phases {
		rate := "-"
		if p.Bytes > 0 && p.Wall > 0 {
			rate = fmt.Sprintf("%.1f", float64(p.Bytes)/(1<<20)/p.Wall.Seconds())
		}
		fmt.Fprintf(tw, "%s\t%d\t%.0f\t%s\t%s\t%s\t%s\t%d MiB\t\n", p.Name, p.Ops, p.PerSecond(), rate,
			p.CPUPerOp().Round(100*time.Nanosecond), p.P50.Round(100*time.Nanosecond), p.P99.Round(100*time.Nanosecond), p.PeakRSS>>20)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if share := OfPlainCopy(phases); share > 0 {
		if _, err := fmt.Fprintf(w, "A cached read has %.2f of the rate of the faster plain copy.\n", share); err != nil {
			return err
		}
	}
	return nil
}

// OfPlainCopy is the rate of a cached read as a share of that of the faster plain
// copy over TCP, 0 if they were not measured.
func OfPlainCopy(phases []Phase) float64 {
	var ours, plain float64
	for _, p := range phases {
		switch p.Name {
		case cachedRead:
			ours = p.PerSecond()
		case plainCopy, bufferedCopy:
			plain = max(plain, p.PerSecond())
		}
	}
	if plain == 0 {
		return 0
	}
	return ours / plain
}

// Storage runs the benchmark on f. It answers the phases that were finished,
// with an error too.
func Storage(ctx context.Context, f fs.FS, o Options) (phases []Phase, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.setDefaults()
	r := &run{fs: f, o: o, who: fs.SystemCaller()}
	if err := r.makeDirs(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if !o.Keep {
			err = errors.Join(err, r.cleanUp(context.WithoutCancel(ctx)))
		}
	}()
	steps := []struct {
		name  string
		count int
		op    func(ctx context.Context, i int) error
	}{
		{"create", o.Files, r.create},
		{"stat", o.Files, r.stat},
		{"list", len(r.dirs), r.list},
		{"read", o.Files, r.read},
		{"remove", o.Files, r.remove},
	}
	for _, s := range steps {
		if s.name == "read" && o.FileBytes == 0 || s.name == "remove" && o.Keep {
			continue
		}
		p, err := o.phase(ctx, s.name, s.count, s.op)
		if err != nil {
			return phases, fmt.Errorf("bench: %s: %w", s.name, err)
		}
		switch s.name {
		case "list":
			p.Ops = o.Files // an entry is what listing costs by
		case "create", "read":
			p.Bytes = int64(o.Files) * int64(o.FileBytes)
		}
		phases = append(phases, p)
	}
	return phases, nil
}

type run struct {
	fs   fs.FS
	o    Options
	who  *fs.Caller
	top  string
	dirs []fs.Node
}

func (r *run) makeDirs(ctx context.Context) error {
	r.top = fmt.Sprintf("bench-%016x", rand.Uint64())
	mkdir := func(in fs.Node, name string) (fs.Node, error) {
		res, err := r.fs.Create(ctx, r.who, in, name, &fs.CreateSpec{Type: fs.Directory, Want: fs.AttrType})
		return res.Attr.Node, err
	}
	top, err := mkdir(fs.Root, r.top)
	for i := 0; err == nil && i*r.o.PerDirectory < r.o.Files; i++ {
		var d fs.Node
		d, err = mkdir(top, fmt.Sprintf("d%06d", i))
		r.dirs = append(r.dirs, d)
	}
	if err != nil {
		return fmt.Errorf("bench: make directories: %w", err)
	}
	return nil
}

func (r *run) place(i int) (fs.Node, string) {
	return r.dirs[i/r.o.PerDirectory], fmt.Sprintf("f%08d", i)
}

func (r *run) create(ctx context.Context, i int) error {
	dir, name := r.place(i)
	res, err := r.fs.Create(ctx, r.who, dir, name, &fs.CreateSpec{Type: fs.File, Want: fs.AttrBasic})
	if err != nil || r.o.FileBytes == 0 {
		return err
	}
	n := res.Attr.Node
	for off := 0; off < r.o.FileBytes; off += len(pattern) {
		b := pattern[:min(len(pattern), r.o.FileBytes-off)]
		if _, err := r.fs.Write(ctx, r.who, n, &fs.WriteRequest{Offset: uint64(off), Data: b}); err != nil {
			return err
		}
	}
	_, _, err = r.fs.Commit(ctx, r.who, n, 0, 0, 0)
	return err
}

// stat looks up a file far from the one before.
func (r *run) stat(ctx context.Context, i int) error {
	i = int(uint64(i) * 2654435761 % uint64(r.o.Files))
	dir, name := r.place(i)
	a, err := r.fs.Lookup(ctx, r.who, dir, name, fs.AttrBasic)
	if err == nil && (a.Type != fs.File || a.Size != uint64(r.o.FileBytes)) {
		return fmt.Errorf("%s has type %d and %d bytes", name, a.Type, a.Size)
	}
	return err
}

// list reads one directory in pages, as READDIRPLUS does.
func (r *run) list(ctx context.Context, i int) error {
	const page = 1000
	want := min(r.o.PerDirectory, r.o.Files-i*r.o.PerDirectory)
	got := 0
	after := uint64(0)
	for {
		n := 0
		eof, err := r.fs.ReadDir(ctx, r.who, r.dirs[i], after, fs.AttrBasic, func(d *fs.Dirent) bool {
			after = d.Cookie
			n++
			return n < page
		})
		if err != nil {
			return err
		}
		got += n
		if eof || n == 0 {
			break
		}
	}
	if got != want {
		return fmt.Errorf("directory %d lists %d entries, not %d", i, got, want)
	}
	return nil
}

func (r *run) read(ctx context.Context, i int) error {
	dir, name := r.place(i)
	a, err := r.fs.Lookup(ctx, r.who, dir, name, fs.AttrType)
	if err != nil {
		return err
	}
	buf := buffers.Get().(*[len(pattern)]byte)
	defer buffers.Put(buf)
	for off := 0; off < r.o.FileBytes; {
		b := buf[:min(len(buf), r.o.FileBytes-off)]
		res, err := r.fs.Read(ctx, r.who, a.Node, &fs.ReadRequest{Offset: uint64(off)}, b)
		if err != nil {
			return err
		}
		if res.N == 0 || string(b[:res.N]) != string(pattern[:res.N]) {
			return fmt.Errorf("%s reads wrong at %d", name, off)
		}
		off += len(b)
		if res.N != len(b) {
			return fmt.Errorf("%s reads short at %d", name, off)
		}
	}
	return nil
}

func (r *run) remove(ctx context.Context, i int) error {
	dir, name := r.place(i)
	_, err := r.fs.Remove(ctx, r.who, dir, name, fs.RemoveFile)
	return err
}

func (r *run) cleanUp(ctx context.Context) error {
	a, err := r.fs.Lookup(ctx, r.who, fs.Root, r.top, fs.AttrType)
	if err == nil {
		_, err = r.fs.StartTreeDelete(ctx, r.who, a.Node.ID)
	}
	if err != nil {
		return fmt.Errorf("bench: clean up: %w", err)
	}
	return nil
}

// phase runs op for 0 to count-1 by all clients.
func (o *Options) phase(ctx context.Context, name string, count int, op func(context.Context, int) error) (Phase, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		clients sync.WaitGroup
		next    atomic.Int64
		times   histogram
		mem     = watchMemory()
		cpu     = processCPU()
		start   = time.Now()
	)
	for range min(o.Clients, count) {
		clients.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				t := time.Now()
				if err := op(ctx, i); err != nil {
					cancel(fmt.Errorf("operation %d: %w", i, err))
					return
				}
				times.add(time.Since(t))
				if o.Progress != nil && i%128 == 0 {
					o.Progress(name, i, count)
				}
			}
		})
	}
	clients.Wait()
	p := Phase{Name: name, Ops: count, Wall: time.Since(start), CPU: processCPU() - cpu, PeakRSS: mem.stop(), P50: times.quantile(0.5), P99: times.quantile(0.99)}
	if err := context.Cause(ctx); err != nil {
		return p, err
	}
	if o.Progress != nil {
		o.Progress(name, count, count)
	}
	return p, nil
}
