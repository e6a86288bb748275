package memdata_test

import (
	"errors"
	"testing"

	"manifold/internal/data"
	"manifold/internal/data/datatest"
	"manifold/internal/data/memdata"
)

func subject(s *memdata.Store) datatest.Subject {
	return datatest.Subject{
		Store:   s,
		Crash:   func(*testing.T) datatest.Subject { return subject(s.Crash()) },
		Corrupt: func(_ *testing.T, rec data.Record, at uint64) { s.Corrupt(rec, at) },
		FailSync: func(err error) {
			s.SetFaults(memdata.Faults{Sync: err})
		},
	}
}

func TestSuite(t *testing.T) {
	datatest.Run(t, func(*testing.T) datatest.Subject { return subject(memdata.New(memdata.Options{})) })
}

func TestCapacity(t *testing.T) {
	s := memdata.New(memdata.Options{Capacity: 100})
	if _, err := s.Append(t.Context(), 1, [][]byte{make([]byte, 60)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), 2, [][]byte{make([]byte, 60)}); !errors.Is(err, data.ErrNoSpace) {
		t.Fatal(err)
	}
}
