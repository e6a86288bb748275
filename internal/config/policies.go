package config

import (
	"context"
	"errors"
	"time"

	"manifold/internal/kv"
)

// Frequency of a schedule.
type Frequency uint8

// Frequencies; stored.
const (
	Monthly Frequency = iota + 1
	DailyOrWeekly
	HourlyOrLess
)

// LastDay is the day of the month that is its last.
const LastDay = 128

// Schedule says when a policy takes snapshots, by the clocks of one place.
type Schedule struct {
	Zone      string    `json:"zone"` // IANA name
	Frequency Frequency `json:"frequency"`
	// Days of the week, bit 0 is Sunday; all for every day. Not for Monthly.
	Days uint8 `json:"days,omitempty"`
	// DayOfMonth is 1 to 27 or LastDay, for Monthly.
	DayOfMonth int `json:"day_of_month,omitempty"`
	// Hour and Minute of the day; not for HourlyOrLess.
	Hour   int `json:"hour"`
	Minute int `json:"minute"`
	// Start and End of the daily window in minutes of the day, for HourlyOrLess.
	// A window that ends before it starts goes over midnight.
	Start int `json:"start,omitempty"`
	End   int `json:"end,omitempty"`
	// Every is how many minutes lie between two snapshots, for HourlyOrLess.
	Every int `json:"every,omitempty"`
	// InHours: Every was given in hours.
	InHours bool `json:"in_hours,omitempty"`
}

// Policy takes snapshots of one directory by a schedule.
type Policy struct {
	Name string `json:"name"`
	// Template of the snapshots' names; "" is the default.
	Template string   `json:"template,omitempty"`
	Dir      uint64   `json:"dir"`
	Schedule Schedule `json:"schedule"`
	// TimeToLive of the snapshots as given, as "15days"; "" is for ever.
	TimeToLive string `json:"time_to_live,omitempty"`
	Enabled    bool   `json:"enabled"`
	// LockKey locks the snapshots; 0 is none.
	LockKey uint64   `json:"lock_key,omitempty"`
	Owners  []string `json:"owners,omitempty"`
	// Since is when the schedule began to count: creation or last change.
	Since time.Time `json:"since"`
	// Done is the last time for which a snapshot was taken or passed over.
	Done time.Time `json:"done,omitzero"`
	// Claim is who takes a snapshot now.
	Claim PolicyClaim `json:"claim,omitzero"`
}

// PolicyClaim keeps two schedulers from taking the snapshot of one due time.
type PolicyClaim struct {
	By    string    `json:"by"`
	Due   time.Time `json:"due"`
	Until time.Time `json:"until"` // another may claim it then
}

// MaxPolicies bounds what the scheduler holds.
const MaxPolicies = 1000

// Policies lists the snapshot policies by id.
func (s *Store) Policies(ctx context.Context) ([]Record[Policy], error) {
	return list[Policy](ctx, s, kindPolicy, 0, 0)
}

// Policy answers one policy.
func (s *Store) Policy(ctx context.Context, id uint64) (Record[Policy], error) {
	return read[Policy](ctx, s, kindPolicy, id)
}

func (s *Store) checkPolicy(ctx context.Context, r kv.Reader, p *Policy) error {
	switch {
	case p.Name == "" || len(p.Name) > 200:
		return invalid("policy_name", "%q: want 1 to 200 bytes", p.Name)
	case len(p.Template) > 200:
		return invalid("snapshot_name_template", "is longer than 200 bytes")
	case p.LockKey != 0 && p.TimeToLive == "":
		return invalid("lock_key_ref", "locked snapshots need an expiration")
	}
	if p.LockKey != 0 {
		k, err := get[FSKey](ctx, r, kindFSKey, p.LockKey)
		if errors.Is(err, ErrNotFound) || err == nil && k.Value.Disabled {
			return invalid("lock_key_ref", "there is no such key in use")
		}
		return err
	}
	return nil
}

