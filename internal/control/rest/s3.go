package rest

import (
	"errors"
	"strconv"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/identity"
)

type s3Settings struct {
	Enabled  bool   `json:"enabled"`
	BasePath string `json:"base_path"`
	// UploadExpiry is a number and a unit, as "1days", or "never".
	UploadExpiry string `json:"multipart_upload_expiry_interval"`
	// Secure: HTTPS only.
	Secure bool `json:"secure"`
	// Domains and OpaqueETags are ours.
	Domains     []string `json:"domains"`
	OpaqueETags bool     `json:"opaque_etags"`
}

type s3SettingsPatch struct {
	Enabled      *bool    `json:"enabled,omitempty"`
	BasePath     *string  `json:"base_path,omitempty"`
	UploadExpiry *string  `json:"multipart_upload_expiry_interval,omitempty"`
	Secure       *bool    `json:"secure,omitempty"`
	Domains      []string `json:"domains,omitempty"`
	OpaqueETags  *bool    `json:"opaque_etags,omitempty"`
}

func s3SettingsRoutes() []route {
	const path = "/v1/s3/settings"
	return []route{
		{Method: "GET", Path: path, Privilege: control.S3SettingsRead, Summary: "Whether and how S3 is served.", Out: s3Settings{}, handle: getS3Settings},
		{Method: "PATCH", Path: path, Privilege: control.S3SettingsWrite, Summary: "Change some settings of S3; its port opens or closes at once.", In: s3SettingsPatch{}, Out: s3Settings{}, handle: patchS3Settings},
	}
}

// Answers of S3 administration carry no entity tag: clients insist on that.
func renderS3Settings(v *config.S3) reply {
	return reply{body: s3Settings{v.Enabled, v.BasePath, v.UploadExpiry, !v.Insecure, listOf(v.Domains), v.OpaqueETags}}
}

func getS3Settings(q *request) (reply, error) {
	rec, err := q.s.o.S3Settings.S3(q.Context())
	return renderS3Settings(&rec.Value), err
}

func patchS3Settings(q *request) (reply, error) {
	in, err := body[s3SettingsPatch](q)
	if err != nil {
		return reply{}, err
	}
	rec, err := q.s.o.S3Settings.S3(q.Context())
	if err != nil {
		return reply{}, err
	}
	v := rec.Value
	given(in.Enabled, &v.Enabled)
	given(in.UploadExpiry, &v.UploadExpiry)
	given(in.OpaqueETags, &v.OpaqueETags)
	if in.Secure != nil {
		v.Insecure = !*in.Secure
	}
	if in.Domains != nil {
		v.Domains = in.Domains
	}
	if in.BasePath != nil && *in.BasePath != v.BasePath {
		if _, err := q.directory(*in.BasePath, false); err != nil {
			return reply{}, err
		}
		v.BasePath = *in.BasePath
	}
	rec, err = q.s.o.S3Settings.SetS3(q.Context(), rec.Revision, v)
	return renderS3Settings(&rec.Value), raced(false, err)
}

type s3Key struct {
	ID           string         `json:"access_key_id"`
	Owner        identityRecord `json:"owner"`
	CreationTime string         `json:"creation_time"`
}

type s3NewKey struct {
	ID           string         `json:"access_key_id"`
	Owner        identityRecord `json:"owner"`
	Secret       string         `json:"secret_access_key"`
	CreationTime string         `json:"creation_time"`
}

type s3KeyRequest struct {
	User identityQuery `json:"user"`
}

type s3KeyList struct {
	Entries []s3Key    `json:"entries"`
	Paging  nullPaging `json:"paging"`
}

func s3KeyRoutes() []route {
	const (
		read, write = control.S3CredentialsRead, control.S3CredentialsWrite
		all         = "/v1/s3/access-keys/"
	)
	return []route{
		{Method: "GET", Path: all, Privilege: read, Summary: "Access keys of S3, without their secrets.", Out: s3KeyList{},
			Query: []query{{"user", "string", "Only those of this identity: an auth_id or a text form as local:jane."}, queryAfter, queryLimit}, handle: listS3Keys},
		{Method: "POST", Path: all, Privilege: write, Summary: "Make an access key of an identity, at most two each. The secret is shown only here.", In: s3KeyRequest{}, Out: s3NewKey{}, handle: addS3Key},
		{Method: "DELETE", Path: all + "{id}", Privilege: write, Summary: "Revoke an access key at once.", handle: deleteS3Key},
	}
}

// identityArg reads a query parameter that names an identity; Unset if absent.
func (q *request) identityArg(name string) (identity.AuthID, error) {
	s := q.arg(name)
	if s == "" {
		return identity.Unset, nil
	}
	if _, err := strconv.ParseUint(s, 10, 64); err == nil {
		s = "auth_id:" + s
	}
	return q.ofText(s)
}

const maxS3KeyPage = 10000

func listS3Keys(q *request) (reply, error) {
	p, err := q.pageOf(maxS3KeyPage)
	if err != nil {
		return reply{}, err
	}
	after, err := p.number()
	if err != nil {
		return reply{}, err
	}
	owner, err := q.identityArg("user")
	if err != nil {
		return reply{}, err
	}
	ks := q.s.o.S3Keys.S3Keys(after, owner, p.limit+1)
	out := s3KeyList{Entries: []s3Key{}}
	for i := range ks {
		if i == p.limit {
			next := q.next(p, strconv.FormatUint(ks[i-1].ID, 10))
			out.Paging.Next = &next
			break
		}
		o, err := q.identityOf(ks[i].Value.Owner)
		if err != nil {
			return reply{}, err
		}
		out.Entries = append(out.Entries, s3Key{ks[i].Value.AccessKey, o, timestamp(ks[i].Value.Created)})
	}
	return reply{body: out}, nil
}

func addS3Key(q *request) (reply, error) {
	in, err := body[s3KeyRequest](q)
	if err != nil {
		return reply{}, err
	}
	a, err := q.resolveIdentity(in.User)
	if err != nil {
		return reply{}, err
	}
	switch l, err := q.localOf(a); {
	case err != nil:
		return reply{}, err
	case l.user == nil && a.Kind() != identity.KindUID:
		return reply{}, badRequest("cred_identity_not_supported_error", "an access key stands for a local user or an NFS uid")
	}
	secret, k, err := q.s.o.S3Keys.AddS3Key(q.Context(), a)
	if errors.Is(err, config.ErrLimit) {
		return reply{}, conflict("s3_access_key_limit_reached_error", "the identity has %d access keys already", config.S3KeysPerIdentity)
	}
	if err != nil {
		return reply{}, err
	}
	o, err := q.identityOf(a)
	return reply{body: s3NewKey{k.Value.AccessKey, o, secret, timestamp(k.Value.Created)}}, err
}

func deleteS3Key(q *request) (reply, error) {
	err := q.s.o.S3Keys.DeleteS3Key(q.Context(), q.params[0])
	if errors.Is(err, config.ErrNotFound) {
		return reply{}, &apiError{Status: 404, Class: "s3_access_key_not_found_error", Text: "there is no access key " + q.params[0], cause: err}
	}
	return reply{}, err
}
