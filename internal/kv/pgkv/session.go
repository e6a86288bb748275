package pgkv

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"manifold/internal/kv"
)

// session is a row that its holder renews. The holder counts from before each
// request, so it gives up before the database does.
type session struct {
	e    *Engine
	id   uint64
	ttl  time.Duration
	stop context.CancelFunc
	now  chan struct{} // asks to renew now; tests use it

	mu    sync.Mutex
	until time.Time
	ended bool
	lost  chan struct{}
}

// exec runs a statement of its own, with Patience.
func (e *Engine) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	for {
		c, err := e.acquire(ctx)
		if err != nil {
			return 0, err
		}
		tag, err := c.Exec(ctx, sql, args...)
		lost := c.Conn().IsClosed()
		c.Release()
		if err = classify(ctx, err, lost); err == nil {
			return tag.RowsAffected(), nil
		}
		if !again(err) {
			return 0, err
		}
		e.pool.Reset()
	}
}

// NewSession implements kv.Engine.
func (e *Engine) NewSession(ctx context.Context, ttl time.Duration, info []byte) (kv.Session, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	if ttl < time.Millisecond {
		return nil, fmt.Errorf("pgkv: a session of %v is too short", ttl)
	}
	c, err := e.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Release()
	before := time.Now()
	var id int64
	err = c.QueryRow(ctx, `insert into manifold_session (id, info, expires)
		values (nextval('manifold_id'), $1, clock_timestamp() + $2::bigint * interval '1 microsecond') returning id`,
		append([]byte{}, info...), ttl.Microseconds()).Scan(&id)
	if err != nil {
		if err = classify(ctx, err, c.Conn().IsClosed()); again(err) {
			err = fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
		}
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &session{e: e, id: uint64(id), ttl: ttl, stop: stop, until: before.Add(ttl), lost: make(chan struct{}), now: make(chan struct{})}
	e.sessMu.Lock()
	e.sessions[s.id] = s
	e.sessMu.Unlock()
	e.wg.Add(1)
	go func() {
		defer e.wg.Done()
		s.renew(run)
	}()
	return s, nil
}

// renew keeps the lease until it ends.
func (s *session) renew(ctx context.Context) {
	defer s.end()
	for {
		left := time.Until(s.term())
		if left <= 0 {
			return
		}
		// A third of the term after the last renewal, or soon if that failed.
		t := time.NewTimer(max(min(left-s.ttl*2/3, s.ttl/3), min(s.ttl/20, left)))
		select {
		case <-t.C:
		case <-s.now:
			t.Stop()
		case <-ctx.Done():
			t.Stop()
			return
		}
		before := time.Now()
		one, cancel := context.WithTimeout(ctx, min(s.ttl/3, left))
		n, err := s.e.exec(one, `update manifold_session set expires = clock_timestamp() + $2::bigint * interval '1 microsecond'
			where id = $1 and expires > clock_timestamp()`, int64(s.id), s.ttl.Microseconds())
		cancel()
		switch {
		case err != nil:
			s.e.log.Warn("renew a session", "session", s.id, "err", err)
		case n == 0:
			return
		default:
			s.mu.Lock()
			s.until = before.Add(s.ttl)
			s.mu.Unlock()
		}
	}
}

// end makes the loss known, once.
func (s *session) end() {
	s.stop()
	s.e.sessMu.Lock()
	delete(s.e.sessions, s.id)
	s.e.sessMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		close(s.lost)
	}
}

// term returns when the lease ends unless it is renewed.
func (s *session) term() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until
}

func (s *session) ID() uint64 { return s.id }

func (s *session) Valid() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := time.Until(s.until)
	if s.ended || left <= 0 {
		return 0, false
	}
	return left, true
}

func (s *session) Lost() <-chan struct{} { return s.lost }

func (s *session) Close(ctx context.Context) error {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	s.end()
	if ended {
		return nil
	}
	return s.e.EndSession(ctx, s.id)
}

// EndSession implements kv.Engine.
func (e *Engine) EndSession(ctx context.Context, id uint64) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.gate.Leave()
	if _, err := e.exec(ctx, `delete from manifold_session where id = $1`, int64(id)); err != nil {
		return err
	}
	e.sessMu.Lock()
	s := e.sessions[id]
	e.sessMu.Unlock()
	if s != nil {
		s.end()
	}
	return nil
}

// Sessions implements kv.Engine. Those that have run out are ended first:
// whoever finds one missing may rely on its fences.
func (e *Engine) Sessions(ctx context.Context) ([]kv.SessionInfo, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	if _, err := e.exec(ctx, `delete from manifold_session where expires <= clock_timestamp()`); err != nil {
		return nil, err
	}
	for {
		out := []kv.SessionInfo{}
		c, err := e.acquire(ctx)
		if err != nil {
			return nil, err
		}
		t := tx{e: e, c: c, begin: `begin`}
		err = t.query(ctx, func(r pgx.Rows) error {
			var id int64
			var i kv.SessionInfo
			err := r.Scan(&id, &i.Info)
			i.ID = uint64(id)
			out = append(out, i)
			return err
		}, `select id, info from manifold_session order by id`)
		t.release(ctx)
		if err == nil {
			return out, nil
		}
		if !again(err) {
			return nil, err
		}
	}
}

// closeSessions ends the sessions of this engine.
func (e *Engine) closeSessions() error {
	e.sessMu.Lock()
	var all []*session
	for _, s := range e.sessions {
		all = append(all, s)
	}
	e.sessMu.Unlock()
	if len(all) == 0 {
		return nil
	}
	ids := make([]int64, 0, len(all))
	for _, s := range all {
		ids = append(ids, int64(s.id))
		s.end()
	}
	ctx, cancel := context.WithTimeout(e.run, endTimeout)
	defer cancel()
	if _, err := e.exec(ctx, `delete from manifold_session where id = any($1)`, ids); err != nil {
		return fmt.Errorf("pgkv: close: %w", err)
	}
	return nil
}
