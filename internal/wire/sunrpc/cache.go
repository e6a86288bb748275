package sunrpc

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// The cache of answered calls (a duplicate-request cache): a client that lost
// its connection repeats calls, and a REMOVE or an exclusive CREATE done twice
// would answer an error for what has succeeded. A call is the same if client
// address and port, xid, program, version, procedure, length and a hash of its
// first bytes are, and the first is not older than cacheAge. The port is part
// of it, as clients that repeat calls come back from the same one, while two
// short-lived programs may count their xids from the same number: not to do
// what the second asks for is worse than to do a repeat again.
//
// Bounded by entries and bytes over all, and by entries for each client
// address, so that a busy client only ever pushes out its own answers or the
// oldest of all.

// cacheHashed is how many bytes of a call are hashed: header, credential and
// arguments of every call but WRITE's data.
const cacheHashed = 1024

// maxCachedReply bounds an answer worth keeping; non-idempotent calls answer less.
const maxCachedReply = 1024

// cacheAge is how long an answer is good for a repeat.
const cacheAge = 10 * time.Minute

// maxJoined bounds repeats that wait for one running call.
const maxJoined = 4

type cacheKey struct {
	peer             netip.AddrPort
	xid, prog        uint32
	vers, proc, size uint32
	sum              uint64
}

type cacheState uint8

const (
	cacheNew  cacheState = iota // run it, then call end
	cacheBusy                   // the first is running; this one was taken over
	cacheDone                   // answer from reply, then unpin
)

type drcEntry struct {
	key    cacheKey
	start  time.Time
	client *cacheClient
	done   bool
	pins   int
	gone   bool
	reply  []byte
	store  [256]byte // holds the reply if it is short, which nearly all are
	joined []*Call

	prev, next   *drcEntry // age over all, oldest first
	cprev, cnext *drcEntry // age within the client
}

type cacheClient struct {
	addr           netip.Addr
	n              int
	oldest, newest *drcEntry
}

type cache struct {
	maxEntries, perAddr int
	maxBytes            int64
	seed                maphash.Seed

	mu             sync.Mutex
	entries        map[cacheKey]*drcEntry
	clients        map[netip.Addr]*cacheClient
	oldest, newest *drcEntry
	bytes          int64
	free           *drcEntry
	freeN          int
}

func newCache(entries, perAddr int, bytes int64) *cache {
	return &cache{
		maxEntries: entries, perAddr: perAddr, maxBytes: bytes, seed: maphash.MakeSeed(),
		entries: map[cacheKey]*drcEntry{}, clients: map[netip.Addr]*cacheClient{},
	}
}

// entryBytes is what an entry costs beside a long reply.
const entryBytes = 640

func (c *cache) key(call *Call) cacheKey {
	b := call.Record.b
	return cacheKey{
		peer: call.Peer, xid: call.XID, prog: call.Prog, vers: call.Vers, proc: call.Proc,
		size: uint32(len(b)), sum: maphash.Bytes(c.seed, b[:min(len(b), cacheHashed)]),
	}
}

// begin finds or makes the entry of a call.
func (c *cache) begin(call *Call) (*drcEntry, cacheState) {
	k := c.key(call)
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e != nil && e.done && call.Start.Sub(e.start) > cacheAge {
		c.remove(e)
		e = nil
	}
	if e != nil {
		if e.done {
			e.pins++
			return e, cacheDone
		}
		if len(e.joined) < maxJoined {
			e.joined = append(e.joined, call)
			return e, cacheBusy
		}
		// Too many: the oldest repeat came over a connection long given up.
		old := e.joined[0]
		copy(e.joined, e.joined[1:])
		e.joined[len(e.joined)-1] = call
		old.drop()
		return e, cacheBusy
	}
	e = c.take()
	e.key = k
	e.start = call.Start
	cl := c.clients[k.peer.Addr()]
	if cl == nil {
		cl = &cacheClient{addr: k.peer.Addr()}
		c.clients[cl.addr] = cl
	}
	e.client = cl
	c.entries[k] = e
	c.push(e)
	c.bytes += entryBytes
	c.evict(cl)
	return e, cacheNew
}

// end records the reply, or forgets the call if it may be run again, and
// answers the repeats that joined.
func (c *cache) end(e *drcEntry, reply []byte, keep bool) []*Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	joined := e.joined
	e.joined = nil
	e.done = true
	if !keep || len(reply) > maxCachedReply {
		c.remove(e)
		return joined
	}
	if len(reply) <= len(e.store) {
		e.reply = e.store[:copy(e.store[:], reply)]
	} else {
		e.reply = append([]byte(nil), reply...)
		c.bytes += int64(len(reply))
		c.evict(e.client)
	}
	return joined
}

func (c *cache) unpin(e *drcEntry) {
	c.mu.Lock()
	e.pins--
	if e.gone && e.pins == 0 {
		c.give(e)
	}
	c.mu.Unlock()
}

// evict brings the cache back into its bounds. Calls that run stay.
func (c *cache) evict(cl *cacheClient) {
	for e := cl.oldest; e != nil && cl.n > c.perAddr; {
		next := e.cnext
		if e.done {
			c.remove(e)
		}
		e = next
	}
	for e := c.oldest; e != nil && (len(c.entries) > c.maxEntries || c.bytes > c.maxBytes); {
		next := e.next
		if e.done {
			c.remove(e)
		}
		e = next
	}
}

func (c *cache) push(e *drcEntry) {
	if e.prev = c.newest; e.prev != nil {
		e.prev.next = e
	} else {
		c.oldest = e
	}
	c.newest = e
	cl := e.client
	if e.cprev = cl.newest; e.cprev != nil {
		e.cprev.cnext = e
	} else {
		cl.oldest = e
	}
	cl.newest = e
	cl.n++
}

func (c *cache) remove(e *drcEntry) {
	if e.gone {
		return
	}
	e.gone = true
	delete(c.entries, e.key)
	cl := e.client
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		c.oldest = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		c.newest = e.prev
	}
	if e.cprev != nil {
		e.cprev.cnext = e.cnext
	} else {
		cl.oldest = e.cnext
	}
	if e.cnext != nil {
		e.cnext.cprev = e.cprev
	} else {
		cl.newest = e.cprev
	}
	if cl.n--; cl.n == 0 {
		delete(c.clients, cl.addr)
	}
	c.bytes -= entryBytes
	if len(e.reply) > len(e.store) {
		c.bytes -= int64(len(e.reply))
	}
	if e.pins == 0 {
		c.give(e)
	}
}

func (c *cache) take() *drcEntry {
	e := c.free
	if e == nil {
		return &drcEntry{}
	}
	c.free = e.next
	c.freeN--
	*e = drcEntry{}
	return e
}

func (c *cache) give(e *drcEntry) {
	e.reply, e.joined, e.client = nil, nil, nil
	if c.freeN < 1024 {
		e.next = c.free
		c.free = e
		c.freeN++
	}
}
