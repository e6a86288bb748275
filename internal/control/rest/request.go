package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
	"manifold/internal/identity"
)

// route is one operation.
type route struct {
	Method string
	// Path pattern; see router.
	Path string
	// Privilege that the caller needs; control.Anyone is every signed-in user.
	Privilege control.Privilege
	// Public operations need no token.
	Public  bool
	Summary string
	// Query parameters.
	Query []query
	// In and Out are samples of the bodies, nil for none; bytes stand for raw ones.
	In, Out any
	// Events: a stream of them, each like Out.
	Events bool
	// MayBeEmpty: some answers of success have no body.
	MayBeEmpty bool
	// Status of success, 0 for 200.
	Status int
	// Conditional operations honour If-Match.
	Conditional bool

	handle func(*request) (reply, error)
}

// query describes one query parameter.
type query struct {
	Name, Type, Summary string
}

var (
	querySnapshot = query{"snapshot", "integer", "Id of the snapshot to read from."}
	queryAfter    = query{"after", "string", "Opaque key of the page before."}
	queryLimit    = query{"limit", "integer", "At most so many entries; the server may give fewer."}
)

// reply is what an operation answers.
type reply struct {
	body any    // nil: empty
	tag  string // entity tag, quoted
	done bool   // the handler has written the answer itself
	// room holds the answer, rendered already; body is not looked at.
	room *[]byte
}

// request is one call of an operation.
type request struct {
	*http.Request
	s      *server
	w      http.ResponseWriter
	params []string
	route  *route
	ses    *service.Session
	query  url.Values
	names  map[identity.AuthID]identityText
	// time is the one that was rendered last.
	time struct {
		of   fs.Time
		text string
	}
	// lock tells that file locks are asked for.
	lock bool
	// about says what the body names; see auditable.
	about string
	// settleBy is when nothing more is waited for; zero while nothing was.
	settleBy time.Time
	// ofCluster is remembered by cluster; its UUID is "" until it was looked up.
	ofCluster config.Cluster
}

// caller acts on the file system.
func (q *request) caller() *fs.Caller { return q.ses.Caller }

// authorize finds out who asks and whether it may.
func (q *request) authorize() error {
	if q.route.Public {
		return nil
	}
	token, ok := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer ")
	if token = strings.TrimSpace(token); !ok || token == "" {
		return unauthorized("a bearer token is needed")
	}
	if q.route.Privilege == control.MetricsRead && q.s.o.MetricsReaders != nil {
		if ok, err := q.s.o.MetricsReaders.MetricsToken(q.Context(), token); err != nil || ok {
			return err
		}
	}
	ses, err := q.s.svc.Session(q.Context(), token, client(q.Request))
	if errors.Is(err, service.ErrSignIn) {
		return unauthorized("the bearer token is unknown or has expired")
	}
	if err != nil {
		return err
	}
	q.ses = ses
	if !ses.Has(q.route.Privilege) {
		return forbidden(q.route.Privilege)
	}
	return nil
}

// maxBody bounds what is not file content.
const maxBody = 4 << 20

// body decodes a JSON body. Unknown fields are ignored.
func body[T any](q *request) (T, error) {
	var v T
	b, err := io.ReadAll(http.MaxBytesReader(q.w, q.Body, maxBody))
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return v, tooLarge("the body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return v, badRequest("http_bad_request_error", "the body ended early: %v", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&v); err != nil {
		return v, decodeError("%v", err)
	}
	if d.More() {
		return v, decodeError("something follows the JSON value")
	}
	if n, ok := any(v).(auditable); ok {
		q.about = n.about()
	}
	return v, nil
}

func encode(v any) ([]byte, error) {
	if r, ok := v.(rendered); ok {
		return r.appendJSON(nil), nil
	}
	return reflected(v)
}

