// Package fstest is the conformance suite of the file system's contract: Run
// checks every method and the corner cases of POSIX, Model compares an
// implementation with fs/memfs under random operations.
//
// Invariants: the suite sees an implementation only through fs.FS. Tests are
// free of order, clock and network, and each opens a file system of its own.
// What the contract leaves open is not tested.
package fstest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// Crasher is offered by implementations that can lose what a crash may lose
// and go on.
type Crasher interface{ Crash() }

// Run runs the suite. open returns an empty file system that ends with the test.
func Run(t *testing.T, open func(t *testing.T) fs.FS) {
	t.Helper()
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Lookup", lookupTests}, {"Create", createTests}, {"Link", linkTests}, {"Remove", removeTests},
		{"Rename", renameTests}, {"Retype", retypeTests}, {"ReadDir", readdirTests}, {"Mode", modeTests}, {"SetAttr", setattrTests},
		{"Data", dataTests}, {"ACL", aclTests}, {"Permissions", permissionTests}, {"Meta", metaTests}, {"Streams", streamTests},
		{"Open", openTests}, {"Snapshot", snapshotTests}, {"Diff", diffTests}, {"Totals", totalsTests},
		{"Quota", quotaTests}, {"Stage", stageTests}, {"TreeDelete", treeDeleteTests}, {"WORM", wormTests}, {"Watch", watchTests},
		{"Lock", lockTests}, {"Concurrent", concurrentTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.tests {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(newEnv(t, open(t)))
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(e *env)
}

// env is one file system under test with its usual callers.
type env struct {
	*testing.T
	fs.FS
	ctx context.Context

	system *fs.Caller // every check passes
	root   *fs.Caller // uid 0
	alice  *fs.Caller // uid 1000, gid 1000, also in 2000
	bob    *fs.Caller // uid 1001, gid 1001, also in 2000
	carol  *fs.Caller // uid 1002, gid 1002

	home fs.Node // a directory of root that everybody may write
}

func posix(uid, gid uint32, gids ...uint32) *fs.Caller {
	return &fs.Caller{Cred: identity.POSIX(uid, gid, gids)}
}

func newEnv(t *testing.T, f fs.FS) *env {
	e := &env{
		T: t, FS: f, ctx: t.Context(), system: fs.SystemCaller(), root: posix(0, 0),
		alice: posix(1000, 1000, 2000), bob: posix(1001, 1001, 2000), carol: posix(1002, 1002),
	}
	t.Helper()
	e.home = e.mkdirAs(e.root, fs.Root, "home", 0o777)
	return e
}

func ptr[T any](v T) *T { return &v }

// must fails the test if err is not nil.
func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("unexpected error: %v", err)
	}
}

// want fails the test unless err is an *fs.Error of one of the kinds.
func (e *env) want(err error, kinds ...fs.Kind) {
	e.Helper()
	if err == nil {
		e.Fatalf("no error, want %v", kinds)
	}
	var fe *fs.Error
	if !errors.As(err, &fe) {
		e.Fatalf("error is no *fs.Error: %v", err)
	}
	if !slices.Contains(kinds, fs.KindOf(err)) {
		e.Fatalf("got %v, want %v", err, kinds)
	}
}

func (e *env) createAs(c *fs.Caller, dir fs.Node, name string, spec fs.CreateSpec) fs.Attr {
	e.Helper()
	spec.Want = fs.AttrEverything
	r, err := e.Create(e.ctx, c, dir, name, &spec)
	e.must(err)
	if !r.Created {
		e.Fatalf("create %q: not created", name)
	}
	return r.Attr
}

func (e *env) mkdirAs(c *fs.Caller, dir fs.Node, name string, mode fs.Mode) fs.Node {
	e.Helper()
	return e.createAs(c, dir, name, fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}}).Node
}

func (e *env) fileAs(c *fs.Caller, dir fs.Node, name string, mode fs.Mode) fs.Node {
	e.Helper()
	return e.createAs(c, dir, name, fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{Mode: &mode}}).Node
}

// mkdir and file make objects of root that everybody may do everything with.
func (e *env) mkdir(dir fs.Node, name string) fs.Node {
	e.Helper()
	return e.mkdirAs(e.root, dir, name, 0o777)
}

func (e *env) file(dir fs.Node, name, data string) fs.Node {
	e.Helper()
	n := e.fileAs(e.root, dir, name, 0o666)
	e.write(n, 0, data)
	return n
}

func (e *env) symlink(dir fs.Node, name, target string) fs.Node {
	e.Helper()
	return e.createAs(e.root, dir, name, fs.CreateSpec{Type: fs.Symlink, Target: []byte(target)}).Node
}

func (e *env) write(n fs.Node, off uint64, data string) {
	e.Helper()
	if data == "" {
		return
	}
	r, err := e.Write(e.ctx, e.root, n, &fs.WriteRequest{Offset: off, Data: []byte(data), Stability: fs.FileSync})
	e.must(err)
	if r.Count != len(data) {
		e.Fatalf("wrote %d of %d bytes", r.Count, len(data))
	}
}

