package sunrpc

// route parses the header and finds the program. It answers false if the
// record is no call.
func (s *Server) route(c *Call) bool {
	c.Args = NewDecoder(c.Record.b)
	deny, ok := parseCall(c)
	if !ok {
		return false
	}
	c.deny = deny
	c.prog, c.low, c.high = nil, 0, 0
	for _, p := range s.programs[c.Prog] {
		if c.Packet && !p.Packet {
			continue
		}
		if p.has(c.Vers) {
			c.prog = p
			break
		}
		if low, high := p.Versions[0], p.Versions[len(p.Versions)-1]; c.high == 0 {
			c.low, c.high = low, high
		} else {
			c.low, c.high = min(c.low, low), max(c.high, high)
		}
	}
	return true
}

// replySize is how many bytes of reply to count and prepare for.
func (c *Call) replySize() int {
	if c.prog == nil || c.prog.ReplySize == nil || c.deny != (denial{}) {
		return smallSize
	}
	return replyHeader + c.prog.ReplySize(c)
}

// run answers one call.
func (s *Server) run(c *Call) {
	s.n.calls.Add(1)
	c.Reply = NewEncoder(c.replyHint)
	switch {
	case c.deny != (denial{}):
		s.n.denied.Add(1)
		denyReply(c, c.deny)
	case c.prog == nil && c.high != 0:
		s.finish(c, ProgramMismatch)
	case c.prog == nil:
		s.finish(c, ProgramUnavailable)
	case c.prog.Once != nil && c.prog.Once(c.Vers, c.Proc):
		if !s.runOnce(c) {
			return
		}
	default:
		if !s.execute(c) {
			c.drop()
			return
		}
	}
	c.send()
}

// execute runs the handler; false means that no reply is to be sent.
func (s *Server) execute(c *Call) bool {
	beginReply(&c.Reply, c.XID, Success)
	a := c.prog.Handle(c.ctx, c)
	if a == NoReply {
		return false
	}
	if a != Success {
		s.n.unserved.Add(1)
	}
	finishReply(c, a)
	return true
}

func (s *Server) finish(c *Call, a Accept) {
	s.n.unserved.Add(1)
	beginReply(&c.Reply, c.XID, a)
	finishReply(c, a)
}

// runOnce runs a call that must not run twice, or answers a repeated one. It
// answers false if there is no reply to send here: the first call's end will
// answer both.
func (s *Server) runOnce(c *Call) bool {
	e, state := s.cache.begin(c)
	switch state {
	case cacheDone:
		s.n.cacheHits.Add(1)
		copy(c.Reply.Reserve(len(e.reply)), e.reply)
		s.cache.unpin(e)
		return true
	case cacheBusy:
		s.n.cacheJoined.Add(1)
		return false
	}
	ok := s.execute(c)
	// A call cut short by its context was not done and may be repeated.
	joined := s.cache.end(e, c.Reply.Bytes(), ok && c.ctx.Err() == nil)
	for _, j := range joined {
		if !ok {
			j.drop()
			continue
		}
		copy(j.Reply.Reserve(c.Reply.Len()), c.Reply.Bytes())
		j.send()
	}
	if !ok {
		c.drop()
	}
	return ok
}

// send hands the reply to the connection or sends the datagram, and ends the call.
func (c *Call) send() {
	if c.conn != nil {
		c.conn.send(c)
		return
	}
	c.packet.send(c)
}

// drop ends the call without a reply.
func (c *Call) drop() {
	c.Reply.Release()
	if c.conn != nil {
		c.conn.finished(c)
		return
	}
	c.packet.finished(c)
}
