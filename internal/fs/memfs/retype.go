package memfs

import (
	"context"
	"slices"

	"manifold/internal/fs"
)

// Retype implements fs.Namespace.
func (f *FS) Retype(_ context.Context, c *fs.Caller, node fs.Node, spec *fs.RetypeSpec) (fs.Changed, error) {
	const op = "retype"
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := func(k fs.Kind) (fs.Changed, error) { return fs.Changed{}, fs.E(op, node, "", k, nil) }
	if spec.Type == fs.Directory {
		return fail(fs.Invalid)
	}
	if err := checkSpec(&fs.CreateSpec{Type: spec.Type, Target: spec.Target}); err != nil {
		return fail(fs.KindOf(err))
	}
	if err := writable(op, c, node); err != nil {
		return fs.Changed{}, err
	}
	if err := f.free(c, op, node, 0, 0, 0, true, nil); err != nil {
		return fs.Changed{}, err
	}
	n, _, err := f.find(op, node)
	if err != nil {
		return fs.Changed{}, err
	}
	switch {
	case !f.can(c, n, fs.RightModify) && !f.can(c, n, fs.RightWriteAttr):
		return fail(fs.Access)
	case n.typ == fs.Directory:
		return fail(fs.IsDir)
	case n.data.size != 0 || len(n.streams) != 0:
		return fail(fs.NotEmpty)
	case n.typ != fs.File && spec.Type != fs.File && spec.Type != n.typ:
		return fail(fs.Exist)
	case len(n.links) == 0:
		return fail(fs.Stale)
	case len(n.links) > 1:
		return fail(fs.Busy)
	case n.locked(f.now()):
		return fail(fs.WORM)
	}
	b := before(n)
	n.typ, n.hint, n.target, n.rdevMajor, n.rdevMinor, n.verifier = spec.Type, fs.SymlinkUnknown, nil, 0, 0, nil
	switch spec.Type {
	case fs.Symlink:
		n.hint, n.target = spec.SymlinkHint, slices.Clone(spec.Target)
	case fs.CharDevice, fs.BlockDevice:
		n.rdevMajor, n.rdevMinor = spec.RdevMajor, spec.RdevMinor
	}
	f.touch(n, true)
	f.touch(f.live[n.links[0].dir], false)
	f.notify(n, fs.EventData|fs.EventSize|fs.EventAttr)
	return f.changed(n, b), nil
}
