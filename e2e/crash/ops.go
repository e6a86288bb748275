package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"manifold/e2e/nfsclient"
)

const (
	maxNames = 60
	// bigOffset lies before a boundary at which servers often split files.
	bigOffset = 4<<20 - 5000
)

// worker is one client with names of its own.
type worker struct {
	name        string
	rng         *rand.Rand
	own, shared *node
	serial      int
	verifier    *nfsclient.Verifier // of writes, since the last restart
	unknown     *unknown
}

// unknown is the operation that was under way at the crash.
type unknown struct {
	what  string
	apply func(own, shared *node, find func(*node) *node)
	// again, if set, repeats an operation that is idempotent by its protocol.
	again func(ctx context.Context, conn *nfsclient.Conn) error
}

// place is one name in the worker's trees.
type place struct {
	parent *node
	name   string
	node   *node
}

func (w *worker) places(ok func(*node) bool) (all []place) {
	visit := func(_, name string, parent, child *node) {
		if ok(child) {
			all = append(all, place{parent, name, child})
		}
	}
	w.own.walk("", visit)
	w.shared.walk("", visit)
	return all
}

func isFile(n *node) bool { return n.typ == nfsclient.Reg }
func isDir(n *node) bool  { return n.typ == nfsclient.Dir }
func anyNode(*node) bool  { return true }

func pick[T any](r *rand.Rand, s []T) (v T, ok bool) {
	if len(s) == 0 {
		return v, false
	}
	return s[r.IntN(len(s))], true
}

// dir picks a directory to work in and a new name for it.
func (w *worker) dir() (*node, string) {
	w.serial++
	name := fmt.Sprintf("%s-%d", w.name, w.serial)
	switch dirs := w.places(isDir); {
	case w.rng.IntN(3) == 0:
		return w.shared, name
	case len(dirs) > 0 && w.rng.IntN(2) == 0:
		return dirs[w.rng.IntN(len(dirs))].node, name
	default:
		return w.own, name
	}
}

// call runs one operation. On success apply is run on the belief; if the
// outcome stays unknown it is kept for verification.
func (w *worker) call(ctx context.Context, u unknown, op func() error) error {
	err := op()
	for errors.Is(err, nfsclient.Jukebox) { // "not done, ask again"
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		err = op()
	}
	var status nfsclient.Status
	switch {
	case err == nil:
		if u.apply != nil {
			u.apply(w.own, w.shared, func(n *node) *node { return n })
		}
		return nil
	case errors.As(err, &status):
		return findingf("%s: %v", u.what, status)
	case errors.Is(err, nfsclient.ErrGarbled):
		return findingf("%s: %v", u.what, err)
	default:
		w.unknown = &u
		return err
	}
}

// step does one operation.
func (w *worker) step(ctx context.Context, conn *nfsclient.Conn) error {
	type op struct {
		weight int
		run    func(context.Context, *nfsclient.Conn) error
	}
	grow, shrink := 1, 1
	switch n := len(w.places(anyNode)); {
	case n > maxNames:
		grow, shrink = 0, 4
	case n < maxNames/4:
		grow, shrink = 4, 0
	}
	ops := []op{
		{6 * grow, w.create}, {3 * grow, w.createExclusive}, {3 * grow, w.mkdir}, {2 * grow, w.symlink}, {2 * grow, w.link},
		{16, w.writeUnstable}, {8, w.writeStable}, {8, w.commit}, {4, w.truncate}, {4, w.chmod}, {3, w.settime},
		{8, w.rename}, {2, w.replace}, {8 * shrink, w.remove}, {3 * shrink, w.rmdir}, {6, w.read},
	}
	total := 0
	for _, o := range ops {
		total += o.weight
	}
	r := w.rng.IntN(total)
	for _, o := range ops {
		if r -= o.weight; r < 0 {
			return o.run(ctx, conn)
		}
	}
	return nil
}

// insert is the belief after a create of any kind.
func insert(parent *node, name string, n *node) func(own, shared *node, find func(*node) *node) {
	return func(_, _ *node, find func(*node) *node) { find(parent).names[name] = n }
}

func learn(n *node, h nfsclient.Handle, a *nfsclient.Attr, err error) error {
	if err == nil && (h == "" || a == nil) {
		return findingf("a create without handle and attributes")
	}
	if err == nil {
		n.handle, n.fileid = h, a.FileID
	}
	return err
}

