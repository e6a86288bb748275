package rest

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/control/schedule"
)

type timeSettings struct {
	UseAD   bool     `json:"use_ad_for_primary"`
	Servers []string `json:"ntp_servers"`
}

type timePatch struct {
	UseAD   *bool     `json:"use_ad_for_primary,omitempty"`
	Servers *[]string `json:"ntp_servers,omitempty"`
}

// ntpServer is ours: how one time server is.
type ntpServer struct {
	Server    string `json:"server"`
	Healthy   bool   `json:"healthy"`
	Error     string `json:"error"`
	Checked   string `json:"checked"`
	Stratum   uint8  `json:"stratum"`
	Offset    int64  `json:"offset_nanoseconds"`
	RoundTrip int64  `json:"round_trip_nanoseconds"`
}

type timeStatus struct {
	Config  timeSettings `json:"config"`
	Time    string       `json:"time"`
	Status  string       `json:"status"`
	Servers []ntpServer  `json:"servers"`
}

type dnsOverride struct {
	Address string   `json:"ip_address"`
	Aliases []string `json:"aliases"`
}

type dnsConfig struct {
	ID        int           `json:"id"`
	Servers   []string      `json:"dns_servers"`
	Search    []string      `json:"dns_search_domains"`
	Overrides []dnsOverride `json:"lookup_overrides"`
}

type dnsPatch struct {
	Servers *[]string `json:"dns_servers,omitempty"`
	Search  *[]string `json:"dns_search_domains,omitempty"`
}

type dnsOverrides struct {
	List []dnsOverride `json:"lookup_overrides"`
}

type clearDNS struct {
	SkipReverse bool `json:"skip_reverse_cache,omitempty"`
	SkipForward bool `json:"skip_forward_cache,omitempty"`
}

type dnsName struct {
	Address  string `json:"ip_address"`
	Hostname string `json:"hostname"`
	Result   string `json:"result"`
}

type dnsAddresses struct {
	Hostname  string   `json:"hostname"`
	Addresses []string `json:"ip_addresses"`
	Result    string   `json:"result"`
}

func timeRoutes() []route {
	get, set := verbs(general, control.General.Time, control.General.SetTime)
	rs := singleton[config.Time, timePatch]{
		path: "/v1/time/settings", read: control.TimeRead, write: control.TimeWrite, about: "Servers that the clock is compared with; a domain's controllers come first while joined to one", out: timeSettings{},
		get: get, set: set, render: plain(renderTime),
		merge: func(_ *request, in timePatch, v *config.Time) error {
			given(in.UseAD, &v.UseAD)
			given(in.Servers, &v.Servers)
			return nil
		},
	}.routes("PUT", "PATCH")
	return append(rs,
		route{Method: "GET", Path: "/v1/time/status", Privilege: control.TimeRead, Summary: "The clock, and what each time server said last.", Out: timeStatus{}, handle: getTimeStatus},
		route{Method: "GET", Path: "/v1/time/timezones", Privilege: control.TimeRead, Summary: "Names of time zones that schedules take.", Out: []string{},
			handle: func(*request) (reply, error) { return reply{body: schedule.Zones()}, nil }})
}

func renderTime(v config.Time) timeSettings { return timeSettings{v.UseAD, listOf(v.Servers)} }

func getTimeStatus(q *request) (reply, error) {
	rec, err := q.s.o.General.Time(q.Context())
	if err != nil {
		return reply{}, err
	}
	servers, ok := q.s.o.Clock.NTPStatus()
	out := timeStatus{Config: renderTime(rec.Value), Time: timestamp(q.s.now()), Status: "TIME_NOT_SYNCHRONIZING", Servers: []ntpServer{}}
	if ok {
		out.Status = "TIME_SYNCHRONIZING"
	}
	for _, s := range servers {
		checked := ""
		if !s.Checked.IsZero() {
			checked = timestamp(s.Checked)
		}
		out.Servers = append(out.Servers, ntpServer{s.Name, checked != "" && s.Error == "", s.Error, checked, s.Stratum, int64(s.Offset), int64(s.RoundTrip)})
	}
	return reply{body: out}, nil
}

