package kvtest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"manifold/internal/kv"
)

// testFair scans a prefix in which others create keys without pause: the scan
// must commit before long.
func testFair(t *testing.T, e kv.Engine) {
	ctx, stop := context.WithCancel(ctxOf(t))
	var wg sync.WaitGroup
	begun := make(chan struct{}, 4)
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ctx.Err() == nil; i++ {
				_, err := e.Update(ctx, func(x kv.Txn) error {
					x.Put(key(1, fmt.Sprintf("%d-%d", w, i%50)), nil)
					return nil
				})
				if err != nil && ctx.Err() == nil {
					t.Errorf("a writer: %v", err)
					return
				}
				if i == 0 {
					begun <- struct{}{}
				}
			}
		}()
	}
	for range 4 {
		<-begun
	}
	for range 10 {
		runs := 0
		update(t, e, func(x kv.Txn) error {
			if runs++; runs > 200 {
				return fmt.Errorf("the scan lost %d times", runs)
			}
			for range 3 {
				for _, err := range x.Scan(ctx, kv.Prefix(key(1, "")), kv.ScanOptions{}) {
					if err != nil {
						return err
					}
				}
			}
			x.Put(key(2, "sum"), nil)
			return nil
		})
	}
	stop()
	wg.Wait()
}
