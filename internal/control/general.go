package control

import (
	"context"
	"net/netip"
	"time"

	"manifold/internal/config"
)

// General are settings of the system of which there is one each. Revisions are
// those last seen, 0 for any. A change is in force when its call returns.
type General interface {
	Time(ctx context.Context) (config.Record[config.Time], error)
	SetTime(ctx context.Context, revision uint64, v config.Time) (config.Record[config.Time], error)
	WebUI(ctx context.Context) (config.Record[config.WebUI], error)
	SetWebUI(ctx context.Context, revision uint64, v config.WebUI) (config.Record[config.WebUI], error)
	DNS(ctx context.Context) (config.Record[config.DNS], error)
	SetDNS(ctx context.Context, revision uint64, v config.DNS) (config.Record[config.DNS], error)
	Overrides(ctx context.Context) (config.Record[config.Overrides], error)
	SetOverrides(ctx context.Context, revision uint64, v config.Overrides) (config.Record[config.Overrides], error)
}

// FSSettings are the settings of the file system.
type FSSettings interface {
	Atime(ctx context.Context) (config.Record[config.Atime], error)
	SetAtime(ctx context.Context, revision uint64, v config.Atime) (config.Record[config.Atime], error)
	Permissions(ctx context.Context) (config.Record[config.Permissions], error)
	SetPermissions(ctx context.Context, revision uint64, v config.Permissions) (config.Record[config.Permissions], error)
	Notify(ctx context.Context) (config.Record[config.Notify], error)
	SetNotify(ctx context.Context, revision uint64, v config.Notify) (config.Record[config.Notify], error)
}

// NTPServer is how one time server is.
type NTPServer struct {
	Name              string
	Checked           time.Time // zero: never
	Error             string    // why its last answer does not count
	Offset, RoundTrip time.Duration
	Stratum           uint8
}

// Clock compares this machine's clock with the time servers.
type Clock interface {
	// NTPStatus answers what the servers said last, and whether the clock agrees.
	NTPStatus() (servers []NTPServer, synchronised bool)
}

// Resolver looks names and addresses up.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
	// Clear forgets what it remembers.
	Clear(forward, reverse bool)
}
