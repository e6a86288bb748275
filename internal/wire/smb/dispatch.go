package smb

import (
	"context"
	"runtime/debug"
	"sync/atomic"

	"manifold/internal/fs"
)

// chain is a frame: one request, or several that are answered together.
type chain struct {
	c      *conn
	buf    *buffer
	reqs   []*request
	last   int
	sealed *session // came encrypted under it
	copied bool     // and was not decrypted within buf
	done   func()

	handedOff atomic.Bool // the next frame may begin

	out   []byte // responses so far, with headroom
	at    int    // of the last response in out, 0 if none
	owner *request

	// What related requests take over.
	sess   *session
	tree   *tree
	open   *open
	failed status // of what should have set open
}

// request is one message.
type request struct {
	c     *conn
	ch    *chain
	hdr   header
	msg   []byte // from the header on
	index int
	ctx   context.Context

	cancel   context.CancelCauseFunc
	sess     *session
	tree     *tree
	caller   *fs.Caller
	asyncID  uint64
	sign     bool
	signKey  *signer   // where it is not the channel's own
	body     []byte    // of the response, appended to by the handler
	preauth  *[64]byte // hashed over the response
	after    func()    // runs when the response is on its way
	errData  []byte    // of an error response
	working  *open     // is not closed before the request ends
	inTheWay []*conn   // of opens that forbid this one

	replayable atomic.Pointer[session] // whose create can be replayed
}

func (r *request) charge() int {
	if r.c.dialect < dialect210 || r.hdr.charge == 0 {
		return 1
	}
	return int(r.hdr.charge)
}

// payload answers the fixed and variable part of the message.
func (r *request) payload() []byte { return r.msg[headerSize:] }

// bytes answers a part of the message by its offset from the header.
func (r *request) bytes(off, n uint64) ([]byte, bool) { return window(r.msg, off, n) }

// requestSizes are StructureSize of each request.
var requestSizes = [cmdCount]int{36, 25, 4, 9, 4, 57, 24, 24, 49, 49, 48, 57, 4, 4, 33, 32, 41, 33, 24}

var commandNames = [cmdCount]string{
	"NEGOTIATE", "SESSION_SETUP", "LOGOFF", "TREE_CONNECT", "TREE_DISCONNECT", "CREATE", "CLOSE", "FLUSH", "READ", "WRITE",
	"LOCK", "IOCTL", "CANCEL", "ECHO", "QUERY_DIRECTORY", "CHANGE_NOTIFY", "QUERY_INFO", "SET_INFO", "OPLOCK_BREAK",
}

// Commands are the names of all that are answered.
func Commands() []string { return commandNames[:] }

func commandName(cmd uint16) string {
	if int(cmd) < len(commandNames) {
		return commandNames[cmd]
	}
	return "UNKNOWN"
}

type handler func(*request) status

func (c *conn) handlerOf(cmd uint16) handler {
	switch cmd {
	case cmdNegotiate:
		return (*request).negotiate
	case cmdSessionSetup:
		return (*request).sessionSetup
	case cmdLogoff:
		return (*request).logoff
	case cmdTreeConnect:
		return (*request).treeConnect
	case cmdTreeDisconnect:
		return (*request).treeDisconnect
	case cmdCreate:
		return (*request).create
	case cmdClose:
		return (*request).close
	case cmdFlush:
		return (*request).flush
	case cmdRead:
		return (*request).read
	case cmdWrite:
		return (*request).write
	case cmdLock:
		return (*request).lock
	case cmdIoctl:
		return (*request).ioctl
	case cmdEcho:
		return (*request).echo
	case cmdQueryDirectory:
		return (*request).queryDirectory
	case cmdChangeNotify:
		return (*request).changeNotify
	case cmdQueryInfo:
		return (*request).queryInfo
	case cmdSetInfo:
		return (*request).setInfo
	case cmdOplockBreak:
		return (*request).oplockBreak
	}
	return nil
}

// letNext lets the next frame begin: another reads from now on.
func (ch *chain) letNext() {
	if !ch.handedOff.Swap(true) {
		ch.c.handOver()
	}
}

// run answers the requests in order.
func (ch *chain) run() {
	defer ch.done()
	start := ch.c.s.o.Now()
	for _, r := range ch.reqs {
		if r.hdr.command == cmdCancel {
			ch.c.cancelRequest(r)
			r.cancel(nil)
			continue
		}
		st := r.perform()
		if f := ch.c.s.o.Observer; f != nil {
			now := ch.c.s.o.Now()
			f(Op{commandName(r.hdr.command), now.Sub(start), len(r.msg) + headerSize + len(r.body), st.failed()})
			start = now
		}
		if st != stSent {
			ch.respond(r, st)
		}
		if r.working != nil {
			r.working.end()
		}
		r.cancel(nil)
		ch.c.forget(r)
	}
	ch.flush()
	for _, r := range ch.reqs {
		if r.after != nil {
			r.after()
		}
	}
}

