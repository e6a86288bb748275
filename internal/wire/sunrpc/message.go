package sunrpc

import (
	"context"
	"net/netip"
	"time"
)

// Numbers of RFC 5531.
const (
	msgCall  = 0
	msgReply = 1

	rpcVersion = 2

	replyAccepted = 0
	replyDenied   = 1

	rejectVersion = 0
	rejectAuth    = 1

	maxAuthBody    = 400
	maxMachineName = 255
	maxGIDs        = 16

	lastFragment = 1 << 31
	// minCall is the shortest call: header, empty credential and verifier.
	minCall = 40
	// replyHeader is the record mark and the header of an accepted reply.
	replyHeader = 4 + 24
)

// Accept says how an accepted call went.
type Accept uint32

// Accept states.
const (
	Success              Accept = 0
	ProgramUnavailable   Accept = 1
	ProgramMismatch      Accept = 2
	ProcedureUnavailable Accept = 3
	GarbageArgs          Accept = 4
	SystemError          Accept = 5
	// NoReply drops the call without an answer. It is not on the wire.
	NoReply Accept = 1 << 16
	// TooWeak denies the call for its credential. It is not on the wire as such.
	TooWeak Accept = 1<<16 + 1
)

// AuthStat says why a credential was refused.
type AuthStat uint32

// Authentication states.
const (
	AuthOK           AuthStat = 0
	AuthBadCred      AuthStat = 1
	AuthRejectedCred AuthStat = 2
	AuthBadVerf      AuthStat = 3
	AuthTooWeak      AuthStat = 5
)

// Flavor is an authentication flavour.
type Flavor uint32

// Flavours that are understood.
const (
	FlavorNone Flavor = 0
	FlavorSys  Flavor = 1
)

// Cred is the caller as the client states it.
type Cred struct {
	Flavor   Flavor
	UID, GID uint32
	// Machine is the name the client gives itself; bytes of the record.
	Machine []byte
	ngids   int
	gids    [maxGIDs]uint32
}

// GIDs are the supplementary groups.
func (c *Cred) GIDs() []uint32 { return c.gids[:c.ngids] }

// Call is one call while it is handled.
type Call struct {
	Prog, Vers, Proc uint32
	XID              uint32
	Cred             Cred
	// Peer is the client's address, Local the server's.
	Peer, Local netip.AddrPort
	// Packet tells that the call came in a datagram.
	Packet bool
	// Start is when the call had arrived.
	Start time.Time
	// Args are the arguments; they alias Record.
	Args Decoder
	// Record owns the memory of the call. A handler that keeps bytes of Args
	// longer retains it.
	Record *Buf
	// Reply takes the results. What is in it counts only with Success.
	Reply Encoder
	// Session is what the program attached to the connection; nil for datagrams.
	Session *Session

	ctx         context.Context // of the listener; a Call lives no longer than its handling
	conn        *conn
	packet      *packetPeer
	prog        *Program
	low, high   uint32 // versions of the program that there are, if this one is not
	deny        denial
	replyHint   int
	requestCost int64
	replyCost   int64
}

// RequestSize is the number of bytes of the call.
func (c *Call) RequestSize() int { return len(c.Record.b) }

// denial is why a call was not accepted.
type denial struct {
	version bool
	auth    AuthStat
}

// parseCall reads the header of a call, up to its arguments. ok is false if it
// is not a call at all and no answer is possible.
func parseCall(c *Call) (deny denial, ok bool) {
	d := &c.Args
	c.XID = d.U32()
	if d.U32() != msgCall || !d.OK() {
		return denial{}, false
	}
	version := d.U32()
	c.Prog, c.Vers, c.Proc = d.U32(), d.U32(), d.U32()
	if !d.OK() {
		return denial{}, false
	}
	if version != rpcVersion {
		return denial{version: true}, true
	}
	flavor := Flavor(d.U32())
	body := d.Opaque(maxAuthBody)
	if !d.OK() {
		return denial{auth: AuthBadCred}, true
	}
	d.U32() // the verifier's flavour says nothing for flavours that need none
	d.Opaque(maxAuthBody)
	if !d.OK() {
		return denial{auth: AuthBadVerf}, true
	}
	return denial{auth: c.Cred.parse(flavor, body)}, true
}

func (c *Cred) parse(f Flavor, body []byte) AuthStat {
	c.Flavor, c.UID, c.GID, c.Machine, c.ngids = f, 0, 0, nil, 0
	switch f {
	case FlavorNone:
		return AuthOK
	case FlavorSys:
	default:
		return AuthRejectedCred
	}
	d := NewDecoder(body)
	d.U32() // stamp
	c.Machine = d.Opaque(maxMachineName)
	c.UID, c.GID = d.U32(), d.U32()
	n := d.U32()
	if n > maxGIDs {
		return AuthBadCred
	}
	for i := range int(n) {
		c.gids[i] = d.U32()
	}
	c.ngids = int(n)
	if !d.OK() {
		return AuthBadCred
	}
	return AuthOK
}

// beginReply writes record mark and header of an accepted reply.
func beginReply(e *Encoder, xid uint32, a Accept) {
	e.Truncate(0)
	e.U32(0) // record mark, set when the length is known
	e.U32(xid)
	e.U32(msgReply)
	e.U32(replyAccepted)
	e.U64(0) // verifier AUTH_NONE, empty
	e.U32(uint32(a))
}

// finishReply makes the reply one of state a, keeping results only with Success.
func finishReply(c *Call, a Accept) {
	e := &c.Reply
	if a == TooWeak {
		denyReply(c, denial{auth: AuthTooWeak})
		return
	}
	if a != Success {
		e.Truncate(replyHeader)
		e.SetU32(replyHeader-4, uint32(a))
		if a == ProgramMismatch {
			e.U32(c.low)
			e.U32(c.high)
		}
	}
	e.SetU32(0, lastFragment|uint32(e.Len()-4))
}

func denyReply(c *Call, d denial) {
	e := &c.Reply
	e.Truncate(0)
	e.U32(0)
	e.U32(c.XID)
	e.U32(msgReply)
	e.U32(replyDenied)
	if d.version {
		e.U32(rejectVersion)
		e.U32(rpcVersion)
		e.U32(rpcVersion)
	} else {
		e.U32(rejectAuth)
		e.U32(uint32(d.auth))
	}
	e.SetU32(0, lastFragment|uint32(e.Len()-4))
}
