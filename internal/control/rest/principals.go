package rest

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/identity"
)

// identityRecord names a principal by all that is known of it; null is unknown.
type identityRecord struct {
	Domain string  `json:"domain"`
	AuthID *string `json:"auth_id"`
	UID    *uint32 `json:"uid"`
	GID    *uint32 `json:"gid"`
	SID    *string `json:"sid"`
	Name   *string `json:"name"`
}

// identityQuery names a principal by any one of its names.
type identityQuery struct {
	Domain string `json:"domain,omitempty"`
	AuthID u64    `json:"auth_id,omitzero"`
	UID    u64    `json:"uid,omitzero"`
	GID    u64    `json:"gid,omitzero"`
	SID    string `json:"sid,omitempty"`
	Name   string `json:"name,omitempty"`
}

type expandRequest struct {
	ID identityQuery `json:"id"`
}

type expanded struct {
	ID          identityRecord   `json:"id"`
	Type        string           `json:"type"`
	SMB         identityRecord   `json:"smb_id"`
	NFS         identityRecord   `json:"nfs_id"`
	Equivalents []identityRecord `json:"equivalent_ids"`
	Groups      []identityRecord `json:"group_ids"`
}

type identityAttributes struct {
	HomeDirectory *string `json:"home_directory"`
}

func identityRoutes() []route {
	const (
		read, write = control.IdentityRead, control.IdentityWrite
		attributes  = "/v1/auth/identities/{id}/attributes"
	)
	rs := []route{
		{Method: "GET", Path: attributes, Privilege: read, Summary: "What is kept of an identity of any domain.", Out: identityAttributes{}, handle: getIdentityAttributes},
		{Method: "PUT", Path: attributes, Privilege: write, Summary: "Replace what is kept of an identity.", In: identityAttributes{}, Out: identityAttributes{}, handle: putIdentityAttributes},
		{Method: "DELETE", Path: attributes, Privilege: write, Summary: "Remove what is kept of an identity.", handle: deleteIdentityAttributes},
		{Method: "POST", Path: "/v1/auth/clear-cache", Privilege: control.AuthCacheWrite, Summary: "Forget which passwords were found right.", handle: clearCache},
	}
	for _, at := range []string{"/v1/identity", "/v1/auth/identity"} {
		rs = append(rs,
			route{Method: "POST", Path: at + "/find", Privilege: read, Summary: "Complete an identity that is named by any one of its names.", In: identityQuery{}, Out: identityRecord{}, handle: findIdentity},
			route{Method: "POST", Path: at + "/expand", Privilege: read, Summary: "Everybody that an identity is, and its groups.", In: expandRequest{}, Out: expanded{}, handle: expandIdentity})
	}
	for _, r := range []struct {
		path  string
		named func(string) identityQuery
	}{
		{"/v1/auth/auth-ids/{id}/", func(s string) identityQuery { return identityQuery{Name: "auth_id:" + s} }},
		{"/v1/auth/posix-uids/{id}/", func(s string) identityQuery { return identityQuery{Name: "uid:" + s} }},
		{"/v1/auth/posix-gids/{id}/", func(s string) identityQuery { return identityQuery{Name: "gid:" + s} }},
		{"/v1/auth/sids/{id}/", func(s string) identityQuery { return identityQuery{SID: s} }},
		{"/v1/auth/local-username/{username}/", func(s string) identityQuery { return identityQuery{Domain: domainLocal, Name: s} }},
	} {
		rs = append(rs, route{Method: "GET", Path: r.path + "related-identities/", Privilege: read, Summary: "Equivalents and groups of an identity, for old clients.",
			Out: []identityText{}, handle: func(q *request) (reply, error) { return related(q, r.named(q.params[0])) }})
	}
	return rs
}

// Domains of principals.
const (
	domainLocal     = "LOCAL"
	domainNone      = "API_NULL_DOMAIN"
	domainUser      = "POSIX_USER"
	domainGroup     = "POSIX_GROUP"
	domainWorld     = "WORLD"
	domainCreator   = "API_CREATOR_DOMAIN"
	domainInternal  = "API_INTERNAL_DOMAIN"
	domainDirectory = "ACTIVE_DIRECTORY"
)

const (
	sidUID = "S-1-5-88-1-"
	sidGID = "S-1-5-88-2-"
)

