package rest

import (
	"errors"
	"math/bits"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/control/schedule"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

type scheduleRecord struct {
	Timezone    string   `json:"timezone"`
	Frequency   string   `json:"frequency"`
	Hour        int      `json:"hour"`
	Minute      int      `json:"minute"`
	OnDays      []string `json:"on_days"`
	DayOfMonth  int      `json:"day_of_month"`
	StartHour   int      `json:"window_start_hour"`
	StartMinute int      `json:"window_start_minute"`
	EndHour     int      `json:"window_end_hour"`
	EndMinute   int      `json:"window_end_minute"`
	FireUnit    string   `json:"fire_every_interval"`
	FireEvery   int      `json:"fire_every"`
}

type scheduleEntry struct {
	ID         uint64         `json:"id"`
	Creation   scheduleRecord `json:"creation_schedule"`
	TimeToLive string         `json:"expiration_time_to_live"`
}

type policyV1 struct {
	ID        uint64          `json:"id"`
	Name      string          `json:"name"`
	Sources   []string        `json:"source_file_ids"`
	Schedules []scheduleEntry `json:"schedules"`
	Enabled   bool            `json:"enabled"`
}

type policyV2 struct {
	ID       uint64        `json:"id"`
	Name     string        `json:"policy_name"`
	Template string        `json:"snapshot_name_template"`
	Source   u64           `json:"source_file_id"`
	Schedule scheduleEntry `json:"schedule"`
	Enabled  bool          `json:"enabled"`
}

type policyV3 struct {
	policyV2
	LockKey *string `json:"lock_key_ref"`
}

type policySource struct {
	ID      u64    `json:"source_file_id"`
	Path    string `json:"source_file_path"`
	Deleted bool   `json:"deleted"`
}

type policyStatusV1 struct {
	ID        uint64          `json:"id"`
	Name      string          `json:"name"`
	Schedules []scheduleEntry `json:"schedules"`
	Enabled   bool            `json:"enabled"`
	Sources   []policySource  `json:"source_files"`
	Owners    []snapshotOwner `json:"owners"`
}

type policyStatusV2 struct {
	policyV2
	Path   string          `json:"source_file_path"`
	Owners []snapshotOwner `json:"owners"`
}

type policyStatusV3 struct {
	policyV2
	Path    string          `json:"source_file_path"`
	LockKey *string         `json:"lock_key"`
	Owners  []snapshotOwner `json:"owners"`
}

// schedulePatch is a schedule either part of which may be missing: clients
// that change only the life of snapshots send no times.
type schedulePatch struct {
	Creation   *scheduleRecord `json:"creation_schedule,omitempty"`
	TimeToLive *string         `json:"expiration_time_to_live,omitempty"`
}

// policyRequest is a policy of any version of which any part may be missing.
type policyRequest struct {
	Name      *string          `json:"policy_name,omitempty"`
	NameV1    *string          `json:"name,omitempty"`
	Template  optional[string] `json:"snapshot_name_template,omitzero"`
	Source    u64              `json:"source_file_id,omitzero"`
	Sources   []u64            `json:"source_file_ids,omitempty"`
	Schedule  *schedulePatch   `json:"schedule,omitempty"`
	Schedules []schedulePatch  `json:"schedules,omitempty"`
	Enabled   *bool            `json:"enabled,omitempty"`
	LockKey   optional[string] `json:"lock_key_ref,omitzero"`
}

func policyRoutes() []route {
	var rs []route
	for _, v := range []struct {
		at           string
		one, status  any
		all, allStat any
		render       func(*request, *config.Record[config.Policy]) any
		renderStatus func(*request, *config.Record[config.Policy]) any
	}{
		{"/v1/snapshots/policies/", policyV1{}, policyStatusV1{}, snapshotList[policyV1]{}, snapshotList[policyStatusV1]{},
			func(_ *request, p *config.Record[config.Policy]) any { return renderPolicyV1(p) },
			func(q *request, p *config.Record[config.Policy]) any {
				v := renderPolicyV1(p)
				src := q.policySource(p)
				return policyStatusV1{v.ID, v.Name, v.Schedules, v.Enabled, []policySource{src}, policyOwners(p)}
			}},
		{"/v2/snapshots/policies/", policyV2{}, policyStatusV2{}, snapshotList[policyV2]{}, snapshotList[policyStatusV2]{},
			func(_ *request, p *config.Record[config.Policy]) any { return renderPolicyV2(p) },
			func(q *request, p *config.Record[config.Policy]) any {
				return policyStatusV2{renderPolicyV2(p), q.policySource(p).Path, policyOwners(p)}
			}},
		{"/v3/snapshots/policies/", policyV3{}, policyStatusV3{}, snapshotList[policyV3]{}, snapshotList[policyStatusV3]{},
			func(_ *request, p *config.Record[config.Policy]) any {
				return policyV3{renderPolicyV2(p), lockRef(p.Value.LockKey)}
			},
			func(q *request, p *config.Record[config.Policy]) any {
				return policyStatusV3{renderPolicyV2(p), q.policySource(p).Path, lockRef(p.Value.LockKey), policyOwners(p)}
			}},
	} {
		one, status := v.at+"{id}", v.at+"status/"
		rs = append(rs,
			route{Method: "GET", Path: v.at, Summary: "All snapshot policies.", Out: v.all, handle: func(q *request) (reply, error) { return listPolicies(q, v.render) }},
			route{Method: "POST", Path: v.at, Summary: "Add a snapshot policy.", In: policyRequest{}, Out: v.one, handle: func(q *request) (reply, error) { return addPolicy(q, v.render) }},
			route{Method: "GET", Path: one, Summary: "One snapshot policy.", Out: v.one, handle: func(q *request) (reply, error) { return getPolicy(q, v.render) }},
			route{Method: "PUT", Path: one, Summary: "Replace a snapshot policy; its directory stays.", In: policyRequest{}, Out: v.one, Conditional: true, handle: func(q *request) (reply, error) { return changePolicy(q, v.render, true) }},
			route{Method: "PATCH", Path: one, Summary: "Change parts of a snapshot policy.", In: policyRequest{}, Out: v.one, Conditional: true, handle: func(q *request) (reply, error) { return changePolicy(q, v.render, false) }},
			route{Method: "DELETE", Path: one, Summary: "Remove a snapshot policy; its snapshots stay.", Conditional: true, handle: deletePolicy},
			route{Method: "GET", Path: status, Summary: "All snapshot policies with paths and owners.", Out: v.allStat, handle: func(q *request) (reply, error) { return listPolicies(q, v.renderStatus) }},
			route{Method: "GET", Path: status + "{id}", Summary: "One snapshot policy with path and owners.", Out: v.status, handle: func(q *request) (reply, error) { return getPolicy(q, v.renderStatus) }},
		)
	}
	for i := range rs {
		rs[i].Privilege = control.PolicyRead
		if rs[i].Method != "GET" {
			rs[i].Privilege = control.PolicyWrite
		}
	}
	return rs
}

var (
	frequencies = map[config.Frequency]string{config.Monthly: "SCHEDULE_MONTHLY", config.DailyOrWeekly: "SCHEDULE_DAILY_OR_WEEKLY", config.HourlyOrLess: "SCHEDULE_HOURLY_OR_LESS"}
	dayNames    = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

const everyDay = "EVERY_DAY"

func renderSchedule(p *config.Record[config.Policy]) scheduleEntry {
	s := &p.Value.Schedule
	r := scheduleRecord{
		Timezone: s.Zone, Frequency: frequencies[s.Frequency], Hour: s.Hour, Minute: s.Minute, OnDays: []string{}, DayOfMonth: s.DayOfMonth,
		StartHour: s.Start / 60, StartMinute: s.Start % 60, EndHour: s.End / 60, EndMinute: s.End % 60, FireUnit: "FIRE_IN_MINUTES", FireEvery: s.Every,
	}
	switch {
	case s.Days == schedule.EveryDay:
		r.OnDays = []string{everyDay}
	default:
		for d := s.Days; d != 0; d &= d - 1 {
			r.OnDays = append(r.OnDays, dayNames[bits.TrailingZeros8(d)])
		}
	}
	if s.InHours {
		r.FireUnit, r.FireEvery = "FIRE_IN_HOURS", s.Every/60
	}
	return scheduleEntry{p.ID, r, p.Value.TimeToLive}
}

func (r *scheduleRecord) parse() (config.Schedule, error) {
	s := config.Schedule{Zone: r.Timezone, Hour: r.Hour, Minute: r.Minute}
	for f, name := range frequencies {
		if name == r.Frequency {
			s.Frequency = f
		}
	}
	for _, d := range r.OnDays {
		switch i := slices.Index(dayNames, d); {
		case d == everyDay:
			s.Days = schedule.EveryDay
		case i < 0:
			return s, decodeError("on_days has %q", d)
		default:
			s.Days |= 1 << i
		}
	}
	switch s.Frequency {
	case config.Monthly:
		s.DayOfMonth, s.Days = r.DayOfMonth, 0
	case config.HourlyOrLess:
		s.Hour, s.Minute = 0, 0
		for _, n := range []struct{ n, most int }{{r.StartHour, 23}, {r.StartMinute, 59}, {r.EndHour, 23}, {r.EndMinute, 59}, {r.FireEvery, 99}} {
			if n.n < 0 || n.n > n.most {
				return s, badRequest("http_bad_request_error", "the window or interval has %d, want 0 to %d", n.n, n.most)
			}
		}
		s.Start, s.End, s.Every = r.StartHour*60+r.StartMinute, r.EndHour*60+r.EndMinute, r.FireEvery
		switch r.FireUnit {
		case "FIRE_IN_MINUTES":
		case "FIRE_IN_HOURS":
			s.InHours = true
			s.Every *= 60
		default:
			return s, decodeError("fire_every_interval is %q", r.FireUnit)
		}
	}
	return s, schedule.Check(&s)
}

func renderPolicyV1(p *config.Record[config.Policy]) policyV1 {
	return policyV1{p.ID, p.Value.Name, []string{strconv.FormatUint(p.Value.Dir, 10)}, []scheduleEntry{renderSchedule(p)}, p.Value.Enabled}
}

func renderPolicyV2(p *config.Record[config.Policy]) policyV2 {
	t := p.Value.Template
	if t == "" {
		t = "{ID}_{Policy}_{Directory}"
		if p.Value.Dir == uint64(fs.RootID) {
			t = "{ID}_{Policy}"
		}
	}
	return policyV2{p.ID, p.Value.Name, t, num(p.Value.Dir), renderSchedule(p), p.Value.Enabled}
}

func lockRef(key uint64) *string {
	if key == 0 {
		return nil
	}
	s := strconv.FormatUint(key, 10)
	return &s
}

func policyOwners(p *config.Record[config.Policy]) []snapshotOwner {
	out := []snapshotOwner{}
	for _, o := range p.Value.Owners {
		out = append(out, snapshotOwner{o})
	}
	return out
}

func (q *request) policySource(p *config.Record[config.Policy]) policySource {
	f, err := q.s.svc.File(q.Context(), q.caller(), service.Ref(strconv.FormatUint(p.Value.Dir, 10)), 0, fs.AttrType)
	return policySource{num(p.Value.Dir), f.Path, err != nil}
}

func policyTag(p *config.Record[config.Policy]) string { return tag(p.ID, p.Revision) }

// policyError says what a change of a policy ran into.
func policyError(id string, err error) error {
	switch {
	case errors.Is(err, config.ErrNotFound):
		return &apiError{Status: http.StatusNotFound, Class: "api_snapshots_policy_not_found_error", Text: "No such snapshot policy: " + id, cause: err}
	case errors.Is(err, config.ErrInUse):
		return conflict("api_snapshots_policy_in_use_error", "the policy has owners")
	case errors.Is(err, config.ErrLimit):
		return conflict("api_snapshots_policy_limit_reached_error", "there are as many policies as there may be")
	case errors.Is(err, schedule.ErrInvalid):
		return badRequest("http_bad_request_error", "%s", strings.TrimPrefix(err.Error(), schedule.ErrInvalid.Error()+": "))
	}
	return err
}

func listPolicies(q *request, render func(*request, *config.Record[config.Policy]) any) (reply, error) {
	ps, err := q.s.o.Policies.Policies(q.Context())
	out := snapshotList[any]{Entries: []any{}}
	for i := range ps {
		out.Entries = append(out.Entries, render(q, &ps[i]))
	}
	return reply{body: out}, err
}

func (q *request) policy() (config.Record[config.Policy], error) {
	id, ok := q.id(0)
	if !ok {
		return config.Record[config.Policy]{}, notFound("%q is no policy id", q.params[0])
	}
	p, err := q.s.o.Policies.Policy(q.Context(), id)
	return p, policyError(q.params[0], err)
}

func getPolicy(q *request, render func(*request, *config.Record[config.Policy]) any) (reply, error) {
	p, err := q.policy()
	if err != nil {
		return reply{}, err
	}
	return reply{body: render(q, &p), tag: policyTag(&p)}, nil
}

// scheduled tells whether the request says when snapshots are taken.
func (in *policyRequest) scheduled() bool {
	return in.Schedule != nil && in.Schedule.Creation != nil || len(in.Schedules) > 0 && in.Schedules[0].Creation != nil
}

// apply puts what a request has into a policy.
func (in *policyRequest) apply(q *request, p *config.Policy) error {
	if n := in.Name; n != nil || in.NameV1 != nil {
		if n == nil {
			n = in.NameV1
		}
		p.Name = *n
	}
	if in.Template.Given {
		p.Template = in.Template.Value
	}
	if err := schedule.CheckTemplate(p.Template); err != nil {
		return policyError("", err)
	}
	if in.Enabled != nil {
		p.Enabled = *in.Enabled
	}
	if len(in.Sources) > 1 || len(in.Schedules) > 1 {
		return badRequest("http_bad_request_error", "a policy has one directory and one schedule")
	}
	if len(in.Sources) == 1 {
		in.Source = in.Sources[0]
	}
	if in.Source.Set {
		p.Dir = in.Source.N
	}
	if len(in.Schedules) == 1 {
		in.Schedule = &in.Schedules[0]
	}
	if in.Schedule != nil && in.Schedule.Creation != nil {
		s, err := in.Schedule.Creation.parse()
		if err != nil {
			return policyError("", err)
		}
		p.Schedule = s
	}
	if in.Schedule != nil && in.Schedule.TimeToLive != nil {
		ttl := *in.Schedule.TimeToLive
		if _, err := timeToLive(ttl, q.s.now()); err != nil {
			return err
		}
		if ttl == "never" {
			ttl = ""
		}
		p.TimeToLive = ttl
	}
	if in.LockKey.Given {
		p.LockKey = 0
		if ref := in.LockKey.Value; ref != "" {
			k, err := q.s.o.FSKeys.FSKey(q.Context(), ref)
			if err != nil {
				return keyError(ref, err)
			}
			p.LockKey = k.ID
		}
	}
	return nil
}

func addPolicy(q *request, render func(*request, *config.Record[config.Policy]) any) (reply, error) {
	in, err := body[policyRequest](q)
	if err != nil {
		return reply{}, err
	}
	if !in.scheduled() {
		return reply{}, decodeError("schedule is required")
	}
	p := config.Policy{Dir: uint64(fs.RootID), Enabled: true}
	if err := in.apply(q, &p); err != nil {
		return reply{}, err
	}
	ref := strconv.FormatUint(p.Dir, 10)
	f, err := q.other(ref, 0, fs.AttrType)
	if err != nil {
		return reply{}, err
	}
	if f.Attr.Type != fs.Directory {
		return reply{}, ofKind(fs.NotDir, nil)
	}
	rec, err := q.s.o.Policies.AddPolicy(q.Context(), p)
	if err != nil {
		return reply{}, policyError("", err)
	}
	return reply{body: render(q, &rec), tag: policyTag(&rec)}, nil
}

func changePolicy(q *request, render func(*request, *config.Record[config.Policy]) any, whole bool) (reply, error) {
	in, err := body[policyRequest](q)
	if err != nil {
		return reply{}, err
	}
	old, err := q.policy()
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(policyTag(&old), old.Revision)
	if err != nil {
		return reply{}, err
	}
	p := old.Value
	if whole {
		if !in.scheduled() {
			return reply{}, decodeError("schedule is required")
		}
		p = config.Policy{Dir: old.Value.Dir, Enabled: true}
	} else if rev == 0 {
		rev = old.Revision // the parts that stay are those that were read
	}
	if err := in.apply(q, &p); err != nil {
		return reply{}, err
	}
	rec, err := q.s.o.Policies.ModifyPolicy(q.Context(), old.ID, rev, p)
	if err != nil {
		return reply{}, policyError(q.params[0], err)
	}
	return reply{body: render(q, &rec), tag: policyTag(&rec)}, nil
}

func deletePolicy(q *request) (reply, error) {
	p, err := q.policy()
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(policyTag(&p), p.Revision)
	if err != nil {
		return reply{}, err
	}
	return reply{}, policyError(q.params[0], q.s.o.Policies.DeletePolicy(q.Context(), p.ID, rev))
}
