package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"manifold/client"
)

// action is the body of a command that needs a session.
type action = func(ctx context.Context, c *client.Client, args []string) error

// verb makes a command.
func (a *app) verb(use, short string, args cobra.PositionalArgs, fn action) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: a.run(fn)}
}

// show prints v as JSON, or names and values.
func (a *app) show(v any, pairs ...string) error {
	if a.asJSON {
		return a.json(v)
	}
	return a.record(pairs...)
}

func list(s []string) string { return strings.Join(s, " ") }

func (a *app) timeCommand() *cobra.Command {
	return noun("time", "The clock and the servers it is compared with",
		a.verb("show", "The clock, and what each server said of it", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.TimeStatus(ctx)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(s)
			}
			if err := a.record("Time", s.Time, "Status", s.Status); err != nil || len(s.Servers) == 0 {
				return err
			}
			return listing(a, s.Servers, "SERVER OFFSET ROUND-TRIP STRATUM CHECKED ERROR", func(s *client.TimeServer) []string {
				return []string{s.Server, time.Duration(s.OffsetNanoseconds).String(), time.Duration(s.RoundTripNanoseconds).String(), strconv.Itoa(s.Stratum), s.Checked, s.Error}
			})
		}),
		a.timeModify(),
		a.verb("zones", "Time zones that schedules take", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			zones, err := c.TimeZones(ctx)
			if err != nil {
				return err
			}
			return listing(a, zones, "ZONE", func(z *string) []string { return []string{*z} })
		}))
}

func (a *app) timeModify() *cobra.Command {
	var servers []string
	var ad bool
	c := a.verb("modify", "Change the servers", cobra.NoArgs, nil)
	c.Flags().StringSliceVar(&servers, "server", nil, "name or address; may be repeated, empty for none")
	c.Flags().BoolVar(&ad, "use-ad", false, "ask the controllers of the domain first")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		s, etag, err := cl.TimeSettings(ctx)
		if err != nil {
			return err
		}
		if c.Flags().Changed("server") {
			s.Servers = given(servers)
		}
		if c.Flags().Changed("use-ad") {
			s.UseAD = ad
		}
		if s, err = cl.SetTimeSettings(ctx, s, etag); err != nil {
			return err
		}
		return a.show(s, "Servers", list(s.Servers), "Domain first", onOff(s.UseAD))
	})
	return c
}

// given are the values of a flag, of which an empty one stands for none.
func given(s []string) []string {
	out := []string{}
	for _, x := range s {
		if x != "" {
			out = append(out, x)
		}
	}
	return out
}

func (a *app) dnsCommand() *cobra.Command {
	return noun("dns", "How the server finds names",
		a.verb("show", "Servers, search domains and overrides", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			s, _, err := c.DNSSettings(ctx)
			if err != nil {
				return err
			}
			over, _, err := c.DNSOverrides(ctx)
			if err != nil {
				return err
			}
			pairs := []string{"Servers", list(s.Servers), "Search", list(s.SearchDomains)}
			for _, o := range over {
				pairs = append(pairs, "Override", o.Address+" "+list(o.Names))
			}
			return a.show(struct {
				client.DNSSettings
				Overrides []client.DNSOverride `json:"lookup_overrides"`
			}{s, over}, pairs...)
		}),
		a.dnsModify(),
		noun("override", "Names that are known without DNS",
			a.verb("set ADDRESS NAME...", "Make names stand for an address", cobra.MinimumNArgs(2), func(ctx context.Context, c *client.Client, args []string) error {
				return overrides(ctx, c, args[0], args[1:])
			}),
			a.verb("rm ADDRESS", "Forget the names of an address", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
				return overrides(ctx, c, args[0], nil)
			}),
			a.verb("load [FILE]", "Replace all by the JSON in a file or on standard input, as dns show --json has them", cobra.MaximumNArgs(1), a.loadOverrides)),
		a.verb("resolve NAME...", "Look names or addresses up, as the server sees them", cobra.MinimumNArgs(1), a.dnsResolve),
		a.verb("clear-cache", "Forget what servers answered", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error { return c.ClearDNSCache(ctx) }))
}

