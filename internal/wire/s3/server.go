package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// Options of New. FS, Buckets and Keys are needed; the rest has defaults.
type Options struct {
	FS      fs.FS
	Buckets Buckets
	Keys    AccessKeys
	// Names shows owners; default: the number of the AuthID.
	Names Names
	Log   *slog.Logger
	Now   func() time.Time
	// Region must be that of a request's signature if set; else any will do
	// and us-east-1 is told.
	Region string
	// Guest is who unsigned requests are now; nil, or a nil answer, refuses them all.
	Guest func() *identity.Credential
	// Settings are those in force, asked for with each request; default: the zero value.
	Settings func() Settings
	// MaxRequests at work at once; default 1,000. More are told to slow down.
	MaxRequests int
	// IdleTimeout ends a request whose peer neither sends nor takes a byte;
	// default one minute.
	IdleTimeout time.Duration
	// Done is told of every request when it was answered, for audit and metrics.
	Done func(Event)
}

// Settings may change while the server runs.
type Settings struct {
	// Domains are those under which "bucket.domain" names a bucket.
	Domains []string
	// OpaqueETags gives entity tags that are no MD5, and computes none.
	OpaqueETags bool
}

// Event describes an answered request.
type Event struct {
	Operation, Bucket, Key string
	// Caller is nil if who called was not found out; AccessKey is what the
	// request claims to be signed with, if anything.
	Caller    *fs.Caller
	AccessKey string
	Client    netip.AddrPort
	// Denied: a policy let the caller not do all that it wanted, and the file
	// system was not asked.
	Denied  bool
	Status  int
	Code    string // of the error, "" if none
	In, Out int64
	Took    time.Duration
}

// Server answers S3 requests. It has no goroutines of its own beyond requests.
type Server struct {
	o       Options
	ops     map[opID]op
	signing signingKeys
	slots   chan struct{}
	locks   keyLocks
	pieces  sync.Pool // of pieceSize
	small   sync.Pool // of smallSize

	sharedPieces, sharedSmall sync.Pool // of *sharedPiece of those sizes
}

// piece answers a buffer for size bytes in all, -1 if that is not known.
func (s *Server) piece(size int64) (buf []byte, done func()) {
	p := &s.pieces
	if size >= 0 && size < smallSize {
		p = &s.small
	}
	b := p.Get().(*[]byte)
	return *b, func() { p.Put(b) }
}

// sharedPiece is a buffer that the file system may keep until it has stored
// what is in it.
type sharedPiece struct {
	b    []byte
	refs atomic.Int32
	pool *sync.Pool
}

// Retain implements fs.Buffer.
func (p *sharedPiece) Retain() { p.refs.Add(1) }

// Release implements fs.Buffer.
func (p *sharedPiece) Release() {
	if p.refs.Add(-1) == 0 {
		p.pool.Put(p)
	}
}

// shared answers a buffer for size bytes in all, -1 if that is not known.
func (s *Server) shared(size int64) *sharedPiece {
	pool := &s.sharedPieces
	if size >= 0 && size < smallSize {
		pool = &s.sharedSmall
	}
	p := pool.Get().(*sharedPiece)
	p.refs.Store(1)
	return p
}

// New makes a server.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Names == nil {
		o.Names = numericNames{}
	}
	if o.Settings == nil {
		o.Settings = func() Settings { return Settings{} }
	}
	if o.MaxRequests <= 0 {
		o.MaxRequests = 1000
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = time.Minute
	}
	s := &Server{o: o, ops: operations(), slots: make(chan struct{}, o.MaxRequests)}
	s.pieces.New = func() any { b := make([]byte, pieceSize); return &b }
	s.small.New = func() any { b := make([]byte, smallSize); return &b }
	s.sharedPieces.New = func() any { return &sharedPiece{b: make([]byte, pieceSize), pool: &s.sharedPieces} }
	s.sharedSmall.New = func() any { return &sharedPiece{b: make([]byte, smallSize), pool: &s.sharedSmall} }
	return s
}

// HTTPServer is an http.Server with the limits that this protocol wants; the
// caller adds listeners and TLS.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
}

type numericNames struct{}

func (numericNames) OwnerID(_ context.Context, a identity.AuthID) (string, string) {
	n := strconv.FormatUint(uint64(a), 10)
	return n, n
}

