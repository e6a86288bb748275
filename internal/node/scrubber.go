package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/data/scrub"
	"manifold/internal/telemetry"
)

const (
	// scrubEvery is how long after the last scrub the node begins another.
	scrubEvery = 7 * 24 * time.Hour
	// scrubRate of those that nobody asked for, in bytes a second.
	scrubRate = 32 << 20
	// scrubAfterStart keeps the first hour of a process free of them.
	scrubAfterStart = time.Hour
	// maxDamage bounds the findings that are kept in words.
	maxDamage = 100
)

// scrubber verifies all data while the node serves: when asked, and by itself
// once a week. It implements control.Scrubber.
type scrubber struct {
	// scrub does it once.
	scrub func(ctx context.Context, o scrub.Options) (scrub.Report, error)
	last  lastScrub
	now   func() time.Time
	log   *slog.Logger

	kick chan struct{} // a scrub was asked for

	mu struct {
		sync.Mutex
		status control.ScrubStatus
		wanted bool // asked for and not begun
		rate   int64
		number uint64             // of the scrub that status is about
		cancel context.CancelFunc // of the running one
	}
}

// lastScrub remembers scrubs over restarts.
type lastScrub interface {
	LastScrub(ctx context.Context, node uint64) (config.Scrub, error)
	SetLastScrub(ctx context.Context, node uint64, v config.Scrub) error
}

// thisNode is the id of a server that stands alone.
const thisNode = 1

var _ control.Scrubber = (*scrubber)(nil)

func newScrubber(ctx context.Context, st *storage, log *slog.Logger) (*scrubber, error) {
	s := &scrubber{
		scrub: func(ctx context.Context, o scrub.Options) (scrub.Report, error) {
			return scrub.Run(ctx, st.kv, st.data, o)
		},
		last: st.config, now: time.Now, log: log, kick: make(chan struct{}, 1),
	}
	return s, s.load(ctx)
}

// load shows the last scrub of an earlier process.
func (s *scrubber) load(ctx context.Context) error {
	l, err := s.last.LastScrub(ctx, thisNode)
	if errors.Is(err, config.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("last scrub: %w", err)
	}
	s.mu.status = control.ScrubStatus{Started: l.Started, Ended: l.Ended, Complete: true, Extents: l.Extents, Bytes: l.Bytes, Segments: l.Segments, Findings: l.Findings}
	return nil
}

// describe declares the metrics of scrubbing.
func (s *scrubber) describe(m *telemetry.Registry) {
	m.Gauge("manifold_scrub_findings", "What the running scrub has found damaged, else the last.", func() float64 { return float64(s.status().Findings) })
	m.Gauge("manifold_scrub_ended_seconds", "When the last scrub ended, in seconds since 1970; 0 while one runs or never.", func() float64 {
		if t := s.status().Ended; !t.IsZero() {
			return float64(t.Unix())
		}
		return 0
	})
}

func (s *scrubber) status() control.ScrubStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.status
}

// ScrubStatus implements control.Scrubber.
func (s *scrubber) ScrubStatus(context.Context) (control.ScrubStatus, error) { return s.status(), nil }

// StartScrub implements control.Scrubber.
func (s *scrubber) StartScrub(_ context.Context, rate int64) (control.ScrubStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.status.Running {
		s.begin(rate)
		select {
		case s.kick <- struct{}{}:
		default:
		}
	}
	return s.mu.status, nil
}

// begin makes the status that of a scrub that is about to run; mu is held.
func (s *scrubber) begin(rate int64) {
	s.mu.rate, s.mu.wanted = rate, true
	s.mu.number++
	s.mu.status = control.ScrubStatus{Running: true, Started: s.now().UTC()}
}

// StopScrub implements control.Scrubber.
func (s *scrubber) StopScrub(context.Context) (control.ScrubStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.status.Running {
		s.mu.wanted = false
		if s.mu.cancel != nil {
			s.mu.cancel()
		}
		s.mu.status.Running, s.mu.status.Ended = false, s.now().UTC()
	}
	return s.mu.status, nil
}

// run scrubs when asked or when it is time, until ctx ends.
func (s *scrubber) run(ctx context.Context) {
	start := s.now()
	for {
		wait := scrubEvery
		if ended := s.status().Ended; !ended.IsZero() {
			wait -= s.now().Sub(ended)
		}
		wait = max(wait, scrubAfterStart-s.now().Sub(start), time.Minute)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-s.kick:
			t.Stop()
		case <-t.C:
			s.mu.Lock()
			if !s.mu.status.Running {
				s.begin(scrubRate)
			}
			s.mu.Unlock()
		}
		s.once(ctx)
	}
}

// once runs the scrub that was begun, unless it has been stopped before.
func (s *scrubber) once(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	if !s.mu.wanted {
		s.mu.Unlock()
		return
	}
	s.mu.wanted, s.mu.cancel = false, cancel
	rate, started, number := s.mu.rate, s.mu.status.Started, s.mu.number
	s.mu.Unlock()

	// What is told of a scrub counts only while it is the one that is shown.
	tell := func(fn func(*control.ScrubStatus)) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.mu.status.Running && s.mu.number == number {
			fn(&s.mu.status)
		}
	}
	counts := func(st *control.ScrubStatus, p scrub.Progress) {
		st.Extents, st.Bytes, st.Segments, st.Findings = p.Extents, p.Bytes, p.Segments, p.Findings
	}
	s.log.InfoContext(ctx, "scrub begins", "bytes_per_second", rate)
	report, err := s.scrub(ctx, scrub.Options{
		Rate: rate, Logger: s.log, MaxFindings: 1,
		Progress: func(p scrub.Progress) { tell(func(st *control.ScrubStatus) { counts(st, p) }) },
		Found: func(f scrub.Finding) {
			tell(func(st *control.ScrubStatus) {
				st.Findings++
				if len(st.Damage) < maxDamage {
					st.Damage = append(st.Damage, fmt.Sprintf("%s: extent %d of stream %d, segment %d, block %d: %v", f.Kind, f.Extent, f.Owner, f.Segment, f.Block, f.Err))
				}
			})
		},
	})
	ended := s.now().UTC()
	stopped := ctx.Err() != nil
	tell(func(st *control.ScrubStatus) {
		counts(st, report.Progress)
		st.Running, st.Ended, st.Complete = false, ended, err == nil
		if err != nil && !stopped && len(st.Damage) < maxDamage {
			st.Damage = append(st.Damage, "the scrub could not go on: "+err.Error())
		}
	})
	s.mu.Lock()
	s.mu.cancel = nil
	s.mu.Unlock()
	switch {
	case stopped:
		s.log.InfoContext(ctx, "scrub stopped", "bytes", report.Bytes, "findings", report.Progress.Findings)
	case err != nil:
		s.log.ErrorContext(ctx, "scrub failed", "error", err, "bytes", report.Bytes, "findings", report.Progress.Findings)
	default:
		s.log.InfoContext(ctx, "scrub ended", "extents", report.Extents, "bytes", report.Bytes, "findings", report.Progress.Findings, "took", ended.Sub(started))
		err := s.last.SetLastScrub(ctx, thisNode, config.Scrub{Started: started, Ended: ended, Extents: report.Extents, Bytes: report.Bytes, Segments: report.Segments, Findings: report.Progress.Findings})
		if err != nil {
			s.log.WarnContext(ctx, "end of the scrub not remembered", "error", err)
		}
	}
}
