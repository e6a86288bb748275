package service

import (
	"cmp"
	"container/heap"
	"context"
	"slices"

	"manifold/internal/fs"
)

// Measure is the figure by which entries of a listing of totals are ranked.
type Measure func(*fs.Totals) uint64

// Capacity is all space that a tree takes: what quotas count.
func Capacity(t *fs.Totals) uint64 { return t.DataBytes + t.StreamBytes + t.MetaBytes }

// DirTotals are the totals of one directory and of its largest entries.
type DirTotals struct {
	Dir    File
	Totals fs.Totals
	// Entries, the largest first.
	Entries []fs.ChildTotals
}

// smallest is a heap with the smallest entry on top, to keep the n largest.
type smallest struct {
	by Measure
	e  []fs.ChildTotals
}

func (h *smallest) Len() int           { return len(h.e) }
func (h *smallest) Less(i, j int) bool { return h.rank(&h.e[i], &h.e[j]) < 0 }
func (h *smallest) Swap(i, j int)      { h.e[i], h.e[j] = h.e[j], h.e[i] }
func (h *smallest) Push(x any)         { h.e = append(h.e, x.(fs.ChildTotals)) }
func (h *smallest) Pop() any {
	x := h.e[len(h.e)-1]
	h.e = h.e[:len(h.e)-1]
	return x
}

// rank orders by measure, and by name so that the answer does not vary.
func (h *smallest) rank(a, b *fs.ChildTotals) int {
	return cmp.Or(cmp.Compare(h.by(&a.Totals), h.by(&b.Totals)), cmp.Compare(b.Name, a.Name))
}

// Totals answers the totals of a directory and its largest max entries, of
// those that are at least the given share of the whole, in one hundredths.
func (s *Service) Totals(ctx context.Context, f File, by Measure, max, percent int) (DirTotals, error) {
	out := DirTotals{Dir: f}
	if f.Attr.Type != fs.Directory {
		return out, fs.E("totals", f.Attr.Node, "", fs.NotDir, nil)
	}
	var err error
	if out.Totals, err = s.fs.TotalsOf(ctx, f.Attr.Node); err != nil {
		return out, err
	}
	whole := by(&out.Totals)
	h := &smallest{by: by}
	err = s.fs.ChildTotalsOf(ctx, f.Attr.Node, func(c *fs.ChildTotals) bool {
		if percent > 0 && float64(by(&c.Totals))*100 < float64(whole)*float64(percent) {
			return true
		}
		if h.Len() < max {
			heap.Push(h, *c)
		} else if max > 0 && h.rank(c, &h.e[0]) > 0 {
			h.e[0] = *c
			heap.Fix(h, 0)
		}
		return true
	})
	slices.SortFunc(h.e, func(a, b fs.ChildTotals) int { return h.rank(&b, &a) })
	out.Entries = h.e
	return out, err
}

// smallShare is what an entry must at least be of its directory, in
// hundredths, to show up in the totals of a whole tree.
const smallShare = 10

// TreeTotals goes through a tree breadth first, as deep as depth (0: without
// bound), following entries that matter, and answers at most max entries.
func (s *Service) TreeTotals(ctx context.Context, f File, by Measure, max, depth int) ([]DirTotals, error) {
	type level struct {
		f     File
		depth int
	}
	out := []DirTotals{}
	queue := []level{{f, 1}}
	for left := max; len(queue) > 0; queue = queue[1:] {
		here := queue[0]
		d, err := s.Totals(ctx, here.f, by, left, smallShare)
		if err != nil {
			if k := fs.KindOf(err); len(out) > 0 && (k == fs.NotExist || k == fs.Stale) {
				continue // vanished meanwhile
			}
			return nil, err
		}
		out = append(out, d)
		left -= len(d.Entries)
		if depth > 0 && here.depth >= depth {
			continue
		}
		for _, e := range d.Entries {
			if e.Type == fs.Directory && left > 0 {
				a := fs.Attr{Node: fs.Node{ID: e.ID, Snap: here.f.Attr.Node.Snap}, Type: e.Type}
				queue = append(queue, level{File{a, here.f.Path + e.Name + "/"}, here.depth + 1})
			}
		}
	}
	return out, nil
}