func (numericNames) Principal(_ context.Context, text string) (identity.AuthID, bool) {
	return authIDText(text)
}

// authIDText reads "auth_id:500", as which principals of policies are stored.
func authIDText(s string) (identity.AuthID, bool) {
	digits, ok := strings.CutPrefix(s, "auth_id:")
	n, err := strconv.ParseUint(digits, 10, 64)
	return identity.AuthID(n), ok && err == nil && n != 0
}

// request is one call on its way.
type request struct {
	s    *Server
	set  Settings
	w    *response
	r    *http.Request
	ctx  context.Context
	id   string
	path string // decoded, as it was sent (the signature is over it)

	bucketName string
	key        string
	query      query
	op         *op

	claimed string // access key that the request names
	denied  bool   // something that it wanted, and not by the file system
	sig     *signature
	access  *Key // nil: anonymous
	caller  *fs.Caller
	body    *payload
	bucket  *Bucket
}

// response remembers what was answered.
type response struct {
	http.ResponseWriter
	rc     *http.ResponseController
	idle   time.Duration
	status int
	n      int64
}

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	_ = w.rc.SetWriteDeadline(time.Now().Add(w.idle))
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	_ = w.rc.SetWriteDeadline(time.Now().Add(w.idle))
	n, err := w.ResponseWriter.Write(b)
	w.n += int64(n)
	return n, err
}

// idleBody gives each read of a body its own deadline.
type idleBody struct {
	io.ReadCloser
	rc   *http.ResponseController
	idle time.Duration
	n    int64
}

func (b *idleBody) Read(p []byte) (int, error) {
	_ = b.rc.SetReadDeadline(time.Now().Add(b.idle))
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err != nil {
		// From now on the server itself reads, to see the peer go away: an old
		// deadline would look like that and cancel the request.
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToUpper(hex.EncodeToString(b[:]))
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(hw http.ResponseWriter, r *http.Request) {
	start := s.o.Now()
	rc := http.NewResponseController(hw)
	w := &response{ResponseWriter: hw, rc: rc, idle: s.o.IdleTimeout}
	body := &idleBody{ReadCloser: r.Body, rc: rc, idle: s.o.IdleTimeout}
	r.Body = body
	if r.ContentLength == 0 && r.ProtoMajor == 1 && strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		// net/http leaves this out for empty bodies, and botocore then takes the
		// next answer of the connection for garbage.
		hw.WriteHeader(http.StatusContinue)
	}
	q := &request{s: s, set: s.o.Settings(), w: w, r: r, ctx: r.Context(), id: newID()}
	h := hw.Header()
	h["x-amz-request-id"] = []string{q.id}
	h["x-amz-id-2"] = []string{q.id}
	h["Server"] = []string{"Manifold"}
	_ = rc.SetWriteDeadline(time.Now().Add(s.o.IdleTimeout)) // that of the former request may be over
	code := ""
	defer func() {
		if s.o.Done != nil {
			name := "Unknown"
			if q.op != nil {
				name = q.op.name
			}
			s.o.Done(Event{Operation: name, Bucket: q.bucketName, Key: q.key, Caller: q.caller, AccessKey: q.claimed, Client: peer(r), Denied: q.denied, Status: w.status,
				Code: code, In: body.n, Out: w.n, Took: s.o.Now().Sub(start)})
		}
	}()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		code = errSlowDown.Code
		q.fail(errSlowDown)
		return
	}
	err := q.serve()
	if err == nil {
		return
	}
	a := fromFS(err)
	code = a.Code
	if a.Status >= 500 {
		s.o.Log.WarnContext(q.ctx, "s3 request failed", "id", q.id, "method", r.Method, "bucket", q.bucketName, "key", q.key, "error", err)
	}
	if w.status != 0 {
		// Part of an answer is out: only a broken connection tells the truth.
		panic(http.ErrAbortHandler)
	}
	q.fail(a)
}

