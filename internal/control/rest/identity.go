package rest

import (
	"errors"
	"strconv"

	"manifold/internal/config"
	"manifold/internal/identity"
)

// identityText is an identity in its older form: by type and value.
type identityText struct {
	Type  string `json:"id_type"`
	Value string `json:"id_value"`
}

// textOf names a principal. What it looks up it remembers for this request:
// a listing has few owners.
func (q *request) textOf(a identity.AuthID) (identityText, error) {
	if t, ok := q.names[a]; ok {
		return t, nil
	}
	t, err := q.lookUp(a)
	if err != nil {
		return t, err
	}
	if q.names == nil {
		q.names = map[identity.AuthID]identityText{}
	}
	q.names[a] = t
	return t, nil
}

func (q *request) lookUp(a identity.AuthID) (identityText, error) {
	switch a.Kind() {
	case identity.KindUID:
		n, _ := a.POSIX()
		return identityText{"NFS_UID", strconv.FormatUint(uint64(n), 10)}, nil
	case identity.KindGID:
		n, _ := a.POSIX()
		return identityText{"NFS_GID", strconv.FormatUint(uint64(n), 10)}, nil
	case identity.KindLocal:
		u, err := q.s.o.Principals.User(q.Context(), uint64(a))
		if err == nil {
			return identityText{"LOCAL_USER", u.Value.Name}, nil
		}
		if !errors.Is(err, config.ErrNotFound) {
			return identityText{}, err
		}
		g, err := q.s.o.Principals.Group(q.Context(), uint64(a))
		if err == nil {
			return identityText{"LOCAL_GROUP", g.Value.Name}, nil
		}
		if !errors.Is(err, config.ErrNotFound) {
			return identityText{}, err
		}
		// Its account is gone; the id stays what it was.
		return identityText{"LOCAL_USER", strconv.FormatUint(uint64(a), 10)}, nil
	}
	name, ok := internalNames[a]
	if !ok {
		name = strconv.FormatUint(uint64(a), 10)
	}
	return identityText{"INTERNAL", name}, nil
}

var internalNames = map[identity.AuthID]string{
	identity.System:                "System",
	identity.SystemGroup:           "System Group",
	identity.Everyone:              "Everyone",
	identity.CreatorOwner:          "Creator Owner",
	identity.CreatorGroup:          "Creator Group",
	identity.OwnerRights:           "Owner Rights",
	identity.AuthenticatedUsers:    "Authenticated Users",
	identity.BuiltinAdministrators: "Builtin Administrators", identity.BuiltinUsers: "Builtin Users", identity.BuiltinGuests: "Builtin Guests",
	identity.FileOwner: "File Owner",
	identity.FileGroup: "File Group Owner",
}

// principal finds whom a text names.
func (q *request) principal(t identityText) (identity.AuthID, error) {
	number := func() (uint32, error) {
		n, err := strconv.ParseUint(t.Value, 10, 32)
		if err != nil {
			return 0, badRequest("decode_error", "%s is %q, want a 32-bit number", t.Type, t.Value)
		}
		return uint32(n), nil
	}
	switch t.Type {
	case "NFS_UID":
		n, err := number()
		return identity.UID(n), err
	case "NFS_GID":
		n, err := number()
		return identity.GID(n), err
	case "LOCAL_USER":
		id, err := q.localUser(t.Value)
		return identity.AuthID(id), err
	case "LOCAL_GROUP":
		g, err := q.s.o.Principals.GroupByName(q.Context(), t.Value)
		if n, perr := strconv.ParseUint(t.Value, 10, 32); perr == nil && errors.Is(err, config.ErrNotFound) {
			g, err = q.s.o.Principals.Group(q.Context(), n)
		}
		if errors.Is(err, config.ErrNotFound) {
			return 0, badRequest("cred_invalid_local_user_error", "there is no local group %q", t.Value)
		}
		return identity.AuthID(g.ID), err
	case "SMB_SID":
		return q.ofSID(t.Value)
	case "INTERNAL":
		for a, name := range internalNames {
			if name == t.Value {
				return a, nil
			}
		}
	}
	return 0, badRequest("cred_identity_not_supported_error", "no identity of type %q and value %q can be named here", t.Type, t.Value)
}

// localUser finds a user by name, else by id.
func (q *request) localUser(s string) (uint64, error) {
	u, err := q.s.o.Principals.UserByName(q.Context(), s)
	if n, perr := strconv.ParseUint(s, 10, 32); perr == nil && errors.Is(err, config.ErrNotFound) {
		u, err = q.s.o.Principals.User(q.Context(), n)
	}
	if errors.Is(err, config.ErrNotFound) {
		return 0, badRequest("cred_invalid_local_user_error", "there is no local user %q", s)
	}
	return u.ID, err
}