func (w *worker) create(ctx context.Context, conn *nfsclient.Conn) error {
	parent, name := w.dir()
	n := &node{typ: nfsclient.Reg, mode: 0o600 | uint32(w.rng.IntN(64)), nlink: 1}
	return w.call(ctx, unknown{what: "create " + name, apply: insert(parent, name, n)}, func() error {
		h, a, err := conn.Create(ctx, parent.handle, name, nfsclient.SetAttr{Mode: &n.mode}, w.serial%2 == 0)
		return learn(n, h, a, err)
	})
}

func (w *worker) createExclusive(ctx context.Context, conn *nfsclient.Conn) error {
	parent, name := w.dir()
	n := &node{typ: nfsclient.Reg, nlink: 1}
	v := nfsclient.Verifier{byte(w.serial >> 8), byte(w.serial), 7}
	op := func(ctx context.Context, conn *nfsclient.Conn) error {
		h, a, err := conn.CreateExclusive(ctx, parent.handle, name, v)
		if err == nil && n.fileid != 0 && a != nil && a.FileID != n.fileid {
			return findingf("exclusive create of %s again made another file", name)
		}
		if a != nil {
			n.mode = a.Mode
		}
		return learn(n, h, a, err)
	}
	return w.call(ctx, unknown{"exclusive create " + name, insert(parent, name, n), op}, func() error { return op(ctx, conn) })
}

func (w *worker) mkdir(ctx context.Context, conn *nfsclient.Conn) error {
	parent, name := w.dir()
	n := &node{typ: nfsclient.Dir, mode: 0o755, names: map[string]*node{}}
	return w.call(ctx, unknown{what: "mkdir " + name, apply: insert(parent, name, n)}, func() error {
		h, a, err := conn.Mkdir(ctx, parent.handle, name, nfsclient.SetAttr{Mode: &n.mode})
		return learn(n, h, a, err)
	})
}

func (w *worker) symlink(ctx context.Context, conn *nfsclient.Conn) error {
	parent, name := w.dir()
	n := &node{typ: nfsclient.Symlink, nlink: 1, mode: 0o777, target: fmt.Sprintf("to/%d", w.rng.Uint64())}
	return w.call(ctx, unknown{what: "symlink " + name, apply: insert(parent, name, n)}, func() error {
		h, a, err := conn.Symlink(ctx, parent.handle, name, n.target, nfsclient.SetAttr{Mode: &n.mode})
		return learn(n, h, a, err)
	})
}

func (w *worker) link(ctx context.Context, conn *nfsclient.Conn) error {
	p, ok := pick(w.rng, w.places(isFile))
	if !ok {
		return nil
	}
	parent, name := w.dir()
	apply := func(_, _ *node, find func(*node) *node) {
		n := find(p.node)
		find(parent).names[name] = n
		n.nlink++
	}
	return w.call(ctx, unknown{what: "link " + p.name + " " + name, apply: apply}, func() error {
		return conn.Link(ctx, p.node.handle, parent.handle, name)
	})
}

// extent picks a range to write: mostly small, sometimes large or far off.
func (w *worker) extent(n *node) write {
	size := 1 + w.rng.IntN(6000)
	if w.rng.IntN(8) == 0 {
		size = 20000 + w.rng.IntN(200000)
	}
	off := w.rng.IntN(len(n.data.cur) + 1)
	switch w.rng.IntN(8) {
	case 0:
		off += w.rng.IntN(20000) // leaves a hole
	case 1:
		off = 0
	}
	if w.rng.IntN(200) == 0 {
		off, size = bigOffset, 20000
	} else if off > 1<<19 {
		off = w.rng.IntN(1 << 16)
	}
	p := make([]byte, size)
	seed := w.rng.Uint64()
	for i := range p {
		seed = seed*6364136223846793005 + 1442695040888963407
		p[i] = byte(seed >> 56)
	}
	return write{off, p}
}

func (w *worker) writeUnstable(ctx context.Context, conn *nfsclient.Conn) error {
	return w.write(ctx, conn, nfsclient.Unstable)
}

