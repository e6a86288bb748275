package schedule

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"manifold/internal/config"
	"manifold/internal/fs"
)

// Policies keeps snapshot policies.
type Policies interface {
	Policies(ctx context.Context) ([]config.Record[config.Policy], error)
	// ClaimPolicy tells whether the caller may take the snapshot of a due time.
	ClaimPolicy(ctx context.Context, id uint64, c config.PolicyClaim) (bool, error)
	PolicyDone(ctx context.Context, id uint64, at time.Time) error
	RewindPolicy(ctx context.Context, id uint64, to time.Time) error
}

// FS is what the scheduler needs of the file system.
type FS interface {
	TakeSnapshot(ctx context.Context, s fs.SnapshotSpec) (fs.Snapshot, error)
	ListSnapshots(ctx context.Context, after fs.SnapshotID, yield func(*fs.Snapshot) bool) error
	PathOf(ctx context.Context, n fs.Node) (string, error)
}

// Options shape a Scheduler. Policies and FS are required.
type Options struct {
	Policies Policies
	FS       FS
	Now      func() time.Time // nil is the system's clock
	Logger   *slog.Logger     // nil discards
}

// Scheduler takes the snapshots of policies when they are due.
type Scheduler struct {
	o    Options
	by   string     // its name in claims
	tick sync.Mutex // a claim tells schedulers apart, not the Ticks of one
}

// New builds a Scheduler; [Scheduler.Run] makes it work.
func New(o Options) *Scheduler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Scheduler{o: o, by: rand.Text()}
}

// look is how often policies are read anew: a change counts within this time,
// and so does a clock that was set.
const look = 10 * time.Second

// Run takes snapshots until ctx ends.
func (s *Scheduler) Run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		next, err := s.Tick(ctx)
		if err != nil && ctx.Err() == nil {
			s.o.Logger.WarnContext(ctx, "snapshot policies not looked at; tried again", "error", err)
		}
		wait := look
		if d := next.Sub(s.o.Now()); !next.IsZero() && d < wait {
			wait = max(d, 0)
		}
		t.Reset(wait)
	}
}

// Tick takes what is due and answers when something is due next, the zero time
// if nothing ever is.
func (s *Scheduler) Tick(ctx context.Context) (time.Time, error) {
	s.tick.Lock()
	defer s.tick.Unlock()
	ps, err := s.o.Policies.Policies(ctx)
	if err != nil {
		return time.Time{}, err
	}
	var next time.Time
	for i := range ps {
		p := &ps[i]
		if !p.Value.Enabled {
			continue
		}
		t, err := s.tend(ctx, p)
		if err != nil {
			if ctx.Err() != nil {
				return time.Time{}, ctx.Err()
			}
			// One policy must not keep the others from their snapshots.
			s.o.Logger.ErrorContext(ctx, "snapshot of a policy not taken", "policy", p.Value.Name, "error", err)
			continue
		}
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	return next, nil
}

const (
	// longest is how far back a missed time is looked for: more than a month.
	longest = 33 * 24 * time.Hour
	// claimFor is how long nobody else takes a snapshot that one has claimed.
	// takeFor ends the attempt before that, with room for clocks that differ.
	claimFor = 2 * time.Minute
	takeFor  = 90 * time.Second
	// ahead is how far in the future a policy's records may lie by clocks that
	// differ a little. What lies further was written by a clock that was wrong.
	ahead = 5 * time.Minute
)

// tend takes a policy's snapshot if it is due and answers when it is next.
func (s *Scheduler) tend(ctx context.Context, p *config.Record[config.Policy]) (time.Time, error) {
	now := s.o.Now()
	from := p.Value.Since
	if p.Value.Done.After(from) {
		from = p.Value.Done
	}
	if from.After(now.Add(ahead)) {
		s.o.Logger.WarnContext(ctx, "the clock has gone back; a snapshot policy goes on from now", "policy", p.Value.Name, "was", from)
		if err := s.o.Policies.RewindPolicy(ctx, p.ID, now); err != nil {
			return time.Time{}, err
		}
		from = now
	}
	if old := now.Add(-longest); from.Before(old) {
		from = old
	}
	next, err := Next(&p.Value.Schedule, from)
	if err != nil {
		return next, err
	}
	var due time.Time
	for !next.After(now) {
		due = next
		if next, err = Next(&p.Value.Schedule, due); err != nil {
			return next, err
		}
	}
	if due.IsZero() {
		return next, nil
	}
	claim := config.PolicyClaim{By: s.by, Due: due, Until: now.Add(claimFor)}
	if mine, err := s.o.Policies.ClaimPolicy(ctx, p.ID, claim); err != nil || !mine {
		return next, err
	}
	if err := s.take(ctx, p, due, next); err != nil {
		if k := fs.KindOf(err); k != fs.NotExist && k != fs.Stale {
			return next, err
		}
		s.o.Logger.WarnContext(ctx, "the directory of a snapshot policy is gone", "policy", p.Value.Name, "directory", p.Value.Dir)
	}
	return next, s.o.Policies.PolicyDone(ctx, p.ID, due)
}

// take takes the snapshot of a due time, unless there is one from before next.
func (s *Scheduler) take(ctx context.Context, p *config.Record[config.Policy], due, next time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, takeFor)
	defer cancel()
	// Taken, but the process ended before that was noted? A snapshot of a later
	// due time is none of this one: a clock that was wrong may have made it.
	taken := false
	if err := s.o.FS.ListSnapshots(ctx, 0, func(x *fs.Snapshot) bool {
		taken = x.Policy == p.ID && !x.Created.Before(due) && x.Created.Before(next)
		return !taken
	}); err != nil || taken {
		return err
	}
	path, err := s.o.FS.PathOf(ctx, fs.Node{ID: fs.FileID(p.Value.Dir)})
	if err != nil {
		return err
	}
	spec := fs.SnapshotSpec{Root: fs.FileID(p.Value.Dir), Suffix: Suffix(&p.Value, path), Policy: p.ID}
	if spec.Expires, err = Expiry(p.Value.TimeToLive, s.o.Now()); err != nil {
		return err
	}
	if p.Value.LockKey != 0 && !spec.Expires.IsZero() {
		spec.LockKey = strconv.FormatUint(p.Value.LockKey, 10)
	}
	x, err := s.o.FS.TakeSnapshot(ctx, spec)
	if err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	s.o.Logger.InfoContext(ctx, "snapshot taken", "policy", p.Value.Name, "snapshot", x.Name, "due", due)
	return nil
}
