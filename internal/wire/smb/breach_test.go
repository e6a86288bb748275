package smb

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"manifold/internal/fs"
)

// openBatch opens a file and asks for a batch oplock; it answers the level.
func (c *client) openBatch(name string) (id []byte, level byte) {
	c.t.Helper()
	p := encodeUTF16(name)
	b := make([]byte, 56)
	b[0], b[3] = 57, oplockBatch
	le.PutUint32(b[4:], 2)
	le.PutUint32(b[24:], fileGenericRead|fileGenericWrite)
	le.PutUint32(b[32:], 7)
	le.PutUint32(b[36:], uint32(fs.OpenIf))
	le.PutUint16(b[44:], headerSize+56)
	le.PutUint16(b[46:], uint16(len(p)))
	r := c.call(cmdCreate, append(append(b, p...), 0), stOK)
	return append([]byte(nil), r[64:80]...), r[2]
}

// Another protocol waits until the holder of an oplock has given it up, and
// none is given while it works.
func TestBreak(t *testing.T) {
	s := newTestServer(t)
	c := dial(t, s)
	c.login()
	id, level := c.openBatch("f")
	if level != oplockBatch {
		t.Fatalf("granted %#x", level)
	}
	a, err := s.o.FS.Resolve(t.Context(), fs.SystemCaller(), "/f", 0)
	if err != nil {
		t.Fatal(err)
	}
	other := &fs.Caller{Cred: fs.SystemCaller().Cred, Protocol: fs.ProtoNFS3}
	if end, err := s.Break(t.Context(), &fs.Caller{Protocol: fs.ProtoSMB}, a.Node, 0, fs.BreachWrite, nil); end != nil || err != nil {
		t.Errorf("our own calls are told to wait: %v", err)
	}
	refused := errors.New("refused")
	if end, err := s.Break(t.Context(), other, a.Node, 0, fs.BreachWrite, func() error { return refused }); end != nil || err != refused {
		t.Errorf("who is refused anyway: %v", err) // and nothing is told: see the next reply
	}
	never := func() error { t.Error("asked though nothing stands against it"); return nil }
	if end, err := s.Break(t.Context(), other, fs.Node{ID: 1 << 40}, 0, fs.BreachWrite, never); err != nil {
		t.Error(err)
	} else {
		end()
	}
	c.call(cmdEcho, []byte{4, 0, 0, 0}, stOK)
	allowed := func() error { return nil }
	type result struct {
		end func()
		err error
	}
	got := make(chan result, 1)
	go func() {
		end, err := s.Break(t.Context(), other, a.Node, 0, fs.BreachWrite, allowed)
		got <- result{end, err}
	}()
	st, r := c.reply()
	if st != stOK || len(r) != 24 || r[2] != oplockNone || string(r[8:24]) != string(id) {
		t.Fatalf("told %x %x", st, r)
	}
	select {
	case <-got:
		t.Fatal("did not wait for the answer")
	default:
	}
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Break(short, other, a.Node, 0, fs.BreachRead, allowed); !errors.Is(err, context.Canceled) {
		t.Errorf("who gives up: %v", err)
	}
	ack := make([]byte, 24)
	ack[0], ack[2] = 24, oplockNone
	copy(ack[8:], id)
	c.call(cmdOplockBreak, ack, stOK)
	res := <-got
	if res.err != nil {
		t.Fatal(res.err)
	}
	c.closeFile(id)
	if id, level = c.openBatch("f"); level != oplockNone {
		t.Errorf("granted %#x while others write", level)
	}
	c.closeFile(id)
	res.end()
	if id, level = c.openBatch("f"); level != oplockBatch {
		t.Errorf("granted %#x afterwards", level)
	}
	if s.Caching() != true {
		t.Error("nothing is open")
	}
	c.closeFile(id)
	if s.Caching() {
		t.Error("something is open")
	}
}

// What is taken away is gone for those who are connected.
func TestApply(t *testing.T) {
	s := newTestServer(t)
	c := dial(t, s)
	c.login()
	id := c.create("f", fileGenericWrite, uint32(fs.OpenCreate), 0, stOK)
	share := s.o.Shares.(*oneShare)
	share.s.ReadOnly = true
	s.Apply(t.Context(), Policy{})
	c.closeFile(id)
	c.create("g", fileGenericWrite, uint32(fs.OpenCreate), 0, stAccessDenied)
	share.s.Name = "other"
	s.Apply(t.Context(), Policy{})
	c.create("f", fileGenericRead, uint32(fs.OpenExisting), 0, stNetworkNameDeleted)
	if n := len(s.Sessions()); n != 1 {
		t.Errorf("%d sessions", n)
	}
	if len(s.Opens()) != 0 || s.CloseSession(1<<40) || s.CloseOpen(t.Context(), 1<<40) {
		t.Error("something is listed or closed that is not there")
	}
	s.Apply(t.Context(), Policy{Dialects: []uint16{dialect311}})
	_ = c.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a client of a dialect that is not served stays: %v", err)
	}
}
