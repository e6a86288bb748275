package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"manifold/internal/fs"
)

func TestACL(t *testing.T) {
	a := newAPI(t)
	dir, file := a.mkdir("2", "d"), a.create("2", "f")
	a.must(200, "PATCH", "/v1/files/"+file+"/info/attributes", object{"mode": "0640", "owner_details": object{"id_type": "LOCAL_USER", "id_value": "guest"}})
	got := a.must(200, "GET", "/v2/files/"+file+"/info/acl", nil)
	if got.str("control", 0) != "PRESENT" || got.str("aces", 0, "type") != "ALLOWED" || got.header.Get("ETag") == "" {
		t.Errorf("%s", got.raw)
	}
	old := a.must(200, "GET", "/v1/files/"+file+"/info/acl", nil)
	if old.at("generated") != true || old.str("acl", "aces", 0, "trustee") != "501" || old.str("acl", "aces", 0, "trustee_details", "id_value") != "guest" {
		t.Errorf("%s", old.raw)
	}
	entries := []object{
		{"type": "ALLOWED", "flags": []string{"OBJECT_INHERIT", "CONTAINER_INHERIT"}, "trustee": object{"domain": "LOCAL", "name": "guest"}, "rights": []string{"READ", "ADD_FILE", "EXECUTE"}},
		{"type": "DENIED", "flags": []string{}, "trustee": object{"uid": 7}, "rights": []string{"DELETE"}},
		{"type": "ALLOWED", "flags": []string{}, "trustee": object{"name": "Everyone"}, "rights": []string{"ACCESS_RIGHTS_ALL"}},
	}
	put := a.must(200, "PUT", "/v2/files/"+dir+"/info/acl", object{"control": []string{"PRESENT", "AUTO_INHERIT", "PROTECTED"}, "posix_special_permissions": []string{"STICKY_BIT"}, "aces": entries})
	if len(put.list("aces")) != 3 || put.str("aces", 0, "trustee", "auth_id") != "501" || put.str("aces", 1, "type") != "DENIED" || put.str("control", 2) != "PROTECTED" ||
		put.str("posix_special_permissions", 0) != "STICKY_BIT" || put.str("aces", 2, "trustee", "domain") != "WORLD" {
		t.Errorf("%s", put.raw)
	}
	if again := a.must(200, "GET", "/v2/files/"+dir+"/info/acl", nil); string(again.raw) != string(put.raw) {
		t.Errorf("%s, not %s", again.raw, put.raw)
	}
	// What was read can be written back.
	a.must(200, "PUT", "/v2/files/"+dir+"/info/acl", put.json, "If-Match", a.must(200, "GET", "/v2/files/"+dir+"/info/acl", nil).header.Get("ETag"))
	if again := a.must(200, "GET", "/v2/files/"+dir+"/info/acl", nil); string(again.raw) != string(put.raw) {
		t.Errorf("%s, not %s", again.raw, put.raw)
	}
	a.fails(412, "http_precondition_failed_error", "PUT", "/v2/files/"+dir+"/info/acl", object{"aces": entries}, "If-Match", `"x"`)
	a.must(200, "PUT", "/v1/files/"+dir+"/info/acl", a.must(200, "GET", "/v1/files/"+dir+"/info/acl", nil).at("acl"))
	// Children inherit.
	child := a.create(dir, "c")
	if c := a.must(200, "GET", "/v1/files/"+child+"/info/acl", nil); c.at("generated") != false || c.str("acl", "aces", 0, "flags", 0) != "INHERITED" {
		t.Errorf("%s", c.raw)
	}
	for _, bad := range []object{
		{"aces": []object{{"type": "MAYBE", "trustee": object{"uid": 1}}}}, {"aces": []object{{"type": "ALLOWED", "rights": []string{"FLY"}, "trustee": object{"uid": 1}}}},
		{"aces": []object{{"type": "ALLOWED"}}}, {"control": []string{"X"}},
	} {
		a.fails(400, "decode_error", "PUT", "/v2/files/"+dir+"/info/acl", bad)
	}
	a.fails(400, "fs_too_many_aces_error", "PUT", "/v2/files/"+dir+"/info/acl", object{"aces": make([]object, 201)})
}

