package config

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"

	"manifold/internal/identity"
	"manifold/internal/kv"
)

// Role gives privileges to its members. What privileges are called is up to
// the caller; their order is kept.
type Role struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Privileges  []string `json:"privileges,omitempty"`
	// Members are users and groups of any domain, in the order they came.
	Members []identity.AuthID `json:"members,omitempty"`
}

// Built-in roles. Only their members are stored: what they allow belongs to
// whoever knows the privileges.
const (
	RoleAdministrators     uint64 = 1
	RoleDataAdministrators uint64 = 2
	RoleObservers          uint64 = 3
)

const (
	firstRole = 100
	// MaxRoles and MaxRoleMembers bound what every sign-in reads.
	MaxRoles       = 1000
	MaxRoleMembers = 1000
)

var builtInRoles = map[uint64]string{
	RoleAdministrators: "Administrators", RoleDataAdministrators: "Data-Administrators", RoleObservers: "Observers",
}

// defaultRole is a built-in role that nobody has changed yet.
func defaultRole(id uint64) Record[Role] {
	r := Record[Role]{ID: id, Value: Role{Name: builtInRoles[id]}}
	if id == RoleAdministrators {
		r.Value.Members = []identity.AuthID{identity.Admin, identity.Administrators}
	}
	return r
}

// IsBuiltInRole tells whether a role came with the system.
func IsBuiltInRole(id uint64) bool { return builtInRoles[id] != "" }

func getRole(ctx context.Context, r kv.Reader, id uint64) (Record[Role], error) {
	rec, err := get[Role](ctx, r, kindRole, id)
	if errors.Is(err, ErrNotFound) && IsBuiltInRole(id) {
		return defaultRole(id), nil
	}
	return rec, err
}

func roleByName(ctx context.Context, r kv.Reader, name string) (Record[Role], error) {
	for id, n := range builtInRoles {
		if fold(n) == fold(name) {
			return getRole(ctx, r, id)
		}
	}
	id, err := owner(ctx, r, spaceRole, fold(name))
	if err != nil {
		return Record[Role]{}, err
	}
	return getRole(ctx, r, id)
}

// Roles lists all roles, the built-in ones first.
func (s *Store) Roles(ctx context.Context) ([]Record[Role], error) {
	var out []Record[Role]
	err := s.view(ctx, func(r kv.Reader) error {
		for id := RoleAdministrators; id <= RoleObservers; id++ {
			rec, err := getRole(ctx, r, id)
			if err != nil {
				return err
			}
			out = append(out, rec)
		}
		for rec, err := range all[Role](ctx, r, kindRole, RoleObservers, 0) {
			if err != nil {
				return err
			}
			out = append(out, rec)
		}
		return nil
	})
	return out, err
}

// RoleByName answers the role of that name, in any case.
func (s *Store) RoleByName(ctx context.Context, name string) (Record[Role], error) {
	var rec Record[Role]
	err := s.view(ctx, func(r kv.Reader) (err error) {
		rec, err = roleByName(ctx, r, name)
		return err
	})
	return rec, err
}

