package smb

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"manifold/internal/identity"
)

// LocalPrincipals knows well-known, local and POSIX principals, and hands out
// numbers for foreign SIDs for as long as it lives.
type LocalPrincipals struct {
	domain []byte // S-1-5-21-a-b-c

	mu   sync.Mutex
	ids  map[string]identity.AuthID
	sids map[identity.AuthID][]byte
	next identity.AuthID
}

// NewLocalPrincipals derives the machine's SID from its GUID.
func NewLocalPrincipals(guid [16]byte) *LocalPrincipals {
	return &LocalPrincipals{
		domain: sid(5, 21, le.Uint32(guid[:]), le.Uint32(guid[4:]), le.Uint32(guid[8:])),
		ids:    map[string]identity.AuthID{}, sids: map[identity.AuthID][]byte{}, next: identity.MappedBase,
	}
}

// For implements Principals.
func (p *LocalPrincipals) For(*identity.Credential) Principals { return p }

func sid(authority byte, subs ...uint32) []byte {
	b := []byte{1, byte(len(subs)), 0, 0, 0, 0, 0, authority}
	for _, s := range subs {
		b = le.AppendUint32(b, s)
	}
	return b
}

func sidJoin(domain []byte, rid uint32) []byte {
	b := binary.LittleEndian.AppendUint32(append([]byte(nil), domain...), rid)
	b[1]++
	return b
}

// sidLen answers the length of the SID that b begins with, 0 if there is none.
func sidLen(b []byte) int {
	if len(b) < 8 || b[0] != 1 || b[1] > 15 || len(b) < 8+4*int(b[1]) {
		return 0
	}
	return 8 + 4*int(b[1])
}

var wellKnown = []struct {
	id  identity.AuthID
	sid []byte
}{
	{identity.Everyone, sid(1, 0)},
	{identity.CreatorOwner, sid(3, 0)},
	{identity.CreatorGroup, sid(3, 1)},
	{identity.OwnerRights, sid(3, 4)},
	{identity.AuthenticatedUsers, sid(5, 11)},
	{identity.System, sid(5, 18)},
	{identity.Administrators, sid(5, 32, 544)},
	{identity.Users, sid(5, 32, 545)},
	{identity.Guests, sid(5, 32, 546)},
	{identity.SystemGroup, sid(5, 32, 549)},
	{identity.FileOwner, sid(22, 3, 1)},
	{identity.FileGroup, sid(22, 3, 2)},
}

// SID implements Principals.
func (p *LocalPrincipals) SID(_ context.Context, a identity.AuthID) []byte {
	for _, w := range wellKnown {
		if w.id == a {
			return w.sid
		}
	}
	switch a.Kind() {
	case identity.KindUID:
		n, _ := a.POSIX()
		return sid(22, 1, n)
	case identity.KindGID:
		n, _ := a.POSIX()
		return sid(22, 2, n)
	case identity.KindLocal:
		return sidJoin(p.domain, uint32(a))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sids[a]; s != nil {
		return s
	}
	return sid(0, 0)
}

var errSID = errors.New("smb: no such security identifier")

// AuthID implements Principals.
func (p *LocalPrincipals) AuthID(_ context.Context, s []byte) (identity.AuthID, error) {
	if n := sidLen(s); n == 0 || n != len(s) {
		return 0, errSID
	}
	for _, w := range wellKnown {
		if string(w.sid) == string(s) {
			return w.id, nil
		}
	}
	last := le.Uint32(s[len(s)-4:])
	switch {
	case s[1] == 2 && s[7] == 22 && le.Uint32(s[8:]) == 1:
		return identity.UID(last), nil
	case s[1] == 2 && s[7] == 22 && le.Uint32(s[8:]) == 2:
		return identity.GID(last), nil
	case s[1] == 5 && string(s[2:len(s)-4]) == string(p.domain[2:]) && last > 2:
		return identity.AuthID(last), nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a, ok := p.ids[string(s)]; ok {
		return a, nil
	}
	if len(p.ids) >= 1<<20 {
		return 0, errSID
	}
	a := p.next
	p.next++
	p.ids[string(s)] = a
	p.sids[a] = append([]byte(nil), s...)
	return a, nil
}
