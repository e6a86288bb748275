package rest

import (
	"strings"
	"testing"
)

func TestCLI_accounts(t *testing.T) {
	a := newAPI(t)
	x := newTerminal(t, a)
	x.password = adminPassword
	x.run("login", "admin", "--host", x.host)
	x.run("group", "add", "staff", "--gid", "50")
	x.password = "Test-1234"
	x.run("user", "add", "jane", "--primary-group", "staff", "--uid", "77")
	x.run("user", "modify", "jane", "--home", "/home/jane")
	if out := x.run("user", "show", "jane"); !strings.Contains(out, "/home/jane") || !strings.Contains(out, "staff") || !strings.Contains(out, "77") {
		t.Error(out)
	}
	x.run("group", "add-member", "Guests", "jane")
	if out := x.run("group", "show", "Guests"); !strings.Contains(out, "jane") {
		t.Error(out)
	}
	x.run("group", "rm-member", "Guests", "jane")
	x.run("group", "modify", "staff", "--gid", "")
	x.run("role", "add", "Quotas", "--privilege", "quota_read", "--description", "sees quotas")
	x.run("role", "modify", "Quotas", "--grant", "QUOTA_WRITE,AD_READ", "--revoke", "PRIVILEGE_AD_READ")
	x.run("role", "assign", "Quotas", "uid:77")
	if out := x.run("role", "show", "quotas"); !strings.Contains(out, "QUOTA_WRITE") || strings.Contains(out, "AD_READ") || !strings.Contains(out, "uid:77") {
		t.Error(out)
	}
	secret := strings.TrimSpace(x.run("access-token", "create", "local:jane"))
	if out := x.run("access-token", "list", "--user", "local:jane"); !strings.Contains(out, "local:jane") || strings.Contains(out, secret) {
		t.Error(out)
	}
	x.env["MANIFOLD_TOKEN"] = secret
	x.run("quota", "list")
	x.fails("http_forbidden_error", "user", "list")
	x.env["MANIFOLD_TOKEN"] = ""
	x.run("access-token", "disable", "1")
	x.env["MANIFOLD_TOKEN"] = secret
	x.fails("401", "quota", "list")
	x.env["MANIFOLD_TOKEN"] = ""
	x.run("access-token", "rm", "1")
	x.run("role", "unassign", "Quotas", "uid:77")
	x.run("role", "rm", "Quotas")
	if out := x.run("identity", "expand", "uid:77"); !strings.Contains(out, "local:jane") || !strings.Contains(out, "local:staff") {
		t.Error(out)
	}
	if out := x.run("identity", "find", "local:jane"); !strings.Contains(out, "S-1-5-21-") {
		t.Error(out)
	}
	x.password = "Test-12345"
	x.run("user", "set-password", "jane")
	x.run("user", "rm", "jane")
	x.run("group", "rm", "staff")
	for _, noun := range []string{"user", "group", "role"} {
		if out := x.run(noun, "list"); strings.Contains(out, "jane") || strings.Contains(out, "staff") || strings.Contains(out, "Quotas") {
			t.Error(out)
		}
	}
	if out := x.run("role", "privileges"); !strings.Contains(out, "FILE_FULL_ACCESS") {
		t.Error(out)
	}
}

func TestCLI_audit(t *testing.T) {
	a := newAPI(t)
	x := newTerminal(t, a)
	x.password = adminPassword
	x.run("login", "admin", "--host", x.host)
	x.run("audit", "send", "10.0.0.9", "--server-port", "5514", "--format", "json")
	if out := x.run("audit", "show"); !strings.Contains(out, "10.0.0.9:5514") || !strings.Contains(out, "json") {
		t.Error(out)
	}
	x.run("audit", "off")
	if a.audit.target.Enabled || a.audit.target.Server != "10.0.0.9:5514" {
		t.Errorf("%+v", a.audit.target)
	}
}
