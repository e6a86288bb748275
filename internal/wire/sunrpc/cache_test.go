package sunrpc

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

func cacheCall(host byte, xid uint32) *Call {
	b := NewBuf(64)
	clear(b.b)
	binary.BigEndian.PutUint32(b.b, xid)
	return &Call{XID: xid, Record: b, Peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, host}), 700)}
}

func put(c *cache, host byte, xid uint32, reply []byte) {
	e, st := c.begin(cacheCall(host, xid))
	if st == cacheNew {
		c.end(e, reply, true)
	} else if st == cacheDone {
		c.unpin(e)
	}
}

func cached(c *cache, host byte, xid uint32) ([]byte, bool) {
	e, st := c.begin(cacheCall(host, xid))
	if st != cacheDone {
		c.end(e, nil, false)
		return nil, false
	}
	defer c.unpin(e)
	return bytes.Clone(e.reply), true
}

func TestCache_bounds(t *testing.T) {
	c := newCache(100, 20, 1<<20)
	put(c, 1, 7, []byte("quiet"))
	for xid := range uint32(1000) {
		put(c, 2, xid, []byte("busy"))
	}
	if r, ok := cached(c, 1, 7); !ok || string(r) != "quiet" {
		t.Error("a busy client pushed out the answer of a quiet one")
	}
	if n := c.clients[netip.AddrFrom4([4]byte{10, 0, 0, 2})].n; n != 20 {
		t.Errorf("%d entries of one client", n)
	}
	if _, ok := cached(c, 2, 999); !ok {
		t.Error("the newest answer is gone")
	}
	if _, ok := cached(c, 2, 900); ok {
		t.Error("an old answer is there")
	}
	for host := range byte(50) {
		for xid := range uint32(10) {
			put(c, 100+host, xid, make([]byte, 600))
		}
	}
	if len(c.entries) > 100 {
		t.Errorf("%d entries", len(c.entries))
	}
	small := newCache(1000, 1000, 20*entryBytes)
	for xid := range uint32(100) {
		put(small, 1, xid, make([]byte, 500))
	}
	if small.bytes > 20*entryBytes {
		t.Errorf("%d bytes", small.bytes)
	}
	if _, ok := cached(small, 1, 99); !ok {
		t.Error("the newest answer is gone")
	}
	for _, x := range []*cache{c, small} {
		n, bytes := 0, int64(0)
		for e := x.oldest; e != nil; e = e.next {
			n++
			bytes += entryBytes
			if len(e.reply) > len(e.store) {
				bytes += int64(len(e.reply))
			}
		}
		if n != len(x.entries) || bytes != x.bytes {
			t.Errorf("list of %d entries and %d bytes, counted %d and %d", n, bytes, len(x.entries), x.bytes)
		}
		perClient := 0
		for _, cl := range x.clients {
			perClient += cl.n
		}
		if perClient != n {
			t.Errorf("clients have %d entries of %d", perClient, n)
		}
	}
}

func TestCache_runningCallsStayAndAnswersCanBePinned(t *testing.T) {
	c := newCache(2, 2, 1<<20)
	running, st := c.begin(cacheCall(1, 1))
	if st != cacheNew {
		t.Fatal(st)
	}
	for xid := uint32(2); xid < 20; xid++ {
		put(c, 1, xid, []byte("x"))
	}
	if _, st := c.begin(cacheCall(1, 1)); st != cacheBusy {
		t.Errorf("a running call was forgotten: %d", st)
	}
	if joined := c.end(running, []byte("done"), true); len(joined) != 1 {
		t.Errorf("%d joined", len(joined))
	}
	e, st := c.begin(cacheCall(1, 1))
	if st != cacheDone {
		t.Fatal(st)
	}
	for xid := uint32(20); xid < 40; xid++ {
		put(c, 1, xid, []byte("other"))
	}
	if string(e.reply) != "done" {
		t.Errorf("pinned answer became %q", e.reply)
	}
	c.unpin(e)
	e, _ = c.begin(cacheCall(9, 1))
	c.end(e, make([]byte, maxCachedReply+1), true)
	if _, ok := cached(c, 9, 1); ok {
		t.Error("an answer that is too long was kept")
	}
	e, _ = c.begin(cacheCall(9, 2))
	c.end(e, []byte("cut short"), false)
	if _, ok := cached(c, 9, 2); ok {
		t.Error("a call that did not run is answered")
	}
}

func TestCache_answersGrowOld(t *testing.T) {
	c := newCache(10, 10, 1<<20)
	put(c, 1, 1, []byte("old"))
	call := cacheCall(1, 1)
	call.Start = call.Start.Add(cacheAge + 1)
	e, st := c.begin(call)
	if st != cacheNew {
		t.Fatalf("state %d", st)
	}
	c.end(e, []byte("new"), true)
	if len(c.entries) != 1 {
		t.Errorf("%d entries", len(c.entries))
	}
	call = cacheCall(1, 1)
	call.Peer = netip.AddrPortFrom(call.Peer.Addr(), 701)
	if _, st := c.begin(call); st != cacheNew {
		t.Errorf("a call from another port is taken for a repeat: %d", st)
	}
}

func TestBuf_countsOwners(t *testing.T) {
	for _, n := range []int{0, 1, 512, 513, 3072, 3073, 5 << 10, 1<<20 + headroom, 1<<20 + headroom + 1} {
		b := NewBuf(n)
		if len(b.Bytes()) != n {
			t.Errorf("%d: length %d", n, len(b.Bytes()))
		}
		b.Retain()
		b.Release()
		b.Release()
	}
	for name, f := range map[string]func(b *Buf){
		"released twice":       func(b *Buf) { b.Release() },
		"retained after death": func(b *Buf) { b.Retain() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			b := &Buf{class: -1}
			b.refs.Store(1)
			b.Release()
			f(b)
		}()
	}
}
