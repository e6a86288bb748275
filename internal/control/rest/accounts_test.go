package rest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"manifold/internal/control"
)

func TestUsers(t *testing.T) {
	a := newAPI(t)
	if us := a.must(200, "GET", "/v1/users/", nil); us.str(0, "name") != "admin" || us.str(1, "id") != "501" || us.at(1, "can_change_password") != false {
		t.Errorf("%s", us.raw)
	}
	// As the Terraform provider sends it.
	u := a.must(200, "POST", "/v1/users/", object{"id": "", "name": "Jane", "primary_group": "513", "sid": "", "uid": "", "home_directory": "", "can_change_password": false, "password": "Test1234"})
	id := u.str("id")
	if id != "1000" || u.str("uid") != "" || u.at("home_directory") != nil || u.at("can_change_password") != true || u.header.Get("ETag") == "" {
		t.Errorf("%s", u.raw)
	}
	a.fails(409, "auth_user_already_exists_error", "POST", "/v1/users/", object{"name": "JANE", "primary_group": "513"})
	a.fails(409, "auth_group_already_exists_error", "POST", "/v1/groups/", object{"name": "jane"})
	a.fails(400, "http_bad_request_error", "POST", "/v1/users/", object{"name": "bob", "primary_group": "513", "password": "weak"})
	a.fails(400, "decode_error", "POST", "/v1/users/", object{"name": "bob"})
	a.fails(400, "http_bad_request_error", "POST", "/v1/users/", object{"name": "bob", "primary_group": "999"})
	a.fails(400, "decode_error", "POST", "/v1/users/", object{"name": "bob", "primary_group": "513", "uid": "4294967295"})

	put := object{"id": id, "name": "jane", "primary_group": "514", "uid": "1001", "home_directory": "/home/jane"}
	a.fails(412, "http_precondition_failed_error", "PUT", "/v1/users/"+id, put, "If-Match", `"x"`)
	u = a.must(200, "PUT", "/v1/users/"+id, put, "If-Match", u.header.Get("ETag"))
	if u.str("uid") != "1001" || u.str("home_directory") != "/home/jane" || u.str("primary_group") != "514" || u.at("can_change_password") != true {
		t.Errorf("%s", u.raw)
	}
	if got := a.must(200, "GET", "/v1/users/"+id, nil); string(got.raw) != string(u.raw) || got.header.Get("ETag") != u.header.Get("ETag") {
		t.Errorf("%s, not %s", got.raw, u.raw)
	}
	a.fails(400, "http_bad_request_error", "PUT", "/v1/users/"+id, object{"id": "7", "name": "jane", "primary_group": "513"})
	if gs := a.must(200, "GET", "/v1/users/"+id+"/groups/", nil).list(); len(gs) != 2 {
		t.Errorf("%v", gs)
	}
	if gs := a.must(200, "GET", "/v1/users/99999/groups/", nil).list(); len(gs) != 0 {
		t.Errorf("%v", gs)
	}
	a.login("jane", "Test1234")
	a.must(200, "POST", "/v1/users/"+id+"/setpassword", object{"new_password": "Other-123"})
	a.fails(401, "cred_error", "POST", "/v1/session/login", object{"username": "jane", "password": "Test1234"})
	jane := a.login("jane", "Other-123")
	a.must(200, "DELETE", "/v1/users/"+id, nil)
	a.fails(404, "http_not_found_error", "GET", "/v1/users/"+id, nil)
	a.fails(404, "http_not_found_error", "DELETE", "/v1/users/"+id, nil)
	a.fails(409, "auth_user_built_in_error", "DELETE", "/v1/users/500", nil)
	a.token = jane
	a.fails(401, "http_unauthorized_error", "GET", "/v1/session/who-am-i", nil)
}

func TestGroups(t *testing.T) {
	a := newAPI(t)
	g := a.must(200, "POST", "/v1/groups/", object{"name": "staff", "gid": "5000"})
	id := g.str("id")
	if g.str("gid") != "5000" {
		t.Errorf("%s", g.raw)
	}
	g = a.must(200, "PUT", "/v1/groups/"+id, object{"id": id, "name": "Staff", "gid": ""}, "If-Match", g.header.Get("ETag"))
	if g.str("name") != "Staff" || g.str("gid") != "" {
		t.Errorf("%s", g.raw)
	}
	members := "/v1/groups/" + id + "/members/"
	if m := a.must(200, "POST", members, object{"member_id": "501", "group_id": id}); m.str("name") != "guest" {
		t.Errorf("%s", m.raw)
	}
	a.must(200, "GET", members+"501", nil)
	a.fails(404, "http_not_found_error", "GET", members+"500", nil)
	a.fails(404, "http_not_found_error", "POST", members, object{"member_id": "99"})
	if m := a.must(200, "GET", members, nil).list(); len(m) != 1 {
		t.Errorf("%v", m)
	}
	a.must(200, "DELETE", members+"501", nil)
	a.fails(404, "http_not_found_error", "DELETE", members+"501", nil)
	a.must(200, "DELETE", "/v1/groups/"+id, nil)
	a.fails(404, "http_not_found_error", "GET", "/v1/groups/"+id, nil)
	a.fails(409, "auth_group_built_in_error", "DELETE", "/v1/groups/513", nil)
}

