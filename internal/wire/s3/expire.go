package s3

import (
	"context"
	"errors"
	"net/http"
	"time"

	"manifold/internal/fs"
)

// Expire removes multipart uploads that got no data for as long as idle says,
// and staged files of the same age, which only a crash leaves behind. It
// answers how many it removed. Run it now and then, on one member.
func (s *Server) Expire(ctx context.Context, idle time.Duration) (int, error) {
	removed := 0
	var errs []error
	err := s.o.Buckets.ListBuckets(ctx, "", func(b *Bucket) bool {
		n, err := s.expireBucket(ctx, b, s.o.Now().Add(-idle))
		removed += n
		if err != nil {
			errs = append(errs, err)
		}
		return ctx.Err() == nil
	})
	return removed, errors.Join(append(errs, err, ctx.Err())...)
}

func (s *Server) expireBucket(ctx context.Context, b *Bucket, before time.Time) (int, error) {
	q := &request{s: s, ctx: ctx, r: &http.Request{}, bucket: b, bucketName: b.Name, caller: systemCaller}
	dir, ok, err := q.findStaging()
	if err != nil || !ok {
		if fs.KindOf(err) == fs.Stale {
			return 0, nil
		}
		return 0, err
	}
	removed := 0
	after := ""
	for {
		type old struct {
			name string
			node fs.Node
			dir  bool
		}
		var page []old
		eof, err := s.o.FS.ReadDirByName(ctx, systemCaller, dir, after, fs.AttrType|fs.AttrMtime, func(e *fs.Dirent) bool {
			after = e.Name
			// The directory of an upload changes with each part that arrives.
			if e.Attr.Mask != 0 && e.Attr.Mtime.Time().Before(before) {
				page = append(page, old{e.Name, fs.Node{ID: e.ID}, e.Type == fs.Directory})
			}
			return len(page) < maxList
		})
		if err != nil {
			return removed, err
		}
		for _, o := range page {
			if o.dir {
				err = q.dropUpload(dir, o.name, o.node)
			} else if _, err = s.o.FS.Remove(ctx, systemCaller, dir, o.name, fs.RemoveFile); fs.KindOf(err) == fs.NotExist {
				err = nil
			}
			if err != nil {
				return removed, err
			}
			removed++
		}
		if eof {
			return removed, nil
		}
	}
}