func (w *worker) writeStable(ctx context.Context, conn *nfsclient.Conn) error {
	return w.write(ctx, conn, nfsclient.DataSync+nfsclient.Stable(w.rng.IntN(2)))
}

func (w *worker) write(ctx context.Context, conn *nfsclient.Conn, how nfsclient.Stable) error {
	p, ok := pick(w.rng, w.places(isFile))
	if !ok {
		return nil
	}
	wr := w.extent(p.node)
	what := fmt.Sprintf("write %s [%d,+%d) how %d", p.name, wr.off, len(wr.data), how)
	// An unknown write is one that may be lost, whatever was asked for.
	maybe := func(_, _ *node, find func(*node) *node) {
		n := find(p.node)
		n.mtime = nil
		n.data.pend = append(n.data.pend, wr)
	}
	var res nfsclient.Written
	err := w.call(ctx, unknown{what: what}, func() (err error) {
		res, err = conn.Write(ctx, p.node.handle, uint64(wr.off), wr.data, how)
		return err
	})
	if err != nil {
		if w.unknown != nil {
			maybe(nil, nil, func(n *node) *node { return n })
			w.unknown = nil
		}
		return err
	}
	if int(res.Count) > len(wr.data) || res.Count == 0 || res.Stable < how {
		return findingf("%s: %d bytes, stable %d", what, res.Count, res.Stable)
	}
	wr.data = wr.data[:res.Count]
	p.node.mtime = nil
	if res.Stable == nfsclient.Unstable {
		p.node.data.unstable(wr)
	} else {
		p.node.data.synced(wr)
	}
	return w.sameVerifier(what, res.Verifier)
}

// sameVerifier wants one write verifier while the server lives.
func (w *worker) sameVerifier(what string, v nfsclient.Verifier) error {
	if w.verifier != nil && *w.verifier != v {
		return findingf("%s: the write verifier changed from %x to %x", what, *w.verifier, v)
	}
	w.verifier = &v
	return nil
}

