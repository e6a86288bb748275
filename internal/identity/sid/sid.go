// Package sid is the security identifiers of principals, [MS-DTYP] 2.4.2: their
// binary and text forms, and which of them a cluster's own principals have.
//
// Invariants: a principal that is not of a directory has one SID, which follows
// from its number and the cluster's UUID, on every node and for ever; what does
// not parse is refused.
//
// The package must not know how numbers of directory principals are kept.
package sid

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"manifold/internal/identity"
)

// SID is a security identifier in its binary form, usable as a map key.
type SID string

const maxSubs = 15

func of(authority byte, subs ...uint32) SID {
	b := []byte{1, byte(len(subs)), 0, 0, 0, 0, 0, authority}
	for _, s := range subs {
		b = binary.LittleEndian.AppendUint32(b, s)
	}
	return SID(b)
}

// Parse reads the binary form, all of b.
func Parse(b []byte) (SID, bool) {
	if len(b) < 8 || b[0] != 1 || b[1] > maxSubs || len(b) != 8+4*int(b[1]) {
		return "", false
	}
	return SID(b), true
}

// ParseText reads the form "S-1-5-21-1-2-3-500".
func ParseText(s string) (SID, bool) {
	f := strings.SplitN(strings.ToUpper(s), "-", 4+maxSubs)
	if len(f) < 3 || len(f) > 3+maxSubs || f[0] != "S" || f[1] != "1" {
		return "", false
	}
	authority, err := strconv.ParseUint(strings.ToLower(f[2]), 0, 48)
	if err != nil || f[2] == "" || strings.ContainsRune(f[2], '_') {
		return "", false
	}
	b := binary.BigEndian.AppendUint64(nil, authority)
	b[0], b[1] = 1, byte(len(f)-3)
	for _, t := range f[3:] {
		n, err := strconv.ParseUint(t, 10, 32)
		if err != nil {
			return "", false
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return SID(b), true
}

// String renders the text form.
func (s SID) String() string {
	b := []byte(s)
	if _, ok := Parse(b); !ok {
		return ""
	}
	var a [8]byte
	copy(a[2:], b[2:8])
	authority := binary.BigEndian.Uint64(a[:])
	out := "S-1-" + strconv.FormatUint(authority, 10)
	if authority >= 1<<32 {
		out = "S-1-0x" + strconv.FormatUint(authority, 16)
	}
	for i := 8; i < len(b); i += 4 {
		out += "-" + strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b[i:])), 10)
	}
	return out
}

var wellKnown = []struct {
	id  identity.AuthID
	sid SID
}{
	{identity.Everyone, of(1, 0)},
	{identity.CreatorOwner, of(3, 0)},
	{identity.CreatorGroup, of(3, 1)},
	{identity.OwnerRights, of(3, 4)},
	{identity.AuthenticatedUsers, of(5, 11)},
	{identity.System, of(5, 18)},
	{identity.SystemGroup, of(5, 32, 549)},
	{identity.BuiltinAdministrators, of(5, 32, 544)},
	{identity.BuiltinUsers, of(5, 32, 545)},
	{identity.BuiltinGuests, of(5, 32, 546)},
	{identity.FileOwner, of(5, 88, 3, 1)},
	{identity.FileGroup, of(5, 88, 3, 2)},
}

// Nobody is the SID of a principal that has none.
var Nobody = of(0, 0)

// Scheme tells the SIDs of one cluster's principals.
type Scheme struct {
	domain SID // S-1-5-21-a-b-c
}

// NewScheme derives the scheme from the text form of the cluster's UUID.
func NewScheme(clusterUUID string) Scheme {
	b, err := hex.DecodeString(strings.ReplaceAll(clusterUUID, "-", ""))
	if err != nil || len(b) < 12 {
		b = make([]byte, 12)
	}
	return Scheme{of(5, 21, binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]))}
}

// Domain is the SID of the cluster itself, to which RIDs are appended.
func (s Scheme) Domain() SID { return s.domain }

func (s Scheme) local(rid uint32) SID {
	b := binary.LittleEndian.AppendUint32([]byte(s.domain), rid)
	b[1]++
	return SID(b)
}

// Of answers the SID of a principal, and whether the scheme has one for it:
// those of directories have not.
func (s Scheme) Of(a identity.AuthID) (SID, bool) {
	for _, w := range wellKnown {
		if w.id == a {
			return w.sid, true
		}
	}
	switch a.Kind() {
	case identity.KindUID:
		n, _ := a.POSIX()
		return of(5, 88, 1, n), true
	case identity.KindGID:
		n, _ := a.POSIX()
		return of(5, 88, 2, n), true
	case identity.KindLocal:
		return s.local(uint32(a)), true
	}
	return "", false
}

// AuthID answers whose SID it is, if that is one of the scheme.
func (s Scheme) AuthID(x SID) (identity.AuthID, bool) {
	for _, w := range wellKnown {
		if w.sid == x {
			return w.id, true
		}
	}
	if len(x) < 12 {
		return 0, false
	}
	last := binary.LittleEndian.Uint32([]byte(x[len(x)-4:]))
	switch {
	case x == of(5, 88, 1, last):
		return identity.UID(last), true
	case x == of(5, 88, 2, last):
		return identity.GID(last), true
	case identity.AuthID(last).Kind() == identity.KindLocal && x == s.local(last):
		return identity.AuthID(last), true
	}
	return 0, false
}
