package smb

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/identity/ntlm"
)

type noAccounts struct{}

func (noAccounts) Account(context.Context, string, string) (*ntlm.Account, error) {
	return nil, ntlm.ErrNoUser
}

type oneShare struct{ s Share }

func (o *oneShare) Share(_ context.Context, name string, _ *fs.Caller) (*Share, error) {
	if !equalFold(name, o.s.Name) {
		return nil, fs.NotExist
	}
	s := o.s
	return &s, nil
}

func (o *oneShare) List(_ context.Context, _ *fs.Caller, yield func(*Share) bool) error {
	yield(&o.s)
	return nil
}

func newTestServer(t testing.TB) *Server {
	t.Helper()
	s := New(t.Context(), Options{
		FS: memfs.New(memfs.Options{RootMode: 0o777}), Accounts: noAccounts{},
		Shares: &oneShare{Share{Name: "Files", Root: fs.Root, Guest: true}},
	})
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	return s
}

// client speaks just enough to drive the server.
type client struct {
	t       testing.TB
	c       net.Conn
	id      uint64
	session uint64
	tree    uint32
}

func dial(t testing.TB, s *Server) *client {
	t.Helper()
	mine, theirs := net.Pipe()
	s.ServeConn(theirs)
	t.Cleanup(func() { _ = mine.Close() })
	return &client{t: t, c: mine}
}

