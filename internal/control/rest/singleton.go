package rest

import (
	"context"

	"manifold/internal/config"
	"manifold/internal/control"
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
	render      func(V) any
	// merge takes over what a body gives.
	merge func(P, *V) error
}

func (s singleton[V, P]) routes(methods ...string) []route {
	var in P
	rs := []route{{Method: "GET", Path: s.path, Privilege: s.read, Public: s.public, Summary: s.about + ".", Out: s.out,
		handle: func(q *request) (reply, error) {
			rec, err := s.get(q)
			return s.reply(rec), err
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

func (s singleton[V, P]) reply(rec config.Record[V]) reply {
	return reply{body: s.render(rec.Value), tag: tag(rec.ID, rec.Revision)}
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
	rev, err := q.seen(tag(old.ID, old.Revision), old.Revision)
	if err != nil {
		return reply{}, err
	}
	v := s.def
	if !whole {
		v = old.Value
		if rev == 0 {
			rev = old.Revision // the parts that stay are those that were read
		}
	}
	if err := s.merge(in, &v); err != nil {
		return reply{}, err
	}
	rec, err := s.set(q, rev, v)
	return s.reply(rec), err
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
