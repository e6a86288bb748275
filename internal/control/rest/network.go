package rest

import (
	"net"
	"net/netip"
	"strings"

	"manifold/internal/control"
)

type networkInterface struct {
	ID       uint64 `json:"id"`
	Name     string `json:"name"`
	Gateway  string `json:"default_gateway"`
	Gateway6 string `json:"default_gateway_ipv6"`
	Bonding  string `json:"bonding_mode"`
	MTU      int    `json:"mtu"`
}

type networkRecord struct {
	Name       string   `json:"name"`
	ID         uint64   `json:"id"`
	AssignedBy string   `json:"assigned_by"`
	Floating   []string `json:"floating_ip_ranges"`
	DNSServers []string `json:"dns_servers"`
	DNSSearch  []string `json:"dns_search_domains"`
	Ranges     []string `json:"ip_ranges"`
	Netmask    string   `json:"netmask"`
	MTU        int      `json:"mtu"`
	VLAN       uint64   `json:"vlan_id"`
	TenantID   uint64   `json:"tenant_id"`
}

type interfaceDetails struct {
	Speed     uint64 `json:"speed"`
	Sent      u64    `json:"bytes_sent"`
	Received  u64    `json:"bytes_received"`
	Cable     string `json:"cable_status"`
	Status    string `json:"interface_status"`
	MAC       string `json:"mac_address"`
	Timestamp string `json:"timestamp"`
}

type networkStatus struct {
	Name       string   `json:"name"`
	AssignedBy string   `json:"assigned_by"`
	Address    string   `json:"address"`
	Floating   []string `json:"floating_addresses"`
	DNSServers []string `json:"dns_servers"`
	DNSSearch  []string `json:"dns_search_domains"`
	Netmask    string   `json:"netmask"`
	MTU        int      `json:"mtu"`
	VLAN       uint64   `json:"vlan_id"`
}

type interfaceNow struct {
	ID       uint64 `json:"interface_id"`
	Name     string `json:"name"`
	Gateway  string `json:"default_gateway"`
	Gateway6 string `json:"default_gateway_ipv6"`
	Bonding  string `json:"bonding_mode"`
	MTU      int    `json:"mtu"`
}

type interfaceStatus struct {
	NodeID   uint64           `json:"node_id"`
	NodeName string           `json:"node_name"`
	Update   string           `json:"update_status"`
	Details  interfaceDetails `json:"interface_details"`
	Now      interfaceNow     `json:"interface_status"`
	Networks []networkStatus  `json:"network_statuses"`
}

// networkSettingsV1 is the one network that clients knew before there were more.
type networkSettingsV1 struct {
	AssignedBy string   `json:"assigned_by"`
	Ranges     []string `json:"ip_ranges"`
	Floating   []string `json:"floating_ip_ranges"`
	Netmask    string   `json:"netmask"`
	Gateway    string   `json:"gateway"`
	Gateway6   string   `json:"gateway_ipv6"`
	DNSServers []string `json:"dns_servers"`
	DNSSearch  []string `json:"dns_search_domains"`
	MTU        int      `json:"mtu"`
	Bonding    string   `json:"bonding_mode"`
}

type networkNowV1 struct {
	ID         uint64   `json:"id"`
	AssignedBy string   `json:"assigned_by"`
	Address    string   `json:"address"`
	Floating   []string `json:"floating_addresses"`
	Netmask    string   `json:"netmask"`
	Gateway    string   `json:"gateway"`
	Gateway6   string   `json:"gateway_ipv6"`
	DNSServers []string `json:"dns_servers"`
	DNSSearch  []string `json:"dns_search_domains"`
	MTU        int      `json:"mtu"`
	Bonding    string   `json:"bonding_mode"`
}

type networkStatusV1 struct {
	ID       uint64           `json:"id"`
	NodeName string           `json:"node_name"`
	Update   string           `json:"update_status"`
	Now      networkNowV1     `json:"network_status"`
	Details  interfaceDetails `json:"network_details"`
}

type clientConnection struct {
	Type     string `json:"type"`
	Address  string `json:"network_address"`
	TenantID uint64 `json:"tenant_id"`
}

type nodeConnections struct {
	ID          uint64             `json:"id"`
	Connections []clientConnection `json:"connections"`
}

// theInterface and theNetwork are the ids of the one there is of each. The
// machine sets them up; the API only shows them.
const (
	theInterface  = 1
	theNetwork    = 1
	interfaceName = "bond0"
	networkName   = "Default"
)