var wellKnownSIDs = map[identity.AuthID]string{
	identity.Everyone: "S-1-1-0", identity.CreatorOwner: "S-1-3-0", identity.CreatorGroup: "S-1-3-1", identity.OwnerRights: "S-1-3-4",
	identity.AuthenticatedUsers: "S-1-5-11", identity.BuiltinAdministrators: "S-1-5-32-544", identity.BuiltinUsers: "S-1-5-32-545", identity.BuiltinGuests: "S-1-5-32-546",
}

// identityOf completes a principal, with names.
func (q *request) identityOf(a identity.AuthID) (identityRecord, error) {
	id := strconv.FormatUint(uint64(a), 10)
	r := identityRecord{Domain: domainInternal, AuthID: &id}
	sid := wellKnownSIDs[a]
	switch a.Kind() {
	case identity.KindUID, identity.KindGID:
		n, _ := a.POSIX()
		if a.Kind() == identity.KindUID {
			r.Domain, r.UID, sid = domainUser, &n, sidUID+strconv.FormatUint(uint64(n), 10)
		} else {
			r.Domain, r.GID, sid = domainGroup, &n, sidGID+strconv.FormatUint(uint64(n), 10)
		}
	case identity.KindLocal:
		c, err := q.cluster()
		if err != nil {
			return r, err
		}
		r.Domain, sid = domainLocal, c.SID(a)
		if err := q.completeLocal(a, &r); err != nil {
			return r, err
		}
	case identity.KindWorld:
		r.Domain = domainWorld
	case identity.KindMapped:
		r.Domain = domainDirectory
	}
	switch a {
	case identity.CreatorOwner, identity.CreatorGroup, identity.OwnerRights:
		r.Domain = domainCreator
	}
	if name := internalNames[a]; name != "" {
		r.Name = &name
	}
	if sid != "" {
		r.SID = &sid
	}
	return r, nil
}

func (q *request) completeLocal(a identity.AuthID, r *identityRecord) error {
	u, err := q.s.o.Principals.User(q.Context(), uint64(a))
	if err == nil {
		r.Name, r.UID = &u.Value.Name, u.Value.UID
		return nil
	}
	if !errors.Is(err, config.ErrNotFound) {
		return err
	}
	g, err := q.s.o.Principals.Group(q.Context(), uint64(a))
	if err == nil {
		r.Name, r.GID = &g.Value.Name, g.Value.GID
		return nil
	}
	if errors.Is(err, config.ErrNotFound) {
		return nil // its account is gone; the id stays what it was
	}
	return err
}

