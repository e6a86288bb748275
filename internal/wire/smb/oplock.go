package smb

import (
	"cmp"
	"slices"
	"time"

	"manifold/internal/fs"
)

// Caching states, numbered as lease states.
const (
	leaseR = 1
	leaseH = 2
	leaseW = 4
)

// Oplock levels.
const (
	oplockNone      = 0x00
	oplockII        = 0x01
	oplockExclusive = 0x08
	oplockBatch     = 0x09
	oplockLease     = 0xFF
)

type leaseID struct {
	client [16]byte
	key    [16]byte
}

// lease ties a key to what it caches. Guarded by Server.mu.
type lease struct {
	id     leaseID
	v2     bool
	parent [16]byte
	flags  uint32
	epoch  uint16
	cache  *cache
	file   fileKey
}

// cache is what a client may cache of a file, by an oplock (of one open) or a
// lease (of all opens with its key). Guarded by Server.mu.
type cache struct {
	state    uint32
	breaking bool          // an acknowledgement is awaited
	to       uint32        // what the client was told to go down to
	need     uint32        // what others have asked it to go down to meanwhile
	done     chan struct{} // closed when the last step is done
	step     int
	timer    *time.Timer
	lease    *lease
	opens    []*open
}

func levelState(level byte) uint32 {
	switch level {
	case oplockII:
		return leaseR
	case oplockExclusive:
		return leaseR | leaseW
	case oplockBatch:
		return leaseR | leaseW | leaseH
	}
	return 0
}

func stateLevel(state uint32) byte {
	switch {
	case state&(leaseW|leaseH) == leaseW|leaseH:
		return oplockBatch
	case state&leaseW != 0:
		return oplockExclusive
	case state&leaseR != 0:
		return oplockII
	}
	return oplockNone
}

// notice is a break to be sent once locks are free.
type notice struct {
	c    *conn
	s    *session
	body []byte
	deaf []*conn
}

func (n *notice) send() {
	conns := n.deaf
	if n.c != nil {
		conns = append(conns, n.c)
	}
	for _, c := range conns {
		out := make([]byte, headroom, headroom+headerSize+48)
		out = appendZero(out, headerSize)
		h := header{command: cmdOplockBreak, flags: flagResponse, messageID: ^uint64(0)}
		h.put(out[headroom:])
		out = append(out, n.body...)
		c.write(out, n.s)
	}
	for _, c := range n.deaf {
		_ = c.nc.Close()
	}
}

func sendAll(ns []notice) {
	for i := range ns {
		ns[i].send()
	}
}

// breakTo tells the holder of a cache to go down. It answers whether an
// acknowledgement must come. Needs s.mu.
func (s *Server) breakTo(c *cache, to uint32, ns *[]notice) bool {
	if c.breaking {
		c.need &= to
		return true
	}
	from := c.state
	if from&^to == 0 {
		return false
	}
	ack := from&(leaseW|leaseH) != 0
	if c.lease == nil {
		if to&leaseR != 0 && from&leaseW != 0 {
			to = leaseR
		} else {
			to = 0
		}
		ack = from&leaseW != 0
	}
	heard := s.notify(c, from, to, ack, ns)
	if !ack || !heard {
		c.state = to
		return false
	}
	c.breaking, c.to, c.need = true, to, to
	if c.done == nil {
		c.done = make(chan struct{})
	}
	c.step++
	step := c.step
	c.timer = time.AfterFunc(s.o.BreakTimeout, func() {
		var more []notice
		s.mu.Lock()
		if c.breaking && c.step == step {
			s.o.Logger.Warn("no answer to a break of an oplock or lease")
			c.state = 0
			c.settle()
			if c.lease == nil {
				for _, o := range c.opens {
					o.level = oplockNone
				}
			}
		}
		s.mu.Unlock()
		sendAll(more)
	})
	return true
}

func (c *cache) settle() {
	c.breaking = false
	c.timer.Stop()
	close(c.done)
	c.done = nil
}

