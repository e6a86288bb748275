package smb

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/identity/ntlm"
)

type sessionState uint8

const (
	sessionInProgress sessionState = iota
	sessionValid
	sessionExpired
	sessionGone
)

// session is one user on one or several connections.
type session struct {
	s       *Server
	id      uint64
	created time.Time
	client  netip.AddrPort // whose first connection it was
	nonce   atomic.Uint64  // of what we encrypt
	active  atomic.Int64   // when the last request came

	mu       sync.Mutex
	state    sessionState
	ident    *ntlm.Identity
	cred     *identity.Credential
	dialect  uint16
	cipher   uint16
	guid     [16]byte // of the client
	keys     *keys
	signing  bool // every message must be signed
	encrypt  bool // or encrypted
	channels map[*conn]*channel
	trees    map[uint32]*tree
	nextTree uint32
	opens    map[*open]struct{}
}

// channel is a session on one connection.
type channel struct {
	auth    *ntlm.Acceptor // of an exchange that runs
	gate    *gate          // which it asks for accounts
	preauth [64]byte       // its hash
	bound   bool           // ready for use
	sign    *signer
}

func (s *session) stateOn(c *conn) sessionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch := s.channels[c]; ch == nil || !ch.bound && s.state == sessionValid {
		return sessionInProgress
	}
	return s.state
}

func (s *session) signerOn(c *conn) *signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ch := s.channels[c]; ch != nil {
		if ch.sign != nil {
			return ch.sign
		}
		if s.keys != nil { // while a binding runs
			return s.keys.sign
		}
	}
	return nil
}

func (s *session) cipherKeys() *keys {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

func (s *session) mustSign() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signing && s.state != sessionInProgress
}

func (s *session) mustEncrypt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.encrypt
}

func (s *session) tree(id uint32) *tree {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trees[id]
}

// leave takes a connection out of the session, which ends with the last.
func (s *session) leave(c *conn) {
	s.mu.Lock()
	delete(s.channels, c)
	last := len(s.channels) == 0
	s.mu.Unlock()
	if last {
		s.end(true)
	}
}

// end closes everything of the session; lost says that the client may come back
// for its durable opens.
func (s *session) end(lost bool) {
	s.mu.Lock()
	if s.state == sessionGone {
		s.mu.Unlock()
		return
	}
	s.state = sessionGone
	conns := make(map[*conn]*signer, len(s.channels))
	for c, ch := range s.channels {
		conns[c] = ch.sign
	}
	opens := make([]*open, 0, len(s.opens))
	for o := range s.opens {
		opens = append(opens, o)
	}
	trees, off := s.trees, s.signOff()
	s.channels, s.trees = map[*conn]*channel{}, map[uint32]*tree{}
	s.mu.Unlock()
	s.s.mu.Lock()
	delete(s.s.sessions, s.id)
	s.s.mu.Unlock()
	for c, k := range conns {
		c.mu.Lock()
		delete(c.sessions, s.id)
		if !c.closed && k != nil {
			if c.ended == nil || len(c.ended) >= maxEnded {
				c.ended = map[uint64]*signer{}
			}
			c.ended[s.id] = k
		}
		c.mu.Unlock()
	}
	for _, o := range opens {
		if lost && o.disconnect() {
			continue
		}
		s.s.closeOpen(s.s.ctx, o)
	}
	if off == nil {
		return
	}
	for _, t := range trees {
		t.tellShare(Disconnect, stOK)
	}
	s.s.tell(*off)
}

// signOff describes the end of a session that was signed in; mu is held.
func (s *session) signOff() *Access {
	if s.cred == nil {
		return nil
	}
	return &Access{Kind: SignOff, Client: s.client, User: s.ident.User, Cred: s.cred}
}

// maxChannels bounds the connections of one session.
const maxChannels = 32

const (
	setupBinding = 1

	sessionFlagGuest   = 1
	sessionFlagNull    = 2
	sessionFlagEncrypt = 4
)

// session finds a session whatever its connections.
func (s *Server) session(id uint64) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

func (s *Server) newID() uint64 { return s.nextID.Add(1) }

