package s3

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"
	"time"
)

const (
	maxChunkLine    = 512
	maxTrailers     = 16
	maxTrailerBytes = 4096
	maxChunk        = 5 << 30
)

// chunkedReader decodes aws-chunked: "size[;chunk-signature=hex]" CRLF data
// CRLF, ended by a chunk of size 0 and, if announced, trailing headers. Data
// are passed on before the signature of their chunk is known: the caller may
// only use them once the reader has answered io.EOF.
type chunkedReader struct {
	r       *bufio.Reader
	signed  bool
	trailer bool

	// of signed streams
	key      []byte
	scope    credentialScope
	time     time.Time
	previous string
	claimed  string
	hash     hash.Hash

	left     uint64
	started  bool
	trailers map[string]string
	err      error
}

func (c *chunkedReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	for c.left == 0 {
		if c.err = c.next(); c.err != nil {
			return 0, c.err
		}
	}
	if uint64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= uint64(n)
	if c.signed {
		c.hash.Write(p[:n])
	}
	if err != nil {
		c.err = cut(err)
	}
	return n, c.err
}

// cut makes an early end an incomplete body.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errIncompleteBody
	}
	return err
}

// next ends the present chunk and opens the following one.
func (c *chunkedReader) next() error {
	if c.started {
		if err := c.crlf(); err != nil {
			return err
		}
		if err := c.endChunk(); err != nil {
			return err
		}
	}
	c.started = true
	line, err := c.line(maxChunkLine)
	if err != nil {
		return err
	}
	size, ext, _ := strings.Cut(line, ";")
	n, ok := parseHex(strings.TrimSpace(size))
	if !ok || n > maxChunk {
		return errInvalidRequest.with("A chunk of the body has a malformed size.")
	}
	if c.signed {
		sig, ok := strings.CutPrefix(strings.TrimSpace(ext), "chunk-signature=")
		if !ok || len(sig) != 64 {
			return errInvalidRequest.with("A chunk of the body has no signature.")
		}
		c.claimed = sig
		if c.hash == nil {
			c.hash = sha256.New()
		}
		c.hash.Reset()
	}
	c.left = n
	if n > 0 {
		return nil
	}
	if err := c.endChunk(); err != nil {
		return err
	}
	if c.trailer {
		err = c.readTrailers()
	} else {
		err = c.lastCRLF()
	}
	if err != nil {
		return err
	}
	// What follows the end belongs to nobody: a body with more in it was not
	// meant for this decoder.
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errInvalidRequest.with("The body goes on after its last chunk.")
		}
		return err
	}
	return io.EOF
}

func parseHex(s string) (uint64, bool) {
	if s == "" || len(s) > 16 {
		return 0, false
	}
	var n uint64
	for i := 0; i < len(s); i++ {
		var d byte
		switch b := s[i]; {
		case b >= '0' && b <= '9':
			d = b - '0'
		case b >= 'a' && b <= 'f':
			d = b - 'a' + 10
		case b >= 'A' && b <= 'F':
			d = b - 'A' + 10
		default:
			return 0, false
		}
		n = n<<4 | uint64(d)
	}
	return n, true
}

// line reads up to a line feed and drops the line end.
func (c *chunkedReader) line(most int) (string, error) {
	b, err := c.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull) || len(b) > most:
		return "", errInvalidRequest.with("A line of the chunked body is too long.")
	case err != nil:
		return "", cut(err)
	}
	return string(bytes.TrimRight(b, "\r\n")), nil
}

func (c *chunkedReader) crlf() error {
	line, err := c.line(2)
	if err == nil && line != "" {
		err = errInvalidRequest.with("A chunk of the body is longer than it says.")
	}
	return err
}

// lastCRLF takes the line end after the last chunk, which some clients leave out.
func (c *chunkedReader) lastCRLF() error {
	_, err := c.r.Peek(1)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	return c.crlf()
}

func (c *chunkedReader) endChunk() error {
	if !c.signed {
		return nil
	}
	want := hex.EncodeToString(hmacSHA256(c.key, stringToSign(sigAlgorithm+"-PAYLOAD", c.time, &c.scope,
		c.previous, emptySHA256, hex.EncodeToString(c.hash.Sum(nil)))))
	if !equalHex(want, c.claimed) {
		return errSignature
	}
	c.previous = want
	return nil
}

func (c *chunkedReader) readTrailers() error {
	c.trailers = make(map[string]string)
	var canonical strings.Builder
	claimed := ""
	total := 0
	for {
		if _, err := c.r.Peek(1); errors.Is(err, io.EOF) {
			break
		}
		line, err := c.line(maxTrailerBytes)
		if err != nil {
			return err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		total += len(line)
		if !ok || name == "" || len(c.trailers) >= maxTrailers || total > maxTrailerBytes {
			return errMalformedTrailer
		}
		if name == "x-amz-trailer-signature" {
			claimed = value
			continue
		}
		if _, twice := c.trailers[name]; twice {
			return errMalformedTrailer
		}
		c.trailers[name] = value
		canonical.WriteString(name + ":" + value + "\n")
	}
	if c.signed {
		want := hex.EncodeToString(hmacSHA256(c.key, stringToSign(sigAlgorithm+"-TRAILER", c.time, &c.scope,
			c.previous, hexSHA256(canonical.String()))))
		if !equalHex(want, claimed) {
			return errSignature
		}
	}
	// A line end may follow the trailer's signature.
	if b, err := c.r.Peek(2); err == nil && string(b) == "\r\n" {
		_, _ = c.r.Discard(2)
	}
	return nil
}
