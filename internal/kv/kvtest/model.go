package kvtest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"manifold/internal/kv"
)

// model is the store as a map.
type model map[string]string

func (m model) scan(r kv.Range, o kv.ScanOptions) (out []string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if r.Contains([]byte(k)) {
			v := m[k]
			if o.KeysOnly {
				v = ""
			}
			out = append(out, k+"="+v)
		}
	}
	if o.Reverse {
		slices.Reverse(out)
	}
	if o.Limit > 0 && len(out) > o.Limit {
		out = out[:o.Limit]
	}
	return out
}

// modelKey draws from few keys of odd shapes in few prefixes.
func modelKey(rng *rand.Rand) []byte {
	k := key(rng.Uint64N(3), "")
	for range rng.IntN(4) {
		k = append(k, []byte{0, 1, 'a', 0xfe, 0xff}[rng.IntN(5)])
	}
	return k
}

func modelRange(rng *rand.Rand) kv.Range {
	if rng.IntN(3) == 0 {
		return kv.Prefix(modelKey(rng))
	}
	a, b := modelKey(rng), modelKey(rng)
	copy(b, a[:kv.PrefixBytes])
	if bytes.Compare(a, b) > 0 {
		a, b = b, a
	}
	return kv.Range{Start: a, End: b}
}

// modelRead does one random read on both.
func modelRead(t *testing.T, rng *rand.Rand, r kv.Reader, m model, anyRange bool) error {
	ctx := ctxOf(t)
	want := func(k []byte) (string, bool) { v, ok := m[string(k)]; return v, ok }
	switch rng.IntN(3) {
	case 0:
		k := modelKey(rng)
		v, err := r.Get(ctx, k)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return err
		}
		if w, ok := want(k); ok != (err == nil) || string(v) != w {
			return fmt.Errorf("get %q: %q, %v; want %q, %v", k, v, err, w, ok)
		}
	case 1:
		var ks [][]byte
		for range rng.IntN(5) {
			ks = append(ks, modelKey(rng))
		}
		vs, err := r.GetMany(ctx, ks)
		if err != nil {
			return err
		}
		for i, k := range ks {
			if w, ok := want(k); ok != (vs[i] != nil) || string(vs[i]) != w {
				return fmt.Errorf("get many %q: %q; want %q, %v", k, vs[i], w, ok)
			}
		}
	default:
		rg := modelRange(rng)
		if anyRange && rng.IntN(2) == 0 {
			rg = kv.Range{Start: modelKey(rng)}
		}
		o := kv.ScanOptions{Reverse: rng.IntN(2) == 0, Limit: rng.IntN(4) * rng.IntN(4), KeysOnly: rng.IntN(4) == 0}
		var got []string
		for x, err := range r.Scan(ctx, rg, o) {
			if err != nil {
				return err
			}
			v := string(x.Value)
			if o.KeysOnly {
				v = ""
			}
			got = append(got, string(x.Key)+"="+v)
		}
		if w := m.scan(rg, o); !slices.Equal(got, w) {
			return fmt.Errorf("scan %q to %q, %+v: %q; want %q", rg.Start, rg.End, o, got, w)
		}
	}
	return nil
}

// testModel does random transactions one after the other, on the engine and on
// a map.
func testModel(t *testing.T, e kv.Engine) {
	rng := rand.New(rand.NewPCG(11, 12))
	m := model{}
	for i := range 150 {
		var err error
		switch rng.IntN(4) {
		case 0:
			err = e.View(ctxOf(t), kv.Linearizable, func(r kv.Reader) error {
				for range 4 {
					if err := modelRead(t, rng, r, m, true); err != nil {
						return err
					}
				}
				return nil
			})
		default:
			fail := rng.IntN(5) == 0
			seed := rng.Uint64()
			var next model
			_, err = e.Update(ctxOf(t), func(x kv.Txn) error {
				rng := rand.New(rand.NewPCG(seed, 0))
				next = maps.Clone(m)
				for range rng.IntN(20) {
					switch rng.IntN(5) {
					case 0:
						k := modelKey(rng)
						x.Delete(k)
						delete(next, string(k))
					case 1, 2:
						k, v := modelKey(rng), fmt.Sprint(rng.IntN(1000))
						x.Put(k, []byte(v))
						next[string(k)] = v
					case 3:
						if err := modelRead(t, rng, x, next, false); err != nil {
							return err
						}
					default:
						if err := modelRead(t, rng, x.Unvalidated(), m, true); err != nil {
							return fmt.Errorf("unvalidated: %w", err)
						}
					}
				}
				if fail {
					return errMine
				}
				return nil
			})
			if fail && errors.Is(err, errMine) {
				err = nil
			} else if err == nil {
				m = next
			}
		}
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
}
