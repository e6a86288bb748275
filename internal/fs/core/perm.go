package core

import (
	"context"
	"fmt"
	"sync"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/identity"
	"manifold/internal/meta"
)

// aclCache keeps decoded ACL records, which are immutable, by their hash.
type aclCache struct {
	mu sync.RWMutex
	m  map[meta.ACLHash]*fs.ACL
}

const aclCacheMax = 10_000

// aclOf returns the permission record of an object.
func (f *FS) aclOf(ctx context.Context, r *meta.Reader, i *meta.Inode) (fs.ACL, error) {
	if i.ACL == (meta.ACLHash{}) {
		return fs.ACL{Owner: i.Owner, Group: i.Group, Mode: i.Mode, ModeOnly: true}, nil
	}
	f.acls.mu.RLock()
	a := f.acls.m[i.ACL]
	f.acls.mu.RUnlock()
	if a == nil {
		b, err := r.ACL(ctx, i.ACL)
		if err != nil {
			return fs.ACL{}, err
		}
		d, err := acl.Decode(b)
		if err != nil {
			return fs.ACL{}, fmt.Errorf("%w: ACL of inode %d: %w", meta.ErrCorrupt, i.ID, err)
		}
		a = &d
		f.acls.mu.Lock()
		if f.acls.m == nil || len(f.acls.m) >= aclCacheMax {
			f.acls.m = map[meta.ACLHash]*fs.ACL{}
		}
		f.acls.m[i.ACL] = a
		f.acls.mu.Unlock()
	}
	out := *a
	out.Owner, out.Group, out.Mode = i.Owner, i.Group, i.Mode
	return out, nil
}

// putACL gives an inode a permission record.
func (f *FS) putACL(ctx context.Context, tx *meta.Txn, i *meta.Inode, a *fs.ACL) error {
	i.Owner, i.Group = a.Owner, a.Group
	if a.ModeOnly {
		i.ACL, i.Mode = meta.ACLHash{}, a.Mode
		return nil
	}
	special := a.Mode & (fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	h, err := tx.PutACL(ctx, acl.Encode(a))
	if err != nil {
		return err
	}
	i.ACL = h
	i.Mode = special | acl.Mode(a, i.Type == fs.Directory)&0o777
	return nil
}

// granted answers which of want the caller has on i itself, without what the
// parent grants.
func (f *FS) granted(ctx context.Context, r *meta.Reader, c *fs.Caller, i *meta.Inode, want fs.Rights) (fs.Rights, error) {
	a, err := f.aclOf(ctx, r, i)
	if err != nil {
		return 0, err
	}
	return acl.Check(c, &a, i.Type == fs.Directory, want), nil
}

// need fails with Access unless all of want are granted.
func (f *FS) need(ctx context.Context, r *meta.Reader, c *fs.Caller, i *meta.Inode, want fs.Rights) error {
	if c.BypassTraverse && i.Type == fs.Directory {
		want &^= fs.RightTraverse
	}
	got, err := f.granted(ctx, r, c, i, want)
	if err == nil && got&want != want {
		err = fs.Access
	}
	return err
}

func owns(c *fs.Caller, i *meta.Inode) bool {
	return c.Cred.Superuser || c.Cred.IsUser(i.Owner) || c.Cred.Privileges.Has(identity.FileFullAccess)
}

// mayRemove checks the right to take a name of child out of dir.
func (f *FS) mayRemove(ctx context.Context, r *meta.Reader, c *fs.Caller, dir, child *meta.Inode) error {
	if err := f.need(ctx, r, c, dir, fs.RightTraverse); err != nil {
		return err
	}
	got, err := f.granted(ctx, r, c, dir, fs.RightDeleteChild)
	if err != nil {
		return err
	}
	if got == 0 {
		if child.ACL == (meta.ACLHash{}) {
			return fs.Access
		}
		if err := f.need(ctx, r, c, child, fs.RightDelete); err != nil {
			return err
		}
	}
	if dir.Mode&fs.ModeSticky != 0 && !owns(c, dir) && !owns(c, child) {
		return fs.Perm
	}
	return nil
}

// mayAdd checks the right to put a name into dir.
func (f *FS) mayAdd(ctx context.Context, r *meta.Reader, c *fs.Caller, dir *meta.Inode, isDir bool) error {
	want := fs.RightAddFile | fs.RightTraverse
	if isDir {
		want = fs.RightAddSubdir | fs.RightTraverse
	}
	return f.need(ctx, r, c, dir, want)
}

// Access implements fs.Permissions.
func (f *FS) Access(ctx context.Context, c *fs.Caller, n fs.Node, want fs.Rights) (fs.Rights, error) {
	var got fs.Rights
	err := f.load(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		var err error
		got, err = f.granted(ctx, r, c, i, want)
		if err != nil {
			return err
		}
		if asked := want & (fs.RightDelete | fs.RightReadAttr); i.Parent != 0 && (asked&^got != 0 || asked&fs.RightDelete != 0) {
			more, sticky, err := f.fromParent(ctx, r, c, i)
			if err != nil {
				return err
			}
			got |= more & asked
			if sticky {
				got &^= fs.RightDelete // whatever the ACL says
			}
		}
		return nil
	})
	if err == nil && (!n.Live() || c.ReadOnly) {
		got &^= changing
	}
	return got & want, wrap("access", n, "", err)
}

