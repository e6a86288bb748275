package s3

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// An upload is an empty staged file whose metadata say what the object is
// going to be; its parts are staged files that become sealed with their record.
// Owner strings tie them together: "s3/<bucket's directory>/<upload>" and, for
// parts, "/<number>" behind it.

const (
	uploadOwner = "s3/"
	rootDigits  = 16
	uploadKey   = ":upload"
)

// upload is the record of a multipart upload.
type upload struct {
	Key       string            `json:"key"`
	Initiated time.Time         `json:"initiated"`
	Owner     identity.AuthID   `json:"owner"`
	Headers   map[string]string `json:"headers,omitempty"`
	Meta      map[string]string `json:"meta,omitempty"`
	Tags      []tag             `json:"tags,omitempty"`
	Lock      *lockRequest      `json:"lock,omitempty"`
	Algorithm string            `json:"algorithm,omitempty"`
	SumType   string            `json:"sumType,omitempty"`

	id   string
	node fs.Node
}

// uploadsOf starts the owner strings of all uploads into a directory.
func uploadsOf(root fs.FileID) string {
	return fmt.Sprintf("%s%0*x/", uploadOwner, rootDigits, uint64(root))
}

func (q *request) ownerOf(id string) string { return uploadsOf(q.bucket.Root) + id }

func (q *request) partOwner(u *upload, n uint64) string {
	return fmt.Sprintf("%s/%05d", q.ownerOf(u.id), n)
}

func validUploadID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 16 && id == strings.ToLower(id)
}

// storeUpload gives a new upload its id and stores it.
func (q *request) storeUpload(u *upload) error {
	u.id = strings.ToLower(newID() + newID())
	st, err := q.stage(q.ownerOf(u.id))
	if err != nil {
		return err
	}
	defer q.drop(st)
	b, err := json.Marshal(u)
	if err != nil {
		return err
	}
	// Without its record it is no upload, and the sweep takes it.
	if _, err := q.s.o.FS.SetMeta(q.ctx, q.system(), st.node, fs.MetaS3, uploadKey, b, fs.MetaCreate); err != nil {
		return err
	}
	st.done, u.node = true, st.node
	return nil
}

// findUpload reads the record of the upload that the request names.
func (q *request) findUpload(id string) (*upload, error) {
	none := errNoSuchUpload.detail("UploadId", id)
	if !validUploadID(id) {
		return nil, none
	}
	owner := q.ownerOf(id)
	var node fs.Node
	err := q.s.o.FS.ListStaged(q.ctx, owner, nil, func(r *fs.Staged) bool {
		if r.Owner == owner {
			node = r.Node
		}
		return false // it sorts before its parts
	})
	if err != nil {
		return nil, err
	}
	if node == (fs.Node{}) {
		return nil, none
	}
	u, err := q.readUpload(node, id)
	if err != nil {
		return nil, err
	}
	if u == nil || q.op.name != "ListMultipartUploads" && u.Key != q.key {
		return nil, none
	}
	return u, nil
}