// content reads a stream to its end.
func (e *env) content(n fs.Node, id fs.StreamID) string {
	e.Helper()
	s, err := readAll(e.ctx, e.FS, e.system, n, id)
	e.must(err)
	return s
}

func readAll(ctx context.Context, f fs.FS, c *fs.Caller, n fs.Node, id fs.StreamID) (string, error) {
	var out []byte
	buf := make([]byte, 64<<10)
	for {
		r, err := f.Read(ctx, c, n, &fs.ReadRequest{Stream: id, Offset: uint64(len(out))}, buf)
		if err != nil {
			return "", err
		}
		out = append(out, buf[:r.N]...)
		if r.EOF || r.N == 0 {
			return string(out), nil
		}
	}
}

func (e *env) hasContent(n fs.Node, want string) {
	e.Helper()
	if got := e.content(n, 0); got != want {
		e.Fatalf("content of %v is %.80q (%d bytes), want %.80q (%d bytes)", n, got, len(got), want, len(want))
	}
}

func (e *env) attr(n fs.Node) fs.Attr {
	e.Helper()
	a, err := e.GetAttr(e.ctx, e.root, n, fs.AttrEverything)
	e.must(err)
	return a
}

func (e *env) lookup(dir fs.Node, name string) fs.Attr {
	e.Helper()
	a, err := e.Lookup(e.ctx, e.root, dir, name, fs.AttrEverything)
	e.must(err)
	return a
}

func (e *env) missing(dir fs.Node, name string) {
	e.Helper()
	_, err := e.Lookup(e.ctx, e.root, dir, name, 0)
	e.want(err, fs.NotExist)
}

func (e *env) chmod(n fs.Node, mode fs.Mode) {
	e.Helper()
	_, err := e.SetAttr(e.ctx, e.root, n, &fs.SetAttr{Mode: &mode})
	e.must(err)
}

func (e *env) chown(n fs.Node, uid, gid uint32) {
	e.Helper()
	_, err := e.SetAttr(e.ctx, e.root, n, &fs.SetAttr{Owner: ptr(identity.UID(uid)), Group: ptr(identity.GID(gid))})
	e.must(err)
}

func (e *env) snapshot(root fs.Node) fs.Snapshot {
	e.Helper()
	s, err := e.TakeSnapshot(e.ctx, fs.SnapshotSpec{Root: root.ID})
	e.must(err)
	return s
}

// at is a node as of a snapshot.
func at(n fs.Node, s fs.Snapshot) fs.Node { return fs.Node{ID: n.ID, Snap: s.ID} }

// names lists a directory in order of cookies.
func (e *env) names(dir fs.Node) []string {
	e.Helper()
	var out []string
	eof, err := e.ReadDir(e.ctx, e.root, dir, 0, 0, func(d *fs.Dirent) bool {
		out = append(out, d.Name)
		return true
	})
	e.must(err)
	if !eof {
		e.Fatal("a full listing did not reach the end")
	}
	return out
}

// has fails unless the directory has exactly these names.
func (e *env) has(dir fs.Node, want ...string) {
	e.Helper()
	got := e.names(dir)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		e.Fatalf("directory has %q, want %q", got, want)
	}
}

func eq[T comparable](e *env, what string, got, want T) {
	e.Helper()
	if got != want {
		e.Fatalf("%s is %v, want %v", what, got, want)
	}
}

// later fails unless both change and ctime went up.
func (e *env) later(what string, before, after fs.Attr) {
	e.Helper()
	if after.Change <= before.Change {
		e.Fatalf("%s: change went from %d to %d", what, before.Change, after.Change)
	}
	if after.Ctime.Compare(before.Ctime) <= 0 {
		e.Fatalf("%s: ctime went from %v to %v", what, before.Ctime, after.Ctime)
	}
}

// same fails unless nothing has changed.
func (e *env) same(what string, before, after fs.Attr) {
	e.Helper()
	before.Mask, after.Mask = 0, 0
	if before != after {
		e.Fatalf("%s changed from %+v to %+v", what, before, after)
	}
}

// wcc checks what a mutation says about an object against what was seen before
// and is seen after.
func (e *env) wcc(what string, ch fs.Changed, before fs.Attr) {
	e.Helper()
	b := fs.Before{Set: true, Size: before.Size, Mtime: before.Mtime, Ctime: before.Ctime, Change: before.Change, Mode: before.Mode, Owner: before.Owner, Group: before.Group}
	if ch.Before != b {
		e.Fatalf("%s: before is %+v, want %+v", what, ch.Before, b)
	}
	now := e.attr(before.Node)
	a := ch.After
	if a.Mask&fs.AttrBasic != fs.AttrBasic {
		e.Fatalf("%s: after has only %x", what, a.Mask)
	}
	if a.Node != now.Node || a.Size != now.Size || a.Mtime != now.Mtime || a.Ctime != now.Ctime || a.Change != now.Change ||
		a.Mode != now.Mode || a.Links != now.Links {
		e.Fatalf("%s: after is %+v, want %+v", what, a, now)
	}
	if !ch.Atomic {
		e.Fatalf("%s: not atomic, although nothing else went on", what)
	}
}
