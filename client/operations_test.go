package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

// notCalled are the operations of the API without a method of the client, and
// why. What Request can send needs none.
var notCalled = []struct{ operation, why string }{
	{"GET /openapi.json", "the description is for tools that make clients"},
	{"POST /v1/dns/resolve/", "an older name"},
	{"* /v1/dns/configs/{id}/resolve-names-to-ips", "there is one configuration"}, {"* /v1/dns/configs/{id}/resolve-ips-to-names", "there is one configuration"},
	{"* /v1/audit/config", "an older name"}, {"* /v1/audit/status", "an older name"},
	{"* /v1/auth/identity/find", "an older name"}, {"* /v1/auth/identity/expand", "an older name"},
	{"GET /v1/auth/auth-ids/{id}/related-identities/", "an older form of expand"},
	{"GET /v1/auth/local-username/{username}/related-identities/", "an older form of expand"},
	{"GET /v1/auth/posix-uids/{id}/related-identities/", "an older form of expand"},
	{"GET /v1/auth/posix-gids/{id}/related-identities/", "an older form of expand"},
	{"GET /v1/auth/sids/{id}/related-identities/", "an older form of expand"},
	{"PUT /v1/cluster/settings/ssl", "an older name"},
	{"GET /v1/checksumming/status", "it is always on"},
	{"* /v1/files/{ref}/info/acl", "an older form; v2 names trustees fully"},
	{"PUT /v1/files/{ref}/info/attributes", "the same as PATCH, for old clients"},
	{"* /v1/smb/shares/", "an older form"}, {"* /v1/smb/shares/{id}", "an older form"},
	{"* /v3/smb/shares/", "v2 takes names in place of ids, too"}, {"* /v3/smb/shares/{share_id}", "v2 takes names in place of ids, too"},
	{"* /v3/nfs/exports/", "v2 takes paths in place of ids, too"}, {"* /v3/nfs/exports/{export_id}", "v2 takes paths in place of ids, too"},
	{"GET /v1/snapshots/total-used-capacity", "the sizes of the file system have it"}, {"GET /v1/snapshots/capacity-used-per-snapshot/{id}", "SnapshotsKeep of one"}, {"* /v1/snapshots/", "an older form"}, {"* /v1/snapshots/{id}", "an older form"},
	{"* /v2/snapshots/", "an older form"}, {"* /v2/snapshots/{id}", "an older form"},
	{"* /v2/snapshots/status/", "an older form"}, {"* /v2/snapshots/status/{id}", "an older form"}, {"* /v4/snapshots/status/", "the same as v3 but for fields of other products"},
	{"* /v1/snapshots/policies/", "an older form"}, {"* /v1/snapshots/policies/{id}", "an older form"},
	{"* /v1/snapshots/policies/status/", "an older form"}, {"* /v1/snapshots/policies/status/{id}", "an older form"},
	{"* /v2/snapshots/policies/", "an older form"}, {"* /v2/snapshots/policies/{id}", "an older form"},
	{"* /v2/snapshots/policies/status/", "an older form"}, {"* /v2/snapshots/policies/status/{id}", "an older form"},
	{"GET /v3/snapshots/", "status has all of it, and paths"}, {"GET /v3/snapshots/{id}", "status has all of it, and paths"},
	{"GET /v3/snapshots/policies/", "status has all of it, and paths"}, {"GET /v3/snapshots/policies/{id}", "status has all of it, and paths"},
	{"PUT /v3/snapshots/{id}", "PATCH sets and clears, too"},
	{"DELETE /v1/files/{ref}/entries/{name}", "the file itself is removed by its path"},
	{"PATCH /v0/ftp/settings", "PUT with an entity tag does it"}, {"PATCH /v1/ssh/settings", "PUT with an entity tag does it"},
	{"PATCH /v1/smb/settings", "PUT with an entity tag does it"}, {"PATCH /v2/nfs/settings", "PUT with an entity tag does it"},
	{"PATCH /v1/time/settings", "PUT with an entity tag does it"}, {"PATCH /v1/web-ui/settings", "PUT with an entity tag does it"},
	{"PATCH /v1/file-system/settings/atime", "PUT does it"}, {"PATCH /v1/audit/syslog/config", "PUT does it"},
	{"PATCH /v1/auth/roles/{role_name}", "PUT with an entity tag does it"},
	{"PATCH /v2/nfs/exports/{ref}", "PUT with an entity tag does it"}, {"PATCH /v2/smb/shares/{ref}", "PUT with an entity tag does it"},
	{"PUT /v1/file-system/security/keys/{key_ref}", "PATCH does it"}, {"PUT /v3/snapshots/policies/{id}", "PATCH does it"},
	{"GET /v1/files/quotas/", "status has all of it, and paths"}, {"GET /v1/files/quotas/{id}", "status has all of it, and paths"},
	{"GET /v1/groups/{id}", "the list has all of it"}, {"GET /v1/groups/{id}/members/{member_id}", "the list has all of it"},
	{"GET /v1/auth/roles/{role_name}/members/{member_id}", "the list has all of it"},
	{"GET /v1/analytics/iops", "an older form of activity"},
	{"* /v1/network/settings", "an older form"}, {"* /v1/network/status/", "an older form"}, {"* /v1/network/status/{id}", "an older form"},
	{"GET /v2/network/interfaces/{interface_id}", "the list has all of it"},
	{"GET /v2/network/interfaces/{interface_id}/networks/{network_id}", "the list has all of it"},
	{"GET /v2/network/interfaces/{interface_id}/status/{node_id}", "the list has all of it"},
	{"* /v1/nfs/shares/", "an older form"}, {"* /v1/nfs/shares/{id}", "an older form"},
	{"POST /v1/files/{ref}/delete-tree", "an older form"}, {"GET /v1/files/{ref}/delete-tree/status", "an older form"},
	{"GET /v1/session/roles", "who-am-i has what they come to"},
	{"GET /v2/metrics/endpoints/default/data", "the other endpoint has all of it, and whole histograms"},
}

