package kvtest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"manifold/internal/kv"
)

func testLimits(t *testing.T, e kv.Engine) {
	l := e.Limits()
	if l != kv.DefaultLimits {
		t.Fatalf("Limits: %+v, want the default", l)
	}
	k := func(i int) []byte { return key(1, fmt.Sprintf("%06d", i)) }
	bytesOf := func(n int) []byte { return make([]byte, n) }
	// Fill MaxReads+1 keys to read.
	for i := 0; i <= l.MaxReads; i += l.MaxWrites {
		update(t, e, func(x kv.Txn) error {
			for j := i; j < i+l.MaxWrites; j++ {
				x.Put(k(j), []byte("v"))
			}
			return nil
		})
	}
	all := kv.Prefix(key(1, ""))
	many := func(n int) (ks [][]byte) {
		for i := range n {
			ks = append(ks, k(i))
		}
		return ks
	}
	drain := func(x kv.Txn, o kv.ScanOptions) (err error) {
		for _, e := range x.Scan(ctxOf(t), all, o) {
			err = e
		}
		return err
	}
	for _, c := range []struct {
		name string
		fn   func(kv.Txn) error
		want error
	}{
		{"most reads by scan", func(x kv.Txn) error { return drain(x, kv.ScanOptions{Limit: l.MaxReads}) }, nil},
		{"too many reads by scan", func(x kv.Txn) error { return drain(x, kv.ScanOptions{Limit: l.MaxReads + 1}) }, kv.ErrTooLarge},
		{"most reads by GetMany", func(x kv.Txn) error { _, err := x.GetMany(ctxOf(t), many(l.MaxReads)); return err }, nil},
		{"too many reads by GetMany", func(x kv.Txn) error { _, err := x.GetMany(ctxOf(t), many(l.MaxReads+1)); return err }, kv.ErrTooLarge},
		{"one read too many", func(x kv.Txn) error {
			if _, err := x.GetMany(ctxOf(t), many(l.MaxReads)); err != nil {
				return err
			}
			_, err := x.Get(ctxOf(t), k(0))
			return err
		}, kv.ErrTooLarge},
		{"too many reads, error ignored", func(x kv.Txn) error {
			_ = drain(x, kv.ScanOptions{})
			x.Put(key(7, "ignored"), nil)
			return nil
		}, kv.ErrTooLarge},
		{"own writes are not reads", func(x kv.Txn) error {
			x.Put(key(3, "own"), nil)
			for range l.MaxReads + 1 {
				get(t, x, key(3, "own"))
			}
			return nil
		}, nil},
		{"unvalidated reads do not count", func(x kv.Txn) error {
			_, err := x.Unvalidated().GetMany(ctxOf(t), many(l.MaxReads+1))
			return err
		}, nil},
		{"most writes", func(x kv.Txn) error {
			for i := range l.MaxWrites {
				x.Put(k(i), []byte("w"))
				x.Put(k(i), []byte("v"))
			}
			return nil
		}, nil},
		{"too many writes", func(x kv.Txn) error {
			for i := range l.MaxWrites + 1 {
				x.Delete(k(i))
			}
			return nil
		}, kv.ErrTooLarge},
		{"largest value", func(x kv.Txn) error { x.Put(key(2, "v"), bytesOf(l.MaxValueBytes)); return nil }, nil},
		{"too large a value", func(x kv.Txn) error { x.Put(key(2, "v"), bytesOf(l.MaxValueBytes+1)); return nil }, kv.ErrTooLarge},
		{"most bytes", func(x kv.Txn) error {
			x.Put(key(2, "a"), bytesOf(l.MaxTxnBytes/2-10))
			x.Put(key(2, "b"), bytesOf(100))
			x.Put(key(2, "b"), bytesOf(l.MaxTxnBytes/2-10))
			return nil
		}, nil},
		{"too many bytes", func(x kv.Txn) error {
			x.Put(key(2, "a"), bytesOf(l.MaxTxnBytes/2-10))
			x.Put(key(2, "b"), bytesOf(l.MaxTxnBytes/2-9))
			return nil
		}, kv.ErrTooLarge},
		{"a key of the engine's", func(x kv.Txn) error { x.Put([]byte{kv.EngineTag}, nil); return nil }, kv.ErrTooLarge},
		{"get of a key of the engine's", func(x kv.Txn) error { _, err := x.Get(ctxOf(t), []byte{kv.EngineTag, 1}); return err }, kv.ErrTooLarge},
		{"empty key", func(x kv.Txn) error { x.Put(nil, nil); return nil }, kv.ErrTooLarge},
		{"too long a key", func(x kv.Txn) error { x.Put(bytesOf(kv.MaxKeyBytes+1), nil); return nil }, kv.ErrTooLarge},
		{"get of too long a key", func(x kv.Txn) error { _, err := x.Get(ctxOf(t), bytesOf(kv.MaxKeyBytes+1)); return err }, kv.ErrTooLarge},
		{"scan across prefixes", func(x kv.Txn) error {
			for _, err := range x.Scan(ctxOf(t), kv.Range{Start: key(1, ""), End: key(3, "")}, kv.ScanOptions{}) {
				if err != nil {
					return err
				}
			}
			return nil
		}, kv.ErrOutsidePrefix},
		{"scan without end", func(x kv.Txn) error {
			for range x.Scan(ctxOf(t), kv.Range{Start: key(1, "")}, kv.ScanOptions{}) {
				break
			}
			return nil
		}, kv.ErrOutsidePrefix},
		{"guard of too short a prefix", func(x kv.Txn) error { x.Guard(kv.Prefix([]byte("k"))); return nil }, kv.ErrOutsidePrefix},
	} {
		_, err := e.Update(ctxOf(t), c.fn)
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	equal(t, "write beside an ignored error", viewGet(t, e, key(7, "ignored")), "-")
	equal(t, "first key", viewGet(t, e, k(0)), "v")
	err := e.View(ctxOf(t), kv.Linearizable, func(r kv.Reader) error {
		if _, err := r.Get(ctxOf(t), nil); !errors.Is(err, kv.ErrTooLarge) {
			t.Errorf("Get of an empty key in a View: %v", err)
		}
		n := 0
		for _, err := range r.Scan(ctxOf(t), kv.Range{}, kv.ScanOptions{KeysOnly: true}) {
			if err != nil {
				return err
			}
			n++
		}
		if n <= l.MaxReads {
			t.Errorf("a View scanned %d keys", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// RunAges checks the limits on age with a clock that the test moves. open
// returns an engine that uses the clock.
func RunAges(t *testing.T, open func(t *testing.T, now func() time.Time) kv.Engine) {
	now := time.Unix(1_000_000, 0)
	e := open(t, func() time.Time { return now })
	a := key(1, "a")
	put(t, e, a, "1")
	runs := 0
	update(t, e, func(x kv.Txn) error {
		if runs++; runs == 1 {
			now = now.Add(kv.DefaultLimits.MaxTxnAge + 1)
		}
		x.Put(a, []byte("2"))
		return nil
	})
	if runs != 2 {
		t.Errorf("an attempt that was too old led to %d attempts, want 2", runs)
	}
	_, err := e.Update(ctxOf(t), func(x kv.Txn) error {
		now = now.Add(kv.DefaultLimits.MaxTxnAge + 1)
		x.Put(a, []byte("3"))
		return nil
	})
	wantErr(t, "an Update that is always too old", err, kv.ErrTooLarge)
	err = e.View(ctxOf(t), kv.Linearizable, func(r kv.Reader) error {
		equal(t, "a", get(t, r, a), "2")
		now = now.Add(kv.DefaultLimits.MaxSnapshotAge + 1)
		if _, err := r.Get(ctxOf(t), a); !errors.Is(err, kv.ErrSnapshotTooOld) {
			t.Errorf("Get from an old snapshot: %v", err)
		}
		for _, err := range r.Scan(ctxOf(t), kv.Prefix(key(1, "")), kv.ScanOptions{}) {
			return err
		}
		return nil
	})
	wantErr(t, "a View that is too old", err, kv.ErrSnapshotTooOld)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