// perform runs the handler; a panic is answered as a server's fault.
func (r *request) perform() (st status) {
	defer func() {
		if p := recover(); p != nil {
			r.c.s.o.Logger.Error("request panics", "command", r.hdr.command, "panic", p, "stack", string(debug.Stack()))
			r.body = nil
			st = stInternalError
		}
	}()
	h := r.c.handlerOf(r.hdr.command)
	if h == nil {
		return stInvalidParameter
	}
	if st := r.admit(); st != stOK {
		return st
	}
	p := r.payload()
	size := requestSizes[r.hdr.command]
	if r.hdr.command == cmdOplockBreak && len(p) >= 36 && le.Uint16(p) == 36 {
		size = 36
	}
	if len(p) < size&^1 || int(le.Uint16(p)) != size {
		return stInvalidParameter
	}
	return h(r)
}

// admit finds session and tree and checks the signature, [MS-SMB2] 3.3.5.2.
func (r *request) admit() status {
	c, ch := r.c, r.ch
	cmd := r.hdr.command
	if !c.negotiated && cmd != cmdNegotiate {
		_ = c.nc.Close()
		return stInvalidParameter
	}
	related := r.hdr.flags&flagRelated != 0
	if related && r.index == 0 {
		ch.failed = stInvalidParameter
		return stInvalidParameter
	}
	if related {
		r.sess = ch.sess
		if r.sess != nil {
			r.hdr.sessionID = r.sess.id
		}
	} else {
		ch.sess, ch.tree, ch.open, ch.failed = nil, nil, nil, 0
	}
	if cmd == cmdNegotiate {
		return stOK
	}
	if !related && r.hdr.sessionID != 0 {
		c.mu.Lock()
		r.sess = c.sessions[r.hdr.sessionID]
		c.mu.Unlock()
		if r.sess != nil && ch.sealed != nil && r.sess != ch.sealed {
			return stAccessDenied
		}
	}
	if st := r.checkSignature(); st != stOK {
		return st
	}
	ch.sess = r.sess
	if cmd == cmdSessionSetup {
		return stOK
	}
	if cmd == cmdEcho && r.hdr.sessionID == 0 {
		return stOK
	}
	if cmd == cmdIoctl && r.hdr.sessionID == 0 && c.s.o.TestFsctls && len(r.msg) >= headerSize+8 && le.Uint32(r.msg[headerSize+4:]) == fsctlTestUnacked {
		return stOK
	}
	if r.sess == nil {
		if related && ch.failed != 0 {
			return ch.failed
		}
		if !related {
			ch.failed = stInvalidParameter
		}
		return stUserSessionDeleted
	}
	r.sess.active.Store(c.s.o.Now().UnixNano())
	switch r.sess.stateOn(c) {
	case sessionValid:
	case sessionExpired:
		if cmd != cmdLogoff && cmd != cmdClose && cmd != cmdLock {
			return stNetworkSessionExpired
		}
	default:
		return stUserSessionDeleted
	}
	if ch.sealed == nil && r.sess.mustEncrypt() {
		return stAccessDenied
	}
	switch cmd {
	case cmdLogoff, cmdTreeConnect, cmdEcho:
		return stOK
	}
	if related && r.hdr.flags&flagAsync == 0 {
		r.tree = ch.tree
		if r.tree != nil {
			r.hdr.treeID = r.tree.id
		}
	} else {
		r.tree = r.sess.tree(r.hdr.treeID)
	}
	if r.tree == nil {
		if related && ch.failed != 0 {
			return ch.failed
		}
		ch.failed = stNetworkNameDeleted
		return stNetworkNameDeleted
	}
	if r.tree.shared() != nil && r.tree.shared().Encrypt && ch.sealed == nil {
		return stAccessDenied
	}
	ch.tree = r.tree
	r.caller = r.tree.as()
	return stOK
}

func (r *request) checkSignature() status {
	if r.ch.sealed != nil {
		return stOK
	}
	signed := r.hdr.flags&flagSigned != 0
	if r.sess == nil {
		if signed {
			// Not one of this connection; who has its key is told so under it.
			if s := r.c.s.session(r.hdr.sessionID); s != nil {
				if k := s.cipherKeys(); k != nil && k.sign.verify(r.msg) {
					r.signKey = k.sign
				}
			}
			r.c.mu.Lock()
			k := r.c.ended[r.hdr.sessionID]
			r.c.mu.Unlock()
			if k != nil && k.verify(r.msg) {
				r.signKey = k
			}
			if r.hdr.command == cmdSessionSetup {
				return stOK
			}
			r.ch.failed = stUserSessionDeleted
			return stUserSessionDeleted
		}
		return stOK
	}
	if signed {
		k := r.sess.signerOn(r.c)
		if r.hdr.command == cmdSessionSetup && k == nil {
			return stOK // a binding or first exchange; see there
		}
		if k == nil {
			return stUserSessionDeleted
		}
		if !k.verify(r.msg) {
			return stAccessDenied
		}
		r.sign = true
		return stOK
	}
	if r.sess.mustSign() && r.hdr.command != cmdSessionSetup {
		return stAccessDenied
	}
	return stOK
}