// notify builds the message. It answers false if no connection can take it.
func (s *Server) notify(c *cache, from, to uint32, ack bool, ns *[]notice) bool {
	var n notice
	if l := c.lease; l != nil {
		// Any connection of the client will do: the first that hears.
		if slices.ContainsFunc(c.opens, func(o *open) bool { return o.sess != nil }) {
			n.to(s.clients[l.id.client])
		}
		b := make([]byte, 44)
		b[0] = 44
		if l.v2 {
			if c.done == nil { // the steps of one break count once
				l.epoch++
			}
			le.PutUint16(b[2:], l.epoch)
		}
		if ack {
			b[4] = 1
		}
		copy(b[8:], l.id.key[:])
		le.PutUint32(b[24:], from)
		le.PutUint32(b[28:], to)
		n.body = b
	} else {
		o := c.opens[0]
		n.c = o.conn
		if o.sess != nil {
			o.sess.mu.Lock()
			if o.sess.encrypt {
				n.s = o.sess
			}
			o.sess.mu.Unlock()
			n.to(o.channels())
		}
		b := make([]byte, 24)
		b[0], b[2] = 24, stateLevel(to)
		le.PutUint64(b[8:], o.id)
		le.PutUint64(b[16:], o.vol)
		n.body = b
		if !ack {
			o.level = stateLevel(to)
		}
	}
	if n.c == nil && n.deaf == nil {
		return false
	}
	*ns = append(*ns, n)
	return true
}

// to chooses who hears of a break among connections that would do, the best
// first. Better ones that do not hear (a test control) are told, too, and given
// up: real ones are found out only by sending.
func (n *notice) to(conns []*conn) {
	n.c = nil
	for _, c := range conns {
		c.mu.Lock()
		closed, deaf := c.closed, c.unacked
		c.mu.Unlock()
		switch {
		case closed:
		case deaf:
			n.deaf = append(n.deaf, c)
		default:
			n.c = c
			return
		}
	}
}

// channels are the connections of the open's session, its own first.
func (o *open) channels() []*conn {
	o.sess.mu.Lock()
	defer o.sess.mu.Unlock()
	var list []*conn
	for c, ch := range o.sess.channels {
		if ch.bound {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *conn) int {
		switch {
		case a == o.conn:
			return -1
		case b == o.conn:
			return 1
		}
		return cmp.Compare(a.number, b.number)
	})
	return list
}

// dropCache takes an open out of what it caches. It answers who waits for that,
// to be closed once the file is. Needs s.mu.
func (s *Server) dropCache(o *open) (waits chan struct{}) {
	c := o.cache
	if c == nil {
		return nil
	}
	o.cache = nil
	for i, x := range c.opens {
		if x == o {
			c.opens = append(c.opens[:i], c.opens[i+1:]...)
			break
		}
	}
	if len(c.opens) > 0 {
		return nil
	}
	c.state = 0
	if c.breaking {
		c.breaking = false
		c.timer.Stop()
		waits, c.done = c.done, nil
	}
	if c.lease != nil && s.leases[c.lease.id] == c.lease {
		delete(s.leases, c.lease.id)
	}
	return waits
}

// statOnly tells whether an open only looks at attributes.
func statOnly(access fs.Rights) bool {
	return access&^(fs.RightReadAttr|fs.RightWriteAttr|fs.RightSynchronize) == 0
}

// statOnlyLease is the same where what is cached is cached by a lease.
func statOnlyLease(access fs.Rights) bool { return statOnly(access &^ fs.RightReadACL) }

// contend breaks what is in the way of an open. It answers what to wait for,
// and whether share modes are in the way. Needs s.mu.
func (s *Server) contend(f *file, own *cache, access fs.Rights, share fs.Share, overwrite bool, ns *[]notice) (wait []chan struct{}, sharing bool) {
	for _, o := range f.opens {
		if shareConflict(access, share, o) {
			sharing = true
		}
	}
	if statOnly(access) && !overwrite {
		return nil, sharing
	}
	for _, o := range f.opens {
		// Whose connection ends just now will soon have lost it.
		if o.sess != nil && o.conn.ends() && (shareConflict(access, share, o) || o.cache != nil && o.cache != own && o.cache.state&leaseW != 0) {
			wait = append(wait, o.conn.gone)
			continue
		}
		// Who lost its connection is not asked.
		if o.sess == nil && (shareConflict(access, share, o) || o.cache != nil && o.cache != own && o.cache.state&leaseW != 0) {
			done := make(chan struct{})
			wait = append(wait, done)
			s.wg.Add(1)
			go func() {
				defer s.wg.Done()
				_ = s.closeOpen(s.ctx, o)
				close(done)
			}()
		}
	}
	if wait != nil {
		return wait, false
	}
	seen := map[*cache]bool{}
	for _, o := range f.opens {
		c := o.cache
		if c == nil || c == own || seen[c] || c.state == 0 {
			continue
		}
		seen[c] = true
		if c.lease != nil && !overwrite && statOnlyLease(access) {
			continue
		}
		mask := uint32(leaseW)
		if sharing {
			mask = leaseH
			if !sharesConflictAny(c, access, share) {
				mask = leaseW
			}
		}
		to := c.state &^ mask
		if overwrite {
			to = 0
		}
		if c.state&^to == 0 {
			if c.breaking && c.state&mask != 0 {
				wait = append(wait, c.done)
			}
			continue
		}
		if c.lease == nil {
			to &= leaseR
		}
		must := c.state&mask != 0
		if s.breakTo(c, to, ns) && must {
			wait = append(wait, c.done)
		}
	}
	return wait, sharing
}

