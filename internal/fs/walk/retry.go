package walk

import (
	"context"
	"time"

	"manifold/internal/fs"
)

// Retry repeats what failed with Retry or Grace for a while, for protocols
// whose clients do not ask again.
func Retry(ctx context.Context, do func() error) error {
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		err := do()
		if k := fs.KindOf(err); err == nil || k != fs.Retry && k != fs.Grace || wait > 4*time.Second {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}
