package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"manifold/internal/ports"
)

// door is a port that an administrator opens and closes while the node runs.
// One goroutine, that of serve, owns its state.
type door struct {
	name   string
	id     ports.ID
	ledger *ports.Ledger
	log    *slog.Logger
	// drain is how long what is under way may take once the door was closed.
	drain time.Duration
	// wanted tells whether the port should be open, and answers a channel that
	// is closed when that may have changed.
	wanted func() (bool, <-chan struct{})
	// build makes the server of one opening.
	build func() doorServer

	requests chan doorRequest
	stopping chan struct{} // closed by shutdown
	stopped  chan struct{} // closed when serve has ended
	once     sync.Once

	socks  *ports.Sockets // bound, nil if not
	server doorServer     // nil while closed
	failed chan error     // of server
	// running are servers, those of former openings that still drain among them.
	running sync.WaitGroup
}

// doorServer serves on the sockets of a port until they are closed or it is
// shut down, and then answers nil.
type doorServer interface {
	Serve(ctx context.Context, s *ports.Sockets) error
	// Shutdown takes no new work and waits for what is running; when ctx ends
	// it cuts it off.
	Shutdown(ctx context.Context) error
}

// doorRequest asks for the port to be bound, or for the present state to be
// made what is wanted.
type doorRequest struct {
	bindOnly bool
	answer   chan error
}

func newDoor(name string, id ports.ID, l *ports.Ledger, drain time.Duration, log *slog.Logger, wanted func() (bool, <-chan struct{}), build func() doorServer) *door {
	return &door{
		name: name, id: id, ledger: l, drain: drain, log: log, wanted: wanted, build: build,
		requests: make(chan doorRequest), stopping: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// bindDoors binds those that are wanted before anything serves, so that
// conflicts are told all at once.
func bindDoors(ctx context.Context, doors ...*door) error {
	var all ports.ConflictError
	for _, d := range doors {
		if open, _ := d.wanted(); !open {
			continue
		}
		err := d.bind(ctx)
		var c *ports.ConflictError
		switch {
		case errors.Is(err, ports.ErrDisabled):
			d.log.WarnContext(ctx, "a protocol is switched on, but its port is disabled on the command line", "protocol", d.name)
		case errors.As(err, &c):
			all.Conflicts = append(all.Conflicts, c.Conflicts...)
		case err != nil:
			return err
		}
	}
	if len(all.Conflicts) > 0 {
		return &all
	}
	return nil
}

// bind binds the port if it is not bound.
func (d *door) bind(ctx context.Context) error {
	if d.socks != nil {
		return nil
	}
	if !d.ledger.Enabled(d.id) {
		return ports.ErrDisabled
	}
	s, err := d.ledger.Listen(ctx, d.id)
	if err != nil {
		return err
	}
	d.socks = s
	return nil
}

func (d *door) unbind() {
	if d.socks == nil {
		return
	}
	_ = d.socks.Close() // a server may have closed some of them
	d.socks = nil
	d.ledger.Release(d.id)
}

// Bind makes sure that the port can be opened, before it is promised.
func (d *door) Bind(ctx context.Context) error { return d.ask(ctx, true) }

// Sync opens or closes the port as is wanted now.
func (d *door) Sync(ctx context.Context) error { return d.ask(ctx, false) }

func (d *door) ask(ctx context.Context, bindOnly bool) error {
	r := doorRequest{bindOnly, make(chan error, 1)}
	select {
	case d.requests <- r:
	case <-d.stopped:
		return fmt.Errorf("%s: the node is stopping", d.name)
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// part is what the node runs.
func (d *door) part() part {
	return part{name: d.name, serve: d.serve, shutdown: func(ctx context.Context) error {
		d.once.Do(func() { close(d.stopping) })
		select {
		case <-d.stopped:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
}

// doorRetry is how long a port that could not be bound rests.
const doorRetry = 10 * time.Second

// serve follows what is wanted until shutdown or ctx ends.
func (d *door) serve(ctx context.Context) error {
	defer close(d.stopped)
	defer d.running.Wait()
	defer d.close(ctx)
	retry := time.NewTimer(doorRetry)
	defer retry.Stop()
	for {
		_, changed := d.wanted()
		if err := d.sync(ctx); err != nil && !errors.Is(err, ports.ErrDisabled) {
			d.log.ErrorContext(ctx, "port not opened; tried again later", "protocol", d.name, "error", err)
			retry.Reset(doorRetry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-d.stopping:
			return nil
		case <-changed:
		case <-retry.C:
		case err := <-d.failed:
			return err
		case r := <-d.requests:
			if r.bindOnly {
				r.answer <- d.bind(ctx)
				// What asked for it decides next; until then the port stays bound.
				d.decide(ctx)
			} else {
				r.answer <- d.sync(ctx)
			}
		}
	}
}

// decide waits a moment for the request that follows a Bind.
func (d *door) decide(ctx context.Context) {
	t := time.NewTimer(doorRetry)
	defer t.Stop()
	select {
	case r := <-d.requests:
		if r.bindOnly {
			r.answer <- d.bind(ctx)
		} else {
			r.answer <- d.sync(ctx)
		}
	case <-t.C:
	case <-d.stopping:
	case <-ctx.Done():
	}
}

// sync makes the state what is wanted.
func (d *door) sync(ctx context.Context) error {
	open, _ := d.wanted()
	switch {
	case !open:
		d.close(ctx)
		return nil
	case d.server != nil:
		return nil
	}
	if err := d.bind(ctx); err != nil {
		return err
	}
	server, socks, failed := d.build(), d.socks, make(chan error, 1)
	d.server, d.failed = server, failed
	d.running.Go(func() {
		// A nil is the answer to a close; it must not look like a failure.
		if err := server.Serve(ctx, socks); err != nil {
			failed <- err
		}
	})
	d.log.InfoContext(ctx, "port opened", "protocol", d.name, "port", d.ledger.Number(d.id))
	return nil
}

// close frees the port at once and lets what is under way finish.
func (d *door) close(ctx context.Context) {
	server := d.server
	d.unbind()
	d.server, d.failed = nil, nil
	if server == nil {
		return
	}
	d.log.InfoContext(ctx, "port closed", "protocol", d.name)
	d.running.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, d.drain)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			d.log.WarnContext(ctx, "not everything finished in time", "protocol", d.name, "error", err)
		}
	})
}
