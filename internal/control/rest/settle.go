package rest

import (
	"errors"
	"time"

	"manifold/internal/config"
)

// settles does something that may be early: a tool that sets a system up sends
// what depends on each other at the same time, in no order: accounts and the
// share that names them, the removal of an export and another of its name.
// While it fails as early says, it is done again after each change of stored
// records, until the time for that is over. The time is one for the request.
func (q *request) settles(early func(error) bool, do func() error) error {
	for {
		if q.s.o.News == nil {
			return do()
		}
		changed := q.s.o.News.Changed() // asked for before trying, so that nothing is missed
		err := do()
		if err == nil || !early(err) {
			return err
		}
		if q.settleBy.IsZero() {
			q.settleBy = time.Now().Add(q.s.o.Settle)
		}
		t := time.NewTimer(time.Until(q.settleBy))
		select {
		case <-changed:
			t.Stop()
		case <-t.C:
			return err
		case <-q.Context().Done():
			t.Stop()
			return err
		}
	}
}

// isNoAccount: nobody has that name, yet. What is stored is the identity and
// never the name, so it has to be there.
func isNoAccount(err error) bool {
	var e *apiError
	return errors.As(err, &e) && e.Class == "cred_invalid_local_user_error"
}

// isTaken: something has that name, still.
func isTaken(err error) bool { return errors.Is(err, config.ErrExists) }
