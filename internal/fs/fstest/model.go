package fstest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
)

// Model runs random operations on what open opens and on memfs, and compares
// every answer, and every so often all that can be seen: the live tree, every
// snapshot, totals, paths and diffs. If the implementation is a Crasher, it
// crashes now and then; nothing that was stable may be lost.
//
// A failure names the seed, which repeats it.
func Model(t *testing.T, open func(t *testing.T) fs.FS, seed uint64, ops int) {
	t.Helper()
	if err := Compare(t.Context(), open(t), seed, ops); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
}

// Compare is Model without a test: it returns what differs.
func Compare(ctx context.Context, sut fs.FS, seed uint64, ops int) error {
	m := &model{
		ctx: ctx, rnd: rand.New(rand.NewPCG(seed, 1)), sut: sut, oracle: memfs.New(memfs.Options{}),
		ids: map[fs.FileID]fs.FileID{fs.RootID: fs.RootID}, sids: map[fs.StreamID]fs.StreamID{0: 0},
		system:  fs.SystemCaller(),
		callers: []*fs.Caller{posix(0, 0), posix(0, 0), posix(1000, 1000, 2000), posix(1001, 1001, 2000)},
	}
	m.objects = []fs.FileID{fs.RootID}
	m.dirs = []fs.FileID{fs.RootID}
	return m.run(ops)
}

// model drives both file systems. Objects are known by the oracle's ids.
type model struct {
	ctx    context.Context
	rnd    *rand.Rand
	sut    fs.FS
	oracle *memfs.FS

	ids     map[fs.FileID]fs.FileID     // oracle's to the implementation's
	sids    map[fs.StreamID]fs.StreamID // the same of streams
	system  *fs.Caller
	callers []*fs.Caller

	objects []fs.FileID // all that were ever made, and not found gone
	dirs    []fs.FileID
	snaps   []fs.SnapshotID // the same on both sides
	handles []*handles
	log     []string
}

type handles struct{ oracle, sut fs.Handle }

func (m *model) run(ops int) error {
	// Whatever the root's owner and mode are: the same on both sides.
	if err := m.both("root", func(s side) (any, error) {
		mode := fs.Mode(0o777)
		owner, group := m.callers[0].Cred.User, m.callers[0].Cred.Group
		_, err := s.SetAttr(m.ctx, m.system, fs.Root, &fs.SetAttr{Mode: &mode, Owner: &owner, Group: &group})
		return nil, err
	}); err != nil {
		return err
	}
	total := 0
	for _, o := range operations {
		total += o.weight
	}
	for i := range ops {
		pick := m.rnd.IntN(total)
		for _, o := range operations {
			if pick -= o.weight; pick < 0 {
				if err := o.run(m); err != nil {
					return m.failed(i, err)
				}
				break
			}
		}
		if i%40 == 39 || i == ops-1 {
			if err := m.compare(); err != nil {
				return m.failed(i, err)
			}
		}
	}
	return m.finish(ops)
}

// finish closes all handles and compares once more.
func (m *model) finish(ops int) error {
	for len(m.handles) > 0 {
		if err := m.close(0); err != nil {
			return m.failed(ops, err)
		}
	}
	if err := m.compare(); err != nil {
		return m.failed(ops, err)
	}
	return nil
}

func (m *model) failed(op int, err error) error {
	last := m.log[max(0, len(m.log)-25):]
	return fmt.Errorf("operation %d: %w\nlast operations:\n  %s", op, err, strings.Join(last, "\n  "))
}

// side is one of the two file systems, with its own ids.
type side struct {
	fs.FS
	m   *model
	sut bool
}

// node translates an oracle's node.
func (s side) node(n fs.Node) fs.Node {
	if s.sut {
		n.ID = s.m.ids[n.ID]
	}
	return n
}

func (s side) id(id fs.FileID) fs.FileID { return s.node(fs.Node{ID: id}).ID }

func (s side) stream(id fs.StreamID) fs.StreamID {
	if s.sut {
		return s.m.sids[id]
	}
	return id
}

// handle chooses a side of a pair.
func (s side) handle(h *handles) fs.Handle {
	if s.sut {
		return h.sut
	}
	return h.oracle
}

