package rest

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
)

// clockOff has asked two servers, of which one did not answer.
type clockOff struct{}

func (clockOff) NTPStatus() ([]control.NTPServer, bool) {
	at := time.Unix(1700000000, 0)
	return []control.NTPServer{{Name: "a", Checked: at, Offset: time.Millisecond, Stratum: 2}, {Name: "b", Checked: at, Error: "i/o timeout"}}, true
}

// lookupTable knows one host.
type lookupTable struct{ forward, reverse int }

func (l *lookupTable) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	switch name {
	case "host.example":
		return []netip.Addr{netip.MustParseAddr("198.51.100.9")}, nil
	case "slow.example":
		return nil, &net.DNSError{IsTimeout: true}
	}
	return nil, &net.DNSError{IsNotFound: true}
}

func (l *lookupTable) LookupAddr(_ context.Context, addr string) ([]string, error) {
	switch addr {
	case "198.51.100.9":
		return []string{"host.example."}, nil
	case "x":
		return nil, net.InvalidAddrError("no address")
	}
	return nil, &net.DNSError{IsNotFound: true}
}

func (l *lookupTable) Clear(forward, reverse bool) {
	if forward {
		l.forward++
	}
	if reverse {
		l.reverse++
	}
}

func TestWebUISettings(t *testing.T) {
	a := newAPI(t)
	const path = "/v1/web-ui/settings"
	token := a.token
	a.token = ""
	if got := a.must(200, "GET", path, nil); string(got.raw) != `{"inactivity_timeout":null,"login_banner":null}` || got.header.Get("ETag") == "" {
		t.Errorf("%s", got.raw)
	}
	a.must(401, "PUT", path, object{})
	a.token = token
	got := a.must(200, "PUT", path, object{"inactivity_timeout": object{"nanoseconds": "900000000000"}, "login_banner": "Hello"})
	if string(got.raw) != `{"inactivity_timeout":{"nanoseconds":"900000000000"},"login_banner":"Hello"}` {
		t.Errorf("%s", got.raw)
	}
	etag := got.header.Get("ETag")
	if got := a.must(200, "PATCH", path, object{"login_banner": nil}, "If-Match", etag); string(got.raw) != `{"inactivity_timeout":{"nanoseconds":"900000000000"},"login_banner":null}` {
		t.Errorf("%s", got.raw)
	}
	a.fails(412, "http_precondition_failed_error", "PATCH", path, object{}, "If-Match", etag)
	a.fails(400, "decode_error", "PUT", path, object{"inactivity_timeout": object{"nanoseconds": "18446744073709551615"}})
}

