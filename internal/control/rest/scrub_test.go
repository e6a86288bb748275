package rest

import (
	"context"
	"testing"
	"time"

	"manifold/internal/control"
)

// scrubs is a control.Scrubber that never gets on.
type scrubs struct {
	status control.ScrubStatus
	rate   int64
}

func (s *scrubs) StartScrub(_ context.Context, rate int64) (control.ScrubStatus, error) {
	if !s.status.Running {
		s.rate = rate
		s.status = control.ScrubStatus{Running: true, Started: time.Unix(1e9, 0)}
	}
	return s.status, nil
}

func (s *scrubs) ScrubStatus(context.Context) (control.ScrubStatus, error) { return s.status, nil }

func (s *scrubs) StopScrub(context.Context) (control.ScrubStatus, error) {
	if s.status.Running {
		s.status.Running, s.status.Ended, s.status.Bytes = false, time.Unix(1e9+60, 0), 1<<60
		s.status.Findings, s.status.Damage = 1, []string{"extent 7 is damaged"}
	}
	return s.status, nil
}

func TestScrub(t *testing.T) {
	a := newAPI(t)
	if st := a.must(200, "GET", "/v1/scrub", nil); st.at("running") != false || st.str("start_time") != "" || len(st.list("damage")) != 0 {
		t.Errorf("%s", st.raw)
	}
	if st := a.must(202, "POST", "/v1/scrub", map[string]any{"bytes_per_second": "1048576"}); st.at("running") != true || st.str("start_time") != "2001-09-09T01:46:40Z" || st.str("end_time") != "" {
		t.Errorf("%s", st.raw)
	}
	if a.scrubs.rate != 1<<20 {
		t.Errorf("rate %d", a.scrubs.rate)
	}
	if st := a.must(200, "DELETE", "/v1/scrub", nil); st.at("running") != false || st.str("bytes") != "1152921504606846976" || len(st.list("damage")) != 1 {
		t.Errorf("%s", st.raw)
	}
	a.fails(400, "decode_error", "POST", "/v1/scrub", map[string]any{"bytes_per_second": "9223372036854775808"})
}