func TestACL_explain(t *testing.T) {
	a := newAPI(t)
	dir := a.mkdir("2", "d")
	f := a.create(dir, "f")
	a.must(200, "PUT", "/v2/files/"+f+"/info/acl", object{"aces": []object{
		{"type": "DENIED", "flags": []string{}, "trustee": object{"uid": 7}, "rights": []string{"MODIFY"}},
		{"type": "ALLOWED", "flags": []string{}, "trustee": object{"name": "Guests"}, "rights": []string{"READ", "MODIFY"}},
	}})
	at := "/v1/files/" + f + "/info/acl/"
	x := a.must(200, "POST", at+"explain-rights", object{"user": object{"uid": 7}, "primary_group": object{"name": "Guests"}, "auxiliary_identities": []object{{"gid": 9}}})
	if x.at("annotated_aces", 0, "trustee_matches") != true || x.str("annotated_aces", 0, "newly_denied", 0) != "MODIFY" || x.str("annotated_aces", 1, "newly_allowed", 0) != "READ" ||
		slices.Contains(x.list("effective_rights"), any("MODIFY")) || !slices.Contains(x.list("effective_rights"), any("READ")) || x.at("requestor", "auxiliary_identities", 0, "gid") != 9.0 {
		t.Errorf("%s", x.raw)
	}
	// An administrator's role shows.
	if x = a.must(200, "POST", at+"explain-rights", object{"user": object{"name": "admin"}}); !slices.Contains(x.list("admin_priv_rights"), any("MODIFY")) || !slices.Contains(x.list("effective_rights"), any("MODIFY")) {
		t.Errorf("%s", x.raw)
	}
	m := a.must(200, "POST", at+"explain-posix-mode", nil)
	if m.str("mode") != a.must(200, "GET", "/v1/files/"+f+"/info/attributes", nil).str("mode") || m.str("annotated_acl", 1, "owner_rights", "match") != "POTENTIALLY_AFFECTED" {
		t.Errorf("%s", m.raw)
	}
	s := a.must(200, "POST", at+"explain-set-mode", object{"mode": "0600"})
	result, _ := json.Marshal(s.at("result_acl", "aces"))
	if len(s.list("annotated_aces")) == 0 || len(s.list("initial_acl", "aces")) != 2 {
		t.Errorf("%s", s.raw)
	}
	// The prophecy comes true.
	a.must(200, "PATCH", "/v1/files/"+f+"/info/attributes", object{"mode": "0600"})
	now := a.must(200, "GET", "/v2/files/"+f+"/info/acl", nil)
	if got, _ := json.Marshal(now.at("aces")); string(got) != string(result) {
		t.Errorf("chmod led to %s, not %s", got, result)
	}
	a.fails(400, "decode_error", "POST", at+"explain-set-mode", object{"mode": "9"})

	// What the directory gives and takes: DELETE by its w and x, unless it is sticky.
	a.must(200, "PATCH", "/v1/files/"+f+"/info/attributes", object{"mode": "0000"})
	for mode, want := range map[string]bool{"0777": true, "0776": false, "0775": false, "1777": false} {
		a.must(200, "PATCH", "/v1/files/"+dir+"/info/attributes", object{"mode": mode})
		x = a.must(200, "POST", at+"explain-rights", object{"user": object{"uid": 7}})
		if got := slices.Contains(x.list("effective_rights"), any("DELETE")); got != want {
			t.Errorf("in a directory of mode %s DELETE is %v: %s", mode, got, x.raw)
		}
	}
	a.must(200, "PATCH", "/v1/files/"+f+"/info/attributes", object{"owner_details": object{"id_type": "NFS_UID", "id_value": "7"}, "mode": "0000"})
	a.must(200, "PATCH", "/v1/files/"+dir+"/info/attributes", object{"mode": "1777"})
	x = a.must(200, "POST", at+"explain-rights", object{"user": object{"uid": 7}})
	if !slices.Contains(x.list("effective_rights"), any("DELETE")) || !slices.Contains(x.list("implicit_rights_from_parent"), any("DELETE")) || !slices.Contains(x.list("max_rights"), any("DELETE")) {
		t.Errorf("the owner in a sticky directory: %s", x.raw)
	}
}

