package schedule

import (
	_ "embed"
	"strings"
)

// zones.txt are the names of the time zone database that the binary carries,
// one a line, sorted.
//
//go:embed zones.txt
var zones string

// Zones answers the names of time zones that schedules take.
func Zones() []string { return strings.Fields(zones) }
