package rpc

import (
	"context"
	"crypto/rand"
	"errors"
	"runtime/debug"

	"github.com/oiweiwei/go-msrpc/dcerpc"
	"github.com/oiweiwei/go-msrpc/msrpc/dcetypes"
	"github.com/oiweiwei/go-msrpc/msrpc/dtyp"
	lsad "github.com/oiweiwei/go-msrpc/msrpc/lsad/lsarpc/v0"
	lsat "github.com/oiweiwei/go-msrpc/msrpc/lsat/lsarpc/v0"
	samr "github.com/oiweiwei/go-msrpc/msrpc/samr/samr/v1"
	srvsvc "github.com/oiweiwei/go-msrpc/msrpc/srvs/srvsvc/v3"
	wkssvc "github.com/oiweiwei/go-msrpc/msrpc/wkst/wkssvc/v1"
	"github.com/oiweiwei/go-msrpc/ndr"
)

// service is an interface that a pipe offers.
type service struct {
	syntax string // UUID and major version, as they go over the wire
	handle func(*call) dcerpc.ServerHandle
}

// services are the interfaces of the pipes.
var services = map[string][]*service{
	"srvsvc": {{"\xc8\x4f\x32\x4b\x70\x16\xd3\x01\x12\x78\x5a\x47\xbf\x6e\xe1\x88\x03\x00", func(c *call) dcerpc.ServerHandle {
		return srvsvc.NewSrvsvcServerHandle(&srvsvcServer{call: c})
	}}},
	"wkssvc": {{"\x98\xd0\xff\x6b\x12\xa1\x10\x36\x98\x33\x46\xc3\xf8\x7e\x34\x5a\x01\x00", func(c *call) dcerpc.ServerHandle {
		return wkssvc.NewWkssvcServerHandle(&wkssvcServer{call: c})
	}}},
	"samr": {{"\x78\x57\x34\x12\x34\x12\xcd\xab\xef\x00\x01\x23\x45\x67\x89\xac\x01\x00", func(c *call) dcerpc.ServerHandle {
		return samr.NewSamrServerHandle(&samrServer{call: c})
	}}},
	"lsarpc": {lsaService}, "lsass": {lsaService},
}

// lsaService is two specifications on one interface, told apart by the call.
var lsaService = &service{"\x78\x57\x34\x12\x34\x12\xcd\xab\xef\x00\x01\x23\x45\x67\x89\xab\x00\x00", func(c *call) dcerpc.ServerHandle {
	p := &lsaPolicy{call: c}
	policy := lsad.NewLsarpcServerHandle(p)
	names := lsat.NewLsarpcServerHandle(&lsaNames{call: c})
	return func(ctx context.Context, op int, r ndr.Reader) (dcerpc.Operation, error) {
		switch op {
		case 6: // LsarOpenPolicy
			// Its first argument is one character where the generated code
			// expects a string, and nothing that is sent matters.
			h, st := p.openPolicy()
			c.answerHandle((*dcetypes.ContextHandle)(h), st)
			return nil, nil
		case 14, 15, 45, 57, 58, 68, 76, 77:
			return names(ctx, op, r)
		}
		return policy(ctx, op, r)
	}
}}

// call is one request.
type call struct {
	*Association
	who *Caller
	raw []byte // goes out in place of what the handler answers
}

// call runs an operation and answers its stub, or a fault.
func (a *Association) call(ctx context.Context, who *Caller, svc *service, op uint16, stub []byte) (out []byte, fault uint32) {
	defer func() {
		if p := recover(); p != nil {
			a.s.o.Logger.ErrorContext(ctx, "RPC call panics", "pipe", a.pipe, "operation", op, "panic", p, "stack", string(debug.Stack()))
			out, fault = nil, faultInternal
		}
	}()
	c := &call{Association: a, who: who}
	answer, err := svc.handle(c)(ctx, int(op), newReader(stub))
	switch {
	case c.raw != nil && err == nil:
		return c.raw, 0
	case errors.Is(err, dcerpc.ErrNotImplemented), answer == nil && err == nil:
		return nil, faultOperation
	case errors.Is(err, errInternal):
		return nil, faultInternal
	case err != nil:
		return nil, faultStub
	}
	out, err = encode(ctx, answer)
	if err != nil {
		a.s.o.Logger.ErrorContext(ctx, "RPC answer cannot be encoded", "pipe", a.pipe, "operation", op, "error", err)
		return nil, faultInternal
	}
	return out, 0
}

// errInternal says that something below has failed.
var errInternal = errors.New("rpc: internal error")

// internal logs a failure that the client is told nothing of.
func (c *call) internal(ctx context.Context, err error) error {
	c.s.o.Logger.WarnContext(ctx, "RPC call fails", "pipe", c.pipe, "error", err)
	return errInternal
}

// answerLevel answers a level of information that is not known, and that the
// generated code therefore cannot encode: the level, nothing, and the result.
func (c *call) answerLevel(level, result uint32) {
	c.raw = le.AppendUint32(le.AppendUint32(nil, level), 0)
	c.raw = le.AppendUint32(c.raw, result)
}

// answerHandle answers a handle, none if nil, and a status.
func (c *call) answerHandle(h *dcetypes.ContextHandle, st int32) {
	c.raw = make([]byte, 20)
	if h != nil {
		id := bytesOf(h.UUID)
		copy(c.raw[4:], id[:])
	}
	c.raw = le.AppendUint32(c.raw, uint32(st))
}

// newHandle keeps what a client has opened; nil if it has too much open.
func (a *Association) newHandle(of any) *dcetypes.ContextHandle {
	if len(a.handles) >= maxHandles {
		return nil
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	a.handles[id] = of
	return &dcetypes.ContextHandle{UUID: guidOf(id)}
}

// opened answers what a handle stands for, if it is one of T.
func opened[T any](a *Association, h *dcetypes.ContextHandle) (T, bool) {
	var none T
	if h == nil || h.UUID == nil {
		return none, false
	}
	x, ok := a.handles[bytesOf(h.UUID)].(T)
	return x, ok
}

// closeHandle answers false if there is none.
func (a *Association) closeHandle(h *dcetypes.ContextHandle) bool {
	if h == nil || h.UUID == nil {
		return false
	}
	id := bytesOf(h.UUID)
	_, ok := a.handles[id]
	delete(a.handles, id)
	return ok
}

func guidOf(b [16]byte) *dtyp.GUID {
	return &dtyp.GUID{Data1: le.Uint32(b[:]), Data2: le.Uint16(b[4:]), Data3: le.Uint16(b[6:]), Data4: b[8:]}
}

func bytesOf(g *dtyp.GUID) (b [16]byte) {
	le.PutUint32(b[:], g.Data1)
	le.PutUint16(b[4:], g.Data2)
	le.PutUint16(b[6:], g.Data3)
	copy(b[8:], g.Data4)
	return b
}