// excused tells why an operation needs no method.
func excused(op string) (why string) {
	method, path, _ := strings.Cut(op, " ")
	for _, x := range notCalled {
		if m, p, _ := strings.Cut(x.operation, " "); p == path && (m == "*" || m == method) {
			return x.why
		}
	}
	return ""
}

// description is what the test reads of api/openapi.json.
type description struct {
	Paths map[string]map[string]struct {
		Responses map[string]struct {
			Content map[string]struct {
				Schema struct {
					Type any
					Ref  string `json:"$ref"`
				}
			}
		}
	}
	Components struct {
		Schemas map[string]struct{ Type any }
	}
}

func readDescription(t *testing.T) *description {
	t.Helper()
	b, err := os.ReadFile("../api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var d description
	if err := json.Unmarshal(b, &d); err != nil || len(d.Paths) < 50 {
		t.Fatalf("%d paths, %v", len(d.Paths), err)
	}
	return &d
}

// operation finds what a request is for; the answer is an empty one.
func (d *description) operation(r *http.Request) (op, answer string) {
	got := strings.Split(r.URL.EscapedPath(), "/")
	best := -1
	for path, methods := range d.Paths {
		o, ok := methods[strings.ToLower(r.Method)]
		want := strings.Split(path, "/")
		if !ok || len(want) != len(got) {
			continue
		}
		literal := 0
		for i := range want {
			switch {
			case strings.HasPrefix(want[i], "{") && got[i] != "":
			case want[i] == got[i]:
				literal++
			default:
				literal = -1000
			}
		}
		if literal <= best {
			continue
		}
		best, op, answer = literal, r.Method+" "+path, "{}"
		for _, resp := range o.Responses {
			for _, c := range resp.Content {
				t := c.Schema.Type
				if name, ok := strings.CutPrefix(c.Schema.Ref, "#/components/schemas/"); ok {
					t = d.Components.Schemas[name].Type
				}
				if fmt.Sprint(t) == "array" || fmt.Sprint(t) == "[array null]" {
					answer = "[]"
				}
			}
		}
	}
	return op, answer
}

// Every operation of the API has a method of the client, or a reason not to.
func TestOperations(t *testing.T) {
	d := readDescription(t)
	var mu sync.Mutex
	called := map[string]bool{}
	unknown := map[string]bool{}
	complete := false // with nothing left out, requests must be for something
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		op, answer := d.operation(r)
		mu.Lock()
		defer mu.Unlock()
		if op == "" && complete {
			unknown[r.Method+" "+r.URL.EscapedPath()] = true
		}
		called[op] = true
		switch {
		case strings.HasSuffix(r.URL.Path, "/notify"):
			w.Header().Set("Content-Type", "text/event-stream")
		case strings.Contains(r.URL.Path, "/metrics/"):
			answer = "# EOF\n"
		}
		_, _ = io.WriteString(w, answer)
	})
	v := reflect.ValueOf(c)
	for i := range v.NumMethod() {
		m := v.Type().Method(i)
		if slices.Contains([]string{"Close", "SetToken", "Token", "Server", "Send", "Do"}, m.Name) {
			continue
		}
		for _, full := range []filling{nothing, structsEmpty, everything} {
			mu.Lock()
			complete = full == everything
			mu.Unlock()
			callWith(t, v.Method(i), full)
		}
	}
	for path := range unknown {
		t.Errorf("the client asks for what there is not: %s", path)
	}
	operations := map[string]bool{}
	for path, methods := range d.Paths {
		for method := range methods {
			op := strings.ToUpper(method) + " " + path
			operations[op] = true
			why := excused(op)
			switch {
			case !called[op] && why == "":
				t.Errorf("no method calls %s: add one to the client and a command that uses it, or a reason to notCalled above", op)
			case called[op] && why != "":
				t.Errorf("%s is called, and excused: %s", op, why)
			}
		}
	}
	for _, x := range notCalled {
		m, p, _ := strings.Cut(x.operation, " ")
		if _, ok := d.Paths[p]; !ok || m != "*" && !operations[x.operation] {
			t.Errorf("there is no %s to excuse", x.operation)
		}
	}
}

