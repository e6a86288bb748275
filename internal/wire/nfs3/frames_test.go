package nfs3

import (
	"bytes"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/wire/sunrpc"
	"manifold/internal/wire/wiretest"
	"time"
)

// Frames as RFC 1813 and 5531 lay them out, written down by hand so that an
// error in the codec cannot cancel itself out. A test reads "HANDLE" as the
// handle of the root.

const callHeader = `
	00000007 00000000 00000002          # xid, CALL, RPC version 2
	000186a3 00000003 %PROC%            # NFS, version 3, procedure
	00000001 00000020 00000000          # AUTH_SYS, 32 bytes, stamp
	00000004 686f7374                   # machine "host"
	00000000 00000000                   # uid, gid
	00000002 00000005 00000006          # groups 5 and 6
	00000000 00000000                   # verifier AUTH_NONE
`

const replyHeader = `
	00000007 00000001 00000000          # xid, REPLY, accepted
	00000000 00000000 00000000          # verifier AUTH_NONE, success
	00000000                            # NFS3_OK
`

// rootAttr is the fattr3 of the root: made and last changed at 1000000001.000000002.
const rootAttr = `
	00000002 000001ff 00000002          # directory, 0777, 2 links
	00000000 00000000                   # uid, gid
	0000000000000000 %USED%             # size, used
	00000000 00000000                   # device
	0102030405060708 0000000000000002   # fsid, fileid
	3b9aca01 00000002                   # atime
	3b9aca01 00000002                   # mtime
	3b9aca01 00000002                   # ctime
`

func TestFrames(t *testing.T) {
	now := time.Unix(1_000_000_001, 2)
	m := memfs.New(memfs.Options{Now: func() time.Time { return now }, RootMode: 0o777})
	b := start(t, func(o *Options) {
		o.FS = m
		o.FSID = [16]byte{1, 2, 3, 4, 5, 6, 7, 8}
	})
	a, err := m.GetAttr(t.Context(), fs.SystemCaller(), fs.Root, fs.AttrBasic)
	if err != nil {
		t.Fatal(err)
	}
	nc := wiretest.Dial(t, "tcp", b.addr)
	fill := func(text, proc string) []byte {
		r := bytes.NewBufferString(text).Bytes()
		r = bytes.ReplaceAll(r, []byte("%ATTR%"), []byte(rootAttr))
		r = bytes.ReplaceAll(r, []byte("%PROC%"), []byte(proc))
		e := sunrpc.NewEncoder(8)
		e.U64(a.DataBytes + a.MetaBytes)
		r = bytes.ReplaceAll(r, []byte("%USED%"), hexOf(e.Bytes()))
		r = bytes.ReplaceAll(r, []byte("HANDLE"), append([]byte("00000030 "), hexOf(b.root)...))
		return wiretest.Frame(t, string(r))
	}
	for _, c := range []struct{ name, proc, args, results string }{
		{"GETATTR", "00000001", `HANDLE`, `%ATTR%`},
		{"ACCESS", "00000004", `HANDLE 0000003f`, `00000001 %ATTR% 0000001f`},
		{"FSINFO", "00000013", `HANDLE`, `00000001 %ATTR%
			00100000 00100000 00001000      # reads: largest, preferred, multiple
			00100000 00100000 00001000      # writes
			00020000 7fffffffffffffff       # directories, largest file
			00000000 00000001 0000001b      # 1 ns, properties`},
		{"PATHCONF", "00000014", `HANDLE`, `00000001 %ATTR%
			00000400 000000ff               # links, name
			00000001 00000001 00000000 00000001`},
		{"READDIR", "00000010", `HANDLE 0000000000000000 0000000000000000 00001000`, `00000001 %ATTR%
			0000000000000000                # verifier
			00000001 0000000000000002 00000001 2e000000 0000000000000001
			00000001 0000000000000002 00000002 2e2e0000 0000000000000002
			00000000 00000001               # no more entries, eof`},
		{"READDIRPLUS", "00000011", `HANDLE 0000000000000001 0000000000000000 00001000 00001000`, `00000001 %ATTR%
			0000000000000000
			00000001 0000000000000002 00000002 2e2e0000 0000000000000002
			00000001 %ATTR% 00000001 HANDLE
			00000000 00000001`},
		{"LOOKUP", "00000003", `HANDLE 00000002 2e2e0000`, `HANDLE 00000001 %ATTR% 00000001 %ATTR%`},
	} {
		got := wiretest.Exchange(t, nc, fill(callHeader+c.args, c.proc))
		if want := fill(replyHeader+c.results, ""); !bytes.Equal(got, want) {
			t.Errorf("%s answered\n%x, want\n%x", c.name, got, want)
		}
	}
	failed := fill(`00000007 00000001 00000000 00000000 00000000 00000000 00000002 00000001 %ATTR%`, "")
	if got := wiretest.Exchange(t, nc, fill(callHeader+`HANDLE 00000003 61626300`, "00000003")); !bytes.Equal(got, failed) {
		t.Errorf("LOOKUP of nothing answered\n%x, want\n%x", got, failed)
	}
	if got := wiretest.Exchange(t, nc, fill(callHeader, "00000000")); len(got) != 24 {
		t.Errorf("NULL answered %x", got)
	}
	garbled := fill(`00000007 00000001 00000000 00000000 00000000 00000004`, "")
	if got := wiretest.Exchange(t, nc, fill(callHeader+`00000041`, "00000001")); !bytes.Equal(got, garbled) {
		t.Errorf("a handle that is too long answered %x", got)
	}
	missing := fill(`00000007 00000001 00000000 00000000 00000000 00000003`, "")
	if got := wiretest.Exchange(t, nc, fill(callHeader, "00000016")); !bytes.Equal(got, missing) {
		t.Errorf("procedure 22 answered %x", got)
	}
}

func hexOf(p []byte) []byte {
	const digits = "0123456789abcdef"
	var out []byte
	for _, c := range p {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return out
}