func (q *request) identitiesOf(as []identity.AuthID) ([]identityRecord, error) {
	out := []identityRecord{}
	for _, a := range as {
		r, err := q.identityOf(a)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// resolveIdentity finds whom a client means.
func (q *request) resolveIdentity(in identityQuery) (identity.AuthID, error) {
	switch {
	case in.AuthID.Set:
		if in.AuthID.N == 0 {
			return 0, badIdentity("auth_id:0")
		}
		return identity.AuthID(in.AuthID.N), nil
	case in.SID != "":
		return q.ofSID(in.SID)
	case in.UID.Set:
		if in.UID.N >= 1<<32-1 {
			return 0, badRequest("decode_error", "uid %d is not a 32-bit number", in.UID.N)
		}
		return identity.UID(uint32(in.UID.N)), nil
	case in.GID.Set:
		if in.GID.N >= 1<<32-1 {
			return 0, badRequest("decode_error", "gid %d is not a 32-bit number", in.GID.N)
		}
		return identity.GID(uint32(in.GID.N)), nil
	case in.Name == "" && in.Domain == domainWorld:
		return identity.Everyone, nil
	case in.Name == "":
		return 0, badRequest("decode_error", "an identity needs one of auth_id, sid, uid, gid or name")
	}
	if in.Domain == "" || in.Domain == domainNone {
		return q.ofText(in.Name)
	}
	return q.ofName(in.Domain, in.Name)
}

func badIdentity(text string) error {
	return badRequest("cred_identity_not_supported_error", "%q names no identity", text)
}

// ofText reads the text forms of an identity, as local:jane or uid:1000.
func (q *request) ofText(s string) (identity.AuthID, error) {
	kind, value, ok := strings.Cut(s, ":")
	if !ok {
		return q.ofName("", s)
	}
	var in identityQuery
	switch kind {
	case "local":
		return q.ofName(domainLocal, value)
	case "world":
		return q.ofName(domainWorld, value)
	case "name":
		return q.ofName("", value)
	case "sid":
		return q.ofSID(value)
	case "uid", "gid", "auth_id":
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return 0, badIdentity(s)
		}
		switch kind {
		case "uid":
			in.UID = num(n)
		case "gid":
			in.GID = num(n)
		default:
			in.AuthID = num(n)
		}
		return q.resolveIdentity(in)
	}
	return 0, badIdentity(s)
}

// ofName finds a principal by name; without a domain wherever there is one.
func (q *request) ofName(domain, name string) (identity.AuthID, error) {
	if domain == "" || domain == domainLocal {
		u, err := q.s.o.Principals.UserByName(q.Context(), name)
		if err == nil {
			return identity.AuthID(u.ID), nil
		}
		if errors.Is(err, config.ErrNotFound) {
			var g config.Record[config.Group]
			if g, err = q.s.o.Principals.GroupByName(q.Context(), name); err == nil {
				return identity.AuthID(g.ID), nil
			}
		}
		if !errors.Is(err, config.ErrNotFound) {
			return 0, err
		}
	}
	if domain != domainLocal {
		for a, n := range internalNames {
			if strings.EqualFold(n, name) {
				return a, nil
			}
		}
	}
	if domain == "" || domain == domainLocal {
		return 0, badRequest("cred_invalid_local_user_error", "there is no local user or group %q", name)
	}
	return 0, badIdentity(name)
}

func (q *request) ofSID(s string) (identity.AuthID, error) {
	for a, known := range wellKnownSIDs {
		if known == s {
			return a, nil
		}
	}
	bad := badRequest("cred_invalid_sid_error", "%q is no SID of this system", s)
	for prefix, of := range map[string]func(uint32) identity.AuthID{sidUID: identity.UID, sidGID: identity.GID} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			n, err := strconv.ParseUint(rest, 10, 32)
			if err != nil {
				return 0, bad
			}
			return of(uint32(n)), nil
		}
	}
	c, err := q.cluster()
	if err != nil {
		return 0, err
	}
	rid, err := strconv.ParseUint(s[strings.LastIndexByte(s, '-')+1:], 10, 31)
	if a := identity.AuthID(rid); err == nil && a.Kind() == identity.KindLocal && c.SID(a) == s {
		return a, nil
	}
	return 0, bad
}

func findIdentity(q *request) (reply, error) {
	in, err := body[identityQuery](q)
	if err != nil {
		return reply{}, err
	}
	a, err := q.resolveIdentity(in)
	if err != nil {
		return reply{}, err
	}
	r, err := q.identityOf(a)
	return reply{body: r}, err
}

// expansion is everybody that a principal is.
type expansion struct {
	kind         string
	smb, nfs     identity.AuthID
	same, groups []identity.AuthID
}

func (q *request) expandID(a identity.AuthID) (expansion, error) {
	x := expansion{kind: "UNKNOWN", smb: a, nfs: a}
	local, err := q.localOf(a)
	if err != nil {
		return x, err
	}
	switch {
	case local.user != nil:
		x.kind, x.smb = "USER", identity.AuthID(local.user.ID)
		if n := local.user.Value.UID; n != nil {
			x.nfs = identity.UID(*n)
		}
		gs, err := q.s.o.Principals.GroupsOf(q.Context(), local.user.ID)
		if err != nil {
			return x, err
		}
		for _, g := range gs {
			x.groups = append(x.groups, identity.AuthID(g.ID))
			if n := g.Value.GID; n != nil {
				x.groups = append(x.groups, identity.GID(*n))
			}
		}
	case local.group != nil:
		x.kind, x.smb = "GROUP", identity.AuthID(local.group.ID)
		if n := local.group.Value.GID; n != nil {
			x.nfs = identity.GID(*n)
		}
	case a.Kind() == identity.KindUID:
		x.kind = "USER"
	case a.Kind() == identity.KindGID || a == identity.Everyone:
		x.kind = "GROUP"
	}
	for _, o := range []identity.AuthID{x.smb, x.nfs} {
		if o != a && !slices.Contains(x.same, o) {
			x.same = append(x.same, o)
		}
	}
	return x, nil
}

