package smb

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"

	"manifold/internal/fs"
)

var le = binary.LittleEndian

const (
	headerSize    = 64
	transformSize = 52

	flagResponse = 0x00000001
	flagAsync    = 0x00000002
	flagRelated  = 0x00000004
	flagSigned   = 0x00000008
	flagReplay   = 0x20000000

	magicSMB2      = 0x424D53FE
	magicTransform = 0x424D53FD
	magicSMB1      = 0x424D53FF
)

// Commands.
const (
	cmdNegotiate = iota
	cmdSessionSetup
	cmdLogoff
	cmdTreeConnect
	cmdTreeDisconnect
	cmdCreate
	cmdClose
	cmdFlush
	cmdRead
	cmdWrite
	cmdLock
	cmdIoctl
	cmdCancel
	cmdEcho
	cmdQueryDirectory
	cmdChangeNotify
	cmdQueryInfo
	cmdSetInfo
	cmdOplockBreak
	cmdCount
)

// Dialects.
const (
	dialect202 = 0x0202
	dialect210 = 0x0210
	dialect2ff = 0x02FF
	dialect300 = 0x0300
	dialect302 = 0x0302
	dialect311 = 0x0311
)

// header is the fixed part of a message.
type header struct {
	charge    uint16
	status    uint32 // of requests in 3.x: channel sequence and reserved
	command   uint16
	credits   uint16
	flags     uint32
	next      uint32
	messageID uint64
	treeID    uint32
	asyncID   uint64
	sessionID uint64
}

func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || le.Uint32(b) != magicSMB2 || le.Uint16(b[4:]) != 64 {
		return h, false
	}
	h = header{
		charge: le.Uint16(b[6:]), status: le.Uint32(b[8:]), command: le.Uint16(b[12:]), credits: le.Uint16(b[14:]),
		flags: le.Uint32(b[16:]), next: le.Uint32(b[20:]), messageID: le.Uint64(b[24:]), sessionID: le.Uint64(b[40:]),
	}
	if h.flags&flagAsync != 0 {
		h.asyncID = le.Uint64(b[32:])
	} else {
		h.treeID = le.Uint32(b[36:])
	}
	return h, true
}

func (h *header) put(b []byte) {
	clear(b[:headerSize])
	le.PutUint32(b, magicSMB2)
	le.PutUint16(b[4:], 64)
	le.PutUint16(b[6:], h.charge)
	le.PutUint32(b[8:], h.status)
	le.PutUint16(b[12:], h.command)
	le.PutUint16(b[14:], h.credits)
	le.PutUint32(b[16:], h.flags)
	le.PutUint32(b[20:], h.next)
	le.PutUint64(b[24:], h.messageID)
	if h.flags&flagAsync != 0 {
		le.PutUint64(b[32:], h.asyncID)
	} else {
		le.PutUint32(b[36:], h.treeID)
	}
	le.PutUint64(b[40:], h.sessionID)
}

// window answers b[off:off+n] of a message, counted from its header; an
// empty one is always there.
func window(b []byte, off, n uint64) ([]byte, bool) {
	if n == 0 {
		return nil, true
	}
	if off > uint64(len(b)) || n > uint64(len(b))-off {
		return nil, false
	}
	return b[off : off+n], true
}

// Names travel as UTF-16 and are kept as UTF-8; unpaired surrogates are kept in
// the generalised form that encodes them like any other code point.
func decodeUTF16(b []byte) string {
	var s strings.Builder
	s.Grow(len(b))
	for i := 0; i+1 < len(b); i += 2 {
		c := rune(le.Uint16(b[i:]))
		if c >= 0xD800 && c < 0xDC00 && i+3 < len(b) {
			if d := rune(le.Uint16(b[i+2:])); d >= 0xDC00 && d < 0xE000 {
				s.WriteRune(0x10000 + (c-0xD800)<<10 + (d - 0xDC00))
				i += 2
				continue
			}
		}
		if c >= 0xD800 && c < 0xE000 {
			s.Write([]byte{0xE0 | byte(c>>12), 0x80 | byte(c>>6)&0x3F, 0x80 | byte(c)&0x3F})
			continue
		}
		s.WriteRune(c)
	}
	return s.String()
}

func appendUTF16(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		c, n := utf8.DecodeRuneInString(s[i:])
		if c == utf8.RuneError && n == 1 {
			if i+2 < len(s) && s[i] == 0xED && s[i+1]&0xE0 == 0xA0 && s[i+2]&0xC0 == 0x80 {
				c, n = rune(s[i]&0xF)<<12|rune(s[i+1]&0x3F)<<6|rune(s[i+2]&0x3F), 3
			} else {
				c = 0xDC00 | rune(s[i]) // bytes that are no text: one unit each
			}
		}
		i += n
		if c >= 0x10000 {
			c -= 0x10000
			b = le.AppendUint16(b, uint16(0xD800+c>>10))
			b = le.AppendUint16(b, uint16(0xDC00+c&0x3FF))
			continue
		}
		b = le.AppendUint16(b, uint16(c))
	}
	return b
}

func encodeUTF16(s string) []byte { return appendUTF16(make([]byte, 0, 2*len(s)), s) }

const epochDelta = 11644473600 // seconds from 1601 to 1970

// filetime renders a moment in 100 ns since 1601.
func filetime(t fs.Time) uint64 {
	return uint64((t.Sec+epochDelta)*10_000_000 + int64(t.Nsec)/100)
}

func fromFiletime(v uint64) fs.Time {
	s := int64(v/10_000_000) - epochDelta
	return fs.Time{Sec: s, Nsec: uint32(v%10_000_000) * 100}
}

func filetimeOf(t time.Time) uint64 { return filetime(fs.TimeOf(t)) }

func appendZero(b []byte, n int) []byte {
	for ; n >= 16; n -= 16 {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	for ; n > 0; n-- {
		b = append(b, 0)
	}
	return b
}

// alignTo pads b so that its length from base is a multiple of n.
func alignTo(b []byte, base, n int) []byte {
	if r := (len(b) - base) % n; r != 0 {
		b = appendZero(b, n-r)
	}
	return b
}
