package s3

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// param is one decoded query parameter; order is kept.
type param struct {
	name, value string
}

type query []param

// parseQuery decodes a raw query. "+" is a space, as in forms.
func parseQuery(raw string) (query, *apiError) {
	if raw == "" {
		return nil, nil
	}
	var q query
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if len(q) >= maxQueryParams {
			return nil, errInvalidArgument.with("Too many query parameters.")
		}
		n, v, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(n)
		value, err2 := url.QueryUnescape(v)
		if err != nil || err2 != nil {
			return nil, errInvalidURI
		}
		q = append(q, param{name, value})
	}
	return q, nil
}

func (q query) find(name string) (string, bool) {
	for i := range q {
		if q[i].name == name {
			return q[i].value, true
		}
	}
	return "", false
}

func (q query) get(name string) string { v, _ := q.find(name); return v }

func (q query) has(name string) bool { _, ok := q.find(name); return ok }

// canonical is the sorted form that is signed; presigned leaves the signature out.
func (q query) canonical(presigned bool) string {
	if len(q) == 0 {
		return ""
	}
	enc := make([]string, 0, len(q))
	for i := range q {
		if presigned && q[i].name == "X-Amz-Signature" {
			continue
		}
		enc = append(enc, uriEncode(q[i].name, true)+"="+uriEncode(q[i].value, true))
	}
	slices.SortFunc(enc, func(a, b string) int {
		// By name first: "=" would sort above some bytes of longer names.
		an, av, _ := strings.Cut(a, "=")
		bn, bv, _ := strings.Cut(b, "=")
		if c := strings.Compare(an, bn); c != 0 {
			return c
		}
		return strings.Compare(av, bv)
	})
	return strings.Join(enc, "&")
}

func parseUint(s string, most uint64) (uint64, bool) {
	if s == "" || len(s) > 20 || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= most
}

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }
