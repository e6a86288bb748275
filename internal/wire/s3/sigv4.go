package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	sigAlgorithm   = "AWS4-HMAC-SHA256"
	amzTimeFormat  = "20060102T150405Z"
	amzDateFormat  = "20060102"
	unsigned       = "UNSIGNED-PAYLOAD"
	emptySHA256    = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	streamSigned   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamTrailer  = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	streamUnsigned = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

	maxSkew          = 15 * time.Minute
	maxPresign       = 7 * 24 * time.Hour
	maxSignedHeaders = 64
	maxQueryParams   = 128
)

// credentialScope is AKID/date/region/service/aws4_request.
type credentialScope struct{ key, date, region string }

func (c *credentialScope) String() string { return c.date + "/" + c.region + "/s3/aws4_request" }

// signature is what a request claims, in a header or in its query.
type signature struct {
	scope     credentialScope
	signed    []string // lower case, sorted
	hex       string
	time      time.Time
	expires   time.Duration // presigned only
	presigned bool
}

func parseScope(s string) (credentialScope, *apiError) {
	// An access key id may hold slashes; the scope is the last four parts.
	p := strings.Split(s, "/")
	if len(s) > 512 || len(p) < 5 {
		return credentialScope{}, errAuthMalformed.with("The Credential is malformed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
	}
	n := len(p)
	if p[n-1] != "aws4_request" || p[n-2] != "s3" {
		return credentialScope{}, errAuthMalformed.with("The Credential is for another service or terminal.")
	}
	c := credentialScope{key: strings.Join(p[:n-4], "/"), date: p[n-4], region: p[n-3]}
	if _, err := time.Parse(amzDateFormat, c.date); err != nil || c.key == "" || c.region == "" {
		return credentialScope{}, errAuthMalformed.with("The Credential has a malformed date, region or access key.")
	}
	return c, nil
}

func parseSignedHeaders(s string) ([]string, *apiError) {
	h := strings.Split(s, ";")
	if len(h) > maxSignedHeaders {
		return nil, errAuthMalformed.with("Too many signed headers.")
	}
	for i, n := range h {
		if n == "" || n != strings.ToLower(n) || i > 0 && h[i-1] >= n {
			return nil, errAuthMalformed.with("SignedHeaders must be sorted, in lower case and without repetition.")
		}
	}
	if !slices.Contains(h, "host") {
		return nil, errAuthMalformed.with("The host header must be signed.")
	}
	return h, nil
}

// parseAuthorization reads an Authorization header of SigV4.
func parseAuthorization(v string) (*signature, *apiError) {
	if len(v) > 8192 {
		return nil, errAuthMalformed
	}
	rest, ok := strings.CutPrefix(v, sigAlgorithm)
	if !ok {
		if strings.HasPrefix(v, "AWS ") {
			return nil, errAuthMalformed.with("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
		}
		return nil, errInvalidArgument.with("Unsupported Authorization Type")
	}
	sig := &signature{}
	var seen int
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return nil, errAuthMalformed
		}
		var err *apiError
		switch name {
		case "Credential":
			sig.scope, err = parseScope(value)
			seen |= 1
		case "SignedHeaders":
			sig.signed, err = parseSignedHeaders(value)
			seen |= 2
		case "Signature":
			sig.hex = value
			seen |= 4
		}
		if err != nil {
			return nil, err
		}
	}
	if seen != 7 || len(sig.hex) != 64 {
		return nil, errAuthMalformed
	}
	return sig, nil
}

