package smb

import "strings"

// rpc is one DCE/RPC association, connection-oriented version 5 with NDR32,
// [MS-RPCE]; unauthenticated, for the session has done that.
type rpc struct {
	bound bool
	part  []byte // fragments of a request so far
}

const (
	rpcRequest  = 0
	rpcResponse = 2
	rpcFault    = 3
	rpcBind     = 11
	rpcBindAck  = 12
	rpcAlter    = 14
	rpcAlterAck = 15

	rpcFrag    = 4280
	rpcMaxCall = 1 << 20
)

// Interfaces served, as they go over the wire, with their versions.
var rpcInterfaces = map[string]struct {
	uuid    string
	version uint32
}{
	"srvsvc": {"\xc8\x4f\x32\x4b\x70\x16\xd3\x01\x12\x78\x5a\x47\xbf\x6e\xe1\x88", 3},
	"wkssvc": {"\x98\xd0\xff\x6b\x12\xa1\x10\x36\x98\x33\x46\xc3\xf8\x7e\x34\x5a", 1},
}

const ndr32 = "\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60"

// feed consumes one message of the client and answers what to send.
func (p *rpc) feed(r *request, pipe string, in []byte) ([]byte, status) {
	var out []byte
	for len(in) > 0 {
		if len(in) < 16 || in[0] != 5 || in[4]&0xF0 != 0x10 {
			return nil, stInvalidParameter
		}
		n := int(le.Uint16(in[8:]))
		if n < 16 || n > len(in) || le.Uint16(in[10:]) != 0 {
			return nil, stInvalidParameter
		}
		pdu := in[:n]
		in = in[n:]
		switch pdu[2] {
		case rpcBind, rpcAlter:
			b, ok := p.bind(pipe, pdu)
			if !ok {
				return nil, stInvalidParameter
			}
			out = append(out, b...)
		case rpcRequest:
			if !p.bound || len(pdu) < 24 || len(p.part)+len(pdu) > rpcMaxCall {
				return nil, stInvalidParameter
			}
			p.part = append(p.part, pdu[24:]...)
			if pdu[3]&2 == 0 {
				continue
			}
			stub := p.part
			p.part = nil
			out = append(out, p.call(r, pipe, pdu, stub)...)
		default:
			return nil, stInvalidParameter
		}
	}
	return out, stOK
}

func rpcHeader(kind, flags byte, call []byte) []byte {
	return append([]byte{5, 0, kind, flags, 0x10, 0, 0, 0, 0, 0, 0, 0}, call...)
}

func (p *rpc) bind(pipe string, pdu []byte) ([]byte, bool) {
	if len(pdu) < 28 {
		return nil, false
	}
	kind := byte(rpcBindAck)
	if pdu[2] == rpcAlter {
		kind = rpcAlterAck
	}
	b := rpcHeader(kind, 3, pdu[12:16])
	b = le.AppendUint16(b, rpcFrag)
	b = le.AppendUint16(b, rpcFrag)
	b = le.AppendUint32(b, 0x53f0)
	addr := "\\PIPE\\" + pipe + "\x00"
	b = le.AppendUint16(b, uint16(len(addr)))
	b = append(b, addr...)
	b = alignTo(b, 0, 4)
	count := int(pdu[24])
	b = append(b, byte(count), 0, 0, 0)
	want := rpcInterfaces[pipe]
	at := 28
	for range count {
		if len(pdu) < at+24 {
			return nil, false
		}
		syntaxes := int(pdu[at+2])
		iface, version := string(pdu[at+4:at+20]), le.Uint16(pdu[at+20:])
		at += 24
		ok := false
		for range syntaxes {
			if len(pdu) < at+20 {
				return nil, false
			}
			ok = ok || string(pdu[at:at+16]) == ndr32
			at += 20
		}
		switch {
		case iface != want.uuid || uint32(version) != want.version:
			b = append(b, 2, 0, 1, 0)
			b = appendZero(b, 20)
		case !ok:
			b = append(b, 2, 0, 2, 0)
			b = appendZero(b, 20)
		default:
			p.bound = true
			b = append(b, 0, 0, 0, 0)
			b = append(b, ndr32...)
			b = le.AppendUint32(b, 2)
		}
	}
	le.PutUint16(b[8:], uint16(len(b)))
	return b, true
}

// call runs an operation and cuts its answer into fragments.
func (p *rpc) call(r *request, pipe string, pdu, stub []byte) []byte {
	op := le.Uint16(pdu[22:])
	var out []byte
	fault := uint32(0x1c010002) // operation out of range
	n := &ndr{in: stub}
	ok := false
	switch pipe {
	case "srvsvc":
		out, ok = r.srvsvc(op, n)
	case "wkssvc":
		out, ok = r.wkssvc(op, n)
	}
	if n.bad {
		ok, fault = false, 0x000006f7 // bad stub data
	}
	if !ok {
		b := rpcHeader(rpcFault, 3, pdu[12:16])
		b = appendZero(b, 8)
		b = le.AppendUint32(b, fault)
		b = appendZero(b, 4)
		le.PutUint16(b[8:], uint16(len(b)))
		return b
	}
	var all []byte
	for first := true; first || len(out) > 0; first = false {
		k := min(len(out), rpcFrag-24)
		flags := byte(0)
		if first {
			flags |= 1
		}
		if k == len(out) {
			flags |= 2
		}
		at := len(all)
		all = append(all, rpcHeader(rpcResponse, flags, pdu[12:16])...)
		all = le.AppendUint32(all, uint32(len(out)))
		all = append(all, 0, 0, 0, 0)
		all = append(all, out[:k]...)
		le.PutUint16(all[at+8:], uint16(len(all)-at))
		out = out[k:]
	}
	return all
}

// ndr reads and writes NDR32.
type ndr struct {
	in  []byte
	at  int
	bad bool
	out []byte
	ref uint32
}

func (n *ndr) u32() uint32 {
	n.at = (n.at + 3) &^ 3
	if n.at+4 > len(n.in) {
		n.bad = true
		return 0
	}
	v := le.Uint32(n.in[n.at:])
	n.at += 4
	return v
}

// str reads a conformant varying string.
func (n *ndr) str() string {
	n.u32()
	n.u32()
	k := int(n.u32())
	if n.bad || k < 0 || k > (len(n.in)-n.at)/2 {
		n.bad = true
		return ""
	}
	s := decodeUTF16(n.in[n.at : n.at+2*k])
	n.at += 2 * k
	return strings.TrimSuffix(s, "\x00")
}

// strp reads a unique pointer to a string.
func (n *ndr) strp() string {
	if n.u32() == 0 {
		return ""
	}
	return n.str()
}

func (n *ndr) put(vs ...uint32) {
	n.out = alignTo(n.out, 0, 4)
	for _, v := range vs {
		n.out = le.AppendUint32(n.out, v)
	}
}

func (n *ndr) ptr() {
	n.ref++
	n.put(0x20000 + 4*n.ref)
}

func (n *ndr) putStr(s string) {
	u := encodeUTF16(s)
	k := uint32(len(u)/2 + 1)
	n.put(k, 0, k)
	n.out = append(append(n.out, u...), 0, 0)
}

const (
	werrOK           = 0
	werrAccessDenied = 5
	werrNoShare      = 2310
	werrBadLevel     = 124
)

type rpcShare struct {
	name, comment, path string
	kind                uint32
}

func (r *request) rpcShares() []rpcShare {
	list := []rpcShare{{"IPC$", "IPC Service", "C:\\", 0x80000003}}
	_ = r.c.s.o.Shares.List(r.ctx, r.caller, func(s *Share) bool {
		if s.Hidden {
			return true
		}
		kind := uint32(0)
		if strings.HasSuffix(s.Name, "$") {
			kind = 0x80000000
		}
		list = append(list, rpcShare{s.Name, s.Description, "C:" + strings.ReplaceAll(s.Path, "/", "\\"), kind})
		return true
	})
	return list
}

// shareLevels of SHARE_INFO that are answered, [MS-SRVS] 2.2.4.22 to 2.2.4.28.
func shareLevel(level uint32) bool {
	return level <= 2 || level == 501 || level == 502 || level == 1005
}

