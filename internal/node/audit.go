package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"manifold/internal/config"
	"manifold/internal/control/audit"
	"manifold/internal/control/rest"
	"manifold/internal/identity"
	"manifold/internal/ports"
	"manifold/internal/telemetry"
)

// openAudit opens the audit log as it is configured.
func openAudit(st *storage, l *ports.Ledger, host string, log *slog.Logger) (*audit.Log, error) {
	a, err := audit.Open(audit.Options{
		Dir: filepath.Join(st.dir.path, "audit"), Host: host, Logger: log,
		Dial: func(ctx context.Context, address string, secure bool) (net.Conn, error) {
			return dialSyslog(ctx, st.config, l, address, secure)
		},
		Names: func(a identity.AuthID) (name, sid string) { return principalNames(st.config, a) },
	})
	if err != nil {
		return nil, err
	}
	a.Target(rest.AuditTargetOf(st.config.GeneralInForce().Syslog))
	return a, nil
}

// runAudit ships records until ctx ends, to where they are to go now, whichever
// node that was set on.
func runAudit(ctx context.Context, a *audit.Log, c *config.Store) {
	var follow sync.WaitGroup
	defer follow.Wait()
	follow.Go(func() {
		for {
			changed := c.Changed()
			a.Target(rest.AuditTargetOf(c.GeneralInForce().Syslog))
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	})
	a.Run(ctx)
}

// dialSyslog connects to a syslog server. Over TLS it is trusted by the
// cluster's authorities, or the system's if it has none.
func dialSyslog(ctx context.Context, c *config.Store, l *ports.Ledger, address string, secure bool) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	settings := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if secure {
		switch ca, err := c.CACertificates(ctx); {
		case err == nil:
			settings.RootCAs = x509.NewCertPool()
			settings.RootCAs.AppendCertsFromPEM([]byte(ca.Value.PEM))
		case !errors.Is(err, config.ErrNotFound):
			return nil, err
		}
	}
	conn, err := l.Dial(ctx, ports.SyslogOut, "tcp", address, ports.DialOptions{})
	if err != nil || !secure {
		return conn, err
	}
	t := tls.Client(conn, settings)
	limit, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := t.HandshakeContext(limit); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return t, nil
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

// describeAudit declares what the metrics say about the audit log. Counters
// begin with the process.
func describeAudit(r *telemetry.Registry, l *audit.Log) {
	value := func(pick func(audit.Status) float64) func() float64 {
		return func() float64 { return pick(l.Status()) }
	}
	r.Counter("manifold_audit_records", "Records that were stored.", value(func(s audit.Status) float64 { return float64(s.Spooled) }))
	r.Counter("manifold_audit_records_dropped", "Records for which the spool had no room.", value(func(s audit.Status) float64 { return float64(s.Dropped) }))
	r.Gauge("manifold_audit_records_waiting", "Records that the syslog server, or else the local log, has not been given yet.", value(func(s audit.Status) float64 { return float64(s.Last - min(s.Sent, s.Last)) }))
	r.Gauge("manifold_audit_spool_bytes", "Size of the spool.", value(func(s audit.Status) float64 { return float64(s.Bytes) }))
	r.Gauge("manifold_audit_spool_limit_bytes", "What the spool may take.", value(func(s audit.Status) float64 { return float64(s.Limit) }))
	for _, state := range []audit.State{audit.Connected, audit.Connecting, audit.Disconnected, audit.Disabled} {
		r.Gauge("manifold_audit_connection", "1 for the state that the connection to the syslog server is in.", value(func(s audit.Status) float64 {
			if s.State == state {
				return 1
			}
			return 0
		}), "state", string(state))
	}
}