func networkRoutes() []route {
	const (
		read = control.NetworkRead
		at   = "/v2/network/interfaces/"
		one  = at + "{interface_id}"
		nets = one + "/networks/"
		all  = "/v2/network/interfaces/{id}/status/"
	)
	return []route{
		{Method: "GET", Path: at, Privilege: read, Summary: "The interface that clients use, as the machine has set it up.", Out: []networkInterface{},
			handle: shows(func(n *netView) any { return []networkInterface{n.networkInterface()} })},
		{Method: "GET", Path: one, Privilege: read, Summary: "One interface.", Out: networkInterface{},
			handle: ofInterface(shows(func(n *netView) any { return n.networkInterface() }))},
		{Method: "GET", Path: nets, Privilege: read, Summary: "Networks of an interface.", Out: []networkRecord{},
			handle: ofInterface(shows(func(n *netView) any { return []networkRecord{n.network()} }))},
		{Method: "GET", Path: nets + "{network_id}", Privilege: read, Summary: "One network.", Out: networkRecord{}, handle: ofInterface(getNetwork)},
		{Method: "GET", Path: all, Privilege: read, Summary: "Live state of an interface on every node.", Out: []interfaceStatus{},
			handle: ofInterface(shows(func(n *netView) any { return []interfaceStatus{n.status()} }))},
		{Method: "GET", Path: one + "/status/{node_id}", Privilege: read, Summary: "Live state of an interface on one node.", Out: interfaceStatus{},
			handle: ofInterface(ofNode(1, shows(func(n *netView) any { return n.status() })))},
		{Method: "GET", Path: "/v2/network/connections/", Privilege: read, Summary: "Connections of clients.", Out: []nodeConnections{}, handle: listConnections},
		{Method: "GET", Path: "/v1/network/settings", Privilege: read, Summary: "The interface and its network in one. For old clients.", Out: networkSettingsV1{},
			handle: shows(func(n *netView) any { return n.settingsV1() })},
		{Method: "GET", Path: "/v1/network/status/", Privilege: read, Summary: "Live state on every node. For old clients.", Out: []networkStatusV1{},
			handle: shows(func(n *netView) any { return []networkStatusV1{n.statusV1()} })},
		{Method: "GET", Path: "/v1/network/status/{id}", Privilege: read, Summary: "Live state on one node. For old clients.", Out: networkStatusV1{},
			handle: ofNode(0, shows(func(n *netView) any { return n.statusV1() }))},
	}
}

// ofInterface wants the one interface there is.
func ofInterface(h func(*request) (reply, error)) func(*request) (reply, error) {
	return func(q *request) (reply, error) {
		if id, ok := q.id(0); !ok || id != theInterface {
			return reply{}, notFound("there is no interface %s", q.params[0])
		}
		return h(q)
	}
}

func ofNode(param int, h func(*request) (reply, error)) func(*request) (reply, error) {
	return func(q *request) (reply, error) {
		if id, ok := q.id(param); !ok || id != uint64(q.s.o.NodeID) {
			return reply{}, notFound("there is no node %s", q.params[param])
		}
		return h(q)
	}
}

// netView is how the node is connected.
type netView struct {
	link     control.Link
	servers  []string
	search   []string
	nodeID   uint64
	nodeName string
}

func (q *request) netView() (*netView, error) {
	link, err := q.s.o.Network.Link()
	if err != nil {
		return nil, err
	}
	dns, err := q.s.o.General.DNS(q.Context())
	if err != nil {
		return nil, err
	}
	n, err := q.node(uint64(q.s.o.NodeID))
	if err != nil {
		return nil, err
	}
	return &netView{link, listOf(dns.Value.Servers), listOf(dns.Value.Search), n.ID, n.NodeName}, nil
}

func shows(f func(*netView) any) func(*request) (reply, error) {
	return func(q *request) (reply, error) {
		n, err := q.netView()
		if err != nil {
			return reply{}, err
		}
		return reply{body: f(n)}, nil
	}
}

