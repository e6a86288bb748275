package rest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"manifold/internal/fs"
)

func TestAttributes(t *testing.T) {
	a := newAPI(t)
	root := a.must(200, "GET", "/v1/files/%2F/info/attributes", nil)
	if root.str("path") != "/" || root.str("name") != "" || root.str("id") != "2" || root.str("type") != "FS_FILE_TYPE_DIRECTORY" {
		t.Errorf("root: %s", root.raw)
	}
	if byID := a.must(200, "GET", "/v1/files/2/info/attributes", nil); !bytes.Equal(byID.raw, root.raw) {
		t.Errorf("by id: %s\nby path: %s", byID.raw, root.raw)
	}
	id := a.mkdir("2", "a b+c")
	a.create(id, "f")
	dir := a.must(200, "GET", "/v1/files/%2Fa%20b%2Bc/info/attributes", nil)
	if dir.str("path") != "/a b+c/" || dir.str("name") != "a b+c" || dir.str("id") != id || dir.str("file_number") != id ||
		dir.at("child_count") != 1.0 || dir.str("mode") != "0755" || dir.str("owner") != "500" || dir.str("group") != "513" ||
		dir.str("owner_details", "id_type") != "LOCAL_USER" || dir.str("owner_details", "id_value") != "admin" ||
		dir.str("group_details", "id_type") != "LOCAL_GROUP" || dir.str("group_details", "id_value") != "Users" {
		t.Errorf("%s", dir.raw)
	}
	a.must(200, "GET", "/v1/files/%2Fa%20b+c%2F/info/attributes", nil) // a plus is a plus, a slash at the end is fine

	const f = "/v1/files/%2Fa%20b%2Bc%2Ff/info/attributes"
	uid := fmt.Sprint(3<<32 + 1000)
	got := a.must(200, "PATCH", f, object{"mode": "1640", "owner": uid, "group_details": object{"id_type": "NFS_GID", "id_value": "77"},
		"size": "5000", "modification_time": "2024-02-04T19:29:48.136708478Z", "extended_attributes": object{"hidden": true}, "nonsense": 1})
	if got.str("mode") != "1640" || got.str("owner") != uid || got.str("owner_details", "id_type") != "NFS_UID" || got.str("owner_details", "id_value") != "1000" ||
		got.str("group_details", "id_value") != "77" || got.str("size") != "5000" || got.str("modification_time") != "2024-02-04T19:29:48.136708478Z" ||
		got.at("extended_attributes", "hidden") != true || got.at("extended_attributes", "archive") != false {
		t.Errorf("%s", got.raw)
	}
	if again := a.must(200, "GET", f, nil); !bytes.Equal(again.raw, got.raw) || again.header.Get("ETag") != got.header.Get("ETag") {
		t.Errorf("read back %s\nwritten %s", again.raw, got.raw)
	}
	// What was read can be sent back whole, as old clients do.
	if put := a.must(200, "PUT", f, got.json); put.str("mode") != "1640" {
		t.Errorf("%s", put.raw)
	}
	lock := a.must(200, "GET", f+"?retrieve-file-lock=True", nil)
	if lock.at("lock", "legal_hold") != false || lock.at("lock", "retention_period") != nil {
		t.Errorf("%s", lock.raw)
	}
	if bytes.Contains(got.raw, []byte(`"lock"`)) {
		t.Errorf("not asked for: %s", got.raw)
	}
	for _, bad := range []object{{"mode": "abc"}, {"mode": "10000"}, {"size": "-1"}, {"owner": "0"}, {"access_time": "yesterday"}, {"owner_details": object{"id_type": "LOCAL_USER", "id_value": "nobody"}}} {
		a.must(400, "PATCH", f, bad)
	}
	a.fails(404, "fs_no_such_entry_error", "GET", "/v1/files/%2Fnone/info/attributes", nil)
	a.fails(404, "fs_no_such_entry_error", "PATCH", "/v1/files/%2Fnone/info/attributes", object{"mode": "0777"})
	a.fails(404, "fs_no_such_inode_error", "GET", "/v1/files/999/info/attributes", nil)
	a.fails(400, "fs_file_path_invalid_error", "GET", "/v1/files/relative/info/attributes", nil)

	res := a.must(200, "POST", "/v1/files/resolve", []string{id, "2", "999"})
	if res.str(0, "path") != "/a b+c/" || res.str(1, "path") != "/" || res.str(2, "id") != "999" || res.str(2, "path") != "" {
		t.Errorf("%s", res.raw)
	}
}