// fromParent answers what the rights on the primary directory of i add, and
// whether its sticky bit keeps the caller from deleting.
func (f *FS) fromParent(ctx context.Context, r *meta.Reader, c *fs.Caller, i *meta.Inode) (more fs.Rights, sticky bool, err error) {
	p, err := f.inode(ctx, r, i.Parent)
	if err != nil {
		if fs.KindOf(err) == fs.Stale {
			return 0, false, nil // outside the snapshot
		}
		return 0, false, err
	}
	list, err := f.granted(ctx, r, c, p, fs.RightList)
	if err != nil {
		return 0, false, err
	}
	if list != 0 {
		more |= fs.RightReadAttr
	}
	if f.mayRemove(ctx, r, c, p, i) == nil {
		more |= fs.RightDelete
	}
	return more, p.Mode&fs.ModeSticky != 0 && !owns(c, p) && !owns(c, i), nil
}

// changing are the rights that a read-only way in takes away.
const changing = fs.RightModify | fs.RightExtend | fs.RightWriteEA | fs.RightWriteAttr | fs.RightDeleteChild |
	fs.RightDelete | fs.RightWriteACL | fs.RightChangeOwner | fs.RightWriteGroup

// GetACL implements fs.Permissions.
func (f *FS) GetACL(ctx context.Context, c *fs.Caller, n fs.Node) (fs.ACL, error) {
	var a fs.ACL
	err := f.load(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		if err := f.need(ctx, r, c, i, fs.RightReadACL); err != nil {
			return err
		}
		var err error
		if a, err = f.aclOf(ctx, r, i); err != nil {
			return err
		}
		if a.ModeOnly {
			a.Entries = acl.FromMode(i.Owner, i.Group, i.Mode, i.Type == fs.Directory)
		}
		return nil
	})
	return a, wrap("get ACL", n, "", err)
}

// SetACL implements fs.Permissions.
func (f *FS) SetACL(ctx context.Context, c *fs.Caller, n fs.Node, a *fs.ACL) (fs.Changed, error) {
	var ch fs.Changed
	err := writable(c, n)
	if err == nil {
		err = acl.Validate(a) // what it lets through can be encoded and decoded
	}
	if err == nil {
		err = f.change(ctx, n.ID, func(tx *meta.Txn, i *meta.Inode) error {
			if err := f.need(ctx, tx.View(), c, i, fs.RightWriteACL); err != nil {
				return err
			}
			if err := f.checkWORM(i); err != nil {
				return err
			}
			b := before(i)
			set := *a
			if set.Owner == identity.Unset {
				set.Owner = i.Owner
			}
			if set.Group == identity.Unset {
				set.Group = i.Group
			}
			if set.Owner != i.Owner || set.Group != i.Group {
				owner, group := identity.Unset, identity.Unset
				if set.Owner != i.Owner {
					owner = set.Owner
				}
				if set.Group != i.Group {
					group = set.Group
				}
				old, err := f.aclOf(ctx, tx.View(), i)
				if err != nil {
					return err
				}
				if !acl.MayChown(c, &old, i.Type == fs.Directory, owner, group) {
					return fs.Perm
				}
			}
			set.Mode = i.Mode
			if a.ModeOnly {
				set.Mode = a.Mode
			}
			if err := f.putACL(ctx, tx, i, &set); err != nil {
				return err
			}
			touchAttr(i, f.now())
			ch = changed(b, i)
			return tx.PutInode(ctx, i)
		})
	}
	if err == nil {
		f.hub.object(fs.EventACL, n.ID)
	}
	return ch, wrap("set ACL", n, "", err)
}

// change runs fn on an inode in a transaction. fn puts what it changed.
func (f *FS) change(ctx context.Context, id fs.FileID, fn func(tx *meta.Txn, i *meta.Inode) error) error {
	update := func() error {
		return f.db.Update(ctx, func(tx *meta.Txn) error {
			i, err := f.inode(ctx, tx, id)
			if err != nil {
				return err
			}
			return fn(tx, i)
		})
	}
	if f.io.Active(id) {
		// What is buffered would otherwise overrule what is set now.
		return f.io.Exclusive(ctx, id, update)
	}
	return update()
}
