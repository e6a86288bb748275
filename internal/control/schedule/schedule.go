// Package schedule decides when snapshot policies are due, and takes their
// snapshots.
//
// Invariants:
//   - Times are those of clocks on the wall of the policy's time zone. A time
//     that a change of the clocks skips counts at the moment of the change; one
//     that comes twice counts the first time.
//   - A due time leads to one snapshot, also over restarts and with several
//     nodes: whoever takes it has claimed it before. Of times that were missed
//     only the last is made up for.
//   - A clock that was wrong costs what is due until it is right again, no more.
//
// The package must not know HTTP, nor how policies and snapshots are stored.
package schedule

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones must not depend on the machine

	"manifold/internal/config"
)

// ErrInvalid: a schedule or a time to live breaks a rule.
var ErrInvalid = errors.New("schedule: invalid")

// EveryDay is the set of all days of the week.
const EveryDay = 1<<7 - 1

// Check tells whether a schedule can be followed.
func Check(s *config.Schedule) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, a...)...)
	}
	if _, err := zone(s.Zone); err != nil {
		return bad("there is no time zone %q", s.Zone)
	}
	within := func(what string, n, low, high int) error {
		if n < low || n > high {
			return bad("%s is %d, want %d to %d", what, n, low, high)
		}
		return nil
	}
	if s.Days&^EveryDay != 0 {
		return bad("days")
	}
	switch s.Frequency {
	case config.Monthly:
		if s.DayOfMonth != config.LastDay {
			if err := within("day_of_month", s.DayOfMonth, 1, 27); err != nil {
				return err
			}
		}
	case config.DailyOrWeekly:
		if s.Days == 0 {
			return bad("on_days is empty")
		}
	case config.HourlyOrLess:
		if s.Days == 0 {
			return bad("on_days is empty")
		}
		most := 99
		if s.InHours {
			most = 99 * 60
		}
		return errors.Join(within("window start", s.Start, 0, 24*60-1), within("window end", s.End, 0, 24*60-1), within("fire_every", s.Every, 1, most))
	default:
		return bad("frequency")
	}
	return errors.Join(within("hour", s.Hour, 0, 23), within("minute", s.Minute, 0, 59))
}

func zone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return nil, ErrInvalid
	}
	return time.LoadLocation(name)
}

