package rpc

import (
	"context"
	"encoding/binary"
	"strings"
)

var le = binary.LittleEndian

// PDU types, [C706] 12.6.4, and flags.
const (
	pduRequest  = 0
	pduResponse = 2
	pduFault    = 3
	pduBind     = 11
	pduBindAck  = 12
	pduBindNak  = 13
	pduAlter    = 14
	pduAlterAck = 15
	pduCancel   = 18
	pduOrphaned = 19

	flagFirst  = 0x01
	flagLast   = 0x02
	flagObject = 0x80
)

// Bounds of an association.
const (
	maxFrag     = 4280
	maxCall     = 128 << 10 // of all fragments of a request
	maxContexts = 16
	maxHandles  = 1024
)

const (
	ndr32 = "\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60"
	// A syntax that begins so asks what bind-time features there are; the rest
	// is the bits, [MS-RPCE] 2.2.2.14.
	bindTimeFeatures = "\x2c\x1c\xb7\x6c\x12\x98\x40\x45"
)

// Association is one client's use of a pipe. It is not safe for concurrent use.
type Association struct {
	s        *Server
	pipe     string
	contexts map[uint16]*service // presentation contexts that were agreed on
	handles  map[[16]byte]any
	frag     int // what the client takes at once
	failed   bool

	// A request of which more is to come.
	part     []byte
	partial  bool
	partID   uint32
	partOp   uint16
	partCtx  uint16
	reserved uint32 // of the group of associations
}

// Open begins an association on a pipe, in whatever case its name is written. It
// answers false if there is no such pipe.
func (s *Server) Open(pipe string) (*Association, bool) {
	pipe = strings.ToLower(pipe)
	if len(services[pipe]) == 0 {
		return nil, false
	}
	return &Association{s: s, pipe: pipe, contexts: map[uint16]*service{}, handles: map[[16]byte]any{}, frag: maxFrag}, true
}

// Feed takes what the client has written, whole PDUs, and answers what it is to read.
func (a *Association) Feed(ctx context.Context, c *Caller, in []byte) []byte {
	var out []byte
	for len(in) > 0 {
		n := 0
		if len(in) >= 16 {
			n = int(le.Uint16(in[8:]))
		}
		switch {
		case a.failed:
			return append(out, a.fault(in, faultProtocol)...)
		case n < 16 || n > len(in) || in[0] != 5 || in[4] != 0x10:
			a.failed = true
			return append(out, a.fault(in, faultProtocol)...)
		}
		out = append(out, a.pdu(ctx, c, in[:n])...)
		in = in[n:]
	}
	return out
}

// pdu handles one, which is as long as it says.
func (a *Association) pdu(ctx context.Context, c *Caller, b []byte) []byte {
	kind, auth := b[2], le.Uint16(b[10:])
	switch {
	case kind == pduCancel || kind == pduOrphaned:
		// Calls end before the next PDU is looked at.
		if kind == pduOrphaned && a.partial && a.partID == le.Uint32(b[12:]) {
			a.part, a.partial = nil, false
		}
		return nil
	case (kind == pduBind || kind == pduAlter) && auth != 0:
		return nak(b, nakAuthType) // SMB has seen to who it is
	case auth != 0:
		a.failed = true
		return a.fault(b, faultProtocol)
	case kind == pduBind || kind == pduAlter:
		if out, ok := a.bind(b); ok {
			return out
		}
		return nak(b, nakUnspecified)
	case kind == pduRequest:
		return a.request(ctx, c, b)
	}
	a.failed = true
	return a.fault(b, faultProtocol)
}

