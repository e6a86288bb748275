package schedule

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"manifold/internal/config"
	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/kv/memkv"
)

// rig is a store and a file system that outlive schedulers, with a clock that
// the test moves.
type rig struct {
	*testing.T
	store *config.Store
	fs    *memfs.FS

	mu sync.Mutex
	at time.Time
}

func newRig(t *testing.T, at string) *rig {
	r := &rig{T: t, at: utc(at)}
	r.fs = memfs.New(memfs.Options{Now: r.now})
	kv := memkv.New()
	t.Cleanup(func() { _ = kv.Close() })
	var err error
	if r.store, err = config.Open(t.Context(), config.Options{KV: kv, Now: r.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.store.Close() })
	return r
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *rig) set(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = at
}

func (r *rig) policy(s config.Schedule, ttl string) uint64 {
	r.Helper()
	p, err := r.store.AddPolicy(r.Context(), config.Policy{Name: "p", Dir: uint64(fs.RootID), Enabled: true, TimeToLive: ttl, Schedule: s})
	if err != nil {
		r.Fatal(err)
	}
	return p.ID
}

func (r *rig) scheduler() *Scheduler {
	return New(Options{Policies: r.store, FS: r.fs, Now: r.now})
}

// tick moves the clock and has a new scheduler look, as after a restart.
func (r *rig) tick(at time.Time) time.Time {
	r.Helper()
	r.set(at)
	next, err := r.scheduler().Tick(r.Context())
	if err != nil {
		r.Fatalf("at %v: %v", at, err)
	}
	return next
}

func (r *rig) snapshots() (out []fs.Snapshot) {
	r.Helper()
	if err := r.fs.ListSnapshots(r.Context(), 0, func(s *fs.Snapshot) bool { out = append(out, *s); return true }); err != nil {
		r.Fatal(err)
	}
	return out
}

// A simple clock on the wall, minute by minute: it shows when a daily schedule
// is due, without any knowledge of how times are computed.
func due(loc *time.Location, from, to time.Time, hour, minute int) (out []time.Time) {
	want := hour*60 + minute
	last := "" // the day that had its time
	for t := from; t.Before(to); t = t.Add(time.Minute) {
		w := t.In(loc)
		day, shown := w.Format(time.DateOnly), w.Hour()*60+w.Minute()
		before := t.Add(-time.Minute).In(loc)
		skipped := (before.Format(time.DateOnly) != day || before.Hour()*60+before.Minute() < want) && shown > want
		if day != last && (shown == want || skipped) {
			out = append(out, t)
			last = day
		}
	}
	return out
}

// Daily snapshots in many places, each taken at the right moment, once, while the server restarts at every look.
func TestScheduler_summerTime(t *testing.T) {
	for _, x := range []struct {
		zone         string
		hour, minute int
		from, to     string // around changes in both directions
	}{
		{"Europe/Berlin", 2, 30, "2026-03-27T00:00:00Z", "2026-04-01T00:00:00Z"},
		{"Europe/Berlin", 2, 30, "2026-10-23T00:00:00Z", "2026-10-28T00:00:00Z"},
		{"Europe/Berlin", 3, 0, "2026-03-27T00:00:00Z", "2026-04-01T00:00:00Z"},
		{"America/New_York", 2, 0, "2026-03-06T00:00:00Z", "2026-03-11T00:00:00Z"},
		{"America/New_York", 1, 59, "2026-10-30T00:00:00Z", "2026-11-04T00:00:00Z"},
		{"America/St_Johns", 2, 15, "2026-03-06T00:00:00Z", "2026-03-11T00:00:00Z"},
		{"Australia/Lord_Howe", 1, 45, "2026-04-03T00:00:00Z", "2026-04-08T00:00:00Z"},
		{"Australia/Lord_Howe", 2, 10, "2026-10-02T00:00:00Z", "2026-10-07T00:00:00Z"},
		{"Africa/Cairo", 0, 30, "2026-04-22T00:00:00Z", "2026-04-27T00:00:00Z"}, // the change is at midnight
		{"Asia/Kathmandu", 2, 30, "2026-03-27T00:00:00Z", "2026-04-01T00:00:00Z"},
		{"UTC", 2, 30, "2026-03-27T00:00:00Z", "2026-04-01T00:00:00Z"},
	} {
		t.Run(x.zone, func(t *testing.T) {
			loc, err := time.LoadLocation(x.zone)
			if err != nil {
				t.Fatal(err)
			}
			from, to := utc(x.from), utc(x.to)
			r := newRig(t, x.from)
			r.policy(config.Schedule{Zone: x.zone, Frequency: config.DailyOrWeekly, Days: EveryDay, Hour: x.hour, Minute: x.minute}, "")
			want := due(loc, from.Add(time.Minute), to, x.hour, x.minute)
			if len(want) < 4 {
				t.Fatalf("the clock on the wall says %v", want)
			}
			for at := from; at.Before(to); at = at.Add(15 * time.Minute) {
				r.tick(at)
			}
			r.tick(to.Add(-time.Second))
			got := r.snapshots()
			if len(got) != len(want) {
				t.Fatalf("%d snapshots, want %v", len(got), want)
			}
			for i := range want {
				if late := got[i].Created.Sub(want[i]); late < 0 || late > 15*time.Minute {
					t.Errorf("snapshot %d is of %v, want %v", i, got[i].Created, want[i])
				}
			}
		})
	}
}

