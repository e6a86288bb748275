package schedule

import (
	"testing"
	"time"

	"manifold/internal/config"
	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/kv/memkv"
)

func utc(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestNext(t *testing.T) {
	daily := func(zone string, h, m int) config.Schedule {
		return config.Schedule{Zone: zone, Frequency: config.DailyOrWeekly, Days: EveryDay, Hour: h, Minute: m}
	}
	hourly := func(zone string, start, end, every int) config.Schedule {
		return config.Schedule{Zone: zone, Frequency: config.HourlyOrLess, Days: EveryDay, Start: start, End: end, Every: every, InHours: every > 99}
	}
	monthly := func(day int) config.Schedule {
		return config.Schedule{Zone: "UTC", Frequency: config.Monthly, DayOfMonth: day, Hour: 1}
	}
	sundays := daily("UTC", 0, 0)
	sundays.Days = 1
	for _, x := range []struct {
		name  string
		s     config.Schedule
		after string
		want  []string
	}{
		{"daily", daily("Europe/Berlin", 2, 30), "2026-01-10T00:00:00Z", []string{"2026-01-10T01:30:00Z", "2026-01-11T01:30:00Z"}},
		{"skipped by summer time: at the change, once", daily("Europe/Berlin", 2, 30), "2026-03-28T01:30:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		{"twice by winter time: the first, once", daily("Europe/Berlin", 2, 30), "2026-10-24T00:30:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"the same in the west", daily("America/New_York", 1, 30), "2026-10-31T06:00:00Z", []string{"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}},
		{"half an hour of difference", daily("Australia/Lord_Howe", 2, 15), "2026-10-02T15:45:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
		{"weekly", sundays, "2026-11-25T09:00:00Z", []string{"2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"}},
		{"monthly", monthly(27), "2026-01-27T01:00:00Z", []string{"2026-02-27T01:00:00Z", "2026-03-27T01:00:00Z"}},
		{"last day", monthly(config.LastDay), "2028-01-31T00:00:00Z", []string{"2028-01-31T01:00:00Z", "2028-02-29T01:00:00Z", "2028-03-31T01:00:00Z"}},
		{"window", hourly("UTC", 9*60, 10*60, 25), "2026-01-01T09:30:00Z", []string{"2026-01-01T09:50:00Z", "2026-01-02T09:00:00Z", "2026-01-02T09:25:00Z"}},
		{"window with its end", hourly("UTC", 9*60, 10*60, 30), "2026-01-01T09:30:00Z", []string{"2026-01-01T10:00:00Z", "2026-01-02T09:00:00Z"}},
		{"over midnight", hourly("UTC", 23*60, 60, 60), "2026-01-01T23:00:00Z", []string{"2026-01-02T00:00:00Z", "2026-01-02T01:00:00Z", "2026-01-02T23:00:00Z"}},
		{"all day", hourly("UTC", 0, 0, 11*60), "2026-01-01T11:00:00Z", []string{"2026-01-01T22:00:00Z", "2026-01-02T00:00:00Z"}},
		{"all day of 23 hours", hourly("Europe/Berlin", 0, 0, 12*60), "2026-03-28T23:00:00Z", []string{"2026-03-29T11:00:00Z", "2026-03-29T22:00:00Z"}},
		{"every hour through the change", hourly("Europe/Berlin", 0, 0, 60), "2026-10-25T00:00:00Z", []string{"2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"}},
	} {
		at := utc(x.after)
		for _, want := range x.want {
			next, err := Next(&x.s, at)
			if err != nil || !next.Equal(utc(want)) {
				t.Errorf("%s: after %v comes %v %v, want %s", x.name, at, next.UTC(), err, want)
				break
			}
			at = next
		}
	}
}

// Whatever the zone, every schedule goes on, and never in the past.
func TestNext_advances(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu", "Africa/Casablanca", "Antarctica/Troll"} {
		for _, s := range []config.Schedule{
			{Zone: zone, Frequency: config.DailyOrWeekly, Days: EveryDay, Hour: 2, Minute: 30},
			{Zone: zone, Frequency: config.HourlyOrLess, Days: EveryDay, Start: 90, End: 200, Every: 7},
			{Zone: zone, Frequency: config.Monthly, DayOfMonth: config.LastDay, Hour: 0},
		} {
			at := utc("2011-12-01T00:00:00Z")
			for range 3000 {
				next, err := Next(&s, at)
				if err != nil || !next.After(at) || next.Sub(at) > 64*24*time.Hour {
					t.Fatalf("%s %+v: after %v comes %v %v", zone, s, at, next, err)
				}
				at = next
			}
		}
	}
}

func TestCheck(t *testing.T) {
	good := config.Schedule{Zone: "UTC", Frequency: config.DailyOrWeekly, Days: 1}
	for name, spoil := range map[string]func(*config.Schedule){
		"zone": func(s *config.Schedule) { s.Zone = "Mars/Olympus" }, "no zone": func(s *config.Schedule) { s.Zone = "" },
		"days": func(s *config.Schedule) { s.Days = 0 }, "hour": func(s *config.Schedule) { s.Hour = 24 }, "minute": func(s *config.Schedule) { s.Minute = -1 },
		"day":   func(s *config.Schedule) { s.Frequency, s.DayOfMonth = config.Monthly, 28 },
		"every": func(s *config.Schedule) { s.Frequency = config.HourlyOrLess }, "frequency": func(s *config.Schedule) { s.Frequency = 9 },
	} {
		s := good
		if spoil(&s); Check(&s) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := Check(&good); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"x", "{Policy}", "{ID}_", "{ID}_{ID}", "{ID}_a/b"} {
		if CheckTemplate(bad) == nil {
			t.Errorf("template %q accepted", bad)
		}
	}
}

func TestSuffix(t *testing.T) {
	for _, x := range []struct{ template, path, want string }{
		{"", "/", "hourly"}, {"", "/a/b/", "hourly_b"}, {"{ID}_{Directory}-x", "/a", "a-x"},
	} {
		if got := Suffix(&config.Policy{Name: "hourly", Template: x.template}, x.path); got != x.want {
			t.Errorf("%q %q: %q", x.template, x.path, got)
		}
	}
}

func TestScheduler(t *testing.T) {
	ctx := t.Context()
	clock := utc("2026-01-01T00:30:00Z")
	now := func() time.Time { return clock }
	f := memfs.New(memfs.Options{Now: now})
	kv := memkv.New()
	t.Cleanup(func() { _ = kv.Close() })
	store, err := config.Open(ctx, config.Options{KV: kv, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	p, err := store.AddPolicy(ctx, config.Policy{
		Name: "hourly", Dir: uint64(fs.RootID), Enabled: true, TimeToLive: "2hours",
		Schedule: config.Schedule{Zone: "UTC", Frequency: config.HourlyOrLess, Days: EveryDay, Every: 60},
	})
	if err != nil {
		t.Fatal(err)
	}
	snaps := func() (out []fs.Snapshot) {
		if err := f.ListSnapshots(ctx, 0, func(s *fs.Snapshot) bool { out = append(out, *s); return true }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	tick := func(at string, want int, next string) {
		t.Helper()
		clock = utc(at)
		got, err := New(Options{Policies: store, FS: f, Now: now}).Tick(ctx)
		if err != nil || !got.Equal(utc(next)) || len(snaps()) != want {
			t.Fatalf("at %s: next %v %v, %d snapshots, want %d", at, got, err, len(snaps()), want)
		}
	}
	tick("2026-01-01T00:59:59Z", 0, "2026-01-01T01:00:00Z")
	tick("2026-01-01T01:00:00Z", 1, "2026-01-01T02:00:00Z")
	tick("2026-01-01T01:59:00Z", 1, "2026-01-01T02:00:00Z")
	if s := snaps()[0]; s.Policy != p.ID || s.Expires != utc("2026-01-01T03:00:00Z") || s.Name != "1_hourly" {
		t.Errorf("%+v", s)
	}
	// Of what a stop of the server missed, the last is made up for.
	tick("2026-01-01T07:10:00Z", 2, "2026-01-01T08:00:00Z")
	// The process ended between the snapshot and the note of it.
	clock = utc("2026-01-01T08:00:05Z")
	if _, err := f.TakeSnapshot(ctx, fs.SnapshotSpec{Root: fs.RootID, Policy: p.ID}); err != nil {
		t.Fatal(err)
	}
	tick("2026-01-01T08:00:06Z", 3, "2026-01-01T09:00:00Z")
	p.Value.Enabled = false
	if _, err := store.ModifyPolicy(ctx, p.ID, 0, p.Value); err != nil {
		t.Fatal(err)
	}
	clock = utc("2026-01-01T12:00:00Z")
	if next, err := New(Options{Policies: store, FS: f, Now: now}).Tick(ctx); err != nil || !next.IsZero() || len(snaps()) != 3 {
		t.Errorf("%v %v", next, err)
	}
	// Switched on again, nothing is made up for.
	p.Value.Enabled = true
	if _, err := store.ModifyPolicy(ctx, p.ID, 0, p.Value); err != nil {
		t.Fatal(err)
	}
	tick("2026-01-01T12:00:30Z", 3, "2026-01-01T13:00:00Z")
}