func sharesConflictAny(c *cache, access fs.Rights, share fs.Share) bool {
	for _, o := range c.opens {
		if shareConflict(access, share, o) {
			return true
		}
	}
	return false
}

// grant gives a new open what caching it may have. Needs s.mu.
func (s *Server) grant(o *open, level byte, want *leaseRequest) {
	f := o.file
	if f == nil {
		return
	}
	asked := levelState(level)
	if level == oplockLease {
		if want == nil || o.isDir {
			return
		}
		asked = want.state & (leaseR | leaseW | leaseH)
		if asked&leaseR == 0 {
			asked = 0
		}
	} else if o.isDir || level == oplockNone {
		return
	}
	var own *cache
	if want != nil && level == oplockLease {
		if l := s.leases[leaseID{o.guid, want.key}]; l != nil {
			own = l.cache
		}
	}
	granted := asked
	var othersOplock, othersH bool
	for _, x := range f.opens {
		if x == o {
			continue
		}
		c := x.cache
		if own != nil && c == own {
			continue
		}
		if !statOnly(x.granted) || c != nil && c.state != 0 {
			granted &^= leaseW
		}
		if c == nil {
			continue
		}
		othersH = othersH || c.lease != nil && c.state&leaseH != 0
		othersOplock = othersOplock || c.lease == nil && c.state != 0
		if c.state&leaseW != 0 {
			granted = 0
		}
	}
	if f.locks > 0 && (own == nil) || s.breaches.of(f.key.node).Load() != 0 {
		granted = 0
	}
	if granted&leaseW != 0 && s.lockedElsewhere(o) {
		granted &^= leaseW
	}
	if level != oplockLease {
		if granted&leaseW == 0 {
			granted &= leaseR
		}
		if othersH {
			granted = 0
		}
		if granted == 0 {
			return
		}
		o.level = stateLevel(granted)
		o.cache = &cache{state: granted, opens: []*open{o}}
		return
	}
	if othersOplock {
		granted &^= leaseH
	}
	if own == nil {
		l := &lease{id: leaseID{o.guid, want.key}, v2: want.v2, parent: want.parent, flags: want.flags, epoch: want.epoch, file: f.key}
		own = &cache{lease: l, state: granted}
		if want.v2 && granted != 0 {
			l.epoch++
		}
		l.cache = own
		s.leases[l.id] = l
	} else if !own.breaking && granted == asked && granted&own.state == own.state && granted != own.state {
		own.state = granted
		own.lease.epoch++
	}
	own.opens = append(own.opens, o)
	o.cache = own
	o.level = oplockLease
}

// lockedElsewhere tells whether there are locks of other protocols, which under
// strict locking a client could not see if it kept its own to itself.
func (s *Server) lockedElsewhere(o *open) bool {
	there := false
	err := s.o.FS.LockList(s.ctx, o.node, func(l *fs.LockInfo) bool {
		there = l.Space != fs.LockSMB && l.Stream == o.stream
		return !there
	})
	return there || err != nil
}

// leaseRequest is a decoded RqLs context.
type leaseRequest struct {
	key, parent [16]byte
	state       uint32
	flags       uint32
	epoch       uint16
	v2          bool
}

func parseLease(b []byte) *leaseRequest {
	if len(b) != 32 && len(b) != 52 {
		return nil
	}
	l := &leaseRequest{state: le.Uint32(b[16:]), flags: le.Uint32(b[20:])}
	copy(l.key[:], b)
	if len(b) == 52 {
		l.v2 = true
		copy(l.parent[:], b[32:])
		l.epoch = le.Uint16(b[48:])
		l.flags &= 4
		if l.flags == 0 {
			l.parent = [16]byte{}
		}
	} else {
		l.flags = 0
	}
	return l
}

