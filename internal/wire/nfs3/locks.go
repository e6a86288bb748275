package nfs3

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/wire/sunrpc"
)

// Resolve answers the object and the caller of a file handle in a call of
// another program, the lock manager. Errors are of the file system's kinds.
func (s *Server) Resolve(ctx context.Context, c *sunrpc.Call, fh []byte) (fs.Node, *fs.Caller, error) {
	if s.o.AuthSys != nil && !s.o.AuthSys() {
		return fs.Node{}, nil, fs.Access
	}
	q := &request{s: s, ctx: ctx, c: c}
	h, st := q.enter(fh)
	switch st {
	case OK:
		return h.node, q.caller, nil
	case ErrStale, ErrBadHandle:
		return h.node, nil, fs.Stale
	case ErrAcces:
		return h.node, nil, fs.Access
	case ErrJukebox:
		return h.node, nil, fs.Retry
	}
	return h.node, nil, fs.Other
}
