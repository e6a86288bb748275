package s3

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strings"
)

const (
	maxDocument = 10 << 20 // of request documents
	maxPut      = 5 << 30
	pieceSize   = 1 << 20
	smallSize   = 64 << 10
)

// payload is the body of a request with everything that was promised about it.
type payload struct {
	r       io.Reader
	size    int64 // decoded; -1 if not told
	sha256  string
	md5     []byte
	claim   *checksumClaim
	chunked *chunkedReader

	hashes []hash.Hash
	hMD5   hash.Hash
	hSHA   hash.Hash
	hSum   hash.Hash
	read   int64
}

// openPayload looks at the headers; nothing is read yet. sig is nil for
// anonymous calls. The checksum of a complete is not that of its body.
func (s *Server) openPayload(r *http.Request, sig *signature, key *Key, complete bool) (*payload, *apiError) {
	p := &payload{r: r.Body, size: r.ContentLength}
	if v, ok := r.Header["Content-Md5"]; ok {
		b, err := base64.StdEncoding.DecodeString(v[0])
		if err != nil || len(b) != md5.Size {
			return nil, errInvalidDigest
		}
		p.md5 = b
	}
	claim, aerr := claimedChecksum(r.Header, complete)
	if aerr != nil {
		return nil, aerr
	}
	p.claim = claim
	content := r.Header.Get("X-Amz-Content-Sha256")
	if sig != nil && sig.presigned && content == "" {
		content = unsigned
	}
	switch content {
	case "", unsigned:
	case streamSigned, streamTrailer, streamUnsigned:
		c := &chunkedReader{r: bufio.NewReaderSize(r.Body, 64<<10), trailer: content != streamSigned}
		if content != streamUnsigned {
			if sig == nil {
				return nil, errAccessDenied
			}
			c.signed, c.scope, c.time, c.previous = true, sig.scope, sig.time, sig.hex
			c.key = s.signing.get(&sig.scope, key.Secret)
		}
		n, ok := parseUint(r.Header.Get("X-Amz-Decoded-Content-Length"), 1<<62)
		if !ok {
			return nil, errMissingLength
		}
		p.size, p.r, p.chunked = int64(n), c, c
		if p.claim != nil && p.claim.trailer && !c.trailer {
			return nil, errInvalidRequest.with("A trailer was announced for a body that has none.")
		}
	default:
		if b, err := hex.DecodeString(content); err != nil || len(b) != sha256.Size {
			return nil, errInvalidArgument.with("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
		}
		p.sha256 = strings.ToLower(content)
	}
	if p.chunked == nil && p.claim != nil && p.claim.trailer {
		return nil, errInvalidRequest.with("A trailer was announced for a body that has none.")
	}
	return p, nil
}

// start prepares the digests; withMD5 for entity tags.
func (p *payload) start(withMD5 bool) {
	if withMD5 || p.md5 != nil {
		p.hMD5 = md5.New()
		p.hashes = append(p.hashes, p.hMD5)
	}
	if p.sha256 != "" {
		p.hSHA = sha256.New()
		p.hashes = append(p.hashes, p.hSHA)
	}
	if p.claim != nil {
		p.hSum = p.claim.alg.new()
		p.hashes = append(p.hashes, p.hSum)
	}
}

func (p *payload) digest(b []byte) {
	for _, h := range p.hashes {
		h.Write(b)
	}
}

// fill reads a whole piece, or up to the end: then io.EOF with what there was.
func (p *payload) fill(buf []byte) (int, error) {
	n, err := io.ReadFull(p.r, buf)
	p.read += int64(n)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	if p.size >= 0 && p.read > p.size {
		return n, errIncompleteBody.with("The body is longer than was told.")
	}
	if errors.Is(err, io.EOF) {
		var a *apiError
		if p.size >= 0 && p.read < p.size && !errors.As(err, &a) {
			return n, errIncompleteBody
		}
		return n, io.EOF
	}
	return n, readError(err)
}

// readError tells a broken connection from an error of the decoder.
func readError(err error) error {
	var a *apiError
	var tooBig *http.MaxBytesError
	switch {
	case err == nil || errors.As(err, &a):
		return err
	case errors.As(err, &tooBig):
		return errEntityTooLarge
	}
	return errIncompleteBody.wrap(err)
}

// verify compares all digests with what was promised. Call it after io.EOF.
func (p *payload) verify() *apiError {
	if p.hSHA != nil && hex.EncodeToString(p.hSHA.Sum(nil)) != p.sha256 {
		return errContentSHA
	}
	if p.md5 != nil && !bytes.Equal(p.hMD5.Sum(nil), p.md5) {
		return errBadDigest
	}
	if p.claim == nil {
		return nil
	}
	want := p.claim.value
	if p.claim.trailer {
		v, ok := p.chunked.trailers[p.claim.alg.header]
		if !ok {
			return errMalformedTrailer
		}
		if _, ok := p.claim.alg.decode(v); !ok {
			return errInvalidRequest.with("Value for " + p.claim.alg.header + " trailing header is invalid.")
		}
		want = v
	}
	if got := p.checksum(); want != "" && got != want {
		return errBadDigest.with("The " + p.claim.alg.name + " you specified did not match the calculated checksum.")
	}
	return nil
}

// checksum is the computed value of the claimed algorithm in base64.
func (p *payload) checksum() string {
	return base64.StdEncoding.EncodeToString(p.hSum.Sum(nil))
}

// document reads a whole request document of at most most bytes.
func (p *payload) document(most int64) ([]byte, *apiError) {
	p.start(false)
	if p.size > most {
		return nil, errMalformedXML.with("The document is too large.")
	}
	b, err := io.ReadAll(io.LimitReader(p.r, most+1))
	switch {
	case err != nil:
		return nil, fromFS(readError(err))
	case int64(len(b)) > most:
		return nil, errMalformedXML.with("The document is too large.")
	case p.size >= 0 && int64(len(b)) != p.size:
		return nil, errIncompleteBody
	}
	p.digest(b)
	if err := p.verify(); err != nil {
		return nil, err
	}
	return b, nil
}
