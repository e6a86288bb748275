package s3

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

const (
	maxPolicy     = 20 << 10
	maxStatements = 256
)

// stringList reads a string or a list of strings.
type stringList []string

func (l *stringList) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*l = stringList{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// principal is "*", or lists by kind.
type principal struct {
	any bool
	ids []string
}

func (p *principal) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		if one != "*" {
			return errMalformedPolicy
		}
		p.any = true
		return nil
	}
	var m map[string]stringList
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	for kind, ids := range m {
		switch kind {
		case "AWS", "Qumulo", "Manifold", "CanonicalUser":
		default:
			return errMalformedPolicy
		}
		for _, id := range ids {
			if id == "*" {
				p.any = true
			}
			p.ids = append(p.ids, id)
		}
	}
	return nil
}

type statement struct {
	Sid          string
	Effect       string
	Principal    *principal
	NotPrincipal *principal
	Action       stringList
	NotAction    stringList
	Resource     stringList
	NotResource  stringList
	Condition    map[string]map[string]stringList
}

type policy struct {
	Version    string
	ID         string `json:"Id"`
	Statement  statements
	Statements statements
}

// statements reads one statement or a list.
type statements []statement

func (s *statements) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '{' {
		var one statement
		if err := strictJSON(b, &one); err != nil {
			return err
		}
		*s = statements{one}
		return nil
	}
	return strictJSON(b, (*[]statement)(s))
}

func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

const arnPrefix = "arn:aws:s3:::"

func parsePolicy(b []byte, bucket string) (*policy, *apiError) {
	if len(b) > maxPolicy {
		return nil, errMalformedPolicy.with("Policies are at most 20 KiB.")
	}
	var p policy
	if err := strictJSON(b, &p); err != nil {
		return nil, errMalformedPolicy.wrap(err)
	}
	p.Statement = append(p.Statement, p.Statements...)
	if len(p.Statement) == 0 || len(p.Statement) > maxStatements {
		return nil, errMalformedPolicy.with("Missing required field Statement")
	}
	if p.Version != "" && p.Version != "2012-10-17" && p.Version != "2008-10-17" {
		return nil, errMalformedPolicy.with("The policy must contain a valid version string")
	}
	for i := range p.Statement {
		st := &p.Statement[i]
		switch {
		case st.Effect != "Allow" && st.Effect != "Deny":
			return nil, errMalformedPolicy.with("Invalid effect: " + st.Effect)
		case (st.Principal == nil) == (st.NotPrincipal == nil):
			return nil, errMalformedPolicy.with("Missing required field Principal")
		case (len(st.Action) == 0) == (len(st.NotAction) == 0):
			return nil, errMalformedPolicy.with("Missing required field Action")
		case len(st.Resource) != 0 && len(st.NotResource) != 0:
			return nil, errMalformedPolicy.with("Policy has invalid resource")
		}
		for _, a := range slices.Concat(st.Action, st.NotAction) {
			if a != "*" && !strings.HasPrefix(strings.ToLower(a), "s3:") {
				return nil, errMalformedPolicy.with("Policy has invalid action")
			}
		}
		for _, r := range slices.Concat(st.Resource, st.NotResource) {
			name, ok := strings.CutPrefix(r, arnPrefix)
			name, _, _ = strings.Cut(name, "/")
			if !ok && r != "*" || ok && !matchGlob(name, bucket) {
				return nil, errMalformedPolicy.with("Policy has invalid resource")
			}
		}
		for operator, keys := range st.Condition {
			if !knownOperator(operator) {
				return nil, errMalformedPolicy.with("Invalid Condition type : " + operator)
			}
			for key := range keys {
				// A condition that is never true would open what a Deny closes.
				if !knownCondition(key) {
					return nil, errMalformedPolicy.with("Policy has an invalid condition key: " + key)
				}
			}
		}
	}
	return &p, nil
}

