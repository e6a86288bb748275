package client

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
)

// TimeSettings say with which servers the clock is compared.
type TimeSettings struct {
	UseAD   bool     `json:"use_ad_for_primary"`
	Servers []string `json:"ntp_servers"`
}

// TimeStatus is what time servers said last.
type TimeStatus struct {
	Time    string       `json:"time"`
	Status  string       `json:"status"`
	Servers []TimeServer `json:"servers"`
}

// TimeServer is how one time server is.
type TimeServer struct {
	Server  string `json:"server"`
	Healthy bool   `json:"healthy"`
	Error   string `json:"error"`
	Checked string `json:"checked"`
	// OffsetNanoseconds is how far our clock is behind.
	OffsetNanoseconds    int64 `json:"offset_nanoseconds"`
	RoundTripNanoseconds int64 `json:"round_trip_nanoseconds"`
	Stratum              int   `json:"stratum"`
}

// TimeSettings answers them and their entity tag.
func (c *Client) TimeSettings(ctx context.Context) (s TimeSettings, etag string, err error) {
	etag, err = c.Do(ctx, Request{Method: "GET", Path: "/v1/time/settings"}, &s)
	return s, etag, err
}

// SetTimeSettings replaces them; etag "" replaces whatever they are.
func (c *Client) SetTimeSettings(ctx context.Context, in TimeSettings, etag string) (s TimeSettings, err error) {
	_, err = c.Do(ctx, Request{Method: "PUT", Path: "/v1/time/settings", Body: in, IfMatch: etag}, &s)
	return s, err
}

// TimeStatus answers the clock and what each server said of it.
func (c *Client) TimeStatus(ctx context.Context) (s TimeStatus, err error) {
	return s, c.do(ctx, "GET", "/v1/time/status", nil, &s)
}

// TimeZones lists the time zones that schedules take.
func (c *Client) TimeZones(ctx context.Context) (zones []string, err error) {
	return zones, c.do(ctx, "GET", "/v1/time/timezones", nil, &zones)
}

// DNSSettings of the resolver.
type DNSSettings struct {
	// Servers are at most three; none are those of the machine.
	Servers       []string `json:"dns_servers"`
	SearchDomains []string `json:"dns_search_domains"`
}

// DNSSettings answers the settings of the resolver.
func (c *Client) DNSSettings(ctx context.Context) (s DNSSettings, etag string, err error) {
	etag, err = c.Do(ctx, Request{Method: "GET", Path: "/v1/dns/configs/system"}, &s)
	return s, etag, err
}

// SetDNSSettings replaces them; etag "" replaces whatever they are.
func (c *Client) SetDNSSettings(ctx context.Context, in DNSSettings, etag string) (s DNSSettings, err error) {
	_, err = c.Do(ctx, Request{Method: "PATCH", Path: "/v1/dns/configs/system", Body: in, IfMatch: etag}, &s)
	return s, err
}

// DNSOverride makes names known without DNS.
type DNSOverride struct {
	Address string   `json:"ip_address"`
	Names   []string `json:"aliases"`
}

type dnsOverrides struct {
	Overrides []DNSOverride `json:"lookup_overrides"`
}

// DNSOverrides answers what is known without DNS.
func (c *Client) DNSOverrides(ctx context.Context) ([]DNSOverride, string, error) {
	var out dnsOverrides
	etag, err := c.Do(ctx, Request{Method: "GET", Path: "/v1/dns/lookup-override-config"}, &out)
	return out.Overrides, etag, err
}

// SetDNSOverrides replaces it.
func (c *Client) SetDNSOverrides(ctx context.Context, in []DNSOverride, etag string) error {
	_, err := c.Do(ctx, Request{Method: "PUT", Path: "/v1/dns/lookup-override-config", Body: dnsOverrides{append([]DNSOverride{}, in...)}, IfMatch: etag}, nil)
	return err
}

// ClearDNSCache forgets what servers answered.
func (c *Client) ClearDNSCache(ctx context.Context) error {
	return c.do(ctx, "POST", "/v1/dns/clear-dns-cache", struct{}{}, nil)
}

// ResolvedName is what became of looking a name up.
type ResolvedName struct {
	Name      string   `json:"hostname"`
	Addresses []string `json:"ip_addresses"`
	Result    string   `json:"result"`
}

// ResolveNames looks names up.
func (c *Client) ResolveNames(ctx context.Context, names ...string) (out []ResolvedName, err error) {
	return out, c.do(ctx, "POST", "/v1/dns/resolve-names-to-ips", append([]string{}, names...), &out)
}

// ResolvedAddress is what became of looking an address up.
type ResolvedAddress struct {
	Address string `json:"ip_address"`
	Name    string `json:"hostname"`
	Result  string `json:"result"`
}

// ResolveAddresses looks addresses up.
func (c *Client) ResolveAddresses(ctx context.Context, addresses ...string) (out []ResolvedAddress, err error) {
	return out, c.do(ctx, "POST", "/v1/dns/resolve-ips-to-names", append([]string{}, addresses...), &out)
}

// WebSettings of the web console.
type WebSettings struct {
	// InactivityTimeout after which a console signs out, nil for never.
	InactivityTimeout *struct {
		Nanoseconds Number `json:"nanoseconds"`
	} `json:"inactivity_timeout"`
	// LoginBanner is shown before signing in, nil for none.
	LoginBanner *string `json:"login_banner"`
}

// WebSettings answers the settings of the web console.
func (c *Client) WebSettings(ctx context.Context) (s WebSettings, etag string, err error) {
	etag, err = c.Do(ctx, Request{Method: "GET", Path: "/v1/web-ui/settings"}, &s)
	return s, etag, err
}

// SetWebSettings replaces them.
func (c *Client) SetWebSettings(ctx context.Context, in WebSettings, etag string) (s WebSettings, err error) {
	_, err = c.Do(ctx, Request{Method: "PUT", Path: "/v1/web-ui/settings", Body: in, IfMatch: etag}, &s)
	return s, err
}

const fsSettings = "/v1/file-system/settings/"

// AtimeSettings say whether reading changes access times.
type AtimeSettings struct {
	Enabled bool `json:"enabled"`
	// Granularity is HOUR, DAY or WEEK.
	Granularity string `json:"granularity"`
}

// AtimeSettings answers whether reading changes access times.
func (c *Client) AtimeSettings(ctx context.Context) (s AtimeSettings, err error) {
	return s, c.do(ctx, "GET", fsSettings+"atime", nil, &s)
}

// SetAtimeSettings replaces it.
func (c *Client) SetAtimeSettings(ctx context.Context, in AtimeSettings) (s AtimeSettings, err error) {
	return s, c.do(ctx, "PUT", fsSettings+"atime", in, &s)
}

// PermissionsMode answers CROSS_PROTOCOL or NATIVE: what a chmod does to an ACL.
func (c *Client) PermissionsMode(ctx context.Context) (string, error) {
	var out struct{ Mode string }
	err := c.do(ctx, "GET", fsSettings+"permissions", nil, &out)
	return out.Mode, err
}

// SetPermissionsMode sets it; it counts at once.
func (c *Client) SetPermissionsMode(ctx context.Context, mode string) error {
	return c.do(ctx, "PUT", fsSettings+"permissions", map[string]string{"mode": mode}, nil)
}

// NotifyMode answers what a request for the changes of a whole tree gets.
func (c *Client) NotifyMode(ctx context.Context) (string, error) {
	var out struct {
		Mode string `json:"recursive_mode"`
	}
	err := c.do(ctx, "GET", fsSettings+"notify", nil, &out)
	return out.Mode, err
}

// SetNotifyMode sets it.
func (c *Client) SetNotifyMode(ctx context.Context, mode string) error {
	return c.do(ctx, "PUT", fsSettings+"notify", map[string]string{"recursive_mode": mode}, nil)
}

// Node is one of the cluster.
type Node struct {
	ID     int    `json:"id"`
	Name   string `json:"node_name"`
	Status string `json:"node_status"`
	UUID   string `json:"uuid"`
	Label  string `json:"label"`
	Model  string `json:"model_number"`
	Serial string `json:"serial_number"`
	MAC    string `json:"mac_address"`
}

// Nodes lists the nodes.
func (c *Client) Nodes(ctx context.Context) (out []Node, err error) {
	return out, c.do(ctx, "GET", "/v1/cluster/nodes/", nil, &out)
}

// Node answers one node.
func (c *Client) Node(ctx context.Context, id int) (n Node, err error) {
	return n, c.do(ctx, "GET", "/v1/cluster/nodes/"+strconv.Itoa(id), nil, &n)
}

type clusterName struct {
	Name string `json:"cluster_name"`
}

// ClusterName answers the name of the cluster.
func (c *Client) ClusterName(ctx context.Context) (string, error) {
	var out clusterName
	err := c.do(ctx, "GET", "/v1/cluster/settings", nil, &out)
	return out.Name, err
}

// SetClusterName renames the cluster.
func (c *Client) SetClusterName(ctx context.Context, name string) error {
	return c.do(ctx, "PUT", "/v1/cluster/settings", clusterName{name}, nil)
}

const sslSettings = "/v2/cluster/settings/ssl/"

