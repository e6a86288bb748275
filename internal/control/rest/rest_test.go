package rest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"manifold/api/apitest"
	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs/memfs"
	"manifold/internal/kv/memkv"
	"manifold/internal/ports"
	"manifold/internal/telemetry"
)

const adminPassword = "Correct-horse-1"

// api is a server with a fresh system behind it.
type api struct {
	t       testing.TB
	handler http.Handler
	url     string
	token   string
	metrics string
	fs      *memfs.FS
	config  *config.Store
	hc      *http.Client
	scrubs  *scrubs
	// stopping ends streams when it is closed.
	stopping chan struct{}
	options  Options
	audit    *auditTrail
}

func newAPI(t testing.TB) *api {
	t.Helper()
	kv := memkv.New()
	t.Cleanup(func() { _ = kv.Close() })
	store, err := config.Open(t.Context(), config.Options{KV: kv, SealKey: bytes.Repeat([]byte{1}, config.SealKeyBytes)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	metrics, err := store.FirstRun(t.Context(), config.FirstRunOptions{AdminPassword: adminPassword, NodeName: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := ports.New(ports.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := memfs.New(memfs.Options{})
	clock := time.Now() // stands still: nothing expires or drains behind a test's back
	scrubber := &scrubs{}
	stopping := make(chan struct{})
	auditor := &auditTrail{}
	options := Options{
		Scrubber: scrubber, Stopping: stopping,
		Now:     func() time.Time { return clock },
		Network: cable{}, Analytics: busy{}, Capacity: store,
		General: store, FSSettings: store, Clock: clockOff{}, Resolver: &lookupTable{},
		FTP: doors{store}, SSH: doors{store}, SSHKeys: doors{store},
		FS: f, Auth: store, Sessions: store, Principals: store, Members: store, Exports: store, NFS: store, Shares: store, SMB: store, SMBServer: &clients{}, S3Settings: store, S3Keys: store, S3Buckets: store, S3: protocolS3{store}, Roles: store, Accounts: store, Tokens: store, Identities: store, Policies: store, FSKeys: store, Settings: store, Audit: auditor,
		Metrics: telemetry.New(), MetricsReaders: store, Ports: ledger, Release: control.Release{BuildID: "test"},
	}
	a := &api{t: t, metrics: metrics, fs: f, config: store, scrubs: scrubber, stopping: stopping, options: options, audit: auditor}
	a.serve(options)
	// Signing in costs a password hash each time, so only some tests do.
	if a.token, _, err = store.NewSession(t.Context(), 500, []string{"ALL"}); err != nil {
		t.Fatal(err)
	}
	return a
}

// described checks answers against the whole description; it is made once.
var described = sync.OnceValues(func() (*apitest.Checker, error) { return apitest.New(Description()) })

// serve starts a server with other options. Every answer of it has to be as the
// description says.
func (a *api) serve(o Options) {
	a.t.Helper()
	checker, err := described()
	if err != nil {
		a.t.Fatal(err)
	}
	a.handler = answered(checker, checker.Handler(New(o), func(err error) { a.t.Error(err) }))
	srv := httptest.NewServer(a.handler)
	a.t.Cleanup(srv.Close)
	a.url, a.hc = srv.URL, srv.Client()
	a.hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
}

func (a *api) login(user, password string) string {
	a.t.Helper()
	got := a.must(200, "POST", "/v1/session/login", object{"username": user, "password": password, "host": "x", "port": 8000})
	return got.str("bearer_token")
}

// answer is one response.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	raw    []byte
	json   any
}

// send sends one request; header are names and values in turn. A body is JSON
// unless it is bytes or a reader.
func (a *api) send(method, path string, in any, header ...string) *answer {
	a.t.Helper()
	var body io.Reader
	ct := "application/json"
	switch v := in.(type) {
	case nil:
	case []byte:
		body, ct = bytes.NewReader(v), contentType
	case io.Reader:
		body, ct = v, contentType
	case string:
		body = strings.NewReader(v)
	default:
		b, err := json.Marshal(v)
		if err != nil {
			a.t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", ct)
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := a.hc.Do(req)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	got := &answer{a.t, resp.StatusCode, resp.Header, raw, nil}
	if resp.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(raw, &got.json); err != nil {
			a.t.Fatalf("%s %s: %v in %s", method, path, err, raw)
		}
	}
	if len(raw) == 0 && resp.Header.Get("Content-Length") != "0" {
		a.t.Errorf("%s %s: empty answer with Content-Length %q", method, path, resp.Header.Get("Content-Length"))
	}
	return got
}

// must sends and wants that status.
func (a *api) must(status int, method, path string, in any, header ...string) *answer {
	a.t.Helper()
	got := a.send(method, path, in, header...)
	if got.status != status {
		a.t.Fatalf("%s %s: %d %s, want %d", method, path, got.status, got.raw, status)
	}
	return got
}

// fails sends and wants an error of that class.
func (a *api) fails(status int, class, method, path string, in any, header ...string) {
	a.t.Helper()
	got := a.must(status, method, path, in, header...)
	if got.str("error_class") != class {
		a.t.Errorf("%s %s: class %s, want %s", method, path, got.raw, class)
	}
}

// at walks the JSON by keys and indexes.
func (r *answer) at(path ...any) any {
	r.t.Helper()
	v := r.json
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				r.t.Fatalf("no object at %v: %s", path, r.raw)
			}
			if v, ok = m[p]; !ok {
				r.t.Fatalf("no field %v: %s", path, r.raw)
			}
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				r.t.Fatalf("no element %v: %s", path, r.raw)
			}
			v = l[p]
		}
	}
	return v
}

func (r *answer) str(path ...any) string {
	r.t.Helper()
	s, ok := r.at(path...).(string)
	if !ok {
		r.t.Fatalf("%v is no string: %s", path, r.raw)
	}
	return s
}

func (r *answer) list(path ...any) []any {
	r.t.Helper()
	l, ok := r.at(path...).([]any)
	if !ok {
		r.t.Fatalf("%v is no list: %s", path, r.raw)
	}
	return l
}

// mkdir and create make a file in the directory with that escaped ref.
func (a *api) mkdir(dir, name string) string {
	a.t.Helper()
	return a.must(200, "POST", "/v1/files/"+dir+"/entries/", object{"name": name, "action": "CREATE_DIRECTORY"}).str("id")
}

func (a *api) create(dir, name string) string {
	a.t.Helper()
	return a.must(200, "POST", "/v1/files/"+dir+"/entries/", object{"name": name, "action": "CREATE_FILE"}).str("id")
}

func TestSession(t *testing.T) {
	a := newAPI(t)
	who := a.must(200, "GET", "/v1/session/who-am-i", nil)
	if who.str("id") != "500" || who.str("name") != "admin" || who.str("primary_group") != "513" || !strings.HasPrefix(who.str("sid"), "S-1-5-21-") {
		t.Errorf("%s", who.raw)
	}
	if n := len(who.list("privileges")); n != len(control.AllPrivileges()) {
		t.Errorf("%d privileges", n)
	}
	if roles := a.must(200, "GET", "/v1/session/roles", nil).list(); len(roles) != 1 || roles[0] != "Administrators" {
		t.Errorf("%v", roles)
	}
	// A stale header does not keep anyone from signing in.
	a.must(200, "POST", "/v1/session/login", object{"username": "ADMIN", "password": adminPassword}, "Authorization", "Bearer ")
	a.fails(401, "cred_error", "POST", "/v1/session/login", object{"username": "admin", "password": "wrong"})
	a.fails(401, "cred_error", "POST", "/v1/session/login", object{"username": "nobody", "password": "wrong"})
	a.fails(400, "decode_error", "POST", "/v1/session/login", "\ufeff{}")
	a.fails(400, "decode_error", "POST", "/v1/session/login", `{"username":"a"}{}`)
	a.fails(400, "decode_error", "POST", "/v1/session/login", nil)
	for _, token := range []string{"", "Bearer", "Bearer ", "Bearer 1:nonsense", "Basic YTpi"} {
		a.fails(401, "http_unauthorized_error", "GET", "/v1/session/who-am-i", nil, "Authorization", token)
	}
	const next = "Another-horse-2"
	a.fails(401, "cred_error", "POST", "/v1/session/change-password", object{"old_password": "wrong", "new_password": next})
	a.fails(400, "http_bad_request_error", "POST", "/v1/session/change-password", object{"old_password": adminPassword, "new_password": "x"})
	a.must(200, "POST", "/v1/session/change-password", object{"old_password": adminPassword, "new_password": next})
	a.login("admin", next)
	a.fails(401, "cred_error", "POST", "/v1/session/login", object{"username": "admin", "password": adminPassword})
}

func TestLogin_slowsGuessing(t *testing.T) {
	a := newAPI(t)
	for range 10 {
		a.fails(401, "cred_error", "POST", "/v1/session/login", object{"username": "guest", "password": "wrong"})
	}
	got := a.must(429, "POST", "/v1/session/login", object{"username": "guest", "password": "wrong"})
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	a.login("admin", adminPassword)
}

func TestRouting(t *testing.T) {
	a := newAPI(t)
	a.token = ""
	v := a.must(200, "GET", "/v1/version", nil)
	if v.str("revision_id") != "Qumulo Core 7.2.3" || v.str("build_id") != "test" {
		t.Errorf("%s", v.raw)
	}
	if v.header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %q", v.header.Get("Content-Type"))
	}
	for _, p := range []string{"/", "/v1", "/v1/version/", "/v1//version", "//v1/version", "/v1/files//entries/", "/v1/files/%2F/entries", "/v1/nonsense", "/v1/../v1/version"} {
		req := httptest.NewRequest("GET", "/", nil)
		req.URL.Path, req.URL.RawPath = p, p
		w := httptest.NewRecorder()
		New(Options{}).ServeHTTP(w, req)
		if w.Header().Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: no HSTS", p)
		}
		if w.Code != 404 || !strings.Contains(w.Body.String(), `"error_class":"http_not_found_error"`) {
			t.Errorf("%s: %d %s", p, w.Code, w.Body)
		}
	}
	got := a.must(405, "PUT", "/v1/version", nil)
	if got.header.Get("Allow") != "GET" || len(got.raw) != 0 {
		t.Errorf("Allow %q, %q", got.header.Get("Allow"), got.raw)
	}
	if !strings.Contains(string(a.must(200, "GET", "/openapi.json", nil).raw), `"/v1/files/{ref}/entries/"`) {
		t.Error("the description lacks the entries")
	}
}

