// Package rest serves the REST API on net/http: it decodes requests, calls the
// verbs of the operator's room, and renders answers.
//
// Invariants:
//   - Routing works on the escaped path and never redirects: a file's path is
//     one segment, and a trailing slash is part of the name of a resource.
//   - Every operation names the privilege it needs; one table holds them all,
//     and the description at /openapi.json is made from it.
//   - Answers are JSON with exactly "application/json", or empty with an
//     explicit length of zero; every error is a record with an error_class.
//   - A body is bounded before it is read.
//
// The package must not know how files or records are stored.
package rest

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
	"manifold/internal/ports"
)

// Options say what the API works on. FS, Auth, Sessions, Principals, Roles and
// Members are required; what belongs to an absent part answers 404.
type Options struct {
	// Service carries the verbs out; nil makes one of the parts below. Whoever
	// counts failed sign-ins together with the API passes its own.
	Service    *service.Service
	FS         fs.FS
	Auth       control.Authenticator
	Sessions   control.Sessions
	Principals control.Principals
	Members    control.Members
	Roles      control.Roles
	Accounts   control.Accounts
	Tokens     control.AccessTokens
	Identities control.Identities
	Policies   control.Policies
	FSKeys     control.FSKeys
	Settings   control.Settings
	Audit      control.AuditLog
	Exports    control.Exports
	NFS        control.NFSSettings
	Shares     control.Shares
	SMB        control.SMBSettings
	SMBServer  control.SMBServer
	FTP        control.FTP
	SSH        control.SSH
	SSHKeys    control.SSHKeys
	S3Settings control.S3Settings
	S3Keys     control.S3Keys
	// S3Buckets and S3 go together.
	S3Buckets control.S3Buckets
	S3        control.S3Protocol
	Metrics   control.Metrics
	// MetricsReaders accepts the token that reads metrics and nothing else.
	MetricsReaders control.MetricsReaders
	Ports          *ports.Ledger
	// General needs Clock and Resolver beside it.
	General    control.General
	Clock      control.Clock
	Resolver   control.Resolver
	FSSettings control.FSSettings
	Scrubber   control.Scrubber
	// Network needs General beside it.
	Network   control.Network
	Analytics control.Analytics
	Capacity  control.CapacityHistory
	Release   control.Release
	// News tells of changed records. With it a request waits up to Settle (0:
	// 3 s) for another that is under way: see settles.
	News   control.News
	Settle time.Duration
	// NodeID of the node that answers; 0 is 1.
	NodeID control.NodeID
	// Stopping is closed when the node begins to stop: it ends requests that
	// would go on for ever. nil: they end with their clients.
	Stopping <-chan struct{}
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Logger gets what went wrong on our side; nil discards.
	Logger *slog.Logger
}

// server is the handler.
type server struct {
	o      Options
	svc    *service.Service
	router router
	log    *slog.Logger
	now    func() time.Time
	api    func() []byte // openapi.json, made when it is first asked for
	chunks chunks
	rooms  sync.Pool // of *[]byte that answers were rendered into
	// long holds who reads a long page of a directory; others wait in the order
	// in which they came. Left to the scheduler some wait ten times as long as
	// most, and all of them together for the collector.
	long chan struct{}
}

// New builds the handler. It starts nothing that would have to be stopped.
func New(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Settle == 0 {
		o.Settle = 3 * time.Second
	}
	if o.NodeID == 0 {
		o.NodeID = 1
	}
	s := &server{o: o, log: o.Logger, now: o.Now, svc: o.Service, long: make(chan struct{}, 2*runtime.GOMAXPROCS(0))}
	s.rooms.New = func() any { return new([]byte) }
	if s.svc == nil {
		s.svc = service.New(service.Options{FS: o.FS, Auth: o.Auth, Sessions: o.Sessions, Principals: o.Principals, Roles: o.Roles, Now: o.Now})
	}
	routes := o.routes(false)
	for i := range routes {
		s.router.add(&routes[i])
	}
	s.api = sync.OnceValue(func() []byte { return describe(routes) })
	return s
}

