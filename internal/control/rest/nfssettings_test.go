package rest

import (
	"strings"
	"testing"
)

func TestNFSSettings(t *testing.T) {
	a := newAPI(t)
	const path = "/v2/nfs/settings"
	got := a.must(200, "GET", path, nil)
	if string(got.raw) != `{"v4_enabled":false,"krb5_enabled":true,"krb5p_enabled":true,"krb5i_enabled":true,"auth_sys_enabled":true}` {
		t.Errorf("%s", got.raw)
	}
	etag := got.header.Get("ETag")
	if got := a.must(200, "PATCH", path, object{"auth_sys_enabled": false}); !strings.Contains(string(got.raw), `"auth_sys_enabled":false`) || !strings.Contains(string(got.raw), `"krb5_enabled":true`) {
		t.Errorf("%s", got.raw)
	}
	if a.config.NFSInForce().AuthSysEnabled {
		t.Error("not in force")
	}
	a.fails(412, "http_precondition_failed_error", "PATCH", path, object{"auth_sys_enabled": true}, "If-Match", etag)
	if got := a.must(200, "PUT", path, object{"v4_enabled": false, "krb5_enabled": false, "auth_sys_enabled": true}); !strings.Contains(string(got.raw), `"krb5_enabled":false,"krb5p_enabled":true,"krb5i_enabled":true`) {
		t.Errorf("%s", got.raw)
	}
	a.fails(400, "http_bad_request_error", "PATCH", path, object{"v4_enabled": true})
	full := object{"v4_enabled": false, "krb5_enabled": false, "krb5p_enabled": false, "krb5i_enabled": false, "auth_sys_enabled": true}
	a.must(200, "PUT", path, full)
	if v := a.config.NFSInForce(); !v.AuthSysEnabled || v.Krb5Enabled {
		t.Errorf("%+v", v)
	}

	x := newTerminal(t, a)
	x.run("login", "--host", x.host, "-p", adminPassword)
	if out := x.run("nfs", "settings", "modify", "--auth-sys=false", "--krb5"); !strings.Contains(out, "AUTH_SYS             off") {
		t.Error(out)
	}
	if out := x.run("nfs", "settings", "show", "--json"); !strings.Contains(out, `"auth_sys_enabled": false`) || !strings.Contains(out, `"krb5_enabled": true`) {
		t.Error(out)
	}
	x.fails("nothing to change", "nfs", "settings", "modify")
}