// Every operation of the table asks for its privilege, and nothing without a token.
func TestPrivileges(t *testing.T) {
	a := newAPI(t)
	if _, err := a.config.AddUser(t.Context(), config.User{Name: "jane", PrimaryGroup: 513}, "Jane-has-1-too"); err != nil {
		t.Fatal(err)
	}
	admin := a.token
	jane := a.login("jane", "Jane-has-1-too")
	public := []string{"GET /v1/version", "POST /v1/session/login", "GET /openapi.json", "GET /v1/web-ui/settings"}
	anyone := []string{"POST /v1/session/change-password", "GET /v1/session/who-am-i", "GET /v1/session/roles", "GET /v1/node/state"}
	for _, r := range allRoutes() {
		op := r.Method + " " + r.Path
		path := paramPattern.ReplaceAllString(r.Path, "0")
		if r.Public != slices.Contains(public, op) || (r.Privilege == control.Anyone && !r.Public) != slices.Contains(anyone, op) {
			t.Errorf("%s: public %v, privilege %q", op, r.Public, r.Privilege)
		}
		if r.Public {
			continue
		}
		a.token = ""
		a.fails(401, "http_unauthorized_error", r.Method, path, nil)
		a.token = jane
		if r.Privilege != control.Anyone {
			a.fails(403, "http_forbidden_error", r.Method, path, nil)
		} else if s := a.send(r.Method, path, nil).status; s == 403 {
			t.Errorf("%s: 403 for a user without privileges", op)
		}
		a.token = admin
		if s := a.send(r.Method, path, nil).status; s == 401 || s == 403 || s >= 500 {
			t.Errorf("%s: %d for the administrator", op, s)
		}
		if strings.HasSuffix(string(r.Privilege), "_WRITE") && r.Method == "GET" {
			t.Errorf("%s asks for %s", op, r.Privilege)
		}
	}
	// Membership counts from the next sign-in on.
	a.token = jane
	if err := a.config.AddMember(t.Context(), 512, 1000); err != nil {
		t.Fatal(err)
	}
	a.fails(403, "http_forbidden_error", "GET", "/v1/file-system", nil)
	a.token = a.login("jane", "Jane-has-1-too")
	a.must(200, "GET", "/v1/file-system", nil)
}

