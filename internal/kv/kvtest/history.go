package kvtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"manifold/internal/kv"
)

// History shapes a random history.
type History struct {
	Seed    uint64
	Workers int // goroutines
	Each    int // transactions of one worker
	Keys    int // keys, spread over three prefixes
}

// op is one finished transaction: what it read and wrote, and when it ran by
// a clock that ticks at every start and end.
type op struct {
	id         int
	start, end int64
	reads      map[int]int // key to the id of the transaction that wrote what was read, 0 for absent
	writes     map[int]bool
	what       string
}

func histKey(i int) []byte { return key(uint64(i%3), fmt.Sprintf("%03d", i)) }

func histIndex(k []byte) (int, error) { return strconv.Atoi(string(k[kv.PrefixBytes:])) }

// Check runs a random history on an empty engine and returns an error if no
// serial order explains it that also respects real time. Every write reads its
// key first, so the order of the versions follows from the history alone.
func (h History) Check(ctx context.Context, e kv.Engine) error {
	var (
		clock atomic.Int64
		ids   atomic.Int64
		mu    sync.Mutex
		ops   []*op
		errs  []error
		wg    sync.WaitGroup
	)
	for w := range h.Workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rng := rand.New(rand.NewPCG(h.Seed, uint64(w)))
			for range h.Each {
				o := &op{id: int(ids.Add(1))}
				seed := rng.Uint64()
				o.start = clock.Add(1)
				err := h.run(ctx, e, o, seed)
				o.end = clock.Add(1)
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				}
				ops = append(ops, o)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		}()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("a transaction failed: %w", err)
	}
	return explain(ops)
}

var errReadOnly = errors.New("ends without writing")

// run does one transaction. The plan comes from the seed, so each attempt does
// the same steps.
func (h History) run(ctx context.Context, e kv.Engine, o *op, seed uint64) error {
	kind := rand.New(rand.NewPCG(seed, 1)).IntN(10)
	if kind < 2 {
		o.what = "view"
		for {
			err := e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
				o.reads = map[int]int{}
				return h.reads(ctx, r, o, rand.New(rand.NewPCG(seed, 2)))
			})
			if !errors.Is(err, kv.ErrSnapshotTooOld) {
				return err
			}
		}
	}
	o.what = "update"
	_, err := e.Update(ctx, func(t kv.Txn) error {
		o.reads, o.writes = map[int]int{}, map[int]bool{}
		rng := rand.New(rand.NewPCG(seed, 3))
		if err := h.reads(ctx, t, o, rng); err != nil {
			return err
		}
		for range rng.IntN(3) {
			i := rng.IntN(h.Keys)
			if !o.writes[i] {
				if err := h.read(ctx, t, o, i); err != nil {
					return err
				}
			}
			o.writes[i] = true
			t.Put(histKey(i), []byte(strconv.Itoa(o.id)))
			runtime.Gosched()
		}
		if kind == 2 {
			return errReadOnly
		}
		return nil
	})
	if errors.Is(err, errReadOnly) {
		o.what, o.writes, err = "failed update", nil, nil
	}
	return err
}

func (h History) reads(ctx context.Context, r kv.Reader, o *op, rng *rand.Rand) error {
	for range 1 + rng.IntN(3) {
		switch rng.IntN(4) {
		case 0:
			if err := h.scan(ctx, r, o, rng); err != nil {
				return err
			}
		case 1:
			i, j := rng.IntN(h.Keys), rng.IntN(h.Keys)
			vs, err := r.GetMany(ctx, [][]byte{histKey(i), histKey(j)})
			if err != nil {
				return err
			}
			if err := errors.Join(o.saw(i, vs[0]), o.saw(j, vs[1])); err != nil {
				return err
			}
		default:
			if err := h.read(ctx, r, o, rng.IntN(h.Keys)); err != nil {
				return err
			}
		}
		runtime.Gosched()
	}
	return nil
}

func (h History) read(ctx context.Context, r kv.Reader, o *op, i int) error {
	v, err := r.Get(ctx, histKey(i))
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	return o.saw(i, v)
}