func checkRole(v *Role) error {
	switch {
	case v.Name == "" || len(v.Name) > 128 || strings.ContainsFunc(v.Name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' }):
		return invalid("name", "%q: want up to 128 bytes without white space", v.Name)
	case len(v.Description) > 4096:
		return invalid("description", "is longer than 4096 bytes")
	}
	seen := map[string]bool{}
	for _, p := range v.Privileges {
		if seen[p] {
			return invalid("privileges", "%s is there twice", p)
		}
		seen[p] = true
	}
	return nil
}

// AddRole creates a role without members.
func (s *Store) AddRole(ctx context.Context, v Role) (Record[Role], error) {
	var rec Record[Role]
	if err := checkRole(&v); err != nil {
		return rec, err
	}
	v.Members = nil
	err := s.update(ctx, func(tx kv.Txn) error {
		switch _, err := roleByName(ctx, tx, v.Name); {
		case err == nil:
			return ErrExists
		case !errors.Is(err, ErrNotFound):
			return err
		}
		n := 0
		for _, err := range all[Role](ctx, tx, kindRole, RoleObservers, 0) {
			if err != nil {
				return err
			}
			if n++; n >= MaxRoles {
				return ErrLimit
			}
		}
		id, err := next(ctx, tx, counterRole, firstRole)
		if err != nil {
			return err
		}
		if err := claim(ctx, tx, spaceRole, fold(v.Name), id); err != nil {
			return err
		}
		rec, err = put(ctx, tx, kindRole, id, v)
		return err
	})
	return rec, err
}

// changeRole applies fn to a role whose revision is as given (0: any).
func (s *Store) changeRole(ctx context.Context, name string, revision uint64, fn func(id uint64, v *Role) error) (Record[Role], error) {
	var rec Record[Role]
	err := s.update(ctx, func(tx kv.Txn) error {
		old, err := roleByName(ctx, tx, name)
		if err != nil {
			return err
		}
		if revision != 0 && revision != old.Revision {
			return ErrStale
		}
		v := old.Value
		v.Members = slices.Clone(v.Members)
		if err := fn(old.ID, &v); err != nil {
			return err
		}
		rec, err = put(ctx, tx, kindRole, old.ID, v)
		return err
	})
	return rec, err
}

// ModifyRole replaces description and privileges of a role that is not built in.
func (s *Store) ModifyRole(ctx context.Context, name string, revision uint64, description string, privileges []string) (Record[Role], error) {
	return s.changeRole(ctx, name, revision, func(id uint64, v *Role) error {
		if IsBuiltInRole(id) {
			return ErrBuiltIn
		}
		v.Description, v.Privileges = description, slices.Clone(privileges)
		return checkRole(v)
	})
}

// DeleteRole removes a role that is not built in.
func (s *Store) DeleteRole(ctx context.Context, name string, revision uint64) error {
	return s.update(ctx, func(tx kv.Txn) error {
		old, err := roleByName(ctx, tx, name)
		switch {
		case err != nil:
			return err
		case IsBuiltInRole(old.ID):
			return ErrBuiltIn
		case revision != 0 && revision != old.Revision:
			return ErrStale
		}
		tx.Delete(recordKey(kindRole, old.ID))
		return rename(ctx, tx, spaceRole, fold(old.Value.Name), "", old.ID)
	})
}

// AddRoleMember assigns a role; having it already is no error.
func (s *Store) AddRoleMember(ctx context.Context, name string, member identity.AuthID) error {
	_, err := s.changeRole(ctx, name, 0, func(_ uint64, v *Role) error {
		switch {
		case slices.Contains(v.Members, member):
		case len(v.Members) >= MaxRoleMembers:
			return ErrLimit
		default:
			v.Members = append(v.Members, member)
		}
		return nil
	})
	return err
}

// RemoveRoleMember takes a role away. The built-in administrator keeps his.
func (s *Store) RemoveRoleMember(ctx context.Context, name string, member identity.AuthID) error {
	_, err := s.changeRole(ctx, name, 0, func(id uint64, v *Role) error {
		i := slices.Index(v.Members, member)
		switch {
		case i < 0:
			return ErrNotFound
		case id == RoleAdministrators && member == identity.Admin:
			return ErrBuiltIn
		}
		v.Members = slices.Delete(v.Members, i, i+1)
		return nil
	})
	return err
}

// Attributes are what is kept of an identity of any domain.
type Attributes struct {
	Home string `json:"home"`
}

// AttributesOf answers the attributes of an identity, empty if it has none.
func (s *Store) AttributesOf(ctx context.Context, a identity.AuthID) (Attributes, error) {
	rec, err := read[Attributes](ctx, s, kindAttributes, uint64(a))
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return rec.Value, err
}

// SetAttributes replaces the attributes of an identity; nil removes them.
func (s *Store) SetAttributes(ctx context.Context, a identity.AuthID, v *Attributes) error {
	if v != nil && v.Home != "" && !strings.HasPrefix(v.Home, "/") {
		return invalid("home_directory", "%q is not an absolute path", v.Home)
	}
	return s.update(ctx, func(tx kv.Txn) error {
		if v == nil {
			tx.Delete(recordKey(kindAttributes, uint64(a)))
			return nil
		}
		_, err := put(ctx, tx, kindAttributes, uint64(a), *v)
		return err
	})
}