func TestAttributes_ifMatch(t *testing.T) {
	a := newAPI(t)
	id := a.create("2", "f")
	path := "/v1/files/" + id + "/info/attributes"
	old := a.must(200, "GET", path, nil).header.Get("ETag")
	if len(old) < 3 || old[0] != '"' {
		t.Fatalf("ETag %q", old)
	}
	now := a.must(200, "PATCH", path, object{"mode": "0600"}, "If-Match", strings.Trim(old, `"`)).header.Get("ETag")
	if now == old {
		t.Error("the tag did not change")
	}
	a.fails(412, "http_precondition_failed_error", "PATCH", path, object{"mode": "0666"}, "If-Match", old)
	a.fails(412, "http_precondition_failed_error", "PUT", "/v1/files/"+id+"/data", []byte("x"), "If-Match", old)
	if got := a.must(200, "GET", path, nil); got.str("mode") != "0600" || got.str("size") != "0" {
		t.Errorf("a refused change changed something: %s", got.raw)
	}
	a.must(200, "PUT", "/v1/files/"+id+"/data", []byte("x"), "If-Match", now)
	a.must(200, "PATCH", path, object{"mode": "0666"}, "If-Match", "*")
}

func TestEntries_create(t *testing.T) {
	a := newAPI(t)
	dir := "/v1/files/" + a.mkdir("2", "d") + "/entries/"
	post := func(status int, in object) *answer {
		t.Helper()
		return a.must(status, "POST", dir, in)
	}
	file := post(200, object{"name": "f", "action": "CREATE_FILE"})
	if file.str("path") != "/d/f" || file.str("mode") != "0644" || file.str("type") != "FS_FILE_TYPE_FILE" || file.header.Get("ETag") == "" {
		t.Errorf("%s", file.raw)
	}
	link := post(200, object{"name": "s", "action": "CREATE_SYMLINK", "old_path": "../x", "symlink_target_type": "FS_FILE_TYPE_DIRECTORY"})
	if link.str("type") != "FS_FILE_TYPE_SYMLINK" || link.str("symlink_target_type") != "FS_FILE_TYPE_DIRECTORY" || link.str("size") != "4" {
		t.Errorf("%s", link.raw)
	}
	hard := post(200, object{"name": "h", "action": "CREATE_LINK", "old_path": "/d/f"})
	if hard.str("id") != file.str("id") || hard.at("num_links") != 2.0 || hard.str("path") != "/d/h" {
		t.Errorf("%s", hard.raw)
	}
	dev := post(200, object{"name": "c", "action": "CREATE_UNIX_FILE", "unix_file_type": "FS_FILE_TYPE_UNIX_CHARACTER_DEVICE", "major_minor_numbers": object{"major": 4, "minor": 5}})
	if dev.at("major_minor_numbers", "minor") != 5.0 {
		t.Errorf("%s", dev.raw)
	}
	a.fails(409, "fs_entry_exists_error", "POST", dir, object{"name": "f", "action": "CREATE_DIRECTORY"})
	a.fails(409, "fs_entry_exists_error", "POST", dir, object{"name": "f", "action": "CREATE_LINK", "old_path": "/d/c"})
	a.fails(409, "fs_entry_exists_error", "POST", dir, object{"name": "f", "action": "RENAME", "old_path": "/d/c"})
	a.fails(404, "fs_no_such_entry_error", "POST", dir, object{"name": "x", "action": "CREATE_LINK", "old_path": "/d/none"})
	a.fails(404, "fs_no_such_entry_error", "POST", "/v1/files/%2Fnone/entries/", object{"name": "x", "action": "CREATE_FILE"})
	a.fails(400, "fs_not_a_directory_error", "POST", "/v1/files/%2Fd%2Ff/entries/", object{"name": "x", "action": "CREATE_FILE"})
	for _, bad := range []object{{"name": "x"}, {"action": "CREATE_FILE"}, {"name": "x", "action": "FROB"}, {"name": "x", "action": "RENAME"}, {"name": "x", "action": "CREATE_SYMLINK"},
		{"name": "x", "action": "CREATE_UNIX_FILE", "unix_file_type": "FS_FILE_TYPE_DIRECTORY"}} {
		a.fails(400, "decode_error", "POST", dir, bad)
	}
	for _, name := range []string{".", "..", "a/b", ".snapshot"} {
		a.must(400, "POST", dir, object{"name": name, "action": "CREATE_FILE"})
	}

	moved := post(200, object{"name": "f2", "action": "RENAME", "old_path": "/d/f"})
	if moved.str("path") != "/d/f2" || moved.str("id") != file.str("id") {
		t.Errorf("%s", moved.raw)
	}
	post(200, object{"name": "c", "action": "RENAME", "old_path": "/d/s", "clobber": true})
	a.fails(404, "fs_no_such_entry_error", "GET", "/v1/files/%2Fd%2Ff/info/attributes", nil)

	// Two names: the id alone does not say which goes.
	a.fails(409, "fs_entry_hardlink_ambiguity_error", "DELETE", "/v1/files/"+file.str("id"), nil)
	a.must(200, "DELETE", "/v1/files/%2Fd%2Fh", nil)
	a.must(200, "DELETE", "/v1/files/"+file.str("id"), nil)
	a.fails(409, "fs_directory_not_empty_error", "DELETE", "/v1/files/%2Fd", nil)
	a.must(200, "DELETE", "/v1/files/%2Fd/entries/c", nil)
	a.fails(404, "fs_no_such_entry_error", "DELETE", "/v1/files/%2Fd/entries/c", nil)
	a.must(200, "DELETE", "/v1/files/%2Fd%2F", nil)
	a.fails(404, "fs_no_such_entry_error", "DELETE", "/v1/files/%2Fd", nil)
	a.must(400, "DELETE", "/v1/files/%2F", nil)
	a.must(400, "DELETE", "/v1/files/2", nil)
}

