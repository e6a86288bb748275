package s3

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"manifold/internal/fs"
)

// Expire removes multipart uploads that got no data for as long as idle says,
// and parts of that age whose upload is gone, which only a crash leaves behind.
// It answers how many it removed. Run it now and then, on one member.
func (s *Server) Expire(ctx context.Context, idle time.Duration) (int, error) {
	q := &request{s: s, ctx: ctx, r: &http.Request{}, bucket: &Bucket{}, caller: systemCaller}
	before := s.o.Now().Add(-idle)
	removed := 0
	var errs []error
	var group []fs.Node // an upload with its parts
	var name string
	last := time.Time{}
	flush := func() {
		if len(group) == 0 || !last.Before(before) {
			return
		}
		removed++
		for _, n := range group { // the upload itself comes first, so that nobody adds to it
			if err := q.unstage(ctx, n); err != nil {
				errs = append(errs, err)
				return
			}
		}
	}
	err := s.o.FS.ListStaged(ctx, uploadOwner, nil, func(r *fs.Staged) bool {
		upload := r.Owner
		if i := strings.LastIndexByte(upload, '/'); i > len(uploadOwner)+rootDigits {
			upload = upload[:i]
		}
		if upload != name {
			flush()
			group, name, last = group[:0], upload, time.Time{}
		}
		a, err := s.o.FS.GetAttr(ctx, systemCaller, r.Node, fs.AttrMtime)
		if err != nil {
			return ctx.Err() == nil // completed or aborted meanwhile
		}
		group = append(group, r.Node)
		if t := a.Mtime.Time(); t.After(last) {
			last = t
		}
		return ctx.Err() == nil
	})
	if err == nil && ctx.Err() == nil {
		flush()
	}
	return removed, errors.Join(append(errs, err, ctx.Err())...)
}
