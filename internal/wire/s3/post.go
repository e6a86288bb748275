package s3

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

const (
	maxFormFields = 128
	maxFormBytes  = 64 << 10
)

// isForm tells a browser's upload.
func (q *request) isForm() bool {
	if q.r.Method != http.MethodPost || q.bucketName == "" || q.key != "" || q.r.URL.RawQuery != "" {
		return false
	}
	t, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	return err == nil && t == "multipart/form-data"
}

// form are the fields before the file, names in lower case.
type form struct {
	fields map[string]string
	file   *multipart.Part
}

func readForm(body io.Reader, boundary string) (*form, *apiError) {
	f := &form{fields: map[string]string{}}
	mr := multipart.NewReader(body, boundary)
	total := 0
	for {
		p, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil, errInvalidArgument.with("POST requires exactly one file upload per request.")
		}
		if err != nil {
			return nil, errMalformedPOST.wrap(err)
		}
		name := strings.ToLower(p.FormName())
		if name == "" {
			return nil, errMalformedPOST
		}
		if name == "file" {
			f.fields["\x00filename"] = path.Base("/" + strings.ReplaceAll(p.FileName(), "\\", "/"))
			f.file = p
			return f, nil
		}
		v, err := io.ReadAll(io.LimitReader(p, maxFormBytes+1))
		if err != nil {
			return nil, errMalformedPOST.wrap(err)
		}
		total += len(name) + len(v)
		if total > maxFormBytes || len(f.fields) >= maxFormFields {
			return nil, newError(400, "MaxPostPreDataLengthExceeded", "Your POST request fields preceding the upload file were too large.")
		}
		f.fields[name] = string(v)
	}
}

// formPolicy is what the signer of a form allowed.
type formPolicy struct {
	Expiration string            `json:"expiration"`
	Conditions []json.RawMessage `json:"conditions"`

	exact  map[string]string
	prefix map[string]string
	least  int64
	most   int64
}

func parseFormPolicy(encoded string) (*formPolicy, *apiError) {
	bad := newError(400, "InvalidPolicyDocument", "Invalid Policy: Invalid JSON.")
	b, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(encoded))
	if err != nil || len(b) > maxPolicy {
		return nil, bad
	}
	p := &formPolicy{exact: map[string]string{}, prefix: map[string]string{}, most: maxPut}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(p); err != nil || p.Expiration == "" || p.Conditions == nil || len(p.Conditions) > maxStatements {
		return nil, bad
	}
	for _, raw := range p.Conditions {
		var m map[string]string
		if json.Unmarshal(raw, &m) == nil {
			for k, v := range m {
				p.exact[strings.ToLower(k)] = v
			}
			continue
		}
		var l []any
		ld := json.NewDecoder(bytes.NewReader(raw))
		ld.UseNumber()
		if err := ld.Decode(&l); err != nil || len(l) != 3 {
			return nil, bad
		}
		kind, _ := l[0].(string)
		if strings.EqualFold(kind, "content-length-range") {
			least, ok1 := formNumber(l[1])
			most, ok2 := formNumber(l[2])
			if !ok1 || !ok2 {
				return nil, bad
			}
			p.least, p.most = least, min(most, maxPut)
			continue
		}
		name, ok1 := l[1].(string)
		value, ok2 := l[2].(string)
		name, ok3 := strings.CutPrefix(name, "$")
		if !ok1 || !ok2 || !ok3 {
			return nil, bad
		}
		switch strings.ToLower(kind) {
		case "eq":
			p.exact[strings.ToLower(name)] = value
		case "starts-with":
			p.prefix[strings.ToLower(name)] = value
		default:
			return nil, bad
		}
	}
	return p, nil
}

func formNumber(v any) (int64, bool) {
	s, ok := v.(string)
	if n, isNumber := v.(json.Number); isNumber {
		s, ok = n.String(), true
	}
	n, ok2 := parseUint(s, 1<<62)
	return int64(n), ok && ok2
}

// check compares the fields with what was allowed: every field must be named.
func (p *formPolicy) check(fields map[string]string, bucket string, now time.Time) *apiError {
	t, err := time.Parse(time.RFC3339Nano, p.Expiration)
	if err != nil {
		return newError(400, "InvalidPolicyDocument", "Invalid Policy: Invalid 'expiration' value.")
	}
	denied := func(m string) *apiError {
		return errAccessDenied.with("Invalid according to Policy: " + m)
	}
	if !now.Before(t) {
		return denied("Policy expired.")
	}
	value := func(name string) string {
		if name == "bucket" {
			return bucket
		}
		return fields[name]
	}
	for name, want := range p.exact {
		if value(name) != want {
			return denied("Policy Condition failed: [\"eq\", \"$" + name + "\", \"" + want + "\"]")
		}
	}
	for name, want := range p.prefix {
		if !strings.HasPrefix(value(name), want) {
			return denied("Policy Condition failed: [\"starts-with\", \"$" + name + "\", \"" + want + "\"]")
		}
	}
	for name := range fields {
		switch {
		case name == "policy", name == "x-amz-signature", name == "\x00filename", strings.HasPrefix(name, "x-ignore-"):
			continue
		}
		_, ok1 := p.exact[name]
		_, ok2 := p.prefix[name]
		if !ok1 && !ok2 {
			return denied("Extra input fields: " + name)
		}
	}
	return nil
}