// parts of the API beside the core, and whether they are present.
func (o *Options) parts() []part {
	return []part{
		{o.Accounts != nil, accountRoutes}, {o.Tokens != nil, tokenRoutes}, {o.Identities != nil, identityRoutes}, {o.Policies != nil, policyRoutes}, {o.FSKeys != nil, keyRoutes},
		{o.Settings != nil, settingsRoutes}, {o.Settings != nil && o.Audit != nil, auditRoutes}, {o.Exports != nil, exportRoutes}, {o.NFS != nil, nfsSettingsRoutes},
		{o.Shares != nil, shareRoutes}, {o.SMB != nil, smbSettingsRoutes}, {o.SMBServer != nil, smbServerRoutes}, {o.SMBServer != nil, smbLockRoutes}, {o.FTP != nil, ftpRoutes}, {o.SSH != nil, sshRoutes}, {o.SSHKeys != nil, sshKeyRoutes},
		{o.S3Settings != nil, s3SettingsRoutes}, {o.S3Keys != nil, s3KeyRoutes}, {o.S3Buckets != nil && o.S3 != nil, s3BucketRoutes},
		{o.Metrics != nil, metricsRoutes}, {o.Ports != nil, portRoutes}, {o.Scrubber != nil, scrubRoutes},
		{o.General != nil, webUIRoutes}, {o.General != nil, tlsRoutes}, {o.General != nil, timeRoutes}, {o.General != nil, dnsRoutes}, {o.FSSettings != nil, fsSettingsRoutes},
		{o.Network != nil && o.General != nil, networkRoutes}, {o.Analytics != nil, analyticsRoutes}, {o.Capacity != nil, capacityRoutes},
	}
}

type part struct {
	present bool
	routes  func() []route
}

// routes is the table of all operations of the parts that are present, or of all.
func (o *Options) routes(all bool) []route {
	rs := coreRoutes()
	for _, p := range o.parts() {
		if all || p.present {
			rs = append(rs, p.routes()...)
		}
	}
	return rs
}

// allRoutes is the table with every part present.
func allRoutes() []route { return new(Options).routes(true) }

func coreRoutes() []route {
	return slices.Concat(sessionRoutes(), systemRoutes(), attributeRoutes(), entryRoutes(), dataRoutes(), totalRoutes(), quotaRoutes(),
		treeDeleteRoutes(), snapshotRoutes(), snapshotStatusRoutes(), diffRoutes(), lockRoutes(), roleRoutes(), aclRoutes(), streamRoutes(), userMetadataRoutes(), fileLockRoutes(), sampleRoutes(), notifyRoutes())
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler {
			panic(p) // asked for: the connection must break
		}
		s.log.ErrorContext(r.Context(), "panic in a request", "method", r.Method, "path", r.URL.EscapedPath(), "panic", p, "stack", string(debug.Stack()))
		s.fail(w, r, fault(errors.New("internal error")))
	}()
	// Browsers heed it only behind a certificate that they trust (RFC 6797 8.1).
	w.Header().Set("Strict-Transport-Security", "max-age=31536000")
	rt, params, allowed := s.router.find(r.Method, r.URL.EscapedPath())
	switch {
	case rt == nil && len(allowed) > 0:
		for _, m := range allowed {
			w.Header().Add("Allow", m)
		}
		empty(w, http.StatusMethodNotAllowed)
		return
	case rt == nil:
		s.fail(w, r, notFound("there is no %s", r.URL.EscapedPath()))
		return
	}
	q := &request{Request: r, s: s, w: w, params: params, route: rt}
	if err := q.authorize(); err != nil {
		q.refused(err)
		s.fail(w, r, err)
		return
	}
	rep, err := rt.handle(q)
	q.audited(err)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.answer(w, r, rt, rep)
}

// maxRoom bounds memory that is kept for the next answer.
const maxRoom = 2 << 20

// vacate gives back a room in which nobody reads any more.
func (s *server) vacate(room *[]byte) {
	if cap(*room) <= maxRoom {
		s.rooms.Put(room)
	}
}

// client is the peer's address.
func client(r *http.Request) netip.AddrPort {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (s *server) answer(w http.ResponseWriter, r *http.Request, rt *route, rep reply) {
	if rep.done {
		return
	}
	if rep.tag != "" {
		w.Header().Set("ETag", rep.tag)
	}
	status := rt.Status
	if status == 0 {
		status = http.StatusOK
	}
	if rep.room != nil {
		writeJSON(w, status, *rep.room)
		// Pages are large, so their memory is used again. Not with HTTP/2: there
		// a write that was given up may still be under way.
		if r.ProtoMajor == 1 {
			s.vacate(rep.room)
		}
		return
	}
	if rep.body == nil {
		empty(w, status)
		return
	}
	b, err := encode(rep.body)
	if err != nil {
		s.log.Error("answer cannot be rendered", "path", rt.Path, "error", err)
		w.Header().Del("ETag")
		e := fault(err)
		b, _ = encode(e)
		status = e.Status
	}
	writeJSON(w, status, b)
}

func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := errorOf(err)
	if e.Status >= 500 && r.Context().Err() == nil {
		s.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.EscapedPath(), "error", err)
	}
	w.Header().Del("ETag")
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(e.RetryAfter/time.Second)))
	}
	b, err := encode(e)
	if err != nil {
		empty(w, e.Status)
		return
	}
	writeJSON(w, e.Status, b)
}

func writeJSON(w http.ResponseWriter, status int, b []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the peer's loss
}

// empty answers without a body. Clients that compare the content type skip
// that only for an explicit length of zero.
func empty(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}
