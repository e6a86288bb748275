package s3

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// staged is a file on its way: complete before it takes its name.
type staged struct {
	// loose files have no name yet, and what they are is set when they get
	// one; others are names in dir, complete before they move.
	loose bool
	dir   fs.Node
	name  string
	node  fs.Node
	size  uint64
	// stream is where the data go, the file's own if 0
	stream fs.StreamID
	done   bool // it has its name, or is gone
}

// stage makes an empty file in dir, owned by the caller.
func (q *request) stage(dir fs.Node, prefix string) (*staged, error) {
	mode := modeFile
	st := &staged{dir: dir, name: prefix + strings.ToLower(newID()+newID())}
	r, err := q.s.o.FS.Create(q.ctx, q.caller, dir, st.name, &fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{Mode: &mode}})
	if err != nil {
		return nil, err
	}
	st.node = r.Attr.Node
	return st, nil
}

// stageObject makes an empty file that is to become the object of a key. Where
// versions are kept it is linked and moved about, which wants a name.
func (q *request) stageObject() (*staged, error) {
	if q.bucket.Versioning == "" {
		n, err := q.s.o.FS.Stage(q.ctx, q.caller, &fs.StageSpec{Dir: q.root()})
		return &staged{loose: true, node: n}, q.gone(err)
	}
	dir, err := q.staging()
	if err != nil {
		return nil, q.gone(err)
	}
	st, err := q.stage(dir, "put-")
	return st, q.gone(err)
}

// drop takes back what did not become an object. It runs even when the client
// has gone.
func (q *request) drop(st *staged) {
	if st == nil || st.done {
		return
	}
	st.done = true
	ctx := detach(q.ctx)
	if st.loose {
		if err := q.s.o.FS.Unstage(ctx, q.system(), st.node); err != nil && fs.KindOf(err) != fs.Stale {
			q.s.o.Log.WarnContext(ctx, "s3: staged file stays behind until the next start", "node", st.node.String(), "error", err)
		}
		return
	}
	if _, err := q.s.o.FS.Remove(ctx, q.system(), st.dir, st.name, fs.RemoveFile); err != nil && fs.KindOf(err) != fs.NotExist && fs.KindOf(err) != fs.Stale {
		q.s.o.Log.WarnContext(ctx, "s3: staged file stays behind", "name", st.name, "error", err)
	}
}

// receive streams the body into the staged file and checks all that was
// promised about it. The digests run beside the write.
func (q *request) receive(st *staged, most int64) error {
	p := q.body
	if p.size > most {
		return errEntityTooLarge
	}
	buf, done := q.s.piece(p.size)
	defer done()
	var wg sync.WaitGroup
	for {
		n, err := p.fill(buf)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		if p.read > most {
			return errEntityTooLarge
		}
		if piece := buf[:n]; n > 0 {
			beside := n >= smallSize
			if beside {
				wg.Go(func() { p.digest(piece) })
			} else {
				p.digest(piece)
			}
			_, err := q.s.o.FS.Write(q.ctx, q.caller, st.node, &fs.WriteRequest{Stream: st.stream, Offset: st.size, Data: piece, OwnerOverride: true})
			wg.Wait()
			if err != nil {
				return err
			}
			st.size += uint64(n)
		}
		if end {
			break
		}
	}
	if err := p.verify(); err != nil {
		return err
	}
	if st.size == 0 || st.loose { // a loose file is durable when it has a name
		return nil
	}
	_, _, err := q.s.o.FS.Commit(q.ctx, q.caller, st.node, st.stream, 0, 0)
	return err
}

// etag is the entity tag of what was received.
func (q *request) etag() string {
	if q.body.hMD5 == nil {
		return ""
	}
	return hex.EncodeToString(q.body.hMD5.Sum(nil))
}

// sums are the checksums of what was received.
func (q *request) sums() map[string]string {
	if q.body.claim == nil {
		return nil
	}
	return map[string]string{q.body.claim.alg.name: base64.StdEncoding.EncodeToString(q.body.hSum.Sum(nil))}
}

// sealed is the record of a staged file, as of its present data.
func (q *request) sealed(st *staged, r *record) ([]byte, error) {
	a, err := q.s.o.FS.GetAttr(q.ctx, q.system(), st.node, fs.AttrSize)
	if err != nil {
		return nil, err
	}
	r.Rev, r.Size = a.DataRevision, a.Size
	if r.ETag == "" {
		a.Node = st.node
		r.ETag = opaqueTag(&a)
	}
	return json.Marshal(r)
}

// seal stores the record of a staged file.
func (q *request) seal(st *staged, r *record) error {
	b, err := q.sealed(st, r)
	if err != nil {
		return err
	}
	_, err = q.s.o.FS.SetMeta(q.ctx, q.system(), st.node, fs.MetaS3, recordKey, b, fs.MetaUpsert)
	return err
}

// adopt gives a staged file what a file made in dir would have got: inherited
// entries, and the group of a setgid directory.
func (q *request) adopt(st *staged, dir fs.Node) error {
	f := q.s.o.FS
	parent, err := f.GetACL(q.ctx, q.system(), dir)
	if err != nil {
		return err
	}
	if parent.Mode&fs.ModeSetgid != 0 && parent.Group != q.caller.Cred.Group {
		if _, err := f.SetAttr(q.ctx, q.system(), st.node, &fs.SetAttr{Group: &parent.Group}); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(parent.Entries, func(e fs.ACE) bool { return e.Flags&fs.ACEObjectInherit != 0 }) {
		return nil
	}
	own, err := f.GetACL(q.ctx, q.system(), st.node)
	if err != nil {
		return err
	}
	acl := fs.ACL{Owner: own.Owner, Group: own.Group, Control: fs.ACLPresent | fs.ACLAutoInherited}
	for _, e := range parent.Entries {
		if e.Flags&fs.ACEObjectInherit == 0 {
			continue
		}
		e.Flags = fs.ACEInherited
		switch e.Trustee {
		case identity.CreatorOwner:
			e.Trustee = own.Owner
		case identity.CreatorGroup:
			e.Trustee = own.Group
		}
		acl.Entries = append(acl.Entries, e)
	}
	_, err = f.SetACL(q.ctx, q.system(), st.node, &acl)
	return err
}

// gone turns "the directory went away" into what the client should hear.
func (q *request) gone(err error) error {
	if err == nil {
		return nil
	}
	if k := fs.KindOf(err); k == fs.Stale || k == fs.NotExist {
		if _, berr := q.s.o.Buckets.Bucket(q.ctx, q.bucketName); errors.Is(berr, ErrNoBucket) {
			return errNoSuchBucket.detail("BucketName", q.bucketName).wrap(err)
		}
	}
	return err
}
