package rest

import (
	"math/rand/v2"
	"slices"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

func sampleRoutes() []route {
	return []route{{
		Method: "GET", Path: "/v1/files/{ref}/sample/", Privilege: control.AnalyticsRead, Out: []aggEntry{},
		Summary: "Random files below a directory; the larger ones are likelier. A file may be there several times.",
		Query: []query{{"by-value", "string", "capacity, data, file or named_streams: what makes a file likelier."},
			{"limit", "integer", "How many files, up to 10,000."}},
		handle: sample,
	}}
}

const maxSamples = 10_000

func sample(q *request) (reply, error) {
	n, err := q.argUint("limit", 1)
	if err != nil {
		return reply{}, err
	}
	var by service.Measure
	switch v := q.arg("by-value"); v {
	case "", "capacity":
		by = service.Capacity
	case "data":
		by = func(t *fs.Totals) uint64 { return t.DataBytes + t.StreamBytes }
	case "file":
		by = func(t *fs.Totals) uint64 { return t.Files + t.Symlinks + t.Other }
	case "named_streams":
		by = func(t *fs.Totals) uint64 { return t.Streams }
	default:
		return reply{}, badRequest("http_bad_request_error", "by-value is %q, want capacity, data, file or named_streams", v)
	}
	f, err := q.file(fs.AttrType)
	if err != nil {
		return reply{}, err
	}
	if f.Attr.Type != fs.Directory {
		return reply{}, ofKind(fs.NotDir, nil)
	}
	out := []aggEntry{}
	type draw struct {
		dir fs.Node
		n   int
	}
	for todo := []draw{{f.Attr.Node, int(min(n, maxSamples))}}; len(todo) > 0; todo = todo[1:] {
		d := todo[0]
		picked, err := q.pick(d.dir, d.n, by)
		if k := fs.KindOf(err); err != nil && (k == fs.NotExist || k == fs.Stale) && d.dir != f.Attr.Node {
			continue // vanished meanwhile
		}
		if err != nil {
			return reply{}, err
		}
		for i := range picked {
			p := &picked[i]
			if p.child.Type == fs.Directory {
				todo = append(todo, draw{fs.Node{ID: p.child.ID, Snap: d.dir.Snap}, p.n})
				continue
			}
			for range p.n {
				out = append(out, renderAggEntry(&p.child))
			}
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return reply{body: out}, nil
}

type pick struct {
	child fs.ChildTotals
	n     int
}

// pick draws n times among the entries of a directory. It goes through them
// twice and keeps those that were drawn.
func (q *request) pick(dir fs.Node, n int, by service.Measure) ([]pick, error) {
	var whole uint64
	if err := q.s.o.FS.ChildTotalsOf(q.Context(), dir, func(c *fs.ChildTotals) bool {
		whole += by(&c.Totals)
		return true
	}); err != nil || whole == 0 {
		return nil, err
	}
	at := make([]uint64, n)
	for i := range at {
		at[i] = rand.Uint64N(whole)
	}
	slices.Sort(at)
	var out []pick
	var seen uint64
	err := q.s.o.FS.ChildTotalsOf(q.Context(), dir, func(c *fs.ChildTotals) bool {
		seen += by(&c.Totals)
		k := 0
		for k < len(at) && at[k] < seen {
			k++
		}
		if k > 0 {
			out, at = append(out, pick{*c, k}), at[k:]
		}
		return len(at) > 0
	})
	return out, err
}
