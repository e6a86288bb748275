package rest

import (
	"context"
	"errors"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
)

// singleton serves a settings record: V is what is kept, P a body of which any
// member may be missing.
type singleton[V, P any] struct {
	path        string
	read, write control.Privilege
	public      bool // anybody may read it
	about       string
	def         V
	out         any
	get         func(*request) (config.Record[V], error)
	set         func(*request, uint64, V) (config.Record[V], error)
	render      func(*request, V) (any, error)
	// merge takes over what a body gives.
	merge func(*request, P, *V) error
}

func (s singleton[V, P]) routes(methods ...string) []route {
	var in P
	rs := []route{{Method: "GET", Path: s.path, Privilege: s.read, Public: s.public, Summary: s.about + ".", Out: s.out,
		handle: func(q *request) (reply, error) {
			return s.reply(q)(s.get(q))
		}}}
	for _, m := range methods {
		summary := "Replace: "
		if m == "PATCH" {
			summary = "Change parts of: "
		}
		rs = append(rs, route{Method: m, Path: s.path, Privilege: s.write, Summary: summary + s.about + ".", In: in, Out: s.out, Conditional: true,
			handle: func(q *request) (reply, error) { return s.change(q, m == "PUT") }})
	}
	return rs
}

// reply makes an answer of a record.
func (s singleton[V, P]) reply(q *request) func(config.Record[V], error) (reply, error) {
	return func(rec config.Record[V], err error) (reply, error) {
		if err != nil {
			return reply{}, err
		}
		v, err := s.render(q, rec.Value)
		return reply{body: v, tag: tag(rec.ID, rec.Revision)}, err
	}
}

// plain is a render that looks nothing up.
func plain[V, O any](render func(V) O) func(*request, V) (any, error) {
	return func(_ *request, v V) (any, error) { return render(v), nil }
}

func (s singleton[V, P]) change(q *request, whole bool) (reply, error) {
	in, err := body[P](q)
	if err != nil {
		return reply{}, err
	}
	old, err := s.get(q)
	if err != nil {
		return reply{}, err
	}
	conditional, err := q.match(tag(old.ID, old.Revision))
	if err != nil {
		return reply{}, err
	}
	v, rev := old.Value, old.Revision // the parts that stay are those that were read
	if whole {
		v = s.def
		if !conditional {
			rev = 0 // the last writer wins
		}
	}
	if err := s.merge(q, in, &v); err != nil {
		return reply{}, err
	}
	rec, err := s.set(q, rev, v)
	return s.reply(q)(rec, raced(conditional, err))
}

// raced is the error of a change of parts, which may have changed since they
// were read: a client that asked for no guard is to try again.
func raced(conditional bool, err error) error {
	if !conditional && errors.Is(err, config.ErrStale) {
		return ofKind(fs.Retry, err)
	}
	return err
}

// given takes a member of a body over if it was there.
func given[T any](from, to *T) {
	if from != nil {
		*to = *from
	}
}

// verbs binds the two verbs of a settings record.
func verbs[A, V any](part func(*request) A, get func(A, context.Context) (config.Record[V], error), set func(A, context.Context, uint64, V) (config.Record[V], error)) (
	func(*request) (config.Record[V], error), func(*request, uint64, V) (config.Record[V], error)) {
	return func(q *request) (config.Record[V], error) { return get(part(q), q.Context()) },
		func(q *request, rev uint64, v V) (config.Record[V], error) { return set(part(q), q.Context(), rev, v) }
}

func general(q *request) control.General       { return q.s.o.General }
func fsSettings(q *request) control.FSSettings { return q.s.o.FSSettings }

// listOf is never null on the wire.
func listOf[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
