package config

import (
	"context"
	"errors"

	"manifold/internal/identity"
	"manifold/internal/kv"
)

func setMember(tx kv.Txn, group, user uint64, in bool) {
	if in {
		tx.Put(key(tagMembers, group, user), nil)
		tx.Put(key(tagMemberOf, user, group), nil)
		return
	}
	tx.Delete(key(tagMembers, group, user))
	tx.Delete(key(tagMemberOf, user, group))
}

// pairs lists the second numbers of the keys tag|first|second.
func pairs(ctx context.Context, r kv.Reader, tag byte, first uint64) ([]uint64, error) {
	var out []uint64
	for e, err := range r.Scan(ctx, kv.Prefix(key(tag, first)), kv.ScanOptions{KeysOnly: true}) {
		if err != nil {
			return nil, err
		}
		out = append(out, lastNumber(e.Key))
	}
	return out, nil
}

// AddMember puts a user into a group; being in it already is no error.
func (s *Store) AddMember(ctx context.Context, group, user uint64) error {
	return s.change(ctx, func(tx kv.Txn) error {
		if _, err := get[Group](ctx, tx, kindGroup, group); err != nil {
			return err
		}
		if _, err := get[User](ctx, tx, kindUser, user); err != nil {
			return err
		}
		setMember(tx, group, user, true)
		return nil
	})
}

// RemoveMember takes a user out of a group that is not its primary one. The
// built-in administrator stays in Administrators.
func (s *Store) RemoveMember(ctx context.Context, group, user uint64) error {
	return s.change(ctx, func(tx kv.Txn) error {
		u, err := get[User](ctx, tx, kindUser, user)
		if err != nil {
			return err
		}
		if _, err := tx.Get(ctx, key(tagMembers, group, user)); errors.Is(err, kv.ErrNotFound) {
			return ErrNotFound
		} else if err != nil {
			return err
		}
		if u.Value.PrimaryGroup == group {
			return ErrInUse
		}
		if user == uint64(identity.Admin) && group == uint64(identity.Administrators) {
			return ErrBuiltIn
		}
		setMember(tx, group, user, false)
		return nil
	})
}

// Members lists the users of a group.
func (s *Store) Members(ctx context.Context, group uint64) ([]Record[User], error) {
	var out []Record[User]
	err := s.view(ctx, func(r kv.Reader) error {
		if _, err := get[Group](ctx, r, kindGroup, group); err != nil {
			return err
		}
		ids, err := pairs(ctx, r, tagMembers, group)
		if err != nil {
			return err
		}
		for _, id := range ids {
			rec, err := get[User](ctx, r, kindUser, id)
			if err != nil {
				return err
			}
			out = append(out, rec)
		}
		return nil
	})
	return out, err
}

// GroupsOf lists the groups of a user, its primary group among them; none for
// an id that is no local user.
func (s *Store) GroupsOf(ctx context.Context, user uint64) ([]Record[Group], error) {
	var out []Record[Group]
	err := s.view(ctx, func(r kv.Reader) error {
		ids, err := pairs(ctx, r, tagMemberOf, user)
		if err != nil {
			return err
		}
		for _, id := range ids {
			rec, err := get[Group](ctx, r, kindGroup, id)
			if err != nil {
				return err
			}
			out = append(out, rec)
		}
		return nil
	})
	return out, err
}
