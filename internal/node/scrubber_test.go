package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/data/scrub"
)

// memory is a lastScrub.
type scrubMemory struct {
	mu   sync.Mutex
	have bool
	last config.Scrub
}

func (m *scrubMemory) LastScrub(context.Context, uint64) (config.Scrub, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.have {
		return config.Scrub{}, config.ErrNotFound
	}
	return m.last, nil
}

func (m *scrubMemory) SetLastScrub(_ context.Context, _ uint64, v config.Scrub) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.have, m.last = true, v
	return nil
}

// scrubCall is one running scrub of a test.
type scrubCall struct {
	o   scrub.Options
	ctx context.Context
	end chan error
}

func testScrubber(t *testing.T, m *scrubMemory) (*scrubber, chan *scrubCall) {
	t.Helper()
	calls := make(chan *scrubCall)
	s := &scrubber{last: m, now: time.Now, log: slog.New(slog.DiscardHandler), kick: make(chan struct{}, 1)}
	s.scrub = func(ctx context.Context, o scrub.Options) (scrub.Report, error) {
		c := &scrubCall{o, ctx, make(chan error)}
		calls <- c
		return scrub.Report{Progress: scrub.Progress{Extents: 5, Bytes: 500, Findings: 1}}, <-c.end
	}
	if err := s.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return s, calls
}

func TestScrubber(t *testing.T) {
	ctx := t.Context()
	m := &scrubMemory{}
	s, calls := testScrubber(t, m)
	if st := s.status(); st.Running || !st.Started.IsZero() {
		t.Errorf("%+v", st)
	}
	st, err := s.StartScrub(ctx, 1000)
	if err != nil || !st.Running {
		t.Fatalf("%+v %v", st, err)
	}
	c := <-calls
	if c.o.Rate != 1000 {
		t.Errorf("rate %d", c.o.Rate)
	}
	if again, _ := s.StartScrub(ctx, 7); !again.Started.Equal(st.Started) {
		t.Error("a running scrub was begun anew")
	}
	c.o.Progress(scrub.Progress{Extents: 3, Bytes: 300})
	c.o.Found(scrub.Finding{Kind: scrub.Checksum, Extent: 7, Block: 1, Err: errors.New("bad")})
	if st := s.status(); st.Bytes != 300 || st.Findings != 1 || len(st.Damage) != 1 {
		t.Errorf("%+v", st)
	}

	// Stopped by hand: the former run sees its context end and tells no more.
	if st, _ := s.StopScrub(ctx); st.Running || st.Complete || st.Ended.IsZero() {
		t.Errorf("%+v", st)
	}
	<-c.ctx.Done()
	if st, _ := s.StartScrub(ctx, 0); !st.Running || st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
	c.o.Progress(scrub.Progress{Bytes: 999})
	c.end <- context.Canceled
	c = <-calls
	if st := s.status(); st.Bytes != 0 || !st.Running {
		t.Errorf("the former run tells of itself: %+v", st)
	}
	if m.have {
		t.Error("a stopped scrub is remembered")
	}
	c.end <- nil
	waitScrub(t, s, func(st control.ScrubStatus) bool { return !st.Running })
	if st := s.status(); !st.Complete || st.Extents != 5 || st.Findings != 1 {
		t.Errorf("%+v", st)
	}
}

// waitScrub waits until the status is as wanted; the goroutine of the scrubber
// gets there by itself.
func waitScrub(t *testing.T, s *scrubber, ok func(control.ScrubStatus) bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok(s.status()) {
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-tick.C:
		}
	}
}

func TestScrubber_failureIsShown(t *testing.T) {
	s, calls := testScrubber(t, &scrubMemory{})
	if _, err := s.StartScrub(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	(<-calls).end <- errors.New("disk on fire")
	waitScrub(t, s, func(st control.ScrubStatus) bool { return !st.Running })
	if st := s.status(); st.Complete || len(st.Damage) != 1 {
		t.Errorf("%+v", st)
	}
}

func TestScrubber_remembersOverRestarts(t *testing.T) {
	end := time.Now().Add(-time.Hour)
	s, _ := testScrubber(t, &scrubMemory{have: true, last: config.Scrub{Started: end.Add(-time.Minute), Ended: end, Bytes: 42}})
	if st := s.status(); st.Running || !st.Complete || st.Bytes != 42 || !st.Ended.Equal(end) {
		t.Errorf("%+v", st)
	}
}