// matchGlob matches "*" and "?" in time linear in pattern times text.
func matchGlob(pattern, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			star, mark = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == s[i]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	for j < len(pattern) && pattern[j] == '*' {
		j++
	}
	return j == len(pattern)
}

func (q *request) isPrincipal(p *principal) bool {
	if p.any {
		return true
	}
	for _, want := range p.ids {
		if a, ok := authIDText(want); ok && q.caller.Cred.Is(a) {
			return true
		}
	}
	if q.access == nil {
		return false
	}
	id, name := q.s.o.Names.OwnerID(q.ctx, q.caller.Cred.User)
	for _, want := range p.ids {
		// arn:aws:iam::account:user/name, or the identity itself.
		if want == id || want == name || want == q.access.ID {
			return true
		}
		if rest, ok := strings.CutPrefix(want, "arn:aws:iam::"); ok {
			account, user, _ := strings.Cut(rest, ":")
			if user == "root" && account == id {
				return true
			}
			if u, ok := strings.CutPrefix(user, "user/"); ok && (u == id || u == name) {
				return true
			}
		}
	}
	return false
}

// decision of a policy.
type decision int

const (
	silent decision = iota
	allowed
	denied
)

// judge asks a policy about one action on one resource.
func (q *request) judge(p *policy, b *Bucket, action, key string) decision {
	arn := arnPrefix + b.Name
	if key != "" {
		arn += "/" + key
	}
	d := silent
	for i := range p.Statement {
		st := &p.Statement[i]
		switch {
		case st.Principal != nil && !q.isPrincipal(st.Principal):
			continue
		case st.NotPrincipal != nil && q.isPrincipal(st.NotPrincipal):
			continue
		case len(st.Action) != 0 && !matchAction(st.Action, action):
			continue
		case len(st.NotAction) != 0 && matchAction(st.NotAction, action):
			continue
		case len(st.Resource) != 0 && !matchAny(st.Resource, arn):
			continue
		case len(st.NotResource) != 0 && matchAny(st.NotResource, arn):
			continue
		case !q.conditionsHold(st.Condition, b, key):
			continue
		}
		if st.Effect == "Deny" {
			return denied
		}
		d = allowed
	}
	return d
}

func matchAction(patterns stringList, action string) bool {
	action = strings.ToLower("s3:" + action)
	return slices.ContainsFunc(patterns, func(p string) bool { return matchGlob(strings.ToLower(p), action) })
}

func matchAny(patterns stringList, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matchGlob(p, s) })
}

// allow asks the bucket's policy, and then the roles of who asks.
func (q *request) allow(b *Bucket, action, key string) error {
	err := q.policyAllows(b, action, key)
	if err != nil && q.operator(action) {
		return nil
	}
	return err
}

// operator tells whether a role covers an action whatever a policy says.
func (q *request) operator(action string) bool {
	if q.access == nil || q.access.Operator == nil || !(Operator{true, true, true, true}).may(action) {
		return false
	}
	o, err := q.access.Operator(q.ctx)
	if err != nil {
		q.s.o.Log.WarnContext(q.ctx, "s3: roles not read", "error", err)
		return false
	}
	return o.may(action)
}

// policyAllows asks the bucket's policy. Without one, every authenticated caller
// passes; with one, callers other than the owner need a statement that allows.
// What passes is then up to the file system.
func (q *request) policyAllows(b *Bucket, action, key string) error {
	if action == "" { // asked for each key in turn
		return nil
	}
	if len(b.Policy) == 0 {
		if q.access == nil && !b.Anonymous {
			return errAccessDenied
		}
		return nil
	}
	p, err := parsePolicy(b.Policy, b.Name)
	if err != nil {
		// Accepted once; whatever it means, it does not mean everybody.
		if q.isOwner(b) {
			return nil
		}
		return errAccessDenied.wrap(err)
	}
	switch q.judge(p, b, action, key) {
	case denied:
		// The owner can always mend a policy that locks everybody out.
		if q.isOwner(b) && (action == "GetBucketPolicy" || action == "PutBucketPolicy" || action == "DeleteBucketPolicy") {
			return nil
		}
		return errAccessDenied
	case silent:
		if !q.isOwner(b) {
			return errAccessDenied
		}
	}
	return nil
}

func knownOperator(name string) bool {
	name = strings.TrimSuffix(name, "IfExists")
	switch name {
	case "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike",
		"IpAddress", "NotIpAddress", "Bool", "Null":
		return true
	}
	return false
}

func knownCondition(key string) bool {
	k := strings.ToLower(key)
	switch k {
	case "aws:sourceip", "aws:securetransport", "aws:useragent", "aws:referer", "aws:username",
		"s3:prefix", "s3:delimiter", "s3:max-keys", "s3:versionid":
		return true
	}
	return strings.HasPrefix(k, "s3:x-amz-") || strings.HasPrefix(k, existingTag) || strings.HasPrefix(k, requestTag)
}

const (
	existingTag = "s3:existingobjecttag/"
	requestTag  = "s3:requestobjecttag/"
)

// tagValue finds a tag of the object that is there, or of the request.
func (q *request) tagValue(key string, b *Bucket, object string) (string, bool) {
	_, name, _ := strings.Cut(key, "/")
	var tags []tag
	if strings.HasPrefix(strings.ToLower(key), requestTag) {
		tags, _ = parseTagQuery(q.r.Header.Get("X-Amz-Tagging"))
	} else if o, err := q.locate(b, object, q.query.get("versionId")); err == nil {
		tags, _ = q.objectTags(o.attr.Node)
	}
	for _, t := range tags {
		if t.Key == name {
			return t.Value, true
		}
	}
	return "", false
}

// conditionValue finds what a condition key stands for in this request.
func (q *request) conditionValue(key string, b *Bucket, object string) (string, bool) {
	switch k := strings.ToLower(key); k {
	case "aws:sourceip":
		return q.caller.Client.Addr().Unmap().String(), true
	case "aws:securetransport":
		return map[bool]string{true: "true", false: "false"}[q.r.TLS != nil], true
	case "aws:useragent":
		return q.r.UserAgent(), q.r.UserAgent() != ""
	case "aws:referer":
		return q.r.Referer(), q.r.Referer() != ""
	case "aws:username":
		_, name := q.s.o.Names.OwnerID(q.ctx, q.caller.Cred.User)
		return name, q.access != nil
	case "s3:prefix", "s3:delimiter", "s3:max-keys":
		return q.query.find(k[3:])
	case "s3:versionid":
		return q.query.find("versionId")
	default:
		if strings.HasPrefix(k, existingTag) || strings.HasPrefix(k, requestTag) {
			return q.tagValue(key, b, object)
		}
		if h, ok := strings.CutPrefix(k, "s3:x-amz-"); ok {
			v, ok := q.r.Header[http.CanonicalHeaderKey("x-amz-"+h)]
			if !ok {
				return "", false
			}
			return strings.TrimPrefix(v[0], "/"), true
		}
	}
	return "", false
}

func (q *request) conditionsHold(c map[string]map[string]stringList, b *Bucket, object string) bool {
	for operator, keys := range c {
		for key, want := range keys {
			got, there := q.conditionValue(key, b, object)
			if !conditionHolds(operator, want, got, there) {
				return false
			}
		}
	}
	return true
}

func conditionHolds(operator string, want stringList, got string, there bool) bool {
	name, ifExists := strings.CutSuffix(operator, "IfExists")
	if name == "Null" {
		return len(want) == 1 && (want[0] == "true") == !there
	}
	negative := strings.Contains(name, "Not")
	if !there {
		return ifExists || negative
	}
	match := slices.ContainsFunc(want, func(w string) bool {
		switch strings.Replace(name, "Not", "", 1) {
		case "StringEquals":
			return w == got
		case "StringEqualsIgnoreCase", "Bool":
			return strings.EqualFold(w, got)
		case "StringLike":
			return matchGlob(w, got)
		case "IpAddress":
			a, err := netip.ParseAddr(got)
			if p, perr := netip.ParsePrefix(w); err == nil && perr == nil {
				return p.Contains(a)
			}
			b, berr := netip.ParseAddr(w)
			return err == nil && berr == nil && a == b
		}
		return false
	})
	return match != negative
}

