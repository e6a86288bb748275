package smb

import (
	"bytes"
	"testing"

	"manifold/internal/fs"
)

// createWith opens with one create context and answers that of the response.
func (c *client) createWith(name string, access uint32, tag string, data []byte) (id, reply []byte) {
	c.t.Helper()
	p := encodeUTF16(name)
	b := make([]byte, 56)
	b[0] = 57
	le.PutUint32(b[4:], 2)
	le.PutUint32(b[24:], access)
	le.PutUint32(b[32:], 7)
	le.PutUint32(b[36:], uint32(fs.OpenIf))
	le.PutUint16(b[44:], headerSize+56)
	le.PutUint16(b[46:], uint16(len(p)))
	b = alignTo(append(b, p...), 0, 8)
	le.PutUint32(b[48:], uint32(headerSize+len(b)))
	at := len(b)
	b = append(b, 0, 0, 0, 0, 16, 0, 4, 0, 0, 0, 24, 0)
	b = append(append(le.AppendUint32(b, uint32(len(data))), tag...), 0, 0, 0, 0)
	b = append(b, data...)
	le.PutUint32(b[52:], uint32(len(b)-at))
	r := c.call(cmdCreate, b, stOK)
	off, n := le.Uint32(r[80:]), le.Uint32(r[84:])
	if n > 0 {
		x := r[off-headerSize:][:n]
		if string(x[le.Uint16(x[4:]):][:4]) != tag {
			c.t.Fatalf("context %x", x)
		}
		reply = x[le.Uint16(x[10:]):][:le.Uint32(x[12:])]
	}
	return r[64:80], reply
}

func (c *client) write(id []byte, off uint64, data []byte) {
	c.t.Helper()
	w := make([]byte, 48)
	w[0], w[2] = 49, headerSize+48
	le.PutUint32(w[4:], uint32(len(data)))
	le.PutUint64(w[8:], off)
	copy(w[16:], id)
	c.call(cmdWrite, append(w, data...), stOK)
}

func (c *client) read(id []byte, off uint64, n int) []byte {
	c.t.Helper()
	q := make([]byte, 49)
	q[0] = 49
	le.PutUint32(q[4:], uint32(n))
	le.PutUint64(q[8:], off)
	copy(q[16:], id)
	r := c.call(cmdRead, q, stOK)
	return r[16:][:le.Uint32(r[4:])]
}

// What the Finder says when it connects, as it is published: the capabilities of
// server and volume, and what kind of machine to show.
func TestAAPL(t *testing.T) {
	c := dial(t, newTestServer(t))
	c.login()
	query := func(bitmap uint64) []byte {
		q := make([]byte, 24)
		q[0] = 1 // server query
		le.PutUint64(q[8:], bitmap)
		le.PutUint64(q[16:], 7)
		id, reply := c.createWith("", fileGenericRead, "AAPL", q)
		c.closeFile(id)
		return reply
	}
	model := encodeUTF16("MANIFOLD")
	all := query(7)
	if le.Uint32(all) != 1 || le.Uint64(all[8:]) != 7 {
		t.Fatalf("%x", all)
	}
	const unixBased, fullSync, caseSensitive = 4, 4, 2
	if caps := le.Uint64(all[16:]); caps != unixBased {
		t.Errorf("server: %x", caps)
	}
	if caps := le.Uint64(all[24:]); caps&fullSync == 0 || caps&caseSensitive != 0 {
		t.Errorf("volume: %x", caps)
	}
	if n := le.Uint32(all[36:]); int(n) != len(model) || !bytes.Equal(all[40:], model) {
		t.Errorf("model: %x", all[32:])
	}
	if one := query(2); len(one) != 24 || le.Uint64(one[8:]) != 2 {
		t.Errorf("only the volume: %x", one)
	}
	if id, reply := c.createWith("", fileGenericRead, "AAPL", []byte{2, 0, 0, 0}); reply != nil {
		t.Errorf("another command is answered with %x", reply)
	} else {
		c.closeFile(id)
	}
}

