package kvbase

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"manifold/internal/kv"
)

// Sessions is the table of the sessions of an engine that lives in one
// process. Sessions end with the process, so none needs renewal: a session is
// valid until it is closed, ended by another, or the engine closes.
type Sessions struct {
	// Commit is the engine's commit lock. Ending a session takes it, so that no
	// commit that saw the session valid happens after the end.
	Commit sync.Locker

	mu  sync.Mutex
	all map[uint64]*session
}

type session struct {
	t    *Sessions
	id   uint64
	ttl  time.Duration
	info []byte
	lost chan struct{}
}

// Add starts a session under an id that was never used before.
func (t *Sessions) Add(id uint64, ttl time.Duration, info []byte) kv.Session {
	s := &session{t: t, id: id, ttl: ttl, info: append([]byte{}, info...), lost: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[uint64]*session{}
	}
	t.all[id] = s
	return s
}

// End ends a session; ending one that has ended is no error.
func (t *Sessions) End(id uint64) {
	t.Commit.Lock()
	defer t.Commit.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.all[id]; s != nil {
		delete(t.all, id)
		close(s.lost)
	}
}

// EndAll ends every session, for Close.
func (t *Sessions) EndAll() {
	t.Commit.Lock()
	defer t.Commit.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.all {
		close(s.lost)
	}
	t.all = nil
}

// Check returns ErrFenced unless all of the ids are valid. The caller holds
// the commit lock.
func (t *Sessions) Check(ids []uint64) error {
	if len(ids) == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		if t.all[id] == nil {
			return kv.ErrFenced
		}
	}
	return nil
}

// List returns the sessions that have not ended, by id.
func (t *Sessions) List() []kv.SessionInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]kv.SessionInfo, 0, len(t.all))
	for id, s := range t.all {
		out = append(out, kv.SessionInfo{ID: id, Info: append([]byte{}, s.info...)})
	}
	slices.SortFunc(out, func(a, b kv.SessionInfo) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (s *session) ID() uint64 { return s.id }

func (s *session) Valid() (time.Duration, bool) {
	select {
	case <-s.lost:
		return 0, false
	default:
		return s.ttl, true
	}
}

func (s *session) Lost() <-chan struct{} { return s.lost }

func (s *session) Close(context.Context) error {
	s.t.End(s.id)
	return nil
}
