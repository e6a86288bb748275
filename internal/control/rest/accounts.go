package rest

import (
	"errors"
	"fmt"
	"strconv"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/identity"
)

type userRecord struct {
	ID                string  `json:"id"`
	Name              string  `json:"name"`
	PrimaryGroup      string  `json:"primary_group"`
	SID               string  `json:"sid"`
	UID               string  `json:"uid"`
	HomeDirectory     *string `json:"home_directory"`
	CanChangePassword bool    `json:"can_change_password"`
}

type userRequest struct {
	ID            u64     `json:"id,omitzero"`
	Name          string  `json:"name"`
	PrimaryGroup  u64     `json:"primary_group"`
	UID           u64     `json:"uid"`
	HomeDirectory string  `json:"home_directory"`
	Password      *string `json:"password,omitempty"`
}

type groupRecord struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	SID  string `json:"sid"`
	GID  string `json:"gid"`
}

type groupRequest struct {
	ID   u64    `json:"id,omitzero"`
	Name string `json:"name"`
	GID  u64    `json:"gid"`
}

type newPasswordRequest struct {
	NewPassword string `json:"new_password"`
}

type memberRequest struct {
	MemberID u64 `json:"member_id"`
}

func accountRoutes() []route {
	const (
		ur, uw = control.UserRead, control.UserWrite
		gr, gw = control.GroupRead, control.GroupWrite
	)
	return []route{
		{Method: "GET", Path: "/v1/users/", Privilege: ur, Summary: "All local users.", Out: []userRecord{}, handle: listUsers},
		{Method: "POST", Path: "/v1/users/", Privilege: uw, Summary: "Add a local user.", In: userRequest{}, Out: userRecord{}, handle: addUser},
		{Method: "GET", Path: "/v1/users/{id}", Privilege: ur, Summary: "One local user.", Out: userRecord{}, handle: getUser},
		{Method: "PUT", Path: "/v1/users/{id}", Privilege: uw, Summary: "Replace a local user; a password that is left out stays.",
			In: userRequest{}, Out: userRecord{}, Conditional: true, handle: putUser},
		{Method: "DELETE", Path: "/v1/users/{id}", Privilege: uw, Summary: "Remove a local user. Files and permissions keep its id.", Conditional: true, handle: deleteUser},
		{Method: "GET", Path: "/v1/users/{id}/groups/", Privilege: ur, Summary: "Groups of a local user; none for anyone else.", Out: []groupRecord{}, handle: groupsOfUser},
		{Method: "POST", Path: "/v1/users/{id}/setpassword", Privilege: uw, Summary: "Set a user's password; its sessions end.", In: newPasswordRequest{}, handle: setPassword},
		{Method: "GET", Path: "/v1/groups/", Privilege: gr, Summary: "All local groups.", Out: []groupRecord{}, handle: listGroups},
		{Method: "POST", Path: "/v1/groups/", Privilege: gw, Summary: "Add a local group.", In: groupRequest{}, Out: groupRecord{}, handle: addGroup},
		{Method: "GET", Path: "/v1/groups/{id}", Privilege: gr, Summary: "One local group.", Out: groupRecord{}, handle: getGroup},
		{Method: "PUT", Path: "/v1/groups/{id}", Privilege: gw, Summary: "Replace a local group.", In: groupRequest{}, Out: groupRecord{}, Conditional: true, handle: putGroup},
		{Method: "DELETE", Path: "/v1/groups/{id}", Privilege: gw, Summary: "Remove a local group that is nobody's primary one.", Conditional: true, handle: deleteGroup},
		{Method: "GET", Path: "/v1/groups/{id}/members/", Privilege: gr, Summary: "Users of a group.", Out: []userRecord{}, handle: listMembers},
		{Method: "POST", Path: "/v1/groups/{id}/members/", Privilege: gw, Summary: "Put a user into a group.", In: memberRequest{}, Out: userRecord{}, handle: addMember},
		{Method: "GET", Path: "/v1/groups/{id}/members/{member_id}", Privilege: gr, Summary: "One user of a group.", Out: userRecord{}, handle: getMember},
		{Method: "DELETE", Path: "/v1/groups/{id}/members/{member_id}", Privilege: gw, Summary: "Take a user out of a group.", handle: removeMember},
	}
}

