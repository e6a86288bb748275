package s3

import (
	"encoding/hex"
	"errors"
	"net/http"
	"time"
)

// authenticate finds out who calls and what was promised about the body.
func (q *request) authenticate() error {
	r := q.r
	auth, inHeader := r.Header["Authorization"]
	inQuery := q.query.has("X-Amz-Signature") || q.query.has("X-Amz-Algorithm") || q.query.has("X-Amz-Credential")
	switch {
	case inHeader && inQuery:
		return errInvalidArgument.with("Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
	case q.query.has("AWSAccessKeyId") && q.query.has("Signature"):
		return errAuthMalformed.with("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	case inHeader && auth[0] == "":
		return errAccessDenied
	case inHeader:
		sig, err := parseAuthorization(auth[0])
		if err != nil {
			return err
		}
		if sig.time, err = requestTime(r); err != nil {
			return err
		}
		q.sig = sig
	case inQuery:
		sig, err := parsePresigned(q.query)
		if err != nil {
			return err
		}
		q.sig = sig
	default:
		if q.s.o.Guest == nil {
			return errAccessDenied
		}
		guest := q.s.o.Guest()
		if guest == nil {
			return errAccessDenied
		}
		q.setCaller(guest, true)
		p, err := q.s.openPayload(r, nil, nil, false)
		if err != nil {
			return err
		}
		q.body = p
		return nil
	}
	return q.checkSignature()
}

// requestTime is what the signature was made at.
func requestTime(r *http.Request) (time.Time, *apiError) {
	if v := r.Header.Get("X-Amz-Date"); v != "" {
		if t, err := time.Parse(amzTimeFormat, v); err == nil {
			return t, nil
		}
		return time.Time{}, errAccessDenied.with("AWS authentication requires a valid Date or x-amz-date header")
	}
	v := r.Header.Get("Date")
	if t, err := http.ParseTime(v); err == nil {
		return t, nil
	}
	if t, err := time.Parse(amzTimeFormat, v); err == nil {
		return t, nil
	}
	return time.Time{}, errAccessDenied.with("AWS authentication requires a valid Date or x-amz-date header")
}

func (q *request) checkSignature() error {
	sig, now := q.sig, q.s.o.Now()
	if d := sig.time.Sub(now); sig.presigned {
		if d > maxSkew {
			return errAccessDenied.with("Request is not valid yet")
		}
		if now.Sub(sig.time) > sig.expires {
			return errExpired.detail("Expires", sig.time.Add(sig.expires).UTC().Format(time.RFC3339)).
				detail("ServerTime", now.UTC().Format(time.RFC3339))
		}
	} else if d > maxSkew || d < -maxSkew {
		return errRequestTimeTooSkew.detail("RequestTime", sig.time.UTC().Format(amzTimeFormat)).
			detail("ServerTime", now.UTC().Format(time.RFC3339)).
			detail("MaxAllowedSkewMilliseconds", formatInt(maxSkew.Milliseconds()))
	}
	if sig.time.UTC().Format(amzDateFormat) != sig.scope.date {
		if sig.presigned {
			return errAuthQuery.with("Invalid credential date. Date is not the same as X-Amz-Date.")
		}
		return errSignature.with("Invalid credential date. Date is not the same as X-Amz-Date.")
	}
	if want := q.s.o.Region; want != "" && sig.scope.region != want {
		e := errAuthMalformed
		if sig.presigned {
			e = errAuthQuery
		}
		return e.with("The authorization header is malformed; the region '"+sig.scope.region+"' is wrong; expecting '"+want+"'").detail("Region", want)
	}
	q.claimed = sig.scope.key
	key, err := q.s.o.Keys.AccessKey(q.ctx, sig.scope.key)
	if errors.Is(err, ErrNoKey) {
		return errInvalidAccessKey.detail("AWSAccessKeyId", sig.scope.key)
	}
	if err != nil {
		return errInternal.wrap(err)
	}
	content, told := q.r.Header["X-Amz-Content-Sha256"]
	switch {
	case sig.presigned && !told:
		content = []string{unsigned}
	case !told:
		return errInvalidRequest.with("Missing required header for this request: x-amz-content-sha256")
	}
	for n := range q.r.Header {
		// What steers the operation must be under the signature.
		if len(n) > 6 && n[:6] == "X-Amz-" && n != "X-Amz-Content-Sha256" && !sig.covers(n) {
			return errAccessDenied.with("There were headers present in the request which were not signed").detail("HeadersNotSigned", n)
		}
	}
	canonical := canonicalRequest(q.r, q.path, q.query, sig, content[0])
	want := hmacSHA256(q.s.signing.get(&sig.scope, key.Secret), stringToSign(sigAlgorithm, sig.time, &sig.scope, hexSHA256(canonical)))
	if !equalHex(hex.EncodeToString(want), sig.hex) {
		return errSignature.detail("AWSAccessKeyId", sig.scope.key)
	}
	q.access = key
	q.setCaller(key.Cred, false)
	p, aerr := q.s.openPayload(q.r, sig, key, q.r.Method == http.MethodPost && q.query.has("uploadId"))
	if aerr != nil {
		return aerr
	}
	q.body = p
	return nil
}

// covers tells whether a canonical header name was signed.
func (s *signature) covers(canonical string) bool {
	for _, n := range s.signed {
		if http.CanonicalHeaderKey(n) == canonical {
			return true
		}
	}
	return false
}