func TestEntries_chunkedBody(t *testing.T) {
	a := newAPI(t)
	// A reader of unknown length is sent chunked.
	a.must(200, "POST", "/v1/files/2/entries/", struct{ io.Reader }{strings.NewReader(`{"name":"f","action":"CREATE_FILE"}`)})
	a.must(200, "PUT", "/v1/files/%2Ff/data", struct{ io.Reader }{strings.NewReader("content")})
	if got := a.must(200, "GET", "/v1/files/%2Ff/data", nil); string(got.raw) != "content" {
		t.Errorf("%q", got.raw)
	}
	a.fails(413, "http_request_entity_too_large_error", "POST", "/v1/files/2/entries/", struct{ io.Reader }{io.LimitReader(zeros{}, maxBody+1)})
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestEntries_paging(t *testing.T) {
	a := newAPI(t)
	dir := a.mkdir("2", "d")
	want := map[string]bool{}
	for i := range 25 {
		name := fmt.Sprintf("%02d ä&?%%", i)
		a.create(dir, name)
		want[name] = true
	}
	walk := func(path string, during func()) []string {
		t.Helper()
		var names []string
		for path != "" {
			page := a.must(200, "GET", path, nil)
			for i := range page.list("files") {
				names = append(names, page.str("files", i, "name"))
			}
			if page.str("paging", "prev") != "" || page.str("id") != dir || page.str("path") != "/d/" {
				t.Fatalf("%s", page.raw)
			}
			path = page.str("paging", "next")
			during()
		}
		return names
	}
	for _, limit := range []int{1, 4, 5, 25, 26, 5000} {
		names := walk(fmt.Sprintf("/v1/files/%%2Fd/entries/?limit=%d", limit), func() {})
		if !slices.Equal(names, slices.Sorted(maps.Keys(want))) {
			t.Errorf("limit %d: %q", limit, names)
		}
	}
	// Entries that exist throughout are listed once, whatever comes and goes.
	n := 0
	names := walk("/v1/files/%2Fd/entries/?limit=3", func() {
		a.create(dir, fmt.Sprintf("%02d new", n))
		if n > 0 {
			a.must(200, "DELETE", fmt.Sprintf("/v1/files/%%2Fd/entries/%s", url.PathEscape(fmt.Sprintf("%02d new", n-2))), nil)
		}
		n += 2
	})
	seen := map[string]int{}
	for _, name := range names {
		seen[name]++
	}
	for name := range want {
		if seen[name] != 1 {
			t.Errorf("%q listed %d times", name, seen[name])
		}
	}
	if got := walk("/v1/files/%2Fd/entries/?limit=2&smb-pattern=1%3F%20%C3%84*", func() {}); len(got) != 10 {
		t.Errorf("pattern: %q", got)
	}
	a.must(400, "GET", "/v1/files/%2Fd/entries/?limit=x", nil)
	a.must(400, "GET", "/v1/files/%2Fd/entries/?limit=0", nil)
	a.must(400, "GET", "/v1/files/%2Fd/entries/?after=%21", nil)
	a.fails(400, "fs_not_a_directory_error", "GET", "/v1/files/"+a.create("2", "f")+"/entries/", nil)
	if empty := a.must(200, "GET", "/v1/files/"+a.mkdir("2", "e")+"/entries/", nil); len(empty.list("files")) != 0 || empty.str("paging", "next") != "" {
		t.Errorf("%s", empty.raw)
	}
}

func TestWild(t *testing.T) {
	for _, c := range []struct {
		p, s string
		want bool
	}{
		{"", "x", true}, {"*", "", true}, {"a*", "abc", true}, {"a*", "bac", false}, {"*c", "abc", true}, {"a?c", "abc", true},
		{"a?c", "ac", false}, {"*b*", "abc", true}, {"A*C", "abc", true}, {"*.txt", "x.TXT", true}, {"a*a*a*b", strings.Repeat("a", 200), false},
	} {
		if got := pattern(c.p)(c.s); got != c.want {
			t.Errorf("%q on %q: %v", c.p, c.s, got)
		}
	}
}

func TestData(t *testing.T) {
	a := newAPI(t)
	a.create("2", "f")
	const path = "/v1/files/%2Ff/data"
	if got := a.must(200, "GET", path, nil); len(got.raw) != 0 || got.header.Get("Content-Length") != "0" {
		t.Errorf("%q", got.raw)
	}
	r := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 3*chunk+12345)
	for i := range want {
		want[i] = byte(r.Uint32())
	}
	put := a.must(200, "PUT", path, want)
	if put.str("size") != fmt.Sprint(len(want)) || put.header.Get("ETag") == "" {
		t.Errorf("%s", put.raw)
	}
	got := a.must(200, "GET", path, nil)
	if !bytes.Equal(got.raw, want) || got.header.Get("Content-Type") != contentType || got.header.Get("ETag") != put.header.Get("ETag") {
		t.Error("read back differs")
	}
	if got := a.must(200, "GET", path+"?offset=1000000&length=2000000", nil); !bytes.Equal(got.raw, want[1000000:3000000]) {
		t.Error("a range differs")
	}
	if got := a.must(200, "GET", path+"?offset=99999999", nil); len(got.raw) != 0 {
		t.Error("bytes past the end")
	}
	a.must(200, "PATCH", path+"?offset=5", []byte("hello"))
	copy(want[5:], "hello")
	if got := a.must(200, "GET", path, nil); !bytes.Equal(got.raw, want) {
		t.Error("differs after a write")
	}
	a.must(200, "PUT", path, []byte("short"))
	a.must(200, "PATCH", path+"?offset=10", []byte("far"))
	if got := a.must(200, "GET", path, nil); string(got.raw) != "short\x00\x00\x00\x00\x00far" {
		t.Errorf("%q", got.raw)
	}
	a.must(200, "PUT", path, []byte{})
	if got := a.must(200, "GET", path, nil); len(got.raw) != 0 {
		t.Errorf("%q", got.raw)
	}
	a.fails(415, "http_unsupported_media_type_error", "PUT", path, object{})
	a.fails(400, "fs_directory_error", "GET", "/v1/files/2/data", nil)
	a.fails(404, "fs_no_such_entry_error", "PUT", "/v1/files/%2Fnone/data", []byte("x"))
}