func (q *request) getPolicy() error {
	if err := q.needOwner(); err != nil {
		return err
	}
	if len(q.bucket.Policy) == 0 {
		return errNoSuchPolicy
	}
	q.writeRaw(http.StatusOK, "application/json", q.bucket.Policy)
	return nil
}

func (q *request) putPolicy() error {
	if err := q.needOwner(); err != nil {
		return err
	}
	b, err := q.body.document(maxConfig)
	if err != nil {
		return err
	}
	if b, err = q.pinPrincipals(b); err != nil {
		return err
	}
	if err := q.update(func(r *Bucket) error { r.Policy = b; return nil }); err != nil {
		return err
	}
	return q.noContent()
}

// pinPrincipals checks a policy and makes ids of the names in it that are ours,
// so that a name which is deleted and made again is not let in.
func (q *request) pinPrincipals(b []byte) ([]byte, *apiError) {
	if _, err := parsePolicy(b, q.bucketName); err != nil {
		return nil, err
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, errMalformedPolicy.wrap(err)
	}
	changed := false
	statements := slices.Concat(fields(doc, "Statement"), fields(doc, "Statements"))
	for _, st := range statements {
		st, _ := st.(map[string]any)
		for _, p := range slices.Concat(fields(st, "Principal"), fields(st, "NotPrincipal")) {
			p, _ := p.(map[string]any)
			pinned, err := q.pinPrincipal(p)
			if err != nil {
				return nil, err
			}
			changed = changed || pinned
		}
	}
	if !changed {
		return b, nil
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return nil, errInternal.wrap(err)
	}
	// Ids may be longer than names: what is stored must be read again.
	_, aerr := parsePolicy(out, q.bucketName)
	return out, aerr
}

// fields lists what is under a name, which is the same whatever its case: so it
// is for those who read policies.
func fields(m map[string]any, name string) (out []any) {
	for k, v := range m {
		if strings.EqualFold(k, name) {
			out = append(out, listOf(v)...)
		}
	}
	return out
}

// listOf is v, or v alone if it is no list.
func listOf(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

// pinPrincipal changes names to ids, and tells whether there were any.
func (q *request) pinPrincipal(p map[string]any) (changed bool, err *apiError) {
	for _, kind := range []string{"Qumulo", "Manifold"} {
		if p[kind] == nil {
			continue
		}
		list := slices.Clone(listOf(p[kind]))
		for i, e := range list {
			text, _ := e.(string)
			if _, ok := authIDText(text); ok || text == "*" {
				continue
			}
			a, ok := q.s.o.Names.Principal(q.ctx, text)
			if !ok {
				return false, errMalformedPolicy.with("Invalid principal in policy: " + text)
			}
			list[i] = "auth_id:" + formatInt(int64(a))
			changed = true
		}
		p[kind] = list
	}
	return changed, nil
}

func (q *request) deletePolicy() error {
	if err := q.needOwner(); err != nil {
		return err
	}
	if err := q.update(func(r *Bucket) error { r.Policy = nil; return nil }); err != nil {
		return err
	}
	return q.noContent()
}

func (q *request) getPolicyStatus() error {
	var out struct {
		XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ PolicyStatus"`
		IsPublic bool
	}
	if len(q.bucket.Policy) != 0 {
		p, err := parsePolicy(q.bucket.Policy, q.bucketName)
		if err != nil {
			return err
		}
		out.IsPublic = slices.ContainsFunc(p.Statement, func(s statement) bool {
			return s.Effect == "Allow" && s.Principal != nil && s.Principal.any && len(s.Condition) == 0
		})
	}
	q.writeXML(http.StatusOK, &out)
	return nil
}