func TestRoles(t *testing.T) {
	a := newAPI(t)
	if r := a.must(200, "GET", "/v1/auth/roles/", nil); len(r.list("Administrators", "privileges")) != len(control.AllPrivileges()) || len(r.list("Observers", "privileges")) == 0 {
		t.Errorf("%s", r.raw)
	}
	if p := a.must(200, "GET", "/v1/auth/privileges/", nil); p.str("PRIVILEGE_QUOTA_READ") == "" {
		t.Errorf("%s", p.raw)
	}
	privileges := []string{"PRIVILEGE_QUOTA_WRITE", "PRIVILEGE_AD_READ", "PRIVILEGE_QUOTA_READ"}
	r := a.must(200, "POST", "/v1/auth/roles/", object{"name": "Actors", "description": "text", "privileges": privileges})
	if r.str("name") != "Actors" {
		t.Errorf("%s", r.raw)
	}
	a.fails(409, "auth_role_already_exists_error", "POST", "/v1/auth/roles/", object{"name": "actors"})
	a.fails(409, "auth_role_already_exists_error", "POST", "/v1/auth/roles/", object{"name": "observers"})
	a.fails(400, "http_bad_request_error", "POST", "/v1/auth/roles/", object{"name": "two words"})
	a.fails(400, "decode_error", "POST", "/v1/auth/roles/", object{"name": "x", "privileges": []string{"PRIVILEGE_NONSENSE"}})
	r = a.must(200, "GET", "/v1/auth/roles/ACTORS", nil)
	for i, p := range privileges {
		if r.str("privileges", i) != p {
			t.Errorf("order: %s", r.raw)
		}
	}
	a.fails(412, "http_precondition_failed_error", "PATCH", "/v1/auth/roles/Actors", object{"description": "d"}, "If-Match", `"x"`)
	if r = a.must(200, "PATCH", "/v1/auth/roles/Actors", object{"description": "d"}, "If-Match", r.header.Get("ETag")); r.str("description") != "d" || len(r.list("privileges")) != 3 {
		t.Errorf("%s", r.raw)
	}
	a.must(200, "PUT", "/v1/auth/roles/Actors", object{"name": "Actors", "description": "e", "privileges": []string{"PRIVILEGE_QUOTA_READ"}})
	a.fails(409, "auth_role_built_in_error", "PUT", "/v1/auth/roles/Observers", object{"privileges": []string{}})
	a.fails(409, "auth_role_built_in_error", "DELETE", "/v1/auth/roles/administrators", nil)

	members := "/v1/auth/roles/Actors/members"
	u := a.must(200, "POST", "/v1/users/", object{"name": "jane", "primary_group": "513", "uid": "77", "password": "Test1234"}).str("id")
	// By the POSIX user that she is, too.
	m := a.must(200, "POST", members, object{"uid": "77", "auth_id": "", "role_name": "Actors"})
	if m.str("domain") != "POSIX_USER" || m.at("uid") != 77.0 || m.at("name") != nil || m.at("gid") != nil {
		t.Errorf("%s", m.raw)
	}
	if got := a.must(200, "GET", members+"/"+m.str("auth_id"), nil); string(got.raw) != string(m.raw) {
		t.Errorf("%s", got.raw)
	}
	admin := a.token
	a.token = a.login("jane", "Test1234")
	a.must(200, "GET", "/v1/files/quotas/", nil)
	a.fails(403, "http_forbidden_error", "GET", "/v1/users/", nil)
	if names := a.must(200, "GET", "/v1/session/roles", nil).list(); len(names) != 1 || names[0] != "Actors" {
		t.Errorf("%v", names)
	}
	jane := a.token
	a.token = admin
	a.must(200, "DELETE", members+"/"+m.str("auth_id"), nil)
	a.fails(404, "http_not_found_error", "DELETE", members+"/"+m.str("auth_id"), nil)
	a.token = jane // privileges are those of the sign-in
	a.must(200, "GET", "/v1/files/quotas/", nil)
	a.token = a.login("jane", "Test1234")
	a.fails(403, "http_forbidden_error", "GET", "/v1/files/quotas/", nil)
	// Nothing else records that she was refused.
	if e := a.audit.events[len(a.audit.events)-1]; e.Operation != "rest_request" || e.Status != "http_forbidden" || !e.Repeats ||
		e.Extra != "GET /v1/files/quotas/" || e.Extra2 != "PRIVILEGE_QUOTA_READ" || e.User == 0 {
		t.Errorf("%+v", e)
	}
	a.token = admin

	a.must(200, "POST", members, object{"domain": "LOCAL", "name": "Guests"})
	a.must(200, "POST", members, object{"name": "local:jane"})
	a.must(200, "POST", members, object{"domain": "WORLD", "name": "everyone"})
	first := a.must(200, "GET", members+"?limit=2", nil)
	if len(first.list("members")) != 2 || first.str("members", 0, "name") != "Guests" || first.str("members", 1, "auth_id") != u {
		t.Errorf("%s", first.raw)
	}
	if rest := a.must(200, "GET", first.str("paging", "next"), nil); rest.str("members", 0, "name") != "Everyone" || rest.str("paging", "next") != "" {
		t.Errorf("%s", rest.raw)
	}
	a.fails(400, "cred_invalid_local_user_error", "POST", members, object{"name": "nobody"})
	a.fails(409, "auth_member_built_in_error", "DELETE", "/v1/auth/roles/Administrators/members/500", nil)
	a.must(200, "DELETE", "/v1/auth/roles/Actors", nil)
	a.fails(404, "http_not_found_error", "GET", "/v1/auth/roles/Actors", nil)
}

