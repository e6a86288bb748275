package s3

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"manifold/internal/identity"
)

// The examples of the signature's specification.
const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

var exampleTime = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

func TestCanonicalRequest_examples(t *testing.T) {
	for _, c := range []struct {
		name, method, url, payload string
		header                     map[string]string
		signed                     string
		want                       string
	}{
		{"get object", "GET", "/test.txt", emptySHA256,
			map[string]string{"Range": "bytes=0-9", "X-Amz-Content-Sha256": emptySHA256, "X-Amz-Date": "20130524T000000Z"},
			"host;range;x-amz-content-sha256;x-amz-date", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{"put object", "PUT", "/test$file.text", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
			map[string]string{"Date": "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Date": "20130524T000000Z", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY",
				"X-Amz-Content-Sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"},
			"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class", "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
		{"lifecycle", "GET", "/?lifecycle", emptySHA256,
			map[string]string{"X-Amz-Content-Sha256": emptySHA256, "X-Amz-Date": "20130524T000000Z"},
			"host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"list", "GET", "/?max-keys=2&prefix=J", emptySHA256,
			map[string]string{"X-Amz-Content-Sha256": emptySHA256, "X-Amz-Date": "20130524T000000Z"},
			"host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), c.method, "http://examplebucket.s3.amazonaws.com"+c.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			q, aerr := parseQuery(r.URL.RawQuery)
			if aerr != nil {
				t.Fatal(aerr)
			}
			sig := &signature{scope: credentialScope{exampleKey, "20130524", "us-east-1"}, signed: strings.Split(c.signed, ";"), time: exampleTime}
			path, _ := unescapePath(r.URL.EscapedPath())
			text := stringToSign(sigAlgorithm, sig.time, &sig.scope, hexSHA256(canonicalRequest(r, path, q, sig, c.payload)))
			if got := hexBytes(hmacSHA256(deriveKey(&sig.scope, exampleSecret), text)); got != c.want {
				t.Errorf("signature %s, want %s", got, c.want)
			}
		})
	}
}

// exampleStream is the chunked upload of the specification.
func exampleStream() []byte {
	var b bytes.Buffer
	b.WriteString("10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n")
	b.Write(bytes.Repeat([]byte{'a'}, 65536))
	b.WriteString("\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n")
	b.Write(bytes.Repeat([]byte{'a'}, 1024))
	b.WriteString("\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n")
	return b.Bytes()
}

func exampleReader(b []byte) *chunkedReader {
	scope := credentialScope{exampleKey, "20130524", "us-east-1"}
	return &chunkedReader{r: bufio.NewReaderSize(bytes.NewReader(b), 4096), signed: true, scope: scope, time: exampleTime,
		key: deriveKey(&scope, exampleSecret), previous: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"}
}

func TestChunked_example(t *testing.T) {
	got, err := io.ReadAll(exampleReader(exampleStream()))
	if err != nil || len(got) != 66560 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func TestChunked_refuses(t *testing.T) {
	good := exampleStream()
	flip := func(i int) []byte { b := bytes.Clone(good); b[i] ^= 1; return b }
	for name, c := range map[string]struct {
		b    []byte
		want *apiError
	}{
		"changed data":      {flip(200), errSignature},
		"changed signature": {flip(30), errSignature},
		"changed last":      {flip(len(good) - 10), errSignature},
		"cut":               {good[:len(good)-200], errIncompleteBody},
		"without end":       {good[:65536+90], errIncompleteBody},
		"more behind":       {append(bytes.Clone(good), "GET / HTTP/1.1\r\n"...), errInvalidRequest},
		"huge size":         {[]byte("ffffffffffffffff;chunk-signature=" + strings.Repeat("a", 64) + "\r\n"), errInvalidRequest},
		"no signature":      {[]byte("3\r\nabc\r\n0\r\n\r\n"), errInvalidRequest},
		"long line":         {[]byte("3;chunk-signature=" + strings.Repeat("a", 4000) + "\r\n"), errInvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := io.ReadAll(exampleReader(c.b))
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestChunked_trailer(t *testing.T) {
	c := &chunkedReader{r: bufio.NewReader(strings.NewReader("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n")), trailer: true}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "hello" || c.trailers["x-amz-checksum-crc32"] != "NhCmhg==" {
		t.Fatalf("%q %v %v", got, err, c.trailers)
	}
}

func TestCombineCRC(t *testing.T) {
	a, b := []byte("the first piece of it"), bytes.Repeat([]byte("and the second"), 1000)
	for _, alg := range algorithms {
		if alg.poly == 0 {
			continue
		}
		sum := func(p ...[]byte) (n uint64) {
			h := alg.new()
			for _, x := range p {
				h.Write(x)
			}
			for _, c := range h.Sum(nil) {
				n = n<<8 | uint64(c)
			}
			return n
		}
		if got, want := combineCRC(alg.poly, alg.size*8, sum(a), sum(b), uint64(len(b))), sum(a, b); got != want {
			t.Errorf("%s: %x, want %x", alg.name, got, want)
		}
	}
}

func TestParseRange(t *testing.T) {
	for _, c := range []struct {
		v      string
		size   uint64
		want   byteRange
		ok     bool
		failed bool
	}{
		{"bytes=0-9", 100, byteRange{0, 10}, true, false},
		{"bytes=90-200", 100, byteRange{90, 10}, true, false},
		{"bytes=90-", 100, byteRange{90, 10}, true, false},
		{"bytes=-7", 100, byteRange{93, 7}, true, false},
		{"bytes=-700", 100, byteRange{0, 100}, true, false},
		{"bytes=100-", 100, byteRange{}, false, true},
		{"bytes=-0", 100, byteRange{}, false, true},
		{"bytes=0-", 0, byteRange{}, false, true},
		{"bytes=5-4", 100, byteRange{}, false, false},
		{"bytes=0-1,3-4", 100, byteRange{}, false, false},
		{"lines=0-1", 100, byteRange{}, false, false},
		{"bytes=0-99999999999999999999999", 100, byteRange{}, false, false},
	} {
		got, ok, err := parseRange(c.v, c.size)
		if ok != c.ok || (err != nil) != c.failed || ok && got != c.want {
			t.Errorf("%q of %d: %v %v %v", c.v, c.size, got, ok, err)
		}
	}
}

func TestParseKey(t *testing.T) {
	for _, good := range []string{"a", "a/b", "a/", "a/b/", " ", "?x", "ü/ñ"} {
		if _, err := parseKey(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"/", "/a", "a//b", "a/../b", "..", ".", "./a", "a\x00b", ".snapshot/x", ".s3-versioning~/x",
		strings.Repeat("x", 256), strings.Repeat("x/", 3000)} {
		if _, err := parseKey(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestValidBucketName(t *testing.T) {
	for n, want := range map[string]bool{"abc": true, "a.b-c": true, "ab": false, "-abc": false, "abc-": false, "a..b": false, "a.-b": false,
		"192.168.0.1": false, "Abc": false, "a_b": false, strings.Repeat("a", 63): true, strings.Repeat("a", 64): false} {
		if got := validBucketName(n); got != want {
			t.Errorf("%q: %v", n, got)
		}
	}
}

func TestPolicy(t *testing.T) {
	for pattern, c := range map[string]struct {
		s  string
		ok bool
	}{"*": {"", true}, "a*c": {"abbc", true}, "a?c": {"abc", true}, "a*b*c": {"aXbXbc", true}, "a*d": {"abc", false}, "": {"", true}} {
		if got := matchGlob(pattern, c.s); got != c.ok {
			t.Errorf("%q on %q: %v", pattern, c.s, got)
		}
	}
	if _, err := parsePolicy([]byte(`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}`), "b"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{`{}`, `{"Statement":[]}`, `{"Statement":[{"Effect":"Maybe","Principal":"*","Action":"s3:*"}]}`,
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::other/*"}]}`, `[`,
		`{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Condition":{"StringEquals":{"aws:unheardof":"x"}}}]}`} {
		if _, err := parsePolicy([]byte(bad), "b"); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential="+exampleKey+"/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("a", 64), "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=1")
	f.Fuzz(func(t *testing.T, header, raw string) {
		if s, err := parseAuthorization(header); err == nil && (s.scope.key == "" || len(s.hex) != 64 || len(s.signed) > maxSignedHeaders) {
			t.Errorf("%q became %+v", header, s)
		}
		q, err := parseQuery(raw)
		if err != nil {
			return
		}
		_ = q.canonical(true)
		if s, err := parsePresigned(q); err == nil && s.expires > maxPresign {
			t.Errorf("%q lives %v", raw, s.expires)
		}
	})
}

func FuzzChunked(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"), false)
	f.Add(exampleStream(), true)
	f.Fuzz(func(t *testing.T, b []byte, signed bool) {
		c := exampleReader(b)
		c.signed, c.trailer = signed, !signed
		n, _ := io.Copy(io.Discard, c)
		if n > int64(len(b)) {
			t.Errorf("%d bytes from %d", n, len(b))
		}
		if len(c.trailers) > maxTrailers {
			t.Errorf("%d trailers", len(c.trailers))
		}
	})
}

// everybody knows every name.
type everybody struct{ numericNames }

func (everybody) Principal(context.Context, string) (identity.AuthID, bool) { return 7, true }

func FuzzDocuments(f *testing.F) {
	for _, s := range []string{
		"<Delete><Object><Key>a</Key></Object></Delete>",
		"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
		"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
		"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>",
		"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>",
		`{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*"}}`,
		`{"statements":[{"effect":"Deny","notPrincipal":{"Manifold":["jane","auth_id:5","*"]},"action":"s3:*","resource":"arn:aws:s3:::bucket"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, _, err := parseDelete(b); err == nil && (len(l) == 0 || len(l) > maxList) {
			t.Errorf("%d keys", len(l))
		}
		if l, err := parseComplete(b); err == nil && (len(l) == 0 || len(l) > maxParts) {
			t.Errorf("%d parts", len(l))
		}
		if l, err := parseTagging(b, maxTags); err == nil && len(l) > maxTags {
			t.Errorf("%d tags", len(l))
		}
		_, _ = parseCORS(b)
		_, _ = parseLockConfig(b)
		q := &request{s: &Server{o: Options{Names: everybody{}}}, ctx: t.Context(), bucketName: "bucket"}
		if pinned, err := q.pinPrincipals(b); err == nil {
			again, err := q.pinPrincipals(pinned)
			if err != nil || !bytes.Equal(again, pinned) {
				t.Errorf("%s, then %s: %v", pinned, again, err)
			}
		}
		_, _ = parseFormPolicy(string(b))
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("bytes=0-9", uint64(100), "bucket/key?versionId=null", "a=b&c=d", "aws-chunked, gzip")
	f.Fuzz(func(t *testing.T, v string, size uint64, source, tags, coding string) {
		if r, ok, err := parseRange(v, size); ok && err == nil && (r.length == 0 || r.start+r.length > size || r.start+r.length < r.start) {
			t.Errorf("%q of %d: %+v", v, size, r)
		}
		if r, err := parseCopyRange(v, size); err == nil && (r.length == 0 || r.start+r.length > size) {
			t.Errorf("%q of %d: %+v", v, size, r)
		}
		if s, err := parseCopySource(source); err == nil && (s.bucket == "" || s.key == "") {
			t.Errorf("%q: %+v", source, s)
		}
		if p, err := parseKey(source); err == nil {
			for _, c := range append(p.dirs, p.name) {
				if c == ".." || c == "." || hidden(c) || strings.ContainsAny(c, "/\x00") || len(c) > 255 {
					t.Errorf("%q: %q", source, c)
				}
			}
		}
		if l, err := parseTagQuery(tags); err == nil && len(l) > maxTags {
			t.Errorf("%d tags", len(l))
		}
		for c := range strings.SplitSeq(dropChunked(coding), ",") {
			if strings.TrimSpace(c) == "aws-chunked" {
				t.Errorf("%q", coding)
			}
		}
		if p, ok := unescapePath(source); ok && len(p) > len(source) {
			t.Error("longer")
		}
		_, _ = openToken(tags)
		_ = matchGlob(v, source)
		_, _ = hex.DecodeString(v)
	})
}

func FuzzForm(f *testing.F) {
	f.Add([]byte("--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\ndata\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if fm, err := readForm(bytes.NewReader(b), "b"); err == nil && len(fm.fields) > maxFormFields+1 {
			t.Errorf("%d fields", len(fm.fields))
		}
	})
}