func (c *client) frame(b []byte) {
	c.t.Helper()
	n := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	if _, err := c.c.Write(append(n, b...)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) message(cmd uint16, body []byte) []byte {
	h := header{command: cmd, messageID: c.id, credits: 32, sessionID: c.session, treeID: c.tree}
	c.id++
	b := make([]byte, headerSize)
	h.put(b)
	return append(b, body...)
}

// reply reads one response.
func (c *client) reply() (status, []byte) {
	c.t.Helper()
	var n [4]byte
	if _, err := io.ReadFull(c.c, n[:]); err != nil {
		c.t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(n[:]))
	if _, err := io.ReadFull(c.c, b); err != nil {
		c.t.Fatal(err)
	}
	h, ok := parseHeader(b)
	if !ok {
		c.t.Fatalf("no header: %x", b)
	}
	if h.sessionID != 0 {
		c.session = h.sessionID
	}
	if h.command == cmdTreeConnect {
		c.tree = h.treeID
	}
	return status(h.status), b[headerSize:]
}

func (c *client) call(cmd uint16, body []byte, want status) []byte {
	c.t.Helper()
	c.frame(c.message(cmd, body))
	st, b := c.reply()
	if st != want {
		c.t.Fatalf("command %d: status %08x, want %08x", cmd, uint32(st), uint32(want))
	}
	return b
}

func negotiateRequest(dialects ...uint16) []byte {
	b := make([]byte, 36)
	b[0], b[2], b[4] = 36, byte(len(dialects)), 1
	for _, d := range dialects {
		b = le.AppendUint16(b, d)
	}
	return b
}

func (c *client) setup(token []byte, want status) {
	c.t.Helper()
	b := make([]byte, 24)
	b[0], b[3], b[12] = 25, 1, headerSize+24
	le.PutUint16(b[14:], uint16(len(token)))
	c.call(cmdSessionSetup, append(b, token...), want)
}

// login comes in as nobody and connects to the share.
func (c *client) login() {
	c.t.Helper()
	c.call(cmdNegotiate, negotiateRequest(dialect202, dialect210, dialect300), stOK)
	neg := append([]byte("NTLMSSP\x00"), 1, 0, 0, 0, 0x05, 0x02, 0x08, 0x00)
	c.setup(neg, stMoreProcessing)
	auth := make([]byte, 64)
	copy(auth, "NTLMSSP\x00\x03")
	auth[60], auth[61], auth[62] = 0x05, 0x02, 0x08
	c.setup(auth, stOK)
	c.connect("\\\\host\\files", stOK)
}

func (c *client) connect(path string, want status) {
	c.t.Helper()
	p := encodeUTF16(path)
	b := []byte{9, 0, 0, 0, headerSize + 8, 0, byte(len(p)), 0}
	c.call(cmdTreeConnect, append(b, p...), want)
}

// create answers the id of the open, or the body of the error that is wanted.
func (c *client) create(name string, access, disposition, options uint32, want status) []byte {
	c.t.Helper()
	p := encodeUTF16(name)
	b := make([]byte, 56)
	b[0] = 57
	le.PutUint32(b[4:], 2)
	le.PutUint32(b[24:], access)
	le.PutUint32(b[32:], 7)
	le.PutUint32(b[36:], disposition)
	le.PutUint32(b[40:], options)
	le.PutUint16(b[44:], headerSize+56)
	le.PutUint16(b[46:], uint16(len(p)))
	r := c.call(cmdCreate, append(append(b, p...), 0), want)
	if want != stOK {
		return r
	}
	return r[64:80]
}

func (c *client) closeFile(id []byte) {
	c.t.Helper()
	b := make([]byte, 24)
	b[0] = 24
	copy(b[8:], id)
	c.call(cmdClose, b, stOK)
}

func TestFileLife(t *testing.T) {
	c := dial(t, newTestServer(t))
	c.login()
	id := c.create("Hello.txt", fileGenericRead|fileGenericWrite|uint32(fs.RightDelete), uint32(fs.OpenCreate), 0, stOK)
	data := []byte("some bytes")
	w := make([]byte, 48)
	w[0], w[2] = 49, headerSize+48
	le.PutUint32(w[4:], uint32(len(data)))
	le.PutUint64(w[8:], 5)
	copy(w[16:], id)
	c.call(cmdWrite, append(w, data...), stOK)

	rd := make([]byte, 49)
	rd[0] = 49
	le.PutUint32(rd[4:], 100)
	copy(rd[16:], id)
	r := c.call(cmdRead, rd, stOK)
	if n := le.Uint32(r[4:]); n != 15 || string(r[16+5:16+n]) != string(data) {
		t.Fatalf("%d bytes: %q", n, r[16:])
	}
	c.closeFile(id)

	c.create("HELLO.TXT", fileGenericRead, uint32(fs.OpenCreate), 0, stObjectNameCollision)
	c.create("missing\\x", fileGenericRead, uint32(fs.OpenExisting), 0, stObjectPathNotFound)
	c.create("bad*name", fileGenericRead, uint32(fs.OpenIf), 0, stObjectNameInvalid)
	id = c.create("hello.TXT", fileGenericRead|uint32(fs.RightDelete), uint32(fs.OpenExisting), optDeleteOnClose, stOK)
	c.closeFile(id)
	c.create("hello.txt", fileGenericRead, uint32(fs.OpenExisting), 0, stObjectNameNotFound)
}

func TestListing(t *testing.T) {
	c := dial(t, newTestServer(t))
	c.login()
	for _, n := range []string{"one", "two", "three"} {
		c.closeFile(c.create(n, fileGenericWrite, uint32(fs.OpenCreate), 0, stOK))
	}
	dir := c.create("", fileGenericRead, uint32(fs.OpenExisting), optDirectory, stOK)
	pattern := encodeUTF16("t*")
	q := make([]byte, 32)
	q[0], q[2] = 33, fiNames
	copy(q[8:], dir)
	q[24] = headerSize + 32
	le.PutUint16(q[26:], uint16(len(pattern)))
	le.PutUint32(q[28:], 4096)
	q = append(q, pattern...)
	r := c.call(cmdQueryDirectory, q, stOK)
	got := map[string]bool{}
	for b := r[8:]; ; {
		got[decodeUTF16(b[12:12+le.Uint32(b[8:])])] = true
		next := le.Uint32(b)
		if next == 0 {
			break
		}
		b = b[next:]
	}
	if len(got) != 2 || !got["two"] || !got["three"] {
		t.Fatal(got)
	}
	c.call(cmdQueryDirectory, q, stNoMoreFiles)
}

func TestRefusals(t *testing.T) {
	c := dial(t, newTestServer(t))
	c.login()
	c.connect("\\\\host\\nowhere", stBadNetworkName)
	c.tree = 99
	c.call(cmdClose, append([]byte{24, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 16)...), stNetworkNameDeleted)
	c.call(cmdEcho, []byte{4, 0, 0, 0}, stOK)
	c.call(cmdEcho, []byte{5, 0, 0, 0}, stInvalidParameter)
	c.tree, c.session = 0, 12345
	c.call(cmdTreeConnect, make([]byte, 8), stUserSessionDeleted)
}

func TestMultiProtocol(t *testing.T) {
	c := dial(t, newTestServer(t))
	b := make([]byte, 35)
	copy(b, "\xffSMB\x72")
	names := "\x02NT LM 0.12\x00\x02SMB 2.002\x00\x02SMB 2.???\x00"
	le.PutUint16(b[33:], uint16(len(names)))
	c.frame(append(b, names...))
	st, r := c.reply()
	if st != stOK || le.Uint16(r[4:]) != dialect2ff {
		t.Fatalf("%x %x", st, r)
	}
	c.id = 1
	r = c.call(cmdNegotiate, negotiateRequest(dialect202, dialect210), stOK)
	if le.Uint16(r[4:]) != dialect210 {
		t.Fatalf("%x", r)
	}
}

// Bytes of any kind after a login neither crash nor hang the server.
func FuzzRequest(f *testing.F) {
	f.Add(uint16(cmdCreate), make([]byte, 60))
	f.Add(uint16(cmdIoctl), append([]byte{57}, make([]byte, 60)...))
	f.Add(uint16(cmdSetInfo), append([]byte{33}, make([]byte, 60)...))
	f.Add(uint16(cmdLock), append([]byte{48}, make([]byte, 60)...))
	f.Add(uint16(cmdQueryInfo), append([]byte{41}, make([]byte, 60)...))
	s := newTestServer(f)
	f.Fuzz(func(t *testing.T, cmd uint16, body []byte) {
		cmd %= cmdCount
		if len(body) > 4096 || cmd == cmdCancel {
			return
		}
		mine, theirs := net.Pipe()
		s.ServeConn(theirs)
		c := &client{t: t, c: mine}
		defer func() { _ = mine.Close() }()
		c.login()
		size := requestSizes[cmd]
		if len(body) >= 2 {
			le.PutUint16(body, uint16(size))
		}
		c.frame(c.message(cmd, body))
		// Any answer or the end of the connection will do.
		var n [4]byte
		_, _ = io.ReadFull(mine, n[:])
	})
}