// do runs an operation on both sides and compares error kinds.
func (m *model) do(what string, run func(s side) (any, error)) (want, got any, err error) {
	want, wantErr := run(side{m.oracle, m, false})
	line := what
	if wantErr != nil {
		line += ": " + fs.KindOf(wantErr).String()
	}
	m.log = append(m.log, line)
	got, gotErr := run(side{m.sut, m, true})
	switch {
	case wantErr == nil && gotErr == nil:
		return want, got, nil
	case wantErr == nil:
		return nil, nil, fmt.Errorf("%s: fails with %w", what, gotErr)
	case gotErr == nil:
		return nil, nil, fmt.Errorf("%s: succeeds, should fail with %w", what, wantErr)
	case fs.KindOf(wantErr) != fs.KindOf(gotErr):
		return nil, nil, fmt.Errorf("%s: fails with %w, should fail with %w", what, gotErr, wantErr)
	}
	return nil, nil, nil
}

// both compares the answers too.
func (m *model) both(what string, run func(s side) (any, error)) error {
	want, got, err := m.do(what, run)
	if err == nil && want != got {
		err = fmt.Errorf("%s: answers %+v, should answer %+v", what, got, want)
	}
	return err
}

// know notes that both sides made an object.
func (m *model) know(oracle, sut fs.FileID, t fs.Type) error {
	if have, ok := m.ids[oracle]; ok {
		if have != sut {
			return fmt.Errorf("object %d is %d, was %d", oracle, sut, have)
		}
		return nil
	}
	m.ids[oracle] = sut
	m.objects = append(m.objects, oracle)
	if t == fs.Directory {
		m.dirs = append(m.dirs, oracle)
	}
	return nil
}

// sameNode tells whether the sides mean the same object.
func (m *model) sameNode(what string, oracle, sut fs.Node) error {
	if oracle == (fs.Node{}) && sut == oracle {
		return nil
	}
	if id, ok := m.ids[oracle.ID]; !ok || id != sut.ID || oracle.Snap != sut.Snap {
		return fmt.Errorf("%s: object %v, should be %v (there %d)", what, sut, oracle, m.ids[oracle.ID])
	}
	return nil
}

func (m *model) caller() *fs.Caller { return m.callers[m.rnd.IntN(len(m.callers))] }

var modelNames = []string{"a", "b", "c", "A", "x", "long name with ünicode", "d", "e"}

func (m *model) name() string {
	if m.rnd.IntN(60) == 0 {
		return []string{"", ".", "..", ".snapshot", "a/b", strings.Repeat("n", 256)}[m.rnd.IntN(6)]
	}
	return modelNames[m.rnd.IntN(len(modelNames))]
}

// recent prefers what was made lately.
func (m *model) recent(ids []fs.FileID) fs.FileID {
	if len(ids) > 12 && m.rnd.IntN(3) > 0 {
		ids = ids[len(ids)-12:]
	}
	return ids[m.rnd.IntN(len(ids))]
}

func (m *model) dir() fs.Node { return m.aged(m.recent(m.dirs), 50) }

func (m *model) object() fs.Node { return m.aged(m.recent(m.objects), 30) }

// aged takes an object at times as of a snapshot that holds it. What a node
// outside the tree of its snapshot is, the contract does not say.
func (m *model) aged(id fs.FileID, chance int) fs.Node {
	live := fs.Node{ID: id}
	if m.rnd.IntN(chance) > 0 || len(m.snaps) == 0 {
		return live
	}
	old := fs.Node{ID: id, Snap: m.snaps[m.rnd.IntN(len(m.snaps))]}
	if _, err := m.oracle.GetAttr(m.ctx, m.system, old, 0); err != nil {
		return live
	}
	return old
}

// offset is mostly small, at times around what implementations cut at.
func (m *model) offset() uint64 {
	switch m.rnd.IntN(40) {
	case 0:
		return 4<<20 - uint64(m.rnd.IntN(10000))
	case 1, 2, 3, 4:
		return uint64(m.rnd.IntN(20)) * fs.BlockSize
	case 5:
		return 0
	}
	return uint64(m.rnd.IntN(40000))
}

func (m *model) bytes() []byte {
	n := m.rnd.IntN(3000)
	if m.rnd.IntN(4) == 0 {
		n = m.rnd.IntN(30000)
	}
	return pattern(byte(m.rnd.Uint32()), n)
}

// settle waits for background work of the implementation.
func (m *model) settle(what string, done func() bool) error {
	deadline := time.Now().Add(20 * time.Second)
	for !done() {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not happen", what)
		}
	}
	return nil
}
