// Package ntlm accepts NTLMv2 and the SPNEGO exchange around it, [MS-NLMP] and
// [MS-SPNG], for servers.
//
// Invariants: NTLMv1 and LM responses are never accepted; a token that does not
// parse is an error and no panic; comparisons of secrets take constant time.
//
// The package must not know how accounts are stored nor which protocol carries
// the tokens.
package ntlm

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rc4"
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //nolint:staticcheck // the NT hash is defined by it

	"manifold/internal/identity"
)

// Errors of an exchange.
var (
	ErrMalformed = errors.New("ntlm: malformed token")
	// ErrNoUser says that there is no such account; Accounts answer it.
	ErrNoUser = errors.New("ntlm: no such user")
	// ErrDenied is a wrong password, or a response that is not NTLMv2.
	ErrDenied = errors.New("ntlm: wrong user or password")
	// ErrDisabled says that the account may not log in; Accounts answer it.
	ErrDisabled = errors.New("ntlm: account disabled")
)

// Account is what an acceptor must know of a user.
type Account struct {
	Name   string
	Domain string
	NTHash [16]byte
	Cred   *identity.Credential
}

// Authenticator finds accounts.
type Authenticator interface {
	// Account answers the user of that name, ErrNoUser or ErrDisabled. The
	// domain is as the client sent it, often its own machine's name.
	Account(ctx context.Context, domain, user string) (*Account, error)
}

// Identity is the outcome of an exchange.
type Identity struct {
	// Account is nil for anonymous and for guest.
	Account   *Account
	User      string // as the client sent it
	Domain    string
	Host      string // the client's workstation
	Anonymous bool
	Guest     bool
	Key       [16]byte // session key
}

