package smb

import (
	"context"
	"slices"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// Parts of a security descriptor.
const (
	secOwner = 1
	secGroup = 2
	secDACL  = 4
	secSACL  = 8
)

const (
	sdOwnerDefaulted    = 0x0001
	sdDACLPresent       = 0x0004
	sdDACLDefaulted     = 0x0008
	sdAutoInheritReq    = 0x0100
	sdDACLAutoInherited = 0x0400
	sdDACLProtected     = 0x1000
	sdSelfRelative      = 0x8000
)

// encodeSD renders the parts of an ACL that were asked for, [MS-DTYP] 2.4.6.
func encodeSD(ctx context.Context, p Principals, a *fs.ACL, parts uint32) []byte {
	b := make([]byte, 20, 256)
	b[0] = 1
	control := uint16(sdSelfRelative)
	if parts&secDACL != 0 {
		control |= uint16(a.Control) & (sdDACLPresent | sdDACLDefaulted | sdDACLAutoInherited | sdDACLProtected)
		if len(a.Entries) > 0 {
			control |= sdDACLPresent
		}
	}
	if parts&secOwner != 0 {
		le.PutUint32(b[4:], uint32(len(b)))
		b = append(b, p.SID(ctx, a.Owner)...)
	}
	if parts&secGroup != 0 {
		le.PutUint32(b[8:], uint32(len(b)))
		b = append(b, p.SID(ctx, a.Group)...)
	}
	if parts&secDACL != 0 && isNoList(a) {
		control |= sdDACLPresent
	} else if parts&secDACL != 0 && control&sdDACLPresent != 0 {
		at := len(b)
		le.PutUint32(b[16:], uint32(at))
		b = append(b, 2, 0, 0, 0)
		b = le.AppendUint32(b, uint32(len(a.Entries)))
		for _, e := range a.Entries {
			s := p.SID(ctx, e.Trustee)
			b = append(b, byte(e.Type), byte(e.Flags))
			b = le.AppendUint16(b, uint16(8+len(s)))
			b = le.AppendUint32(b, uint32(e.Rights)&^uint32(fs.RightWriteGroup))
			b = append(b, s...)
		}
		le.PutUint16(b[at+2:], uint16(len(b)-at))
	}
	le.PutUint16(b[2:], control)
	return b
}

// noList stands for a descriptor whose list is absent, which grants everything:
// unlike a list with that one entry it is not marked as present.
func noList() []fs.ACE { return []fs.ACE{{Trustee: identity.Everyone, Rights: fileAll}} }

func isNoList(a *fs.ACL) bool {
	return a.Control&fs.ACLPresent == 0 && len(a.Entries) == 1 && a.Entries[0] == noList()[0]
}

// decodeSD reads a security descriptor. has tells which parts are there. With
// keep, automatic inheritance is marked though the client did not ask for it.
func decodeSD(ctx context.Context, p Principals, b []byte, keep bool) (a fs.ACL, has uint32, st status) {
	if len(b) < 20 || b[0] != 1 {
		return a, 0, stInvalidSD
	}
	control := le.Uint16(b[2:])
	who := func(at int) (identity.AuthID, bool, status) {
		off := le.Uint32(b[at:])
		if off == 0 {
			return 0, false, stOK
		}
		if int64(off) > int64(len(b)) {
			return 0, false, stInvalidSD
		}
		n := sidLen(b[off:])
		if n == 0 {
			return 0, false, stInvalidSID
		}
		id, err := p.AuthID(ctx, b[off:int(off)+n])
		if err != nil {
			return 0, false, stInvalidOwner
		}
		return id, true, stOK
	}
	var ok bool
	if a.Owner, ok, st = who(4); st != stOK {
		return a, 0, st
	} else if ok {
		has |= secOwner
	}
	if a.Group, ok, st = who(8); st != stOK {
		return a, 0, st
	} else if ok {
		has |= secGroup
	}
	a.Control = fs.ACLControl(control) & (fs.ACLDefaulted | fs.ACLProtected)
	if (keep || control&sdAutoInheritReq != 0) && control&sdDACLAutoInherited != 0 {
		a.Control |= fs.ACLAutoInherited
	}
	off := le.Uint32(b[16:])
	if control&sdDACLPresent == 0 {
		return a, has, stOK
	}
	has |= secDACL
	if off == 0 { // no list: everybody may everything
		a.Entries = noList()
		return a, has, stOK
	}
	a.Control |= fs.ACLPresent
	if int64(off)+8 > int64(len(b)) {
		return a, 0, stInvalidACL
	}
	l := b[off:]
	size, count := int(le.Uint16(l[2:])), int(le.Uint16(l[4:]))
	if size < 8 || size > len(l) || count > fs.MaxACEs {
		return a, 0, stInvalidACL
	}
	l = l[8:size]
	a.Entries = make([]fs.ACE, 0, count)
	for range count {
		if len(l) < 16 {
			return a, 0, stInvalidACL
		}
		n := int(le.Uint16(l[2:]))
		if n < 16 || n > len(l) {
			return a, 0, stInvalidACL
		}
		e := fs.ACE{Type: fs.ACEType(l[0]), Flags: fs.ACEFlags(l[1]), Rights: fs.Rights(mapGeneric(le.Uint32(l[4:])) & fileAll)}
		k := sidLen(l[8:n])
		if k == 0 {
			return a, 0, stInvalidSID
		}
		if l[0] <= 1 {
			id, err := p.AuthID(ctx, l[8:8+k])
			if err != nil {
				return a, 0, stInvalidSID
			}
			e.Trustee = id
			a.Entries = append(a.Entries, e)
		}
		l = l[n:]
	}
	return a, has, stOK
}

func (r *request) querySecurity(o *open, parts uint32, limit int) ([]byte, status) {
	if o.handle == nil {
		return nil, stInvalidDeviceRequest
	}
	if parts&secSACL != 0 {
		return nil, stAccessDenied
	}
	if parts&(secOwner|secGroup|secDACL) != 0 && o.granted&fs.RightReadACL == 0 {
		return nil, stAccessDenied
	}
	// The right was checked at open, and holds whatever happened since.
	a, err := r.c.s.o.FS.GetACL(r.ctx, r.system(), o.node)
	if err != nil {
		return nil, statusOf(err)
	}
	b := encodeSD(r.ctx, r.c.s.o.Principals, &a, parts)
	if len(b) > limit {
		r.errData = le.AppendUint32(nil, uint32(len(b)))
		return nil, stBufferTooSmall
	}
	return b, stOK
}

func (r *request) setSecurity(o *open, parts uint32, b []byte) status {
	if o.handle == nil {
		return stInvalidDeviceRequest
	}
	need := fs.Rights(0)
	if parts&(secOwner|secGroup) != 0 {
		need |= fs.RightChangeOwner
	}
	if parts&secDACL != 0 {
		need |= fs.RightWriteACL
	}
	if parts&secSACL != 0 || o.granted&need != need {
		return stAccessDenied
	}
	return r.setSD(context.WithoutCancel(r.ctx), o, b, parts, false)
}

// onlyParts takes out of a descriptor what is not to be set: its SIDs are nothing
// to us, and would be given numbers.
func onlyParts(b []byte, parts uint32) []byte {
	if len(b) < 20 {
		return b
	}
	b = slices.Clone(b)
	if parts&secOwner == 0 {
		le.PutUint32(b[4:], 0)
	}
	if parts&secGroup == 0 {
		le.PutUint32(b[8:], 0)
	}
	if parts&secDACL == 0 {
		le.PutUint16(b[2:], le.Uint16(b[2:])&^sdDACLPresent)
	}
	return b
}

// system acts for the caller with the rights that its open was granted, whatever
// it may do by itself.
func (r *request) system() *fs.Caller {
	return &fs.Caller{Cred: systemCred, Protocol: fs.ProtoSMB, Client: r.caller.Client, OnBehalf: r.caller.Cred}
}

var systemCred = identity.SystemCredential()

// setSD applies a security descriptor; with fresh all of its parts.
func (r *request) setSD(ctx context.Context, o *open, b []byte, parts uint32, fresh bool) status {
	if !fresh {
		b = onlyParts(b, parts)
	}
	a, has, st := decodeSD(ctx, r.c.s.o.Principals.For(r.caller.Cred), b, r.tree.shared().KeepInheritedFlag)
	if st != stOK {
		return st
	}
	if fresh {
		parts = has
	}
	f := r.c.s.o.FS
	old, err := f.GetACL(ctx, fs.SystemCaller(), o.node)
	if err != nil {
		return statusOf(err)
	}
	set := fs.ACL{Control: old.Control, Entries: old.Entries, Mode: old.Mode}
	if parts&secOwner != 0 && has&secOwner != 0 && a.Owner != old.Owner {
		set.Owner = a.Owner
	}
	if parts&secGroup != 0 && has&secGroup != 0 && a.Group != old.Group {
		set.Group = a.Group
	}
	if parts&secDACL != 0 {
		set.Control, set.Entries = a.Control, a.Entries
		if has&secDACL == 0 {
			set.Entries = noList()
		}
	} else if set.Owner == 0 && set.Group == 0 {
		return stOK
	}
	cred := r.caller.Cred
	may := cred.Superuser || cred.Privileges.Has(identity.ChangeOwner)
	if !may && (set.Owner != 0 && !cred.IsUser(set.Owner) || set.Group != 0 && !cred.InGroup(set.Group)) {
		return stInvalidOwner // taking is allowed, giving is not
	}
	// What the open was granted is what counts.
	c := r.system()
	c.ReadOnly = r.caller.ReadOnly
	if _, err := f.SetACL(ctx, c, o.node, &set); err != nil {
		return statusOf(err)
	}
	return stOK
}
