package config

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"manifold/internal/identity"
	"manifold/internal/kv"
)

// User is a local user. Its id is its RID and its identity.AuthID.
type User struct {
	Name string `json:"name"`
	// PrimaryGroup is the id of a local group.
	PrimaryGroup uint64 `json:"primary_group"`
	// UID makes the user one with a POSIX user; nil is none.
	UID *uint32 `json:"uid,omitempty"`
	// Home is an absolute path, "" for none.
	Home string `json:"home,omitempty"`
}

// Group is a local group.
type Group struct {
	Name string `json:"name"`
	// GID makes the group one with a POSIX group; nil is none.
	GID *uint32 `json:"gid,omitempty"`
}

// firstRID is the lowest id for users and groups that are not built in.
const firstRID = 1000

// builtIn tells whether the principal came with the system.
func builtIn(id uint64) bool { return id < firstRID }

// fold makes names that count as the same equal.
func fold(name string) string { return norm.NFC.String(strings.ToLower(norm.NFC.String(name))) }

func checkName(name string) error {
	switch {
	case name == "":
		return invalid("name", "must not be empty")
	case len(name) > 256:
		return invalid("name", "is longer than 256 bytes")
	case !utf8.ValidString(name):
		return invalid("name", "is not UTF-8")
	case strings.TrimSpace(name) != name:
		return invalid("name", "begins or ends with white space")
	case strings.ContainsAny(name, "\"/\\[]:;|=,+*?<>@") || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return invalid("name", "contains a character that account names may not have: %q", name)
	}
	return nil
}

func number(n *uint32) string {
	if n == nil {
		return ""
	}
	return strconv.FormatUint(uint64(*n), 10)
}

func (s *Store) checkUser(ctx context.Context, r kv.Reader, u User) error {
	if err := checkName(u.Name); err != nil {
		return err
	}
	if u.Home != "" && !strings.HasPrefix(u.Home, "/") {
		return invalid("home_directory", "%q is not an absolute path", u.Home)
	}
	if _, err := get[Group](ctx, r, kindGroup, u.PrimaryGroup); errors.Is(err, ErrNotFound) {
		return invalid("primary_group", "there is no group %d", u.PrimaryGroup)
	} else if err != nil {
		return err
	}
	return nil
}

// AddUser creates a user. password may be "": then nobody can log in as it.
func (s *Store) AddUser(ctx context.Context, u User, password string) (Record[User], error) {
	var rec Record[User]
	var h hashes
	if password != "" {
		if err := CheckPassword(password); err != nil {
			return rec, err
		}
		var err error
		if h, err = s.hashes(password); err != nil {
			return rec, err
		}
	}
	err := s.change(ctx, func(tx kv.Txn) error {
		id, err := next(ctx, tx, counterRID, firstRID)
		if err != nil {
			return err
		}
		rec, err = s.putNewUser(ctx, tx, id, u, h)
		return err
	})
	return rec, err
}

func (s *Store) putNewUser(ctx context.Context, tx kv.Txn, id uint64, u User, h hashes) (Record[User], error) {
	if err := s.checkUser(ctx, tx, u); err != nil {
		return Record[User]{}, err
	}
	if err := claim(ctx, tx, spacePrincipal, fold(u.Name), id); err != nil {
		return Record[User]{}, err
	}
	if err := rename(ctx, tx, spaceUID, "", number(u.UID), id); err != nil {
		return Record[User]{}, err
	}
	if h.slow != "" {
		if err := s.putPassword(ctx, tx, id, 0, h); err != nil {
			return Record[User]{}, err
		}
	}
	setMember(tx, u.PrimaryGroup, id, true)
	return put(ctx, tx, kindUser, id, u)
}

// User answers one user.
func (s *Store) User(ctx context.Context, id uint64) (Record[User], error) {
	return read[User](ctx, s, kindUser, id)
}

// UserByName answers the user of that name, in any case.
func (s *Store) UserByName(ctx context.Context, name string) (Record[User], error) {
	return byName[User](ctx, s, kindUser, spacePrincipal, fold(name))
}

// UserByUID answers the user that is one with a POSIX user.
func (s *Store) UserByUID(ctx context.Context, uid uint32) (Record[User], error) {
	return byName[User](ctx, s, kindUser, spaceUID, number(&uid))
}

func byName[T any](ctx context.Context, s *Store, k kind, sp space, name string) (Record[T], error) {
	var rec Record[T]
	err := s.view(ctx, func(r kv.Reader) error {
		id, err := owner(ctx, r, sp, name)
		if err != nil {
			return err
		}
		rec, err = get[T](ctx, r, k, id)
		return err
	})
	return rec, err
}

// Users lists users by id, those greater than after; limit 0 is all.
func (s *Store) Users(ctx context.Context, after uint64, limit int) ([]Record[User], error) {
	return list[User](ctx, s, kindUser, after, limit)
}

// ModifyUser replaces a user whose revision is as given (0: any). A new
// primary group gains the user as member; the old one keeps it.
func (s *Store) ModifyUser(ctx context.Context, id, revision uint64, u User) (Record[User], error) {
	var rec Record[User]
	err := s.change(ctx, func(tx kv.Txn) error {
		old, err := forChange[User](ctx, tx, kindUser, id, revision)
		if err != nil {
			return err
		}
		if builtIn(id) && fold(old.Value.Name) != fold(u.Name) {
			return invalid("name", "%s is built in and keeps its name", old.Value.Name)
		}
		if err := s.checkUser(ctx, tx, u); err != nil {
			return err
		}
		if err := rename(ctx, tx, spacePrincipal, fold(old.Value.Name), fold(u.Name), id); err != nil {
			return err
		}
		if err := rename(ctx, tx, spaceUID, number(old.Value.UID), number(u.UID), id); err != nil {
			return err
		}
		if u.PrimaryGroup != old.Value.PrimaryGroup {
			setMember(tx, u.PrimaryGroup, id, true)
		}
		rec, err = put(ctx, tx, kindUser, id, u)
		return err
	})
	return rec, err
}

