package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/identity"
)

// Policies travel as JSON that this room knows only so far as it must: it makes
// ids of the names of principals, and names of the ids.

type explainBucket struct {
	Identity *identityQuery `json:"identity"`
}

type bucketAccess struct {
	Allowed    []string          `json:"allowed_actions"`
	Identity   *identityRecord   `json:"identity"`
	RBAC       []string          `json:"rbac_allowed_actions"`
	Statements []statementAccess `json:"statement_access"`
}

type statementAccess struct {
	Allow   bool     `json:"allow"`
	Actions []string `json:"actions"`
}

func s3PolicyTag(b *config.Record[config.Bucket]) string {
	h := fnv.New64a()
	_, _ = h.Write(b.Value.Policy)
	return tag(b.ID, h.Sum64())
}

// spelled gives fields of m their usual spelling: the S3 server, which reads the
// stored form, knows them in any case. A field given twice is refused.
func spelled(m map[string]any, names ...string) error {
	for k, v := range m {
		i := slices.IndexFunc(names, func(n string) bool { return n != k && strings.EqualFold(n, k) })
		if i < 0 {
			continue
		}
		if _, twice := m[names[i]]; twice {
			return badRequest("s3_bucket_policy_invalid_error", "MalformedPolicy: %s is given twice", names[i])
		}
		delete(m, k)
		m[names[i]] = v
	}
	return nil
}

// statementsOf answers the statements of a policy, under either name.
func statementsOf(doc map[string]any) []map[string]any {
	var out []map[string]any
	for _, name := range []string{"Statement", "Statements"} {
		switch v := doc[name].(type) {
		case map[string]any:
			out = append(out, v)
		case []any:
			for _, e := range v {
				if m, ok := e.(map[string]any); ok {
					out = append(out, m)
				}
			}
		}
	}
	return out
}

// principalsOf calls f with each of our own principals of a statement, to be replaced by its answer.
func principalsOf(st map[string]any, f func(string) (string, error)) error {
	for _, field := range []string{"Principal", "NotPrincipal"} {
		m, _ := st[field].(map[string]any)
		for _, kind := range []string{"Qumulo", "Manifold"} {
			list, ok := m[kind].([]any)
			if one, is := m[kind].(string); is {
				list, ok = []any{one}, true
			}
			if !ok {
				continue
			}
			for i, e := range list {
				s, _ := e.(string)
				if s == "*" {
					continue
				}
				r, err := f(s)
				if err != nil {
					return err
				}
				list[i] = r
			}
			m[kind] = list
		}
	}
	return nil
}

func (q *request) renderPolicy(rec *config.Record[config.Bucket]) (reply, error) {
	doc := map[string]any{}
	if len(rec.Value.Policy) > 0 {
		if err := json.Unmarshal(rec.Value.Policy, &doc); err != nil {
			return reply{}, fault(err)
		}
	}
	sts := statementsOf(doc)
	for i, st := range sts {
		st["Index"] = i + 1
		err := principalsOf(st, func(s string) (string, error) {
			n, err := strconv.ParseUint(strings.TrimPrefix(s, "auth_id:"), 10, 64)
			if err != nil || !strings.HasPrefix(s, "auth_id:") {
				return s, nil
			}
			t, err := q.textOf(identity.AuthID(n))
			switch {
			case err != nil:
				return s, err
			case t.Type == "LOCAL_USER" || t.Type == "LOCAL_GROUP":
				if t.Value == strconv.FormatUint(n, 10) {
					return s, nil // its account is gone
				}
				return "local:" + t.Value, nil
			case t.Type == "NFS_UID":
				return "uid:" + t.Value, nil
			case t.Type == "NFS_GID":
				return "gid:" + t.Value, nil
			case identity.AuthID(n) == identity.Everyone:
				return "world:Everyone", nil
			}
			return s, nil
		})
		if err != nil {
			return reply{}, err
		}
	}
	if len(sts) > 0 {
		delete(doc, "Statements")
		doc["Statement"] = sts
	}
	return reply{body: doc, tag: s3PolicyTag(rec)}, nil
}

func getBucketPolicy(q *request) (reply, error) {
	rec, err := q.bucket()
	if err != nil {
		return reply{}, err
	}
	return q.renderPolicy(&rec)
}