func TestStreams(t *testing.T) {
	a := newAPI(t)
	f := a.create("2", "f")
	all := "/v1/files/" + f + "/streams/"
	s := a.must(200, "POST", all, object{"stream_name": "notes"})
	one := all + s.str("id")
	a.fails(409, "fs_entry_exists_error", "POST", all, object{"stream_name": "notes"})
	if w := a.must(200, "PUT", one+"/data", []byte("hello world")); w.str("size") != "11" || w.header.Get("ETag") == "" {
		t.Errorf("%s", w.raw)
	}
	a.must(200, "PATCH", one+"/data?offset=6", []byte("there"))
	if d := a.must(200, "GET", one+"/data?offset=4&length=7", nil); string(d.raw) != "o there" {
		t.Errorf("%s", d.raw)
	}
	a.must(200, "POST", one+"/punch-hole", object{"offset": "0", "size": "5"})
	if d := a.must(200, "GET", one+"/data", nil); string(d.raw) != "\x00\x00\x00\x00\x00 there" {
		t.Errorf("%q", d.raw)
	}
	a.must(200, "PATCH", one+"/attributes", object{"size": "3"})
	if r := a.must(200, "POST", one+"/rename", object{"stream_name": "other"}); r.str("name") != "other" || r.str("size") != "3" {
		t.Errorf("%s", r.raw)
	}
	if l := a.must(200, "GET", all, nil).list(); len(l) != 1 {
		t.Errorf("%v", l)
	}
	// A stream is a source and a target of copies.
	a.must(200, "PUT", "/v1/files/"+f+"/data", []byte("content"))
	if c := a.must(200, "POST", one+"/copy-chunk", object{"source_id": f}); len(c.raw) != 0 || c.header.Get("ETag") == "" {
		t.Errorf("%s", c.raw)
	}
	if d := a.must(200, "GET", one+"/data", nil); string(d.raw) != "content" {
		t.Errorf("%q", d.raw)
	}
	a.fails(412, "http_precondition_failed_error", "PUT", one+"/data", []byte("x"), "If-Match", `"x"`)
	a.must(200, "DELETE", one, nil)
	a.fails(404, "fs_no_such_entry_error", "GET", one+"/attributes", nil)
}

func TestCopyChunk(t *testing.T) {
	a := newAPI(t)
	src, dst := a.create("2", "src"), a.create("2", "dst")
	a.must(200, "PUT", "/v1/files/"+src+"/data", []byte(strings.Repeat("abcdefgh", 1000)))
	at := a.must(200, "GET", "/v1/files/"+src+"/info/attributes", nil).header.Get("ETag")
	in := any(object{"source_path": "/src", "source_offset": "8", "target_offset": "0", "length": "7000", "source_etag": at})
	for range 10 {
		c := a.must(200, "POST", "/v1/files/"+dst+"/copy-chunk", in)
		if in = c.json; in == nil {
			break
		}
	}
	if d := a.must(200, "GET", "/v1/files/"+dst+"/data", nil); string(d.raw) != strings.Repeat("abcdefgh", 875) {
		t.Errorf("%d bytes", len(d.raw))
	}
	a.fails(412, "http_precondition_failed_error", "POST", "/v1/files/"+dst+"/copy-chunk", object{"source_path": "/src", "source_etag": `"x"`})
	a.fails(404, "fs_no_such_entry_error", "POST", "/v1/files/"+dst+"/copy-chunk", object{"source_path": "/gone"})
	a.fails(400, "decode_error", "POST", "/v1/files/"+dst+"/copy-chunk", object{})
	a.must(200, "POST", "/v1/files/"+dst+"/punch-hole", object{"offset": "0", "size": "4"})
	if d := a.must(200, "GET", "/v1/files/"+dst+"/data?length=6", nil); string(d.raw) != "\x00\x00\x00\x00ef" {
		t.Errorf("%q", d.raw)
	}
}

