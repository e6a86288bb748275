package kvtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"manifold/internal/kv"
)

func testBasics(t *testing.T, e kv.Engine) {
	a, b := key(1, "a"), key(1, "b")
	equal(t, "absent", viewGet(t, e, a), "-")
	r1 := put(t, e, a, "1")
	r2 := put(t, e, b, "")
	if r2 <= r1 {
		t.Errorf("revisions do not grow: %d then %d", r1, r2)
	}
	equal(t, "a", viewGet(t, e, a), "1")
	equal(t, "empty value", viewGet(t, e, b), "")
	put(t, e, a, "2")
	equal(t, "overwritten", viewGet(t, e, a), "2")
	update(t, e, func(x kv.Txn) error { x.Delete(a); x.Delete(key(9, "absent")); return nil })
	equal(t, "deleted", viewGet(t, e, a), "-")
	once := key(1, "once")
	for _, v := range []string{"3", "4"} {
		put(t, e, once, v)
		equal(t, "written once", viewGet(t, e, once), v)
		update(t, e, func(x kv.Txn) error {
			x.DeleteOnce(once)
			if _, err := x.Get(ctxOf(t), once); !errors.Is(err, kv.ErrNotFound) {
				t.Errorf("deleted by the same Txn: %v", err)
			}
			return nil
		})
		equal(t, "written and deleted once", viewGet(t, e, once), "-")
	}
	long := append(key(2, ""), make([]byte, kv.MaxKeyBytes-kv.PrefixBytes)...)
	put(t, e, long, "long")
	equal(t, "longest key", viewGet(t, e, long), "long")
	high := []byte{kv.EngineTag - 1, 0xff, 0xff}
	put(t, e, high, "high")
	short := []byte{0}
	put(t, e, short, "short")
	err := e.View(ctxOf(t), kv.Linearizable, func(r kv.Reader) error {
		vs, err := r.GetMany(ctxOf(t), [][]byte{high, a, short, b})
		if err != nil {
			return err
		}
		if string(vs[0]) != "high" || vs[1] != nil || string(vs[2]) != "short" || vs[3] == nil || len(vs[3]) != 0 {
			t.Errorf("GetMany: %q", vs)
		}
		n := 0
		for _, err := range r.Scan(ctxOf(t), kv.Range{}, kv.ScanOptions{}) {
			if err != nil {
				return err
			}
			n++
		}
		if n != 4 {
			t.Errorf("a scan of everything yields %d keys, want 4", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testOwnWrites(t *testing.T, e kv.Engine) {
	for _, k := range []string{"b", "d", "f"} {
		put(t, e, key(1, k), k)
	}
	all := kv.Prefix(key(1, ""))
	update(t, e, func(x kv.Txn) error {
		x.Put(key(1, "a"), []byte("1"))
		x.Put(key(1, "d"), []byte("2"))
		x.Delete(key(1, "f"))
		x.Put(key(1, "g"), []byte("3"))
		x.Put(key(1, "h"), []byte("4"))
		x.Delete(key(1, "h"))
		x.Put(key(2, "z"), []byte("5"))
		equal(t, "forward", scan(t, x, all, kv.ScanOptions{}), "a=1 b=b d=2 g=3")
		equal(t, "reverse", scan(t, x, all, kv.ScanOptions{Reverse: true}), "g=3 d=2 b=b a=1")
		equal(t, "limit", scan(t, x, all, kv.ScanOptions{Limit: 3}), "a=1 b=b d=2")
		equal(t, "reverse limit", scan(t, x, all, kv.ScanOptions{Limit: 2, Reverse: true}), "g=3 d=2")
		equal(t, "keys", scan(t, x, all, kv.ScanOptions{KeysOnly: true}), "a b d g")
		equal(t, "own", get(t, x, key(1, "d")), "2")
		equal(t, "own deletion", get(t, x, key(1, "f")), "-")
		vs, err := x.GetMany(ctxOf(t), [][]byte{key(1, "b"), key(1, "f"), key(1, "g"), key(1, "d")})
		if err != nil {
			return err
		}
		if string(vs[0]) != "b" || vs[1] != nil || string(vs[2]) != "3" || string(vs[3]) != "2" {
			t.Errorf("GetMany: %q", vs)
		}
		equal(t, "not own", get(t, x.Unvalidated(), key(1, "d")), "d")
		return nil
	})
	if err := e.View(ctxOf(t), kv.Linearizable, func(r kv.Reader) error {
		equal(t, "after", scan(t, r, all, kv.ScanOptions{}), "a=1 b=b d=2 g=3")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func testScanOrder(t *testing.T, e kv.Engine) {
	update(t, e, func(x kv.Txn) error {
		for _, k := range []string{"", "\x00", "\x00\xff", "a", "aa", "b", "\xff", "\xff\xff"} {
			x.Put(key(1, k), []byte("v"))
		}
		x.Put(key(2, "c"), []byte("v"))
		return nil
	})
	check := func(r kv.Reader) {
		all := kv.Prefix(key(1, ""))
		equal(t, "all", scan(t, r, all, kv.ScanOptions{}), "=v \x00=v \x00\xff=v a=v aa=v b=v \xff=v \xff\xff=v")
		equal(t, "part", scan(t, r, kv.Range{Start: key(1, "a"), End: key(1, "b")}, kv.ScanOptions{}), "a=v aa=v")
		equal(t, "reverse part", scan(t, r, kv.Range{Start: key(1, "a"), End: key(1, "\xff")}, kv.ScanOptions{Reverse: true}), "b=v aa=v a=v")
		equal(t, "reverse limit", scan(t, r, all, kv.ScanOptions{Reverse: true, Limit: 2}), "\xff\xff=v \xff=v")
		equal(t, "empty", scan(t, r, kv.Range{Start: key(1, "c"), End: key(1, "d")}, kv.ScanOptions{}), "")
		for x, err := range r.Scan(ctxOf(t), all, kv.ScanOptions{}) {
			if err != nil {
				t.Error(err)
			}
			if string(x.Key[kv.PrefixBytes:]) == "a" {
				break
			}
		}
	}
	if err := e.View(ctxOf(t), kv.Linearizable, func(r kv.Reader) error { check(r); return nil }); err != nil {
		t.Fatal(err)
	}
	update(t, e, func(x kv.Txn) error { check(x); check(x.Unvalidated()); return nil })
}

var errMine = errors.New("mine")

func testErrorOfFunction(t *testing.T, e kv.Engine) {
	a := key(1, "a")
	put(t, e, a, "1")
	_, err := e.Update(ctxOf(t), func(x kv.Txn) error { x.Put(a, []byte("2")); return errMine })
	if err != errMine {
		t.Errorf("Update returned %v, want the error of the function as it is", err)
	}
	equal(t, "nothing written", viewGet(t, e, a), "1")
	if err := e.View(ctxOf(t), kv.Linearizable, func(kv.Reader) error { return errMine }); err != errMine {
		t.Errorf("View returned %v, want the error of the function as it is", err)
	}
	var dead kv.Txn
	update(t, e, func(x kv.Txn) error { dead = x; return nil })
	if _, err := dead.Get(ctxOf(t), a); err == nil {
		t.Error("a transaction reads after its end")
	}
}

func testSnapshotView(t *testing.T, e kv.Engine) {
	a, b := key(1, "a"), key(2, "b")
	put(t, e, a, "1")
	put(t, e, b, "1")
	err := e.View(ctxOf(t), kv.Linearizable, func(r kv.Reader) error {
		equal(t, "before", get(t, r, a), "1")
		update(t, e, func(x kv.Txn) error {
			x.Put(a, []byte("2"))
			x.Put(b, []byte("2"))
			x.Put(key(1, "new"), []byte("2"))
			return nil
		})
		equal(t, "same snapshot, other key", get(t, r, b), "1")
		equal(t, "same snapshot, scan", scan(t, r, kv.Prefix(key(1, "")), kv.ScanOptions{}), "a=1")
		equal(t, "new view", viewGet(t, e, a), "2")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// testWriteSkew stages two transactions that each read what the other writes.
func testWriteSkew(t *testing.T, e kv.Engine) {
	a, b := key(1, "a"), key(2, "b")
	put(t, e, a, "1")
	put(t, e, b, "1")
	runs := 0
	update(t, e, func(x kv.Txn) error {
		runs++
		va, vb := get(t, x, a), get(t, x, b)
		if runs == 1 {
			update(t, e, func(y kv.Txn) error {
				if get(t, y, a)+get(t, y, b) == "11" {
					y.Put(b, []byte("0"))
				}
				return nil
			})
		}
		if va+vb == "11" {
			x.Put(a, []byte("0"))
		}
		return nil
	})
	if runs < 2 {
		t.Errorf("the outer transaction ran %d times, want at least 2", runs)
	}
	equal(t, "a", viewGet(t, e, a), "1")
	equal(t, "b", viewGet(t, e, b), "0")
}

// testManyKeys reads many keys at once: absent ones, doubled ones, in any
// order, and while they change.
func testManyKeys(t *testing.T, e kv.Engine) {
	const n = 300
	k := func(i int) []byte { return key(uint64(i%7), fmt.Sprintf("%04d", i)) }
	for from := 0; from < n; from += 100 {
		update(t, e, func(x kv.Txn) error {
			for i := from; i < from+100; i++ {
				if i%3 != 0 {
					x.Put(k(i), []byte(fmt.Sprint(i)))
				}
			}
			return nil
		})
	}
	rng := rand.New(rand.NewPCG(3, 1))
	err := e.View(ctxOf(t), kv.Linearizable, func(r kv.Reader) error {
		for round := range 4 {
			var is []int
			var ks [][]byte
			for range 40 * (round + 1) {
				i := rng.IntN(n)
				is, ks = append(is, i), append(ks, k(i))
			}
			if round == 2 {
				// What others do meanwhile is not in the snapshot.
				update(t, e, func(x kv.Txn) error {
					for i := range 100 {
						x.Put(k(i), []byte("later"))
					}
					return nil
				})
			}
			vs, err := r.GetMany(ctxOf(t), ks)
			if err != nil {
				return err
			}
			for j, i := range is {
				if i%3 == 0 && vs[j] != nil || i%3 != 0 && string(vs[j]) != fmt.Sprint(i) {
					return fmt.Errorf("round %d: key %d has %q", round, i, vs[j])
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