// The built-in roles hold what they are known for.
func TestRoles_builtIn(t *testing.T) {
	a := newAPI(t)
	roles := a.must(200, "GET", "/v1/auth/roles/", nil)
	has := func(role string, p control.Privilege) bool {
		return slices.Contains(roles.list(role, "privileges"), any(string(p)))
	}
	for _, x := range []struct {
		role string
		p    control.Privilege
		want bool
	}{
		{"Data-Administrators", control.FileFullAccess, true}, {"Data-Administrators", control.QuotaWrite, true},
		{"Data-Administrators", control.UserRead, true}, {"Data-Administrators", control.UserWrite, false},
		{"Data-Administrators", control.RoleWrite, false}, {"Observers", control.QuotaRead, true}, {"Observers", control.QuotaWrite, false},
		{"Observers", control.FileReadAccess, false}, {"Observers", "PRIVILEGE_DEBUG", false}, {"Observers", control.AccessTokensRead, false},
	} {
		if has(x.role, x.p) != x.want {
			t.Errorf("%s has %s: %v", x.role, x.p, !x.want)
		}
	}
	for _, r := range []string{"Data-Administrators", "Observers"} {
		for _, p := range roles.list(r, "privileges") {
			if !slices.Contains(control.AllPrivileges(), control.Privilege(p.(string))) {
				t.Errorf("%s: no privilege %s", r, p)
			}
		}
	}
}

func TestAccessTokens(t *testing.T) {
	a := newAPI(t)
	const all = "/v1/auth/access-tokens/"
	one := a.must(200, "POST", all, object{"user": object{"name": "admin", "domain": "LOCAL"}})
	two := a.must(200, "POST", all, object{"user": object{"auth_id": "500"}, "expiration_time": "2999-01-01T00:00:00Z"})
	a.fails(409, "auth_access_token_limit_reached_error", "POST", all, object{"user": object{"auth_id": "500"}})
	a.fails(400, "cred_identity_not_supported_error", "POST", all, object{"user": object{"name": "Users"}})
	guest := a.must(200, "POST", all, object{"user": object{"name": "local:guest"}})

	page := a.must(200, "GET", all+"?limit=1&user=500", nil)
	if page.str("entries", 0, "id") != one.str("id") || page.str("entries", 0, "user", "name") != "admin" || page.str("entries", 0, "expiration_time") != "" {
		t.Errorf("%s", page.raw)
	}
	if page = a.must(200, "GET", page.str("paging", "next"), nil); page.str("entries", 0, "id") != two.str("id") || page.at("paging", "next") != nil {
		t.Errorf("%s", page.raw)
	}
	admin := a.token
	a.token = one.str("bearer_token")
	if who := a.must(200, "GET", "/v1/session/who-am-i", nil); who.str("access_token_id") != one.str("id") {
		t.Errorf("%s", who.raw)
	}
	got := a.must(200, "PATCH", all+one.str("id"), object{"enabled": false})
	if got.at("enabled") != false {
		t.Errorf("%s", got.raw)
	}
	a.fails(401, "http_unauthorized_error", "GET", "/v1/session/who-am-i", nil)
	a.token = guest.str("bearer_token")
	a.fails(403, "http_forbidden_error", "GET", all, nil)
	a.token = admin
	if got = a.must(200, "PATCH", all+one.str("id"), object{"expiration_time": time.Now().Add(time.Hour)}); got.at("enabled") != false || got.str("expiration_time") == "" {
		t.Errorf("%s", got.raw)
	}
	a.fails(412, "http_precondition_failed_error", "DELETE", all+one.str("id"), nil, "If-Match", `"x"`)
	a.must(200, "DELETE", all+one.str("id"), nil)
	a.fails(404, "http_not_found_error", "GET", all+one.str("id"), nil)
}

