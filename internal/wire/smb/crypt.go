package smb

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
)

// Signing algorithms, numbered as in SMB2_SIGNING_CAPABILITIES.
const (
	signHMAC = 0
	signCMAC = 1
	signGMAC = 2
)

// Ciphers, numbered as in SMB2_ENCRYPTION_CAPABILITIES.
const (
	cipherNone   = 0
	cipherCCM128 = 1
	cipherGCM128 = 2
	cipherCCM256 = 3
	cipherGCM256 = 4
)

// kdf is SP 800-108 in counter mode with HMAC-SHA256, one block.
func kdf(key []byte, label, context string, bits uint32) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte{0, 0, 0, 1})
	h.Write([]byte(label))
	h.Write([]byte{0})
	h.Write([]byte(context))
	h.Write(binary.BigEndian.AppendUint32(nil, bits))
	return h.Sum(nil)[:bits/8]
}

// signer computes message signatures of one channel.
type signer struct {
	alg  int
	key  []byte
	gcm  cipher.AEAD
	cmac *cmac
}

func newSigner(alg int, key []byte) (*signer, error) {
	s := &signer{alg: alg, key: key}
	if alg == signHMAC {
		return s, nil
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if alg == signCMAC {
		s.cmac = newCMAC(b)
		return s, nil
	}
	s.gcm, err = cipher.NewGCM(b)
	return s, err
}

// sum signs a message whose signature field is zero.
func (s *signer) sum(msg []byte, out *[16]byte) {
	switch s.alg {
	case signCMAC:
		s.cmac.sum(msg, out)
	case signGMAC:
		var nonce [12]byte
		copy(nonce[:], msg[24:32])
		if le.Uint32(msg[16:])&flagResponse != 0 {
			nonce[8] |= 1
		}
		if le.Uint16(msg[12:]) == cmdCancel {
			nonce[8] |= 2
		}
		s.gcm.Seal(out[:0], nonce[:], nil, msg)
	default:
		h := hmac.New(sha256.New, s.key)
		h.Write(msg)
		copy(out[:], h.Sum(nil))
	}
}

// sign sets flag and signature.
func (s *signer) sign(msg []byte) {
	le.PutUint32(msg[16:], le.Uint32(msg[16:])|flagSigned)
	clear(msg[48:64])
	var out [16]byte
	s.sum(msg, &out)
	copy(msg[48:64], out[:])
}

// verify leaves the message as it was.
func (s *signer) verify(msg []byte) bool {
	var got, want [16]byte
	copy(got[:], msg[48:64])
	clear(msg[48:64])
	s.sum(msg, &want)
	copy(msg[48:64], got[:])
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// cmac is AES-CMAC, RFC 4493.
type cmac struct {
	b      cipher.Block
	k1, k2 [16]byte
}

func newCMAC(b cipher.Block) *cmac {
	c := &cmac{b: b}
	var l [16]byte
	b.Encrypt(l[:], l[:])
	double(&c.k1, &l)
	double(&c.k2, &c.k1)
	return c
}

func double(dst, src *[16]byte) {
	carry := byte(0)
	for i := 15; i >= 0; i-- {
		v := src[i]
		dst[i] = v<<1 | carry
		carry = v >> 7
	}
	dst[15] ^= 0x87 & -carry
}

func (c *cmac) sum(msg []byte, x *[16]byte) {
	*x = [16]byte{}
	for len(msg) > 16 {
		subtle.XORBytes(x[:], x[:], msg[:16])
		c.b.Encrypt(x[:], x[:])
		msg = msg[16:]
	}
	var last [16]byte
	k := &c.k1
	if copy(last[:], msg) < 16 {
		last[len(msg)] = 0x80
		k = &c.k2
	}
	subtle.XORBytes(x[:], x[:], last[:])
	subtle.XORBytes(x[:], x[:], k[:])
	c.b.Encrypt(x[:], x[:])
}

var errAuth = errors.New("smb: message authentication failed")

// ccm is AES-CCM, RFC 3610, with an 11-byte nonce and a 16-byte tag.
type ccm struct{ b cipher.Block }

func (ccm) NonceSize() int { return 11 }
func (ccm) Overhead() int  { return 16 }

func (c ccm) tag(nonce, plain, aad []byte) (x [16]byte) {
	x[0] = 0x40 | (16-2)/2<<3 | 3
	copy(x[1:], nonce)
	binary.BigEndian.PutUint32(x[12:], uint32(len(plain)))
	c.b.Encrypt(x[:], x[:])
	if len(aad) > 0 {
		a := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(aad)+16), uint16(len(aad)))
		a = append(a, aad...)
		a = alignTo(a, 0, 16)
		for ; len(a) > 0; a = a[16:] {
			subtle.XORBytes(x[:], x[:], a[:16])
			c.b.Encrypt(x[:], x[:])
		}
	}
	for len(plain) >= 16 {
		subtle.XORBytes(x[:], x[:], plain[:16])
		c.b.Encrypt(x[:], x[:])
		plain = plain[16:]
	}
	if len(plain) > 0 {
		subtle.XORBytes(x[:], x[:], plain)
		c.b.Encrypt(x[:], x[:])
	}
	return x
}

