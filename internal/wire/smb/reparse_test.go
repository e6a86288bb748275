package smb

import (
	"bytes"
	"testing"

	"manifold/internal/fs"
)

func (c *client) control(id []byte, code uint32, in []byte, limit int, want status) []byte {
	c.t.Helper()
	b := make([]byte, 56)
	b[0] = 57
	le.PutUint32(b[4:], code)
	copy(b[8:], id)
	le.PutUint32(b[24:], headerSize+56)
	le.PutUint32(b[28:], uint32(len(in)))
	le.PutUint32(b[44:], uint32(limit))
	le.PutUint32(b[48:], 1)
	out := c.call(cmdIoctl, append(append(b, in...), 0), want)
	if want != stOK {
		return nil
	}
	return out[48:]
}

// A client makes a symlink of the empty file that it has created, sees it as
// such, is told where it leads when it walks through, and takes it back.
func TestReparse(t *testing.T) {
	c := dial(t, newTestServer(t))
	c.login()
	const all = fileGenericRead | fileGenericWrite
	id := c.create("link", all, uint32(fs.OpenCreate), optReparsePoint, stOK)
	c.control(id, fsctlGetReparse, nil, 1024, stNotAReparsePoint)
	want := symlinkData("../a/b")
	c.control(id, fsctlSetReparse, want[:19], 0, stIOReparseDataInvalid)
	c.control(id, fsctlSetReparse, want, 0, stOK)
	if got := c.control(id, fsctlGetReparse, nil, 1024, stOK); !bytes.Equal(got, want) {
		t.Fatalf("%x, want %x", got, want)
	}
	full := symlinkData("/??/C:/x")
	c.control(id, fsctlSetReparse, full, 0, stOK)
	if got := c.control(id, fsctlGetReparse, nil, 1024, stOK); !bytes.Equal(got, full) {
		t.Fatalf("%x, want %x", got, full)
	}
	c.create("link", all, uint32(fs.OpenExisting), 0, stStoppedOnSymlink)
	c.create("link\\file", all, uint32(fs.OpenExisting), 0, stStoppedOnSymlink)
	c.control(id, fsctlDeleteReparse, make([]byte, 8), 0, stIOReparseTagInvalid)
	c.control(id, fsctlDeleteReparse, []byte{0x24, 0, 0, 0x80, 0, 0, 0, 0}, 0, stIOReparseTagMismatch)
	c.control(id, fsctlDeleteReparse, []byte{0x0c, 0, 0, 0xa0, 0, 0, 0, 0}, 0, stOK)
	c.control(id, fsctlDeleteReparse, []byte{0x0c, 0, 0, 0xa0, 0, 0, 0, 0}, 0, stNotAReparsePoint)
	ro := c.create("link", fileGenericRead, uint32(fs.OpenExisting), 0, stOK)
	c.control(ro, fsctlSetReparse, want, 0, stAccessDenied)
}

func FuzzReparse(f *testing.F) {
	f.Add(symlinkData("../a"))
	f.Add([]byte{0x14, 0, 0, 0x80, 10, 0, 0, 0, 'L', 'N', 'K', 1, 0, 0, 0, 0, 'a', 0})
	f.Add([]byte{0x1d, 0, 0, 0xa0, 5, 0, 0, 0, 2, 0, 0, 0, 'a'})
	f.Fuzz(func(_ *testing.T, b []byte) {
		if p, st := parseReparse(b); st == stOK {
			_ = checkTarget(&p)
		}
	})
}