// reflected encodes by what encoding/json knows of the type.
func reflected(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// arg is a query parameter, "" if absent.
func (q *request) arg(name string) string {
	if q.query == nil {
		q.query = q.URL.Query()
	}
	return q.query.Get(name)
}

func (q *request) argUint(name string, or uint64) (uint64, error) {
	v := q.arg(name)
	if v == "" {
		return or, nil
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, badRequest("http_bad_request_error", "%s is %q, want a number", name, v)
	}
	return n, nil
}

func (q *request) argBool(name string) (bool, error) {
	switch v := q.arg(name); strings.ToLower(v) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, badRequest("http_bad_request_error", "%s is %q, want true or false", name, v)
	}
}

// snapshot is the snapshot to read from, 0 for the live tree.
func (q *request) snapshot() (fs.SnapshotID, error) {
	n, err := q.argUint("snapshot", 0)
	if fs.SnapshotID(n) == fs.SnapshotDir {
		return 0, snapshotNotFound(n)
	}
	return fs.SnapshotID(n), err
}

// file finds what the first parameter names.
func (q *request) file(want fs.AttrMask) (service.File, error) {
	snap, err := q.snapshot()
	if err != nil {
		return service.File{}, err
	}
	return q.fileAt(snap, want)
}

func (q *request) fileAt(snap fs.SnapshotID, want fs.AttrMask) (service.File, error) {
	f, err := q.s.svc.File(q.Context(), q.caller(), service.Ref(q.params[0]), snap, want)
	return f, q.missing(q.params[0], err)
}

// other finds a file that is named elsewhere than in the path of the request.
func (q *request) other(ref string, snap fs.SnapshotID, want fs.AttrMask) (service.File, error) {
	f, err := q.s.svc.File(q.Context(), q.caller(), service.Ref(ref), snap, want)
	return f, q.missing(ref, err)
}

// missing says in a "not found" what it was that is not there.
func (q *request) missing(ref string, err error) error {
	if err == nil || fs.KindOf(err) != fs.NotExist {
		return err
	}
	if _, ok := service.Ref(ref).ID(); ok {
		return &apiError{Status: http.StatusNotFound, Class: "fs_no_such_inode_error", Text: "No such file id: " + ref, cause: err}
	}
	return &apiError{Status: http.StatusNotFound, Class: "fs_no_such_entry_error", Text: "No such path: '" + ref + "'", cause: err}
}

// id reads a parameter that is a number.
func (q *request) id(i int) (uint64, bool) {
	n, err := strconv.ParseUint(q.params[i], 10, 64)
	return n, err == nil
}

// match checks If-Match against the present tag and tells whether there was one.
func (q *request) match(tag string) (bool, error) {
	want := q.Header.Get("If-Match")
	if want == "" || want == "*" {
		return false, nil
	}
	if bare(want) != bare(tag) {
		return true, stale()
	}
	return true, nil
}

// bare strips quotes, which some clients do not send back.
func bare(tag string) string {
	return strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`)
}

// page are the paging parameters of a listing.
type page struct {
	after string
	limit int
}

const maxPage = 1000

func (q *request) page() (page, error) { return q.pageOf(maxPage) }

// pageOf is page where up to most entries fit.
func (q *request) pageOf(most uint64) (page, error) {
	n, err := q.argUint("limit", most)
	if err != nil {
		return page{}, err
	}
	if n == 0 {
		return page{}, badRequest("http_bad_request_error", "limit must be at least 1")
	}
	return page{q.arg("after"), int(min(n, most))}, nil
}

// number is the after key of listings ordered by a number.
func (p page) number() (uint64, error) {
	if p.after == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(p.after, 10, 64)
	if err != nil {
		return 0, badKey()
	}
	return n, nil
}

func badKey() error {
	return badRequest("http_bad_request_error", "after is not a key of this listing")
}

// next is the path of the following page.
func (q *request) next(p page, after string) string {
	v := q.URL.Query()
	v.Set("after", after)
	v.Set("limit", strconv.Itoa(p.limit))
	return q.URL.EscapedPath() + "?" + v.Encode()
}

// paging of listings that say "" at the end.
type paging struct {
	Next string `json:"next"`
}
