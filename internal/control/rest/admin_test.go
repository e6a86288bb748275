package rest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
)

func TestAggregates(t *testing.T) {
	a := newAPI(t)
	big := a.mkdir("2", "big")
	a.mkdir("2", "empty")
	sub := a.mkdir(big, "sub")
	for i := range 3 {
		a.create(sub, fmt.Sprintf("f%d", i))
		a.must(200, "PUT", fmt.Sprintf("/v1/files/%%2Fbig%%2Fsub%%2Ff%d/data", i), make([]byte, 10000*(i+1)))
	}
	a.must(200, "POST", "/v1/files/2/entries/", object{"name": "s", "action": "CREATE_SYMLINK", "old_path": "x"})
	got := a.must(200, "GET", "/v1/files/%2F/aggregates/", nil)
	if got.str("total_files") != "3" || got.str("total_symlinks") != "1" || got.str("total_logical_size") != "60000" || got.str("path") != "/" || got.str("id") != "2" {
		t.Errorf("%s", got.raw)
	}
	if n := got.list("files"); len(n) != 3 || got.str("files", 0, "name") != "big" || got.str("files", 0, "num_files") != "3" || got.str("files", 0, "type") != "FS_FILE_TYPE_DIRECTORY" {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", "/v1/files/"+sub+"/aggregates/?max-entries=2&order-by=total_datablocks", nil); len(got.list("files")) != 2 || got.str("files", 0, "name") != "f2" || got.str("total_files") != "3" {
		t.Errorf("%s", got.raw)
	}
	tree := a.must(200, "GET", "/v1/files/2/recursive-aggregates/", nil)
	var paths []string
	for i := range tree.list() {
		paths = append(paths, tree.str(i, "path"))
	}
	if !slices.Equal(paths, []string{"/", "/big/", "/big/sub/"}) {
		t.Errorf("%q", paths)
	}
	if tree := a.must(200, "GET", "/v1/files/2/recursive-aggregates/?max-depth=1", nil); len(tree.list()) != 1 {
		t.Errorf("%s", tree.raw)
	}
	a.must(400, "GET", "/v1/files/2/aggregates/?order-by=colour", nil)
	a.fails(400, "fs_not_a_directory_error", "GET", "/v1/files/%2Fs/aggregates/", nil)
}

