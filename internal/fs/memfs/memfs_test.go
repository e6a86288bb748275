package memfs_test

import (
	"context"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
)

func TestSmoke(t *testing.T) {
	ctx, c := context.Background(), fs.SystemCaller()
	f := memfs.New(memfs.Options{})
	d, err := f.Create(ctx, c, fs.Root, "d", &fs.CreateSpec{Type: fs.Directory, Want: fs.AttrEverything})
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Create(ctx, c, d.Attr.Node, "f", &fs.CreateSpec{Type: fs.File, Want: fs.AttrEverything})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(ctx, c, r.Attr.Node, &fs.WriteRequest{Offset: 5000, Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	s, err := f.TakeSnapshot(ctx, fs.SnapshotSpec{Root: d.Attr.Node.ID})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Rename(ctx, c, d.Attr.Node, "f", fs.Root, "g", fs.RenameOptions{}); err != nil {
		t.Fatal(err)
	}
	a, err := f.Resolve(ctx, c, "/d/.snapshot/"+s.Name+"/f", fs.AttrEverything)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if res, err := f.Read(ctx, c, a.Node, &fs.ReadRequest{Offset: 5000}, buf); err != nil || string(buf) != "hello" || !res.EOF {
		t.Fatalf("%v %q %+v", err, buf, res)
	}
	n := 0
	if eof, err := f.ReadDir(ctx, c, fs.Root, 0, fs.AttrBasic, func(*fs.Dirent) bool { n++; return true }); err != nil || !eof || n != 2 {
		t.Fatal(eof, err, n)
	}
}