// A schedule of every so many minutes goes through a change without a gap.
func TestScheduler_hoursThroughChange(t *testing.T) {
	for _, from := range []string{"2026-03-28T22:59:00Z", "2026-10-24T21:59:00Z"} {
		r := newRig(t, from)
		r.policy(config.Schedule{Zone: "Europe/Berlin", Frequency: config.HourlyOrLess, Days: EveryDay, Every: 30}, "")
		for i := range 8 * 60 {
			r.tick(utc(from).Add(time.Duration(i) * time.Minute))
		}
		got := r.snapshots()
		for i := 1; i < len(got); i++ {
			if d := got[i].Created.Sub(got[i-1].Created); d != 30*time.Minute {
				t.Errorf("from %s: %v between %v and %v", from, d, got[i-1].Created, got[i].Created)
			}
		}
		if len(got) != 16 {
			t.Errorf("from %s: %d snapshots in 8 hours", from, len(got))
		}
	}
}

var hourly = config.Schedule{Zone: "UTC", Frequency: config.HourlyOrLess, Days: EveryDay, Every: 60}

// After a time off, one snapshot makes up for all that was missed, and its time
// to live counts from when it was taken.
func TestScheduler_downtime(t *testing.T) {
	for name, off := range map[string]time.Duration{"a minute past": time.Hour + time.Minute, "hours": 7*time.Hour + 10*time.Minute, "a year": 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "2026-01-01T00:30:00Z")
			r.policy(hourly, "3days")
			r.tick(utc("2026-01-01T01:00:00Z"))
			back := utc("2026-01-01T01:00:00Z").Add(off)
			next := r.tick(back)
			r.tick(back.Add(time.Second))
			got := r.snapshots()
			if len(got) != 2 || !got[1].Created.Equal(back) || !got[1].Expires.Equal(back.AddDate(0, 0, 3)) {
				t.Errorf("%+v", got)
			}
			if !next.After(back) || next.Sub(back) > time.Hour {
				t.Errorf("next is %v after %v", next, back)
			}
		})
	}
}