func TestIdentities(t *testing.T) {
	a := newAPI(t)
	a.must(200, "POST", "/v1/groups/", object{"name": "staff", "gid": "50"})
	a.must(200, "POST", "/v1/users/", object{"name": "jane", "primary_group": "1000", "uid": "77"})
	find := func(in object) *answer { return a.must(200, "POST", "/v1/identity/find", in) }
	jane := find(object{"name": "Jane"})
	sid := jane.str("sid")
	if jane.str("domain") != "LOCAL" || jane.str("auth_id") != "1001" || jane.at("uid") != 77.0 || jane.at("gid") != nil {
		t.Errorf("%s", jane.raw)
	}
	for _, in := range []object{{"sid": sid}, {"auth_id": "1001"}, {"name": "local:jane"}, {"name": "sid:" + sid}, {"domain": "LOCAL", "name": "JANE"}} {
		if got := find(in); string(got.raw) != string(jane.raw) {
			t.Errorf("%v: %s", in, got.raw)
		}
	}
	for in, want := range map[string]string{
		"uid:5": "12884901893", "gid:6": "17179869190", "auth_id:9": "9", "world:Everyone": "8589934592",
		"Creator Owner": "18446744069414584320", "sid:S-1-1-0": "8589934592", "sid:S-1-5-88-1-5": "12884901893", "sid:S-1-5-88-2-6": "17179869190",
	} {
		if got := find(object{"name": in}); got.str("auth_id") != want {
			t.Errorf("%s: %s", in, got.raw)
		}
	}
	a.fails(400, "cred_invalid_sid_error", "POST", "/v1/identity/find", object{"sid": "S-1-5-21-1-2-3-500"})
	// The system itself is no local principal, though its id is as small as theirs.
	a.fails(400, "cred_invalid_sid_error", "POST", "/v1/identity/find", object{"sid": strings.TrimSuffix(sid, "001")})
	a.fails(400, "cred_identity_not_supported_error", "POST", "/v1/identity/find", object{"auth_id": "0"})
	a.fails(400, "decode_error", "POST", "/v1/identity/find", object{})
	a.fails(400, "cred_invalid_local_user_error", "POST", "/v1/auth/identity/find", object{"name": "nobody"})

	x := a.must(200, "POST", "/v1/identity/expand", object{"id": object{"uid": 77}})
	if x.str("type") != "USER" || x.str("smb_id", "name") != "jane" || x.at("nfs_id", "uid") != 77.0 ||
		x.str("equivalent_ids", 0, "name") != "jane" || len(x.list("group_ids")) != 2 {
		t.Errorf("%s", x.raw)
	}
	if x = a.must(200, "POST", "/v1/identity/expand", object{"id": object{"gid": "50"}}); x.str("type") != "GROUP" || x.str("smb_id", "name") != "staff" {
		t.Errorf("%s", x.raw)
	}
	if r := a.must(200, "GET", "/v1/auth/posix-uids/77/related-identities/", nil); r.str(0, "id_type") != "NFS_UID" || r.str(1, "id_value") != "jane" || len(r.list()) != 4 {
		t.Errorf("%s", r.raw)
	}
	const at = "/v1/auth/identities/12884901893/attributes"
	if v := a.must(200, "GET", at, nil); v.at("home_directory") != nil {
		t.Errorf("%s", v.raw)
	}
	a.must(200, "PUT", at, object{"home_directory": "/home/x"})
	if v := a.must(200, "GET", at, nil); v.str("home_directory") != "/home/x" {
		t.Errorf("%s", v.raw)
	}
	a.must(200, "DELETE", at, nil)
	a.must(200, "POST", "/v1/auth/clear-cache", nil)
}

// A program that signs in hundreds of times pays for the slow hash once.
func TestLogin_often(t *testing.T) {
	a := newAPI(t)
	a.login("admin", adminPassword)
	start := time.Now()
	for range 400 {
		a.login("admin", adminPassword)
	}
	took := time.Since(start)
	t.Logf("400 sign-ins in %v", took)
	if took > 20*time.Second { // one hash takes tens of milliseconds by itself
		t.Errorf("400 sign-ins took %v", took)
	}
	a.must(200, "POST", "/v1/users/500/setpassword", object{"new_password": "Some-other-9"})
	a.fails(401, "cred_error", "POST", "/v1/session/login", object{"username": "admin", "password": adminPassword})
	a.login("admin", "Some-other-9")
}
