package rest

import (
	"errors"
	"net"
	"net/http"
	"strconv"

	"manifold/internal/config"
	"manifold/internal/control"
)

type clusterSettings struct {
	Name string `json:"cluster_name"`
}

type caCertificate struct {
	PEM string `json:"ca_certificate"`
}

type certificateRequest struct {
	Certificate string `json:"certificate"`
	PrivateKey  string `json:"private_key"`
}

type syslogConfig struct {
	Enabled      bool   `json:"enabled"`
	Server       string `json:"server_address"`
	Port         uint16 `json:"server_port"`
	LocalEnabled bool   `json:"local_enabled"`
	Format       string `json:"format"`
	TLSEnabled   bool   `json:"tls_enabled"` // ours
}

type syslogPatch struct {
	Enabled      *bool   `json:"enabled,omitempty"`
	Server       *string `json:"server_address,omitempty"`
	Port         *uint16 `json:"server_port,omitempty"`
	LocalEnabled *bool   `json:"local_enabled,omitempty"`
	Format       *string `json:"format,omitempty"`
	TLSEnabled   *bool   `json:"tls_enabled,omitempty"`
}

type syslogStatus struct {
	Status  string `json:"connection_status"`
	Message string `json:"error_message"`
	Details string `json:"error_details"`
}

func settingsRoutes() []route {
	const (
		cluster = "/v1/cluster/settings"
		ca      = "/v2/cluster/settings/ssl/ca-certificate"
		cr, cw  = control.ClusterRead, control.ClusterWrite
	)
	cert := route{Method: "PUT", Path: "/v2/cluster/settings/ssl/certificate", Privilege: cw, Summary: "Install the certificate chain of this server and its key; new connections use it.", In: certificateRequest{}, handle: putCertificate}
	old := cert
	old.Path = "/v1/cluster/settings/ssl"
	return []route{
		{Method: "GET", Path: cluster, Privilege: cr, Summary: "Name of the cluster.", Out: clusterSettings{}, handle: getClusterSettings},
		{Method: "PUT", Path: cluster, Privilege: cw, Summary: "Rename the cluster.", In: clusterSettings{}, Out: clusterSettings{}, Conditional: true, handle: putClusterSettings},
		{Method: "GET", Path: ca, Privilege: cr, Summary: "Authorities that servers which we connect to are trusted by.", Out: caCertificate{}, handle: getCA},
		{Method: "PUT", Path: ca, Privilege: cw, Summary: "Replace the authorities.", In: caCertificate{}, Out: caCertificate{}, Conditional: true, handle: putCA},
		{Method: "DELETE", Path: ca, Privilege: cw, Summary: "Remove the authorities.", Conditional: true, handle: deleteCA},
		cert, old,
	}
}

func auditRoutes() []route {
	var rs []route
	for _, at := range []struct{ config, status string }{{"/v1/audit/syslog/config", "/v1/audit/syslog/status"}, {"/v1/audit/config", "/v1/audit/status"}} {
		rs = append(rs, singleton[config.Syslog, syslogPatch]{
			path: at.config, read: control.AuditRead, write: control.AuditWrite, about: "Where audit records go", out: syslogConfig{},
			def: config.DefaultSyslog, set: setSyslog,
			get: func(q *request) (config.Record[config.Syslog], error) { return q.s.o.Settings.Syslog(q.Context()) },
			render: plain(func(v config.Syslog) syslogConfig {
				return syslogConfig{v.Enabled, v.Server, v.Port, v.Local, v.Format, v.TLS}
			}),
			merge: func(_ *request, in syslogPatch, v *config.Syslog) error { return in.apply(v) },
		}.routes("PUT", "PATCH")...)
		rs = append(rs, route{Method: "GET", Path: at.status, Privilege: control.AuditRead, Summary: "How the connection to the syslog server is.", Out: syslogStatus{}, handle: getSyslogStatus})
	}
	return rs
}

func getClusterSettings(q *request) (reply, error) {
	c, err := q.s.o.Members.Cluster(q.Context())
	return reply{body: clusterSettings{c.Value.Name}, tag: tag(c.ID, c.Revision)}, err
}

