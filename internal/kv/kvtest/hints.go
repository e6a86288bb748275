package kvtest

import (
	"testing"

	"manifold/internal/kv"
)

// testUnvalidatedScanOfAll scans across prefixes, before and after other reads
// and while others commit.
func testUnvalidatedScanOfAll(t *testing.T, e kv.Engine) {
	a, b := key(1, "a"), key(2, "b")
	update(t, e, func(x kv.Txn) error { x.Put(a, []byte("1")); x.Put(b, []byte("1")); return nil })
	for _, first := range []string{"nothing", "a get", "an unvalidated get"} {
		runs := 0
		update(t, e, func(x kv.Txn) error {
			runs++
			v := ""
			switch first {
			case "a get":
				v = get(t, x, a)
			case "an unvalidated get":
				v = get(t, x.Unvalidated(), a)
			}
			if runs == 1 {
				update(t, e, func(y kv.Txn) error {
					v := get(t, y, a) + "1"
					y.Put(a, []byte(v))
					y.Put(b, []byte(v))
					return nil
				})
			}
			var all []string
			for got, err := range x.Unvalidated().Scan(ctxOf(t), kv.Range{}, kv.ScanOptions{}) {
				if err != nil {
					return err
				}
				all = append(all, string(got.Value))
			}
			if len(all) != 2 || all[0] != all[1] || v != "" && v != all[0] {
				t.Errorf("after %s: %q, then %q", first, v, all)
			}
			if got := get(t, x, b); got != all[1] {
				t.Errorf("after %s: a get has %q, the scan had %q", first, got, all[1])
			}
			x.Put(key(1, "c"), nil)
			x.Delete(key(1, "c"))
			return nil
		})
	}
}

// testBusyHint reads a key without validation that changes between all reads:
// the Update must get through all the same.
func testBusyHint(t *testing.T, e kv.Engine) {
	busy := key(1, "busy")
	put(t, e, busy, "0")
	n := 0
	update(t, e, func(x kv.Txn) error {
		u := x.Unvalidated()
		was := get(t, u, busy)
		for range 3 {
			n++
			put(t, e, key(1, "busy"), "x")
			// An attempt that cannot tell the value at its start ends here.
			v, err := u.Get(ctxOf(t), busy)
			if err != nil {
				return err
			}
			if string(v) != was {
				t.Errorf("the hint changed from %q to %q", was, v)
			}
			was = string(v)
		}
		x.Put(key(2, "done"), nil)
		return nil
	})
	if n > 100 {
		t.Errorf("%d rounds", n)
	}
}
