package control

import (
	"context"
	"net/netip"
	"time"

	"manifold/internal/config"
	"manifold/internal/fs"
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
	TLS(ctx context.Context) (config.Record[config.TLS], error)
	SetTLS(ctx context.Context, revision uint64, v config.TLS) (config.Record[config.TLS], error)
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

// ActivityType is what an activity is a rate of, in the words of the API.
type ActivityType string

// Types: operations or bytes a second.
const (
	FileReads      ActivityType = "file-iops-read"
	FileWrites     ActivityType = "file-iops-write"
	MetadataReads  ActivityType = "metadata-iops-read"
	MetadataWrites ActivityType = "metadata-iops-write"
	BytesRead      ActivityType = "file-throughput-read"
	BytesWritten   ActivityType = "file-throughput-write"
)

// Activity is what one client does to one object.
type Activity struct {
	File   fs.FileID
	Client netip.Addr
	Rate   float64
	Type   ActivityType
}

// Series is a value over time: times are seconds since 1970.
type Series struct {
	ID     string
	Times  []int64
	Values []float64
}

// Analytics tells what clients do.
type Analytics interface {
	// Activity of the last seconds, of one type or of all (""), the busiest of
	// each type first.
	Activity(only ActivityType) []Activity
	// Series of the whole system from a time on.
	Series(begin int64) []Series
}

// CapacityHistory keeps what the file system took, by the hour since 1970.
type CapacityHistory interface {
	Capacities(ctx context.Context, first, last uint64) ([]config.Record[config.Capacity], error)
	LargePaths(ctx context.Context, hour uint64) (config.Record[config.LargePaths], error)
	LargePathHours(ctx context.Context) (map[uint64]bool, error)
	AddCapacity(ctx context.Context, hour uint64, c config.Capacity, p config.LargePaths) error
}

// Link is the network interface by which clients reach this node, as it is now.
type Link struct {
	Name      string
	MAC       string
	MTU       int
	SpeedMbit uint64 // 0: unknown
	// Up: it is switched on; Carrier: there is somebody at the other end.
	Up, Carrier    bool
	Received, Sent uint64 // bytes
	Gateway        netip.Addr
	Gateway6       netip.Addr
	Addresses      []LinkAddress
	Bond           bool // of several, one of which works at a time unless LACP
	LACP           bool
	Taken          time.Time
}

// LinkAddress is one of an interface's.
type LinkAddress struct {
	Prefix netip.Prefix
	// Leased addresses run out unless they are renewed: DHCP gave them.
	Leased bool
}

// Connection is one that a client has to a protocol of this node.
type Connection struct {
	Protocol string // as the ledger of ports names it
	Client   netip.Addr
}

// Network tells how this node is connected. What it cannot learn is left out.
type Network interface {
	Link() (Link, error)
	Connections() ([]Connection, error)
}