// callWith calls a method with made-up arguments, and takes all that it yields.
func callWith(t *testing.T, m reflect.Value, full filling) {
	t.Helper()
	var args []reflect.Value
	for i := range m.Type().NumIn() {
		in := m.Type().In(i)
		switch {
		case in.String() == "context.Context":
			args = append(args, reflect.ValueOf(t.Context()))
		case m.Type().IsVariadic() && i == m.Type().NumIn()-1:
		default:
			args = append(args, sample(in, full))
		}
	}
	for _, out := range m.Call(args) {
		if out.Kind() == reflect.Func && out.Type().String() != "context.CancelFunc" { // an iterator
			for range out.Seq2() {
				break
			}
		}
		if r, ok := out.Interface().(io.ReadCloser); ok && r != nil {
			_ = r.Close()
		}
	}
}

// filling is how much of arguments is given.
type filling int

const (
	nothing filling = iota
	structsEmpty
	everything
)

// sample makes an argument.
func sample(t reflect.Type, full filling) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.String:
		if full != nothing || t == reflect.TypeFor[Ref]() {
			v.SetString("7")
		}
	case reflect.Uint64, reflect.Uint, reflect.Uint32, reflect.Uint16:
		v.SetUint(7)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(full == everything)
	case reflect.Slice:
		if full == everything {
			v.Set(reflect.Append(v, sample(t.Elem(), full)))
		}
	case reflect.Interface:
		if t == reflect.TypeFor[io.Reader]() {
			v.Set(reflect.ValueOf(strings.NewReader("x")))
		}
	case reflect.Struct:
		if full != everything || t.PkgPath() == "time" {
			break
		}
		for i := range t.NumField() {
			if f := v.Field(i); f.CanSet() && f.Kind() != reflect.Struct && f.Kind() != reflect.Slice {
				f.Set(sample(f.Type(), full))
			}
		}
	}
	return v
}
