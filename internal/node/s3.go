package node

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"manifold/internal/config"
	"manifold/internal/control/service"
	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/ports"
	"manifold/internal/telemetry"
	"manifold/internal/wire/s3"
)

// newS3 builds the S3 server of a node on a file system that may be decorated.
func newS3(st *storage, f fs.FS, svc *service.Service, tr *trail, metrics *telemetry.Registry, slow time.Duration, log *slog.Logger) *s3.Server {
	o := s3.Options{
		FS: f, Buckets: s3Buckets{st.config, f}, Keys: s3Keys{st.config, svc}, Names: s3Names{st.config}, Log: log,
		Settings: func() s3.Settings {
			v, _ := st.config.S3InForce()
			return s3.Settings{Domains: v.Domains, OpaqueETags: v.OpaqueETags}
		},
		Guest: func() *identity.Credential {
			c, err := st.config.Directory().LocalCredential(uint64(identity.Guest))
			if err != nil {
				return nil
			}
			return c
		},
		Done: newS3Observer(metrics, tr, slow, log).done,
	}
	return s3.New(o)
}

// maxS3Connections is what one node takes; it promises 1,000.
const maxS3Connections = 4096

// s3Door is the port of S3.
func s3Door(srv *s3.Server, st *storage, certs *certificates, l *ports.Ledger, drain time.Duration, metrics *telemetry.Registry, log *slog.Logger) *door {
	var opened, ended atomic.Uint64
	metrics.Connections("s3", opened.Load, ended.Load)
	wanted := func() (bool, <-chan struct{}) {
		v, changed := st.config.S3InForce()
		return v.Enabled, changed
	}
	return newDoor("S3", ports.S3, l, drain, log, wanted, func() doorServer {
		h := srv.HTTPServer()
		h.ConnState = func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				opened.Add(1)
			case http.StateClosed, http.StateHijacked:
				ended.Add(1)
			}
		}
		return &s3Opening{http: h,
			// What bounds a body in time works on connections, not on streams of one.
			tls: certs.server("http/1.1"), insecure: func() bool { v, _ := st.config.S3InForce(); return v.Insecure },
			full: func() bool { return opened.Load()-ended.Load() >= maxS3Connections }}
	})
}

// s3Opening is one opening of the port.
type s3Opening struct {
	http     *http.Server
	tls      *tls.Config
	insecure func() bool
	full     func() bool
}

// Serve implements doorServer.
func (o *s3Opening) Serve(ctx context.Context, s *ports.Sockets) error {
	// Requests see a context that ends when there is no more time for them.
	o.http.BaseContext = func(net.Listener) context.Context { return ctx }
	return serveAll(s.Listeners, func(l net.Listener) error {
		e := newEitherListener(l, o.tls, o.insecure, o.full)
		err := o.http.Serve(e)
		_ = l.Close()
		e.wait()
		if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		return err
	})
}

// Shutdown implements doorServer.
func (o *s3Opening) Shutdown(ctx context.Context) error {
	err := o.http.Shutdown(ctx)
	if errors.Is(err, net.ErrClosed) {
		err = nil // the door has closed its sockets; connections were waited for all the same
	}
	if err != nil {
		err = errors.Join(err, o.http.Close())
	}
	return err
}

// expireUploads removes forgotten multipart uploads now and then until ctx ends.
func expireUploads(ctx context.Context, srv *s3.Server, c *config.Store, log *slog.Logger) {
	const rest = 30 * time.Minute
	t := time.NewTimer(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		v, _ := c.S3InForce()
		if idle, err := config.ParseUploadExpiry(v.UploadExpiry); err == nil && idle > 0 {
			n, err := srv.Expire(ctx, idle)
			if err != nil && ctx.Err() == nil {
				log.WarnContext(ctx, "not all expired S3 uploads removed; tried again later", "error", err)
			}
			if n > 0 {
				log.InfoContext(ctx, "expired S3 uploads removed", "uploads", n)
			}
		}
		t.Reset(rest)
	}
}

// s3Observer counts requests in the metrics, records some, and logs slow ones.
type s3Observer struct {
	ops   *opCounter
	trail *trail
	slow  time.Duration
	log   *slog.Logger
}

func newS3Observer(m *telemetry.Registry, tr *trail, slow time.Duration, log *slog.Logger) *s3Observer {
	return &s3Observer{ops: &opCounter{metrics: m, protocol: "s3", kind: s3Kind}, trail: tr, slow: slow, log: log}
}

func (v *s3Observer) done(e s3.Event) {
	v.ops.done(e.Operation, e.Took, int(e.In+e.Out), e.Status >= 400 || e.Status == 0)
	v.trail.s3(&e)
	const much = 1 << 20
	if e.Took >= v.slow && e.In < much && e.Out < much {
		v.log.Warn("slow request", "protocol", "s3", "operation", e.Operation, "bucket", e.Bucket, "key", e.Key, "duration", e.Took, "status", e.Status)
	}
}

func s3Kind(operation string) (telemetry.DataType, telemetry.IOType) {
	switch operation {
	case "GetObject":
		return telemetry.Data, telemetry.Read
	case "PutObject", "PostObject", "UploadPart", "CopyObject", "UploadPartCopy":
		return telemetry.Data, telemetry.Write
	case "Unknown":
		return telemetry.NoData, telemetry.NoIO
	}
	for _, read := range []string{"Get", "Head", "List"} {
		if strings.HasPrefix(operation, read) {
			return telemetry.Metadata, telemetry.Read
		}
	}
	return telemetry.Metadata, telemetry.Write
}

// s3Buckets keeps buckets in the configuration.
type s3Buckets struct {
	c *config.Store
	f fs.FS
}

func bucketOf(r *config.Bucket) *s3.Bucket {
	return &s3.Bucket{
		Name: r.Name, Root: r.Root, Owner: r.Owner, Created: r.Created, Versioning: s3.Versioning(r.Versioning), Anonymous: r.Anonymous,
		Policy: r.Policy, CORS: r.CORS, Tags: r.Tags, Lock: r.Lock, LockDefault: r.LockDefault,
	}
}

func recordOf(b *s3.Bucket) config.Bucket {
	return config.Bucket{
		Name: b.Name, Root: b.Root, Owner: b.Owner, Created: b.Created, Versioning: string(b.Versioning), Anonymous: b.Anonymous,
		Policy: b.Policy, CORS: b.CORS, Tags: b.Tags, Lock: b.Lock, LockDefault: b.LockDefault,
	}
}

// bucketError turns errors of the configuration into those of the protocol.
func bucketError(err error) error {
	switch {
	case errors.Is(err, config.ErrNotFound):
		return s3.ErrNoBucket
	case errors.Is(err, config.ErrExists):
		return s3.ErrBucketExists
	case errors.Is(err, config.ErrLimit):
		return s3.ErrTooManyBuckets
	}
	return err
}

// The methods below implement s3.Buckets.

func (b s3Buckets) Bucket(_ context.Context, name string) (*s3.Bucket, error) {
	r, err := b.c.Bucket(name)
	if err != nil {
		return nil, bucketError(err)
	}
	return bucketOf(&r.Value), nil
}

func (b s3Buckets) ListBuckets(_ context.Context, after string, yield func(*s3.Bucket) bool) error {
	for {
		r, ok := b.c.BucketAfter(after)
		if !ok || !yield(bucketOf(&r.Value)) {
			return nil
		}
		after = r.Value.Name
	}
}

func (b s3Buckets) CreateBucket(ctx context.Context, v *s3.Bucket) error {
	_, err := b.c.AddBucket(ctx, recordOf(v))
	return bucketError(err)
}

func (b s3Buckets) UpdateBucket(ctx context.Context, name string, change func(*s3.Bucket) error) error {
	_, err := b.c.ChangeBucket(ctx, name, func(r *config.Bucket) error {
		v := bucketOf(r)
		if err := change(v); err != nil {
			return err
		}
		*r = recordOf(v)
		return nil
	})
	return bucketError(err)
}

func (b s3Buckets) DeleteBucket(ctx context.Context, name string) error {
	return bucketError(b.c.DeleteBucket(ctx, name))
}

func (b s3Buckets) BasePath(ctx context.Context) (fs.Node, error) {
	v, _ := b.c.S3InForce()
	a, err := b.f.Resolve(ctx, fs.SystemCaller(), v.BasePath, fs.AttrType)
	if err == nil && a.Type != fs.Directory {
		err = fs.E("resolve", a.Node, v.BasePath, fs.NotDir, nil)
	}
	return a.Node, err
}

// s3Keys finds access keys and whom they stand for.
type s3Keys struct {
	c   *config.Store
	svc *service.Service
}

// AccessKey implements s3.AccessKeys.
func (k s3Keys) AccessKey(ctx context.Context, id string) (*s3.Key, error) {
	r, secret, err := k.c.S3Key(id)
	if errors.Is(err, config.ErrNotFound) {
		return nil, s3.ErrNoKey
	}
	if err != nil {
		return nil, err
	}
	cred, err := credentialOf(ctx, k.c, r.Value.Owner)
	if errors.Is(err, config.ErrNotFound) {
		return nil, s3.ErrNoKey // its owner is gone
	}
	return &s3.Key{ID: id, Secret: secret, Cred: cred, Operator: operatorOf(k.c, k.svc, r.Value.Owner)}, err
}

// credentialOf expands a principal that a stored key or setting names;
// config.ErrNotFound if nobody can act as it.
func credentialOf(ctx context.Context, c *config.Store, a identity.AuthID) (*identity.Credential, error) {
	switch a.Kind() {
	case identity.KindLocal:
		return c.Directory().LocalCredential(uint64(a))
	case identity.KindUID:
		n, _ := a.POSIX()
		return c.Directory().Expand(ctx, n, identity.NobodyGID, nil)
	}
	return nil, config.ErrNotFound
}

// s3Names shows owners.
type s3Names struct{ c *config.Store }

// OwnerID implements s3.Names.
func (n s3Names) OwnerID(_ context.Context, a identity.AuthID) (id, displayName string) {
	id = strconv.FormatUint(uint64(a), 10)
	if name := n.c.Directory().Name(a); name != "" {
		return id, name
	}
	if u, ok := a.POSIX(); ok {
		return id, "uid:" + strconv.FormatUint(uint64(u), 10)
	}
	return id, id
}

// s3Switch changes the settings and moves the port along.
type s3Switch struct {
	*config.Store
	door *door
}

// SetS3 implements control.S3Settings.
func (w s3Switch) SetS3(ctx context.Context, revision uint64, v config.S3) (config.Record[config.S3], error) {
	return move(ctx, v.Enabled, []*door{w.door}, func() (config.Record[config.S3], error) { return w.Store.SetS3(ctx, revision, v) })
}