func (c ccm) crypt(nonce, dst, src []byte) (s0 [16]byte) {
	var ctr [16]byte
	ctr[0] = 3
	copy(ctr[1:], nonce)
	st := cipher.NewCTR(c.b, ctr[:])
	st.XORKeyStream(s0[:], s0[:])
	st.XORKeyStream(dst, src)
	return s0
}

// Seal implements cipher.AEAD; dst must be plain[:0] or not overlap.
func (c ccm) Seal(dst, nonce, plain, aad []byte) []byte {
	t := c.tag(nonce, plain, aad)
	n := len(dst)
	dst = append(dst, plain...)
	s0 := c.crypt(nonce, dst[n:], dst[n:])
	subtle.XORBytes(t[:], t[:], s0[:])
	return append(dst, t[:]...)
}

// Open implements cipher.AEAD.
func (c ccm) Open(dst, nonce, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < 16 {
		return nil, errAuth
	}
	body, got := sealed[:len(sealed)-16], sealed[len(sealed)-16:]
	n := len(dst)
	dst = append(dst, body...)
	s0 := c.crypt(nonce, dst[n:], dst[n:])
	t := c.tag(nonce, dst[n:], aad)
	subtle.XORBytes(t[:], t[:], s0[:])
	if subtle.ConstantTimeCompare(t[:], got) != 1 {
		clear(dst[n:])
		return nil, errAuth
	}
	return dst, nil
}

func newAEAD(alg uint16, key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	if alg == cipherCCM128 || alg == cipherCCM256 {
		return ccm{b}, nil
	}
	return cipher.NewGCM(b)
}

// keys are the secrets of a session (signing: of a channel).
type keys struct {
	sign     *signer
	in, out  cipher.AEAD // of 3.x with a cipher
	app      []byte
	fullSize int
}

// deriveKeys follows [MS-SMB2] 3.3.5.5.3. preauth is the hash of the exchange in 3.1.1.
func deriveKeys(dialect uint16, sessionKey []byte, cipherID uint16, signAlg int, preauth []byte) (*keys, error) {
	k := &keys{app: sessionKey}
	var err error
	if dialect < dialect300 {
		k.sign, err = newSigner(signHMAC, sessionKey)
		return k, err
	}
	bits := uint32(128)
	if cipherID == cipherCCM256 || cipherID == cipherGCM256 {
		bits = 256
	}
	var sk, ck, sck []byte
	if dialect >= dialect311 {
		p := string(preauth)
		sk = kdf(sessionKey, "SMBSigningKey\x00", p, 128)
		ck = kdf(sessionKey, "SMBC2SCipherKey\x00", p, bits)
		sck = kdf(sessionKey, "SMBS2CCipherKey\x00", p, bits)
		k.app = kdf(sessionKey, "SMBAppKey\x00", p, 128)
	} else {
		signAlg = signCMAC
		sk = kdf(sessionKey, "SMB2AESCMAC\x00", "SmbSign\x00", 128)
		ck = kdf(sessionKey, "SMB2AESCCM\x00", "ServerIn \x00", 128)
		sck = kdf(sessionKey, "SMB2AESCCM\x00", "ServerOut\x00", 128)
		k.app = kdf(sessionKey, "SMB2APP\x00", "SmbRpc\x00", 128)
	}
	if k.sign, err = newSigner(signAlg, sk); err != nil {
		return nil, err
	}
	if cipherID == cipherNone {
		return k, nil
	}
	if k.in, err = newAEAD(cipherID, ck); err != nil {
		return nil, err
	}
	k.out, err = newAEAD(cipherID, sck)
	return k, err
}