func getNetwork(q *request) (reply, error) {
	if id, ok := q.id(1); !ok || id != theNetwork {
		return reply{}, notFound("there is no network %s", q.params[1])
	}
	return shows(func(n *netView) any { return n.network() })(q)
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// bonding of an interface that is none of several is that of one which works
// while it does.
func (n *netView) bonding() string {
	if n.link.LACP {
		return "IEEE_8023AD"
	}
	return "ACTIVE_BACKUP"
}

// first is the address that stands for the interface: an IPv4 one if there is.
func (n *netView) first() (control.LinkAddress, bool) {
	var out control.LinkAddress
	for _, a := range n.link.Addresses {
		if !a.Prefix.Addr().IsLinkLocalUnicast() && (!out.Prefix.IsValid() || a.Prefix.Addr().Is4() && !out.Prefix.Addr().Is4()) {
			out = a
		}
	}
	return out, out.Prefix.IsValid()
}

func assignedBy(a control.LinkAddress) string {
	switch {
	case a.Prefix.IsValid() && a.Prefix.Addr().IsLinkLocalUnicast():
		return "LINK_LOCAL"
	case a.Leased:
		return "DHCP"
	}
	return "STATIC"
}

// netmask in the form that is usual for the family.
func netmask(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return ""
	case p.Addr().Is4():
		return net.IP(net.CIDRMask(p.Bits(), 32)).String()
	}
	return net.IP(net.CIDRMask(p.Bits(), 128)).String()
}

func (n *netView) networkInterface() networkInterface {
	l := &n.link
	return networkInterface{theInterface, interfaceName, addrText(l.Gateway), addrText(l.Gateway6), n.bonding(), l.MTU}
}

func (n *netView) network() networkRecord {
	a, ok := n.first()
	out := networkRecord{
		Name: networkName, ID: theNetwork, AssignedBy: assignedBy(a), Floating: []string{}, DNSServers: n.servers, DNSSearch: n.search,
		Ranges: []string{}, Netmask: netmask(a.Prefix), MTU: n.link.MTU, TenantID: 1,
	}
	if ok && !a.Leased {
		out.Ranges = []string{a.Prefix.Addr().String()}
	}
	return out
}

func (n *netView) details() interfaceDetails {
	l := &n.link
	out := interfaceDetails{Speed: l.SpeedMbit, Sent: num(l.Sent), Received: num(l.Received), Cable: "DISCONNECTED", Status: "DOWN", MAC: l.MAC, Timestamp: timestamp(l.Taken)}
	if l.Carrier {
		out.Cable = "CONNECTED"
	}
	if l.Up {
		out.Status = "LOWERLAYERDOWN"
		if l.Carrier {
			out.Status = "UP"
		}
	}
	return out
}

func (n *netView) status() interfaceStatus {
	l := &n.link
	out := interfaceStatus{
		NodeID: n.nodeID, NodeName: n.nodeName, Update: "CHANGES_APPLIED", Details: n.details(),
		Now:      interfaceNow{theInterface, interfaceName, addrText(l.Gateway), addrText(l.Gateway6), n.bonding(), l.MTU},
		Networks: []networkStatus{},
	}
	for _, a := range l.Addresses {
		out.Networks = append(out.Networks, networkStatus{
			Name: networkName, AssignedBy: assignedBy(a), Address: a.Prefix.Addr().String(), Floating: []string{}, DNSServers: n.servers, DNSSearch: n.search,
			Netmask: netmask(a.Prefix), MTU: l.MTU,
		})
	}
	return out
}

func (n *netView) settingsV1() networkSettingsV1 {
	w, l := n.network(), &n.link
	return networkSettingsV1{w.AssignedBy, w.Ranges, w.Floating, w.Netmask, addrText(l.Gateway), addrText(l.Gateway6), w.DNSServers, w.DNSSearch, w.MTU, n.bonding()}
}

func (n *netView) statusV1() networkStatusV1 {
	s := n.settingsV1()
	a, _ := n.first()
	return networkStatusV1{n.nodeID, n.nodeName, "CHANGES_APPLIED", networkNowV1{
		n.nodeID, s.AssignedBy, addrText(a.Prefix.Addr()), []string{}, s.Netmask, s.Gateway, s.Gateway6, s.DNSServers, s.DNSSearch, s.MTU, s.Bonding,
	}, n.details()}
}

func listConnections(q *request) (reply, error) {
	cs, err := q.s.o.Network.Connections()
	if err != nil {
		return reply{}, err
	}
	out := nodeConnections{uint64(q.s.o.NodeID), []clientConnection{}}
	for _, c := range cs {
		out.Connections = append(out.Connections, clientConnection{"CONNECTION_TYPE_" + strings.ToUpper(c.Protocol), c.Client.String(), 1})
	}
	return reply{body: []nodeConnections{out}}, nil
}