// Whatever the clock does, snapshots go on within a period after it is right,
// and no due time has two.
func TestScheduler_clockJumps(t *testing.T) {
	for name, x := range map[string]struct {
		to    string // where the clock goes by mistake at 03:30
		extra int    // snapshots that the mistake may cost or give
	}{
		"ten years on": {"2036-01-01T03:30:00Z", 1}, "a day on": {"2026-01-02T03:30:00Z", 1}, "three seconds back": {"2026-01-01T03:29:57Z", 0},
		"an hour back": {"2026-01-01T02:30:00Z", 0}, "ten years back": {"2016-01-01T03:30:00Z", 0}, "before the epoch": {"1969-12-31T23:00:00Z", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "2026-01-01T00:30:00Z")
			r.policy(hourly, "")
			for at := utc("2026-01-01T00:31:00Z"); at.Before(utc("2026-01-01T03:30:00Z")); at = at.Add(time.Minute) {
				r.tick(at)
			}
			if n := len(r.snapshots()); n != 3 {
				t.Fatalf("%d snapshots before the clock went wrong", n)
			}
			wrong := utc(x.to)
			for range 20 {
				r.tick(wrong)
				wrong = wrong.Add(time.Second)
			}
			for at := utc("2026-01-01T03:31:00Z"); at.Before(utc("2026-01-01T08:30:00Z")); at = at.Add(time.Minute) {
				r.tick(at)
			}
			got := r.snapshots()
			if len(got) < 8 || len(got) > 8+x.extra {
				t.Fatalf("%d snapshots: %v", len(got), got)
			}
			seen := map[time.Time]bool{}
			for _, s := range got {
				hour := s.Created.Truncate(time.Hour)
				if seen[hour] {
					t.Errorf("two snapshots of %v", hour)
				}
				seen[hour] = true
			}
			for h := 1; h <= 8; h++ {
				if at := utc("2026-01-01T00:00:00Z").Add(time.Duration(h) * time.Hour); !seen[at] {
					t.Errorf("none of %v", at)
				}
			}
		})
	}
}

// Many nodes look at the same moment: one takes the snapshot.
func TestScheduler_twoNodes(t *testing.T) {
	r := newRig(t, "2026-01-01T00:30:00Z")
	r.policy(hourly, "2hours")
	nodes := []*Scheduler{r.scheduler(), r.scheduler(), r.scheduler()}
	for h := 1; h <= 20; h++ {
		r.set(utc("2026-01-01T00:00:00Z").Add(time.Duration(h)*time.Hour + time.Second))
		var wg sync.WaitGroup
		for range 2 {
			for _, n := range nodes {
				wg.Go(func() {
					if _, err := n.Tick(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if n := len(r.snapshots()); n != h {
			t.Fatalf("%d snapshots after %d hours", n, h)
		}
	}
}

// stuck is a file system whose snapshots hang until the context ends, or fail.
type stuck struct {
	*memfs.FS
	err error
}

func (s stuck) TakeSnapshot(context.Context, fs.SnapshotSpec) (fs.Snapshot, error) {
	return fs.Snapshot{}, s.err
}

// A node that claimed a snapshot and died keeps the others from it for a short
// time only; one that failed tries again itself.
func TestScheduler_takeOver(t *testing.T) {
	r := newRig(t, "2026-01-01T00:30:00Z")
	r.policy(hourly, "")
	broken := errors.New("broken disk")
	sick := New(Options{Policies: r.store, FS: stuck{r.fs, broken}, Now: r.now})
	at := utc("2026-01-01T01:00:01Z")
	r.set(at)
	for range 3 {
		if _, err := sick.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.tick(at.Add(claimFor - 2*time.Second))
	if n := len(r.snapshots()); n != 0 {
		t.Fatalf("%d snapshots, although another node has claimed it", n)
	}
	r.tick(at.Add(claimFor + time.Second))
	if n := len(r.snapshots()); n != 1 {
		t.Fatalf("%d snapshots after the claim lapsed", n)
	}
	// The dead one comes back and has nothing to do.
	sick.o.FS = r.fs
	if _, err := sick.Tick(t.Context()); err != nil || len(r.snapshots()) != 1 {
		t.Errorf("%d snapshots, %v", len(r.snapshots()), err)
	}
}

// Switched off or removed between the look and the claim, nothing is taken.
func TestScheduler_switchedOff(t *testing.T) {
	r := newRig(t, "2026-01-01T00:30:00Z")
	id := r.policy(hourly, "")
	p, err := r.store.Policy(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	r.set(utc("2026-01-01T01:00:01Z"))
	off := p.Value
	off.Enabled = false
	if _, err := r.store.ModifyPolicy(t.Context(), id, 0, off); err != nil {
		t.Fatal(err)
	}
	if _, err := r.scheduler().tend(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	if err := r.store.DeletePolicy(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := r.scheduler().tend(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	if n := len(r.snapshots()); n != 0 {
		t.Errorf("%d snapshots", n)
	}
}