func (w *worker) commit(ctx context.Context, conn *nfsclient.Conn) error {
	p, ok := pick(w.rng, w.places(func(n *node) bool { return len(n.data.pend) > 0 }))
	if !ok {
		return nil
	}
	var v nfsclient.Verifier
	err := w.call(ctx, unknown{what: "commit " + p.name}, func() (err error) {
		v, err = conn.Commit(ctx, p.node.handle, 0, 0)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.sameVerifier("commit "+p.name, v); err != nil {
		return err
	}
	p.node.data.committed()
	return nil
}

func (w *worker) truncate(ctx context.Context, conn *nfsclient.Conn) error {
	p, ok := pick(w.rng, w.places(isFile))
	if !ok {
		return nil
	}
	size := w.rng.IntN(len(p.node.data.cur) + 1000)
	if w.rng.IntN(4) == 0 {
		size = 0
	}
	apply := func(_, _ *node, find func(*node) *node) {
		n := find(p.node)
		n.mtime = nil
		n.data.truncated(size)
	}
	return w.call(ctx, unknown{what: fmt.Sprintf("truncate %s to %d", p.name, size), apply: apply}, func() error {
		n := uint64(size)
		_, err := conn.SetAttr(ctx, p.node.handle, nfsclient.SetAttr{Size: &n})
		return err
	})
}

func (w *worker) chmod(ctx context.Context, conn *nfsclient.Conn) error {
	p, ok := pick(w.rng, w.places(func(n *node) bool { return n.typ != nfsclient.Symlink }))
	if !ok {
		return nil
	}
	mode, uid := uint32(0o600|w.rng.IntN(64)), uint32(w.rng.IntN(3))
	if p.node.typ == nfsclient.Dir {
		mode |= 0o100
	}
	apply := func(_, _ *node, find func(*node) *node) {
		n := find(p.node)
		n.mode, n.uid = mode, uid
	}
	return w.call(ctx, unknown{what: "chmod " + p.name, apply: apply}, func() error {
		_, err := conn.SetAttr(ctx, p.node.handle, nfsclient.SetAttr{Mode: &mode, UID: &uid})
		return err
	})
}

func (w *worker) settime(ctx context.Context, conn *nfsclient.Conn) error {
	p, ok := pick(w.rng, w.places(isFile))
	if !ok {
		return nil
	}
	t := time.Unix(1e9+w.rng.Int64N(1e9), w.rng.Int64N(1e9))
	apply := func(_, _ *node, find func(*node) *node) {
		// Bytes that are still to be flushed do not touch the time again, but
		// a server may be strict about it only when all is stable.
		if n := find(p.node); len(n.data.pend) == 0 {
			n.mtime = &t
		} else {
			n.mtime = nil
		}
	}
	return w.call(ctx, unknown{what: "settime " + p.name, apply: apply}, func() error {
		_, err := conn.SetAttr(ctx, p.node.handle, nfsclient.SetAttr{Mtime: &t})
		return err
	})
}

// below says whether n is top or lies below it.
func below(n, top *node) bool {
	if n == top {
		return true
	}
	found := false
	top.walk("", func(_, _ string, _, child *node) { found = found || child == n })
	return found
}

func (w *worker) rename(ctx context.Context, conn *nfsclient.Conn) error {
	p, ok := pick(w.rng, w.places(anyNode))
	if !ok {
		return nil
	}
	parent, name := w.dir()
	if isDir(p.node) && below(parent, p.node) {
		return nil
	}
	apply := func(_, _ *node, find func(*node) *node) {
		from, to := find(p.parent), find(parent)
		to.names[name] = from.names[p.name]
		delete(from.names, p.name)
	}
	return w.call(ctx, unknown{what: "rename " + p.name + " " + name, apply: apply}, func() error {
		return conn.Rename(ctx, p.parent.handle, p.name, parent.handle, name)
	})
}

// replace renames a file over another.
func (w *worker) replace(ctx context.Context, conn *nfsclient.Conn) error {
	files := w.places(isFile)
	p, ok := pick(w.rng, files)
	q, _ := pick(w.rng, files)
	if !ok || p.node == q.node {
		return nil
	}
	apply := func(_, _ *node, find func(*node) *node) {
		from, to := find(p.parent), find(q.parent)
		to.names[q.name].nlink--
		to.names[q.name] = from.names[p.name]
		delete(from.names, p.name)
	}
	return w.call(ctx, unknown{what: "rename " + p.name + " over " + q.name, apply: apply}, func() error {
		return conn.Rename(ctx, p.parent.handle, p.name, q.parent.handle, q.name)
	})
}

func (w *worker) remove(ctx context.Context, conn *nfsclient.Conn) error {
	p, ok := pick(w.rng, w.places(func(n *node) bool { return !isDir(n) }))
	if !ok {
		return nil
	}
	apply := func(_, _ *node, find func(*node) *node) {
		parent := find(p.parent)
		parent.names[p.name].nlink--
		delete(parent.names, p.name)
	}
	return w.call(ctx, unknown{what: "remove " + p.name, apply: apply}, func() error {
		return conn.Remove(ctx, p.parent.handle, p.name)
	})
}

func (w *worker) rmdir(ctx context.Context, conn *nfsclient.Conn) error {
	p, ok := pick(w.rng, w.places(func(n *node) bool { return isDir(n) && len(n.names) == 0 }))
	if !ok {
		return nil
	}
	apply := func(_, _ *node, find func(*node) *node) { delete(find(p.parent).names, p.name) }
	return w.call(ctx, unknown{what: "rmdir " + p.name, apply: apply}, func() error {
		return conn.Rmdir(ctx, p.parent.handle, p.name)
	})
}

func (w *worker) read(ctx context.Context, conn *nfsclient.Conn) error {
	p, ok := pick(w.rng, w.places(isFile))
	if !ok {
		return nil
	}
	got, err := readAll(ctx, conn, p.node.handle)
	if status := nfsclient.Status(0); errors.As(err, &status) {
		return findingf("read %s: %v", p.name, status)
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(got, p.node.data.cur) {
		return findingf("read %s: %d bytes are not the %d bytes written", p.name, len(got), len(p.node.data.cur))
	}
	return nil
}

func readAll(ctx context.Context, conn *nfsclient.Conn, h nfsclient.Handle) (all []byte, err error) {
	for {
		p, eof, err := conn.Read(ctx, h, uint64(len(all)), 1<<20)
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
		if eof {
			return all, nil
		}
		if len(p) == 0 {
			return nil, findingf("a read without bytes and without end")
		}
	}
}
