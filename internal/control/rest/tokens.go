package rest

import (
	"strconv"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/identity"
)

type accessToken struct {
	ID             string         `json:"id"`
	User           identityRecord `json:"user"`
	Creator        identityRecord `json:"creator"`
	CreationTime   string         `json:"creation_time"`
	ExpirationTime string         `json:"expiration_time"`
	Enabled        bool           `json:"enabled"`
}

type tokenRequest struct {
	User           identityQuery `json:"user"`
	ExpirationTime string        `json:"expiration_time,omitempty"`
}

type tokenAnswer struct {
	ID          string `json:"id"`
	BearerToken string `json:"bearer_token"`
}

type tokenPatch struct {
	ExpirationTime optional[string] `json:"expiration_time,omitzero"`
	Enabled        *bool            `json:"enabled,omitempty"`
}

// nullPaging is that of listings that say null at the end.
type nullPaging struct {
	Next *string `json:"next"`
}

type tokenList struct {
	Entries []accessToken `json:"entries"`
	Paging  nullPaging    `json:"paging"`
}

func tokenRoutes() []route {
	const (
		read, write = control.AccessTokensRead, control.AccessTokensWrite
		all, one    = "/v1/auth/access-tokens/", "/v1/auth/access-tokens/{id}"
	)
	return []route{
		{Method: "GET", Path: all, Privilege: read, Summary: "Long-lived tokens.", Out: tokenList{},
			Query: []query{{"user", "string", "Only those of this user: an auth_id or a text form as local:jane."}, queryAfter, queryLimit}, handle: listTokens},
		{Method: "POST", Path: all, Privilege: write, Summary: "Issue a token of a local user, at most two each. The secret is shown only here.",
			In: tokenRequest{}, Out: tokenAnswer{}, handle: addToken},
		{Method: "GET", Path: one, Privilege: read, Summary: "What is known of a token.", Out: accessToken{}, handle: getToken},
		{Method: "PATCH", Path: one, Privilege: write, Summary: "Move the expiry of a token, or switch it off and on.", In: tokenPatch{}, Out: accessToken{}, Conditional: true, handle: patchToken},
		{Method: "DELETE", Path: one, Privilege: write, Summary: "Revoke a token.", Conditional: true, handle: deleteToken},
	}
}

func (q *request) accessToken(t *config.Record[config.AccessToken]) (accessToken, error) {
	out := accessToken{
		ID: strconv.FormatUint(t.ID, 10), CreationTime: timestamp(t.Value.Created), ExpirationTime: never(t.Value.Expires), Enabled: t.Value.Enabled,
	}
	var err error
	if out.User, err = q.identityOf(identity.AuthID(t.Value.User)); err != nil {
		return out, err
	}
	out.Creator, err = q.identityOf(identity.AuthID(t.Value.Creator))
	return out, err
}

func (q *request) oneToken(t config.Record[config.AccessToken]) (reply, error) {
	out, err := q.accessToken(&t)
	return reply{body: out, tag: tag(t.ID, t.Revision)}, err
}

func listTokens(q *request) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	after, err := p.number()
	if err != nil {
		return reply{}, err
	}
	var user identity.AuthID
	if s := q.arg("user"); s != "" {
		if _, perr := strconv.ParseUint(s, 10, 64); perr == nil {
			s = "auth_id:" + s
		}
		if user, err = q.ofText(s); err != nil {
			return reply{}, err
		}
	}
	ts, err := q.s.o.Tokens.AccessTokens(q.Context(), after, 0)
	if err != nil {
		return reply{}, err
	}
	out := tokenList{Entries: []accessToken{}}
	for i := range ts {
		if user != 0 && identity.AuthID(ts[i].Value.User) != user {
			continue
		}
		if len(out.Entries) == p.limit {
			next := q.next(p, out.Entries[p.limit-1].ID)
			out.Paging.Next = &next
			break
		}
		t, err := q.accessToken(&ts[i])
		if err != nil {
			return reply{}, err
		}
		out.Entries = append(out.Entries, t)
	}
	return reply{body: out}, nil
}

func optionalTime(field, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return parseTime(field, s)
}

func addToken(q *request) (reply, error) {
	in, err := body[tokenRequest](q)
	if err != nil {
		return reply{}, err
	}
	a, err := q.resolveIdentity(in.User)
	if err != nil {
		return reply{}, err
	}
	expires, err := optionalTime("expiration_time", in.ExpirationTime)
	if err != nil {
		return reply{}, err
	}
	l, err := q.localOf(a)
	if err != nil {
		return reply{}, err
	}
	if l.user == nil {
		return reply{}, badRequest("cred_identity_not_supported_error", "only local users may have access tokens")
	}
	secret, t, err := q.s.o.Tokens.NewAccessToken(q.Context(), l.user.ID, q.ses.User.ID, expires)
	if err != nil {
		return reply{}, accountError("access_token", "", err)
	}
	return reply{body: tokenAnswer{strconv.FormatUint(t.ID, 10), secret}}, nil
}

func (q *request) token() (config.Record[config.AccessToken], error) {
	id, err := q.principalID(0, "access token")
	if err != nil {
		return config.Record[config.AccessToken]{}, err
	}
	t, err := q.s.o.Tokens.AccessToken(q.Context(), id)
	return t, accountError("access_token", q.params[0], err)
}

func getToken(q *request) (reply, error) {
	t, err := q.token()
	if err != nil {
		return reply{}, err
	}
	return q.oneToken(t)
}

func patchToken(q *request) (reply, error) {
	in, err := body[tokenPatch](q)
	if err != nil {
		return reply{}, err
	}
	t, err := q.token()
	if err != nil {
		return reply{}, err
	}
	if _, err := q.match(tag(t.ID, t.Revision)); err != nil {
		return reply{}, err
	}
	enabled, expires := t.Value.Enabled, t.Value.Expires
	if in.Enabled != nil {
		enabled = *in.Enabled
	}
	if in.ExpirationTime.Given {
		if expires, err = optionalTime("expiration_time", in.ExpirationTime.Value); err != nil {
			return reply{}, err
		}
	}
	// The part that stays is the one that was read.
	if t, err = q.s.o.Tokens.ModifyAccessToken(q.Context(), t.ID, t.Revision, enabled, expires); err != nil {
		return reply{}, accountError("access_token", q.params[0], err)
	}
	return q.oneToken(t)
}

func deleteToken(q *request) (reply, error) {
	t, err := q.token()
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(tag(t.ID, t.Revision), t.Revision)
	if err != nil {
		return reply{}, err
	}
	return reply{}, accountError("access_token", q.params[0], q.s.o.Tokens.DeleteAccessToken(q.Context(), t.ID, rev))
}
