package s3

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
)

const maxCORSRules = 100

type corsRule struct {
	ID            string `xml:",omitempty"`
	AllowedMethod []string
	AllowedOrigin []string
	AllowedHeader []string `xml:",omitempty"`
	ExposeHeader  []string `xml:",omitempty"`
	MaxAgeSeconds *int     `xml:",omitempty"`
}

type corsXML struct {
	XMLName xml.Name   `xml:"CORSConfiguration"`
	Rules   []corsRule `xml:"CORSRule"`
}

func parseCORS(b []byte) (*corsXML, *apiError) {
	var c corsXML
	if err := decodeXML(b, &c); err != nil {
		return nil, err
	}
	if len(c.Rules) == 0 || len(c.Rules) > maxCORSRules {
		return nil, errMalformedXML
	}
	for i := range c.Rules {
		r := &c.Rules[i]
		if len(r.AllowedMethod) == 0 || len(r.AllowedOrigin) == 0 {
			return nil, errMalformedXML
		}
		for _, m := range r.AllowedMethod {
			switch m {
			case "GET", "PUT", "POST", "DELETE", "HEAD":
			default:
				return nil, errInvalidRequest.with("Found unsupported HTTP method in CORS config. Unsupported method is " + m)
			}
		}
		for _, list := range [][]string{r.AllowedOrigin, r.AllowedHeader} {
			for _, v := range list {
				if strings.Count(v, "*") > 1 {
					return nil, errInvalidRequest.with("AllowedOrigin and AllowedHeader can have at most one *.")
				}
			}
		}
	}
	return &c, nil
}

// match finds the first rule that lets the origin do the method.
func (c *corsXML) match(origin, method string, headers []string) *corsRule {
	for i := range c.Rules {
		r := &c.Rules[i]
		if !slices.Contains(r.AllowedMethod, method) ||
			!slices.ContainsFunc(r.AllowedOrigin, func(p string) bool { return matchGlob(p, origin) }) {
			continue
		}
		if slices.ContainsFunc(headers, func(h string) bool {
			return !slices.ContainsFunc(r.AllowedHeader, func(p string) bool { return matchGlob(strings.ToLower(p), h) })
		}) {
			continue
		}
		return r
	}
	return nil
}

func (r *corsRule) write(h http.Header, origin, method string, headers []string) {
	if slices.Contains(r.AllowedOrigin, "*") {
		setHeader(h, "Access-Control-Allow-Origin", "*")
	} else {
		setHeader(h, "Access-Control-Allow-Origin", origin)
		setHeader(h, "Access-Control-Allow-Credentials", "true")
	}
	setHeader(h, "Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
	setHeader(h, "Access-Control-Allow-Methods", method)
	if len(headers) > 0 {
		setHeader(h, "Access-Control-Allow-Headers", strings.Join(headers, ", "))
	}
	if len(r.ExposeHeader) > 0 {
		setHeader(h, "Access-Control-Expose-Headers", strings.Join(r.ExposeHeader, ", "))
	}
	if r.MaxAgeSeconds != nil {
		setHeader(h, "Access-Control-Max-Age", formatInt(int64(*r.MaxAgeSeconds)))
	}
}

// corsHeaders adds what a browser needs to an actual request.
func (q *request) corsHeaders() {
	origin := q.r.Header.Get("Origin")
	if origin == "" || len(q.bucket.CORS) == 0 {
		return
	}
	c, err := parseCORS(q.bucket.CORS)
	if err != nil {
		return
	}
	method := q.r.Method
	if m := q.r.Header.Get("Access-Control-Request-Method"); m != "" {
		method = m
	}
	if r := c.match(origin, method, nil); r != nil {
		r.write(q.w.Header(), origin, method, nil)
	}
}

// preflight answers OPTIONS, which is never signed.
func (q *request) preflight() error {
	forbidden := newError(http.StatusForbidden, "AccessForbidden", "CORSResponse: This CORS request is not allowed.")
	origin, method := q.r.Header.Get("Origin"), q.r.Header.Get("Access-Control-Request-Method")
	if origin == "" {
		return newError(http.StatusBadRequest, "BadRequest", "Insufficient information. Origin request header needed.")
	}
	if method == "" {
		return newError(http.StatusBadRequest, "BadRequest", "Insufficient information. Access-Control-Request-Method request header needed.")
	}
	if q.bucketName == "" {
		return forbidden
	}
	b, err := q.s.o.Buckets.Bucket(q.ctx, q.bucketName)
	if err != nil || len(b.CORS) == 0 {
		return forbidden
	}
	c, aerr := parseCORS(b.CORS)
	if aerr != nil {
		return aerr
	}
	var headers []string
	for _, v := range q.r.Header.Values("Access-Control-Request-Headers") {
		for h := range strings.SplitSeq(v, ",") {
			if h = strings.ToLower(strings.TrimSpace(h)); h != "" {
				headers = append(headers, h)
			}
		}
	}
	r := c.match(origin, method, headers)
	if r == nil {
		return forbidden
	}
	r.write(q.w.Header(), origin, method, headers)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) getCORS() error {
	if len(q.bucket.CORS) == 0 {
		return errNoSuchCORS
	}
	c, err := parseCORS(q.bucket.CORS)
	if err != nil {
		return err
	}
	c.XMLName = xml.Name{Space: xmlns, Local: "CORSConfiguration"}
	q.writeXML(http.StatusOK, c)
	return nil
}

func (q *request) putCORS() error {
	if err := q.needOwner(); err != nil {
		return err
	}
	b, err := q.body.document(maxConfig)
	if err != nil {
		return err
	}
	if _, err := parseCORS(b); err != nil {
		return err
	}
	if err := q.update(func(r *Bucket) error { r.CORS = b; return nil }); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) deleteCORS() error {
	if err := q.needOwner(); err != nil {
		return err
	}
	if err := q.update(func(r *Bucket) error { r.CORS = nil; return nil }); err != nil {
		return err
	}
	return q.noContent()
}