func TestQuotas(t *testing.T) {
	a := newAPI(t)
	var ids []string
	for i := range 5 {
		id := a.mkdir("2", fmt.Sprintf("d%d", i))
		ids = append(ids, id)
		a.must(200, "POST", "/v1/files/quotas/", object{"id": id, "limit": fmt.Sprint(1<<20 + i)})
	}
	path := "/v1/files/quotas/" + ids[0]
	a.fails(409, "api_quotas_quota_limit_already_set_error", "POST", "/v1/files/quotas/", object{"id": ids[0], "limit": "5"})
	a.fails(404, "fs_no_such_inode_error", "POST", "/v1/files/quotas/", object{"id": "999", "limit": "5"})
	a.fails(400, "decode_error", "POST", "/v1/files/quotas/", object{"id": ids[0]})
	a.fails(400, "decode_error", "POST", "/v1/files/quotas/", object{"id": "x", "limit": "1"})
	got := a.must(200, "GET", path, nil)
	if got.str("id") != ids[0] || got.str("limit") != "1048576" {
		t.Errorf("%s", got.raw)
	}
	etag := got.header.Get("ETag")
	put := a.must(200, "PUT", path, object{"id": ids[0], "limit": "9007199254740993"}, "If-Match", etag)
	if put.str("limit") != "9007199254740993" || put.header.Get("ETag") == etag {
		t.Errorf("%s", put.raw)
	}
	a.fails(412, "http_precondition_failed_error", "PUT", path, object{"id": ids[0], "limit": "1"}, "If-Match", etag)
	a.fails(412, "http_precondition_failed_error", "DELETE", path, nil, "If-Match", etag)
	a.must(400, "PUT", path, object{"id": ids[1], "limit": "1"})
	var seen []string
	for next := "/v1/files/quotas/?limit=2"; next != ""; {
		page := a.must(200, "GET", next, nil)
		for i := range page.list("quotas") {
			seen = append(seen, page.str("quotas", i, "id"))
		}
		next = page.str("paging", "next")
	}
	if !slices.Equal(seen, ids) {
		t.Errorf("%q, want %q", seen, ids)
	}
	st := a.must(200, "GET", "/v1/files/quotas/status/", nil)
	if st.str("quotas", 1, "path") != "/d1/" || st.str("quotas", 1, "limit") != "1048577" || st.str("quotas", 1, "capacity_usage") == "" {
		t.Errorf("%s", st.raw)
	}
	if st := a.must(200, "GET", "/v1/files/quotas/status/"+ids[2], nil); st.str("path") != "/d2/" {
		t.Errorf("%s", st.raw)
	}
	a.create(ids[0], "f")
	a.must(200, "PUT", path, object{"id": ids[0], "limit": "5"})
	a.fails(409, "fs_quota_no_space_error", "POST", "/v1/files/"+ids[0]+"/entries/", object{"name": "g", "action": "CREATE_FILE"})
	a.fails(409, "fs_quota_no_space_error", "PUT", "/v1/files/%2Fd0%2Ff/data", make([]byte, 100000))
	a.must(200, "DELETE", path, nil)
	for _, m := range []string{"GET", "DELETE"} {
		a.fails(404, "api_quotas_quota_limit_not_found_error", m, path, nil)
	}
	a.fails(404, "api_quotas_quota_limit_not_found_error", "PUT", path, object{"id": ids[0], "limit": "1"})
	a.fails(404, "api_quotas_quota_limit_not_found_error", "GET", "/v1/files/quotas/nonsense", nil)
	if e := a.must(200, "GET", "/v1/files/quotas/?after=99999", nil); len(e.list("quotas")) != 0 {
		t.Errorf("%s", e.raw)
	}
}

func TestTreeDelete(t *testing.T) {
	a := newAPI(t)
	for _, ref := range []string{"%2Fd", "/d", "id"} {
		id := a.mkdir("2", "d")
		a.create(a.mkdir(id, "sub"), "f")
		if ref == "id" {
			ref = id
		}
		got := a.must(202, "POST", "/v1/tree-delete/jobs/", object{"id": ref})
		if got.str("monitor_uri") != "v1/tree-delete/jobs/"+id {
			t.Errorf("%s", got.raw)
		}
		a.fails(404, "fs_no_such_entry_error", "GET", "/v1/files/%2Fd/info/attributes", nil)
		a.must(200, "GET", "/v1/tree-delete/jobs/", nil).list("jobs")
	}
	a.fails(404, "fs_no_such_entry_error", "POST", "/v1/tree-delete/jobs/", object{"id": "/d"})
	a.fails(404, "http_not_found_error", "GET", "/v1/tree-delete/jobs/99999", nil)
	a.fails(404, "http_not_found_error", "DELETE", "/v1/tree-delete/jobs/99999", nil)
	a.fails(404, "http_not_found_error", "GET", "/v1/tree-delete/jobs/x", nil)
	a.fails(404, "http_not_found_error", "POST", "/v1/tree-delete/jobs/restart/99999", nil)
	a.must(400, "POST", "/v1/tree-delete/jobs/", object{"id": "2"})
	a.create("2", "f")
	a.fails(400, "fs_not_a_directory_error", "POST", "/v1/tree-delete/jobs/", object{"id": "/f"})
	a.must(400, "POST", "/v1/tree-delete/jobs/", object{})
	if r := renderTreeDelete(&fs.TreeDelete{ID: 5, LastError: "x"}); *r.LastErrorMessage != "x" || r.ID.N != 5 {
		t.Errorf("%+v", r)
	}
	o := a.options
	o.FS = memfs.New(memfs.Options{HoldTreeDeletes: true})
	a.serve(o)
	id := a.mkdir("2", "d")
	a.must(202, "POST", "/v1/tree-delete/jobs/", object{"id": id})
	if got := a.must(202, "POST", "/v1/tree-delete/jobs/restart/"+id, nil); got.str("monitor_uri") != "v1/tree-delete/jobs/"+id {
		t.Errorf("%s", got.raw)
	}
}

func TestSnapshotsUsedCapacity(t *testing.T) {
	a := newAPI(t)
	path := "/v1/snapshots/total-used-capacity"
	is := func(when, want string) {
		t.Helper()
		if n := a.must(200, "GET", path, nil).str("bytes"); n != want {
			t.Errorf("%s, snapshots alone keep %s bytes, not %s", when, n, want)
		}
		if n := a.must(200, "GET", "/v1/file-system", nil).str("snapshot_size_bytes"); n != want {
			t.Errorf("%s, the file system has %s bytes in snapshots, not %s", when, n, want)
		}
	}
	const size = 256 << 10
	a.create("2", "f")
	a.must(200, "PUT", "/v1/files/%2Ff/data", bytes.Repeat([]byte("x"), size))
	is("without snapshots", "0")
	id := fmt.Sprint(a.must(200, "POST", "/v3/snapshots/", object{"source_file_id": "2"}).at("id"))
	is("while the files are there", "0")
	second := fmt.Sprint(a.must(200, "POST", "/v3/snapshots/", object{"source_file_id": "2"}).at("id"))
	a.must(200, "DELETE", "/v1/files/%2Ff", nil)
	is("after the file was deleted", fmt.Sprint(size))
	const per, calculate = "/v1/snapshots/capacity-used-per-snapshot/", "/v1/snapshots/calculate-used-capacity"
	if l := a.must(200, "GET", per, nil).list("entries"); len(l) != 2 {
		t.Errorf("%v", l)
	}
	for _, s := range []string{id, second} { // both keep it
		if one := a.must(200, "GET", per+s, nil); one.str("capacity_used_bytes") != "0" || fmt.Sprint(one.at("id")) != s {
			t.Errorf("%s", one.raw)
		}
	}
	if n := a.must(200, "POST", calculate, "["+id+","+second+"]").str("bytes"); n != fmt.Sprint(size) {
		t.Errorf("both keep %s", n)
	}
	if n := a.must(200, "POST", calculate, "[]").str("bytes"); n != "0" {
		t.Errorf("none keep %s", n)
	}
	a.must(202, "DELETE", "/v3/snapshots/"+second, nil)
	if l := a.must(200, "GET", per, nil); len(l.list("entries")) != 1 || l.str("entries", 0, "capacity_used_bytes") != fmt.Sprint(size) || fmt.Sprint(l.at("entries", 0, "id")) != id {
		t.Errorf("%s", l.raw)
	}
	a.fails(404, "api_snapshots_snapshot_not_found_error", "POST", calculate, "["+id+",999]")
	a.fails(404, "api_snapshots_snapshot_not_found_error", "GET", per+"999", nil)
	a.fails(400, "decode_error", "POST", calculate, `["x"]`)
	a.must(202, "DELETE", "/v3/snapshots/"+id, nil)
	is("after the snapshot was", "0")

	var err error
	if a.token, _, err = a.config.NewSession(t.Context(), 500, []string{string(control.SnapshotRead)}); err != nil {
		t.Fatal(err)
	}
	a.fails(403, "http_forbidden_error", "GET", path, nil)
	a.fails(403, "http_forbidden_error", "GET", per, nil)
	a.fails(403, "http_forbidden_error", "POST", calculate, "[]")
}

func TestSnapshots(t *testing.T) {
	a := newAPI(t)
	id := a.mkdir("2", "d")
	a.create(id, "f")
	a.must(200, "PUT", "/v1/files/%2Fd%2Ff/data", []byte("old"))
	s := a.must(200, "POST", "/v3/snapshots/", object{"name_suffix": "first", "source_file_id": id})
	n := fmt.Sprint(s.at("id"))
	if s.str("name") != n+"_first" || s.str("source_file_id") != id || s.at("expiration") != nil || s.at("policy_id") != nil || s.at("in_delete") != false {
		t.Errorf("%s", s.raw)
	}
	a.must(200, "PUT", "/v1/files/%2Fd%2Ff/data", []byte("new"))
	a.create(id, "g")

	for _, ref := range []string{"%2Fd%2Ff", "%2Fd%2F.snapshot%2F" + n + "_first%2Ff"} {
		q := "?snapshot=" + n
		if len(ref) > 10 {
			q = ""
		}
		if got := a.must(200, "GET", "/v1/files/"+ref+"/data"+q, nil); string(got.raw) != "old" {
			t.Errorf("%s: %q", ref, got.raw)
		}
	}
	if page := a.must(200, "GET", "/v1/files/%2Fd/entries/?snapshot="+n, nil); len(page.list("files")) != 1 {
		t.Errorf("%s", page.raw)
	}
	if got := a.must(200, "GET", "/v1/files/%2Fd/aggregates/?snapshot="+n, nil); got.str("total_files") != "1" {
		t.Errorf("%s", got.raw)
	}
	a.fails(404, "fs_no_such_entry_error", "GET", "/v1/files/%2F/info/attributes?snapshot="+n, nil)
	a.must(404, "GET", "/v1/files/%2Fd/info/attributes?snapshot=999", nil)

	second := fmt.Sprint(a.must(200, "POST", "/v2/snapshots/?expiration-time-to-live=2days", object{"name": "second", "source_file_id": id}).at("id"))
	v2 := a.must(200, "GET", "/v2/snapshots/"+second, nil)
	if v2.str("name") != "second" || v2.str("directory_name") != second+"_second" || v2.str("expiration") == "" || v2.at("created_by_policy") != false {
		t.Errorf("%s", v2.raw)
	}
	if v1 := a.must(200, "GET", "/v1/snapshots/"+second, nil); v1.str("source_path") != "/d/" {
		t.Errorf("%s", v1.raw)
	}
	if l := a.must(200, "GET", "/v3/snapshots/", nil); len(l.list("entries")) != 2 {
		t.Errorf("%s", l.raw)
	}
	for _, p := range []string{"/v2/snapshots/status/", "/v3/snapshots/status/?filter=exclude_in_delete", "/v4/snapshots/status/?filter=api_snapshots_exclude_in_delete,api_snapshots_exclude_locked"} {
		l := a.must(200, "GET", p, nil)
		if len(l.list("entries")) != 2 || l.str("entries", 0, "source_file_path") != "/d/" || len(l.list("entries", 0, "owners")) != 0 {
			t.Errorf("%s", l.raw)
		}
	}
	if l := a.must(200, "GET", "/v4/snapshots/status/?filter=api_snapshots_exclude_not_in_delete", nil); len(l.list("entries")) != 0 {
		t.Errorf("%s", l.raw)
	}
	a.must(400, "GET", "/v4/snapshots/status/?filter=nonsense", nil)
	a.must(400, "GET", "/v3/snapshots/?filter=nonsense", nil)
	a.must(200, "GET", "/v3/snapshots/status/"+second, nil)

	diff := a.must(200, "GET", "/v2/snapshots/"+second+"/changes-since/"+n+"?limit=1", nil)
	var ops []string
	for {
		for i := range diff.list("entries") {
			ops = append(ops, diff.str("entries", i, "op")+" "+diff.str("entries", i, "path"))
		}
		next := diff.str("paging", "next")
		if next == "" {
			break
		}
		diff = a.must(200, "GET", next, nil)
	}
	if !slices.Contains(ops, "MODIFY f") || !slices.Contains(ops, "CREATE g") {
		t.Errorf("%q", ops)
	}
	file := a.must(200, "GET", "/v2/snapshots/"+second+"/changes-since/"+n+"/files/%2Fd%2Ff", nil)
	if file.str("entries", 0, "type") != "FILE_REGION_DATA" || file.str("entries", 0, "offset") != "0" {
		t.Errorf("%s", file.raw)
	}
	a.must(400, "GET", "/v2/snapshots/"+n+"/changes-since/"+second, nil)

	path := "/v3/snapshots/" + second
	etag := a.must(200, "GET", path, nil).header.Get("ETag")
	got := a.must(200, "PATCH", path, object{"expiration": "2100-01-01T00:00:00Z"}, "If-Match", etag)
	if got.str("expiration") != "2100-01-01T00:00:00Z" {
		t.Errorf("%s", got.raw)
	}
	a.fails(412, "http_precondition_failed_error", "PATCH", path, object{"expiration": ""}, "If-Match", etag)
	if got := a.must(200, "PATCH", path, object{}); got.str("expiration") != "2100-01-01T00:00:00Z" {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "PUT", path, object{}); got.at("expiration") != nil {
		t.Errorf("%s", got.raw)
	}
	a.must(400, "PATCH", path, object{"expiration": "2001-01-01T00:00:00Z"})
	a.must(400, "PATCH", "/v2/snapshots/"+second, object{"name": "other"})
	a.fails(412, "http_precondition_failed_error", "DELETE", path, nil, "If-Match", etag)
	if got := a.must(202, "DELETE", path, nil); len(got.raw) != 0 {
		t.Errorf("%q", got.raw)
	}
	a.must(200, "DELETE", "/v2/snapshots/"+n, nil)
	if l := a.must(200, "GET", "/v3/snapshots/?filter=exclude_in_delete", nil); len(l.list("entries")) != 0 {
		t.Errorf("%s", l.raw)
	}
	a.fails(404, "api_snapshots_snapshot_not_found_error", "GET", "/v3/snapshots/999", nil)
	// A directory that moved goes by both paths.
	third := fmt.Sprint(a.must(200, "POST", "/v3/snapshots/", object{"source_file_id": id}).at("id"))
	a.must(200, "POST", "/v1/files/2/entries/", object{"name": "e", "action": "RENAME", "old_path": "/d"})
	for _, p := range []string{"%2Fd%2Ff", "%2Fe%2Ff"} {
		if got := a.must(200, "GET", "/v1/files/"+p+"/data?snapshot="+third, nil); string(got.raw) != "new" {
			t.Errorf("%s: %q", p, got.raw)
		}
	}
	if st := a.must(200, "GET", "/v3/snapshots/status/"+third, nil); st.str("source_file_path") != "/e/" {
		t.Errorf("%s", st.raw)
	}
	a.must(404, "GET", "/v3/snapshots/x", nil)
	// Without a directory the root is meant.
	if s := a.must(200, "POST", "/v3/snapshots/", object{}); s.str("source_file_id") != "2" {
		t.Errorf("%s", s.raw)
	}
	a.must(404, "POST", "/v3/snapshots/", object{"source_file_id": "999"})
}

