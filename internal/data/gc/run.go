package gc

import (
	"context"
	"time"

	"manifold/internal/data"
)

// maxBackoff bounds the wait after an error.
const maxBackoff = time.Minute

// Run collects until ctx ends. It sleeps while there is nothing to do: it wakes
// when an extent is queued, when a grace is over, and every Interval.
func (c *Collector) Run(ctx context.Context) {
	// A watch is only a hint; without one the interval must do.
	watch, err := c.eng.Watch(ctx, data.QueueRange())
	if err != nil {
		c.o.Logger.Warn("no watch on the queue of extents to free", "err", err)
		watch = nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	backoff := time.Second
	soon := false // the timer is set to Delay
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-watch:
			if !ok {
				watch = nil
			}
			if !soon {
				soon = true
				timer.Reset(c.o.Delay)
			}
			continue
		case <-timer.C:
		}
		soon = false
		before := c.copied()
		more, err := c.Step(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.o.Logger.Error("collecting failed; tried again later", "err", err, "in", backoff)
			timer.Reset(backoff)
			backoff = min(2*backoff, maxBackoff)
			soon = true // an event must not shorten the wait
			continue
		case more:
			backoff = time.Second
			timer.Reset(c.pace(c.copied() - before))
			soon = true
		default:
			backoff = time.Second
			timer.Reset(c.due())
		}
	}
}

func (c *Collector) copied() uint64 {
	s := c.Stats()
	return s.MovedBytes + s.PackedBytes
}

// pace is how long to wait after so many bytes were moved.
func (c *Collector) pace(moved uint64) time.Duration {
	if c.o.MoveRate < 0 {
		return 0
	}
	return time.Duration(float64(moved) / float64(c.o.MoveRate) * float64(time.Second))
}
