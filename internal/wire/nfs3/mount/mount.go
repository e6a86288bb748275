// Package mount is the MOUNT protocol of NFS, versions 1 and 3 (RFC 1813
// appendix I): a client asks for the handle of an export by its exact name.
//
// Invariants: the list of who has mounted what is for people only, bounded, and
// decides nothing. Version 1 hands out handles of NFS version 2, which is not
// served: its MNT is always refused, the rest of it works for showmount.
//
// The package must not know file handles' contents, nor exports beyond Backend.
package mount

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"manifold/internal/wire/sunrpc"
)

// Program is the RPC program number of MOUNT.
const Program = 100005

// Status is a mountstat3.
type Status uint32

// Statuses of RFC 1813 5.1.5.
const (
	OK             Status = 0
	ErrPerm        Status = 1
	ErrNoEnt       Status = 2
	ErrIO          Status = 5
	ErrAcces       Status = 13
	ErrNotDir      Status = 20
	ErrInval       Status = 22
	ErrNameTooLong Status = 63
	ErrNotSupp     Status = 10004
	ErrServerFault Status = 10006
)

// Procedures.
const (
	procNull = iota
	procMount
	procDump
	procUnmount
	procUnmountAll
	procExport
	procCount
)

var procNames = [procCount]string{"NULL", "MNT", "DUMP", "UMNT", "UMNTALL", "EXPORT"}

// Procedures are the names of all that are answered.
func Procedures() []string { return procNames[:] }

const (
	maxPath = 1024
	maxName = 255
	// maxList bounds the list of mounts, maxPerHost what one client has in it.
	maxList    = 16384
	maxPerHost = 256
	// maxExportReply bounds EXPORT and DUMP replies over TCP, maxPacketReply in datagrams.
	maxExportReply = 1 << 20
	maxPacketReply = 8 << 10
)

// Backend knows the exports.
type Backend interface {
	// Mount answers the handle of the export of that exact name.
	Mount(ctx context.Context, c *sunrpc.Call, path string) (handle []byte, st Status)
	// List yields exports and the hosts that may use them; none are all.
	List(yield func(path string, hosts []string) bool)
}

// Options configure the program.
type Options struct {
	Backend Backend
	// Observe, if set, is told of every call, and the path that it names.
	Observe func(c *sunrpc.Call, name, path string, st Status)
}

// New builds the program.
func New(o Options) *sunrpc.Program {
	s := &service{o: o, perHost: map[netip.Addr]int{}}
	return &sunrpc.Program{Number: Program, Versions: []uint32{1, 3}, Packet: true, Handle: s.handle}
}

type mounted struct {
	host netip.Addr
	path string
}

type service struct {
	o Options

	mu      sync.Mutex
	mounts  []mounted // oldest first
	perHost map[netip.Addr]int
}

func (s *service) handle(ctx context.Context, c *sunrpc.Call) sunrpc.Accept {
	if c.Proc >= procCount {
		return sunrpc.ProcedureUnavailable
	}
	st, path, a := s.dispatch(ctx, c)
	if s.o.Observe != nil {
		s.o.Observe(c, procNames[c.Proc], path, st)
	}
	return a
}

func (s *service) dispatch(ctx context.Context, c *sunrpc.Call) (st Status, path string, a sunrpc.Accept) {
	switch c.Proc {
	case procMount:
		path = string(c.Args.Opaque(maxPath))
		if !c.Args.OK() {
			return ErrInval, "", sunrpc.GarbageArgs
		}
		return s.mount(ctx, c, path), path, sunrpc.Success
	case procDump:
		s.dump(c)
	case procUnmount:
		path = string(c.Args.Opaque(maxPath))
		if !c.Args.OK() {
			return ErrInval, "", sunrpc.GarbageArgs
		}
		s.forget(func(m mounted) bool { return m.host == c.Peer.Addr() && m.path == path })
	case procUnmountAll:
		s.forget(func(m mounted) bool { return m.host == c.Peer.Addr() })
	case procExport:
		s.export(c)
	}
	return OK, path, sunrpc.Success
}

func (s *service) mount(ctx context.Context, c *sunrpc.Call, path string) Status {
	if c.Vers == 1 {
		c.Reply.U32(uint32(ErrAcces))
		return ErrAcces
	}
	handle, st := s.o.Backend.Mount(ctx, c, path)
	c.Reply.U32(uint32(st))
	if st != OK {
		return st
	}
	c.Reply.Opaque(handle)
	c.Reply.U32(2) // flavours that are taken, the better first
	c.Reply.U32(uint32(sunrpc.FlavorSys))
	c.Reply.U32(uint32(sunrpc.FlavorNone))
	s.remember(mounted{c.Peer.Addr(), path})
	return OK
}

func (s *service) remember(m mounted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.mounts, m) {
		return
	}
	switch {
	case s.perHost[m.host] >= maxPerHost:
		s.removeAt(slices.IndexFunc(s.mounts, func(o mounted) bool { return o.host == m.host }))
	case len(s.mounts) >= maxList:
		s.removeAt(0)
	}
	s.mounts = append(s.mounts, m)
	s.perHost[m.host]++
}

func (s *service) removeAt(i int) {
	h := s.mounts[i].host
	if s.perHost[h]--; s.perHost[h] == 0 {
		delete(s.perHost, h)
	}
	s.mounts = slices.Delete(s.mounts, i, i+1)
}

func (s *service) forget(match func(mounted) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.mounts) - 1; i >= 0; i-- {
		if match(s.mounts[i]) {
			s.removeAt(i)
		}
	}
}

func limit(c *sunrpc.Call) int {
	if c.Packet {
		return maxPacketReply
	}
	return maxExportReply
}

func (s *service) dump(c *sunrpc.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &c.Reply
	for _, m := range s.mounts {
		if e.Len()+len(m.path)+128 > limit(c) {
			break
		}
		e.U32(1)
		e.String(m.host.String())
		e.String(m.path)
	}
	e.U32(0)
}

// export lists the exports. What the protocol cannot carry, names longer than
// it allows and what is beyond the reply's bound, is left out.
func (s *service) export(c *sunrpc.Call) {
	e := &c.Reply
	s.o.Backend.List(func(path string, hosts []string) bool {
		if len(path) > maxPath {
			return true
		}
		size := len(path) + 32
		for _, h := range hosts {
			size += len(h) + 12
		}
		if e.Len()+size > limit(c) {
			return false
		}
		e.U32(1)
		e.String(path)
		for _, h := range hosts {
			if len(h) <= maxName {
				e.U32(1)
				e.String(h)
			}
		}
		e.U32(0)
		return true
	})
	e.U32(0)
}
