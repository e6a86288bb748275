package client

import (
	"context"
	"strconv"
)

// Interface is a network interface of the nodes.
type Interface struct {
	ID          int    `json:"id"`
	Name        string `json:"name"`
	MTU         int    `json:"mtu"`
	BondingMode string `json:"bonding_mode"`
	Gateway     string `json:"default_gateway"`
	GatewayIPv6 string `json:"default_gateway_ipv6"`
}

// Network is one on an interface.
type Network struct {
	ID            int      `json:"id"`
	Name          string   `json:"name"`
	AssignedBy    string   `json:"assigned_by"`
	IPRanges      []string `json:"ip_ranges"`
	Floating      []string `json:"floating_ip_ranges"`
	Netmask       string   `json:"netmask"`
	MTU           int      `json:"mtu"`
	VLAN          int      `json:"vlan_id"`
	DNSServers    []string `json:"dns_servers"`
	SearchDomains []string `json:"dns_search_domains"`
}

// InterfaceStatus is how an interface is on a node.
type InterfaceStatus struct {
	NodeID       int    `json:"node_id"`
	NodeName     string `json:"node_name"`
	UpdateStatus string `json:"update_status"`
	Details      struct {
		Cable         string `json:"cable_status"`
		Status        string `json:"interface_status"`
		MAC           string `json:"mac_address"`
		Speed         int64  `json:"speed"`
		BytesReceived Number `json:"bytes_received"`
		BytesSent     Number `json:"bytes_sent"`
	} `json:"interface_details"`
	Networks []struct {
		Name     string   `json:"name"`
		Address  string   `json:"address"`
		Netmask  string   `json:"netmask"`
		Floating []string `json:"floating_addresses"`
	} `json:"network_statuses"`
}

const interfacesPath = "/v2/network/interfaces/"

func interfacePath(id int, rest string) string { return interfacesPath + strconv.Itoa(id) + rest }

// Interfaces lists the network interfaces.
func (c *Client) Interfaces(ctx context.Context) (out []Interface, err error) {
	return out, c.do(ctx, "GET", interfacesPath, nil, &out)
}

// Networks lists the networks on an interface.
func (c *Client) Networks(ctx context.Context, iface int) (out []Network, err error) {
	return out, c.do(ctx, "GET", interfacePath(iface, "/networks/"), nil, &out)
}

// InterfaceStatuses answers how an interface is on each node.
func (c *Client) InterfaceStatuses(ctx context.Context, iface int) (out []InterfaceStatus, err error) {
	return out, c.do(ctx, "GET", interfacePath(iface, "/status/"), nil, &out)
}

// Connection is a client that is connected.
type Connection struct {
	Address string `json:"network_address"`
	Type    string `json:"type"`
}

// NodeConnections are those of one node.
type NodeConnections struct {
	NodeID      int          `json:"id"`
	Connections []Connection `json:"connections"`
}

// Connections lists the clients that are connected to each node.
func (c *Client) Connections(ctx context.Context) (out []NodeConnections, err error) {
	return out, c.do(ctx, "GET", "/v2/network/connections/", nil, &out)
}