func TestUserMetadata(t *testing.T) {
	a := newAPI(t)
	f := a.create("2", "f")
	all := "/v1/files/" + f + "/user-metadata/"
	for _, k := range []string{"b", "a", "c%2Fd"} {
		a.must(200, "PUT", all+"generic/"+k, object{"value": "aGk="})
	}
	a.must(200, "POST", all+"s3/x", object{"value": ""})
	a.fails(409, "fs_user_metadata_key_already_exists_error", "POST", all+"s3/x", object{"value": ""})
	a.fails(400, "decode_error", "PUT", all+"generic/a", object{"value": "?"})
	a.fails(404, "fs_user_metadata_key_not_found_error", "GET", all+"generic/none", nil)
	a.fails(404, "http_not_found_error", "GET", all+"posix/a", nil)
	if v := a.must(200, "GET", all+"generic/a", nil); v.str("value") != "aGk=" {
		t.Errorf("%s", v.raw)
	}
	var got []string
	for next := all + "?limit=2"; next != ""; {
		p := a.must(200, "GET", next, nil)
		for i := range p.list("entries") {
			got = append(got, p.str("entries", i, "type")+" "+p.str("entries", i, "key"))
		}
		next = p.str("paging", "next")
	}
	if want := []string{"GENERIC a", "GENERIC b", "GENERIC c/d", "S3 x"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	a.must(200, "DELETE", all+"generic/a", nil)
	if p := a.must(200, "GET", all+"generic/", nil); len(p.list("entries")) != 2 || p.str("paging", "next") != "" {
		t.Errorf("%s", p.raw)
	}
}

func TestFileLock(t *testing.T) {
	a := newAPI(t)
	f := a.create("2", "f")
	at := "/v1/files/" + f + "/file-lock"
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	got := a.must(200, "PATCH", at, object{"retention_period": until, "legal_hold": true})
	if got.at("lock", "legal_hold") != true || got.str("lock", "retention_period") != until {
		t.Errorf("%s", got.raw)
	}
	a.fails(409, "fs_file_locked_error", "DELETE", "/v1/files/"+f, nil)
	a.fails(409, "fs_file_locked_error", "PATCH", at, object{"retention_period": time.Now().Format(time.RFC3339)})
	a.must(200, "PATCH", at, object{"legal_hold": false})
	a.fails(400, "decode_error", "PATCH", at, object{})
	a.fails(412, "http_precondition_failed_error", "PATCH", at, object{"legal_hold": true}, "If-Match", `"x"`)
}

func TestSample(t *testing.T) {
	a := newAPI(t)
	d := a.mkdir("2", "d")
	big, small := a.create(d, "big"), a.create("2", "small")
	a.must(200, "PUT", "/v1/files/"+big+"/data", []byte(strings.Repeat("x", 1<<20)))
	a.must(200, "PUT", "/v1/files/"+small+"/data", []byte("x"))
	n := map[string]int{}
	got := a.must(200, "GET", "/v1/files/2/sample/?by-value=data&limit=500", nil)
	for i := range got.list() {
		n[got.str(i, "id")]++
	}
	if n[big]+n[small] != 500 || n[big] < 450 {
		t.Errorf("%v", n)
	}
	if got := a.must(200, "GET", "/v1/files/2/sample/?by-value=named_streams&limit=5", nil).list(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	a.fails(400, "http_bad_request_error", "GET", "/v1/files/2/sample/?by-value=luck", nil)
	a.fails(400, "fs_not_a_directory_error", "GET", "/v1/files/"+big+"/sample/", nil)
}

// watch opens a stream of changes and answers its messages.
func (a *api) watch(path string, header ...string) (*http.Response, func() string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), "GET", a.url+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := a.hc.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = resp.Body.Close() })
	r := bufio.NewReader(resp.Body)
	return resp, func() string {
		for {
			l, err := r.ReadString('\n')
			if err != nil {
				return "end: " + err.Error()
			}
			if l = strings.TrimSuffix(l, "\n"); l != "" {
				return l
			}
		}
	}
}

