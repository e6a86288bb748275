package rest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"manifold/internal/config"
)

// unfuzzed operations hash passwords or make keys, which takes too long.
var unfuzzed = map[string]bool{
	"POST /v1/session/login": true, "POST /v1/session/change-password": true, "POST /v1/users/{id}/setpassword": true, "POST /v1/users/": true, "PUT /v1/users/{id}": true,
}

// Whatever a signed-in client sends to any operation, the server answers as its
// description says and finds no fault with itself.
func FuzzRequest(f *testing.F) {
	a := newAPI(f)
	checker, err := described()
	if err != nil {
		f.Fatal(err)
	}
	handler := New(a.options)
	rs := allRoutes()
	for i := range rs {
		f.Add(uint16(i), "2", "", "", []byte("{}"))
	}
	for _, s := range []struct{ op, params, query, body string }{
		{"POST /v1/files/{ref}/entries/", "2", "", `{"action":"CREATE_SYMLINK","name":"l","old_path":"/x","symlink_target_type":"FS_FILE_TYPE_FILE"}`},
		{"POST /v1/files/{ref}/entries/", "/", "", `{"action":"RENAME","name":"m","old_path":"/l","clobber":true}`},
		{"GET /v1/files/{ref}/entries/", "/", "limit=1&after=bg&smb-pattern=*.t?t", ""},
		{"PATCH /v1/files/{ref}/info/attributes", "2", "", `{"mode":"0755","owner_details":{"id_type":"NFS_UID","id_value":"1"},"access_time":"2020-02-02T02:02:02.5Z","size":"3"}`},
		{"PUT /v2/files/{ref}/info/acl", "2", "", `{"control":["PRESENT"],"posix_special_permissions":["STICKY_BIT"],"aces":[{"type":"ALLOWED","flags":["OBJECT_INHERIT"],"trustee":{"name":"local:guest"},"rights":["READ"]}]}`},
		{"POST /v1/files/{ref}/info/acl/explain-rights", "2", "", `{"user":{"name":"uid:7"},"primary_group":{"gid":7},"auxiliary_identities":[{"sid":"S-1-1-0"}]}`},
		{"PUT /v1/files/{ref}/data", "/f", "", "some bytes"}, {"PATCH /v1/files/{ref}/data", "/f", "offset=18446744073709551615", "x"},
		{"GET /v1/files/{ref}/data", "/f", "offset=1&length=2&snapshot=1", ""},
		{"POST /v1/files/{ref}/punch-hole", "/f", "", `{"offset":"1","size":"18446744073709551615"}`},
		{"POST /v1/files/{ref}/copy-chunk", "/f", "", `{"source_path":"/f","source_offset":"0","target_offset":"5","length":"3"}`},
		{"PUT /v1/files/{ref}/user-metadata/{type}/{key}", "/f\x00generic\x00k", "", `{"value":"aGk="}`},
		{"PATCH /v1/files/{ref}/file-lock", "/f", "", `{"retention_period":"2030-01-01T00:00:00Z","legal_hold":true}`},
		{"POST /v2/nfs/exports/", "", "allow-fs-path-create=True", `{"export_path":"/e","fs_path":"/e","restrictions":[{"host_restrictions":["10.0.0.1-9","*.x"],"user_mapping":"NFS_MAP_ALL","map_to_user":{"id_type":"NFS_UID","id_value":"1"},"map_to_group":{"id_type":"NFS_GID","id_value":"1"}}]}`},
		{"POST /v2/smb/shares/", "", "", `{"share_name":"s","fs_path":"/","permissions":[{"type":"DENIED","trustee":{"domain":"WORLD"},"rights":["ALL"]}],"network_permissions":[{"type":"ALLOWED","address_ranges":["10.0.0.0/8"],"rights":["READ"]}]}`},
		{"POST /v1/snapshots/policies/", "", "", `{"name":"p","source_file_ids":["2"],"schedules":[{"creation_schedule":{"timezone":"UTC","frequency":"SCHEDULE_HOURLY_OR_LESS","on_days":["EVERY_DAY"],"window_end_hour":23,"fire_every":5,"fire_every_interval":"FIRE_IN_MINUTES"},"expiration_time_to_live":"2days"}]}`},
		{"PUT /v1/s3/buckets/{name}/policy", "b", "allow-remove-self=true", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Principal":{"Qumulo":["local:guest"]}}]}`},
		{"POST /v1/s3/buckets/", "", "", `{"name":"bucket","path":"/bucket","create_fs_path":true}`},
		{"PATCH /v1/s3/settings", "", "", `{"multipart_upload_expiry_interval":"3days","base_path":"/"}`},
		{"PUT /v2/cluster/settings/ssl/certificate", "", "", `{"certificate":"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----","private_key":"x"}`},
		{"POST /v1/file-system/security/keys/", "", "", `{"name":"k","public_key":"-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----","verification_signature":"MA=="}`},
		{"GET /v1/files/{ref}/notify", "2", "filter=child_file_added&recursive=true", ""},
		{"GET /v1/analytics/capacity-history/", "", "begin-time=1&end-time=2&interval=weekly", ""},
		{"GET /v1/files/locks/nlm/byte-range/", "", "owner_address=::1&after=MDpi", ""},
		{"POST /v1/dns/resolve-names-to-ips", "", "", `["a.example"]`},
	} {
		for i := range rs {
			if rs[i].Method+" "+rs[i].Path == s.op {
				f.Add(uint16(i), s.params, s.query, "", []byte(s.body))
			}
		}
	}
	f.Fuzz(func(t *testing.T, op uint16, params, query, tag string, body []byte) {
		r := &rs[int(op)%len(rs)]
		if unfuzzed[r.Method+" "+r.Path] {
			return
		}
		values := strings.Split(params, "\x00")
		path := paramPattern.ReplaceAllStringFunc(r.Path, func(string) string {
			v := values[0]
			if len(values) > 1 {
				values = values[1:]
			}
			if v == "" {
				v = "0"
			}
			return url.PathEscape(v)
		})
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		u.RawQuery = query
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if r.Path == "/v1/files/{ref}/notify" {
			cancel() // else it goes on for ever
		}
		req := httptest.NewRequestWithContext(ctx, r.Method, "/", strings.NewReader(string(body)))
		req.URL, req.RequestURI = u, u.RequestURI()
		req.Header.Set("Authorization", "Bearer "+a.token)
		if len(tag) > 0 {
			req.Header["If-Match"] = []string{tag}
		}
		if _, raw := r.In.([]byte); raw {
			req.Header.Set("Content-Type", contentType)
		}
		w := httptest.NewRecorder()
		checker.Handler(handler, func(err error) { t.Error(err) }).ServeHTTP(w, req)
		if w.Code == http.StatusInternalServerError {
			t.Errorf("%s %s?%s %q: %s", r.Method, path, query, body, w.Body)
		}
	})
}

// Values that requests are made of are read or refused, and what is read is
// written as it came.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"0755", "2020-02-02T02:02:02.123456789Z", "2days", "never", "MDpi", `"18446744073709551615"`, `5`, `""`, "child_file_added,self_removed", "local:guest", "S-1-5-88-1-7", "DENIED"} {
		f.Add(s)
	}
	now := time.Unix(1e9, 0)
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := parseMode(s); err == nil && modeText(m) != s {
			if n, err := parseMode(modeText(m)); err != nil || n != m {
				t.Errorf("mode %q is %v, written %s", s, m, modeText(m))
			}
		}
		if at, err := parseTime("t", s); err == nil && !at.IsZero() {
			if again, err := parseTime("t", timestamp(at)); err != nil || !again.Equal(at) {
				t.Errorf("time %q is %v, written %s", s, at, timestamp(at))
			}
		}
		if at, err := timeToLive(s, now); err == nil && !at.IsZero() && !at.After(now) {
			t.Errorf("time to live %q ends at %v", s, at)
		}
		if k, err := parseNameKey(s); err == nil && k != "" {
			if again, err := parseNameKey(nameKey(k)); err != nil || again != k {
				t.Errorf("key %q is %q", s, k)
			}
		}
		var n u64
		_ = n.UnmarshalJSON([]byte(s))
		var o optional[[]string]
		_ = o.UnmarshalJSON([]byte(s))
		_, _, _ = parseFilter(s)
		_, _ = parseShareRights([]string{s})
		_, _ = parseDeny(s)
		_ = config.CheckShareName(s)
	})
}
