package node

import (
	"context"

	"manifold/internal/config"
	"manifold/internal/fs/acl"
	"manifold/internal/fs/core"
)

// permissions puts the permissions mode in force.
type permissions struct {
	*config.Store
	fs *core.FS
}

// openPermissions puts in force what is configured.
func openPermissions(ctx context.Context, c *config.Store, f *core.FS) (permissions, error) {
	p := permissions{c, f}
	r, err := c.Permissions(ctx)
	if err == nil {
		p.apply(r.Value)
	}
	return p, err
}

func (p permissions) apply(v config.Permissions) {
	policy := acl.CrossProtocol
	if v.Native {
		policy = acl.Native
	}
	p.fs.SetChmodPolicy(policy)
}

func (p permissions) SetPermissions(ctx context.Context, revision uint64, v config.Permissions) (config.Record[config.Permissions], error) {
	r, err := p.Store.SetPermissions(ctx, revision, v)
	if err == nil {
		p.apply(r.Value)
	}
	return r, err
}