func TestNotify(t *testing.T) {
	a := newAPI(t)
	d := a.mkdir("2", "d")
	sub := a.mkdir(d, "sub")
	resp, next := a.watch("/v1/files/" + d + "/notify?filter=child_file_added,child_dir_removed&recursive=True")
	if l := next(); l != ": watching" || resp.Header.Get("Content-Type") != "text/event-source" {
		t.Fatalf("%q %v", l, resp.Header)
	}
	browser, first := a.watch("/v1/files/"+d+"/notify", "Accept", "text/event-stream")
	if l := first(); l != ": watching" || browser.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%q %v", l, browser.Header)
	}
	var want []string
	for i := range 100 {
		want = append(want, a.create(sub, fmt.Sprint("f", i)))
	}
	var got []changeEvent
	for len(got) < len(want) {
		l, ok := strings.CutPrefix(next(), "data: ")
		if !ok {
			t.Fatalf("%q", l)
		}
		var es []changeEvent
		if err := json.Unmarshal([]byte(l), &es); err != nil {
			t.Fatal(err)
		}
		got = append(got, es...)
	}
	for i, e := range got {
		if e.Type != "child_file_added" || e.Path != fmt.Sprint("sub/f", i) || !slices.Equal(e.Spine, []string{sub, want[i]}) || e.Stream != nil {
			t.Fatalf("%d: %+v", i, e)
		}
	}
	a.must(200, "DELETE", "/v1/files/"+a.mkdir(d, "gone"), nil)
	if l := next(); !strings.Contains(l, `"type":"child_dir_removed","path":"gone"`) {
		t.Errorf("%q", l)
	}
	if l := first(); !strings.Contains(l, `"child_dir_added","path":"gone"`) {
		t.Errorf("%q", l)
	}
	a.fails(400, "http_bad_request_error", "GET", "/v1/files/"+d+"/notify?filter=nonsense", nil)
	a.fails(400, "fs_not_a_directory_error", "GET", "/v1/files/"+want[0]+"/notify", nil)
	close(a.stopping)
	if l := next(); !strings.HasPrefix(l, "end: ") {
		t.Errorf("%q", l)
	}
}

// fallenBehind is a file system on which every watcher falls behind.
type fallenBehind struct{ fs.FS }

func (f fallenBehind) Watch(_ context.Context, dir fs.FileID, _ bool, _ fs.EventType) (<-chan fs.Event, error) {
	ch := make(chan fs.Event, 3)
	ch <- fs.Event{Type: fs.EventAdded, Dir: dir, Name: "a", ID: 100, Object: fs.File}
	ch <- fs.Event{Type: fs.EventResync, Dir: dir}
	close(ch)
	return ch, nil
}

// Whoever cannot follow loses the stream, and is told.
func TestNotify_missed(t *testing.T) {
	a := newAPI(t)
	a.options.FS = fallenBehind{a.fs}
	srv := httptest.NewServer(New(a.options))
	t.Cleanup(srv.Close)
	a.url = srv.URL
	_, next := a.watch("/v1/files/2/notify")
	for _, want := range []string{": watching", `data: [{"type":"child_file_added","path":"a","spine":["100"],"stream_name":null}]`, ": fs_watcher_missed_events_error", "end: unexpected EOF"} {
		if l := next(); l != want {
			t.Errorf("%q, want %q", l, want)
		}
	}
}