// leaseReply is the RqLs context of a response. Needs s.mu.
func leaseReply(c *cache) []byte {
	l := c.lease
	n := 32
	if l.v2 {
		n = 52
	}
	b := make([]byte, n)
	copy(b, l.id.key[:])
	le.PutUint32(b[16:], c.state)
	if c.breaking {
		le.PutUint32(b[20:], 2)
	}
	if l.v2 {
		if l.flags&4 != 0 {
			b[20] |= 4
			copy(b[32:], l.parent[:])
		}
		le.PutUint16(b[48:], l.epoch)
	}
	return b
}

// contendRead breaks the read caches of others because data changes.
func (s *Server) contendRead(o *open) {
	if o.file == nil {
		return
	}
	var ns []notice
	s.mu.Lock()
	seen := map[*cache]bool{}
	for _, x := range o.file.opens {
		c := x.cache
		if c == nil || seen[c] || c.state&leaseR == 0 || c == o.cache && (c.lease != nil || c.state&leaseW != 0) {
			continue
		}
		seen[c] = true
		s.breakTo(c, 0, &ns)
	}
	s.mu.Unlock()
	sendAll(ns)
}

// contendHandle breaks the handle caches of others, because a name changes or
// goes, and answers what to wait for.
func (s *Server) contendHandle(o *open) []chan struct{} {
	if o.file == nil {
		return nil
	}
	var ns []notice
	var wait []chan struct{}
	s.mu.Lock()
	for _, x := range o.file.opens {
		c := x.cache
		if c == nil || c == o.cache || c.state&leaseH == 0 {
			continue
		}
		to := c.state &^ leaseH
		if c.lease == nil {
			to = leaseR
		}
		if s.breakTo(c, to, &ns) {
			wait = append(wait, c.done)
		}
	}
	s.mu.Unlock()
	sendAll(ns)
	return wait
}

// await waits for breaks to end; the request is answered as pending first.
func (r *request) await(wait []chan struct{}) status {
	if len(wait) == 0 {
		return stOK
	}
	r.pend()
	for _, w := range wait {
		select {
		case <-w:
		case <-r.ctx.Done():
			return stCancelled
		}
	}
	return stOK
}

// oplockBreak answers an acknowledgement.
func (r *request) oplockBreak() status {
	p := r.payload()
	s := r.c.s
	var ns []notice
	defer func() { sendAll(ns) }()
	if le.Uint16(p) == 36 {
		var id leaseID
		id.client = r.c.clientGUID
		copy(id.key[:], p[8:24])
		state := le.Uint32(p[24:])
		s.mu.Lock()
		defer s.mu.Unlock()
		l := s.leases[id]
		switch {
		case l == nil:
			return stObjectNameNotFound
		case !l.cache.breaking:
			return stUnsuccessful
		case state&^l.cache.to != 0:
			return stRequestNotAccepted
		}
		s.acknowledge(l.cache, state, &ns)
		b := make([]byte, 36)
		b[0] = 36
		copy(b[8:], id.key[:])
		le.PutUint32(b[24:], state)
		r.body = b
		return stOK
	}
	o, st := r.file(p[8:24])
	if st != stOK {
		return st
	}
	level := p[2]
	s.mu.Lock()
	defer s.mu.Unlock()
	c := o.cache
	switch {
	case c == nil || c.lease != nil || !c.breaking:
		if level == oplockLease || c != nil && c.lease != nil {
			return stInvalidParameter
		}
		return stInvalidOplockProtocol
	case level == oplockLease:
		return stInvalidParameter
	case level != oplockNone && level != oplockII, levelState(level)&^c.to != 0:
		c.state = 0
		o.level = oplockNone
		c.settle()
		return stInvalidOplockProtocol
	}
	o.level = level
	s.acknowledge(c, levelState(level), &ns)
	b := make([]byte, 24)
	b[0], b[2] = 24, level
	copy(b[8:], p[8:24])
	r.body = b
	return stOK
}

// acknowledge ends a break; others may have asked for more meanwhile.
func (s *Server) acknowledge(c *cache, state uint32, ns *[]notice) {
	c.state = state
	need := c.need
	if state&^need == 0 {
		c.settle()
		return
	}
	// Who waits does so until the last step.
	c.timer.Stop()
	c.breaking = false
	to := need
	if c.lease != nil && state&leaseH != 0 && need&leaseR == 0 {
		to |= leaseR // step by step
	}
	if s.breakTo(c, to, ns) {
		c.need = need
		return
	}
	close(c.done)
	c.done = nil
}