// SetCertificate installs the certificate chain of the server and its key, in
// PEM; new connections see it.
func (c *Client) SetCertificate(ctx context.Context, chain, key string) error {
	return c.do(ctx, "PUT", sslSettings+"certificate", map[string]string{"certificate": chain, "private_key": key}, nil)
}

type authorities struct {
	PEM string `json:"ca_certificate"`
}

// Authorities answers, in PEM, by whom servers must be vouched for that the
// server connects to.
func (c *Client) Authorities(ctx context.Context) (string, error) {
	var out authorities
	err := c.do(ctx, "GET", sslSettings+"ca-certificate", nil, &out)
	return out.PEM, err
}

// SetAuthorities replaces them.
func (c *Client) SetAuthorities(ctx context.Context, pem string) error {
	return c.do(ctx, "PUT", sslSettings+"ca-certificate", authorities{pem}, nil)
}

// RemoveAuthorities removes them.
func (c *Client) RemoveAuthorities(ctx context.Context) error {
	return c.do(ctx, "DELETE", sslSettings+"ca-certificate", nil, nil)
}

// Ciphers are the cipher suites that the server accepts, by their names at IANA.
type Ciphers struct {
	TLS12 []string `json:"tls_1_2"`
	TLS13 []string `json:"tls_1_3"`
}

// Ciphers answers them.
func (c *Client) Ciphers(ctx context.Context) (out Ciphers, err error) {
	return out, c.do(ctx, "GET", sslSettings+"ciphers", nil, &out)
}

// SetCiphers replaces them; all of TLS 1.3 and two of TLS 1.2 are required.
func (c *Client) SetCiphers(ctx context.Context, v Ciphers) error {
	return c.do(ctx, "PUT", sslSettings+"ciphers", v, nil)
}

// Port is one that the server listens on or connects to.
type Port struct {
	ID         string   `json:"id"`
	Low        int      `json:"port_low"`
	High       int      `json:"port_high"`
	Transports []string `json:"transports"`
	Direction  string   `json:"direction"`
	Plane      string   `json:"plane"`
	State      string   `json:"state"`
	Listening  bool     `json:"listening"`
	Disabled   bool     `json:"disabled"`
	TLS        string   `json:"tls"`
	Setting    string   `json:"setting"`
	Room       string   `json:"room"`
	Purpose    string   `json:"purpose"`
}

// Ports lists every port that the server listens on or connects to.
func (c *Client) Ports(ctx context.Context) ([]Port, error) {
	var out struct{ Entries []Port }
	err := c.do(ctx, "GET", "/v1/ports", nil, &out)
	return out.Entries, err
}

// IdentityAttributes are kept of an identity of any domain.
type IdentityAttributes struct {
	Home *string `json:"home_directory"`
}

func identityAttributes(authID string) string {
	return "/v1/auth/identities/" + url.PathEscape(authID) + "/attributes"
}

// IdentityAttributes answers what is kept of an identity, by its auth_id.
func (c *Client) IdentityAttributes(ctx context.Context, authID string) (a IdentityAttributes, err error) {
	return a, c.do(ctx, "GET", identityAttributes(authID), nil, &a)
}

// SetIdentityAttributes replaces it.
func (c *Client) SetIdentityAttributes(ctx context.Context, authID string, in IdentityAttributes) (a IdentityAttributes, err error) {
	return a, c.do(ctx, "PUT", identityAttributes(authID), in, &a)
}

// RemoveIdentityAttributes removes it.
func (c *Client) RemoveIdentityAttributes(ctx context.Context, authID string) error {
	return c.do(ctx, "DELETE", identityAttributes(authID), nil, nil)
}

// ClearAuthCache forgets which passwords were found right.
func (c *Client) ClearAuthCache(ctx context.Context) error {
	return c.do(ctx, "POST", "/v1/auth/clear-cache", nil, nil)
}

// BucketAccess is what an identity may do with a bucket, and why.
type BucketAccess struct {
	Identity   json.RawMessage `json:"identity"`
	Allowed    []string        `json:"allowed_actions"`
	ByRole     []string        `json:"rbac_allowed_actions"`
	Statements []struct {
		Allow   bool     `json:"allow"`
		Actions []string `json:"actions"`
	} `json:"statement_access"`
}

// ExplainBucketAccess tells what somebody may do with a bucket; nil is somebody
// who has not said who he is.
func (c *Client) ExplainBucketAccess(ctx context.Context, bucket string, who *Principal) (x BucketAccess, err error) {
	return x, c.do(ctx, "POST", s3BucketsPath+url.PathEscape(bucket)+"/policy/explain-access", map[string]*Principal{"identity": who}, &x)
}