// putShare writes the fixed part of a SHARE_INFO; what its pointers point to
// follows by putShareStrings.
func (n *ndr) putShare(s *rpcShare, level uint32) {
	if level == 1005 {
		n.put(0)
		return
	}
	n.ptr()
	if level == 0 {
		return
	}
	n.put(s.kind)
	n.ptr()
	switch level {
	case 501:
		n.put(0) // caching is the client's choice
	case 2, 502:
		n.put(0, 0xffffffff, 0) // permissions, users at most and now
		n.ptr()
		n.put(0) // no password
		if level == 502 {
			n.put(0, 0) // no security descriptor
		}
	}
}

func (n *ndr) putShareStrings(s *rpcShare, level uint32) {
	if level == 1005 {
		return
	}
	n.putStr(s.name)
	if level != 0 {
		n.putStr(s.comment)
	}
	if level == 2 || level == 502 {
		n.putStr(s.path)
	}
}

// srvsvc answers what clients need to find shares, [MS-SRVS].
func (r *request) srvsvc(op uint16, n *ndr) ([]byte, bool) {
	switch op {
	case opConnEnum:
		return r.enumerateRPC(n, 1, r.connRows)
	case opFileEnum:
		return r.enumerateRPC(n, 2, r.fileRows)
	case opSessEnum:
		return r.enumerateRPC(n, 2, r.sessionRows)
	case opDiskEnum:
		return n.diskEnum()
	case opRemoteTOD:
		return r.remoteTOD(n)
	case 15, 36: // NetrShareEnum, NetrShareEnumSticky
		n.strp()
		level := n.u32()
		if n.bad {
			return nil, false
		}
		if !shareLevel(level) || level == 1005 {
			n.put(level, level, 0, 0, 0, werrBadLevel)
			return n.out, true
		}
		list := r.rpcShares()
		n.put(level, level)
		n.ptr()
		n.put(uint32(len(list)))
		n.ptr()
		n.put(uint32(len(list)))
		for i := range list {
			n.putShare(&list[i], level)
		}
		for i := range list {
			n.putShareStrings(&list[i], level)
		}
		n.put(uint32(len(list)), 0, werrOK)
		return n.out, true
	case 16: // NetrShareGetInfo
		n.strp()
		name, level := n.str(), n.u32()
		if n.bad {
			return nil, false
		}
		if !shareLevel(level) {
			n.put(level, 0, werrBadLevel)
			return n.out, true
		}
		for _, s := range r.rpcShares() {
			if equalFold(s.name, name) {
				n.put(level)
				n.ptr()
				n.putShare(&s, level)
				n.putShareStrings(&s, level)
				n.put(werrOK)
				return n.out, true
			}
		}
		n.put(level, 0, werrNoShare)
		return n.out, true
	case 21: // NetrServerGetInfo
		n.strp()
		level := n.u32()
		if n.bad {
			return nil, false
		}
		if level != 100 && level != 101 {
			n.put(level, 0, werrBadLevel)
			return n.out, true
		}
		n.put(level)
		n.ptr()
		n.put(500)
		n.ptr()
		if level == 101 {
			n.put(6, 1, 0x00009003)
			n.ptr()
		}
		n.putStr(r.c.s.o.Name)
		if level == 101 {
			n.putStr("manifold")
		}
		n.put(werrOK)
		return n.out, true
	}
	return nil, false
}

// wkssvc answers who the server is, [MS-WKST].
func (r *request) wkssvc(op uint16, n *ndr) ([]byte, bool) {
	if op != 0 { // NetrWkstaGetInfo
		return nil, false
	}
	n.strp()
	level := n.u32()
	if n.bad {
		return nil, false
	}
	if level != 100 && level != 101 {
		n.put(level, 0, werrBadLevel)
		return n.out, true
	}
	n.put(level)
	n.ptr()
	n.put(500)
	n.ptr()
	n.ptr()
	n.put(6, 1)
	if level == 101 {
		n.ptr()
	}
	n.putStr(r.c.s.o.Name)
	n.putStr(r.c.s.o.Domain)
	if level == 101 {
		n.putStr("")
	}
	n.put(werrOK)
	return n.out, true
}