// readUpload answers nil for what has no record.
func (q *request) readUpload(n fs.Node, id string) (*upload, error) {
	b, err := q.s.o.FS.GetMeta(q.ctx, q.system(), n, fs.MetaS3, uploadKey)
	if k := fs.KindOf(err); err != nil && (k == fs.NoAttr || k == fs.Stale || k == fs.NotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u := &upload{}
	if err := json.Unmarshal(b, u); err != nil {
		return nil, errInternal.wrap(err)
	}
	u.id, u.node = id, n
	return u, nil
}

// partsInARow is how many parts a listing of uploads passes by before it jumps
// to the next upload.
const partsInARow = 64

// eachUpload yields the uploads into a directory by id, those greater than after.
func (s *Server) eachUpload(ctx context.Context, root fs.FileID, after string, yield func(id string, n fs.Node) bool) error {
	prefix := uploadsOf(root)
	behind := func(id string) *fs.Staged { return &fs.Staged{Owner: prefix + id + "0"} } // '0' follows '/'
	var from *fs.Staged
	if after != "" {
		from = behind(after)
	}
	for {
		passed, jump := 0, ""
		err := s.o.FS.ListStaged(ctx, prefix, from, func(r *fs.Staged) bool {
			id, _, part := strings.Cut(r.Owner[len(prefix):], "/")
			if !part {
				passed = 0
				return yield(id, r.Node)
			}
			if passed++; passed == partsInARow {
				jump = id
				return false
			}
			return true
		})
		if err != nil || jump == "" {
			return err
		}
		from = behind(jump)
	}
}

// mayAddTo lets who began an upload, and superusers, add to it and end it.
func (q *request) mayAddTo(u *upload) error {
	if q.caller.Cred.IsUser(u.Owner) || q.caller.Cred.Superuser {
		return nil
	}
	return errAccessDenied
}

// stagePart begins a part. It looks for the upload afterwards: who ends an
// upload takes it away first and then its parts, so one of the two sees the other.
func (q *request) stagePart(u *upload, n uint64) (*staged, error) {
	if err := q.mayAddTo(u); err != nil {
		return nil, err
	}
	st, err := q.stage(q.partOwner(u, n))
	if err != nil {
		return nil, q.uploadGone(err)
	}
	if err := q.stillOpen(u); err != nil {
		q.drop(st)
		return nil, err
	}
	return st, nil
}

func (q *request) stillOpen(u *upload) error {
	_, err := q.s.o.FS.GetAttr(q.ctx, q.system(), u.node, 0)
	return q.uploadGone(err)
}

// takePart makes what was staged the part n, instead of any former one.
func (q *request) takePart(u *upload, st *staged, n uint64, rec *record) error {
	if err := q.settle(st); err != nil {
		return q.uploadGone(err)
	}
	owner := q.partOwner(u, n)
	defer q.s.locks.lock(q.bucketName, owner)()
	rec.Sealed = q.s.o.Now().UnixNano()
	if err := q.seal(st, rec); err != nil {
		return q.uploadGone(err)
	}
	if err := q.stillOpen(u); err != nil {
		return err
	}
	st.done = true
	return q.eachPart(owner, nil, func(p *part) error {
		if p.attr.Node == st.node {
			return nil
		}
		return q.unstage(detach(q.ctx), p.attr.Node)
	})
}

// part is a sealed one.
type part struct {
	number uint64
	object
}

// eachPart yields the sealed parts whose owner string begins with prefix, those
// greater than after, in the order of their numbers. There are two of a number
// while one replaces the other, and after a crash at that moment.
func (q *request) eachPart(prefix string, after *fs.Staged, yield func(*part) error) error {
	var inner error
	err := q.s.o.FS.ListStaged(q.ctx, prefix, after, func(r *fs.Staged) bool {
		n, ok := parseUint(r.Owner[strings.LastIndexByte(r.Owner, '/')+1:], maxParts)
		if !ok {
			return true
		}
		a, err := q.s.o.FS.GetAttr(q.ctx, q.system(), r.Node, attrObject)
		if err == nil {
			var rec *record
			if rec, err = q.readRecord(&a); err == nil {
				if rec.Sealed == 0 {
					return true // on its way
				}
				err = yield(&part{n, object{attr: a, rec: rec}})
			}
		}
		if fs.KindOf(err) == fs.Stale {
			return true // replaced, or the upload has ended
		}
		inner = err
		return err == nil
	})
	if inner != nil {
		return inner
	}
	return err
}

// errEnough ends a walk over parts.
var errEnough = fmt.Errorf("s3: enough parts")

// partsAfter yields the parts of an upload with numbers greater than marker, one of each.
func (q *request) partsAfter(u *upload, marker uint64, yield func(*part) error) error {
	var after *fs.Staged
	if marker > 0 {
		after = &fs.Staged{Owner: q.partOwner(u, marker), Node: fs.Node{ID: math.MaxUint64}}
	}
	var last *part
	err := q.eachPart(q.ownerOf(u.id)+"/", after, func(p *part) error {
		if last != nil && last.number == p.number {
			if p.rec.Sealed > last.rec.Sealed {
				last = p
			}
			return nil
		}
		former := last
		last = p
		if former == nil {
			return nil
		}
		return yield(former)
	})
	if err == nil && last != nil {
		err = yield(last)
	}
	if err == errEnough {
		return nil
	}
	return err
}

// allParts are the parts of an upload by number.
func (q *request) allParts(u *upload) (map[uint64]*part, error) {
	m := map[uint64]*part{}
	err := q.partsAfter(u, 0, func(p *part) error {
		m[p.number] = p
		return nil
	})
	return m, err
}

// dropUpload ends an upload: its record goes first, so that nobody adds to it.
func (q *request) dropUpload(u *upload) error {
	ctx := detach(q.ctx)
	if err := q.unstage(ctx, u.node); err != nil {
		return err
	}
	var inner error
	err := q.s.o.FS.ListStaged(ctx, q.ownerOf(u.id)+"/", nil, func(r *fs.Staged) bool {
		inner = q.unstage(ctx, r.Node)
		return inner == nil
	})
	if inner != nil {
		return inner
	}
	return err
}

// clearUploads ends all uploads into a bucket that goes away.
func (q *request) clearUploads() error {
	var inner error
	err := q.s.eachUpload(q.ctx, q.bucket.Root, "", func(id string, n fs.Node) bool {
		inner = q.dropUpload(&upload{id: id, node: n})
		return inner == nil
	})
	if inner != nil {
		return inner
	}
	return err
}
