package rpc

import (
	"errors"
	"unicode/utf16"

	"github.com/oiweiwei/go-msrpc/msrpc/dtyp"

	"manifold/internal/identity/sid"
)

// Results of srvsvc and wkssvc, [MS-ERREF] 2.2.
const (
	werrOK            = 0
	werrNotFound      = 2
	werrAccessDenied  = 5
	werrNotSupported  = 50
	werrInvalid       = 87
	werrInvalidName   = 123
	werrInvalidLevel  = 124
	werrMoreData      = 234
	werrUnknownDevDir = 2116
	werrShareExists   = 2118
	werrNoShare       = 2310
	werrNoSession     = 2312
	werrNoFile        = 2314
)

// werrOf renders what changing a share came to.
func werrOf(err error) uint32 {
	switch {
	case err == nil:
		return werrOK
	case errors.Is(err, ErrAccess):
		return werrAccessDenied
	case errors.Is(err, ErrNotFound):
		return werrNoShare
	case errors.Is(err, ErrExists):
		return werrShareExists
	case errors.Is(err, ErrPath):
		return werrUnknownDevDir
	}
	return werrInvalid
}

// Results of lsarpc and samr, [MS-ERREF] 2.3.
const (
	ntOK               int32 = 0
	ntMoreEntries      int32 = 0x105
	ntSomeNotMapped    int32 = 0x107
	ntNoMoreEntries    int32 = 0x8000001a - 1<<32
	ntInvalidInfoClass int32 = 0xc0000003 - 1<<32
	ntInvalidHandle    int32 = 0xc0000008 - 1<<32
	ntInvalidParameter int32 = 0xc000000d - 1<<32
	ntAccessDenied     int32 = 0xc0000022 - 1<<32
	ntNotFound         int32 = 0xc0000034 - 1<<32
	ntNoSuchPrivilege  int32 = 0xc0000060 - 1<<32
	ntNoSuchUser       int32 = 0xc0000064 - 1<<32
	ntNoSuchGroup      int32 = 0xc0000066 - 1<<32
	ntNoneMapped       int32 = 0xc0000073 - 1<<32
	ntResources        int32 = 0xc000009a - 1<<32
	ntNoSuchDomain     int32 = 0xc00000df - 1<<32
	ntNoSuchAlias      int32 = 0xc0000151 - 1<<32
)

// unicode makes a counted string of the wire; what it cannot hold is cut off.
func unicode(s string) *dtyp.UnicodeString {
	u := utf16.Encode([]rune(s))
	if len(u) > maxUnits {
		u = u[:maxUnits]
		s = string(utf16.Decode(u))
	}
	n := uint16(2 * len(u))
	return &dtyp.UnicodeString{Length: n, MaximumLength: n, Buffer: s}
}

const maxUnits = 0xfffe / 2

// wireSID makes the form of the wire.
func wireSID(n sid.SID) *dtyp.SID {
	b := []byte(n)
	if _, ok := sid.Parse(b); !ok {
		return nil
	}
	s := &dtyp.SID{Revision: 1, SubAuthorityCount: b[1], IDAuthority: &dtyp.SIDIDAuthority{Value: b[2:8:8]}, SubAuthority: []uint32{}}
	for i := 8; i < len(b); i += 4 {
		s.SubAuthority = append(s.SubAuthority, le.Uint32(b[i:]))
	}
	return s
}

// sidOf reads the form of the wire.
func sidOf(s *dtyp.SID) (sid.SID, bool) {
	if s == nil || s.IDAuthority == nil || len(s.IDAuthority.Value) != 6 || len(s.SubAuthority) != int(s.SubAuthorityCount) {
		return "", false
	}
	b := append([]byte{s.Revision, s.SubAuthorityCount}, s.IDAuthority.Value...)
	for _, n := range s.SubAuthority {
		b = le.AppendUint32(b, n)
	}
	return sid.Parse(b)
}

// split takes the last number off a SID.
func split(n sid.SID) (domain sid.SID, rid uint32, ok bool) {
	b := []byte(n)
	if len(b) < 12 {
		return "", 0, false
	}
	rid = le.Uint32(b[len(b)-4:])
	b = b[:len(b)-4]
	b[1]--
	return sid.SID(b), rid, true
}

// join appends a number to a SID.
func join(domain sid.SID, rid uint32) sid.SID {
	b := le.AppendUint32([]byte(domain), rid)
	b[1]++
	return sid.SID(b)
}

func mustSID(text string) sid.SID {
	n, ok := sid.ParseText(text)
	if !ok {
		panic("rpc: " + text)
	}
	return n
}