func TestMetrics(t *testing.T) {
	a := newAPI(t)
	a.token = a.metrics
	got := a.must(200, "GET", "/v2/metrics/endpoints/default/data", nil)
	if !strings.HasPrefix(got.header.Get("Content-Type"), "application/openmetrics-text; version=1.0.0") || !strings.HasSuffix(string(got.raw), "# EOF\n") {
		t.Errorf("%s: %s", got.header.Get("Content-Type"), got.raw)
	}
	a.fails(401, "http_unauthorized_error", "GET", "/v1/session/who-am-i", nil)
	a.fails(401, "http_unauthorized_error", "GET", "/v1/file-system", nil)
}

func TestSystem(t *testing.T) {
	a := newAPI(t)
	if st := a.must(200, "GET", "/v1/node/state", nil); st.at("node_id") != 1.0 || st.str("state") != "ACTIVE" || len(st.str("cluster_id")) != 36 {
		t.Errorf("%s", st.raw)
	}
	if n := a.must(200, "GET", "/v1/cluster/nodes/", nil); n.str(0, "node_name") != "n1" {
		t.Errorf("%s", n.raw)
	}
	a.must(200, "GET", "/v1/cluster/nodes/1", nil)
	a.must(404, "GET", "/v1/cluster/nodes/2", nil)
	st := a.must(200, "GET", "/v1/file-system", nil)
	if st.at("block_size_bytes") != 4096.0 || st.str("total_size_bytes") == "0" {
		t.Errorf("%s", st.raw)
	}
	if p := a.must(200, "GET", "/v1/ports", nil); len(p.list("entries")) != len(ports.Table()) {
		t.Errorf("%s", p.raw)
	}
}