// serve runs the request and returns what to answer if it did not.
func (q *request) serve() (err error) {
	defer func() {
		if p := recover(); p != nil {
			if e, ok := p.(error); ok && errors.Is(e, http.ErrAbortHandler) {
				panic(p)
			}
			q.s.o.Log.ErrorContext(q.ctx, "s3 panic", "id", q.id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errInternal
		}
	}()
	if err := q.parseTarget(); err != nil {
		return err
	}
	if q.r.Method == http.MethodOptions {
		return q.preflight()
	}
	if q.isForm() {
		return q.postObject()
	}
	if err := q.authenticate(); err != nil {
		return err
	}
	if err := q.route(); err != nil {
		return err
	}
	if err := q.refuseUnknown(); err != nil {
		return err
	}
	return q.run()
}

// run loads the bucket, asks its policy and calls the operation.
func (q *request) run() error {
	if q.bucketName != "" && !q.op.noBucket {
		b, err := q.s.o.Buckets.Bucket(q.ctx, q.bucketName)
		if errors.Is(err, ErrNoBucket) {
			return errNoSuchBucket.detail("BucketName", q.bucketName)
		}
		if err != nil {
			return errInternal.wrap(err)
		}
		q.bucket = b
		q.corsHeaders()
		if err := q.allow(b, q.op.action, q.key); err != nil {
			q.denied = true
			return err
		}
	} else if q.access == nil {
		return errAccessDenied
	}
	err := q.op.run(q)
	if q.key == "" && errors.Is(err, errNoSuchKey) {
		// The directory went away through another protocol.
		return errNoSuchBucket.detail("BucketName", q.bucketName).wrap(err)
	}
	return err
}

// setCaller makes the credential the caller of all calls below.
func (q *request) setCaller(c *identity.Credential, readOnly bool) {
	q.caller = &fs.Caller{Cred: c, Protocol: fs.ProtoS3, Client: peer(q.r), ReadOnly: readOnly}
}

func peer(r *http.Request) netip.AddrPort {
	a, _ := netip.ParseAddrPort(r.RemoteAddr)
	return a
}

// parseTarget finds bucket and key in the escaped path and the Host header.
func (q *request) parseTarget() *apiError {
	escaped := q.r.URL.EscapedPath()
	if len(q.r.RequestURI) > 16<<10 {
		return errInvalidURI
	}
	path, ok := unescapePath(escaped)
	if !ok || path == "" || path[0] != '/' || !utf8.ValidString(path) {
		return errInvalidURI
	}
	q.path = path
	qs, err := parseQuery(q.r.URL.RawQuery)
	if err != nil {
		return err
	}
	q.query = qs
	rest := path[1:]
	if b := q.virtualHost(); b != "" {
		q.bucketName, q.key = b, rest
		return nil
	}
	q.bucketName, q.key, _ = strings.Cut(rest, "/")
	return nil
}

func (q *request) virtualHost() string {
	host := q.r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	for _, d := range q.set.Domains {
		if b, ok := strings.CutSuffix(host, "."+d); ok {
			return b
		}
	}
	return ""
}

func unescapePath(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		n, ok := parseHex(s[i+1 : i+3])
		if !ok {
			return "", false
		}
		b = append(b, byte(n))
		i += 2
	}
	return string(b), true
}

// refuseUnknown refuses what we would have to ignore: encryption under keys,
// and grants.
func (q *request) refuseUnknown() *apiError {
	if q.access == nil && q.r.Header.Get("X-Amz-Content-Sha256") != "" && strings.HasPrefix(q.r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-AWS4") {
		return errAccessDenied
	}
	for n := range q.r.Header {
		switch {
		case strings.HasPrefix(n, "X-Amz-Server-Side-Encryption"), strings.HasPrefix(n, "X-Amz-Copy-Source-Server-Side-Encryption"):
			return errNotImplemented.detail("Header", n)
		case strings.HasPrefix(n, "X-Amz-Grant-"):
			return errNotImplemented.detail("Header", n)
		case n == "X-Amz-Website-Redirect-Location", n == "X-Amz-Write-Offset-Bytes":
			return errNotImplemented.detail("Header", n)
		case n == "X-Amz-Storage-Class":
			if v := q.r.Header.Get(n); v != "" && v != "STANDARD" {
				return errInvalidStorageClass
			}
		case n == "X-Amz-Acl":
			switch q.r.Header.Get(n) {
			case "", "private", "bucket-owner-full-control", "bucket-owner-read":
			case "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "log-delivery-write":
				return errACLNotSupported
			default:
				return errInvalidArgument
			}
		}
	}
	return nil
}