func putClusterSettings(q *request) (reply, error) {
	in, err := body[clusterSettings](q)
	if err != nil {
		return reply{}, err
	}
	old, err := q.s.o.Members.Cluster(q.Context())
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(tag(old.ID, old.Revision), old.Revision)
	if err != nil {
		return reply{}, err
	}
	c, err := q.s.o.Settings.SetClusterName(q.Context(), rev, in.Name)
	return reply{body: clusterSettings{c.Value.Name}, tag: tag(c.ID, c.Revision)}, err
}

func caError(err error) error {
	if errors.Is(err, config.ErrNotFound) {
		return &apiError{Status: http.StatusNotFound, Class: "api_ssl_ca_cert_not_found_error", Text: "no CA certificate is set", cause: err}
	}
	return badCertificate(err)
}

func badCertificate(err error) error {
	if errors.Is(err, config.ErrInvalid) {
		return badRequest("ssl_certificate_invalid_error", "%v", err)
	}
	return err
}

func renderCA(r config.Record[config.CACertificates]) reply {
	return reply{body: caCertificate{r.Value.PEM}, tag: tag(r.ID, r.Revision)}
}

func getCA(q *request) (reply, error) {
	r, err := q.s.o.Settings.CACertificates(q.Context())
	return renderCA(r), caError(err)
}

// seenCA is the revision that a conditional change must find.
func (q *request) seenCA() (uint64, error) {
	old, err := q.s.o.Settings.CACertificates(q.Context())
	if err != nil && !errors.Is(err, config.ErrNotFound) {
		return 0, err
	}
	return q.seen(renderCA(old).tag, old.Revision)
}

func putCA(q *request) (reply, error) {
	in, err := body[caCertificate](q)
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seenCA()
	if err != nil {
		return reply{}, err
	}
	r, err := q.s.o.Settings.SetCACertificates(q.Context(), rev, in.PEM)
	return renderCA(r), caError(err)
}

func deleteCA(q *request) (reply, error) {
	rev, err := q.seenCA()
	if err != nil {
		return reply{}, err
	}
	return reply{}, caError(q.s.o.Settings.DeleteCACertificates(q.Context(), rev))
}

func putCertificate(q *request) (reply, error) {
	in, err := body[certificateRequest](q)
	if err != nil {
		return reply{}, err
	}
	_, err = q.s.o.Settings.SetCertificate(q.Context(), 0, in.Certificate, in.PrivateKey)
	return reply{}, badCertificate(err)
}

// AuditTargetOf is where records go by a setting.
func AuditTargetOf(v config.Syslog) control.AuditTarget {
	return control.AuditTarget{Enabled: v.Enabled, Server: net.JoinHostPort(v.Server, strconv.Itoa(int(v.Port))), TLS: v.TLS, Local: v.Local, Format: v.Format}
}

func (in *syslogPatch) apply(v *config.Syslog) error {
	given(in.Enabled, &v.Enabled)
	given(in.Server, &v.Server)
	given(in.Port, &v.Port)
	given(in.LocalEnabled, &v.Local)
	given(in.TLSEnabled, &v.TLS)
	if in.Format != nil && *in.Format != "" {
		v.Format = *in.Format
	}
	return nil
}

func setSyslog(q *request, rev uint64, v config.Syslog) (config.Record[config.Syslog], error) {
	old, err := q.s.o.Settings.Syslog(q.Context())
	if err != nil {
		return old, err
	}
	if old.Value.Enabled && (!v.Enabled || v.Server != old.Value.Server) {
		// The record of the call itself goes to nobody, or somebody else.
		q.audit("begin_audit_modify_syslog_config", "ok", v.Server, "")
	}
	r, err := q.s.o.Settings.SetSyslog(q.Context(), rev, v)
	if err == nil {
		q.s.o.Audit.Target(AuditTargetOf(r.Value))
	}
	return r, err
}

func getSyslogStatus(q *request) (reply, error) {
	s := q.s.o.Audit.AuditStatus()
	return reply{body: syslogStatus{s.State, s.Error, s.Details}}, nil
}
