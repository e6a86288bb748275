package smb

import (
	"testing"

	"manifold/internal/fs"
)

// A rename is one of the open's object, whatever its name stands for by now.
func TestRename_ofTheObject(t *testing.T) {
	s := newTestServer(t)
	c := dial(t, s)
	c.login()
	f := s.o.FS
	ctx := t.Context()
	nfs := &fs.Caller{Cred: fs.SystemCaller().Cred, Protocol: fs.ProtoNFS3}
	const access = fileGenericRead | uint32(fs.RightDelete)
	id := c.create("f", access, uint32(fs.OpenCreate), 0, stOK)
	node := func(path string) fs.Node {
		a, err := f.Resolve(ctx, nfs, path, 0)
		if fs.KindOf(err) != fs.NotExist && err != nil {
			t.Fatal(err)
		}
		return a.Node
	}
	mine := node("/f")
	if _, err := f.Rename(ctx, nfs, fs.Root, "f", fs.Root, "elsewhere", fs.RenameOptions{}); err != nil {
		t.Fatal(err)
	}
	other := dial(t, s)
	other.login()
	other.closeFile(other.create("f", access, uint32(fs.OpenCreate), 0, stOK))
	theirs := node("/f")

	name := encodeUTF16("new")
	in := append(make([]byte, 20), name...)
	in[16] = byte(len(name))
	set := make([]byte, 32)
	set[0], set[2], set[3], set[8] = 33, 1, fiRename, headerSize+32
	le.PutUint32(set[4:], uint32(len(in)))
	copy(set[16:], id)
	c.call(cmdSetInfo, append(set, in...), stOK)
	if node("/new") != mine || node("/f") != theirs || node("/elsewhere") != (fs.Node{}) {
		t.Errorf("new is %v, f is %v, elsewhere is %v; the open is of %v", node("/new"), node("/f"), node("/elsewhere"), mine)
	}
	c.closeFile(id)
}