// A client that goes away in the middle of a body must not get a success.
func TestData_brokenBody(t *testing.T) {
	a := newAPI(t)
	a.create("2", "f")
	req := httptest.NewRequest("PUT", "/v1/files/%2Ff/data", io.MultiReader(strings.NewReader("half"), brokenBody{}))
	req.Header.Set("Authorization", "Bearer "+a.token)
	w := httptest.NewRecorder()
	New(Options{FS: a.fs, Auth: a.config, Sessions: a.config, Principals: a.config, Members: a.config}).ServeHTTP(w, req)
	if w.Code != 400 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestKindStatus_complete(t *testing.T) {
	for _, k := range fs.Kinds() {
		s, ok := kindStatus[k]
		if !ok || s.status < 400 || s.status > 599 || s.class == "" {
			t.Errorf("%v: %+v", k, s)
		}
		e := errorOf(fs.E("op", fs.Root, "", k, nil))
		if e.Status != s.status || e.Class != s.class || http.StatusText(e.Status) == "" {
			t.Errorf("%v: %+v", k, e)
		}
	}
}

func FuzzRouter(f *testing.F) {
	var rt router
	rs := allRoutes()
	for i := range rs {
		rt.add(&rs[i])
		f.Add(rs[i].Method, rs[i].Path)
	}
	f.Add("GET", "/v1/files/%2Fa%2Fb/entries/")
	f.Fuzz(func(t *testing.T, method, path string) {
		r, params, _ := rt.find(method, path)
		if r == nil {
			return
		}
		if want := len(paramPattern.FindAllString(r.Path, -1)); len(params) != want {
			t.Errorf("%s %q: %d parameters of %s", method, path, len(params), r.Path)
		}
		if strings.HasSuffix(path, "/") != strings.HasSuffix(r.Path, "/") {
			t.Errorf("%q found %s", path, r.Path)
		}
	})
}

func FuzzSetAttr(f *testing.F) {
	f.Add([]byte(`{"mode":"0755","owner":"","size":5,"owner_details":{"id_type":"NFS_UID","id_value":"1"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		q := &request{Request: httptest.NewRequest("PATCH", "/", bytes.NewReader(b)), w: httptest.NewRecorder()}
		in, err := body[attrsPatch](q)
		if err != nil || in.OwnerDetails != nil || in.GroupDetails != nil {
			return
		}
		_, _ = q.setAttr(&in, &fs.Attr{})
	})
}

// Long pages are read by few at a time, in the order of asking; short ones do not
// wait for them, and who goes away waits no more.
func TestEntries_long(t *testing.T) {
	a := newAPI(t)
	a.must(200, "POST", "/v1/files/2/entries/", object{"name": "d", "action": "CREATE_DIRECTORY"})
	for i := range longPage {
		a.must(200, "POST", "/v1/files/%2Fd/entries/", object{"name": fmt.Sprint(i), "action": "CREATE_FILE"})
	}
	s := New(a.options).(*server)
	get := func(ctx context.Context, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(ctx, "GET", path, nil)
		r.Header.Set("Authorization", "Bearer "+a.token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w
	}
	const long = "/v1/files/%2Fd/entries/"
	for range cap(s.long) {
		s.long <- struct{}{}
	}
	for _, short := range []string{"/v1/files/2/entries/", long + "?limit=9"} {
		if w := get(t.Context(), short); w.Code != 200 {
			t.Errorf("%s: %d", short, w.Code)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if w := get(ctx, long); w.Code == 200 {
		t.Error("it did not wait")
	}
	done := make(chan *httptest.ResponseRecorder)
	go func() { done <- get(t.Context(), long) }()
	<-s.long
	if w := <-done; w.Code != 200 || strings.Count(w.Body.String(), `"file_number"`) != longPage {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(s.long) != cap(s.long)-1 {
		t.Error("a place was not given back")
	}
}
