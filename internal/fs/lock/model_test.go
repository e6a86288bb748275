package lock

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"manifold/internal/fs"
)

// The model keeps locks byte by byte. Offsets go up to modelEnd-1; byte
// modelEnd stands for all that follow.
const modelEnd = 12

type modelOwner struct {
	space  fs.LockSpace
	name   string
	handle uint64
}

type modelReq struct {
	owner     modelOwner
	node      int
	from, to  int // inclusive
	exclusive bool
}

type modelWaiter struct {
	modelReq
	w fs.Waiter
}

type model struct {
	bytes [2]map[modelOwner]*[modelEnd + 1]byte // POSIX: 0, 'r', 'w'
	smb   [2][]modelReq
	queue [2][]*modelWaiter
}

func (m *model) clash(a, b modelReq) bool {
	if a.node != b.node || a.owner.space != b.owner.space || !a.exclusive && !b.exclusive || a.from > b.to || b.from > a.to {
		return false
	}
	return a.owner != b.owner || a.owner.space == fs.LockSMB && b.exclusive
}

// inTheWay are the owners whose granted locks block r.
func (m *model) inTheWay(r modelReq) []modelOwner {
	var os []modelOwner
	if r.owner.space == fs.LockSMB {
		for _, h := range m.smb[r.node] {
			if m.clash(h, r) {
				os = append(os, h.owner)
			}
		}
		return os
	}
	for o, bs := range m.bytes[r.node] {
		for i := r.from; i <= r.to; i++ {
			if o != r.owner && (bs[i] == 'w' || bs[i] == 'r' && r.exclusive) {
				os = append(os, o)
				break
			}
		}
	}
	return os
}

func (m *model) waitersAhead(r modelReq, q []*modelWaiter) []modelOwner {
	var os []modelOwner
	for _, w := range q {
		if w.owner != r.owner && m.clash(w.modelReq, r) {
			os = append(os, w.owner)
		}
	}
	return os
}

func (m *model) set(r modelReq, kind byte) {
	if m.bytes[r.node] == nil {
		m.bytes[r.node] = map[modelOwner]*[modelEnd + 1]byte{}
	}
	bs := m.bytes[r.node][r.owner]
	if bs == nil {
		bs = new([modelEnd + 1]byte)
		m.bytes[r.node][r.owner] = bs
	}
	for i := r.from; i <= r.to; i++ {
		bs[i] = kind
	}
}

func (m *model) grant(r modelReq) {
	switch {
	case r.owner.space == fs.LockSMB:
		m.smb[r.node] = append(m.smb[r.node], r)
	case r.exclusive:
		m.set(r, 'w')
	default:
		m.set(r, 'r')
	}
}

// settle grants all waiters that can be, and checks that exactly those were.
func (m *model) settle(t *testing.T, node int) {
	t.Helper()
	for again := true; again; {
		again = false
		for i, w := range m.queue[node] {
			if len(m.inTheWay(w.modelReq)) == 0 && len(m.waitersAhead(w.modelReq, m.queue[node][:i])) == 0 {
				m.grant(w.modelReq)
				if !granted(w.w) {
					t.Fatalf("%+v should be granted", w.modelReq)
				}
				m.queue[node] = slices.Delete(m.queue[node], i, i+1)
				again = true
				break
			}
		}
	}
	for _, w := range m.queue[node] {
		if granted(w.w) || canceled(w.w) {
			t.Fatalf("%+v should wait", w.modelReq)
		}
	}
}

// cycle tells whether r, waiting at the end of its queue, waits for itself.
func (m *model) cycle(r modelReq) bool {
	if r.owner.space == fs.LockSMB {
		return false
	}
	seen := map[modelOwner]bool{}
	var reach func(o modelOwner) bool
	reach = func(o modelOwner) bool {
		if o == r.owner {
			return true
		}
		if seen[o] {
			return false
		}
		seen[o] = true
		for n := range m.queue {
			for i, w := range m.queue[n] {
				if w.owner != o {
					continue
				}
				for _, next := range append(m.inTheWay(w.modelReq), m.waitersAhead(w.modelReq, m.queue[n][:i])...) {
					if reach(next) {
						return true
					}
				}
			}
		}
		return false
	}
	for _, o := range append(m.inTheWay(r), m.waitersAhead(r, m.queue[r.node])...) {
		if reach(o) {
			return true
		}
	}
	return false
}