// What the Finder keeps beside a file lies in two streams of it, which are
// listed, go where the file goes, and go with it.
func TestFinderStreams(t *testing.T) {
	c := dial(t, newTestServer(t))
	c.login()
	all := fileGenericRead | fileGenericWrite | uint32(fs.RightDelete)
	file := c.create("Photo.tiff", all, uint32(fs.OpenCreate), 0, stOK)
	info := make([]byte, 60) // "AFP", version 1, Finder information
	copy(info, "AFP\x00\x00\x01\x00\x00")
	copy(info[16:], "TIFF8BIM")
	fork := bytes.Repeat([]byte("resource"), 5000)
	for name, data := range map[string][]byte{"AFP_AfpInfo": info, "AFP_Resource": fork} {
		id := c.create("Photo.tiff:"+name+":$DATA", all, uint32(fs.OpenIf), 0, stOK)
		c.write(id, 0, data)
		c.call(cmdFlush, append(append([]byte{24, 0, 0, 0, 0, 0, 0, 0}, id...), make([]byte, 0)...), stOK) // full sync
		c.closeFile(id)
	}
	streams := func() map[string]uint64 {
		q := make([]byte, 41)
		q[0], q[2], q[3] = 41, 1, fiStream
		le.PutUint32(q[4:], 4096)
		copy(q[24:], file)
		r := c.call(cmdQueryInfo, q, stOK)
		out := map[string]uint64{}
		for b := r[8:][:le.Uint32(r[4:])]; len(b) >= 24; {
			out[decodeUTF16(b[24:][:le.Uint32(b[4:])])] = le.Uint64(b[8:])
			next := le.Uint32(b)
			if next == 0 {
				break
			}
			b = b[next:]
		}
		return out
	}
	if s := streams(); len(s) != 3 || s["::$DATA"] != 0 || s[":AFP_AfpInfo:$DATA"] != 60 || s[":AFP_Resource:$DATA"] != uint64(len(fork)) {
		t.Errorf("%v", s)
	}
	// Saved under another name, it is the same with all that belongs to it.
	name := encodeUTF16("Moved.tiff")
	set := make([]byte, 32)
	set[0], set[2], set[3] = 33, 1, fiRename
	rename := make([]byte, 20)
	le.PutUint32(rename[16:], uint32(len(name)))
	rename = append(rename, name...)
	le.PutUint32(set[4:], uint32(len(rename)))
	set[8] = headerSize + 32
	copy(set[16:], file)
	c.call(cmdSetInfo, append(set, rename...), stOK)
	id := c.create("moved.TIFF:afp_afpinfo", fileGenericRead, uint32(fs.OpenExisting), 0, stOK)
	if got := c.read(id, 0, 100); !bytes.Equal(got, info) {
		t.Errorf("%x", got)
	}
	c.closeFile(id)
	id = c.create("Moved.tiff:AFP_Resource:$DATA", fileGenericRead, uint32(fs.OpenExisting), 0, stOK)
	if got := c.read(id, 8, 16); string(got) != "resourceresource" {
		t.Errorf("%q", got)
	}
	c.closeFile(id)
	// A resource fork that is emptied is deleted by its own name.
	id = c.create("Moved.tiff:AFP_Resource:$DATA", fileGenericRead|uint32(fs.RightDelete), uint32(fs.OpenExisting), optDeleteOnClose, stOK)
	c.closeFile(id)
	if s := streams(); len(s) != 2 || s[":AFP_AfpInfo:$DATA"] != 60 {
		t.Errorf("%v", s)
	}
	c.closeFile(file)
	c.closeFile(c.create("Moved.tiff", fileGenericRead|uint32(fs.RightDelete), uint32(fs.OpenExisting), optDeleteOnClose, stOK))
	c.create("Moved.tiff:AFP_AfpInfo", fileGenericRead, uint32(fs.OpenExisting), 0, stObjectNameNotFound)
}
