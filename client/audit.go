package client

import "context"

// AuditConfig says where audit records go.
type AuditConfig struct {
	Enabled bool   `json:"enabled"`
	Server  string `json:"server_address"`
	Port    uint16 `json:"server_port"`
	Format  string `json:"format"` // csv or json
	// TLS encrypts the connection to the server and proves its name.
	TLS bool `json:"tls_enabled"`
	// Local keeps records on the node, too.
	Local bool `json:"local_enabled"`
}

// AuditStatus is how the connection to the syslog server is.
type AuditStatus struct {
	Status  string `json:"connection_status"`
	Message string `json:"error_message"`
	Details string `json:"error_details"`
}

// AuditConfig answers where audit records go.
func (c *Client) AuditConfig(ctx context.Context) (a AuditConfig, err error) {
	return a, c.do(ctx, "GET", "/v1/audit/syslog/config", nil, &a)
}

// SetAuditConfig says where audit records go.
func (c *Client) SetAuditConfig(ctx context.Context, in AuditConfig) (a AuditConfig, err error) {
	return a, c.do(ctx, "PUT", "/v1/audit/syslog/config", in, &a)
}

// AuditStatus answers how the connection to the syslog server is.
func (c *Client) AuditStatus(ctx context.Context) (s AuditStatus, err error) {
	return s, c.do(ctx, "GET", "/v1/audit/syslog/status", nil, &s)
}
