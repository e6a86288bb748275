package config

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// proofs remembers in memory which passwords were found right, so that a
// program that signs in hundreds of times pays for the slow hash once. What is
// kept is a MAC under a key that exists only in this process, over the stored
// hash and the revision of the user: any change to either makes it worthless,
// whichever node made the change. A wrong password is never found here and
// costs an attacker the slow hash.
type proofs struct {
	mu   sync.Mutex
	key  []byte
	seen map[uint64]proof
}

type proof struct {
	mac   [sha256.Size]byte
	until time.Time
}

const (
	proofLife = 30 * time.Minute
	maxProofs = 4096
)

func (p *proofs) mac(u *Record[User], hash, pass string) (m [sha256.Size]byte) {
	h := hmac.New(sha256.New, p.key)
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], u.ID)
	binary.BigEndian.PutUint64(b[8:], u.Revision)
	h.Write(b[:])
	h.Write([]byte(hash))
	h.Write([]byte{0}) // a hash has no such byte
	h.Write([]byte(pass))
	h.Sum(m[:0])
	return m
}

func (p *proofs) has(u *Record[User], hash, pass string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	have, ok := p.seen[u.ID]
	if !ok || !now.Before(have.until) {
		delete(p.seen, u.ID)
		return false
	}
	m := p.mac(u, hash, pass)
	return hmac.Equal(have.mac[:], m[:])
}

func (p *proofs) add(u *Record[User], hash, pass string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.key == nil {
		// Not from the store's source: that one may be a test's.
		p.key = make([]byte, sha256.Size)
		if _, err := rand.Read(p.key); err != nil {
			return err
		}
	}
	if p.seen == nil || len(p.seen) >= maxProofs {
		p.seen = map[uint64]proof{}
	}
	p.seen[u.ID] = proof{p.mac(u, hash, pass), now.Add(proofLife)}
	return nil
}

// ForgetLogins makes every next sign-in pay for the slow hash.
func (s *Store) ForgetLogins() {
	s.proved.mu.Lock()
	defer s.proved.mu.Unlock()
	s.proved.seen = nil
}
