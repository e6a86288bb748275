package config

import (
	"context"
	"slices"

	"manifold/internal/kv"
)

// Capacity is what the file system took at the begin of an hour. Its record's
// id is the hour, counted from 1970.
type Capacity struct {
	Used     uint64 `json:"used"` // all but snapshots
	Data     uint64 `json:"data"`
	Metadata uint64 `json:"metadata"`
	Snapshot uint64 `json:"snapshot"`
	Usable   uint64 `json:"usable"`
}

// LargePaths are the paths that took most at the begin of an hour; the id is
// that of the capacity of the hour.
type LargePaths struct {
	Threshold uint64      `json:"threshold"`
	Paths     []LargePath `json:"paths"`
}

// LargePath is a path with all below it.
type LargePath struct {
	Path string `json:"path"`
	Used uint64 `json:"used"`
}

// How long records are kept: at first all, then those of midnights, at last
// those of Mondays' midnights.
const (
	hoursOfPaths      = 3 * 24
	hoursOfHourly     = 30 * 24
	daysOfDailyPaths  = 90
	daysOfDaily       = 2 * 365
	daysOfWeekly      = 10 * 365
	hourOfFirstMonday = 4 * 24 // 5 January 1970
)

func keepHour(hour, now, whole uint64, days uint64, weekly bool) bool {
	age := now - min(hour, now)
	switch {
	case age <= whole:
		return true
	case age <= days*24:
		return hour%24 == 0
	case weekly && age <= daysOfWeekly*24:
		return hour >= hourOfFirstMonday && (hour-hourOfFirstMonday)%(7*24) == 0
	}
	return false
}

// AddCapacity records an hour and forgets what is too old to be kept.
func (s *Store) AddCapacity(ctx context.Context, hour uint64, c Capacity, p LargePaths) error {
	err := s.update(ctx, func(tx kv.Txn) error {
		if _, err := put(ctx, tx, kindCapacity, hour, c); err != nil {
			return err
		}
		_, err := put(ctx, tx, kindLargePaths, hour, p)
		return err
	})
	if err != nil {
		return err
	}
	for _, x := range []struct {
		kind        kind
		whole, days uint64
		weekly      bool
	}{{kindCapacity, hoursOfHourly, daysOfDaily, true}, {kindLargePaths, hoursOfPaths, daysOfDailyPaths, false}} {
		var old []uint64
		err := s.view(ctx, func(r kv.Reader) error {
			old = old[:0]
			for e, err := range r.Scan(ctx, kv.Prefix(kindPrefix(x.kind)), kv.ScanOptions{KeysOnly: true}) {
				if err != nil {
					return err
				}
				if h := lastNumber(e.Key); !keepHour(h, hour, x.whole, x.days, x.weekly) {
					old = append(old, h)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for part := range slices.Chunk(old, 100) {
			err := s.update(ctx, func(tx kv.Txn) error {
				for _, h := range part {
					tx.Delete(recordKey(x.kind, h))
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Capacities answers the recorded hours from first to last, in their order.
func (s *Store) Capacities(ctx context.Context, first, last uint64) ([]Record[Capacity], error) {
	recs, err := list[Capacity](ctx, s, kindCapacity, max(first, 1)-1, 0)
	return slices.DeleteFunc(recs, func(r Record[Capacity]) bool { return r.ID > last }), err
}

// LargePaths answers those of an hour: ErrNotFound.
func (s *Store) LargePaths(ctx context.Context, hour uint64) (Record[LargePaths], error) {
	return read[LargePaths](ctx, s, kindLargePaths, hour)
}

// LargePathHours answers the hours of which the largest paths are known.
func (s *Store) LargePathHours(ctx context.Context) (map[uint64]bool, error) {
	hours := map[uint64]bool{}
	err := s.view(ctx, func(r kv.Reader) error {
		clear(hours)
		for e, err := range r.Scan(ctx, kv.Prefix(kindPrefix(kindLargePaths)), kv.ScanOptions{KeysOnly: true}) {
			if err != nil {
				return err
			}
			hours[lastNumber(e.Key)] = true
		}
		return nil
	})
	return hours, err
}
