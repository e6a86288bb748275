package segment

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"manifold/internal/data"
)

// keyInfo separates the keys of extents from others derived from the same key.
const keyInfo = "manifold extent"

var errInflated = errors.New("block has another length than its record says")

// codec compresses blocks. Its parts are safe for concurrent use.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func (c *codec) open() (err error) {
	// Block checksums are ours; frames carry none.
	if c.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithWindowSize(data.BlockBytes)); err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	// A block never inflates beyond the buffer it is given.
	if c.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(1<<20)); err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	return nil
}

func (c *codec) close() { c.dec.Close() }

// encode makes the record and the stored bytes of an extent.
func (s *Store) encode(ctx context.Context, id data.ExtentID, n int, parts [][]byte) (data.Record, []byte, error) {
	rec := data.Record{ID: id, Length: uint32(n)}
	var aead cipher.AEAD
	tag := 0
	if s.o.Keys != nil {
		keyID, key, err := s.o.Keys.Current(ctx)
		if err != nil {
			return rec, nil, fmt.Errorf("%w: %w", data.ErrKey, err)
		}
		rec.Encryption, rec.KeyID, tag = data.AES256GCM, keyID, data.TagBytes
		_, _ = rand.Read(rec.Salt[:]) // never fails
		if aead, err = extentKey(key, rec); err != nil {
			return rec, nil, err
		}
	}
	if s.o.Compress {
		rec.Compression = data.Zstd
	}
	blocks := data.Blocks(n)
	out := make([]byte, 0, n+blocks*tag)
	plain, packed := s.cache.fresh(), s.cache.fresh()
	defer s.cache.put(plain)
	defer s.cache.put(packed)
	for i := range blocks {
		b := plain.b[:rec.BlockLength(i)]
		parts = gather(b, parts)
		body, shrunk := b, false
		if s.o.Compress {
			if z := s.zstd.enc.EncodeAll(b, packed.b[:0]); len(z) < len(b) {
				body, shrunk = z, true
			}
		}
		start := len(out)
		if aead != nil {
			out = aead.Seal(out, nonce(i), body, bound(rec, i, shrunk))
		} else {
			out = append(out, body...)
		}
		rec.Stored = append(rec.Stored, uint32(len(out)-start))
		rec.Sums = append(rec.Sums, data.Sum(id, out[start:]))
	}
	if !s.o.Compress || int(rec.StoredBytes()) < n+blocks*tag {
		return rec, out, nil
	}
	// Nothing shrank: say so, which makes reads straight where nothing is encrypted.
	rec.Compression = data.Plain
	if aead == nil {
		rec.Stored = nil
	}
	return rec, out, nil
}

// gather fills b from the front of parts and returns the rest.
func gather(b []byte, parts [][]byte) [][]byte {
	for len(b) > 0 {
		n := copy(b, parts[0])
		b = b[n:]
		if n < len(parts[0]) {
			return append([][]byte{parts[0][n:]}, parts[1:]...)
		}
		parts = parts[1:]
	}
	return parts
}

// extentKey derives the key of one extent. The salt is random, so that an id
// which is appended again after a failure has another key, and the block number
// suffices as nonce.
func extentKey(key [32]byte, rec data.Record) (cipher.AEAD, error) {
	salt := binary.BigEndian.AppendUint64(rec.Salt[:len(rec.Salt):len(rec.Salt)], uint64(rec.ID))
	k, err := hkdf.Key(sha256.New, key[:], salt, keyInfo, 32)
	if err != nil {
		return nil, fmt.Errorf("segment: derive key: %w", err)
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	return aead, nil
}

func nonce(block int) []byte {
	return binary.BigEndian.AppendUint32(make([]byte, 8, 12), uint32(block))
}

// bound is what a block is authenticated with beyond its bytes.
func bound(rec data.Record, block int, shrunk bool) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(rec.ID))
	b = binary.BigEndian.AppendUint32(b, uint32(block))
	b = binary.BigEndian.AppendUint32(b, rec.Length)
	if shrunk {
		return append(b, 1)
	}
	return append(b, 0)
}

// decoder turns stored blocks of one extent into plain ones.
type decoder struct {
	s    *Store
	rec  data.Record
	aead cipher.AEAD
}

func (s *Store) decoder(ctx context.Context, rec data.Record) (*decoder, error) {
	d := &decoder{s: s, rec: rec}
	if rec.Encryption == data.Clear {
		return d, nil
	}
	if s.o.Keys == nil {
		return nil, fmt.Errorf("%w: extent %d is encrypted", data.ErrKey, rec.ID)
	}
	key, err := s.o.Keys.Key(ctx, rec.KeyID)
	if err != nil {
		return nil, fmt.Errorf("%w: %d of extent %d: %w", data.ErrKey, rec.KeyID, rec.ID, err)
	}
	if d.aead, err = extentKey(key, rec); err != nil {
		return nil, err
	}
	return d, nil
}

// block decodes stored, which it may overwrite, into dst, the plain block's length.
func (d *decoder) block(block int, stored, dst []byte) error {
	tag := 0
	if d.aead != nil {
		tag = data.TagBytes
	}
	shrunk := len(stored)-tag < len(dst)
	body := stored
	if d.aead != nil {
		var err error
		if body, err = d.aead.Open(stored[:0], nonce(block), stored, bound(d.rec, block, shrunk)); err != nil {
			return err
		}
	}
	if !shrunk {
		copy(dst, body)
		return nil
	}
	out, err := d.s.zstd.dec.DecodeAll(body, dst[:0:len(dst)])
	if err != nil {
		return err
	}
	if len(out) != len(dst) || &out[0] != &dst[0] {
		return errInflated
	}
	return nil
}