// header begins a PDU in answer to another.
func header(kind, flags byte, to []byte) []byte {
	b := []byte{5, 0, kind, flags, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if len(to) >= 16 {
		b[1] = min(to[1], 1)
		copy(b[12:], to[12:16])
	}
	return b
}

func finish(b []byte) []byte {
	le.PutUint16(b[8:], uint16(len(b)))
	return b
}

// Reasons to refuse a bind, [C706] 12.6.3.1 and [MS-RPCE] 2.2.2.5.
const (
	nakUnspecified = 0
	nakAuthType    = 8
)

func nak(to []byte, reason uint16) []byte {
	b := le.AppendUint16(header(pduBindNak, flagFirst|flagLast, to), reason)
	return finish(append(b, 1, 5, 0)) // the one version that is spoken
}

// Results of a presentation context.
const (
	contextAccepted = 0
	contextRefused  = 2
	contextFeatures = 3

	abstractUnknown = 1
	transferUnknown = 2
)

// bind agrees on presentation contexts, [C706] 12.6.4.3 and 12.6.4.1.
func (a *Association) bind(pdu []byte) ([]byte, bool) {
	if len(pdu) < 28 {
		return nil, false
	}
	kind := byte(pduBindAck)
	if pdu[2] == pduAlter {
		kind = pduAlterAck
	} else {
		if n := int(le.Uint16(pdu[18:])); n >= 1024 {
			a.frag = min(n, maxFrag)
		}
		a.reserved = le.Uint32(pdu[20:])
		if a.reserved == 0 {
			a.reserved = 0x53f0
		}
	}
	b := header(kind, flagFirst|flagLast, pdu)
	b = le.AppendUint16(b, maxFrag)
	b = le.AppendUint16(b, maxFrag)
	b = le.AppendUint32(b, a.reserved)
	if kind == pduBindAck {
		addr := `\PIPE\` + a.pipe + "\x00"
		b = append(le.AppendUint16(b, uint16(len(addr))), addr...)
	} else {
		b = le.AppendUint16(b, 0)
	}
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	count := int(pdu[24])
	if count > maxContexts {
		return nil, false
	}
	b = append(b, byte(count), 0, 0, 0)
	in := pdu[28:]
	for range count {
		if len(in) < 24 {
			return nil, false
		}
		id, syntaxes := le.Uint16(in), int(in[2])
		abstract := string(in[4:24])
		in = in[24:]
		if len(in) < 20*syntaxes {
			return nil, false
		}
		result, reason, transfer := uint16(contextRefused), uint16(transferUnknown), make([]byte, 20)
		svc := a.find(abstract)
		for i := range syntaxes {
			switch t := in[20*i:]; {
			case string(t[:8]) == bindTimeFeatures:
				result, reason = contextFeatures, 0 // none of them
			case string(t[:16]) == ndr32 && le.Uint32(t[16:]) == 2 && svc != nil:
				result, reason = contextAccepted, 0
				copy(transfer, t[:20])
			}
		}
		in = in[20*syntaxes:]
		switch {
		case result == contextAccepted:
			if len(a.contexts) >= maxContexts && a.contexts[id] == nil {
				return nil, false
			}
			a.contexts[id] = svc
		case result == contextRefused && svc == nil:
			reason = abstractUnknown
		}
		b = le.AppendUint16(b, result)
		b = le.AppendUint16(b, reason)
		b = append(b, transfer...)
	}
	return finish(b), true
}

// find answers the interface of the pipe that a client asks for.
func (a *Association) find(abstract string) *service {
	for _, s := range services[a.pipe] {
		if s.syntax == abstract[:18] { // the minor version may be any
			return s
		}
	}
	return nil
}

// request collects the fragments of a call, and makes it with the last.
func (a *Association) request(ctx context.Context, c *Caller, b []byte) []byte {
	at := 24
	if b[3]&flagObject != 0 {
		at += 16
	}
	if len(b) < at {
		a.failed = true
		return a.fault(b, faultProtocol)
	}
	id, context, op := le.Uint32(b[12:]), le.Uint16(b[20:]), le.Uint16(b[22:])
	first := b[3]&flagFirst != 0
	switch {
	case first == a.partial, !first && (id != a.partID || op != a.partOp || context != a.partCtx):
		a.failed = true
		return a.fault(b, faultProtocol)
	case first:
		a.partial, a.partID, a.partOp, a.partCtx = true, id, op, context
	}
	if len(a.part)+len(b)-at > maxCall {
		a.failed, a.part = true, nil
		return a.fault(b, faultNoMemory)
	}
	stub := b[at:]
	if !first || b[3]&flagLast == 0 {
		a.part = append(a.part, stub...)
		stub = a.part
	}
	if b[3]&flagLast == 0 {
		return nil
	}
	a.part, a.partial = nil, false
	svc := a.contexts[context]
	if svc == nil {
		return a.fault(b, faultContext)
	}
	out, fault := a.call(ctx, c, svc, op, stub)
	if fault != 0 {
		return a.fault(b, fault)
	}
	return a.respond(b, out)
}

// respond cuts an answer into fragments.
func (a *Association) respond(to, stub []byte) []byte {
	all := make([]byte, 0, len(stub)+24*(len(stub)/(a.frag-24)+1))
	for first := true; first || len(stub) > 0; first = false {
		k := min(len(stub), a.frag-24)
		flags := byte(0)
		if first {
			flags |= flagFirst
		}
		if k == len(stub) {
			flags |= flagLast
		}
		b := le.AppendUint32(header(pduResponse, flags, to), uint32(len(stub)))
		b = append(b, to[20], to[21], 0, 0)
		all = append(all, finish(append(b, stub[:k]...))...)
		stub = stub[k:]
	}
	return all
}

// Faults, [C706] appendix E and [MS-ERREF].
const (
	faultContext   = 0x1c00001a // nca_s_fault_context_mismatch
	faultOperation = 0x1c010002 // nca_s_op_rng_error
	faultProtocol  = 0x1c01000b // nca_s_proto_error
	faultNoMemory  = 0x1c00001d // nca_s_fault_remote_no_memory
	faultStub      = 0x000006f7 // RPC_X_BAD_STUB_DATA
	faultInternal  = 0x1c000012 // nca_s_fault_unspec
)

func (a *Association) fault(to []byte, code uint32) []byte {
	b := header(pduFault, flagFirst|flagLast, to)
	b = append(b, 0, 0, 0, 0)
	if len(to) >= 24 && to[2] == pduRequest {
		b = append(b, to[20], to[21], 0, 0)
	} else {
		b = append(b, 0, 0, 0, 0)
	}
	b = le.AppendUint32(b, code)
	return finish(append(b, 0, 0, 0, 0))
}
