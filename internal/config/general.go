package config

import (
	"context"
	"iter"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"manifold/internal/kv"
)

// Time says by which servers the clock is judged.
type Time struct {
	// UseAD puts the domain's controllers before the servers while joined to one.
	UseAD   bool     `json:"use_ad,omitempty"`
	Servers []string `json:"servers"`
}

// WebUI are settings of the console, which anybody may read.
type WebUI struct {
	// Inactivity ends a session of the console; 0: never.
	Inactivity time.Duration `json:"inactivity,omitempty"`
	// Banner is shown before signing in; nil: none.
	Banner *string `json:"banner,omitempty"`
}

// Granularities of access times.
const (
	GranularityHour = "HOUR"
	GranularityDay  = "DAY"
	GranularityWeek = "WEEK"
)

// Atime says whether reading a file changes its access time, and how often.
type Atime struct {
	Enabled     bool   `json:"enabled"`
	Granularity string `json:"granularity"`
}

// Interval is how old an access time grows before a read changes it; 0: reads
// never do.
func (a Atime) Interval() time.Duration {
	if !a.Enabled {
		return 0
	}
	switch a.Granularity {
	case GranularityDay:
		return 24 * time.Hour
	case GranularityWeek:
		return 7 * 24 * time.Hour
	}
	return time.Hour
}

// Permission modes.
const (
	PermissionsCrossProtocol = "CROSS_PROTOCOL"
	PermissionsNative        = "NATIVE"
)

// Permissions is the mode that decides what a chmod does to an ACL.
type Permissions struct {
	Mode string `json:"mode"`
}

// What a recursive watch of changes gets.
const (
	NotifyEnabled = "ENABLED"
	NotifyIgnore  = "DISABLED_IGNORE"
	NotifyError   = "DISABLED_ERROR"
)

// Notify says what a recursive watch of changes gets.
type Notify struct {
	RecursiveMode string `json:"recursive_mode"`
}

// DNS is the resolver of this system.
type DNS struct {
	// Servers are addresses, asked in order; none: those of the machine.
	Servers []string `json:"servers"`
	// Search are domains that a name without a dot is tried in.
	Search []string `json:"search"`
}

// Override answers for an address and some names before any server is asked.
type Override struct {
	Address string   `json:"address"`
	Names   []string `json:"names"`
}

// Overrides is the whole list.
type Overrides struct {
	List []Override `json:"list"`
}

// General are the settings above that others follow.
type General struct {
	Time        Time
	Atime       Atime
	Permissions Permissions
	Notify      Notify
	DNS         DNS
	Overrides   []Override
	Syslog      Syslog
	TLS         TLS
}

var defaultGeneral = General{
	Syslog: DefaultSyslog, TLS: DefaultTLS(),
	Atime: Atime{Granularity: GranularityHour}, Permissions: Permissions{PermissionsCrossProtocol}, Notify: Notify{NotifyEnabled},
	Time: Time{Servers: []string{}}, DNS: DNS{Servers: []string{}, Search: []string{}},
}

// Limits of what is kept.
const (
	maxNTPServers = 10
	maxDNSServers = 3
	maxSearch     = 6
	maxOverrides  = 1000
	maxAliases    = 32
	maxBanner     = 64 << 10
)

// GeneralInForce answers them at the cost of one atomic load.
func (s *Store) GeneralInForce() General { return *s.general.Load() }

// generalSettings read what others follow of the settings, each into its place.
var generalSettings = map[uint64]func(ctx context.Context, r kv.Reader, g *General) error{
	settingTime: func(ctx context.Context, r kv.Reader, g *General) error {
		return loadInto(ctx, r, settingTime, &g.Time, defaultGeneral.Time)
	},
	settingAtime: func(ctx context.Context, r kv.Reader, g *General) error {
		return loadInto(ctx, r, settingAtime, &g.Atime, defaultGeneral.Atime)
	},
	settingPermissions: func(ctx context.Context, r kv.Reader, g *General) error {
		return loadInto(ctx, r, settingPermissions, &g.Permissions, defaultGeneral.Permissions)
	},
	settingNotify: func(ctx context.Context, r kv.Reader, g *General) error {
		return loadInto(ctx, r, settingNotify, &g.Notify, defaultGeneral.Notify)
	},
	settingDNS: func(ctx context.Context, r kv.Reader, g *General) error {
		return loadInto(ctx, r, settingDNS, &g.DNS, defaultGeneral.DNS)
	},
	settingSyslog: func(ctx context.Context, r kv.Reader, g *General) error {
		return loadInto(ctx, r, settingSyslog, &g.Syslog, defaultGeneral.Syslog)
	},
	settingTLS: func(ctx context.Context, r kv.Reader, g *General) error {
		return loadInto(ctx, r, settingTLS, &g.TLS, defaultGeneral.TLS)
	},
	settingOverrides: func(ctx context.Context, r kv.Reader, g *General) error {
		var o Overrides
		err := loadInto(ctx, r, settingOverrides, &o, Overrides{})
		g.Overrides = o.List
		return err
	},
}

// loadInto reads a setting; def if there is none.
func loadInto[T any](ctx context.Context, r kv.Reader, id uint64, v *T, def T) error {
	*v = def
	return loadSetting(ctx, r, id, v)
}

// readGeneral answers g with some settings as they are stored now.
func readGeneral(ctx context.Context, r kv.Reader, g General, ids iter.Seq[uint64]) (*General, error) {
	for id := range ids {
		if read := generalSettings[id]; read != nil {
			if err := read(ctx, r, &g); err != nil {
				return nil, err
			}
		}
	}
	return &g, nil
}

