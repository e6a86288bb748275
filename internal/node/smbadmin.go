package node

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"slices"
	"strconv"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/control/audit"
	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/identity/sid"
	"manifold/internal/wire/smb"
	"manifold/internal/wire/smb/rpc"
)

// smbAdmin is what administrators do over named pipes of SMB: the verbs of the
// REST API, behind the same privileges and in the same log.
type smbAdmin struct {
	config *config.Store
	fs     fs.FS
	trail  *audit.Log
	log    *slog.Logger
}

// actPrivileges are those that allow what.
var actPrivileges = map[rpc.Act]control.Privilege{
	rpc.SeeShares: control.SMBShareRead, rpc.ChangeShares: control.SMBShareWrite,
	rpc.SeeSessions: control.SMBSessionRead, rpc.CloseSessions: control.SMBSessionWrite,
	rpc.SeeFiles: control.SMBFileHandleRead, rpc.CloseFiles: control.SMBFileHandleWrite,
	rpc.SeeAccounts: control.UserRead,
}

// May implements smb.Admin.
func (a smbAdmin) May(ctx context.Context, c *fs.Caller, act rpc.Act) bool {
	p, known := actPrivileges[act]
	if !known || c.Cred.User == identity.Guest || c.Cred.User == identity.Unset {
		return false
	}
	roles, err := a.config.Roles(ctx)
	if err != nil {
		a.log.WarnContext(ctx, "roles cannot be read", "error", err)
		return false
	}
	for i := range roles {
		if slices.ContainsFunc(roles[i].Value.Members, c.Cred.Is) && slices.Contains(control.RolePrivileges(&roles[i]), p) {
			return true
		}
	}
	return false
}

// done records what a caller has done, or tried.
func (a smbAdmin) done(c *fs.Caller, operation, what string, err error) {
	status := "ok"
	switch {
	case err == nil:
	case errors.Is(err, rpc.ErrNotFound):
		status = "smb_share_doesnt_exist"
	case errors.Is(err, rpc.ErrExists):
		status = "smb_share_already_exists"
	case errors.Is(err, rpc.ErrPath):
		status = "fs_no_such_entry"
	default:
		status = "http_bad_request"
	}
	a.trail.Verb(control.AuditEvent{User: c.Cred.User, Client: c.Client.Addr(), Operation: operation, Status: status, Extra: what})
}

// Closed implements smb.Admin.
func (a smbAdmin) Closed(_ context.Context, c *fs.Caller, act rpc.Act, id uint64) {
	operation := "smb_close_session"
	if act == rpc.CloseFiles {
		operation = "smb_close_file"
	}
	a.done(c, operation, strconv.FormatUint(id, 10), nil)
}

// shareFault renders what the configuration says of a change.
func shareFault(err error) error {
	var invalid *config.InvalidError
	switch {
	case errors.Is(err, config.ErrNotFound):
		return rpc.ErrNotFound
	case errors.Is(err, config.ErrExists):
		return rpc.ErrExists
	case errors.As(err, &invalid), errors.Is(err, config.ErrLimit):
		return rpc.ErrInvalid
	}
	return err
}

// directory finds that of a share, as its caller sees it.
func (a smbAdmin) directory(ctx context.Context, c *fs.Caller, p string) (string, error) {
	p = path.Clean(p)
	if !path.IsAbs(p) {
		return "", rpc.ErrInvalid
	}
	found, err := a.fs.Resolve(ctx, c, p, fs.AttrType)
	switch {
	case err == nil && found.Type == fs.Directory:
		return p, nil
	case err == nil, fs.KindOf(err) == fs.NotExist, fs.KindOf(err) == fs.NotDir:
		return "", rpc.ErrPath
	case fs.KindOf(err) == fs.Access, fs.KindOf(err) == fs.Perm:
		return "", rpc.ErrAccess
	}
	return "", err
}

const shareAll = config.ShareRead | config.ShareWrite | config.ShareChangePermissions

// sharePermissions reads those of a descriptor.
func sharePermissions(acl *fs.ACL) ([]config.SharePermission, error) {
	out := []config.SharePermission{}
	for _, e := range acl.Entries {
		if e.Type != fs.ACEAllow && e.Type != fs.ACEDeny {
			return nil, rpc.ErrInvalid
		}
		if r := e.Rights & shareAll; r != 0 {
			out = append(out, config.SharePermission{Deny: e.Type == fs.ACEDeny, Trustee: e.Trustee, Rights: r})
		}
	}
	return out, nil
}

// shareACL renders the permissions of a share.
func shareACL(v *config.Share) *fs.ACL {
	a := &fs.ACL{Control: fs.ACLPresent}
	for _, p := range v.Permissions {
		e := fs.ACE{Type: fs.ACEAllow, Trustee: p.Trustee, Rights: p.Rights}
		if p.Deny {
			e.Type = fs.ACEDeny
		}
		a.Entries = append(a.Entries, e)
	}
	return a
}

