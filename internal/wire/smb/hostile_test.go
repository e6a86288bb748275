package smb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"manifold/internal/fs"
)

// bodies are valid requests on an open; the tests below bend them.
func bodies(id []byte) map[uint16][]byte {
	with := func(size, at, n int) []byte {
		b := make([]byte, n)
		b[0] = byte(size)
		if at > 0 {
			copy(b[at:], id)
		}
		return b
	}
	read := with(49, 16, 49)
	le.PutUint32(read[4:], 100)
	write := append(with(49, 16, 48), "data"...)
	write[2], write[4] = headerSize+48, 4
	lock := with(48, 8, 48)
	lock[2], lock[32], lock[40] = 1, 8, lockExclusive|lockImmediate
	ioctl := with(57, 8, 60)
	le.PutUint32(ioctl[4:], fsctlQueryRanges)
	le.PutUint32(ioctl[44:], 4096)
	ioctl[48] = 1
	query := with(41, 24, 41)
	query[2], query[3] = 1, fiAll
	le.PutUint32(query[4:], 4096)
	set := append(with(33, 16, 32), make([]byte, 40)...)
	set[2], set[3], set[4], set[8] = 1, fiBasic, 40, headerSize+32
	dir := append(with(33, 8, 32), '*', 0)
	dir[2], dir[24], dir[26] = fiIDBothDirectory, headerSize+32, 2
	le.PutUint32(dir[28:], 4096)
	notify := with(32, 8, 32)
	le.PutUint32(notify[4:], 4096)
	notify[24] = 1
	oplock := with(24, 8, 24)
	return map[uint16][]byte{
		cmdRead: read, cmdWrite: write, cmdLock: lock, cmdIoctl: ioctl, cmdQueryInfo: query, cmdSetInfo: set, cmdQueryDirectory: dir,
		cmdChangeNotify: notify, cmdOplockBreak: oplock, cmdFlush: with(24, 8, 24), cmdClose: with(24, 8, 24), cmdEcho: with(4, 0, 4),
		cmdTreeDisconnect: with(4, 0, 4), cmdLogoff: with(4, 0, 4),
	}
}