// AddPolicy creates a policy.
func (s *Store) AddPolicy(ctx context.Context, p Policy) (Record[Policy], error) {
	var rec Record[Policy]
	err := s.update(ctx, func(tx kv.Txn) error {
		if err := s.checkPolicy(ctx, tx, &p); err != nil {
			return err
		}
		n := 0
		for _, err := range all[Policy](ctx, tx, kindPolicy, 0, 0) {
			if err != nil {
				return err
			}
			if n++; n >= MaxPolicies {
				return ErrLimit
			}
		}
		id, err := next(ctx, tx, counterPolicy, 1)
		if err != nil {
			return err
		}
		p.Since, p.Done = s.now().UTC(), time.Time{}
		rec, err = put(ctx, tx, kindPolicy, id, p)
		return err
	})
	return rec, err
}

// ModifyPolicy replaces a policy whose revision is as given (0: any). The
// directory stays.
func (s *Store) ModifyPolicy(ctx context.Context, id, revision uint64, p Policy) (Record[Policy], error) {
	var rec Record[Policy]
	err := s.update(ctx, func(tx kv.Txn) error {
		old, err := forChange[Policy](ctx, tx, kindPolicy, id, revision)
		if err != nil {
			return err
		}
		if p.Dir != old.Value.Dir {
			return invalid("source_file_id", "the directory of a policy cannot change")
		}
		if err := s.checkPolicy(ctx, tx, &p); err != nil {
			return err
		}
		p.Since, p.Done, p.Owners = s.now().UTC(), old.Value.Done, old.Value.Owners
		rec, err = put(ctx, tx, kindPolicy, id, p)
		return err
	})
	return rec, err
}

// ClaimPolicy gives one scheduler the right to take the snapshot of a due time
// until a moment, and says whether it has it. It has not if another one has, or
// is through with that time, or if the policy is gone or switched off.
func (s *Store) ClaimPolicy(ctx context.Context, id uint64, c PolicyClaim) (bool, error) {
	var ok bool
	err := s.tendPolicy(ctx, id, func(p *Policy) bool {
		held := p.Claim.By != c.By && p.Claim.Due.Equal(c.Due) && p.Claim.Until.After(s.now())
		if ok = p.Enabled && c.Due.After(p.Done) && !held; ok {
			p.Claim = PolicyClaim{c.By, c.Due.UTC(), c.Until.UTC()}
		}
		return ok
	})
	return ok, err
}

// PolicyDone remembers that a policy is through with everything up to a time.
// A policy that is gone is no error.
func (s *Store) PolicyDone(ctx context.Context, id uint64, at time.Time) error {
	return s.tendPolicy(ctx, id, func(p *Policy) bool {
		if !at.After(p.Done) {
			return false
		}
		p.Done, p.Claim = at.UTC(), PolicyClaim{}
		return true
	})
}

// RewindPolicy makes a policy go on from a moment, if by its records it is past
// it: the clock was wrong when they were written.
func (s *Store) RewindPolicy(ctx context.Context, id uint64, to time.Time) error {
	return s.tendPolicy(ctx, id, func(p *Policy) bool {
		if !p.Done.After(to) && !p.Since.After(to) {
			return false
		}
		if p.Since.After(to) {
			p.Since = to.UTC()
		}
		p.Done, p.Claim = to.UTC(), PolicyClaim{}
		return true
	})
}

// tendPolicy stores what fn changes of a policy if it answers true. It is not a
// change that an administrator made: the revision stays.
func (s *Store) tendPolicy(ctx context.Context, id uint64, fn func(*Policy) bool) error {
	return s.update(ctx, func(tx kv.Txn) error {
		old, err := get[Policy](ctx, tx, kindPolicy, id)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil || !fn(&old.Value) {
			return err
		}
		b, err := encode(old.Revision, old.Value)
		if err == nil {
			tx.Put(recordKey(kindPolicy, id), b)
		}
		return err
	})
}

// DeletePolicy removes a policy; its snapshots stay.
func (s *Store) DeletePolicy(ctx context.Context, id, revision uint64) error {
	return s.update(ctx, func(tx kv.Txn) error {
		old, err := forChange[Policy](ctx, tx, kindPolicy, id, revision)
		if err != nil {
			return err
		}
		if len(old.Value.Owners) > 0 {
			return ErrInUse
		}
		tx.Delete(recordKey(kindPolicy, id))
		return nil
	})
}
