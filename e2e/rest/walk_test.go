package rest

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/nfsclient"
)

// attributes are those fields of FileAttrs that the tests look at.
type attributes struct {
	Path, Name, ID, Type, Mode, Size string
	Number                           string `json:"file_number"`
	Links                            int    `json:"num_links"`
	Children                         int    `json:"child_count"`
}

func file(path, rest string) string { return "/v1/files/" + url.PathEscape(path) + rest }

// refused wants one status and error class.
func refused(t *testing.T, r *harness.REST, method, path string, in any, status int, class string) {
	t.Helper()
	_, err := r.Try(t.Context(), method, path, in, nil)
	var e *harness.StatusError
	if !errors.As(err, &e) || e.Status != status || class != "" && e.Class != class {
		t.Errorf("%s %s: %v, want %d %s", method, path, err, status, class)
	}
}

type object = map[string]any

func TestREST(t *testing.T) {
	s := harness.StartServer(t)
	anon := s.Anonymous(t)

	var version struct {
		Revision string `json:"revision_id"`
		Build    string `json:"build_id"`
	}
	anon.Must(t, "GET", "/v1/version", nil, &version)
	if version.Revision != "Qumulo Core 7.2.3" || version.Build == "" {
		t.Errorf("version %+v", version)
	}
	refused(t, anon, "GET", file("/", "/info/attributes"), nil, 401, "")
	refused(t, anon, "POST", "/v1/session/login", object{"username": "admin", "password": "wrong"}, 401, "")
	r := s.Login(t)
	refused(t, r, "GET", "/v1/nothing", nil, 404, "http_not_found_error")
	var me struct {
		Name       string
		Privileges []string
	}
	r.Must(t, "GET", "/v1/session/who-am-i", nil, &me)
	if me.Name != "admin" || !slices.Contains(me.Privileges, "PRIVILEGE_FS_ATTRIBUTES_READ") {
		t.Errorf("who am i: %+v", me)
	}

	t.Run("files", func(t *testing.T) { files(t, r) })
	t.Run("nfs_sees_it", func(t *testing.T) { sameFile(t, s, r) })
	t.Run("quotas", func(t *testing.T) { quotas(t, s, r) })
	t.Run("snapshots", func(t *testing.T) { snapshots(t, r) })
	t.Run("tree_delete", func(t *testing.T) { treeDelete(t, r) })
	t.Run("exports", func(t *testing.T) { exports(t, s, r) })
	t.Run("metrics", func(t *testing.T) {
		refused(t, anon, "GET", "/v2/metrics/endpoints/default/data", nil, 401, "")
		var text []byte
		r.Must(t, "GET", "/v2/metrics/endpoints/default/data", nil, &text)
		if !strings.HasSuffix(strings.TrimSpace(string(text)), "# EOF") {
			t.Errorf("not OpenMetrics: %.200s", text)
		}
	})
}

func create(t *testing.T, r *harness.REST, dir, action, name string, more object) (a attributes) {
	t.Helper()
	in := object{"action": action, "name": name}
	for k, v := range more {
		in[k] = v
	}
	r.Must(t, "POST", file(dir, "/entries/"), in, &a)
	return a
}