func TestExports(t *testing.T) {
	a := newAPI(t)
	one := a.must(200, "GET", "/v2/nfs/exports/%2F", nil)
	if one.str("id") != "1" || one.str("fs_path") != "/" || one.at("tenant_id") != 1.0 {
		t.Errorf("%s", one.raw)
	}
	rule := object{"host_restrictions": []string{"10.0.0.0/8", "*.example.com"}, "require_privileged_port": true, "read_only": true, "user_mapping": "NFS_MAP_ROOT",
		"map_to_user": object{"id_type": "NFS_UID", "id_value": "1000"}, "map_to_group": object{"id_type": "NFS_GID", "id_value": "100"}}
	in := object{"id": "", "export_path": "/name", "fs_path": "/some/dir", "description": "d", "restrictions": []object{rule,
		{"host_restrictions": []string{}, "user_mapping": "NFS_MAP_NONE", "map_to_user": object{"id_type": "LOCAL_USER", "id_value": "0"}, "map_to_group": nil},
		{"host_restrictions": nil, "user_mapping": "NFS_MAP_ALL", "map_to_user": object{"id_type": "LOCAL_USER", "id_value": "guest"}}},
		"fields_to_present_as_32_bit": []string{"ALL"}}
	a.fails(404, "fs_no_such_entry_error", "POST", "/v2/nfs/exports/", in)
	made := a.must(200, "POST", "/v2/nfs/exports/?allow-fs-path-create=true", in)
	id := made.str("id")
	if made.str("export_path") != "/name" || made.str("fs_path") != "/some/dir" || len(made.list("fields_to_present_as_32_bit")) != 3 ||
		made.str("restrictions", 0, "map_to_user", "id_value") != "1000" || made.str("restrictions", 0, "host_restrictions", 1) != "*.example.com" ||
		made.at("restrictions", 1, "map_to_user") != nil || len(made.list("restrictions", 1, "host_restrictions")) != 0 ||
		made.str("restrictions", 2, "map_to_user", "id_value") != "guest" {
		t.Errorf("%s", made.raw)
	}
	for _, p := range []string{"/v2/nfs/exports/" + id, "/v2/nfs/exports/%2Fname", "/v2/nfs/exports/%2Fname%2F", "/v3/nfs/exports/" + id} {
		if got := a.must(200, "GET", p, nil); got.str("id") != id || got.header.Get("ETag") != made.header.Get("ETag") {
			t.Errorf("%s: %s", p, got.raw)
		}
	}
	a.fails(404, "nfs_export_doesnt_exist_error", "GET", "/v3/nfs/exports/%2Fname", nil)
	a.fails(409, "nfs_export_already_exists_error", "POST", "/v2/nfs/exports/", object{"export_path": "/name/", "fs_path": "/"})
	a.must(200, "GET", "/v2/nfs/exports/", nil).str(1, "id")
	a.must(200, "GET", "/v3/nfs/exports/", nil).str("entries", 1, "id")

	etag := made.header.Get("ETag")
	got := a.must(200, "PATCH", "/v2/nfs/exports/"+id, object{"id": id, "description": "e"}, "If-Match", etag)
	if got.str("description") != "e" || len(got.list("restrictions")) != 3 {
		t.Errorf("%s", got.raw)
	}
	a.fails(412, "http_precondition_failed_error", "PATCH", "/v2/nfs/exports/"+id, object{"description": "f"}, "If-Match", etag)
	got = a.must(200, "PUT", "/v3/nfs/exports/"+id, object{"export_path": "/other", "fs_path": "/some"})
	if got.str("export_path") != "/other" || got.str("description") != "" || len(got.list("restrictions")) != 0 {
		t.Errorf("%s", got.raw)
	}
	a.fails(400, "decode_error", "PUT", "/v3/nfs/exports/"+id, object{"export_path": "/x"})
	a.fails(404, "nfs_export_doesnt_exist_error", "GET", "/v2/nfs/exports/%2Fname", nil)
	for _, bad := range []object{
		{"export_path": "x", "fs_path": "/"}, {"export_path": "/x", "fs_path": "y"}, {"export_path": "/x", "fs_path": "/", "tenant_id": 5},
		{"export_path": "/x", "fs_path": "/", "restrictions": []any{nil}},
		{"export_path": "/x", "fs_path": "/", "restrictions": []object{{"host_restrictions": []string{"not a host!"}}}},
		{"export_path": "/x", "fs_path": "/", "restrictions": []object{{"user_mapping": "NFS_MAP_SOME"}}},
		{"export_path": "/x", "fs_path": "/", "restrictions": []object{{"required_authentication_mode": "AUTHENTICATION_MODE_KRB5"}}},
		{"export_path": "/x", "fs_path": "/", "restrictions": []object{{"user_mapping": "NFS_MAP_ALL", "map_to_user": object{"id_type": "NFS_UID", "id_value": "5"}}}},
		{"export_path": "/x", "fs_path": "/", "restrictions": []object{{"user_mapping": "NFS_MAP_ALL", "map_to_user": object{"id_type": "SMB_SID", "id_value": "S-1"}}}},
		{"export_path": "/x", "fs_path": "/", "fields_to_present_as_32_bit": []string{"NAMES"}},
	} {
		a.must(400, "POST", "/v2/nfs/exports/", bad)
	}
	a.must(200, "DELETE", "/v2/nfs/exports/%2Fother", nil)
	a.fails(404, "nfs_export_doesnt_exist_error", "DELETE", "/v2/nfs/exports/%2Fother", nil)
	a.fails(404, "nfs_export_doesnt_exist_error", "DELETE", "/v3/nfs/exports/"+id, nil)
}