// AddShare implements smb.Admin. Where nothing is said, everybody with an
// account may read through it and administrators may do everything, as with a
// share that is made on Windows' command line.
func (a smbAdmin) AddShare(ctx context.Context, c *fs.Caller, s *smb.Share) (err error) {
	defer func() { a.done(c, "smb_create_share", s.Name, err) }()
	v := config.Share{
		Name: s.Name, Description: s.Description, FileMode: config.DefaultShareFileMode, DirMode: config.DefaultShareDirMode,
		Permissions: []config.SharePermission{{Trustee: identity.Administrators, Rights: shareAll}, {Trustee: identity.Everyone, Rights: config.ShareRead}},
		Network:     []config.NetworkPermission{{Rights: shareAll}},
	}
	if s.ACL != nil {
		if v.Permissions, err = sharePermissions(s.ACL); err != nil {
			return err
		}
	}
	if v.FSPath, err = a.directory(ctx, c, s.Path); err != nil {
		return err
	}
	_, err = a.config.AddShare(ctx, v)
	return shareFault(err)
}

// ChangeShare implements smb.Admin.
func (a smbAdmin) ChangeShare(ctx context.Context, c *fs.Caller, name string, x smb.ShareChange) (err error) {
	defer func() { a.done(c, "smb_modify_share", name, err) }()
	old, err := a.config.ShareByName(ctx, name)
	if err != nil {
		return shareFault(err)
	}
	v := old.Value
	if x.Description != nil {
		v.Description = *x.Description
	}
	if x.AccessBasedEnumeration != nil {
		v.AccessBasedEnumeration = *x.AccessBasedEnumeration
	}
	if x.Encrypt != nil {
		v.RequireEncryption = *x.Encrypt
	}
	if x.ACL != nil {
		if v.Permissions, err = sharePermissions(x.ACL); err != nil {
			return err
		}
	}
	if x.Path != nil && *x.Path != v.FSPath {
		if v.FSPath, err = a.directory(ctx, c, *x.Path); err != nil {
			return err
		}
	}
	_, err = a.config.ModifyShare(ctx, old.ID, old.Revision, v)
	return shareFault(err)
}

// DeleteShare implements smb.Admin.
func (a smbAdmin) DeleteShare(ctx context.Context, c *fs.Caller, name string) (err error) {
	defer func() { a.done(c, "smb_delete_share", name, err) }()
	old, err := a.config.ShareByName(ctx, name)
	if err != nil {
		return shareFault(err)
	}
	return shareFault(a.config.DeleteShare(ctx, old.ID, old.Revision))
}

// smbAccounts are the local users and groups.
type smbAccounts struct {
	config *config.Store
	domain sid.SID
}

// Domain implements rpc.Accounts.
func (a smbAccounts) Domain() sid.SID { return a.domain }

// Accounts implements rpc.Accounts.
func (a smbAccounts) Accounts(ctx context.Context) ([]rpc.Account, error) {
	users, err := a.config.Users(ctx, 0, 0)
	if err != nil {
		return nil, err
	}
	groups, err := a.config.Groups(ctx, 0, 0)
	if err != nil {
		return nil, err
	}
	guests := slices.ContainsFunc(a.config.ShareTable().All(), (*config.ShareInForce).Guests)
	out := make([]rpc.Account, 0, len(users)+len(groups))
	for _, u := range users {
		out = append(out, rpc.Account{
			RID: uint32(u.ID), Name: u.Value.Name, PrimaryGroup: uint32(u.Value.PrimaryGroup), Home: u.Value.Home,
			Disabled: u.ID == uint64(identity.Guest) && !guests,
		})
	}
	for _, g := range groups {
		out = append(out, rpc.Account{RID: uint32(g.ID), Name: g.Value.Name, Group: true})
	}
	slices.SortFunc(out, func(x, y rpc.Account) int { return int(int64(x.RID) - int64(y.RID)) })
	return out, nil
}

// Members implements rpc.Accounts.
func (a smbAccounts) Members(ctx context.Context, group uint32) ([]uint32, error) {
	list, err := a.config.Members(ctx, uint64(group))
	if errors.Is(err, config.ErrNotFound) {
		return nil, rpc.ErrNotFound
	}
	out := make([]uint32, 0, len(list))
	for _, u := range list {
		out = append(out, uint32(u.ID))
	}
	return out, err
}

// Groups implements rpc.Accounts.
func (a smbAccounts) Groups(ctx context.Context, user uint32) ([]uint32, error) {
	list, err := a.config.GroupsOf(ctx, uint64(user))
	out := make([]uint32, 0, len(list))
	for _, g := range list {
		out = append(out, uint32(g.ID))
	}
	return out, err
}