// DeleteUser removes a user, its password, tokens and memberships. Files, ACEs
// and records that name its id keep it; the id is not used again.
func (s *Store) DeleteUser(ctx context.Context, id, revision uint64) error {
	return s.change(ctx, func(tx kv.Txn) error {
		old, err := forChange[User](ctx, tx, kindUser, id, revision)
		if err != nil {
			return err
		}
		if builtIn(id) {
			return ErrBuiltIn
		}
		tx.Delete(recordKey(kindUser, id))
		tx.Delete(recordKey(kindPassword, id))
		tx.Delete(recordKey(kindSSHKeys, id))
		tx.Delete(nameKey(spacePrincipal, fold(old.Value.Name)))
		if err := rename(ctx, tx, spaceUID, number(old.Value.UID), "", id); err != nil {
			return err
		}
		groups, err := pairs(ctx, tx, tagMemberOf, id)
		if err != nil {
			return err
		}
		for _, g := range groups {
			setMember(tx, g, id, false)
		}
		tokens, err := pairs(ctx, tx, tagUserTokens, id)
		if err != nil {
			return err
		}
		for _, t := range tokens {
			if err := dropToken(ctx, tx, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// AddGroup creates a group.
func (s *Store) AddGroup(ctx context.Context, g Group) (Record[Group], error) {
	var rec Record[Group]
	err := s.change(ctx, func(tx kv.Txn) error {
		id, err := next(ctx, tx, counterRID, firstRID)
		if err != nil {
			return err
		}
		rec, err = putNewGroup(ctx, tx, id, g)
		return err
	})
	return rec, err
}

func putNewGroup(ctx context.Context, tx kv.Txn, id uint64, g Group) (Record[Group], error) {
	if err := checkName(g.Name); err != nil {
		return Record[Group]{}, err
	}
	if err := claim(ctx, tx, spacePrincipal, fold(g.Name), id); err != nil {
		return Record[Group]{}, err
	}
	if err := rename(ctx, tx, spaceGID, "", number(g.GID), id); err != nil {
		return Record[Group]{}, err
	}
	return put(ctx, tx, kindGroup, id, g)
}

// Group answers one group.
func (s *Store) Group(ctx context.Context, id uint64) (Record[Group], error) {
	return read[Group](ctx, s, kindGroup, id)
}

// GroupByName answers the group of that name, in any case.
func (s *Store) GroupByName(ctx context.Context, name string) (Record[Group], error) {
	return byName[Group](ctx, s, kindGroup, spacePrincipal, fold(name))
}

// GroupByGID answers the group that is one with a POSIX group.
func (s *Store) GroupByGID(ctx context.Context, gid uint32) (Record[Group], error) {
	return byName[Group](ctx, s, kindGroup, spaceGID, number(&gid))
}

// Groups lists groups by id, those greater than after; limit 0 is all.
func (s *Store) Groups(ctx context.Context, after uint64, limit int) ([]Record[Group], error) {
	return list[Group](ctx, s, kindGroup, after, limit)
}

// ModifyGroup replaces a group whose revision is as given (0: any).
func (s *Store) ModifyGroup(ctx context.Context, id, revision uint64, g Group) (Record[Group], error) {
	var rec Record[Group]
	err := s.change(ctx, func(tx kv.Txn) error {
		old, err := forChange[Group](ctx, tx, kindGroup, id, revision)
		if err != nil {
			return err
		}
		if builtIn(id) && fold(old.Value.Name) != fold(g.Name) {
			return invalid("name", "%s is built in and keeps its name", old.Value.Name)
		}
		if err := checkName(g.Name); err != nil {
			return err
		}
		if err := rename(ctx, tx, spacePrincipal, fold(old.Value.Name), fold(g.Name), id); err != nil {
			return err
		}
		if err := rename(ctx, tx, spaceGID, number(old.Value.GID), number(g.GID), id); err != nil {
			return err
		}
		rec, err = put(ctx, tx, kindGroup, id, g)
		return err
	})
	return rec, err
}

// DeleteGroup removes a group that is nobody's primary group.
func (s *Store) DeleteGroup(ctx context.Context, id, revision uint64) error {
	return s.change(ctx, func(tx kv.Txn) error {
		old, err := forChange[Group](ctx, tx, kindGroup, id, revision)
		if err != nil {
			return err
		}
		if builtIn(id) {
			return ErrBuiltIn
		}
		users, err := pairs(ctx, tx, tagMembers, id)
		if err != nil {
			return err
		}
		for _, u := range users {
			rec, err := get[User](ctx, tx, kindUser, u)
			if err != nil {
				return err
			}
			if rec.Value.PrimaryGroup == id {
				return ErrInUse
			}
			setMember(tx, id, u, false)
		}
		tx.Delete(recordKey(kindGroup, id))
		tx.Delete(nameKey(spacePrincipal, fold(old.Value.Name)))
		return rename(ctx, tx, spaceGID, number(old.Value.GID), "", id)
	})
}

// IsAdministrator tells whether a user is in the Administrators group.
func (s *Store) IsAdministrator(ctx context.Context, user uint64) (bool, error) {
	in := false
	err := s.view(ctx, func(r kv.Reader) error {
		_, err := r.Get(ctx, key(tagMembers, uint64(identity.Administrators), user))
		in = err == nil
		if errors.Is(err, kv.ErrNotFound) {
			return nil
		}
		return err
	})
	return in, err
}