// Time answers the settings of the clock.
func (s *Store) Time(ctx context.Context) (Record[Time], error) {
	return setting(ctx, s, settingTime, defaultGeneral.Time)
}

// SetTime replaces them.
func (s *Store) SetTime(ctx context.Context, revision uint64, v Time) (Record[Time], error) {
	if len(v.Servers) > maxNTPServers {
		return Record[Time]{}, invalid("ntp_servers", "want at most %d", maxNTPServers)
	}
	for _, h := range v.Servers {
		if !isHost(h) {
			return Record[Time]{}, invalid("ntp_servers", "%q is no host name or address", h)
		}
	}
	return changeSetting(ctx, s, settingTime, revision, v)
}

// WebUI answers the settings of the console.
func (s *Store) WebUI(ctx context.Context) (Record[WebUI], error) {
	return setting(ctx, s, settingWebUI, WebUI{})
}

// SetWebUI replaces them.
func (s *Store) SetWebUI(ctx context.Context, revision uint64, v WebUI) (Record[WebUI], error) {
	if v.Inactivity < 0 {
		return Record[WebUI]{}, invalid("inactivity_timeout", "must not be negative")
	}
	if v.Banner != nil && (len(*v.Banner) > maxBanner || !utf8.ValidString(*v.Banner)) {
		return Record[WebUI]{}, invalid("login_banner", "want text of at most %d bytes", maxBanner)
	}
	return setSetting(ctx, s, settingWebUI, revision, v)
}

// Atime answers how access times are kept.
func (s *Store) Atime(ctx context.Context) (Record[Atime], error) {
	return setting(ctx, s, settingAtime, defaultGeneral.Atime)
}

// SetAtime replaces it.
func (s *Store) SetAtime(ctx context.Context, revision uint64, v Atime) (Record[Atime], error) {
	switch v.Granularity {
	case GranularityHour, GranularityDay, GranularityWeek:
		return changeSetting(ctx, s, settingAtime, revision, v)
	}
	return Record[Atime]{}, invalid("granularity", "%q: want HOUR, DAY or WEEK", v.Granularity)
}

// Permissions answers the permissions mode.
func (s *Store) Permissions(ctx context.Context) (Record[Permissions], error) {
	return setting(ctx, s, settingPermissions, defaultGeneral.Permissions)
}

// SetPermissions replaces it.
func (s *Store) SetPermissions(ctx context.Context, revision uint64, v Permissions) (Record[Permissions], error) {
	if v.Mode != PermissionsCrossProtocol && v.Mode != PermissionsNative {
		return Record[Permissions]{}, invalid("mode", "%q: want CROSS_PROTOCOL or NATIVE", v.Mode)
	}
	return changeSetting(ctx, s, settingPermissions, revision, v)
}

// Notify answers what recursive watches get.
func (s *Store) Notify(ctx context.Context) (Record[Notify], error) {
	return setting(ctx, s, settingNotify, defaultGeneral.Notify)
}

// SetNotify replaces it.
func (s *Store) SetNotify(ctx context.Context, revision uint64, v Notify) (Record[Notify], error) {
	switch v.RecursiveMode {
	case NotifyEnabled, NotifyIgnore, NotifyError:
		return changeSetting(ctx, s, settingNotify, revision, v)
	}
	return Record[Notify]{}, invalid("recursive_mode", "%q: want ENABLED, DISABLED_IGNORE or DISABLED_ERROR", v.RecursiveMode)
}

// DNS answers the resolver's settings.
func (s *Store) DNS(ctx context.Context) (Record[DNS], error) {
	return setting(ctx, s, settingDNS, defaultGeneral.DNS)
}

// SetDNS replaces them.
func (s *Store) SetDNS(ctx context.Context, revision uint64, v DNS) (Record[DNS], error) {
	if len(v.Servers) > maxDNSServers {
		return Record[DNS]{}, invalid("dns_servers", "want at most %d", maxDNSServers)
	}
	for _, a := range v.Servers {
		if _, err := netip.ParseAddr(a); err != nil {
			return Record[DNS]{}, invalid("dns_servers", "%q is no address", a)
		}
	}
	if len(v.Search) > maxSearch {
		return Record[DNS]{}, invalid("dns_search_domains", "want at most %d", maxSearch)
	}
	for _, d := range v.Search {
		if !isHost(d) {
			return Record[DNS]{}, invalid("dns_search_domains", "%q is no domain", d)
		}
	}
	return changeSetting(ctx, s, settingDNS, revision, v)
}

// Overrides answers the names and addresses that come before DNS.
func (s *Store) Overrides(ctx context.Context) (Record[Overrides], error) {
	return setting(ctx, s, settingOverrides, Overrides{})
}

// SetOverrides replaces the list.
func (s *Store) SetOverrides(ctx context.Context, revision uint64, v Overrides) (Record[Overrides], error) {
	if len(v.List) > maxOverrides {
		return Record[Overrides]{}, invalid("lookup_overrides", "want at most %d", maxOverrides)
	}
	for _, o := range v.List {
		if _, err := netip.ParseAddr(o.Address); err != nil {
			return Record[Overrides]{}, invalid("ip_address", "%q is no address", o.Address)
		}
		if len(o.Names) == 0 || len(o.Names) > maxAliases {
			return Record[Overrides]{}, invalid("aliases", "want 1 to %d names for %s", maxAliases, o.Address)
		}
		for _, n := range o.Names {
			if !isHost(n) {
				return Record[Overrides]{}, invalid("aliases", "%q is no host name", n)
			}
		}
	}
	return changeSetting(ctx, s, settingOverrides, revision, v)
}

// isHost tells whether h can be a host name or an address.
func isHost(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	return h != "" && len(h) <= 253 && !strings.ContainsFunc(h, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_')
	})
}