// A close that comes right behind other requests lets them be.
func TestPipelinedClose(t *testing.T) {
	c := dial(t, newTestServer(t))
	c.login()
	for range 20 {
		id := c.create("f", fileGenericRead|fileGenericWrite, uint32(fs.OpenIf), 0, stOK)
		b := bodies(id)
		var frames []byte
		const n = 9
		for i := range n {
			cmd := uint16(cmdWrite)
			if i == n-1 {
				cmd = cmdClose
			} else if i%3 == 1 {
				cmd = cmdQueryInfo
			} else if i > 0 {
				cmd = cmdRead
			}
			m := c.message(cmd, b[cmd])
			frames = append(binary.BigEndian.AppendUint32(frames, uint32(len(m))), m...)
		}
		sent := make(chan error, 1)
		go func() {
			_, err := c.c.Write(frames)
			sent <- err
		}()
		for range n {
			if st, _ := c.reply(); st != stOK {
				t.Fatalf("status %08x", uint32(st))
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

// Sequences of requests with bytes changed, cut, chained and sent on lost
// connections leave a server that serves others and stops when it is told to.
func TestHostile(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newTestServer(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		c := dial(t, s)
		c.login()
		id := c.create("", fileGenericRead, uint32(fs.OpenExisting), optDirectory, stOK)
		if rnd.IntN(2) == 0 {
			id = c.create("f", fileGenericRead|fileGenericWrite, uint32(fs.OpenIf), 0, stOK)
		}
		b := bodies(id)
		cmds := make([]uint16, 0, len(b))
		for cmd := range b {
			cmds = append(cmds, cmd)
		}
		slices.Sort(cmds)
		go func() { _, _ = io.Copy(io.Discard, c.c) }()
		_ = c.c.SetWriteDeadline(time.Now().Add(5 * time.Second))
		for range 12 {
			var frame []byte
			for links := 1 + rnd.IntN(3); links > 0; links-- {
				cmd := cmds[rnd.IntN(len(cmds))]
				m := c.message(cmd, bytes.Clone(b[cmd]))
				for range rnd.IntN(4) {
					// Message ids out of order end the connection before anything else.
					if at := 8 + rnd.IntN(len(m)-8); at < 24 || at >= 32 {
						m[at] ^= byte(1 << rnd.IntN(8))
					}
				}
				if rnd.IntN(8) == 0 {
					m = m[:headerSize+rnd.IntN(len(m)-headerSize)]
				}
				if links > 1 {
					m = alignTo(m, 0, 8)
					le.PutUint32(m[20:], uint32(len(m)))
				}
				if len(frame) > 0 && rnd.IntN(2) == 0 {
					m[16] |= flagRelated
				}
				frame = append(frame, m...)
			}
			n := binary.BigEndian.AppendUint32(nil, uint32(len(frame)))
			if _, err := c.c.Write(append(n, frame...)); err != nil {
				break // it had enough
			}
		}
		_ = c.c.Close()
	}
	c := dial(t, s)
	c.login()
	c.closeFile(c.create("fine", fileGenericWrite, uint32(fs.OpenCreate), 0, stOK))
	_ = c.c.Close()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Conns+st.Sessions+st.Opens != 0 {
		t.Errorf("left behind: %+v", st)
	}
	for range 1000 {
		if runtime.NumGoroutine() <= before+3 {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

// idle brings n sessions in, each with a connection and a tree, and answers
// what memory one takes, its client's half of the pipe included.
func idle(tb testing.TB, n int) uint64 {
	s := newTestServer(tb)
	used := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := used()
	clients := make([]*client, n)
	for i := range clients {
		clients[i] = dial(tb, s)
		clients[i].login()
	}
	after := used()
	if got := s.Stats().Sessions; got != n {
		tb.Fatalf("%d sessions", got)
	}
	runtime.KeepAlive(clients)
	return (after - min(before, after)) / uint64(n)
}

func TestIdleSessions(t *testing.T) {
	const most = 100 << 10
	per := idle(t, 500)
	t.Logf("%d bytes a session", per)
	if per > most {
		t.Errorf("an idle session takes %d bytes, more than %d", per, most)
	}
}

func BenchmarkIdleSessions(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(idle(b, 5000)), "B/session")
	}
}

func FuzzHeader(f *testing.F) {
	h := header{command: cmdCreate, messageID: 7, sessionID: 9, treeID: 3, credits: 1, charge: 1}
	b := make([]byte, headerSize)
	h.put(b)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := parseHeader(b)
		if !ok {
			return
		}
		out := make([]byte, headerSize)
		h.put(out)
		if again, ok := parseHeader(out); !ok || again.command != h.command || again.messageID != h.messageID {
			t.Errorf("%+v is read as %+v", h, again)
		}
	})
}

func FuzzLease(f *testing.F) {
	f.Add(make([]byte, 32))
	f.Add(make([]byte, 52))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l := parseLease(b); l != nil && len(leaseReply(&cache{lease: &lease{v2: l.v2}})) != len(b) {
			t.Error("a lease is answered in another form")
		}
	})
}

func FuzzEAs(f *testing.F) {
	s := newTestServer(f)
	n := fs.Root
	f.Add([]byte{0, 0, 0, 0, 0, 1, 1, 0, 'n', 0, 'v'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		r := &request{c: &conn{s: s}, ctx: t.Context(), caller: fs.SystemCaller()}
		_ = r.setEAs(t.Context(), n, b)
		_, _ = r.queryEAs(&open{s: s, node: n}, b, 0, 1024)
	})
}

// Whole frames, before anybody has said who he is.
func FuzzFrame(f *testing.F) {
	f.Add(append([]byte("\xfeSMB\x40\x00"), make([]byte, 100)...))
	f.Add(append([]byte("\xfdSMB"), make([]byte, 120)...))
	f.Add(append([]byte("\xffSMB\x72"), make([]byte, 40)...))
	s := newTestServer(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		mine, theirs := net.Pipe()
		s.ServeConn(theirs)
		go func() { _, _ = io.Copy(io.Discard, mine) }()
		_, _ = mine.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
		_ = mine.Close()
	})
}

// scarce is a listener that has no descriptors left at first.
type scarce struct {
	net.Listener
	failures int
}

func (l *scarce) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestServe_outOfDescriptors(t *testing.T) {
	s := newTestServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(&scarce{l, 2}) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	(&client{t: t, c: nc}).login()
	if err := errors.Join(s.Shutdown(t.Context()), <-served); err != nil {
		t.Error(err)
	}
}