// accountError says what a change of some noun ran into.
func accountError(noun, which string, err error) error {
	name := noun
	if which != "" {
		name = fmt.Sprintf("%s %q", noun, which)
	}
	switch {
	case errors.Is(err, config.ErrNotFound):
		return &apiError{Status: 404, Class: "http_not_found_error", Text: "there is no " + name, cause: err}
	case errors.Is(err, config.ErrExists):
		return conflict("auth_"+noun+"_already_exists_error", "the name or number of the %s is taken", noun)
	case errors.Is(err, config.ErrBuiltIn):
		return conflict("auth_"+noun+"_built_in_error", "the %s came with the system and stays", noun)
	case errors.Is(err, config.ErrInUse):
		return conflict("auth_"+noun+"_in_use_error", "the %s is the primary group of a user", noun)
	case errors.Is(err, config.ErrLimit):
		return conflict("auth_"+noun+"_limit_reached_error", "there are as many as there may be")
	}
	return err
}

// cluster is looked up once for a request.
func (q *request) cluster() (*config.Cluster, error) {
	if q.ofCluster.UUID == "" {
		c, err := q.s.o.Members.Cluster(q.Context())
		if err != nil {
			return &q.ofCluster, err
		}
		q.ofCluster = c.Value
	}
	return &q.ofCluster, nil
}

func (q *request) userRecord(u *config.Record[config.User]) (userRecord, error) {
	c, err := q.cluster()
	if err != nil {
		return userRecord{}, err
	}
	can, err := q.s.o.Auth.HasPassword(q.Context(), u.ID)
	r := userRecord{
		ID: strconv.FormatUint(u.ID, 10), Name: u.Value.Name, PrimaryGroup: strconv.FormatUint(u.Value.PrimaryGroup, 10),
		SID: c.SID(identity.AuthID(u.ID)), UID: textNumber(u.Value.UID), CanChangePassword: can,
	}
	if u.Value.Home != "" {
		r.HomeDirectory = &u.Value.Home
	}
	return r, err
}

func textNumber(n *uint32) string {
	if n == nil {
		return ""
	}
	return strconv.FormatUint(uint64(*n), 10)
}

func (q *request) users(us []config.Record[config.User]) (reply, error) {
	out := []userRecord{}
	for i := range us {
		r, err := q.userRecord(&us[i])
		if err != nil {
			return reply{}, err
		}
		out = append(out, r)
	}
	return reply{body: out}, nil
}

func (q *request) oneUser(u config.Record[config.User]) (reply, error) {
	r, err := q.userRecord(&u)
	return reply{body: r, tag: tag(u.ID, u.Revision)}, err
}

func (q *request) groupRecord(g *config.Record[config.Group]) (groupRecord, error) {
	c, err := q.cluster()
	return groupRecord{strconv.FormatUint(g.ID, 10), g.Value.Name, c.SID(identity.AuthID(g.ID)), textNumber(g.Value.GID)}, err
}

func (q *request) groups(gs []config.Record[config.Group]) (reply, error) {
	out := []groupRecord{}
	for i := range gs {
		r, err := q.groupRecord(&gs[i])
		if err != nil {
			return reply{}, err
		}
		out = append(out, r)
	}
	return reply{body: out}, nil
}

func (q *request) oneGroup(g config.Record[config.Group]) (reply, error) {
	r, err := q.groupRecord(&g)
	return reply{body: r, tag: tag(g.ID, g.Revision)}, err
}

// principalID reads a parameter; what is no number is no such principal.
func (q *request) principalID(i int, noun string) (uint64, error) {
	id, ok := q.id(i)
	if !ok {
		return 0, notFound("there is no %s %q", noun, q.params[i])
	}
	return id, nil
}

// optional32 is a uid or gid as given: none, or a 32-bit number.
func optional32(field string, n u64) (*uint32, error) {
	if !n.Set {
		return nil, nil
	}
	if n.N > 1<<32-2 { // 2^32-1 means "do not change" to POSIX calls
		return nil, badRequest("decode_error", "%s is %d, want a number below 4294967295", field, n.N)
	}
	v := uint32(n.N)
	return &v, nil
}

