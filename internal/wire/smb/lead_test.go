package smb

import (
	"context"
	"sync"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
)

// A request that nothing holds up is answered by who has read it.
func TestReaderAnswersItself(t *testing.T) {
	s := newTestServer(t)
	c := dial(t, s)
	c.login()
	taken := make(chan struct{}, 1000)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // who would take the reading over
		defer close(stopped)
		for {
			select {
			case c := <-s.parked:
				taken <- struct{}{}
				s.wg.Add(1)
				go s.follow(c)
			case <-stop:
				return
			}
		}
	}()
	var id []byte
	for range 50 {
		id = c.create("file", fileGenericRead|fileGenericWrite|uint32(fs.RightDelete), uint32(fs.OpenIf), 0, stOK)
		c.closeFile(id)
		c.call(cmdEcho, []byte{4, 0, 0, 0}, stOK)
	}
	close(stop)
	<-stopped
	if n := len(taken); n != 0 {
		t.Errorf("reading was handed over %d times for 150 requests that wait for nothing", n)
	}
}

// blockedFS opens the file "slow" when it is let.
type blockedFS struct {
	fs.FS
	let chan struct{}
}

func (b *blockedFS) Open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec) (fs.Handle, fs.OpenResult, error) {
	if o.Name == "slow" {
		<-b.let
	}
	return b.FS.Open(ctx, c, o)
}

// One that takes long does not hold up those behind it.
func TestSlowRequestLetsOthersBy(t *testing.T) {
	b := &blockedFS{memfs.New(memfs.Options{RootMode: 0o777}), make(chan struct{})}
	s := New(t.Context(), Options{
		FS: b, Accounts: noAccounts{}, HeadStart: time.Millisecond,
		Shares: &oneShare{Share{Name: "Files", Root: fs.Root, Guest: true}},
	})
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	let := sync.OnceFunc(func() { close(b.let) })
	t.Cleanup(let)
	c := dial(t, s)
	c.login()
	p := encodeUTF16("slow")
	q := make([]byte, 56)
	q[0] = 57
	le.PutUint32(q[4:], 2)
	le.PutUint32(q[24:], fileGenericRead)
	le.PutUint32(q[32:], 7)
	le.PutUint32(q[36:], uint32(fs.OpenIf))
	le.PutUint16(q[44:], headerSize+56)
	le.PutUint16(q[46:], uint16(len(p)))
	c.frame(c.message(cmdCreate, append(append(q, p...), 0)))
	for range 3 {
		c.call(cmdEcho, []byte{4, 0, 0, 0}, stOK)
	}
	let()
	if st, r := c.reply(); st != stOK || le.Uint16(r) != 89 {
		t.Fatalf("status %08x, %x", uint32(st), r)
	}
}
