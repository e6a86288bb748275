package smb

import (
	"crypto/rand"
	"slices"
)

// Capabilities of NEGOTIATE.
const (
	capDFS          = 0x01
	capLeasing      = 0x02
	capLargeMTU     = 0x04
	capMultiChannel = 0x08
	capPersistent   = 0x10
	capDirLeasing   = 0x20
	capEncryption   = 0x40
)

const (
	modeSigningEnabled  = 1
	modeSigningRequired = 2
)

// negotiateSMB1 answers the multi-protocol negotiation that begins as SMB1.
func (c *conn) negotiateSMB1(msg []byte) error {
	if c.negotiated || c.multi || len(msg) < 35 || msg[4] != 0x72 {
		return errProtocol
	}
	n := int(le.Uint16(msg[33:]))
	if msg[32] != 0 || n > len(msg)-35 {
		return errProtocol
	}
	has202, hasAny := false, false
	for b := msg[35 : 35+n]; len(b) > 0; {
		end := slices.Index(b, 0)
		if b[0] != 2 || end < 0 {
			break
		}
		switch string(b[1:end]) {
		case "SMB 2.002":
			has202 = true
		case "SMB 2.???":
			hasAny = true
		}
		b = b[end+1:]
	}
	dialect, dialects := uint16(0), c.policy.Dialects
	switch {
	case hasAny && slices.ContainsFunc(dialects, func(d uint16) bool { return d > dialect202 }):
		dialect = dialect2ff
		c.multi = true
	case (has202 || hasAny) && slices.Contains(dialects, dialect202):
		dialect = dialect202
		c.dialect, c.negotiated = dialect202, true
		c.settle(dialect202)
		c.dialects = []uint16{dialect202}
	default:
		return errProtocol
	}
	c.mu.Lock()
	c.credits.take(0, 1)
	n = c.credits.grant(1, 1, false)
	c.mu.Unlock()
	out := make([]byte, headroom, headroom+256)
	h := header{flags: flagResponse, credits: uint16(n)}
	out = appendZero(out, headerSize)
	h.put(out[headroom:])
	out = append(out, c.negotiateBody(dialect, nil)...)
	c.write(out, nil)
	return nil
}

func (c *conn) capabilities() uint32 {
	caps := uint32(0)
	if c.dialect >= dialect210 && c.dialect != dialect2ff {
		caps |= capLeasing | capLargeMTU
	}
	if c.dialect >= dialect300 && c.dialect != dialect2ff {
		caps |= capMultiChannel
		if c.dialect < dialect311 && c.clientCaps&capEncryption != 0 {
			caps |= capEncryption
		}
	}
	return caps
}

func (c *conn) securityMode() uint16 {
	m := uint16(modeSigningEnabled)
	if c.policy.SigningRequired {
		m |= modeSigningRequired
	}
	return m
}

func (c *conn) limits(dialect uint16) (transact, read, write uint32) {
	if dialect < dialect210 {
		return 64 << 10, 64 << 10, 64 << 10
	}
	return uint32(c.s.o.MaxTransact), uint32(c.s.o.MaxRead), uint32(c.s.o.MaxWrite)
}

func (c *conn) negotiateBody(dialect uint16, contexts [][]byte) []byte {
	o := &c.s.o
	b := make([]byte, 64, 64+len(c.s.hint)+256)
	le.PutUint16(b, 65)
	le.PutUint16(b[2:], c.securityMode())
	le.PutUint16(b[4:], dialect)
	le.PutUint16(b[6:], uint16(len(contexts)))
	copy(b[8:], o.GUID[:])
	le.PutUint32(b[24:], c.capabilities())
	t, r, w := c.limits(dialect)
	le.PutUint32(b[28:], t)
	le.PutUint32(b[32:], r)
	le.PutUint32(b[36:], w)
	le.PutUint64(b[40:], filetimeOf(o.Now()))
	le.PutUint16(b[56:], headerSize+64)
	le.PutUint16(b[58:], uint16(len(c.s.hint)))
	b = append(b, c.s.hint...)
	if len(contexts) > 0 {
		b = alignTo(b, 0, 8)
		le.PutUint32(b[60:], uint32(headerSize+len(b)))
		for i, x := range contexts {
			if i > 0 {
				b = alignTo(b, 0, 8)
			}
			b = append(b, x...)
		}
	}
	return b
}

// Negotiate contexts.
const (
	ctxPreauth     = 1
	ctxEncryption  = 2
	ctxCompression = 3
	ctxSigning     = 8
)