// parsePresigned reads the query form of SigV4.
func parsePresigned(q query) (*signature, *apiError) {
	bad := func(m string) (*signature, *apiError) { return nil, errAuthQuery.with(m) }
	if q.get("X-Amz-Algorithm") != sigAlgorithm {
		return bad("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
	}
	scope, err := parseScope(q.get("X-Amz-Credential"))
	if err != nil {
		return bad(err.Message)
	}
	signed, err := parseSignedHeaders(q.get("X-Amz-SignedHeaders"))
	if err != nil {
		return bad(err.Message)
	}
	t, terr := time.Parse(amzTimeFormat, q.get("X-Amz-Date"))
	if terr != nil {
		return bad("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
	}
	secs, ok := parseUint(q.get("X-Amz-Expires"), 1<<40)
	switch {
	case !ok:
		return bad("X-Amz-Expires should be a number")
	case secs > uint64(maxPresign/time.Second):
		return bad("X-Amz-Expires must be less than a week (in seconds)")
	}
	sig := &signature{scope: scope, signed: signed, hex: q.get("X-Amz-Signature"), time: t, presigned: true}
	sig.expires = time.Duration(secs) * time.Second
	if len(sig.hex) != 64 {
		return bad("X-Amz-Signature is malformed")
	}
	return sig, nil
}

func hmacSHA256(key []byte, data string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(data))
	return m.Sum(nil)
}

// signingKeys remembers derived keys: four HMACs saved for each request.
type signingKeys struct {
	mu sync.Mutex
	m  map[signingKeyID][]byte
}

type signingKeyID struct{ key, secret, date, region string }

const maxSigningKeys = 4096

func (s *signingKeys) get(c *credentialScope, secret string) []byte {
	id := signingKeyID{c.key, secret, c.date, c.region}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.m[id]; ok {
		return k
	}
	k := deriveKey(c, secret)
	if s.m == nil || len(s.m) >= maxSigningKeys {
		s.m = make(map[signingKeyID][]byte)
	}
	s.m[id] = k
	return k
}

func deriveKey(c *credentialScope, secret string) []byte {
	k := hmacSHA256([]byte("AWS4"+secret), c.date)
	k = hmacSHA256(k, c.region)
	k = hmacSHA256(k, "s3")
	return hmacSHA256(k, "aws4_request")
}

func stringToSign(algorithm string, t time.Time, scope *credentialScope, rest ...string) string {
	return algorithm + "\n" + t.UTC().Format(amzTimeFormat) + "\n" + scope.String() + "\n" + strings.Join(rest, "\n")
}

func hexSHA256(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// canonicalRequest is the text that the client signed.
func canonicalRequest(r *http.Request, path string, q query, sig *signature, payload string) string {
	var b strings.Builder
	b.WriteString(r.Method)
	b.WriteByte('\n')
	b.WriteString(uriEncode(path, false))
	b.WriteByte('\n')
	b.WriteString(q.canonical(sig.presigned))
	b.WriteByte('\n')
	for _, n := range sig.signed {
		b.WriteString(n)
		b.WriteByte(':')
		switch n {
		case "host":
			b.WriteString(r.Host)
		case "content-length":
			if v := r.Header.Get("Content-Length"); v != "" || r.ContentLength < 0 {
				b.WriteString(v)
			} else {
				b.WriteString(formatInt(r.ContentLength))
			}
		case "transfer-encoding":
			b.WriteString(strings.Join(r.TransferEncoding, ","))
		default:
			for i, v := range r.Header.Values(n) {
				if i > 0 {
					b.WriteByte(',')
				}
				b.WriteString(squeeze(v))
			}
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(sig.signed, ";"))
	b.WriteByte('\n')
	b.WriteString(payload)
	return b.String()
}

// squeeze trims a header value and turns runs of blanks into one.
func squeeze(v string) string {
	v = strings.TrimSpace(v)
	if !strings.Contains(v, "  ") {
		return v
	}
	return strings.Join(strings.FieldsFunc(v, func(r rune) bool { return r == ' ' }), " ")
}

func uriEncode(s string, slash bool) string {
	const upper = "0123456789ABCDEF"
	plain := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '-' || c == '_' || c == '.' || c == '~' || c == '/' && !slash
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if !plain(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := 0; i < len(s); i++ {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upper[c>>4], upper[c&15])
		}
	}
	return string(b)
}

func hexBytes(b []byte) string { return hex.EncodeToString(b) }

func equalHex(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