// needs checks that the credits paid cover what is sent and wanted.
func (r *request) needs(n int) bool {
	if r.c.dialect < dialect210 {
		return n <= 64<<10
	}
	return n <= 64<<10*r.charge()
}

// pend answers that the request takes longer, and lets the next frame begin.
func (r *request) pend() {
	ch := r.ch
	if r.index != ch.last || r.asyncID != 0 {
		ch.letNext()
		return
	}
	c := r.c
	c.mu.Lock()
	c.nextID++
	r.asyncID = c.nextID
	c.async[r.asyncID] = r
	c.mu.Unlock()
	body := r.body
	r.body = nil
	ch.append(r, stPending, []byte{9, 0, 0, 0, 0, 0, 0, 0})
	r.body = body
	ch.flush()
	ch.letNext()
}

// respond appends the response of a request.
func (ch *chain) respond(r *request, st status) {
	body := r.body
	if st.failed() {
		body = []byte{9, 0, 0, 0, 0, 0, 0, 0, 0}
		if r.errData != nil {
			body = body[:8]
			if r.c.dialect >= dialect311 { // in a context, [MS-SMB2] 2.2.2.1
				body[2] = 1
				body = le.AppendUint64(body, uint64(len(r.errData)))
			}
			body = append(body, r.errData...)
			le.PutUint32(body[4:], uint32(len(body)-8))
		}
	}
	ch.append(r, st, body)
}

// begin opens a response: it finishes the one before and answers where the
// header goes.
func (ch *chain) begin() int {
	if ch.out == nil {
		ch.out = make([]byte, headroom, headroom+512)
	}
	if ch.at != 0 {
		ch.out = alignTo(ch.out, ch.at, 8)
		le.PutUint32(ch.out[ch.at+20:], uint32(len(ch.out)-ch.at))
		ch.finish()
	}
	ch.at = len(ch.out)
	ch.out = appendZero(ch.out, headerSize)
	return ch.at
}

func (ch *chain) append(r *request, st status, body []byte) {
	at := ch.begin()
	c := ch.c
	h := header{
		charge: r.hdr.charge, status: uint32(st), command: r.hdr.command, messageID: r.hdr.messageID, treeID: r.hdr.treeID,
		sessionID: r.hdr.sessionID, flags: flagResponse | r.hdr.flags&(flagRelated|flagReplay),
	}
	if r.asyncID != 0 {
		h.flags |= flagAsync
		h.asyncID = r.asyncID
	}
	if r.asyncID == 0 || st == stPending {
		more := r.hdr.command != cmdNegotiate && (r.hdr.command != cmdSessionSetup || st == stOK)
		c.mu.Lock()
		h.credits = uint16(c.credits.grant(int(r.hdr.credits), r.charge(), more))
		c.mu.Unlock()
	}
	h.put(ch.out[at:])
	ch.out = append(ch.out, body...)
	ch.owner = r
}

// finish signs the last response.
func (ch *chain) finish() {
	r := ch.owner
	msg := ch.out[ch.at:]
	if ch.sealed == nil && r.signKey != nil {
		r.signKey.sign(msg)
	} else if ch.sealed == nil && r.sess != nil && r.hdr.command != cmdNegotiate {
		st := status(le.Uint32(msg[8:]))
		if k := r.sess.signerOn(r.c); k != nil && (r.sign || r.sess.mustSign() && st != stPending) {
			k.sign(msg)
		}
	}
	if r.preauth != nil {
		chainHash(r.preauth, msg)
	}
}

// flush sends what there is.
func (ch *chain) flush() {
	if ch.at == 0 {
		return
	}
	if ch.last > 0 {
		ch.out = alignTo(ch.out, ch.at, 8) // the last of a compound, too
	}
	ch.finish()
	ch.c.write(ch.out, ch.sealed)
	ch.out, ch.at, ch.owner = nil, 0, nil
}

// echo answers an ECHO.
func (r *request) echo() status {
	r.body = []byte{4, 0, 0, 0}
	return stOK
}

// file finds the open that a file id stands for.
func (r *request) file(id []byte) (*open, status) {
	p, v := le.Uint64(id), le.Uint64(id[8:])
	if p == ^uint64(0) && v == ^uint64(0) {
		if r.ch.failed != 0 {
			return nil, r.ch.failed
		}
		if r.ch.open == nil {
			return nil, stFileClosed
		}
		return r.usable(r.ch.open)
	}
	o := r.c.s.openByID(p, v)
	if o == nil {
		return nil, stFileClosed
	}
	return r.usable(o)
}

func (r *request) usable(o *open) (*open, status) {
	if !o.belongs(r.sess, r.tree) {
		return nil, stFileClosed
	}
	r.ch.open, r.ch.failed = o, 0
	o.s.mu.Lock()
	o.touched = true
	o.s.mu.Unlock()
	switch r.hdr.command {
	case cmdRead, cmdWrite, cmdFlush, cmdQueryDirectory:
		// What comes next may run at once, even a close: that waits.
		if r.working == nil {
			r.working = o
			o.begin()
		}
		if r.index == r.ch.last {
			r.ch.letNext()
		}
	}
	return o, stOK
}
