package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// part is something that serves until it is told to stop.
type part struct {
	name string
	// serve blocks until shutdown was called, then answers nil, or until it
	// fails. ctx ends when everything has been drained or the time for it is over.
	serve func(ctx context.Context) error
	// shutdown takes no new work and waits for what is running; when ctx ends
	// it cuts it off. nil: serve ends by its ctx alone.
	shutdown func(ctx context.Context) error
}

// runParts serves until ctx ends or a part fails, then drains all: at most
// drain long. It answers the failure that stopped it, nil if it was ctx.
func runParts(ctx context.Context, log *slog.Logger, drain time.Duration, parts []part, ready func()) error {
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stop, fail := context.WithCancelCause(ctx)
	defer fail(nil)

	var running sync.WaitGroup
	for _, p := range parts {
		running.Go(func() {
			if err := p.serve(work); err != nil && work.Err() == nil {
				fail(fmt.Errorf("%s: %w", p.name, err))
			}
		})
	}
	if ready != nil {
		ready()
	}
	<-stop.Done()
	var failure error
	if cause := context.Cause(stop); ctx.Err() == nil && !errors.Is(cause, context.Canceled) {
		failure = cause
		log.ErrorContext(ctx, "a service failed; stopping", "error", failure)
	} else {
		log.InfoContext(ctx, "stopping: finishing what is under way", "at_most", drain)
	}

	dctx, done := context.WithTimeout(work, drain)
	defer done()
	var draining sync.WaitGroup
	for _, p := range parts {
		if p.shutdown == nil {
			continue
		}
		draining.Go(func() {
			if err := p.shutdown(dctx); err != nil {
				log.WarnContext(ctx, "not everything finished in time", "service", p.name, "error", err)
			}
		})
	}
	draining.Wait()
	cut()
	running.Wait()
	return failure
}