// dump renders what is held, canonically.
func (m *model) dump(node int) string {
	var out []string
	for o, bs := range m.bytes[node] {
		for i := 0; i <= modelEnd; {
			j := i
			for j <= modelEnd && bs[j] == bs[i] {
				j++
			}
			if bs[i] != 0 {
				out = append(out, fmt.Sprintf("%v %d-%d %t", o, i, j-1, bs[i] == 'w'))
			}
			i = j
		}
	}
	for _, r := range m.smb[node] {
		out = append(out, fmt.Sprintf("%v %d-%d %t", r.owner, r.from, r.to, r.exclusive))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func dump(t *testing.T, l *Table, n fs.Node) string {
	held, _ := listed(t, l, n)
	var out []string
	for _, h := range held {
		to := int(h.Range.Offset+h.Range.Length) - 1
		if h.Range.Length == 0 {
			to = modelEnd
		}
		out = append(out, fmt.Sprintf("%v %d-%d %t", modelOwner{h.Space, h.Owner.Owner, h.Handle}, h.Range.Offset, to, h.Exclusive))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (r modelReq) request() *fs.LockRequest {
	q := &fs.LockRequest{Node: fs.Node{ID: fs.FileID(10 + r.node)}, Space: r.owner.space, Handle: r.owner.handle,
		Owner: fs.LockOwner{Client: "c", Owner: r.owner.name}, Exclusive: r.exclusive,
		Range: fs.LockRange{Offset: uint64(r.from), Length: uint64(r.to - r.from + 1)}}
	if r.to == modelEnd {
		q.Range.Length = 0
	}
	return q
}

func TestModel(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprintf("seed_%d", seed), func(t *testing.T) { runModel(t, seed, 300) })
	}
}

func runModel(t *testing.T, seed uint64, ops int) {
	rnd := rand.New(rand.NewPCG(seed, 9))
	l, m := New(Options{}), &model{}
	owners := []modelOwner{
		{fs.LockPOSIX, "a", 0}, {fs.LockPOSIX, "b", 0}, {fs.LockPOSIX, "c", 0}, {fs.LockPOSIX, "d", 0},
		{fs.LockSMB, "s", 1}, {fs.LockSMB, "s", 2},
	}
	for range ops {
		r := modelReq{owner: owners[rnd.IntN(len(owners))], node: rnd.IntN(2), exclusive: rnd.IntN(2) == 0}
		r.from = rnd.IntN(modelEnd)
		r.to = r.from + rnd.IntN(modelEnd-r.from)
		if r.owner.space == fs.LockPOSIX && rnd.IntN(6) == 0 {
			r.to = modelEnd
		}
		q := r.request()
		blockers := m.inTheWay(r)
		switch op := rnd.IntN(20); {
		case op < 5:
			c, err := l.Lock(t.Context(), nil, q)
			if (len(blockers) > 0) != errors.Is(err, fs.LockConflict) || (c != nil) != (err != nil) {
				t.Fatalf("lock %+v: %+v, %v; in the way: %v", r, c, err, blockers)
			}
			if err == nil {
				m.grant(r)
			}
		case op < 11:
			behind := r.owner.space == fs.LockPOSIX && len(m.waitersAhead(r, m.queue[r.node])) > 0
			owns := false
			if bs := m.bytes[r.node][r.owner]; bs != nil {
				owns = *bs != [modelEnd + 1]byte{}
			}
			cycle := m.cycle(r)
			now := len(blockers) == 0 && (!behind || owns || cycle)
			w, err := l.LockWait(t.Context(), nil, q)
			switch {
			case now && (w != nil || err != nil), !now && cycle != errors.Is(err, fs.Deadlock), !now && !cycle && w == nil:
				t.Fatalf("wait %+v: %v, %v; in the way: %v, behind %t, cycle %t", r, w, err, blockers, behind, cycle)
			case now:
				m.grant(r)
			case w != nil:
				m.queue[r.node] = append(m.queue[r.node], &modelWaiter{r, w})
			}
		case op < 16:
			err := l.Unlock(t.Context(), nil, q)
			if r.owner.space == fs.LockPOSIX {
				m.set(r, 0)
			} else {
				at := func(ex bool) int {
					return slices.IndexFunc(m.smb[r.node], func(h modelReq) bool {
						return h.owner == r.owner && h.from == r.from && h.to == r.to && h.exclusive == ex
					})
				}
				i := at(true)
				if i < 0 {
					i = at(false)
				}
				if (i < 0) != errors.Is(err, fs.NoLock) {
					t.Fatalf("unlock %+v: %v", r, err)
				}
				if i >= 0 {
					m.smb[r.node] = slices.Delete(m.smb[r.node], i, i+1)
				}
			}
		case op < 17:
			c, err := l.TestLock(t.Context(), nil, q)
			if err != nil || (c != nil) != (len(blockers) > 0) {
				t.Fatalf("test %+v: %+v, %v; in the way: %v", r, c, err, blockers)
			}
		case op < 19:
			if qs := m.queue[r.node]; len(qs) > 0 {
				i := rnd.IntN(len(qs))
				if !qs[i].w.Cancel() {
					t.Fatalf("%+v cannot be canceled", qs[i].modelReq)
				}
				m.queue[r.node] = slices.Delete(qs, i, i+1)
			}
		default:
			o := owners[rnd.IntN(4)]
			if _, err := l.ReleaseOwner(t.Context(), fs.LockOwner{Client: "c", Owner: o.name}, q.Node); err != nil {
				t.Fatal(err)
			}
			delete(m.bytes[r.node], o)
			m.queue[r.node] = slices.DeleteFunc(m.queue[r.node], func(w *modelWaiter) bool {
				if w.owner == o && !canceled(w.w) {
					t.Fatalf("%+v is not canceled", w.modelReq)
				}
				return w.owner == o
			})
		}
		m.settle(t, r.node)
		if got, want := dump(t, l, q.Node), m.dump(r.node); got != want {
			t.Fatalf("after %+v:\n%s\nwant:\n%s", r, got, want)
		}
	}
	total := int64(0)
	for i := range 2 {
		held, waiting := listed(t, l, fs.Node{ID: fs.FileID(10 + i)})
		total += int64(len(held) + len(waiting))
	}
	if n := l.count.Load(); n != total {
		t.Errorf("counts %d, lists %d", n, total)
	}
}
