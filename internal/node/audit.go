package node

import (
	"context"
	"net"
	"path/filepath"

	"log/slog"

	"manifold/internal/config"
	"manifold/internal/control/audit"
	"manifold/internal/control/rest"
	"manifold/internal/identity"
	"manifold/internal/ports"
)

// openAudit opens the audit log as it is configured.
func openAudit(ctx context.Context, st *storage, l *ports.Ledger, host string, log *slog.Logger) (*audit.Log, error) {
	a, err := audit.Open(audit.Options{
		Dir: filepath.Join(st.dir.path, "audit"), Host: host, Logger: log,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			return l.Dial(ctx, ports.SyslogOut, "tcp", address, ports.DialOptions{})
		},
		Names: func(a identity.AuthID) (name, sid string) { return principalNames(st.config, a) },
	})
	if err != nil {
		return nil, err
	}
	s, err := st.config.Syslog(ctx)
	if err != nil {
		return nil, err
	}
	a.Target(rest.AuditTargetOf(s.Value))
	return a, nil
}

// principalNames are what an audit record calls a principal by.
func principalNames(c *config.Store, a identity.AuthID) (name, sid string) {
	switch a {
	case identity.System:
		return "system", ""
	case identity.Everyone:
		return "Everyone", "S-1-1-0"
	}
	return c.Directory().Name(a), ""
}