func (r *request) sessionSetup() status {
	c, srv := r.c, r.c.s
	p := r.payload()
	flags, mode, caps := p[2], p[3], le.Uint32(p[4:])
	token, ok := r.bytes(uint64(le.Uint16(p[12:])), uint64(le.Uint16(p[14:])))
	if !ok {
		return stInvalidParameter
	}
	previous := le.Uint64(p[16:])
	s := r.sess
	binding := flags&setupBinding != 0
	switch {
	case binding:
		var st status
		if s, st = r.bind(); st != stOK {
			return st
		}
	case r.hdr.sessionID == 0:
		s = &session{
			s: srv, id: uint64(srv.nextSession.Add(1)), created: srv.o.Now(), client: c.remote, dialect: c.dialect, cipher: c.cipher, guid: c.clientGUID,
			channels: map[*conn]*channel{}, trees: map[uint32]*tree{}, opens: map[*open]struct{}{},
		}
		srv.mu.Lock()
		// Some clients keep only the low half of an id.
		for s.id == 0 || srv.sessions[s.id] != nil {
			s.id = uint64(srv.nextSession.Add(1))
		}
		if srv.draining || len(srv.sessions) >= srv.o.MaxSessions {
			srv.mu.Unlock()
			return stInsufficientResources
		}
		srv.sessions[s.id] = s
		srv.mu.Unlock()
		s.channels[c] = &channel{preauth: c.preauth}
		c.mu.Lock()
		c.sessions[s.id] = s
		c.mu.Unlock()
	case s == nil:
		return stUserSessionDeleted
	}
	r.sess, r.ch.sess = s, s
	r.hdr.sessionID = s.id
	s.mu.Lock()
	ch := s.channels[c]
	if ch == nil {
		s.mu.Unlock()
		return stUserSessionDeleted
	}
	if s.mustSignLocked() && ch.bound && r.hdr.flags&flagSigned == 0 && r.ch.sealed == nil {
		s.mu.Unlock()
		return stAccessDenied
	}
	if ch.auth == nil {
		ch.auth, ch.gate = srv.acceptor(c)
		ch.preauth = c.preauth
	}
	if c.dialect >= dialect311 {
		chainHash(&ch.preauth, r.msg)
		r.preauth = &ch.preauth
	}
	auth, gate := ch.auth, ch.gate
	s.mu.Unlock()

	out, done, err := gate.step(r.ctx, auth, token)
	if err != nil {
		st := r.setupFailed(s, ch, err)
		r.tellSignIn(gate, st)
		return st
	}
	sf := uint16(0)
	st := stMoreProcessing
	if done {
		st = stOK
		if sf, err = r.established(s, ch, auth.Result(), mode, caps, binding); err != nil {
			st = r.setupFailed(s, ch, err)
			r.tellSignIn(gate, st)
			return st
		}
		r.tellSignIn(gate, st)
		if previous != 0 && previous != s.id && !binding {
			r.replaceSession(s, previous)
		}
	}
	b := []byte{9, 0, 0, 0, headerSize + 8, 0, 0, 0}
	le.PutUint16(b[2:], sf)
	le.PutUint16(b[6:], uint16(len(out)))
	r.body = append(b, out...)
	return st
}

func (s *session) mustSignLocked() bool { return s.signing && s.state == sessionValid }