func TestTimeToLive(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{"15minutes": 15 * time.Minute, "1hours": time.Hour, "99days": 99 * 24 * time.Hour, "2weeks": 14 * 24 * time.Hour} {
		if got, err := timeToLive(text, now); err != nil || got.Sub(now) != want {
			t.Errorf("%s: %v %v", text, got.Sub(now), err)
		}
	}
	for _, text := range []string{"0days", "100days", "days", "1year", "-1days", "1", "1 days"} {
		if _, err := timeToLive(text, now); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}

// jsonNumber is a number as it goes into a path.
func (r *answer) jsonNumber(path ...any) string {
	r.t.Helper()
	n, ok := r.at(path...).(float64)
	if !ok {
		r.t.Fatalf("%v is no number: %s", path, r.raw)
	}
	return strconv.Itoa(int(n))
}

// auditTrail keeps what was recorded.
type auditTrail struct {
	mu     sync.Mutex
	events []control.AuditEvent
	target control.AuditTarget
}

func (a *auditTrail) Verb(e control.AuditEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
}

func (a *auditTrail) Target(t control.AuditTarget) { a.target = t }
func (a *auditTrail) AuditStatus() control.AuditStatus {
	return control.AuditStatus{State: "AUDIT_LOG_DISABLED"}
}
