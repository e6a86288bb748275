package rest

import (
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
)

// busy is a system in which two clients do something.
type busy struct{}

func (busy) Activity(only control.ActivityType) []control.Activity {
	all := []control.Activity{
		{File: 2, Client: netip.MustParseAddr("192.0.2.7"), Rate: 1.5, Type: control.FileReads},
		{File: 3, Client: netip.MustParseAddr("2001:db8::1"), Rate: 4096, Type: control.BytesWritten},
	}
	return slices.DeleteFunc(all, func(a control.Activity) bool { return only != "" && a.Type != only })
}

func (busy) Series(begin int64) []control.Series {
	if begin > 5 {
		return []control.Series{{ID: "iops.read.rate"}}
	}
	return []control.Series{{ID: "iops.read.rate", Times: []int64{5}, Values: []float64{0.5}}}
}

func TestActivity(t *testing.T) {
	a := newAPI(t)
	got := a.must(200, "GET", "/v1/analytics/activity/current", nil)
	if len(got.list("entries")) != 2 || got.str("entries", 0, "id") != "2" || got.str("entries", 1, "ip") != "2001:db8::1" || got.at("entries", 0, "rate") != 1.5 {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", "/v1/analytics/activity/current?type=file-throughput-write", nil); len(got.list("entries")) != 1 || got.str("entries", 0, "type") != "file-throughput-write" {
		t.Errorf("%s", got.raw)
	}
	a.fails(400, "http_bad_request_error", "GET", "/v1/analytics/activity/current?type=read", nil)
	if got := a.must(200, "GET", "/v1/analytics/iops", nil); len(got.list("entries")) != 1 || got.str("entries", 0, "type") != "read" {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", "/v1/analytics/iops?type=namespace-write", nil); len(got.list("entries")) != 0 {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", "/v1/analytics/time-series/?begin-time=0", nil); got.at(0, "values", 0) != 0.5 || got.at(0, "times", 0) != 5.0 {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", "/v1/analytics/time-series/?begin-time=6", nil); len(got.list(0, "times")) != 0 {
		t.Errorf("%s", got.raw)
	}
	a.fails(400, "http_bad_request_error", "GET", "/v1/analytics/time-series/?begin-time=-1", nil)
}