// Options configure acceptors.
type Options struct {
	Accounts Authenticator
	// Computer and Domain are the NetBIOS names that are told to clients.
	Computer, Domain string
	// MapToGuest lets users without an account in as guest.
	MapToGuest bool
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

const (
	flagUnicode    = 0x00000001
	flagTarget     = 0x00000004
	flagSign       = 0x00000010
	flagSeal       = 0x00000020
	flagNTLM       = 0x00000200
	flagAlwaysSign = 0x00008000
	flagTypeServer = 0x00020000
	flagExtended   = 0x00080000
	flagTargetInfo = 0x00800000
	flagVersion    = 0x02000000
	flag128        = 0x20000000
	flagKeyExch    = 0x40000000
	flag56         = 0x80000000
)

var signature = []byte("NTLMSSP\x00")

// NTHash is the hash of a password that accounts keep.
func NTHash(password string) (h [16]byte) {
	m := md4.New()
	m.Write(utf16le(password))
	m.Sum(h[:0])
	return h
}

func utf16le(s string) []byte {
	u := utf16.Encode([]rune(s))
	b := make([]byte, 2*len(u))
	for i, c := range u {
		binary.LittleEndian.PutUint16(b[2*i:], c)
	}
	return b
}

func fromUTF16(b []byte) string {
	u := make([]uint16, len(b)/2)
	for i := range u {
		u[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(u))
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(md5.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// mech is the NTLM half of an exchange: NEGOTIATE, CHALLENGE, AUTHENTICATE.
type mech struct {
	o         *Options
	negotiate []byte
	challenge []byte // the message; bytes 24 to 32 are the challenge itself
	flags     uint32
	id        *Identity
}

// step consumes a message. done says that m.id is set.
func (m *mech) step(ctx context.Context, in []byte) (out []byte, done bool, err error) {
	if len(in) < 12 || string(in[:8]) != string(signature) {
		return nil, false, ErrMalformed
	}
	switch t := binary.LittleEndian.Uint32(in[8:]); {
	case t == 1 && m.challenge == nil:
		out, err = m.onNegotiate(in)
		return out, false, err
	case t == 3 && m.challenge != nil && m.id == nil:
		if err := m.onAuthenticate(ctx, in); err != nil {
			return nil, false, err
		}
		return nil, true, nil
	}
	return nil, false, ErrMalformed
}

func (m *mech) onNegotiate(in []byte) ([]byte, error) {
	if len(in) < 16 {
		return nil, ErrMalformed
	}
	m.negotiate = append([]byte(nil), in...)
	client := binary.LittleEndian.Uint32(in[12:])
	m.flags = flagUnicode | flagNTLM | flagAlwaysSign | flagTypeServer | flagExtended | flagTargetInfo | flagVersion | flagTarget |
		client&(flagSign|flagSeal|flagKeyExch|flag128|flag56)
	target := utf16le(m.o.Computer)
	info := m.targetInfo()
	b := make([]byte, 56, 56+len(target)+len(info))
	copy(b, signature)
	le := binary.LittleEndian
	le.PutUint32(b[8:], 2)
	field := func(at, n, off int) {
		le.PutUint16(b[at:], uint16(n))
		le.PutUint16(b[at+2:], uint16(n))
		le.PutUint32(b[at+4:], uint32(off))
	}
	field(12, len(target), 56)
	le.PutUint32(b[20:], m.flags)
	if _, err := rand.Read(b[24:32]); err != nil {
		return nil, err
	}
	field(40, len(info), 56+len(target))
	copy(b[48:], []byte{10, 0, 0, 0, 0, 0, 0, 15}) // version
	b = append(append(b, target...), info...)
	m.challenge = b
	return b, nil
}

func (m *mech) targetInfo() []byte {
	var b []byte
	pair := func(id uint16, v []byte) {
		b = binary.LittleEndian.AppendUint16(b, id)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(v)))
		b = append(b, v...)
	}
	domain := m.o.Domain
	if domain == "" {
		domain = m.o.Computer
	}
	pair(2, utf16le(domain))
	pair(1, utf16le(m.o.Computer))
	pair(4, utf16le(strings.ToLower(domain)))
	pair(3, utf16le(strings.ToLower(m.o.Computer)))
	now := time.Now
	if m.o.Now != nil {
		now = m.o.Now
	}
	pair(7, binary.LittleEndian.AppendUint64(nil, uint64(now().UnixNano()/100+116444736000000000)))
	pair(0, nil)
	return b
}

// authenticate is a decoded AUTHENTICATE message.
type authenticate struct {
	lm, nt, domain, user, host, key []byte
	flags                           uint32
	mic                             []byte
}

func parseAuthenticate(in []byte) (*authenticate, error) {
	if len(in) < 64 {
		return nil, ErrMalformed
	}
	le := binary.LittleEndian
	bad := false
	field := func(at int) []byte {
		n, off := uint64(le.Uint16(in[at:])), uint64(le.Uint32(in[at+4:]))
		if n == 0 {
			return nil
		}
		if off+n > uint64(len(in)) {
			bad = true
			return nil
		}
		return in[off : off+n]
	}
	a := &authenticate{lm: field(12), nt: field(20), domain: field(28), user: field(36), host: field(44), key: field(52)}
	a.flags = le.Uint32(in[60:])
	if bad {
		return nil, ErrMalformed
	}
	if len(in) >= 88 {
		a.mic = in[72:88]
	}
	return a, nil
}

func (a *authenticate) text(b []byte) string {
	if a.flags&flagUnicode != 0 {
		return fromUTF16(b)
	}
	return string(b)
}

func (m *mech) onAuthenticate(ctx context.Context, in []byte) error {
	a, err := parseAuthenticate(in)
	if err != nil {
		return err
	}
	m.flags &= a.flags | flagExtended | flagUnicode
	id := &Identity{User: a.text(a.user), Domain: a.text(a.domain), Host: a.text(a.host)}
	if len(a.user) == 0 && len(a.nt) == 0 {
		id.Anonymous = true
		m.id = id
		return m.exchange(id, make([]byte, 16), a)
	}
	acct, err := m.o.Accounts.Account(ctx, id.Domain, id.User)
	if errors.Is(err, ErrNoUser) && m.o.MapToGuest {
		id.Guest = true
		m.id = id
		return m.exchange(id, make([]byte, 16), a)
	}
	if err != nil {
		return err
	}
	// An NTLMv2 response is a 16-byte proof and a blob of at least 28.
	if len(a.nt) < 16+28 {
		return ErrDenied
	}
	if !validBlob(a.nt[16:]) {
		return ErrMalformed
	}
	key := mac(acct.NTHash[:], utf16le(strings.ToUpper(id.User)), utf16le(id.Domain))
	proof := mac(key, m.challenge[24:32], a.nt[16:])
	if !hmac.Equal(proof, a.nt[:16]) {
		return ErrDenied
	}
	id.Account = acct
	if err := m.exchange(id, mac(key, proof), a); err != nil {
		return err
	}
	if avFlags(a.nt[16+28:])&2 != 0 {
		if a.mic == nil {
			return ErrDenied
		}
		blank := append([]byte(nil), in...)
		clear(blank[72:88])
		if !hmac.Equal(mac(id.Key[:], m.negotiate, m.challenge, blank), a.mic) {
			return ErrDenied
		}
	}
	m.id = id
	return nil
}

// exchange sets the session key from the base key.
func (m *mech) exchange(id *Identity, base []byte, a *authenticate) error {
	copy(id.Key[:], base)
	if m.flags&flagKeyExch != 0 && m.flags&(flagSign|flagSeal) != 0 {
		if len(a.key) != 16 {
			return ErrMalformed
		}
		c, err := rc4.NewCipher(base)
		if err != nil {
			return err
		}
		c.XORKeyStream(id.Key[:], a.key)
	}
	return nil
}

// validBlob tells whether an NTLMv2 blob has its version and pairs with an end.
func validBlob(b []byte) bool {
	if b[0] != 1 || b[1] != 1 {
		return false
	}
	for b = b[28:]; len(b) >= 4; {
		id, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if id == 0 {
			return n == 0
		}
		if n > len(b)-4 {
			return false
		}
		b = b[4+n:]
	}
	return false
}

// avFlags finds MsvAvFlags in the pairs of an NTLMv2 blob.
func avFlags(b []byte) uint32 {
	for len(b) >= 4 {
		id, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		b = b[4:]
		if id == 0 || n > len(b) {
			return 0
		}
		if id == 6 && n == 4 {
			return binary.LittleEndian.Uint32(b)
		}
		b = b[n:]
	}
	return 0
}

// sign computes the signature of the first message of one direction.
func (m *mech) sign(server bool, msg []byte) []byte {
	dir := "client-to-server"
	if server {
		dir = "server-to-client"
	}
	k := md5.Sum(append(m.id.Key[:], "session key to "+dir+" signing key magic constant\x00"...))
	sum := mac(k[:], []byte{0, 0, 0, 0}, msg)[:8]
	if m.flags&flagKeyExch != 0 {
		key := m.id.Key[:]
		switch {
		case m.flags&flag128 != 0:
		case m.flags&flag56 != 0:
			key = key[:7]
		default:
			key = key[:5]
		}
		s := md5.Sum(append(append([]byte(nil), key...), "session key to "+dir+" sealing key magic constant\x00"...))
		if c, err := rc4.NewCipher(s[:]); err == nil {
			c.XORKeyStream(sum, sum)
		}
	}
	return append(append([]byte{1, 0, 0, 0}, sum...), 0, 0, 0, 0)
}