func files(t *testing.T, r *harness.REST) {
	var root attributes
	r.Must(t, "GET", "/v1/files/2/info/attributes", nil, &root)
	if root.Path != "/" || root.ID != "2" || root.Type != "FS_FILE_TYPE_DIRECTORY" {
		t.Errorf("root: %+v", root)
	}
	d := create(t, r, "/", "CREATE_DIRECTORY", "d", nil)
	if d.Path != "/d/" || d.Name != "d" || d.ID != d.Number {
		t.Errorf("directory: %+v", d)
	}
	f := create(t, r, "/d", "CREATE_FILE", "f", nil)
	create(t, r, "/d", "CREATE_SYMLINK", "s", object{"old_path": "f"})
	create(t, r, "/d", "CREATE_LINK", "h", object{"old_path": "/d/f"})
	refused(t, r, "POST", file("/d", "/entries/"), object{"action": "CREATE_FILE", "name": "f"}, 409, "fs_entry_exists_error")
	refused(t, r, "GET", file("/none", "/info/attributes"), nil, 404, "fs_no_such_entry_error")

	r.Must(t, "PUT", file("/d/f", "/data"), []byte("hello world"), nil)
	r.Must(t, "PATCH", file("/d/f", "/data?offset=6"), []byte("there"), nil)
	var got []byte
	r.Must(t, "GET", file("/d/h", "/data"), nil, &got)
	if string(got) != "hello there" {
		t.Errorf("data %q", got)
	}
	var a attributes
	r.Must(t, "PATCH", "/v1/files/"+f.ID+"/info/attributes", object{"mode": "0640"}, &a)
	if a.Mode != "0640" || a.Size != "11" || a.Links != 2 {
		t.Errorf("after chmod: %+v", a)
	}
	create(t, r, "/", "RENAME", "g", object{"old_path": "/d/f"})

	for i := range 25 {
		create(t, r, "/d", "CREATE_FILE", "many"+string(rune('a'+i)), nil)
	}
	seen := map[string]int{}
	for next := file("/d", "/entries/?limit=7"); next != ""; {
		var page struct {
			Files  []attributes
			Paging struct{ Next string }
		}
		r.Must(t, "GET", next, nil, &page)
		if len(page.Files) == 0 {
			break
		}
		for _, f := range page.Files {
			seen[f.Name]++
		}
		next = page.Paging.Next
	}
	if len(seen) != 27 || seen["s"] != 1 || seen["h"] != 1 || seen["f"] != 0 {
		t.Errorf("listed %v", seen)
	}

	var agg struct {
		Files int `json:"total_files,string"`
		Dirs  int `json:"total_directories,string"`
		Links int `json:"total_symlinks,string"`
	}
	r.Must(t, "GET", file("/", "/aggregates/"), nil, &agg)
	if agg.Files != 26 || agg.Dirs != 1 || agg.Links != 1 {
		t.Errorf("totals %+v", agg)
	}
	var tree []struct{ Path string }
	r.Must(t, "GET", file("/", "/recursive-aggregates/"), nil, &tree)
	if len(tree) == 0 || tree[0].Path != "/" {
		t.Errorf("recursive totals %+v", tree)
	}
	refused(t, r, "DELETE", file("/d", ""), nil, 409, "fs_directory_not_empty_error")
	r.Must(t, "DELETE", file("/g", ""), nil, nil)
	refused(t, r, "GET", file("/g", "/info/attributes"), nil, 404, "fs_no_such_entry_error")
}