func (in *userRequest) user() (config.User, error) {
	uid, err := optional32("uid", in.UID)
	if err == nil && !in.PrimaryGroup.Set {
		err = decodeError("primary_group is required")
	}
	return config.User{Name: in.Name, PrimaryGroup: in.PrimaryGroup.N, UID: uid, Home: in.HomeDirectory}, err
}

func listUsers(q *request) (reply, error) {
	us, err := q.s.o.Accounts.Users(q.Context(), 0, 0)
	if err != nil {
		return reply{}, err
	}
	return q.users(us)
}

func addUser(q *request) (reply, error) {
	in, err := body[userRequest](q)
	if err != nil {
		return reply{}, err
	}
	u, err := in.user()
	if err != nil {
		return reply{}, err
	}
	password := ""
	if in.Password != nil {
		password = *in.Password
	}
	rec, err := q.s.o.Accounts.AddUser(q.Context(), u, password)
	if err != nil {
		return reply{}, accountError("user", u.Name, err)
	}
	return q.oneUser(rec)
}

func (q *request) userParam() (config.Record[config.User], error) {
	id, err := q.principalID(0, "user")
	if err != nil {
		return config.Record[config.User]{}, err
	}
	u, err := q.s.o.Principals.User(q.Context(), id)
	return u, accountError("user", q.params[0], err)
}

func getUser(q *request) (reply, error) {
	u, err := q.userParam()
	if err != nil {
		return reply{}, err
	}
	return q.oneUser(u)
}

// seen answers the revision that a conditional change must find, 0 for any.
func (q *request) seen(tag string, revision uint64) (uint64, error) {
	conditional, err := q.match(tag)
	if err != nil || !conditional {
		return 0, err
	}
	return revision, nil
}

func putUser(q *request) (reply, error) {
	in, err := body[userRequest](q)
	if err != nil {
		return reply{}, err
	}
	old, err := q.userParam()
	if err != nil {
		return reply{}, err
	}
	if in.ID.Set && in.ID.N != old.ID {
		return reply{}, badRequest("http_bad_request_error", "the id of a user cannot change")
	}
	u, err := in.user()
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(tag(old.ID, old.Revision), old.Revision)
	if err != nil {
		return reply{}, err
	}
	if in.Password != nil && *in.Password != "" {
		// Judged before anything changes.
		if err := config.CheckPassword(*in.Password); err != nil {
			return reply{}, err
		}
	}
	rec, err := q.s.o.Accounts.ModifyUser(q.Context(), old.ID, rev, u)
	if err != nil {
		return reply{}, accountError("user", u.Name, err)
	}
	if in.Password != nil && *in.Password != "" {
		if err := q.s.o.Accounts.SetPassword(q.Context(), old.ID, *in.Password); err != nil {
			return reply{}, accountError("user", u.Name, err)
		}
	}
	return q.oneUser(rec)
}

func deleteUser(q *request) (reply, error) {
	old, err := q.userParam()
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(tag(old.ID, old.Revision), old.Revision)
	if err != nil {
		return reply{}, err
	}
	return reply{}, accountError("user", old.Value.Name, q.s.o.Accounts.DeleteUser(q.Context(), old.ID, rev))
}

func groupsOfUser(q *request) (reply, error) {
	id, err := q.principalID(0, "user")
	if err != nil {
		return reply{}, err
	}
	gs, err := q.s.o.Principals.GroupsOf(q.Context(), id)
	if err != nil {
		return reply{}, err
	}
	return q.groups(gs)
}

func setPassword(q *request) (reply, error) {
	in, err := body[newPasswordRequest](q)
	if err != nil {
		return reply{}, err
	}
	u, err := q.userParam()
	if err != nil {
		return reply{}, err
	}
	return reply{}, accountError("user", u.Value.Name, q.s.o.Accounts.SetPassword(q.Context(), u.ID, in.NewPassword))
}