func dnsRoutes() []route {
	get, set := verbs(general, control.General.DNS, control.General.SetDNS)
	rs := singleton[config.DNS, dnsPatch]{
		path: "/v1/dns/configs/system", read: control.DNSRead, write: control.DNSWrite, about: "Resolver of the system: at most three servers, none for those of the machine", out: dnsConfig{},
		get: get, set: set,
		render: plain(func(v config.DNS) dnsConfig {
			return dnsConfig{1, listOf(v.Servers), listOf(v.Search), []dnsOverride{}}
		}),
		merge: func(_ *request, in dnsPatch, v *config.DNS) error {
			given(in.Servers, &v.Servers)
			given(in.Search, &v.Search)
			return nil
		},
	}.routes("PATCH")
	handle := rs[0].handle
	rs[0].handle = func(q *request) (reply, error) {
		rep, err := handle(q)
		if err != nil {
			return rep, err
		}
		o, err := q.s.o.General.Overrides(q.Context())
		c, _ := rep.body.(dnsConfig)
		c.Overrides = renderOverrides(o.Value).List
		rep.body = c
		return rep, err
	}
	getO, setO := verbs(general, control.General.Overrides, control.General.SetOverrides)
	rs = append(rs, singleton[config.Overrides, dnsOverrides]{
		path: "/v1/dns/lookup-override-config", read: control.DNSRead, write: control.DNSWrite, about: "Names and addresses that are known without DNS", out: dnsOverrides{},
		get: getO, set: setO, render: plain(renderOverrides),
		merge: func(_ *request, in dnsOverrides, v *config.Overrides) error {
			for _, o := range in.List {
				v.List = append(v.List, config.Override{Address: o.Address, Names: o.Aliases})
			}
			return nil
		},
	}.routes("PUT")...)
	const use = control.DNSUse
	return append(rs,
		route{Method: "POST", Path: "/v1/dns/clear-dns-cache", Privilege: control.DNSWrite, Summary: "Forget what DNS servers answered.", In: clearDNS{}, handle: clearDNSCache},
		route{Method: "POST", Path: "/v1/dns/resolve-ips-to-names", Privilege: use, Summary: "Names of addresses, each with its own result.", In: []string{}, Out: []dnsName{}, handle: resolveAddresses},
		route{Method: "POST", Path: "/v1/dns/resolve/", Privilege: use, Summary: "The same under its older name.", In: []string{}, Out: []dnsName{}, handle: resolveAddresses},
		route{Method: "POST", Path: "/v1/dns/resolve-names-to-ips", Privilege: use, Summary: "Addresses of names, each with its own result.", In: []string{}, Out: []dnsAddresses{}, handle: resolveNames},
		route{Method: "POST", Path: "/v1/dns/configs/{id}/resolve-ips-to-names", Privilege: use, Summary: "Names of addresses, by one configuration.", In: []string{}, Out: []dnsName{}, handle: ofDNSConfig(resolveAddresses)},
		route{Method: "POST", Path: "/v1/dns/configs/{id}/resolve-names-to-ips", Privilege: use, Summary: "Addresses of names, by one configuration.", In: []string{}, Out: []dnsAddresses{}, handle: ofDNSConfig(resolveNames)})
}

func renderOverrides(v config.Overrides) dnsOverrides {
	out := dnsOverrides{[]dnsOverride{}}
	for _, o := range v.List {
		out.List = append(out.List, dnsOverride{o.Address, listOf(o.Names)})
	}
	return out
}

func clearDNSCache(q *request) (reply, error) {
	in, err := body[clearDNS](q)
	if err != nil {
		return reply{}, err
	}
	q.s.o.Resolver.Clear(!in.SkipForward, !in.SkipReverse)
	return reply{}, nil
}

const (
	maxLookups    = 1000 // in one request
	lookupsAtOnce = 16
)

// lookups asks for every item of the body, some at a time.
func lookups[T any](q *request, ask func(context.Context, string) T) ([]T, error) {
	in, err := body[[]string](q)
	if err != nil {
		return nil, err
	}
	if len(in) > maxLookups {
		return nil, badRequest("http_bad_request_error", "at most %d lookups in one request", maxLookups)
	}
	out := make([]T, len(in))
	slots := make(chan struct{}, lookupsAtOnce)
	var wg sync.WaitGroup
	for i, item := range in {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			out[i] = ask(q.Context(), item)
		})
	}
	wg.Wait()
	return out, nil
}

func lookupResult(err error) string {
	var e *net.DNSError
	switch {
	case err == nil:
		return "OK"
	case errors.As(err, &e) && e.IsNotFound:
		return "NOT_FOUND"
	case errors.As(err, &e) && e.IsTimeout, errors.Is(err, context.DeadlineExceeded):
		return "TIMEOUT"
	}
	return "ERROR"
}

// ofDNSConfig wants the one configuration there is, that of the system.
func ofDNSConfig(h func(*request) (reply, error)) func(*request) (reply, error) {
	return func(q *request) (reply, error) {
		if id, ok := q.id(0); !ok || id != 1 {
			return reply{}, notFound("there is no DNS configuration %s", q.params[0])
		}
		return h(q)
	}
}

func resolveAddresses(q *request) (reply, error) {
	out, err := lookups(q, func(ctx context.Context, addr string) dnsName {
		names, err := q.s.o.Resolver.LookupAddr(ctx, addr)
		n := dnsName{Address: addr, Result: lookupResult(err)}
		if err == nil && len(names) > 0 {
			n.Hostname = strings.TrimSuffix(names[0], ".")
		}
		return n
	})
	return reply{body: out}, err
}

func resolveNames(q *request) (reply, error) {
	out, err := lookups(q, func(ctx context.Context, name string) dnsAddresses {
		addrs, err := q.s.o.Resolver.LookupNetIP(ctx, "ip", name)
		n := dnsAddresses{Hostname: name, Addresses: []string{}, Result: lookupResult(err)}
		for _, a := range addrs {
			n.Addresses = append(n.Addresses, a.String())
		}
		return n
	})
	return reply{body: out}, err
}
