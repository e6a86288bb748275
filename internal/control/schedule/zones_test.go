package schedule

import (
	"slices"
	"testing"
	"time"
)

func TestZones(t *testing.T) {
	all := Zones()
	if len(all) < 400 || !slices.IsSorted(all) || !slices.Contains(all, "America/Los_Angeles") || !slices.Contains(all, "UTC") {
		t.Fatalf("%d zones: %q", len(all), all)
	}
	for _, z := range all {
		if _, err := time.LoadLocation(z); err != nil {
			t.Errorf("%s: %v", z, err)
		}
	}
}