// scan reads all keys of one prefix, the absent ones included.
func (h History) scan(ctx context.Context, r kv.Reader, o *op, rng *rand.Rand) error {
	p := rng.IntN(3)
	opt := kv.ScanOptions{Reverse: rng.IntN(2) == 0}
	got := map[int][]byte{}
	for x, err := range r.Scan(ctx, kv.Prefix(key(uint64(p), "")), opt) {
		if err != nil {
			return err
		}
		i, err := histIndex(x.Key)
		if err != nil {
			return err
		}
		got[i] = append([]byte{}, x.Value...)
		runtime.Gosched()
	}
	for i := p; i < h.Keys; i += 3 {
		if err := o.saw(i, got[i]); err != nil {
			return err
		}
	}
	return nil
}

// saw notes a read. Reading a key twice must give the same.
func (o *op) saw(i int, v []byte) error {
	if o.writes[i] {
		if string(v) != strconv.Itoa(o.id) {
			return fmt.Errorf("transaction %d read %q of key %d, not its own write", o.id, v, i)
		}
		return nil
	}
	from := 0
	if v != nil {
		n, err := strconv.Atoi(string(v))
		if err != nil {
			return err
		}
		from = n
	}
	if was, ok := o.reads[i]; ok && was != from {
		// An attempt that will be retried may see this on an engine that
		// validates late, so it counts only if the attempt succeeds.
		from = -1
	}
	o.reads[i] = from
	return nil
}

// explain looks for a cycle in the graph of what must precede what.
func explain(ops []*op) error {
	byID := map[int]*op{}
	for _, o := range ops {
		byID[o.id] = o
	}
	type version struct{ key, writer int }
	next := map[version]int{} // the writer of the version after
	for _, o := range ops {
		for k, from := range o.reads {
			if from == -1 {
				return fmt.Errorf("transaction %d (%s) read two values of key %d", o.id, o.what, k)
			}
			if w := byID[from]; from != 0 && (w == nil || !w.writes[k]) {
				return fmt.Errorf("transaction %d (%s) read a value of key %d by %d that was never committed", o.id, o.what, k, from)
			}
		}
		for k := range o.writes {
			v := version{k, o.reads[k]}
			if other := next[v]; other != 0 {
				return fmt.Errorf("lost update of key %d: %d and %d both replaced the value of %d", k, other, o.id, v.writer)
			}
			next[v] = o.id
		}
	}
	edges := map[int]map[int]string{}
	edge := func(a, b int, why string) {
		if a == 0 || b == 0 || a == b {
			return
		}
		if edges[a] == nil {
			edges[a] = map[int]string{}
		}
		if edges[a][b] == "" {
			edges[a][b] = why
		}
	}
	for _, o := range ops {
		for k, from := range o.reads {
			edge(from, o.id, fmt.Sprintf("wrote key %d for", k))
			edge(o.id, next[version{k, from}], fmt.Sprintf("read key %d before the change by", k))
		}
		for _, p := range ops {
			if o.end < p.start {
				edge(o.id, p.id, "ended before")
			}
		}
	}
	return cycle(ops, edges)
}

func cycle(ops []*op, edges map[int]map[int]string) error {
	state := map[int]int{} // 1 on the path, 2 done
	var path []int
	var visit func(int) error
	visit = func(n int) error {
		state[n] = 1
		path = append(path, n)
		for m, why := range edges[n] {
			switch state[m] {
			case 0:
				if err := visit(m); err != nil {
					return err
				}
			case 1:
				var b strings.Builder
				from := 0
				for path[from] != m {
					from++
				}
				for i := from; i+1 < len(path); i++ {
					fmt.Fprintf(&b, "%d %s ", path[i], edges[path[i]][path[i+1]])
				}
				return fmt.Errorf("no serial order: %s%d %s %d", &b, n, why, m)
			}
		}
		path = path[:len(path)-1]
		state[n] = 2
		return nil
	}
	for _, o := range ops {
		if state[o.id] == 0 {
			if err := visit(o.id); err != nil {
				return err
			}
		}
	}
	return nil
}

func testHistories(t *testing.T, e kv.Engine) {
	for i, h := range []History{
		{Seed: 1, Workers: 4, Each: 60, Keys: 4},
		{Seed: 2, Workers: 8, Each: 40, Keys: 9},
	} {
		if i > 0 {
			update(t, e, func(x kv.Txn) error {
				for k := range 9 {
					x.Delete(histKey(k))
				}
				return nil
			})
		}
		if err := h.Check(ctxOf(t), e); err != nil {
			t.Errorf("history %+v: %v", h, err)
		}
	}
}