func TestCapacityHistory(t *testing.T) {
	a := newAPI(t)
	const monday = 24 * (4 + 7*2000) // hours
	for _, h := range []uint64{monday - 1, monday, monday + 1, monday + 23, monday + 24, monday + 7*24} {
		if err := a.config.AddCapacity(t.Context(), h, config.Capacity{Used: h, Data: 1}, config.LargePaths{Threshold: 7, Paths: []config.LargePath{{Path: "/", Used: h}}}); err != nil {
			t.Fatal(err)
		}
	}
	starts := func(query string) (out []uint64) {
		got := a.must(200, "GET", "/v1/analytics/capacity-history/"+query, nil)
		for i := range got.list() {
			out = append(out, uint64(got.at(i, "period_start_time").(float64))/3600-monday)
		}
		return out
	}
	const before = ^uint64(0) // an hour before
	for query, want := range map[string][]uint64{
		"":                 {before, 0, 1, 23, 24, 168},
		"?interval=daily":  {before, 0, 24, 168},
		"?interval=weekly": {before, 0, 168},
		"?begin-time=" + strconv.Itoa(monday*3600+1):                      {1, 23, 24, 168},
		"?begin-time=" + strconv.Itoa(monday*3600):                        {0, 1, 23, 24, 168},
		"?end-time=" + strconv.Itoa(monday*3600+3599):                     {before, 0},
		"?begin-time=0&end-time=0&interval=hourly":                        nil,
		"?end-time=" + strconv.Itoa((monday+24)*3600) + "&interval=daily": {before, 0, 24},
	} {
		if got := starts(query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	a.fails(400, "http_bad_request_error", "GET", "/v1/analytics/capacity-history/?interval=yearly", nil)
	got := a.must(200, "GET", "/v1/analytics/capacity-history/"+strconv.Itoa(monday*3600+1800)+"/", nil)
	if got.str("status") != "AVAILABLE" || got.str("threshold_for_inclusion") != "7" || got.str("largest_paths", 0, "path") != "/" {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", "/v1/analytics/capacity-history/1/", nil); got.str("status") != "UNAVAILABLE" || len(got.list("largest_paths")) != 0 {
		t.Errorf("%s", got.raw)
	}
	a.fails(404, "http_not_found_error", "GET", "/v1/analytics/capacity-history/now/", nil)
}

// cable is a machine on a network.
type cable struct{}

func (cable) Link() (control.Link, error) {
	return control.Link{
		Name: "eth0", MAC: "02:00:00:00:00:01", MTU: 1500, SpeedMbit: 1000, Up: true, Carrier: true, Received: 5, Sent: 1 << 40, Taken: time.Unix(0, 0),
		Gateway: netip.MustParseAddr("192.0.2.1"), Addresses: []control.LinkAddress{
			{Prefix: netip.MustParsePrefix("fe80::1/64")}, {Prefix: netip.MustParsePrefix("2001:db8::2/64")}, {Prefix: netip.MustParsePrefix("192.0.2.2/24"), Leased: true},
		},
	}, nil
}

func (cable) Connections() ([]control.Connection, error) {
	return []control.Connection{{Protocol: "NFS", Client: netip.MustParseAddr("192.0.2.7")}}, nil
}

func TestNetwork(t *testing.T) {
	a := newAPI(t)
	at := "/v2/network/interfaces/"
	if got := a.must(200, "GET", at, nil); got.at(0, "id") != 1.0 || got.str(0, "name") != "bond0" || got.str(0, "default_gateway") != "192.0.2.1" || got.str(0, "default_gateway_ipv6") != "" {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", at+"1", nil); got.str("bonding_mode") != "ACTIVE_BACKUP" {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", at+"1/networks/1", nil); got.str("assigned_by") != "DHCP" || len(got.list("ip_ranges")) != 0 || got.str("netmask") != "255.255.255.0" || got.str("name") != "Default" {
		t.Errorf("%s", got.raw)
	}
	a.must(200, "GET", at+"1/networks/", nil).str(0, "name")
	got := a.must(200, "GET", at+"1/status/1", nil)
	if got.str("network_statuses", 0, "assigned_by") != "LINK_LOCAL" || got.str("network_statuses", 1, "netmask") != "ffff:ffff:ffff:ffff::" || got.str("network_statuses", 2, "address") != "192.0.2.2" ||
		got.str("interface_details", "bytes_sent") != "1099511627776" || got.str("interface_details", "interface_status") != "UP" || got.str("node_name") != "n1" {
		t.Errorf("%s", got.raw)
	}
	a.must(200, "GET", at+"1/status/", nil).at(0, "node_id")
	for _, none := range []string{at + "2", at + "1/networks/2", at + "1/status/2", at + "2/status/", "/v1/network/status/2"} {
		a.fails(404, "http_not_found_error", "GET", none, nil)
	}
	a.must(405, "PUT", at+"1", object{})
	if got := a.must(200, "GET", "/v1/network/settings", nil); got.str("gateway") != "192.0.2.1" {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", "/v1/network/status/1", nil); got.str("network_status", "address") != "192.0.2.2" || got.at("id") != 1.0 {
		t.Errorf("%s", got.raw)
	}
	a.must(200, "GET", "/v1/network/status/", nil).at(0, "network_details")
	if got := a.must(200, "GET", "/v2/network/connections/", nil); got.str(0, "connections", 0, "type") != "CONNECTION_TYPE_NFS" || got.str(0, "connections", 0, "network_address") != "192.0.2.7" {
		t.Errorf("%s", got.raw)
	}
}
