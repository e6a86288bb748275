package s3

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"manifold/internal/fs"
)

// staged is data on their way: a staged file of the file system, complete
// before it takes its name, or a stream of a directory.
type staged struct {
	node fs.Node
	size uint64
	// stream is where the data go, the file's own if 0
	stream fs.StreamID
	done   bool // it has its name, or is gone
}

// stage makes an empty file out of sight, owned by the caller. Without owner
// string it ends with the process.
func (q *request) stage(owner string) (*staged, error) {
	n, err := q.s.o.FS.Stage(q.ctx, q.caller, &fs.StageSpec{Dir: q.root(), Owner: owner})
	if err != nil {
		return nil, q.gone(err)
	}
	return &staged{node: n}, nil
}

// drop takes back what did not become an object. It runs even when the client
// has gone.
func (q *request) drop(st *staged) {
	if st.done {
		return
	}
	st.done = true
	ctx := detach(q.ctx)
	if err := q.unstage(ctx, st.node); err != nil {
		q.s.o.Log.WarnContext(ctx, "s3: staged file stays behind", "node", st.node.String(), "error", err)
	}
}

// unstage frees a staged file, if it still is one.
func (q *request) unstage(ctx context.Context, n fs.Node) error {
	err := q.s.o.FS.Unstage(ctx, q.system(), n)
	if fs.KindOf(err) == fs.Stale {
		return nil
	}
	return err
}

// receive streams the body into st and checks all that was promised about it.
// The digests run beside the write. Publish, or settle, makes the data durable.
func (q *request) receive(st *staged, most int64) error {
	p := q.body
	if p.size > most {
		return errEntityTooLarge
	}
	var digests, flushes sync.WaitGroup
	defer digests.Wait()
	defer flushes.Wait()
	flushing := make(chan struct{}, 1)
	flushed := uint64(0)
	for end := false; !end; {
		buf := q.s.shared(p.size)
		n, err := p.fill(buf.b)
		if end = errors.Is(err, io.EOF); err == nil || end {
			err = q.receivePiece(st, buf, n, most, &digests)
		}
		buf.Release()
		if err != nil {
			return err
		}
		if st.size-flushed < flushSize {
			continue
		}
		select {
		case flushing <- struct{}{}:
			from, size := flushed, st.size-flushed
			flushed = st.size
			flushes.Go(func() {
				// What fails stays buffered, and making all durable says so.
				_, _, _ = q.s.o.FS.Commit(q.ctx, q.caller, st.node, st.stream, from, size)
				<-flushing
			})
		default: // the disk is slower than the network
		}
	}
	digests.Wait()
	if err := p.verify(); err != nil {
		return err
	}
	return nil
}

// flushSize is how much of a body gathers before it goes to disk beside what
// still comes.
const flushSize = 8 << 20

// receivePiece writes a piece. Its digests run beside that and beside the
// reading of the next one.
func (q *request) receivePiece(st *staged, buf *sharedPiece, n int, most int64, digests *sync.WaitGroup) error {
	p := q.body
	if p.read > most {
		return errEntityTooLarge
	}
	if n == 0 {
		return nil
	}
	w := &fs.WriteRequest{Stream: st.stream, Offset: st.size, Data: buf.b[:n], OwnerOverride: true}
	digests.Wait()
	if n >= smallSize {
		buf.Retain()
		digests.Go(func() {
			p.digest(w.Data)
			buf.Release()
		})
	} else {
		p.digest(w.Data)
	}
	if n >= len(buf.b)/2 { // else it would hold more than it counts
		w.Owner = buf
	}
	if _, err := q.s.o.FS.Write(q.ctx, q.caller, st.node, w); err != nil {
		return err
	}
	st.size += uint64(n)
	return nil
}

// settle makes the data of what is not published durable.
func (q *request) settle(st *staged) error {
	if st.size == 0 {
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