// postObject takes an upload by form. The signature is over the policy.
func (q *request) postObject() error {
	_, params, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" || len(params["boundary"]) > 70 {
		return errMalformedPOST
	}
	f, aerr := readForm(q.r.Body, params["boundary"])
	if aerr != nil {
		return aerr
	}
	policy, aerr := q.authenticateForm(f)
	if aerr != nil {
		return aerr
	}
	key, ok := f.fields["key"]
	if !ok || key == "" {
		return errInvalidArgument.with("Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.")
	}
	q.key = strings.ReplaceAll(key, "${filename}", f.fields["\x00filename"])
	// From here on it is a PUT whose headers are the fields.
	h := http.Header{}
	for name, v := range f.fields {
		switch name {
		case "content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires":
			h.Set(name, v)
		case "acl":
			h.Set("X-Amz-Acl", v)
		case "tagging":
			tags, err := parseTagging([]byte(v), maxTags)
			if err != nil {
				return err
			}
			form := url.Values{}
			for _, t := range tags {
				form.Set(t.Key, t.Value)
			}
			h.Set("X-Amz-Tagging", form.Encode())
		default:
			if strings.HasPrefix(name, "x-amz-") && isToken(name) {
				h.Set(name, v)
			}
		}
	}
	for _, n := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature", "X-Amz-Copy-Source"} {
		h.Del(n)
	}
	q.r.Header = h
	claim, aerr := claimedChecksum(h, false)
	if aerr != nil {
		return aerr
	}
	q.op = &op{name: "PostObject", action: "PutObject"}
	q.body = &payload{r: &formFile{r: f.file, policy: policy}, size: -1, claim: claim}
	if err := q.refuseUnknown(); err != nil {
		return err
	}
	q.op.run = func(q *request) error { return q.storeForm(f) }
	return q.run()
}

// authenticateForm checks the signature over the policy and the policy itself.
func (q *request) authenticateForm(f *form) (*formPolicy, *apiError) {
	encoded, ok := f.fields["policy"]
	if !ok {
		return nil, errAccessDenied // nobody signed, and guests do not write
	}
	if f.fields["x-amz-algorithm"] != sigAlgorithm {
		return nil, errInvalidRequest.with("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	}
	scope, err := parseScope(f.fields["x-amz-credential"])
	if err != nil {
		return nil, err
	}
	t, terr := time.Parse(amzTimeFormat, f.fields["x-amz-date"])
	if terr != nil || t.Format(amzDateFormat) != scope.date {
		return nil, errAuthMalformed
	}
	if t.Sub(q.s.o.Now()) > maxSkew {
		return nil, errRequestTimeTooSkew
	}
	q.claimed = scope.key
	key, kerr := q.s.o.Keys.AccessKey(q.ctx, scope.key)
	if errors.Is(kerr, ErrNoKey) {
		return nil, errInvalidAccessKey
	}
	if kerr != nil {
		return nil, errInternal.wrap(kerr)
	}
	want := hexBytes(hmacSHA256(q.s.signing.get(&scope, key.Secret), encoded))
	if !equalHex(want, f.fields["x-amz-signature"]) {
		return nil, errSignature
	}
	p, err := parseFormPolicy(encoded)
	if err != nil {
		return nil, err
	}
	if err := p.check(f.fields, q.bucketName, q.s.o.Now()); err != nil {
		return nil, err
	}
	q.access = key
	q.setCaller(key.Cred, false)
	return p, nil
}

// formFile is the file of a form, held to the policy's length.
type formFile struct {
	r      io.Reader
	n      int64
	policy *formPolicy
}

func (f *formFile) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	f.n += int64(n)
	switch {
	case f.n > f.policy.most:
		return n, errEntityTooLarge
	case errors.Is(err, io.EOF) && f.n < f.policy.least:
		return n, errEntityTooSmall
	case err != nil && !errors.Is(err, io.EOF):
		return n, errMalformedPOST.wrap(err)
	}
	return n, err
}

// storeForm puts the object and answers as the form wants.
func (q *request) storeForm(f *form) error {
	p, aerr := parseKey(q.key)
	if aerr != nil {
		return aerr
	}
	if p.isDir() {
		return errInvalidArgument.with("A key that ends in a slash is a directory and holds no data.")
	}
	attrs, aerr := q.readAttributes()
	if aerr != nil {
		return aerr
	}
	rec, err := q.putBody(p, attrs, writeCondition{})
	if err != nil {
		return err
	}
	q.written(rec)
	h := q.w.Header()
	location := "/" + q.bucketName + "/" + uriEncode(q.key, false)
	setHeader(h, "Location", location)
	if to := f.fields["success_action_redirect"]; to != "" {
		if u, err := url.Parse(to); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
			v := u.Query()
			v.Set("bucket", q.bucketName)
			v.Set("key", q.key)
			v.Set("etag", `"`+rec.ETag+`"`)
			u.RawQuery = v.Encode()
			setHeader(h, "Location", u.String())
			q.w.WriteHeader(http.StatusSeeOther)
			return nil
		}
	}
	switch f.fields["success_action_status"] {
	case "200":
		q.w.WriteHeader(http.StatusOK)
		return nil
	case "201":
		q.writeXML(http.StatusCreated, &struct {
			XMLName  xml.Name `xml:"PostResponse"`
			Location string
			Bucket   string
			Key      string
			ETag     string
		}{Location: location, Bucket: q.bucketName, Key: q.key, ETag: `"` + rec.ETag + `"`})
		return nil
	}
	return q.noContent()
}
