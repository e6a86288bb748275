package rest

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"

	"manifold/api/apitest"
)

// succeeded are the operations that answered success in this run, by any test.
var succeeded struct {
	sync.Mutex
	ops map[string]bool
}

// answered notes which operations of a handler answer success.
func answered(c *apitest.Checker, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusOf{ResponseWriter: w}
		h.ServeHTTP(s, r)
		op, ok := c.Find(r.Method, r.URL.EscapedPath())
		if !ok || s.status >= 300 {
			return
		}
		succeeded.Lock()
		defer succeeded.Unlock()
		if succeeded.ops == nil {
			succeeded.ops = map[string]bool{}
		}
		succeeded.ops[op] = true
	})
}

type statusOf struct {
	http.ResponseWriter
	status int
}

func (s *statusOf) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusOf) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// unanswered cannot succeed here: the jobs of the fake file system are over at once.
var unanswered = map[string]bool{
	"GET /v1/tree-delete/jobs/{id}": true, "DELETE /v1/tree-delete/jobs/{id}": true, "GET /v1/files/{ref}/delete-tree/status": true,
}

// The answer of every operation has to have been held against the description
// by some test; a run of chosen tests proves nothing about that.
func TestMain(m *testing.M) {
	code := m.Run()
	whole := true
	for _, name := range []string{"test.run", "test.skip", "test.fuzz", "test.list", "test.bench"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			whole = false
		}
	}
	if c, err := described(); code == 0 && whole && err == nil {
		for _, op := range c.Operations() {
			if !succeeded.ops[op] && !unanswered[op] {
				fmt.Fprintln(os.Stderr, "no test saw an answer of success of", op)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// Operations that other tests leave out: other versions and spellings of what
// they do.
func TestOtherVersions(t *testing.T) {
	a := newAPI(t)
	a.mkdir("2", "d")
	f := a.create("2", "f")
	a.must(200, "GET", "/v1/auth/auth-ids/500/related-identities/", nil)
	a.must(200, "GET", "/v1/auth/local-username/admin/related-identities/", nil)
	a.must(200, "GET", "/v1/auth/sids/S-1-1-0/related-identities/", nil)
	a.must(200, "POST", "/v1/auth/identity/find", object{"name": "admin"})
	a.must(200, "POST", "/v1/auth/identity/expand", object{"id": object{"name": "admin"}})
	a.must(200, "GET", "/v1/groups/513", nil)
	a.must(200, "POST", "/v1/dns/resolve/", []string{"198.51.100.9"})
	for _, m := range []string{"PUT", "PATCH"} {
		a.must(200, m, "/v1/audit/config", object{"enabled": false, "server_address": ""})
	}
	a.must(200, "PUT", "/v1/ssh/settings", object{"enabled": true})
	a.must(200, "PATCH", "/v1/s3/settings", object{"secure": true})

	token := a.must(200, "POST", "/v1/auth/access-tokens/", object{"user": object{"name": "admin"}}).str("id")
	a.must(200, "GET", "/v1/auth/access-tokens/"+token, nil)

	stream := a.must(200, "POST", "/v1/files/"+f+"/streams/", object{"stream_name": "s"}).str("id")
	a.must(200, "GET", "/v1/files/"+f+"/streams/"+stream+"/attributes", nil)

	key := a.must(200, "POST", "/v1/s3/access-keys/", object{"user": object{"name": "admin"}}).str("access_key_id")
	a.must(200, "DELETE", "/v1/s3/access-keys/"+key, nil)
	a.must(200, "POST", "/v1/s3/buckets/", object{"name": "b", "path": "/d"})
	a.must(200, "PATCH", "/v1/s3/buckets/b", object{"versioning": "Enabled"})
	a.must(200, "POST", "/v1/s3/buckets/b/policy/explain-access", object{"identity": object{"name": "admin"}})
	a.must(200, "DELETE", "/v1/s3/buckets/b/uploads/u1", nil)
	a.must(200, "DELETE", "/v1/s3/buckets/b", nil)

	for v, at := range []string{"/v1/smb/shares/", "/v2/smb/shares/", "/v3/smb/shares/"} {
		s := object{"share_name": fmt.Sprint("s", v), "fs_path": "/d"}
		id := a.must(200, "POST", at, s).str("id")
		a.must(200, "PUT", at+id, s)
		if v > 0 {
			a.must(200, "PATCH", at+id, object{"description": "d"})
		}
		a.must(200, "GET", at+id, nil)
		a.must(200, "DELETE", at+id, nil)
	}
	for v, at := range []string{"/v1/nfs/shares/", "/v2/nfs/exports/", "/v3/nfs/exports/"} {
		e := object{"export_path": fmt.Sprint("/e", v), "fs_path": "/d", "restrictions": []object{}}
		id := a.must(200, "POST", at, e).str("id")
		a.must(200, "PUT", at+id, e)
		if v > 0 {
			a.must(200, "PATCH", at+id, object{"description": "d"})
		}
		a.must(200, "GET", at+id, nil)
		a.must(200, "DELETE", at+id, nil)
	}
	schedule := object{"creation_schedule": object{"timezone": "UTC", "frequency": "SCHEDULE_DAILY_OR_WEEKLY", "on_days": []string{"MON"}}, "expiration_time_to_live": "2days"}
	for v, at := range []string{"/v1/snapshots/policies/", "/v2/snapshots/policies/", "/v3/snapshots/policies/"} {
		p := object{"policy_name": fmt.Sprint("p", v), "source_file_id": "2", "schedule": schedule}
		if v == 0 {
			p = object{"name": "p", "source_file_ids": []string{"2"}, "schedules": []object{schedule}}
		}
		id := a.must(200, "POST", at, p).jsonNumber("id")
		a.must(200, "PUT", at+id, p)
		a.must(200, "PATCH", at+id, object{"enabled": false})
		a.must(200, "GET", at+id, nil)
		a.must(200, "GET", at+"status/"+id, nil)
		a.must(200, "GET", at+"status/", nil)
		a.must(200, "DELETE", at+id, nil)
	}
	for _, x := range []struct {
		at, status string
		in         object
	}{
		{"/v1/snapshots/", "", object{"name": "s", "expiration": ""}},
		{"/v2/snapshots/", "/v2/snapshots/status/", object{"name": "s2", "expiration": "", "source_file_id": "2"}},
		{"/v3/snapshots/", "/v3/snapshots/status/", object{"name_suffix": "s3", "expiration": "", "source_file_id": "2"}},
	} {
		id := a.must(200, "POST", x.at, x.in).jsonNumber("id")
		one := a.must(200, "GET", x.at+id, nil)
		a.must(200, "PUT", x.at+id, one.json)
		a.must(200, "PATCH", x.at+id, object{"expiration": "2040-01-01T00:00:00Z"})
		if x.status != "" {
			a.must(200, "GET", x.status+id, nil)
		}
		if r := a.send("DELETE", x.at+id, nil); r.status >= 300 {
			t.Errorf("DELETE %s%s: %d %s", x.at, id, r.status, r.raw)
		}
	}
}
