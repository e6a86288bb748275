package kvtest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"manifold/internal/kv"
)

// interfere runs change once, in the first attempt of an Update after read,
// and returns how many attempts the Update took. The change also reads what
// the Update writes, so that neither can precede the other if the Update
// depends on what was changed.
func interfere(t *testing.T, e kv.Engine, read func(kv.Txn), change func(kv.Txn)) int {
	t.Helper()
	runs := 0
	update(t, e, func(x kv.Txn) error {
		runs++
		read(x)
		if runs == 1 {
			update(t, e, func(y kv.Txn) error {
				get(t, y, key(99, "done"))
				change(y)
				return nil
			})
		}
		x.Put(key(99, "done"), []byte("1"))
		return nil
	})
	return runs
}

func testConflicts(t *testing.T, e kv.Engine, mayRetry bool) {
	p := kv.Prefix(key(1, ""))
	reset := func() {
		update(t, e, func(x kv.Txn) error {
			for _, k := range []string{"a", "b", "c", "d", "e"} {
				x.Delete(key(1, k))
			}
			x.Put(key(1, "b"), []byte("1"))
			x.Put(key(1, "d"), []byte("1"))
			return nil
		})
	}
	put := func(k string) func(kv.Txn) {
		return func(x kv.Txn) { x.Put(key(1, k), []byte("2")) }
	}
	del := func(k string) func(kv.Txn) { return func(x kv.Txn) { x.Delete(key(1, k)) } }
	get := func(k string) func(kv.Txn) { return func(x kv.Txn) { get(t, x, key(1, k)) } }
	whole := func(x kv.Txn) { scan(t, x, p, kv.ScanOptions{}) }
	guard := func(x kv.Txn) { x.Guard(p) }
	for _, c := range []struct {
		name   string
		read   func(kv.Txn)
		change func(kv.Txn)
		retry  bool
	}{
		{"get, changed", get("b"), put("b"), true},
		{"get, deleted", get("b"), del("b"), true},
		{"get of absent, created", get("a"), put("a"), true},
		{"getmany, changed", func(x kv.Txn) {
			if _, err := x.GetMany(ctxOf(t), [][]byte{key(1, "a"), key(1, "d")}); err != nil {
				t.Error(err)
			}
		}, put("d"), true},
		{"scan, created", whole, put("c"), true},
		{"scan, created at the end", whole, put("e"), true},
		{"scan, changed", whole, put("d"), true},
		{"scan, deleted", whole, del("d"), true},
		{"scan of keys, created", func(x kv.Txn) { scan(t, x, p, kv.ScanOptions{KeysOnly: true}) }, put("a"), true},
		{"scan with limit, created before", func(x kv.Txn) { scan(t, x, p, kv.ScanOptions{Limit: 1}) }, put("a"), true},
		{"reverse scan with limit, created after", func(x kv.Txn) { scan(t, x, p, kv.ScanOptions{Limit: 1, Reverse: true}) }, put("e"), true},
		{"scan of nothing, created", func(x kv.Txn) { scan(t, x, kv.Prefix(key(1, "c")), kv.ScanOptions{}) }, put("c"), true},
		{"guard, created", guard, put("a"), true},
		{"guard, changed", guard, put("b"), true},
		{"guard, deleted", guard, del("b"), true},
		{"guard of a part, created", func(x kv.Txn) { x.Guard(kv.Range{Start: key(1, "c"), End: key(1, "d")}) }, put("c"), true},
		{"read after own write, changed", func(x kv.Txn) {
			scan(t, x, p, kv.ScanOptions{})
			x.Put(key(1, "b"), []byte("own"))
		}, put("b"), true},
		{"unvalidated get, changed", func(x kv.Txn) { _, _ = x.Unvalidated().Get(ctxOf(t), key(1, "b")) }, put("b"), false},
		{"unvalidated scan, created", func(x kv.Txn) { scan(t, x.Unvalidated(), p, kv.ScanOptions{}) }, put("a"), false},
		{"unvalidated then get, changed", func(x kv.Txn) {
			scan(t, x.Unvalidated(), p, kv.ScanOptions{})
			get("b")(x)
		}, put("b"), true},
		{"get then unvalidated, changed", func(x kv.Txn) {
			get("b")(x)
			scan(t, x.Unvalidated(), p, kv.ScanOptions{})
		}, put("b"), true},
		{"blind write, changed", func(x kv.Txn) { x.Put(key(1, "b"), []byte("own")) }, put("b"), false},
	} {
		reset()
		runs := interfere(t, e, c.read, c.change)
		if c.retry && runs < 2 {
			t.Errorf("%s: committed in spite of the conflict", c.name)
		}
		if !c.retry && runs != 1 && !mayRetry {
			t.Errorf("%s: retried without reason", c.name)
		}
	}
}