func (a *app) loadOverrides(ctx context.Context, c *client.Client, args []string) error {
	b, err := a.read(append(args, "-")[0], 4<<20)
	if err != nil {
		return err
	}
	var in struct {
		Overrides []client.DNSOverride `json:"lookup_overrides"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return fmt.Errorf("overrides: %w", err)
	}
	if in.Overrides == nil {
		return errors.New(`overrides: want {"lookup_overrides": [{"ip_address": "192.0.2.1", "aliases": ["name"]}]}`)
	}
	_, etag, err := c.DNSOverrides(ctx)
	if err != nil {
		return err
	}
	return c.SetDNSOverrides(ctx, in.Overrides, etag)
}

func (a *app) dnsModify() *cobra.Command {
	var servers, search []string
	c := a.verb("modify", "Change servers and search domains", cobra.NoArgs, nil)
	c.Flags().StringSliceVar(&servers, "server", nil, "address; at most three, empty for those of the machine")
	c.Flags().StringSliceVar(&search, "search", nil, "domain that names without a dot are tried in; empty for none")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		s, etag, err := cl.DNSSettings(ctx)
		if err != nil {
			return err
		}
		if c.Flags().Changed("server") {
			s.Servers = given(servers)
		}
		if c.Flags().Changed("search") {
			s.SearchDomains = given(search)
		}
		if s, err = cl.SetDNSSettings(ctx, s, etag); err != nil {
			return err
		}
		return a.show(s, "Servers", list(s.Servers), "Search", list(s.SearchDomains))
	})
	return c
}

// overrides replaces the names of an address, none for no override.
func overrides(ctx context.Context, c *client.Client, address string, names []string) error {
	all, etag, err := c.DNSOverrides(ctx)
	if err != nil {
		return err
	}
	var out []client.DNSOverride
	for _, o := range all {
		if o.Address != address {
			out = append(out, o)
		}
	}
	if names != nil {
		out = append(out, client.DNSOverride{Address: address, Names: names})
	} else if len(out) == len(all) {
		return fmt.Errorf("there is no override for %s", address)
	}
	return c.SetDNSOverrides(ctx, out, etag)
}

func (a *app) dnsResolve(ctx context.Context, c *client.Client, args []string) error {
	var names, addresses []string
	for _, x := range args {
		if strings.Contains(x, ":") || strings.Trim(x, "0123456789.") == "" {
			addresses = append(addresses, x)
		} else {
			names = append(names, x)
		}
	}
	type result struct {
		Asked  string   `json:"asked"`
		Found  []string `json:"found"`
		Result string   `json:"result"`
	}
	var out []result
	if names != nil {
		rs, err := c.ResolveNames(ctx, names...)
		if err != nil {
			return err
		}
		for _, r := range rs {
			out = append(out, result{r.Name, r.Addresses, r.Result})
		}
	}
	if addresses != nil {
		rs, err := c.ResolveAddresses(ctx, addresses...)
		if err != nil {
			return err
		}
		for _, r := range rs {
			out = append(out, result{r.Address, given([]string{r.Name}), r.Result})
		}
	}
	return listing(a, out, "ASKED RESULT FOUND", func(r *result) []string { return []string{r.Asked, r.Result, list(r.Found)} })
}

func (a *app) webCommand() *cobra.Command {
	show := func(s client.WebSettings) error {
		timeout := "never"
		if s.InactivityTimeout != nil {
			timeout = time.Duration(s.InactivityTimeout.Nanoseconds).String()
		}
		return a.show(s, "Signs out after", timeout, "Banner", deref(s.LoginBanner))
	}
	var banner, bannerFile, timeout string
	modify := a.verb("modify", "Change settings of the web console", cobra.NoArgs, nil)
	modify.Flags().StringVar(&banner, "login-banner", "", "text before signing in; empty for none")
	modify.Flags().StringVar(&bannerFile, "login-banner-file", "", "file with that text, - for standard input")
	modify.Flags().StringVar(&timeout, "inactivity-timeout", "", "sign out after so long without use, as 30m, or never")
	modify.RunE = a.run(func(ctx context.Context, c *client.Client, _ []string) error {
		s, etag, err := c.WebSettings(ctx)
		if err != nil {
			return err
		}
		if bannerFile != "" {
			b, err := a.read(bannerFile, 1<<20)
			if err != nil {
				return err
			}
			s.LoginBanner = new(string(b))
		}
		if modify.Flags().Changed("login-banner") {
			if s.LoginBanner = &banner; banner == "" {
				s.LoginBanner = nil
			}
		}
		switch {
		case timeout == "never":
			s.InactivityTimeout = nil
		case timeout != "":
			d, err := time.ParseDuration(timeout)
			if err != nil || d <= 0 {
				return fmt.Errorf("--inactivity-timeout %q: want a time as 30m, or never", timeout)
			}
			s.InactivityTimeout = &struct {
				Nanoseconds client.Number `json:"nanoseconds"`
			}{client.Number(d)}
		}
		if s, err = c.SetWebSettings(ctx, s, etag); err != nil {
			return err
		}
		return show(s)
	})
	return noun("web", "The web console",
		a.verb("show", "Settings of the web console", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			s, _, err := c.WebSettings(ctx)
			if err != nil {
				return err
			}
			return show(s)
		}), modify)
}

func (a *app) fsSettings() *cobra.Command {
	var atime, permissions, notify string
	modify := a.verb("modify", "Change settings of the file system", cobra.NoArgs, nil)
	modify.Flags().StringVar(&atime, "atime", "", "how old an access time may grow before reading changes it: hour, day or week; off never")
	modify.Flags().StringVar(&permissions, "permissions", "", "what a chmod does to an ACL: cross-protocol limits it, native replaces it")
	modify.Flags().StringVar(&notify, "notify", "", "what a request for the changes of a whole tree gets: disabled-error, disabled-ignore or enabled")
	modify.RunE = a.run(func(ctx context.Context, c *client.Client, _ []string) error {
		constant := func(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "-", "_")) }
		if atime != "" {
			s, err := c.AtimeSettings(ctx)
			if err != nil {
				return err
			}
			if s.Enabled = atime != "off"; s.Enabled {
				s.Granularity = constant(atime)
			}
			if _, err := c.SetAtimeSettings(ctx, s); err != nil {
				return err
			}
		}
		if permissions != "" {
			if err := c.SetPermissionsMode(ctx, constant(permissions)); err != nil {
				return err
			}
		}
		if notify != "" {
			if err := c.SetNotifyMode(ctx, constant(notify)); err != nil {
				return err
			}
		}
		if atime+permissions+notify == "" {
			return errors.New("nothing to change; see --help")
		}
		return nil
	})
	return noun("settings", "Settings of the file system",
		a.verb("show", "Access times, permissions, notification", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			at, err := c.AtimeSettings(ctx)
			if err != nil {
				return err
			}
			mode, err := c.PermissionsMode(ctx)
			if err != nil {
				return err
			}
			n, err := c.NotifyMode(ctx)
			if err != nil {
				return err
			}
			access := "off"
			if at.Enabled {
				access = at.Granularity
			}
			return a.show(map[string]any{"atime": at, "permissions": mode, "notify": n}, "Access times", access, "Permissions", mode, "Notification of trees", n)
		}), modify)
}

func (a *app) clusterCommand() *cobra.Command {
	nodes := func(ns []client.Node) error {
		return listing(a, ns, "ID NAME STATUS UUID MODEL", func(n *client.Node) []string {
			return []string{strconv.Itoa(n.ID), n.Name, n.Status, n.UUID, n.Model}
		})
	}
	return noun("cluster", "The cluster",
		a.verb("show", "Name of the cluster", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			name, err := c.ClusterName(ctx)
			if err != nil {
				return err
			}
			return a.show(map[string]string{"cluster_name": name}, "Name", name)
		}),
		a.verb("rename NAME", "Rename the cluster", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
			return c.SetClusterName(ctx, args[0])
		}),
		a.verb("nodes [ID]", "Nodes of the cluster", cobra.MaximumNArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
			if len(args) == 0 {
				ns, err := c.Nodes(ctx)
				if err != nil {
					return err
				}
				return nodes(ns)
			}
			id, err := strconv.Atoi(args[0])
			if err != nil {
				return fmt.Errorf("%q is no node id", args[0])
			}
			n, err := c.Node(ctx, id)
			if err != nil {
				return err
			}
			return nodes([]client.Node{n})
		}))
}

// maxPEM bounds a certificate chain or key.
const maxPEM = 1 << 20

func (a *app) sslCommand() *cobra.Command {
	return noun("ssl", "Certificates and cipher suites", a.ciphersCommand(),
		a.verb("set-certificate CHAIN KEY", "Install the server's certificate chain and key, files in PEM", cobra.ExactArgs(2), func(ctx context.Context, c *client.Client, args []string) error {
			chain, err := a.read(args[0], maxPEM)
			if err != nil {
				return err
			}
			key, err := a.read(args[1], maxPEM)
			if err != nil {
				return err
			}
			return c.SetCertificate(ctx, string(chain), string(key))
		}),
		noun("ca", "Authorities that vouch for the servers that the server connects to",
			a.verb("show", "Print them in PEM", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
				pem, err := c.Authorities(ctx)
				if err != nil {
					return err
				}
				if a.asJSON {
					return a.json(map[string]string{"ca_certificate": pem})
				}
				_, err = fmt.Fprint(a.o.Out, pem)
				return err
			}),
			a.verb("set FILE", "Replace them by those of a file in PEM", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
				pem, err := a.read(args[0], maxPEM)
				if err != nil {
					return err
				}
				return c.SetAuthorities(ctx, string(pem))
			}),
			a.verb("rm", "Remove them", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error { return c.RemoveAuthorities(ctx) })))
}

func (a *app) ciphersCommand() *cobra.Command {
	show := a.verb("show", "Print them", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
		v, err := c.Ciphers(ctx)
		if err != nil {
			return err
		}
		if a.asJSON {
			return a.json(v)
		}
		for _, name := range append(v.TLS12, v.TLS13...) {
			if _, err := fmt.Fprintln(a.o.Out, name); err != nil {
				return err
			}
		}
		return nil
	})
	var v client.Ciphers
	set := a.verb("set", "Replace them; what is not given stays", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
		now, err := c.Ciphers(ctx)
		if err != nil {
			return err
		}
		if v.TLS12 == nil {
			v.TLS12 = now.TLS12
		}
		if v.TLS13 == nil {
			v.TLS13 = now.TLS13
		}
		return c.SetCiphers(ctx, v)
	})
	set.Flags().StringSliceVar(&v.TLS12, "tls12", nil, "suites of TLS 1.2")
	set.Flags().StringSliceVar(&v.TLS13, "tls13", nil, "suites of TLS 1.3")
	return noun("ciphers", "Cipher suites that are accepted, by their names at IANA", show, set)
}

func (a *app) nodePorts() *cobra.Command {
	return a.verb("ports", "Every port that the server listens on or connects to", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
		ps, err := c.Ports(ctx)
		if err != nil {
			return err
		}
		return listing(a, ps, "ID PORT TRANSPORT DIRECTION STATE PURPOSE", func(p *client.Port) []string {
			n := strconv.Itoa(p.Low)
			if p.High != p.Low {
				n += "-" + strconv.Itoa(p.High)
			}
			return []string{p.ID, n, strings.Join(p.Transports, ","), p.Direction, p.State, p.Purpose}
		})
	})
}

func (a *app) networkCommand() *cobra.Command {
	iface := func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil {
			err = fmt.Errorf("%q is no interface id; list them with: manifold network interfaces", s)
		}
		return n, err
	}
	return noun("network", "Network interfaces and who is connected",
		a.verb("interfaces", "Network interfaces", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			is, err := c.Interfaces(ctx)
			if err != nil {
				return err
			}
			return listing(a, is, "ID NAME MTU GATEWAY", func(i *client.Interface) []string {
				return []string{strconv.Itoa(i.ID), i.Name, strconv.Itoa(i.MTU), strings.TrimSpace(i.Gateway + " " + i.GatewayIPv6)}
			})
		}),
		a.verb("list INTERFACE", "Networks on an interface", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
			id, err := iface(args[0])
			if err != nil {
				return err
			}
			ns, err := c.Networks(ctx, id)
			if err != nil {
				return err
			}
			return listing(a, ns, "ID NAME ASSIGNED-BY ADDRESSES NETMASK", func(n *client.Network) []string {
				return []string{strconv.Itoa(n.ID), n.Name, n.AssignedBy, list(n.IPRanges), n.Netmask}
			})
		}),
		a.verb("status INTERFACE", "How an interface is on each node", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
			id, err := iface(args[0])
			if err != nil {
				return err
			}
			ss, err := c.InterfaceStatuses(ctx, id)
			if err != nil {
				return err
			}
			return listing(a, ss, "NODE STATUS MAC SPEED RECEIVED SENT ADDRESSES", func(s *client.InterfaceStatus) []string {
				var at []string
				for _, n := range s.Networks {
					at = append(at, n.Address)
				}
				return []string{s.NodeName, s.Details.Status, s.Details.MAC, strconv.FormatInt(s.Details.Speed, 10), bytesText(s.Details.BytesReceived), bytesText(s.Details.BytesSent), list(at)}
			})
		}),
		a.verb("connections", "Clients that are connected", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
			ns, err := c.Connections(ctx)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(ns)
			}
			var rows [][]string
			for _, n := range ns {
				for _, x := range n.Connections {
					rows = append(rows, []string{strconv.Itoa(n.NodeID), x.Address, x.Type})
				}
			}
			return a.table("NODE CLIENT TYPE", rows)
		}))
}

func (a *app) analyticsCommand() *cobra.Command {
	var kind, since, interval string
	activity := a.verb("activity", "What clients do now", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
		es, err := c.Activity(ctx, kind)
		if err != nil {
			return err
		}
		return listing(a, es, "RATE TYPE CLIENT FILE", func(e *client.Activity) []string {
			return []string{strconv.FormatFloat(e.Rate, 'f', 1, 64), e.Type, e.IP, e.ID.String()}
		})
	})
	activity.Flags().StringVar(&kind, "type", "", "only of one kind, as file-iops-read")
	start := func() (time.Time, error) {
		if since == "" {
			return time.Time{}, nil
		}
		d, err := time.ParseDuration(since)
		if err != nil || d <= 0 {
			return time.Time{}, fmt.Errorf("--since %q: want a time as 24h", since)
		}
		return time.Now().Add(-d), nil
	}
	capacity := a.verb("capacity", "How full the system was", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
		from, err := start()
		if err != nil {
			return err
		}
		if from.IsZero() {
			from = time.Now().Add(-24 * time.Hour)
		}
		us, err := c.CapacityHistory(ctx, from, time.Time{}, interval)
		if err != nil {
			return err
		}
		return listing(a, us, "FROM USED DATA METADATA SNAPSHOTS TOTAL", func(u *client.CapacityUse) []string {
			return []string{time.Unix(u.Start, 0).Format(time.DateTime), bytesText(u.UsedBytes), bytesText(u.DataBytes), bytesText(u.MetadataBytes), bytesText(u.SnapshotBytes), bytesText(u.TotalBytes)}
		})
	})
	capacity.Flags().StringVar(&since, "since", "", "from so long ago on, as 720h; a day without it")
	capacity.Flags().StringVar(&interval, "interval", "", "hourly, daily or weekly")
	series := a.verb("series", "Throughput, operations and latency over time", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error {
		from, err := start()
		if err != nil {
			return err
		}
		all, err := c.TimeSeries(ctx, from)
		if err != nil {
			return err
		}
		return listing(a, all, "SERIES SAMPLES LAST", func(s *client.Series) []string {
			last := ""
			if n := len(s.Values); n > 0 {
				last = strconv.FormatFloat(s.Values[n-1], 'f', 1, 64)
			}
			return []string{s.ID, strconv.Itoa(len(s.Values)), last}
		})
	})
	series.Flags().StringVar(&since, "since", "", "from so long ago on, as 24h")
	return noun("analytics", "What the system does and holds", activity, capacity,
		a.verb("largest TIME", "Largest paths at a time of the capacity history, in RFC 3339", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
			at, err := time.Parse(time.RFC3339, args[0])
			if err != nil {
				return fmt.Errorf("%q: want a time as 2026-01-31T00:00:00Z", args[0])
			}
			d, err := c.CapacityDetails(ctx, at)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(d)
			}
			var rows [][]string
			for _, p := range d.Paths {
				rows = append(rows, []string{bytesText(p.UsedBytes), p.Path})
			}
			return a.table("CAPACITY PATH", rows)
		}), series)
}