type localPrincipal struct {
	user  *config.Record[config.User]
	group *config.Record[config.Group]
}

// localOf finds the local account that a principal is one with, if any.
func (q *request) localOf(a identity.AuthID) (localPrincipal, error) {
	var l localPrincipal
	p := q.s.o.Principals
	n, _ := a.POSIX()
	var err error
	switch a.Kind() {
	case identity.KindUID:
		var u config.Record[config.User]
		if u, err = p.UserByUID(q.Context(), n); err == nil {
			l.user = &u
		}
	case identity.KindGID:
		var g config.Record[config.Group]
		if g, err = p.GroupByGID(q.Context(), n); err == nil {
			l.group = &g
		}
	case identity.KindLocal:
		var u config.Record[config.User]
		if u, err = p.User(q.Context(), uint64(a)); err == nil {
			l.user = &u
		} else if errors.Is(err, config.ErrNotFound) {
			var g config.Record[config.Group]
			if g, err = p.Group(q.Context(), uint64(a)); err == nil {
				l.group = &g
			}
		}
	}
	if errors.Is(err, config.ErrNotFound) {
		err = nil
	}
	return l, err
}

func expandIdentity(q *request) (reply, error) {
	in, err := body[expandRequest](q)
	if err != nil {
		return reply{}, err
	}
	a, err := q.resolveIdentity(in.ID)
	if err != nil {
		return reply{}, err
	}
	x, err := q.expandID(a)
	if err != nil {
		return reply{}, err
	}
	out := expanded{Type: x.kind}
	if out.ID, err = q.identityOf(a); err != nil {
		return reply{}, err
	}
	if out.SMB, err = q.identityOf(x.smb); err != nil {
		return reply{}, err
	}
	if out.NFS, err = q.identityOf(x.nfs); err != nil {
		return reply{}, err
	}
	if out.Equivalents, err = q.identitiesOf(x.same); err != nil {
		return reply{}, err
	}
	out.Groups, err = q.identitiesOf(x.groups)
	return reply{body: out}, err
}

func related(q *request, in identityQuery) (reply, error) {
	a, err := q.resolveIdentity(in)
	if err != nil {
		return reply{}, err
	}
	x, err := q.expandID(a)
	if err != nil {
		return reply{}, err
	}
	out := []identityText{}
	for _, o := range slices.Concat([]identity.AuthID{a}, x.same, x.groups) {
		t, err := q.textOf(o)
		if err != nil {
			return reply{}, err
		}
		out = append(out, t)
	}
	return reply{body: out}, nil
}

func (q *request) authID() (identity.AuthID, error) {
	n, ok := q.id(0)
	if !ok || n == 0 {
		return 0, badIdentity("auth_id:" + q.params[0])
	}
	return identity.AuthID(n), nil
}

func (q *request) showIdentityAttributes(a identity.AuthID) (reply, error) {
	v, err := q.s.o.Identities.AttributesOf(q.Context(), a)
	var out identityAttributes
	if v.Home != "" {
		out.HomeDirectory = &v.Home
	}
	return reply{body: out}, err
}

func getIdentityAttributes(q *request) (reply, error) {
	a, err := q.authID()
	if err != nil {
		return reply{}, err
	}
	return q.showIdentityAttributes(a)
}

func putIdentityAttributes(q *request) (reply, error) {
	in, err := body[identityAttributes](q)
	if err != nil {
		return reply{}, err
	}
	a, err := q.authID()
	if err != nil {
		return reply{}, err
	}
	var v config.Attributes
	if in.HomeDirectory != nil {
		v.Home = *in.HomeDirectory
	}
	if err := q.s.o.Identities.SetAttributes(q.Context(), a, &v); err != nil {
		return reply{}, err
	}
	return q.showIdentityAttributes(a)
}

func deleteIdentityAttributes(q *request) (reply, error) {
	a, err := q.authID()
	if err != nil {
		return reply{}, err
	}
	return reply{}, q.s.o.Identities.SetAttributes(q.Context(), a, nil)
}

func clearCache(q *request) (reply, error) {
	q.s.o.Identities.ForgetLogins()
	return reply{}, nil
}
