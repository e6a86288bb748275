package rest

import "testing"

func TestPermissionsMode(t *testing.T) {
	a := newAPI(t)
	const at = "/v1/file-system/settings/permissions"
	if got := a.must(200, "GET", at, nil); string(got.raw) != `{"mode":"CROSS_PROTOCOL"}` {
		t.Errorf("%s", got.raw)
	}
	explain := "/v1/files/2/info/acl/explain-set-mode"
	a.must(200, "POST", explain, object{"mode": "0750"})
	if got := a.must(200, "PUT", at, object{"mode": "NATIVE"}); got.str("mode") != "NATIVE" {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", at, nil); got.str("mode") != "NATIVE" {
		t.Errorf("%s", got.raw)
	}
	a.fails(409, "fs_permissions_mode_operation_unsupported_error", "POST", explain, object{"mode": "0750"})
	a.fails(400, "http_bad_request_error", "PUT", at, object{"mode": "_DEPRECATED_MERGED_V1"})
	if e := a.audit.events[len(a.audit.events)-1]; e.Operation != "fs_modify_permissions_settings" || e.Status != "http_bad_request" {
		t.Errorf("%+v", e)
	}
}
