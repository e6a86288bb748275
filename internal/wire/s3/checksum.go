package s3

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"net/http"
	"strings"
	"sync"
)

// algorithm is one of the additional checksums of the protocol.
type algorithm struct {
	name   string // as in XML and x-amz-checksum-algorithm
	header string // of the value, lower case
	size   int
	new    func() hash.Hash
	poly   uint64 // reversed polynomial of a CRC, else 0
}

const crc64NVMEPoly = 0x9a6c9329ac4bc9b5

var (
	castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })
	crc64NVME  = sync.OnceValue(func() *crc64.Table { return crc64.MakeTable(crc64NVMEPoly) })
)

// algorithms in the order in which answers list them.
var algorithms = []*algorithm{
	{"CRC32", "x-amz-checksum-crc32", 4, func() hash.Hash { return crc32.NewIEEE() }, crc32.IEEE},
	{"CRC32C", "x-amz-checksum-crc32c", 4, func() hash.Hash { return crc32.New(castagnoli()) }, crc32.Castagnoli},
	{"CRC64NVME", "x-amz-checksum-crc64nvme", 8, func() hash.Hash { return crc64.New(crc64NVME()) }, crc64NVMEPoly},
	{"SHA1", "x-amz-checksum-sha1", 20, sha1.New, 0},
	{"SHA256", "x-amz-checksum-sha256", 32, sha256.New, 0},
}

func algorithmByName(name string) *algorithm {
	for _, a := range algorithms {
		if strings.EqualFold(a.name, name) {
			return a
		}
	}
	return nil
}

func (a *algorithm) decode(value string) ([]byte, bool) {
	b, err := base64.StdEncoding.DecodeString(value)
	return b, err == nil && len(b) == a.size
}

// Types of a checksum over several parts.
const (
	checksumComposite = "COMPOSITE"
	checksumFull      = "FULL_OBJECT"
)

// checksumClaim is what a request says about its body.
type checksumClaim struct {
	alg     *algorithm
	value   string // base64; "" when it comes in the trailer, or is ours to compute
	trailer bool
}

// claimedChecksum reads the checksum headers of a request; with parts they are
// of a whole object and may count its parts behind a dash.
func claimedChecksum(h http.Header, parts bool) (*checksumClaim, *apiError) {
	var c *checksumClaim
	for _, a := range algorithms {
		v, ok := h[http.CanonicalHeaderKey(a.header)]
		if !ok {
			continue
		}
		if c != nil {
			return nil, errInvalidRequest.with("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		if _, ok := a.decode(v[0]); !ok && !parts {
			return nil, errBadDigest.with("Value for " + a.header + " header is invalid.")
		}
		c = &checksumClaim{alg: a, value: v[0]}
	}
	if t := h.Get("X-Amz-Trailer"); t != "" {
		for _, a := range algorithms {
			if strings.EqualFold(strings.TrimSpace(t), a.header) {
				if c != nil {
					return nil, errInvalidRequest.with("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
				}
				return &checksumClaim{alg: a, trailer: true}, nil
			}
		}
		return nil, errInvalidRequest.with("The value specified in the x-amz-trailer header is not supported")
	}
	name := h.Get("X-Amz-Sdk-Checksum-Algorithm")
	if name == "" {
		return c, nil
	}
	a := algorithmByName(name)
	switch {
	case a == nil:
		return nil, errInvalidRequest.with("Value for x-amz-sdk-checksum-algorithm header is invalid.")
	case c == nil:
		// Announced without a value: nothing to compare with, but kept.
		return &checksumClaim{alg: a}, nil
	case c.alg != a:
		return nil, errInvalidRequest.with("Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	return c, nil
}

// combineCRC joins the CRCs of two adjoining pieces, the second of n bytes,
// by squaring the operator "append one zero bit" (as zlib does).
func combineCRC(poly uint64, bits int, a, b, n uint64) uint64 {
	var odd, even [64]uint64
	times := func(m *[64]uint64, v uint64) (sum uint64) {
		for i := 0; v != 0; i, v = i+1, v>>1 {
			if v&1 != 0 {
				sum ^= m[i]
			}
		}
		return sum
	}
	square := func(dst, m *[64]uint64) {
		for i := range bits {
			dst[i] = times(m, m[i])
		}
	}
	odd[0] = poly
	for i := 1; i < bits; i++ {
		odd[i] = 1 << (i - 1)
	}
	square(&even, &odd) // two zero bits
	square(&odd, &even) // four
	for n != 0 {
		square(&even, &odd)
		if n&1 != 0 {
			a = times(&even, a)
		}
		if n >>= 1; n == 0 {
			break
		}
		square(&odd, &even)
		if n&1 != 0 {
			a = times(&odd, a)
		}
		n >>= 1
	}
	return a ^ b
}