// testOpacity changes keys between the reads of one attempt: even an attempt
// that cannot commit must not see two states at once.
func testOpacity(t *testing.T, e kv.Engine) {
	a, b := key(1, "a"), key(2, "b")
	both := func(v string) {
		update(t, e, func(x kv.Txn) error { x.Put(a, []byte(v)); x.Put(b, []byte(v)); return nil })
	}
	both("1")
	runs := 0
	_, err := e.Update(ctxOf(t), func(x kv.Txn) error {
		runs++
		va, err := x.Get(ctxOf(t), a)
		if err != nil {
			return err
		}
		if runs == 1 {
			both("2")
		}
		vb, err := x.Get(ctxOf(t), b)
		if err != nil {
			return err
		}
		if string(va) != string(vb) {
			t.Errorf("an attempt saw a=%s with b=%s", va, vb)
		}
		return errMine
	})
	if err != errMine {
		t.Errorf("Update: %v", err)
	}
	// The same with the second read as a scan, and a commit in between that
	// touches only what is read next: the attempt may move on.
	runs = 0
	update(t, e, func(x kv.Txn) error {
		runs++
		get(t, x, a)
		if runs == 1 {
			put(t, e, b, "3")
		}
		v := scan(t, x, kv.Prefix(key(2, "")), kv.ScanOptions{})
		if runs > 1 {
			equal(t, "scan after a change", v, "b=3")
		}
		x.Put(key(3, "c"), []byte(v))
		return nil
	})
}

// testUnvalidatedSnapshot reads one snapshot through both readers.
func testUnvalidatedSnapshot(t *testing.T, e kv.Engine) {
	a, b := key(1, "a"), key(2, "b")
	put(t, e, a, "1")
	put(t, e, b, "1")
	runs := 0
	update(t, e, func(x kv.Txn) error {
		runs++
		u := x.Unvalidated()
		va, err := u.Get(ctxOf(t), a)
		if err != nil {
			return err
		}
		if runs == 1 {
			update(t, e, func(y kv.Txn) error { y.Put(a, []byte("2")); y.Put(b, []byte("2")); return nil })
		}
		vb, err := u.Get(ctxOf(t), b)
		if err != nil {
			return err
		}
		if string(va) != string(vb) {
			t.Errorf("the unvalidated reader saw a=%s with b=%s", va, vb)
		}
		return nil
	})
}

// testCounter makes many goroutines increment few counters.
func testCounter(t *testing.T, e kv.Engine) {
	const workers, each = 8, 25
	ctx := ctxOf(t)
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				k := key(1, strconv.Itoa((w+i)%2))
				_, err := e.Update(ctx, func(x kv.Txn) error {
					v, err := x.Get(ctx, k)
					if err != nil && !errors.Is(err, kv.ErrNotFound) {
						return err
					}
					n, _ := strconv.Atoi(string(v))
					x.Put(k, []byte(strconv.Itoa(n+1)))
					return nil
				})
				if err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	n := 0
	for _, k := range []string{"0", "1"} {
		v, err := strconv.Atoi(viewGet(t, e, key(1, k)))
		if err != nil {
			t.Fatal(err)
		}
		n += v
	}
	equal(t, "sum of the counters", fmt.Sprint(n), fmt.Sprint(workers*each))
}

// testGiveUp conflicts for ever, until the context ends.
func testGiveUp(t *testing.T, e kv.Engine) {
	a := key(1, "a")
	put(t, e, a, "0")
	ctx, cancel := context.WithCancel(ctxOf(t))
	defer cancel()
	runs := 0
	_, err := e.Update(ctx, func(x kv.Txn) error {
		runs++
		get(t, x, a)
		put(t, e, a, strconv.Itoa(runs))
		if runs == 4 {
			cancel()
		}
		x.Put(a, []byte("never"))
		return nil
	})
	if !errors.Is(err, kv.ErrTooManyRetries) && !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v, want ErrTooManyRetries", err)
	}
	equal(t, "a", viewGet(t, e, a), strconv.Itoa(runs))
	if _, err := e.Update(ctx, func(kv.Txn) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Update under an ended context: %v", err)
	}
	if err := e.View(ctx, kv.Linearizable, func(kv.Reader) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View under an ended context: %v", err)
	}
}
