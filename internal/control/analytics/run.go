package analytics

import (
	"context"
	"time"
)

// Run ends windows until ctx does.
func (r *Recorder) Run(ctx context.Context) {
	t := time.NewTicker(window)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.turn()
		case <-ctx.Done():
			return
		}
	}
}
