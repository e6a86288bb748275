package kvtest

import (
	"context"
	"iter"
	"sync"
	"testing"

	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
)

// The engines below have one fault each. The checker of histories must find
// it, or the suite proves nothing.

// broken changes how an engine reads.
type broken struct {
	*memkv.Engine
	wrap func(kv.Txn) kv.Txn
	view func(kv.Freshness, func(kv.Reader) error) error
}

func (b *broken) Update(ctx context.Context, fn func(kv.Txn) error) (kv.Rev, error) {
	return b.Engine.Update(ctx, func(x kv.Txn) error {
		if b.wrap != nil {
			x = b.wrap(x)
		}
		return fn(x)
	})
}

func (b *broken) View(ctx context.Context, f kv.Freshness, fn func(kv.Reader) error) error {
	if b.view != nil {
		return b.view(f, fn)
	}
	return b.Engine.View(ctx, f, fn)
}

// unread is a transaction whose Gets are not validated.
type unread struct{ kv.Txn }

func (u unread) Get(ctx context.Context, key []byte) ([]byte, error) {
	return u.Unvalidated().Get(ctx, key)
}

// unwritten is a transaction that validates a Get only of keys it writes
// later, as snapshot isolation does: lost updates are caught, write skew is not.
type unwritten struct {
	kv.Txn
	writes map[string]bool
}

func (u unwritten) Get(ctx context.Context, key []byte) ([]byte, error) {
	return u.Unvalidated().Get(ctx, key)
}

func (u unwritten) GetMany(ctx context.Context, keys [][]byte) ([][]byte, error) {
	return u.Unvalidated().GetMany(ctx, keys)
}

func (u unwritten) Scan(ctx context.Context, r kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return u.Unvalidated().Scan(ctx, r, o)
}

func (u unwritten) Put(key, value []byte) {
	if !u.writes[string(key)] {
		_, _ = u.Txn.Get(context.Background(), key)
		u.writes[string(key)] = true
	}
	u.Txn.Put(key, value)
}

// unscanned is a transaction whose scans see no phantoms: what they found is
// validated, the rest is not.
type unscanned struct{ kv.Txn }

func (u unscanned) Scan(ctx context.Context, r kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		for x, err := range u.Unvalidated().Scan(ctx, r, o) {
			if err == nil {
				_, err = u.Txn.Get(ctx, x.Key)
			}
			if !yield(x, err) {
				return
			}
		}
	}
}

func TestCheckerFindsFaults(t *testing.T) {
	faults := map[string]func() kv.Engine{
		"lost updates": func() kv.Engine {
			return &broken{Engine: memkv.New(), wrap: func(x kv.Txn) kv.Txn { return unread{x} }}
		},
		"write skew": func() kv.Engine {
			return &broken{Engine: memkv.New(), wrap: func(x kv.Txn) kv.Txn { return unwritten{x, map[string]bool{}} }}
		},
		"phantoms": func() kv.Engine {
			return &broken{Engine: memkv.New(), wrap: func(x kv.Txn) kv.Txn { return unscanned{x} }}
		},
		"stale views": func() kv.Engine {
			b := &broken{Engine: memkv.New()}
			var mu sync.Mutex
			var old *memkv.Engine
			n := 0
			b.view = func(f kv.Freshness, fn func(kv.Reader) error) error {
				mu.Lock()
				if n%8 == 0 {
					old = b.Clone()
				}
				n++
				e := old
				mu.Unlock()
				return e.View(t.Context(), f, fn)
			}
			return b
		},
		"torn views": func() kv.Engine {
			b := &broken{Engine: memkv.New()}
			b.view = func(_ kv.Freshness, fn func(kv.Reader) error) error { return fn(torn{b.Engine}) }
			return b
		},
	}
	for name, open := range faults {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= 200; seed++ {
				e := open()
				err := History{Seed: seed, Workers: 4, Each: 20, Keys: 4}.Check(ctxOf(t), e)
				_ = e.Close()
				if err != nil {
					t.Logf("found with seed %d: %v", seed, err)
					return
				}
			}
			t.Error("not found")
		})
	}
}

// torn reads each key from the newest state instead of one snapshot.
type torn struct{ e *memkv.Engine }

func (r torn) Get(ctx context.Context, key []byte) (v []byte, err error) {
	err = r.e.View(ctx, kv.Linearizable, func(r kv.Reader) error { v, err = r.Get(ctx, key); return err })
	return v, err
}

func (r torn) GetMany(ctx context.Context, keys [][]byte) (vs [][]byte, err error) {
	err = r.e.View(ctx, kv.Linearizable, func(r kv.Reader) error { vs, err = r.GetMany(ctx, keys); return err })
	return vs, err
}

func (r torn) Scan(ctx context.Context, rg kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		_ = r.e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
			r.Scan(ctx, rg, o)(yield)
			return nil
		})
	}
}

// TestExplain checks the checker on histories written by hand.
func TestExplain(t *testing.T) {
	set := func(ks ...int) map[int]bool {
		m := map[int]bool{}
		for _, k := range ks {
			m[k] = true
		}
		return m
	}
	for _, c := range []struct {
		name string
		ops  []*op
		ok   bool
	}{
		{"chain", []*op{
			{id: 1, start: 1, end: 2, reads: map[int]int{0: 0}, writes: set(0)},
			{id: 2, start: 3, end: 4, reads: map[int]int{0: 1}, writes: set(0)},
			{id: 3, start: 5, end: 6, reads: map[int]int{0: 2}},
		}, true},
		{"overlap may read either", []*op{
			{id: 1, start: 1, end: 4, reads: map[int]int{0: 0}, writes: set(0)},
			{id: 2, start: 2, end: 3, reads: map[int]int{0: 0}},
		}, true},
		{"stale", []*op{
			{id: 1, start: 1, end: 2, reads: map[int]int{0: 0}, writes: set(0)},
			{id: 2, start: 3, end: 4, reads: map[int]int{0: 0}},
		}, false},
		{"lost update", []*op{
			{id: 1, start: 1, end: 4, reads: map[int]int{0: 0}, writes: set(0)},
			{id: 2, start: 2, end: 3, reads: map[int]int{0: 0}, writes: set(0)},
		}, false},
		{"write skew", []*op{
			{id: 1, start: 1, end: 4, reads: map[int]int{0: 0, 1: 0}, writes: set(0)},
			{id: 2, start: 2, end: 3, reads: map[int]int{0: 0, 1: 0}, writes: set(1)},
		}, false},
		{"read of what never was", []*op{
			{id: 1, start: 1, end: 2, reads: map[int]int{0: 7}},
		}, false},
	} {
		if err := explain(c.ops); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