func listGroups(q *request) (reply, error) {
	gs, err := q.s.o.Accounts.Groups(q.Context(), 0, 0)
	if err != nil {
		return reply{}, err
	}
	return q.groups(gs)
}

func addGroup(q *request) (reply, error) {
	in, err := body[groupRequest](q)
	if err != nil {
		return reply{}, err
	}
	gid, err := optional32("gid", in.GID)
	if err != nil {
		return reply{}, err
	}
	rec, err := q.s.o.Accounts.AddGroup(q.Context(), config.Group{Name: in.Name, GID: gid})
	if err != nil {
		return reply{}, accountError("group", in.Name, err)
	}
	return q.oneGroup(rec)
}

func (q *request) groupParam() (config.Record[config.Group], error) {
	id, err := q.principalID(0, "group")
	if err != nil {
		return config.Record[config.Group]{}, err
	}
	g, err := q.s.o.Principals.Group(q.Context(), id)
	return g, accountError("group", q.params[0], err)
}

func getGroup(q *request) (reply, error) {
	g, err := q.groupParam()
	if err != nil {
		return reply{}, err
	}
	return q.oneGroup(g)
}

func putGroup(q *request) (reply, error) {
	in, err := body[groupRequest](q)
	if err != nil {
		return reply{}, err
	}
	old, err := q.groupParam()
	if err != nil {
		return reply{}, err
	}
	if in.ID.Set && in.ID.N != old.ID {
		return reply{}, badRequest("http_bad_request_error", "the id of a group cannot change")
	}
	gid, err := optional32("gid", in.GID)
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(tag(old.ID, old.Revision), old.Revision)
	if err != nil {
		return reply{}, err
	}
	rec, err := q.s.o.Accounts.ModifyGroup(q.Context(), old.ID, rev, config.Group{Name: in.Name, GID: gid})
	if err != nil {
		return reply{}, accountError("group", in.Name, err)
	}
	return q.oneGroup(rec)
}

func deleteGroup(q *request) (reply, error) {
	old, err := q.groupParam()
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(tag(old.ID, old.Revision), old.Revision)
	if err != nil {
		return reply{}, err
	}
	return reply{}, accountError("group", old.Value.Name, q.s.o.Accounts.DeleteGroup(q.Context(), old.ID, rev))
}

func listMembers(q *request) (reply, error) {
	g, err := q.groupParam()
	if err != nil {
		return reply{}, err
	}
	us, err := q.s.o.Accounts.Members(q.Context(), g.ID)
	if err != nil {
		return reply{}, accountError("group", g.Value.Name, err)
	}
	return q.users(us)
}

func addMember(q *request) (reply, error) {
	in, err := body[memberRequest](q)
	if err != nil {
		return reply{}, err
	}
	g, err := q.groupParam()
	if err != nil {
		return reply{}, err
	}
	if err := q.s.o.Accounts.AddMember(q.Context(), g.ID, in.MemberID.N); err != nil {
		return reply{}, accountError("user", strconv.FormatUint(in.MemberID.N, 10), err)
	}
	u, err := q.s.o.Principals.User(q.Context(), in.MemberID.N)
	if err != nil {
		return reply{}, accountError("user", "", err)
	}
	return q.oneUser(u)
}

func getMember(q *request) (reply, error) {
	g, err := q.groupParam()
	if err != nil {
		return reply{}, err
	}
	id, err := q.principalID(1, "member")
	if err != nil {
		return reply{}, err
	}
	us, err := q.s.o.Accounts.Members(q.Context(), g.ID)
	if err != nil {
		return reply{}, accountError("group", g.Value.Name, err)
	}
	for _, u := range us {
		if u.ID == id {
			return q.oneUser(u)
		}
	}
	return reply{}, notFound("%s has no member %d", g.Value.Name, id)
}

func removeMember(q *request) (reply, error) {
	g, err := q.groupParam()
	if err != nil {
		return reply{}, err
	}
	id, err := q.principalID(1, "member")
	if err != nil {
		return reply{}, err
	}
	return reply{}, accountError("member", q.params[1], q.s.o.Accounts.RemoveMember(q.Context(), g.ID, id))
}