// Suites are accepted by name; what every client needs cannot be refused.
func TestCiphers(t *testing.T) {
	a := newAPI(t)
	const path = "/v2/cluster/settings/ssl/ciphers"
	all := a.must(200, "GET", path, nil)
	tls12, tls13 := all.list("tls_1_2"), all.list("tls_1_3")
	if len(tls12) < 3 || len(tls13) != 3 {
		t.Fatalf("%s", all.raw)
	}
	some := []any{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}
	got := a.must(200, "PUT", path, object{"tls_1_2": some, "tls_1_3": tls13}, "If-Match", all.header.Get("ETag"))
	if n := len(got.list("tls_1_2")); n != 2 || got.header.Get("ETag") == "" {
		t.Errorf("%s", got.raw)
	}
	if s := a.config.GeneralInForce().TLS.Suites(); len(s) != 2 {
		t.Error(s)
	}
	for name, body := range map[string]object{
		"weak":     {"tls_1_2": append([]any{"TLS_RSA_WITH_RC4_128_SHA"}, some...), "tls_1_3": tls13},
		"unknown":  {"tls_1_2": append([]any{"x"}, some...), "tls_1_3": tls13},
		"twice":    {"tls_1_2": append(some, some...), "tls_1_3": tls13},
		"required": {"tls_1_2": some[:1], "tls_1_3": tls13},
		"none":     {},
		"of 1.3":   {"tls_1_2": some, "tls_1_3": tls13[:2]},
	} {
		if got := a.send("PUT", path, body); got.status != 400 {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	}
	if got := a.must(200, "GET", "/v1/checksumming/status", nil); string(got.raw) != `{"status":"ENABLED"}` {
		t.Errorf("%s", got.raw)
	}
}

func TestFSSettings(t *testing.T) {
	a := newAPI(t)
	const dir = "/v1/file-system/settings/"
	for name, want := range map[string]string{"atime": `{"enabled":false,"granularity":"HOUR"}`, "permissions": `{"mode":"CROSS_PROTOCOL"}`, "notify": `{"recursive_mode":"ENABLED"}`} {
		if got := a.must(200, "GET", dir+name, nil); string(got.raw) != want {
			t.Errorf("%s: %s", name, got.raw)
		}
	}
	a.must(200, "PUT", dir+"atime", object{"enabled": true, "granularity": "DAY"})
	if got := a.must(200, "PATCH", dir+"atime", object{"granularity": "WEEK"}); string(got.raw) != `{"enabled":true,"granularity":"WEEK"}` {
		t.Errorf("%s", got.raw)
	}
	if d := a.config.GeneralInForce().Atime.Interval(); d != 7*24*time.Hour {
		t.Error(d)
	}
	a.must(200, "PUT", dir+"permissions", object{"mode": "NATIVE"})
	if m := a.config.GeneralInForce().Permissions.Mode; m != "NATIVE" {
		t.Error(m)
	}
	a.fails(400, "http_bad_request_error", "PUT", dir+"permissions", object{"mode": "POSIX"})
	a.fails(400, "http_bad_request_error", "PUT", dir+"atime", object{"granularity": "MINUTE"})
	a.must(200, "PUT", dir+"notify", object{"recursive_mode": "DISABLED_ERROR"})
	a.fails(400, "http_bad_request_error", "GET", "/v1/files/2/notify?recursive=true", nil)
}

func TestTime(t *testing.T) {
	a := newAPI(t)
	if got := a.must(200, "GET", "/v1/time/settings", nil); string(got.raw) != `{"use_ad_for_primary":false,"ntp_servers":[]}` {
		t.Errorf("%s", got.raw)
	}
	a.must(200, "PUT", "/v1/time/settings", object{"use_ad_for_primary": true, "ntp_servers": []string{"b.example", "a.example"}})
	if got := a.must(200, "PATCH", "/v1/time/settings", object{"use_ad_for_primary": false}); string(got.raw) != `{"use_ad_for_primary":false,"ntp_servers":["b.example","a.example"]}` {
		t.Errorf("%s", got.raw)
	}
	a.fails(400, "http_bad_request_error", "PATCH", "/v1/time/settings", object{"ntp_servers": []string{"no host"}})
	got := a.must(200, "GET", "/v1/time/status", nil)
	if got.str("status") != "TIME_SYNCHRONIZING" || got.at("servers", 0, "healthy") != true || got.str("servers", 1, "error") != "i/o timeout" || got.str("config", "ntp_servers", 0) != "b.example" {
		t.Errorf("%s", got.raw)
	}
	var zones []string
	a.ok("GET", "/v1/time/timezones", nil, &zones)
	if !slices.Contains(zones, "Europe/Berlin") {
		t.Errorf("%d zones", len(zones))
	}
}

func TestDNS(t *testing.T) {
	a := newAPI(t)
	const path = "/v1/dns/configs/system"
	a.must(200, "PATCH", path, object{"dns_servers": []string{"198.51.100.53"}, "dns_search_domains": []string{"example"}})
	a.must(200, "PUT", "/v1/dns/lookup-override-config", object{"lookup_overrides": []object{{"ip_address": "198.51.100.7", "aliases": []string{"seven"}}}})
	if got := a.must(200, "GET", path, nil); string(got.raw) != `{"id":1,"dns_servers":["198.51.100.53"],"dns_search_domains":["example"],"lookup_overrides":[{"ip_address":"198.51.100.7","aliases":["seven"]}]}` {
		t.Errorf("%s", got.raw)
	}
	a.fails(400, "http_bad_request_error", "PATCH", path, object{"dns_servers": []string{"1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"}})
	a.fails(400, "http_bad_request_error", "PATCH", path, object{"dns_servers": []string{"dns.example"}})
	a.fails(400, "http_bad_request_error", "PUT", "/v1/dns/lookup-override-config", object{"lookup_overrides": []object{{"ip_address": "x", "aliases": []string{"seven"}}}})
	got := a.must(200, "POST", "/v1/dns/resolve-ips-to-names", []string{"198.51.100.9", "198.51.100.10", "x"})
	if string(got.raw) != `[{"ip_address":"198.51.100.9","hostname":"host.example","result":"OK"},{"ip_address":"198.51.100.10","hostname":"","result":"NOT_FOUND"},{"ip_address":"x","hostname":"","result":"ERROR"}]` {
		t.Errorf("%s", got.raw)
	}
	a.must(200, "POST", "/v1/dns/configs/1/resolve-ips-to-names", []string{"198.51.100.9"}).str(0, "hostname")
	a.must(200, "POST", "/v1/dns/configs/1/resolve-names-to-ips", []string{"host.example"}).str(0, "result")
	a.fails(404, "http_not_found_error", "POST", "/v1/dns/configs/2/resolve-names-to-ips", []string{"host.example"})
	got = a.must(200, "POST", "/v1/dns/resolve-names-to-ips", []string{"host.example", "slow.example"})
	if string(got.raw) != `[{"hostname":"host.example","ip_addresses":["198.51.100.9"],"result":"OK"},{"hostname":"slow.example","ip_addresses":[],"result":"TIMEOUT"}]` {
		t.Errorf("%s", got.raw)
	}
	a.must(200, "POST", "/v1/dns/clear-dns-cache", object{"skip_reverse_cache": true})
	if l, ok := a.options.Resolver.(*lookupTable); !ok || l.forward != 1 || l.reverse != 0 {
		t.Errorf("%+v", a.options.Resolver)
	}
}

// A change of parts that lost a race says so only to a client that asked for a guard.
func TestRaced(t *testing.T) {
	for conditional, want := range map[bool]int{false: 503, true: 412} {
		if got := errorOf(raced(conditional, config.ErrStale)); got.Status != want {
			t.Errorf("If-Match %v: %v, want %d", conditional, got, want)
		}
	}
}
