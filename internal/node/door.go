package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"manifold/internal/ports"
	"manifold/internal/wire/accept"
)

// guest is a server behind a door.
type guest interface {
	Shutdown(ctx context.Context) error
	Close() error
	Stats() accept.Stats
	Clients() []accept.Client
	Disconnect(user string) int
}

// door is a protocol that an administrator switches on and off while the node
// runs. Opened, it has its ports and a server; closed, neither.
type door struct {
	name   string
	ids    []ports.ID
	ledger *ports.Ledger
	// on tells whether it is to be open.
	on func() bool
	// news is closed when on may say something else; ask before on.
	news func() <-chan struct{}
	// build makes a server, and what serves one listener of a port.
	build func() (guest, func(ctx context.Context, id ports.ID, l net.Listener) error, error)
	// hello, if set, are sockets that were bound before the door runs.
	hello map[ports.ID]*ports.Sockets
	log   *slog.Logger

	mu struct {
		sync.Mutex
		ctx    context.Context // of what is served; nil before run and after it
		server guest           // nil: closed
		socks  map[ports.ID]*ports.Sockets
		err    error  // why it is closed although it should be open
		past   uint64 // connections that servers before this one accepted
	}
	serving sync.WaitGroup
}

// doorRetry is how long a door waits before it tries a taken port again.
const doorRetry = 10 * time.Second

// part runs the door.
func (d *door) part() part {
	return part{name: d.name, serve: d.run, shutdown: func(ctx context.Context) error { return d.shut(ctx) }}
}

func (d *door) run(ctx context.Context) error {
	d.mu.Lock()
	d.mu.ctx = ctx
	d.mu.Unlock()
	for {
		news := d.news()
		d.apply()
		var again <-chan time.Time
		if d.trouble() != nil {
			again = time.After(doorRetry)
		}
		select {
		case <-news:
		case <-again:
		case <-ctx.Done():
			err := d.shut(ctx)
			d.serving.Wait()
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			return err
		}
	}
}

// apply opens or closes the door as it should be. What it cannot open it tries
// again later.
func (d *door) apply() {
	d.mu.Lock()
	if d.mu.ctx == nil || d.mu.ctx.Err() != nil {
		d.mu.Unlock()
		return
	}
	ctx := d.mu.ctx
	switch on := d.on(); {
	case on && d.mu.server == nil:
		had := d.mu.err
		d.mu.err = d.open(ctx)
		if d.mu.err != nil && (had == nil || had.Error() != d.mu.err.Error()) {
			d.log.ErrorContext(ctx, "a service could not be opened; it is tried again", "service", d.name, "error", d.mu.err)
		} else if d.mu.err == nil {
			d.log.InfoContext(ctx, "service opened", "service", d.name)
		}
		d.mu.Unlock()
	case !on:
		d.mu.err = nil
		s := d.close()
		d.mu.Unlock()
		if s != nil {
			d.log.InfoContext(ctx, "service closed", "service", d.name)
			_ = s.Close()
		}
	default:
		d.mu.Unlock()
	}
}

// open binds and serves. d.mu is held.
func (d *door) open(ctx context.Context) error {
	socks := d.hello
	if d.hello = nil; socks == nil {
		var err error
		if socks, err = d.ledger.Bind(ctx, d.ids...); err != nil {
			return err
		}
	}
	s, serve, err := d.build()
	if err != nil {
		d.release(socks)
		return err
	}
	d.mu.server, d.mu.socks = s, socks
	for id, k := range socks {
		for _, l := range k.Listeners {
			d.serving.Go(func() {
				err := serve(ctx, id, l)
				if err == nil || errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
					return
				}
				d.log.ErrorContext(ctx, "a listener failed; it is opened again", "service", d.name, "error", err)
				d.mu.Lock()
				d.mu.err = fmt.Errorf("listener: %w", err)
				var dead guest
				if d.mu.server == s {
					dead = d.close()
				}
				d.mu.Unlock()
				if dead != nil {
					_ = dead.Close()
				}
			})
		}
	}
	return nil
}

// close gives the ports back and answers the server, which the caller ends
// without the lock. d.mu is held.
func (d *door) close() guest {
	s := d.mu.server
	if s == nil {
		d.release(d.hello)
		d.hello = nil
		return nil
	}
	d.mu.past += s.Stats().Accepted
	d.release(d.mu.socks)
	d.mu.server, d.mu.socks = nil, nil
	return s
}

func (d *door) release(socks map[ports.ID]*ports.Sockets) {
	for id, k := range socks {
		_ = d.ledger.Release(id, k)
	}
}

// shut drains the server for good.
func (d *door) shut(ctx context.Context) error {
	d.mu.Lock()
	d.mu.ctx = nil
	s := d.close()
	d.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Shutdown(ctx)
}

// trouble is why the door is closed although it should be open.
func (d *door) trouble() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.err
}

// status in a word for administrators, and what is wrong.
func (d *door) status() (word string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.mu.err != nil:
		return "FAILED", d.mu.err
	case d.mu.server != nil && len(d.mu.socks) > 0:
		return "RUNNING", nil
	}
	return "STOPPED", nil
}

// connections counts those that were opened and those that ended.
func (d *door) connections() (opened, ended uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	opened, ended = d.mu.past, d.mu.past
	if d.mu.server != nil {
		n := d.mu.server.Stats()
		opened += n.Accepted
		ended += n.Accepted - uint64(max(n.Open, 0))
	}
	return opened, ended
}

// disconnect ends the connections of an account.
func (d *door) disconnect(user string) {
	d.mu.Lock()
	s := d.mu.server
	d.mu.Unlock()
	if s != nil {
		s.Disconnect(user)
	}
}
