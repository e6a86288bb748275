package smb

import (
	"bytes"
	"reflect"
	"testing"

	"manifold/internal/fs"
)

func (c *client) control(id []byte, code uint32, in []byte, limit int, want status) []byte {
	c.t.Helper()
	q := ioctlRequest(id, code, in)
	le.PutUint32(q[44:], uint32(limit))
	out := c.call(cmdIoctl, q, want)
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
	for path, unparsed := range map[string]int{"link": 0, "link\\d\\file": 2 * len("\\d\\file"), "link\\f:s": 2 * len("\\f:s")} {
		told := c.create(path, all, uint32(fs.OpenExisting), 0, stStoppedOnSymlink)
		n := int(le.Uint32(told[4:]))
		if rd := told[16:]; n != 8+len(full) || len(rd) != len(full) || le.Uint32(told[8:]) != uint32(4+len(full)) ||
			string(told[12:16]) != "SYML" || int(le.Uint16(rd[6:])) != unparsed || !bytes.Equal(rd[8:], full[8:]) {
			t.Errorf("%s: %x", path, told)
		}
	}
	c.control(id, fsctlDeleteReparse, make([]byte, 8), 0, stIOReparseTagInvalid)
	c.control(id, fsctlDeleteReparse, []byte{0x24, 0, 0, 0x80, 0, 0, 0, 0}, 0, stIOReparseTagMismatch)
	c.control(id, fsctlDeleteReparse, []byte{0x0c, 0, 0, 0xa0, 0, 0, 0, 0}, 0, stOK)
	c.control(id, fsctlDeleteReparse, []byte{0x0c, 0, 0, 0xa0, 0, 0, 0, 0}, 0, stNotAReparsePoint)

	// From the root of the share, which is not where NFS sees it from.
	root := symlinkData("/x/y")
	root[16] = linkRelative
	c.create("d", all, uint32(fs.OpenCreate), optDirectory, stOK)
	deep := c.create("d\\deep", all, uint32(fs.OpenCreate), optReparsePoint, stOK)
	c.control(deep, fsctlSetReparse, root, 0, stOK)
	if got, want := c.control(deep, fsctlGetReparse, nil, 1024, stOK), symlinkData("../x/y"); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	ro := c.create("link", fileGenericRead, uint32(fs.OpenExisting), 0, stOK)
	c.control(ro, fsctlSetReparse, want, 0, stAccessDenied)
}

// What Unix clients write.
func TestParseReparse(t *testing.T) {
	point := func(tag uint32, data ...byte) []byte {
		b := le.AppendUint32(nil, tag)
		return append(append(b, byte(len(data)), byte(len(data)>>8), 0, 0), data...)
	}
	nfs := func(kind uint64, data ...byte) []byte {
		return point(tagNFS, append(le.AppendUint64(nil, kind), data...)...)
	}
	link := fs.RetypeSpec{Type: fs.Symlink, Target: []byte("a/b")}
	for _, x := range []struct {
		name string
		in   []byte
		want fs.RetypeSpec
		st   status
	}{
		{"NFS link", nfs(nfsLink, 'a', 0, '/', 0, 'b', 0), link, stOK},
		{"NFS link, half a character", nfs(nfsLink, 'a'), fs.RetypeSpec{}, stIOReparseDataInvalid},
		{"NFS device", nfs(nfsChar, 5, 0, 0, 0, 1, 0, 0, 0), fs.RetypeSpec{Type: fs.CharDevice, RdevMajor: 5, RdevMinor: 1}, stOK},
		{"NFS block device", nfs(nfsBlock, 8, 0, 0, 0, 2, 0, 0, 0), fs.RetypeSpec{Type: fs.BlockDevice, RdevMajor: 8, RdevMinor: 2}, stOK},
		{"NFS device without numbers", nfs(nfsChar), fs.RetypeSpec{}, stIOReparseDataInvalid},
		{"NFS FIFO", nfs(nfsFIFO), fs.RetypeSpec{Type: fs.FIFO}, stOK},
		{"NFS socket", nfs(nfsSocket), fs.RetypeSpec{Type: fs.Socket}, stOK},
		{"NFS of no type", nfs(1), fs.RetypeSpec{}, stIOReparseDataInvalid},
		{"WSL link", point(tagUnixLink, 2, 0, 0, 0, 'a', '/', 'b'), link, stOK},
		{"WSL link of another form", point(tagUnixLink, 1, 0, 0, 0, 'a'), fs.RetypeSpec{}, stIOReparseDataInvalid},
		{"WSL FIFO", point(tagFIFO), fs.RetypeSpec{Type: fs.FIFO}, stOK},
		{"WSL socket", point(tagSocket), fs.RetypeSpec{Type: fs.Socket}, stOK},
		{"WSL socket with data", point(tagSocket, 0), fs.RetypeSpec{}, stIOReparseDataInvalid},
		{"symlink", symlinkData("a/b"), link, stOK},
		{"mount point", point(0xA0000003, 0, 0), fs.RetypeSpec{}, stNotSupported},
		{"no tag", point(1), fs.RetypeSpec{}, stIOReparseTagInvalid},
		{"longer than it says", append(point(tagFIFO), 0), fs.RetypeSpec{}, stIOReparseDataInvalid},
	} {
		p, st := parseReparse(x.in)
		if st != x.st || st == stOK && !reflect.DeepEqual(p.RetypeSpec, x.want) {
			t.Errorf("%s: %+v, %08x; want %+v, %08x", x.name, p.RetypeSpec, uint32(st), x.want, uint32(x.st))
		}
	}
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