func negotiateContext(typ uint16, data []byte) []byte {
	b := le.AppendUint16(nil, typ)
	b = le.AppendUint16(b, uint16(len(data)))
	b = appendZero(b, 4)
	return append(b, data...)
}

func (r *request) negotiate() status {
	c := r.c
	p := r.payload()
	if c.negotiated {
		_ = c.nc.Close()
		return stInvalidParameter
	}
	n := int(le.Uint16(p[2:]))
	if n == 0 || len(p) < 36+2*n {
		return stInvalidParameter
	}
	mode, caps := le.Uint16(p[4:]), le.Uint32(p[8:])
	var offered []uint16
	best := uint16(0)
	for i := range n {
		d := le.Uint16(p[36+2*i:])
		offered = append(offered, d)
		if d > best && d != dialect2ff && slices.Contains(c.policy.Dialects, d) {
			best = d
		}
	}
	if best == 0 {
		return stNotSupported
	}
	c.clientMode, c.clientCaps, c.dialects = mode, caps, offered
	copy(c.clientGUID[:], p[12:28])
	c.dialect = best
	var contexts [][]byte
	switch {
	case best >= dialect311:
		var st status
		if contexts, st = r.contexts(); st != stOK {
			return st
		}
		chainHash(&c.preauth, r.msg)
		r.preauth = &c.preauth
	case best >= dialect300:
		if caps&capEncryption != 0 {
			c.cipher = cipherCCM128
		}
		c.signAlg = signCMAC
	}
	c.negotiated = true
	c.s.known(c)
	c.settle(best)
	r.body = c.negotiateBody(best, contexts)
	return stOK
}

// contexts reads the contexts of 3.1.1 and answers ours.
func (r *request) contexts() ([][]byte, status) {
	c := r.c
	p := r.payload()
	off, n := le.Uint32(p[28:]), le.Uint16(p[32:])
	b, ok := window(r.msg, uint64(off), uint64(len(r.msg))-min(uint64(off), uint64(len(r.msg))))
	if !ok {
		return nil, stInvalidParameter
	}
	var out [][]byte
	seen := map[uint16]bool{}
	for i := range n {
		if i > 0 {
			pad := (8 - (len(r.msg)-len(b))%8) % 8
			if pad > len(b) {
				return nil, stInvalidParameter
			}
			b = b[pad:]
		}
		if len(b) < 8 {
			return nil, stInvalidParameter
		}
		typ, size := le.Uint16(b), int(le.Uint16(b[2:]))
		if size > len(b)-8 {
			return nil, stInvalidParameter
		}
		data := b[8 : 8+size]
		b = b[8+size:]
		if seen[typ] && (typ == ctxPreauth || typ == ctxEncryption || typ == ctxSigning || typ == ctxCompression) {
			return nil, stInvalidParameter
		}
		seen[typ] = true
		ids := func(at int) []uint16 {
			if len(data) < at {
				return nil
			}
			k := int(le.Uint16(data))
			if k == 0 || len(data) < at+2*k {
				return nil
			}
			v := make([]uint16, k)
			for i := range v {
				v[i] = le.Uint16(data[at+2*i:])
			}
			return v
		}
		switch typ {
		case ctxPreauth:
			algs := ids(4)
			if algs == nil {
				return nil, stInvalidParameter
			}
			if !slices.Contains(algs, 1) {
				return nil, stSmbNoPreauthOverlap
			}
			d := []byte{1, 0, 32, 0, 1, 0}
			salt := make([]byte, 32)
			_, _ = rand.Read(salt)
			out = append(out, negotiateContext(ctxPreauth, append(d, salt...)))
		case ctxEncryption:
			algs := ids(2)
			if algs == nil {
				return nil, stInvalidParameter
			}
			for _, a := range algs {
				if a >= cipherCCM128 && a <= cipherGCM256 {
					c.cipher = a
					break
				}
			}
			out = append(out, negotiateContext(ctxEncryption, []byte{1, 0, byte(c.cipher), 0}))
		case ctxSigning:
			algs := ids(2)
			if algs == nil {
				return nil, stInvalidParameter
			}
			c.signAlg = signCMAC
			for _, a := range algs {
				if a <= signGMAC {
					c.signAlg = int(a)
					break
				}
			}
			out = append(out, negotiateContext(ctxSigning, []byte{1, 0, byte(c.signAlg), 0}))
		}
	}
	if !seen[ctxPreauth] {
		return nil, stInvalidParameter
	}
	if !seen[ctxSigning] {
		c.signAlg = signCMAC
	}
	return out, stOK
}