// readPolicy makes the stored form of a policy, nil for none.
func (q *request) readPolicy(doc map[string]any) ([]byte, error) {
	if len(doc) == 0 {
		return nil, nil
	}
	for k, v := range doc {
		if v == nil {
			delete(doc, k)
		}
	}
	if err := spelled(doc, "Statement", "Statements"); err != nil {
		return nil, err
	}
	for _, st := range statementsOf(doc) {
		if err := spelled(st, "Index", "Principal", "NotPrincipal", "Resource", "NotResource"); err != nil {
			return nil, err
		}
		delete(st, "Index")
		for k, v := range st {
			if v == nil {
				delete(st, k)
			}
		}
		if st["Resource"] != nil || st["NotResource"] != nil {
			// Clients look for the word and go on without it: a policy belongs to one bucket.
			return nil, badRequest("s3_bucket_policy_invalid_error", "ResourceSpecified: a statement of a bucket's policy names no resource here")
		}
		err := principalsOf(st, func(s string) (string, error) {
			a, err := q.ofText(s)
			return "auth_id:" + strconv.FormatUint(uint64(a), 10), err
		})
		if err != nil {
			return nil, err
		}
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return b, q.bucketError(q.params[0], q.s.o.S3.CheckPolicy(q.params[0], b))
}

func putBucketPolicy(q *request) (reply, error) {
	in, err := body[map[string]any](q)
	if err != nil {
		return reply{}, err
	}
	removeSelf, err := q.argBool("allow-remove-self")
	if err != nil {
		return reply{}, err
	}
	old, err := q.bucket()
	if err != nil {
		return reply{}, err
	}
	conditional, err := q.match(s3PolicyTag(&old))
	if err != nil {
		return reply{}, err
	}
	doc, err := q.readPolicy(in)
	if err != nil {
		return reply{}, err
	}
	me := identity.AuthID(q.ses.User.ID)
	if doc != nil && !removeSelf && !q.ses.Caller.Cred.IsUser(old.Value.Owner) {
		x, err := q.s.o.S3.ExplainPolicy(q.Context(), q.params[0], doc, me)
		if err != nil {
			return reply{}, q.bucketError(q.params[0], err)
		}
		if !slices.Contains(x.Allowed, "s3:PutBucketPolicy") {
			return reply{}, badRequest("s3_bucket_policy_remove_self_error", "under this policy you could not change it again; allow-remove-self accepts that")
		}
	}
	rec, err := q.s.o.S3Buckets.ChangeBucket(q.Context(), q.params[0], func(b *config.Bucket) error {
		if conditional && !bytes.Equal(b.Policy, old.Value.Policy) {
			return config.ErrStale
		}
		b.Policy = doc
		return nil
	})
	if err != nil {
		return reply{}, q.bucketError(q.params[0], err)
	}
	if doc == nil {
		return reply{tag: s3PolicyTag(&rec)}, nil
	}
	return q.renderPolicy(&rec)
}

// rbacActions are what roles let an administrator do whatever a policy says.
func rbacActions(has func(control.Privilege) bool) []string {
	out := []string{}
	for _, x := range []struct {
		p       control.Privilege
		actions []string
	}{
		{control.S3BucketsRead, []string{"s3:GetBucketPolicy", "s3:GetBucketVersioning"}},
		{control.S3BucketsWrite, []string{"s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:PutBucketPolicy", "s3:PutBucketVersioning"}},
		{control.S3UploadsRead, []string{"s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts"}},
		{control.S3UploadsWrite, []string{"s3:AbortMultipartUpload"}},
	} {
		if has(x.p) {
			out = append(out, x.actions...)
		}
	}
	slices.Sort(out)
	return out
}

func explainBucketAccess(q *request) (reply, error) {
	in, err := body[explainBucket](q)
	if err != nil {
		return reply{}, err
	}
	rec, err := q.bucket()
	if err != nil {
		return reply{}, err
	}
	out := bucketAccess{Allowed: []string{}, RBAC: []string{}, Statements: []statementAccess{}}
	who := identity.Unset
	if in.Identity != nil {
		if who, err = q.resolveIdentity(*in.Identity); err != nil {
			return reply{}, err
		}
		r, err := q.identityOf(who)
		if err != nil {
			return reply{}, err
		}
		out.Identity = &r
		l, err := q.localOf(who)
		if err != nil {
			return reply{}, err
		}
		if l.user != nil {
			held, err := q.s.svc.PrivilegesOf(q.Context(), *l.user)
			if err != nil {
				return reply{}, err
			}
			out.RBAC = rbacActions(func(p control.Privilege) bool { return held[p] })
		}
	}
	x, err := q.s.o.S3.ExplainPolicy(q.Context(), q.params[0], rec.Value.Policy, who)
	if errors.Is(err, config.ErrNotFound) && who != identity.Unset {
		return reply{}, badRequest("cred_identity_not_supported_error", "nobody can act as that identity")
	}
	if err != nil {
		return reply{}, q.bucketError(q.params[0], err)
	}
	out.Allowed = append(out.Allowed, x.Allowed...)
	for _, st := range x.Statements {
		out.Statements = append(out.Statements, statementAccess{st.Allow, append([]string{}, st.Actions...)})
	}
	return reply{body: out}, nil
}
