package config

import (
	"errors"
	"testing"
)

func TestCapacity(t *testing.T) {
	s, _ := newStore(t)
	ctx := t.Context()
	const monday = hourOfFirstMonday + 2000*7*24
	hours := []uint64{monday - 11*365*24 - 11*365*24%168, monday, monday + 24, monday + 5, monday + 3*365*24, monday + 3*365*24 + 7, monday + 3*365*24 + 40*24}
	for _, h := range hours {
		if err := s.AddCapacity(ctx, h, Capacity{Used: h}, LargePaths{Threshold: 1, Paths: []LargePath{{"/", h}}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Capacities(ctx, 0, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	// The first is beyond ten years, three years ago only a Monday is kept, and
	// beyond a month only a midnight.
	want := []uint64{monday, monday + 3*365*24, monday + 3*365*24 + 40*24}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range got {
		if got[i].ID != want[i] || got[i].Value.Used != want[i] {
			t.Errorf("%+v", got[i])
		}
	}
	if got, err := s.Capacities(ctx, monday, monday); err != nil || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
	if p, err := s.LargePaths(ctx, want[2]); err != nil || p.Value.Paths[0].Used != want[2] {
		t.Errorf("%v %v", p, err)
	}
	if _, err := s.LargePaths(ctx, monday); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if h, err := s.LargePathHours(ctx); err != nil || len(h) != 2 || !h[want[1]] {
		t.Errorf("%v %v", h, err)
	}
}
