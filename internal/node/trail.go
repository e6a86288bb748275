package node

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"manifold/internal/config"
	"manifold/internal/control/audit"
	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/identity/attempts"
	"manifold/internal/wire/nfs3"
	"manifold/internal/wire/nfs3/mount"
	"manifold/internal/wire/s3"
	"manifold/internal/wire/smb"
)

// trail records what clients do that the file system is not told of: they sign
// in, connect and leave, and change what a protocol keeps itself. Nil records
// nothing.
type trail struct {
	log      *audit.Log
	files    *audit.FS
	config   *config.Store
	attempts *attempts.Table
}

// on tells whether anything is to be recorded, at the cost of one atomic load.
func (t *trail) on() bool { return t != nil && t.log.Enabled() }

// Statuses of records that are on no file.
const (
	auditOK     = "ok"
	auditCred   = "cred"
	auditDenied = "fs_access_denied"
	// Of what has no name, and of what is no more though somebody has a handle.
	auditMissing = "fs_no_such_entry"
	auditStale   = "fs_no_such_inode"
)

// login records an attempt to sign in by the name that was given. Who has
// failed too often leaves one record a minute.
func (t *trail) login(protocol, name string, client netip.Addr, ok bool, method string) {
	if !t.on() {
		return
	}
	r := audit.Record{Client: client, Protocol: protocol, Operation: protocol + "_login", Status: auditOK, Extra: name, Extra2: method}
	if !ok {
		r.Status = auditCred
	}
	// Asked with a time limit: who logs in waits for it.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if u, err := t.config.UserByName(ctx, name); err == nil {
		r.User = identity.AuthID(u.ID)
	}
	t.attempt(&r)
}

// attempt stores the record of an attempt to sign in.
func (t *trail) attempt(r *audit.Record) {
	if r.Status != auditOK && t.attempts.Exhausted(attempts.Of(r.Extra, r.Client)) {
		t.log.Once(r)
		return
	}
	t.log.Add(r)
}

// smb records what the SMB server tells.
func (t *trail) smb(a smb.Access) {
	if !t.on() {
		return
	}
	r := audit.Record{Client: a.Client.Addr(), Protocol: "smb", Status: auditOK, Extra: a.User}
	if a.Cred != nil {
		r.User = a.Cred.User
	}
	switch a.Kind {
	case smb.SignIn:
		if a.Cred == nil || a.Refused {
			t.login("smb", a.User, r.Client, false, "")
			return
		}
		r.Operation = "smb_login"
	case smb.SignOff:
		r.Operation = "smb_logoff"
	case smb.Connect:
		r.Operation, r.Extra = "share_connect", a.Share
		if a.Refused {
			r.Status = auditDenied
			if a.Missing {
				r.Status = auditMissing
			}
			t.log.Once(&r) // nothing slows a client that asks for share after share
			return
		}
	case smb.Disconnect:
		r.Operation, r.Extra = "share_disconnect", a.Share
	case smb.Watch:
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		t.files.Watched(ctx, &fs.Caller{Cred: a.Cred, Protocol: fs.ProtoSMB, Client: a.Client}, a.Node)
		return
	}
	t.log.Add(&r)
}

// mount records calls of MOUNT.
func (t *trail) mount(o *nfs3.Op) {
	if o.Program != "mount" || !t.on() {
		return
	}
	r := audit.Record{User: o.User, Client: o.Client, Protocol: "nfsv3", Status: auditOK, Extra: o.Export}
	switch o.Name {
	case "MNT":
		r.Operation = "nfs_mount"
	case "UMNT", "UMNTALL":
		r.Operation = "nfs_umount"
	default:
		return
	}
	switch mount.Status(o.Status) {
	case mount.OK:
		t.log.Add(&r)
		return
	case mount.ErrNoEnt:
		r.Status = auditMissing
	case mount.ErrNotDir:
		r.Status = "fs_not_a_directory"
	case mount.ErrAcces, mount.ErrPerm:
		r.Status = auditDenied
	default:
		r.Status = "fs_error"
	}
	t.log.Once(&r)
}

// nfs records calls that the NFS server refused by itself: the handle leads
// nowhere any more, or its export does not admit the caller.
func (t *trail) nfs(o *nfs3.Op) {
	if !o.Refused || !t.on() {
		return
	}
	r := audit.Record{
		User: o.User, Client: o.Client, Protocol: "nfsv3", Operation: auditTable["nfs"][o.Name].first(), FileID: uint64(o.File),
		Extra: strconv.FormatUint(uint64(o.File), 10), // tells repetitions apart
	}
	switch o.Status {
	case nfs3.ErrStale, nfs3.ErrBadHandle:
		r.Status = auditStale
	case nfs3.ErrAcces, nfs3.ErrPerm:
		r.Status = auditDenied
	default:
		r.Status = "fs_error"
	}
	if r.Operation != "" {
		t.log.Once(&r)
	}
}

// s3 records requests of S3. Every request is signed, so the first with a key
// from a client counts as signing in, and the first again after a minute.
func (t *trail) s3(e *s3.Event) {
	if !t.on() {
		return
	}
	r := audit.Record{Client: e.Client.Addr().Unmap(), Protocol: "s3", Status: auditOK}
	if e.Caller == nil {
		if e.Status == http.StatusForbidden || e.AccessKey != "" && e.Status >= 400 {
			r.Operation, r.Status, r.Extra, r.Extra2 = "s3_login", auditCred, e.AccessKey, e.Code
			t.log.Once(&r)
		}
		return
	}
	r.User = e.Caller.Cred.User
	if e.AccessKey != "" {
		in := r
		in.Operation, in.Extra = "s3_login", e.AccessKey
		t.log.Once(&in)
	}
	op, ofBucket := s3Bucket[e.Operation]
	switch {
	case e.Denied: // the file system was not asked
		if !ofBucket {
			op = auditTable["s3"][e.Operation].first()
		}
	case !ofBucket:
		return
	}
	r.Operation, r.Status, r.Extra, r.Extra2 = op, s3Status(e), e.Bucket, e.Key
	if e.Denied {
		r.Status = auditDenied
	}
	if r.Operation == "" {
		return
	}
	if e.Denied {
		t.log.Once(&r)
	} else {
		t.log.Add(&r)
	}
}

func s3Status(e *s3.Event) string {
	switch {
	case e.Status < 400 && e.Status != 0:
		return auditOK
	case e.Status == http.StatusForbidden:
		return auditDenied
	case e.Status == http.StatusNotFound:
		return auditMissing
	case e.Status == http.StatusConflict:
		return "fs_entry_exists"
	}
	return "fs_error"
}

// snapshot records what the server does to snapshots by itself.
func (t *trail) snapshot(op, name string, err error) {
	if !t.on() {
		return
	}
	r := audit.Record{User: identity.System, Protocol: "internal", Operation: op, Status: auditOK, Extra: name}
	if err != nil {
		r.Status = "fs_error"
	}
	t.log.Add(&r)
}

// scheduled is the file system as snapshot policies use it.
type scheduled struct {
	fs.FS
	trail *trail
}

// TakeSnapshot implements schedule.FS.
func (s scheduled) TakeSnapshot(ctx context.Context, spec fs.SnapshotSpec) (fs.Snapshot, error) {
	x, err := s.FS.TakeSnapshot(ctx, spec)
	name := x.Name
	if err != nil {
		name = spec.Suffix
	}
	s.trail.snapshot("snapshot_create_snapshot", name, err)
	return x, err
}