// Next answers the first time after a moment at which a schedule is due.
func Next(s *config.Schedule, after time.Time) (time.Time, error) {
	if err := Check(s); err != nil {
		return time.Time{}, err
	}
	loc, err := zone(s.Zone)
	if err != nil {
		return time.Time{}, err
	}
	y, m, d := after.In(loc).Date()
	switch s.Frequency {
	case config.Monthly:
		for i := range 3 {
			day := s.DayOfMonth
			first := time.Date(y, m+time.Month(i), 1, 12, 0, 0, 0, loc)
			if day == config.LastDay {
				day = first.AddDate(0, 1, -1).Day()
			}
			if t := at(first.Year(), first.Month(), day, s.Hour*60+s.Minute, loc); t.After(after) {
				return t, nil
			}
		}
	case config.DailyOrWeekly:
		for i := range 9 {
			if !on(s, y, m, d+i) {
				continue
			}
			if t := at(y, m, d+i, s.Hour*60+s.Minute, loc); t.After(after) {
				return t, nil
			}
		}
	case config.HourlyOrLess:
		// A window of yesterday may go over midnight.
		for i := -1; i < 9; i++ {
			if !on(s, y, m, d+i) {
				continue
			}
			if t, ok := inWindow(s, y, m, d+i, loc, after); ok {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%w: never due", ErrInvalid)
}

// on tells whether a schedule is for the day.
func on(s *config.Schedule, y int, m time.Month, d int) bool {
	return s.Days>>uint(time.Date(y, m, d, 12, 0, 0, 0, time.UTC).Weekday())&1 != 0
}

// inWindow answers the first due time of one day's window after a moment.
func inWindow(s *config.Schedule, y int, m time.Month, d int, loc *time.Location, after time.Time) (time.Time, bool) {
	start := at(y, m, d, s.Start, loc)
	var end time.Time
	switch {
	case s.End > s.Start:
		end = at(y, m, d, s.End, loc)
	case s.End == s.Start:
		end = at(y, m, d+1, s.End, loc).Add(-1) // all day: its end is the next one's start
	default:
		end = at(y, m, d+1, s.End, loc)
	}
	if start.After(after) {
		return start, true
	}
	every := time.Duration(s.Every) * time.Minute
	t := start.Add((after.Sub(start)/every + 1) * every)
	return t, !t.After(end)
}

// at is the moment at which the clock of a place shows a minute of a day.
func at(y int, m time.Month, d, minute int, loc *time.Location) time.Time {
	t := time.Date(y, m, d, minute/60, minute%60, 0, 0, loc)
	start, end := t.ZoneBounds()
	// As if there were no zones: what the clock shows against what was asked.
	asked := time.Date(y, m, d, minute/60, minute%60, 0, 0, time.UTC)
	ty, tm, td := t.Date()
	shown := time.Date(ty, tm, td, t.Hour(), t.Minute(), 0, 0, time.UTC)
	switch {
	case shown.After(asked): // skipped, and t is past the change
		return start
	case shown.Before(asked):
		return end
	}
	if start.IsZero() {
		return t
	}
	// The same time may have been shown before the clocks went back.
	_, now := t.Zone()
	_, before := start.Add(-1).Zone()
	if first := t.Add(-time.Duration(before-now) * time.Second); before > now && first.Before(start) {
		return first
	}
	return t
}

// Expiry adds a time to live, as 15minutes, to a moment; "" and "never" are
// the zero time.
func Expiry(ttl string, from time.Time) (time.Time, error) {
	if ttl == "" || ttl == "never" {
		return time.Time{}, nil
	}
	unit := strings.TrimLeft(ttl, "0123456789")
	n, err := strconv.Atoi(strings.TrimSuffix(ttl, unit))
	if err != nil || n < 1 || n > 99 {
		return time.Time{}, fmt.Errorf("%w: time to live is %q, want a quantity from 1 to 99 and a unit as in 15minutes", ErrInvalid, ttl)
	}
	switch unit {
	case "months":
		return from.AddDate(0, n, 0), nil
	case "weeks":
		return from.AddDate(0, 0, 7*n), nil
	case "days":
		return from.AddDate(0, 0, n), nil
	case "hours":
		return from.Add(time.Duration(n) * time.Hour), nil
	case "minutes":
		return from.Add(time.Duration(n) * time.Minute), nil
	}
	return time.Time{}, fmt.Errorf("%w: time to live is %q; units are months, weeks, days, hours and minutes", ErrInvalid, ttl)
}

// Suffix renders what follows the id in the name of a policy's snapshot.
func Suffix(p *config.Policy, path string) string {
	path = strings.TrimSuffix(path, "/")
	dir := path[strings.LastIndexByte(path, '/')+1:]
	t := p.Template
	if t == "" {
		t = "{ID}_{Policy}_{Directory}"
		if dir == "" {
			t = "{ID}_{Policy}"
		}
	}
	t = strings.TrimPrefix(t, "{ID}_")
	return strings.NewReplacer("{Policy}", p.Name, "{Directory}", dir).Replace(t)
}

// CheckTemplate tells whether a template can name snapshots, whose names begin
// with their id.
func CheckTemplate(t string) error {
	if t == "" {
		return nil
	}
	rest, ok := strings.CutPrefix(t, "{ID}_")
	if !ok || strings.Contains(rest, "{ID}") || strings.ContainsAny(rest, "/\x00") || rest == "" {
		return fmt.Errorf("%w: template %q must begin with {ID}_ and go on with text, {Policy} and {Directory}", ErrInvalid, t)
	}
	return nil
}