// bind finds the session of another connection that this one joins.
func (r *request) bind() (*session, status) {
	c, srv := r.c, r.c.s
	s := srv.session(r.hdr.sessionID)
	if s == nil {
		return nil, stUserSessionDeleted
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := s.channels[c]
	verified := r.ch.sealed != nil || r.sign || r.signKey != nil
	if r.sign && (ch == nil || !ch.bound) && s.keys != nil && r.ch.sealed == nil {
		r.signKey = s.keys.sign
	}
	if s.keys != nil && r.hdr.flags&flagSigned != 0 && !verified {
		if verified = s.keys.sign.verify(r.msg); verified {
			r.signKey = s.keys.sign // until it has its own
		}
	}
	switch {
	case ch != nil && ch.bound:
		return nil, stRequestNotAccepted
	case s.state != sessionValid || s.keys == nil:
		return nil, stRequestNotAccepted
	case s.keys.sign.alg == signGMAC && c.signAlg != signGMAC:
		return nil, stRequestOutOfSequence
	case s.keys.sign.alg != signGMAC && c.signAlg == signGMAC:
		return nil, stNotSupported
	case c.dialect < dialect300:
		return nil, stRequestNotAccepted
	case r.hdr.flags&flagSigned == 0:
		return nil, stInvalidParameter
	case s.ident != nil && (s.ident.Guest || s.ident.Anonymous):
		return nil, stNotSupported
	case s.dialect != c.dialect || s.cipher != c.cipher:
		return nil, stInvalidParameter
	case !verified:
		return nil, stAccessDenied
	}
	if ch == nil {
		if len(s.channels) >= maxChannels {
			return nil, stInsufficientResources
		}
		s.channels[c] = &channel{preauth: c.preauth}
		c.mu.Lock()
		c.sessions[s.id] = s
		c.mu.Unlock()
	}
	r.sign = true
	return s, stOK
}

// setupFailed forgets a session that never was, or a binding.
func (r *request) setupFailed(s *session, ch *channel, err error) status {
	c := r.c
	r.preauth = nil
	s.mu.Lock()
	ch.auth, ch.gate = nil, nil
	bound := ch.bound
	fresh := s.state == sessionInProgress
	if !bound {
		delete(s.channels, c)
	}
	s.mu.Unlock()
	if !bound {
		c.mu.Lock()
		delete(c.sessions, s.id)
		c.mu.Unlock()
		if fresh {
			s.s.mu.Lock()
			delete(s.s.sessions, s.id)
			s.s.mu.Unlock()
		}
	} else if !fresh {
		// A failed re-authentication ends the session, before its client hears of it.
		r.signKey = s.signerOn(c)
		s.end(false)
	}
	if !bound {
		r.sess = nil
	}
	switch {
	case errors.Is(err, ntlm.ErrMalformed):
		return stInvalidParameter
	case errors.Is(err, ntlm.ErrDisabled):
		return stAccountDisabled
	case errors.Is(err, ntlm.ErrNoUser), errors.Is(err, ntlm.ErrDenied):
		r.c.s.o.Logger.Info("login refused", "client", c.remote, "err", err)
		return stLogonFailure
	case errors.Is(err, errOtherUser):
		return stAccessDenied
	}
	r.c.s.o.Logger.Warn("login failed", "client", c.remote, "err", err)
	return stLogonFailure
}

var errOtherUser = errors.New("smb: another user than the session's")

// established makes a session or channel usable.
func (r *request) established(s *session, ch *channel, id *ntlm.Identity, mode byte, caps uint32, binding bool) (flags uint16, err error) {
	c, o, policy := r.c, &r.c.s.o, r.c.s.policy.Load()
	defer func() {
		if err == nil {
			c.loggedIn()
		}
	}()
	_ = caps
	var cred *identity.Credential
	switch {
	case id.Account != nil:
		cred = id.Account.Cred
	case !policy.GuestAllowed && !id.Anonymous:
		return 0, ntlm.ErrDenied
	default:
		cred = o.Guest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ch.auth, ch.gate = nil, nil
	if binding {
		if s.cred.User != cred.User {
			return 0, errOtherUser
		}
		k, err := deriveKeys(c.dialect, id.Key[:], c.cipher, c.signAlg, ch.preauth[:])
		if err != nil {
			return 0, err
		}
		ch.sign, ch.bound = k.sign, true
		r.preauth, r.signKey = nil, nil
		return s.flags(), nil
	}
	if s.state != sessionInProgress { // again: keys stay
		s.ident, s.cred, s.state = id, cred, sessionValid
		for _, t := range s.trees {
			t.setCred(cred)
		}
		r.preauth = nil
		return s.flags(), nil
	}
	k, err := deriveKeys(c.dialect, id.Key[:], c.cipher, c.signAlg, ch.preauth[:])
	if err != nil {
		return 0, err
	}
	r.preauth = nil
	s.ident, s.cred, s.keys = id, cred, k
	ch.sign, ch.bound = k.sign, true
	if id.Account != nil {
		s.signing = policy.SigningRequired || mode&modeSigningRequired != 0
		r.sign = true
	}
	canEncrypt := k.in != nil && id.Account != nil
	switch policy.Encryption {
	case EncryptRequired:
		if !canEncrypt {
			return 0, ntlm.ErrDenied
		}
		s.encrypt = true
	case EncryptPreferred:
		s.encrypt = canEncrypt
	}
	s.state = sessionValid
	return s.flags(), nil
}

func (s *session) flags() uint16 {
	f := uint16(0)
	switch {
	case s.ident.Guest:
		f |= sessionFlagGuest
	case s.ident.Anonymous:
		f |= sessionFlagNull
	}
	if s.encrypt {
		f |= sessionFlagEncrypt
	}
	return f
}

// replaceSession ends the session that a client says it lost.
func (r *request) replaceSession(s *session, previous uint64) {
	srv := r.c.s
	srv.mu.Lock()
	old := srv.sessions[previous]
	srv.mu.Unlock()
	if old == nil {
		return
	}
	old.mu.Lock()
	same := old.cred != nil && old.cred.User == s.cred.User
	old.mu.Unlock()
	if same {
		old.end(true)
	}
}

func (r *request) logoff() status {
	s := r.sess
	r.body = []byte{4, 0, 0, 0}
	// The answer is signed with keys of a session that no longer is.
	if k := s.signerOn(r.c); k != nil && (r.sign || s.mustSign()) && r.ch.sealed == nil {
		r.after = nil
	}
	r.ch.letNext()
	s.endKeeping(r.c)
	return stOK
}

// endKeeping ends the session but leaves the channel's key for one response.
func (s *session) endKeeping(c *conn) {
	s.mu.Lock()
	ch := s.channels[c]
	s.mu.Unlock()
	s.end(true)
	if ch != nil {
		s.mu.Lock()
		s.channels[c] = ch
		s.mu.Unlock()
	}
}

// tree is a share that a session is connected to.
type tree struct {
	id    uint32
	sess  *session
	name  string
	share atomic.Pointer[Share] // nil: the pipes

	mu     sync.Mutex
	caller *fs.Caller
	client *conn
}

// as is who calls through the tree.
func (t *tree) as() *fs.Caller {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.caller
}

// shared is what the tree shows now, nil for the pipes.
func (t *tree) shared() *Share { return t.share.Load() }

func (t *tree) setCred(cred *identity.Credential) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := *t.caller
	c.Cred = cred
	t.caller = &c
}

// rights are what the share lets anybody do.
func (t *tree) rights() fs.Rights {
	r := fs.RightsAll &^ fs.RightWriteGroup
	s := t.shared()
	if s == nil {
		return r
	}
	if s.Rights != 0 {
		r &= s.Rights
	}
	if s.ReadOnly {
		r &= fs.RightRead | fs.RightReadEA | fs.RightExecute | fs.RightReadAttr | fs.RightReadACL | fs.RightSynchronize
	}
	return r
}

func (r *request) treeConnect() (answer status) {
	p := r.payload()
	path, ok := r.bytes(uint64(le.Uint16(p[4:])), uint64(le.Uint16(p[6:])))
	if !ok || len(path)%2 != 0 {
		return stInvalidParameter
	}
	name := decodeUTF16(path)
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '\\' {
			name = name[i+1:]
			break
		}
	}
	s := r.sess
	s.mu.Lock()
	cred, ident := s.cred, s.ident
	s.mu.Unlock()
	t := &tree{sess: s, name: name, client: r.c, caller: &fs.Caller{Cred: cred, Protocol: fs.ProtoSMB, Client: r.c.remote}}
	defer func() { t.tellShare(Connect, answer) }()
	if r.c.s.policy.Load().Encryption == EncryptRequired && r.ch.sealed == nil {
		return stAccessDenied
	}
	kind, flags := byte(1), uint32(0)
	if equalFold(name, "IPC$") {
		kind, t.name = 2, "IPC$"
		flags = 0x30
	} else {
		share, st := r.c.s.findShare(r.ctx, name, t.caller, ident)
		if st != stOK {
			return st
		}
		t.share.Store(share)
		t.name = share.Name
		if share.Encrypt {
			if r.c.cipher == cipherNone {
				return stAccessDenied
			}
			flags |= 0x8000
		}
		if share.AccessBasedEnumeration {
			flags |= 0x800
		}
		t.caller.ReadOnly, t.caller.BypassTraverse = share.ReadOnly, r.c.s.policy.Load().BypassTraverse
	}
	s.mu.Lock()
	if s.state != sessionValid || len(s.trees) >= 1<<16 {
		s.mu.Unlock()
		return stUserSessionDeleted
	}
	s.nextTree++
	t.id = s.nextTree
	s.trees[t.id] = t
	s.mu.Unlock()
	r.hdr.treeID = t.id
	r.tree, r.ch.tree = t, t
	b := make([]byte, 16)
	b[0], b[2] = 16, kind
	le.PutUint32(b[4:], flags)
	le.PutUint32(b[12:], uint32(t.rights()))
	r.body = b
	return stOK
}

func (s *Server) findShare(ctx context.Context, name string, c *fs.Caller, id *ntlm.Identity) (*Share, status) {
	share, err := s.o.Shares.Share(ctx, name, c)
	switch {
	case err != nil && fs.KindOf(err) == fs.NotExist:
		return nil, stBadNetworkName
	case err != nil:
		return nil, statusOf(err)
	case (id.Guest || id.Anonymous) && !share.Guest:
		return nil, stAccessDenied
	}
	return share, stOK
}

func (r *request) treeDisconnect() status {
	t := r.tree
	r.sess.disconnect(r.ctx, t)
	r.body = []byte{4, 0, 0, 0}
	return stOK
}
