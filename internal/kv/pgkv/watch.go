package pgkv

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"manifold/internal/kv"
	"manifold/internal/kv/kvbase"
)

// Revisions are taken from a sequence before the commit, so a lower one may
// become visible after a higher one, or never. The poller remembers the gaps
// it met and asks for them too, for longer than a transaction can live.
const (
	gapLife  = 90 * time.Second
	maxGaps  = 4096
	startGap = 512 // how far below the newest revision a commit may be under way
	// A poller that slept longer than this may have missed deleted rows.
	maxSleep = 2 * time.Minute
	// Rows are deleted once they are this many sweeps old.
	sweepEvery = time.Minute
	sweepsKept = 5
)

// poller reads the changes that all nodes committed and passes them on.
type poller struct {
	e    *Engine
	wake chan struct{}

	mu   sync.Mutex // held while it reads
	on   bool       // high and gaps are set
	high int64      // the newest revision met
	gaps map[int64]time.Time
	last time.Time // of the last read
	old  []int64   // the newest revision at each of the last sweeps
}

func (p *poller) init(e *Engine) {
	p.e = e
	p.wake = make(chan struct{}, 1)
}

// hurry makes the poller look now.
func (p *poller) hurry() {
	if !p.e.hub.Watched() {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Watch implements kv.Engine.
func (e *Engine) Watch(ctx context.Context, r kv.Range) (<-chan kv.Batch, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	e.poll.mu.Lock()
	defer e.poll.mu.Unlock()
	if !e.poll.on || !e.hub.Watched() {
		if err := e.poll.start(ctx); err != nil {
			return nil, err
		}
	}
	return e.hub.Watch(ctx, kv.Range{Start: bytes.Clone(r.Start), End: bytes.Clone(r.End)})
}

// start sets out from the newest revision; what is missing just below it may
// still come.
func (p *poller) start(ctx context.Context) error {
	var high int64
	seen := map[int64]bool{}
	err := p.read(ctx, func(r pgx.Rows) error {
		var rev int64
		err := r.Scan(&rev)
		seen[rev] = true
		high = max(high, rev)
		return err
	}, `select rev from manifold_change order by rev desc limit $1`, startGap)
	if err != nil {
		return err
	}
	now := time.Now()
	p.gaps = map[int64]time.Time{}
	for rev := max(1, high-startGap); rev < high; rev++ {
		if !seen[rev] {
			p.gaps[rev] = now
		}
	}
	p.high, p.last, p.on = high, now, true
	return nil
}

func (p *poller) read(ctx context.Context, row func(pgx.Rows) error, sql string, args ...any) error {
	for {
		c, err := p.e.acquire(ctx)
		if err != nil {
			return err
		}
		t := tx{e: p.e, c: c, begin: `begin`}
		err = t.query(ctx, row, sql, args...)
		t.release(ctx)
		if !again(err) {
			return err
		}
		p.e.pool.Reset()
	}
}

// again tells whether an error passes when the same is tried once more.
func again(err error) bool { return errors.Is(err, kvbase.ErrConflict) || errors.Is(err, errBroken) }

// run polls while somebody watches, and deletes old rows.
func (p *poller) run(ctx context.Context) {
	tick := time.NewTicker(p.e.o.PollInterval)
	defer tick.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
			err = p.once(ctx)
		case <-tick.C:
			err = p.once(ctx)
		case <-sweep.C:
			err = p.sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			p.e.log.Warn("read the changes of other nodes", "err", err)
		}
	}
}

// once reads what is new.
func (p *poller) once(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.e.hub.Watched() {
		p.on, p.gaps = false, nil
		return nil
	}
	now := time.Now()
	if !p.on || now.Sub(p.last) > maxSleep || len(p.gaps) > maxGaps {
		if err := p.start(ctx); err != nil {
			return err
		}
		p.e.hub.Resync(kv.Rev(p.high))
		return nil
	}
	gaps := make([]int64, 0, len(p.gaps))
	for rev, since := range p.gaps {
		if now.Sub(since) > gapLife {
			delete(p.gaps, rev)
			continue
		}
		gaps = append(gaps, rev)
	}
	type change struct {
		rev  int64
		keys []byte
	}
	var all []change
	const page = 1000
	err := p.read(ctx, func(r pgx.Rows) error {
		var c change
		err := r.Scan(&c.rev, &c.keys)
		all = append(all, c)
		return err
	}, `select rev, keys from manifold_change where rev > $1 or rev = any($2) order by rev limit $3`, p.high, gaps, page)
	if err != nil {
		return err
	}
	p.last = now
	for _, c := range all {
		delete(p.gaps, c.rev)
		for rev := p.high + 1; rev < c.rev && len(p.gaps) <= maxGaps; rev++ {
			p.gaps[rev] = now
		}
		p.high = max(p.high, c.rev)
		p.e.met(c.rev)
		ws, err := unpackKeys(c.keys)
		if err != nil || c.keys == nil {
			p.e.hub.Resync(kv.Rev(c.rev))
			continue
		}
		p.e.hub.Publish(kv.Rev(c.rev), ws)
	}
	if len(all) == page {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// sweep deletes rows that every poller has read or will ask to resync for.
func (p *poller) sweep(ctx context.Context) error {
	var high *int64
	if err := p.read(ctx, func(r pgx.Rows) error { return r.Scan(&high) }, `select max(rev) from manifold_change`); err != nil {
		return err
	}
	if high == nil {
		return nil
	}
	p.old = append(p.old, *high)
	if len(p.old) <= sweepsKept {
		return nil
	}
	bound := p.old[0]
	p.old = p.old[1:]
	_, err := p.e.exec(ctx, `delete from manifold_change where rev < $1`, bound)
	return err
}