// sameFile writes over one protocol and reads over the other.
func sameFile(t *testing.T, s *harness.Server, r *harness.REST) {
	ctx := t.Context()
	c := s.NFS(t, nfsclient.Cred{})
	root, err := c.Mount(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := c.Create(ctx, root, "both", nfsclient.SetAttr{}, true)
	if err != nil {
		t.Fatal(err)
	}
	// Not committed: REST has to see what NFS has buffered.
	if _, err := c.Write(ctx, h, 0, []byte("from NFS"), nfsclient.Unstable); err != nil {
		t.Fatal(err)
	}
	var got []byte
	r.Must(t, "GET", file("/both", "/data"), nil, &got)
	if string(got) != "from NFS" {
		t.Errorf("REST reads %q", got)
	}
	r.Must(t, "PUT", file("/both", "/data"), []byte("from REST"), nil)
	p, _, err := c.Read(ctx, h, 0, 100)
	if err != nil || string(p) != "from REST" {
		t.Errorf("NFS reads %q, %v", p, err)
	}
	r.Must(t, "DELETE", file("/both", ""), nil, nil)
	if _, err := c.GetAttr(ctx, h); !errors.Is(err, nfsclient.Stale) {
		t.Errorf("the handle of a removed file: %v", err)
	}
}

func quotas(t *testing.T, s *harness.Server, r *harness.REST) {
	ctx := t.Context()
	d := create(t, r, "/", "CREATE_DIRECTORY", "q", nil)
	r.Must(t, "POST", "/v1/files/quotas/", object{"id": d.ID, "limit": "1000000"}, nil)
	refused(t, r, "POST", "/v1/files/quotas/", object{"id": d.ID, "limit": "5"}, 409, "api_quotas_quota_limit_already_set_error")
	var q struct{ ID, Limit string }
	r.Must(t, "GET", "/v1/files/quotas/"+d.ID, nil, &q)
	if q.ID != d.ID || q.Limit != "1000000" {
		t.Errorf("quota %+v", q)
	}
	c := s.NFS(t, nfsclient.Cred{})
	root, err := c.Mount(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	dir, _, err := c.Lookup(ctx, root, "q")
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := c.Create(ctx, dir, "f", nfsclient.SetAttr{}, true)
	if err != nil {
		t.Fatal(err)
	}
	var off uint64
	for err = nil; err == nil && off < 2_000_000; off += 100_000 {
		_, err = c.Write(ctx, h, off, make([]byte, 100_000), nfsclient.FileSync)
	}
	if !errors.Is(err, nfsclient.DQuot) && !errors.Is(err, nfsclient.NoSpc) {
		t.Errorf("writing past the quota: %v after %d bytes", err, off)
	}
	var status struct {
		Path, Limit string
		Used        int `json:"capacity_usage,string"`
	}
	r.Must(t, "GET", "/v1/files/quotas/status/"+d.ID, nil, &status)
	if status.Path != "/q/" || status.Used < 800_000 || status.Used > 1_000_000 {
		t.Errorf("status %+v", status)
	}
	r.Must(t, "PUT", "/v1/files/quotas/"+d.ID, object{"id": d.ID, "limit": "10000000"}, nil)
	if _, err := c.Write(ctx, h, off, make([]byte, 100_000), nfsclient.FileSync); err != nil {
		t.Errorf("after raising the quota: %v", err)
	}
	r.Must(t, "DELETE", "/v1/files/quotas/"+d.ID, nil, nil)
	refused(t, r, "GET", "/v1/files/quotas/"+d.ID, nil, 404, "api_quotas_quota_limit_not_found_error")
}

func snapshots(t *testing.T, r *harness.REST) {
	d := create(t, r, "/", "CREATE_DIRECTORY", "snap", nil)
	create(t, r, "/snap", "CREATE_FILE", "old", nil)
	create(t, r, "/snap", "CREATE_FILE", "edit", nil)
	r.Must(t, "PUT", file("/snap/edit", "/data"), []byte("one"), nil)
	type snapshot struct {
		ID   int
		Name string
		Dir  string `json:"directory_name"`
	}
	var one, two snapshot
	r.Must(t, "POST", "/v2/snapshots/", object{"name": "first", "source_file_id": d.ID, "expiration": ""}, &one)
	r.Must(t, "DELETE", file("/snap/old", ""), nil, nil)
	r.Must(t, "PUT", file("/snap/edit", "/data"), []byte("two"), nil)
	create(t, r, "/snap", "CREATE_FILE", "new", nil)
	r.Must(t, "POST", "/v2/snapshots/", object{"name": "second", "source_file_id": d.ID, "expiration": ""}, &two)

	var got []byte
	r.Must(t, "GET", file("/snap/.snapshot/"+one.Dir+"/edit", "/data"), nil, &got)
	if string(got) != "one" {
		t.Errorf("the snapshot has %q", got)
	}
	var diff struct {
		Entries []struct{ Op, Path string }
	}
	r.Must(t, "GET", "/v2/snapshots/"+strconv.Itoa(two.ID)+"/changes-since/"+strconv.Itoa(one.ID), nil, &diff)
	ops := map[string]string{}
	for _, e := range diff.Entries {
		ops[e.Path] = e.Op
	}
	for path, op := range map[string]string{"old": "DELETE", "new": "CREATE", "edit": "MODIFY"} {
		if ops[path] != op {
			t.Errorf("%s is %q in the difference %v, want %s", path, ops[path], ops, op)
		}
	}
	for _, s := range []snapshot{one, two} {
		r.Must(t, "DELETE", "/v2/snapshots/"+strconv.Itoa(s.ID), nil, nil)
	}
	var list struct {
		Entries []struct {
			ID       int
			InDelete bool `json:"in_delete"`
		}
	}
	r.Must(t, "GET", "/v2/snapshots/", nil, &list)
	for _, e := range list.Entries {
		if !e.InDelete {
			t.Errorf("snapshot %d is still there", e.ID)
		}
	}
}

func treeDelete(t *testing.T, r *harness.REST) {
	d := create(t, r, "/", "CREATE_DIRECTORY", "tree", nil)
	for i := range 20 {
		create(t, r, "/tree", "CREATE_DIRECTORY", "d"+strconv.Itoa(i), nil)
		create(t, r, "/tree/d"+strconv.Itoa(i), "CREATE_FILE", "f", nil)
	}
	r.Must(t, "POST", "/v1/tree-delete/jobs/", object{"id": "/tree"}, nil)
	refused(t, r, "GET", file("/tree", "/info/attributes"), nil, 404, "fs_no_such_entry_error")
	ended := func() bool {
		_, err := r.Try(t.Context(), "GET", "/v1/tree-delete/jobs/"+d.ID, nil, nil)
		var e *harness.StatusError
		if errors.As(err, &e) && e.Status == 404 && e.Class == "http_not_found_error" {
			return true
		}
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	if !harness.Within(20*time.Second, ended) {
		t.Fatal("the job does not end")
	}
	refused(t, r, "POST", "/v1/tree-delete/jobs/", object{"id": "/tree"}, 404, "")
}

func exports(t *testing.T, s *harness.Server, r *harness.REST) {
	ctx := t.Context()
	type export struct {
		ID           string
		ExportPath   string           `json:"export_path"`
		FSPath       string           `json:"fs_path"`
		Restrictions []map[string]any `json:"restrictions"`
	}
	var list []export
	r.Must(t, "GET", "/v2/nfs/exports/", nil, &list)
	if len(list) != 1 || list[0].ID != "1" || list[0].ExportPath != "/" || list[0].FSPath != "/" {
		t.Errorf("a fresh system exports %+v", list)
	}
	var e export
	in := object{"export_path": "/ro", "fs_path": "/made/here", "description": "", "restrictions": []object{
		{"host_restrictions": []string{}, "read_only": true, "user_mapping": "NFS_MAP_NONE", "require_privileged_port": false},
	}}
	refused(t, r, "POST", "/v2/nfs/exports/", in, 404, "")
	r.Must(t, "POST", "/v2/nfs/exports/?allow-fs-path-create=true", in, &e)
	r.Must(t, "GET", "/v2/nfs/exports/%2Fro", nil, &e)
	c := s.NFS(t, nfsclient.Cred{})
	root, err := c.Mount(ctx, "/ro")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Mkdir(ctx, root, "x", nfsclient.SetAttr{}); !errors.Is(err, nfsclient.ROFS) {
		t.Errorf("mkdir in a read-only export: %v", err)
	}
	// A change applies to mounts that exist.
	r.Must(t, "PATCH", "/v2/nfs/exports/"+e.ID, object{"restrictions": []object{}}, nil)
	if _, _, err := c.Mkdir(ctx, root, "x", nfsclient.SetAttr{}); err != nil {
		t.Errorf("mkdir after the export became writable: %v", err)
	}
	r.Must(t, "DELETE", "/v2/nfs/exports/"+e.ID, nil, nil)
	if _, err := c.Mount(ctx, "/ro"); err == nil {
		t.Error("a removed export can be mounted")
	}
	if _, err := c.GetAttr(ctx, root); err == nil {
		t.Error("a removed export still serves")
	}
	refused(t, r, "DELETE", "/v2/nfs/exports/"+e.ID, nil, 404, "nfs_export_doesnt_exist_error")
}
