package rest

import (
	"strconv"

	"manifold/internal/control"
	"manifold/internal/identity"
)

type loginRequest struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

type loginAnswer struct {
	BearerToken string `json:"bearer_token"`
}

type changePasswordRequest struct {
	OldPassword string `json:"old_password"`
	NewPassword string `json:"new_password"`
}

type whoAmI struct {
	ID                string              `json:"id"`
	Name              string              `json:"name"`
	PrimaryGroup      string              `json:"primary_group"`
	SID               string              `json:"sid"`
	UID               string              `json:"uid"`
	HomeDirectory     *string             `json:"home_directory"`
	CanChangePassword bool                `json:"can_change_password"`
	Privileges        []control.Privilege `json:"privileges"`
	AccessTokenID     string              `json:"access_token_id,omitempty"`
}

func sessionRoutes() []route {
	return []route{
		{Method: "POST", Path: "/v1/session/login", Public: true, Summary: "Sign in with a password; the token is good for ten hours.",
			In: loginRequest{}, Out: loginAnswer{}, handle: login},
		{Method: "POST", Path: "/v1/session/change-password", Summary: "Change one's own password.",
			In: changePasswordRequest{}, handle: changePassword},
		{Method: "GET", Path: "/v1/session/who-am-i", Summary: "Who is signed in, with its privileges.", Out: whoAmI{}, handle: who},
		{Method: "GET", Path: "/v1/session/roles", Summary: "Names of the roles that the caller holds.", Out: []string{},
			handle: myRoles},
	}
}

func login(q *request) (reply, error) {
	in, err := body[loginRequest](q)
	if err != nil {
		return reply{}, err
	}
	token, err := q.s.svc.Login(q.Context(), client(q.Request).Addr(), in.Username, in.Password)
	q.auditLogin(in.Username, err)
	return reply{body: loginAnswer{token}}, err
}

func myRoles(q *request) (reply, error) {
	names, err := q.s.svc.Roles(q.Context(), q.ses)
	return reply{body: names}, err
}

func changePassword(q *request) (reply, error) {
	in, err := body[changePasswordRequest](q)
	if err != nil {
		return reply{}, err
	}
	return reply{}, q.s.svc.ChangePassword(q.Context(), q.ses, in.OldPassword, in.NewPassword)
}

func who(q *request) (reply, error) {
	u := q.ses.User
	can, err := q.s.svc.CanChangePassword(q.Context(), q.ses)
	if err != nil {
		return reply{}, err
	}
	w := whoAmI{
		ID: strconv.FormatUint(u.ID, 10), Name: u.Value.Name, PrimaryGroup: strconv.FormatUint(u.Value.PrimaryGroup, 10),
		CanChangePassword: can, Privileges: q.ses.Privileges(),
	}
	c, err := q.cluster()
	if err != nil {
		return reply{}, err
	}
	w.SID = c.SID(identity.AuthID(u.ID))
	if u.Value.UID != nil {
		w.UID = strconv.FormatUint(uint64(*u.Value.UID), 10)
	}
	if u.Value.Home != "" {
		w.HomeDirectory = &u.Value.Home
	}
	if q.ses.AccessToken != 0 {
		w.AccessTokenID = strconv.FormatUint(q.ses.AccessToken, 10)
	}
	return reply{body: w}, nil
}
