package rest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"manifold/internal/config"
	"manifold/internal/fs"
)

// A tool that sets up a system sends a share and the users that it names at
// the same time.
func TestShares_waitForAccounts(t *testing.T) {
	a := newAPI(t)
	o := a.options
	share := object{"share_name": "s", "fs_path": "/", "permissions": []object{{"type": "ALLOWED", "trustee": object{"name": "late"}, "rights": []string{"READ"}}}}
	// It asks for news before it looks the name up; the user comes afterwards.
	asked := &askedNews{of: a.config, asked: make(chan struct{}, 100)}
	o.News, o.Settle = asked, time.Minute
	a.serve(o)
	made := make(chan *answer)
	go func() { made <- a.send("POST", "/v2/smb/shares/", share) }()
	<-asked.asked
	u, err := a.config.AddUser(t.Context(), config.User{Name: "late", PrimaryGroup: 513}, "")
	if err != nil {
		t.Fatal(err)
	}
	got := <-made
	if got.status != 200 || got.str("permissions", 0, "trustee", "name") != "late" || u.ID == 0 {
		t.Errorf("%d %s", got.status, got.raw)
	}
	// Nobody comes.
	o.Settle = time.Millisecond
	a.serve(o)
	share["share_name"], share["permissions"] = "t", []object{{"type": "ALLOWED", "trustee": object{"name": "never"}, "rights": []string{"READ"}}}
	a.fails(400, "cred_invalid_local_user_error", "POST", "/v2/smb/shares/", share)
}

// So it does with an export that goes and one of its name that comes.
func TestExports_waitForRemoval(t *testing.T) {
	a := newAPI(t)
	export := object{"export_path": "/e", "fs_path": "/", "restrictions": []object{}}
	first := a.must(200, "POST", "/v2/nfs/exports/", export)
	asked := &askedNews{of: a.config, asked: make(chan struct{}, 100)}
	o := a.options
	o.News, o.Settle = asked, time.Minute
	a.serve(o)
	made := make(chan *answer)
	go func() { made <- a.send("POST", "/v2/nfs/exports/", export) }()
	<-asked.asked
	a.must(200, "DELETE", "/v2/nfs/exports/"+first.str("id"), nil)
	if got := <-made; got.status != 200 || got.str("id") == first.str("id") {
		t.Errorf("%d %s", got.status, got.raw)
	}
	o.Settle = time.Millisecond
	a.serve(o)
	a.fails(409, "nfs_export_already_exists_error", "POST", "/v2/nfs/exports/", export)
}

// askedNews says when somebody asks.
type askedNews struct {
	of    interface{ Changed() <-chan struct{} }
	asked chan struct{}
}

func (n *askedNews) Changed() <-chan struct{} {
	c := n.of.Changed()
	n.asked <- struct{}{}
	return c
}

func TestSMBLocks(t *testing.T) {
	a := newAPI(t)
	f := a.create("2", "f")
	var id uint64
	if _, err := fmt.Sscan(f, &id); err != nil {
		t.Fatal(err)
	}
	_, err := a.fs.Lock(t.Context(), nil, &fs.LockRequest{
		Node: fs.Node{ID: fs.FileID(id)}, Space: fs.LockSMB, Range: fs.LockRange{Offset: 1, Length: 2}, Exclusive: true,
		Owner: fs.LockOwner{Client: "smb:192.0.2.7:5000", Owner: "o", Addr: "192.0.2.7"},
	})
	if err != nil {
		t.Fatal(err)
	}
	a.hold(f, "10.0.0.1/alice", "x", 0, 0, false)
	for path, want := range map[string]int{
		"/v1/files/locks/smb/byte-range/": 1, "/v1/files/locks/smb/byte-range/?owner_address=192.0.2.7": 1, "/v1/files/locks/smb/byte-range/?owner_address=192.0.2.8": 0,
		"/v1/files/" + f + "/locks/smb/byte-range/": 1, "/v1/files/2/locks/smb/byte-range/": 0, "/v1/files/" + f + "/locks/nlm/byte-range/": 1,
		"/v1/files/locks/smb/share-mode/": 1, "/v1/files/locks/smb/share-mode/?owner_address=192.0.2.7": 1, "/v1/files/locks/smb/share-mode/?owner_address=192.0.2.8": 0,
		"/v1/files/2/locks/smb/share-mode/": 1, "/v1/files/" + f + "/locks/smb/share-mode/": 0,
	} {
		if got := a.must(200, "GET", path, nil); len(got.list("grants")) != want {
			t.Errorf("%s: %s", path, got.raw)
		}
	}
	got := a.must(200, "GET", "/v1/files/locks/smb/share-mode/", nil)
	if m := got.list("grants", 0, "mode"); len(m) != 3 || m[0] != "API_SHARE_MODE_READ" || m[1] != "API_SHARE_MODE_EXCLUDE_WRITE" || got.str("grants", 0, "owner_id") != "500" || got.str("grants", 0, "owner_address") != "192.0.2.7" {
		t.Errorf("%s", got.raw)
	}
}

// What the public command line of 2019 calls and the published description of
// the interface no longer has.
func TestOldPaths(t *testing.T) {
	a := newAPI(t)
	made := a.must(200, "POST", "/v1/nfs/shares/", object{"export_path": "/old", "fs_path": "/", "description": "d", "restrictions": []object{}})
	id := made.str("id")
	if made.header.Get("ETag") == "" {
		t.Errorf("%s", made.raw)
	}
	a.must(200, "PUT", "/v1/nfs/shares/"+id, object{"id": id, "export_path": "/old", "fs_path": "/", "description": "e", "restrictions": []object{}})
	if got := a.must(200, "GET", "/v1/nfs/shares/"+id, nil); got.str("description") != "e" {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "PATCH", "/v2/nfs/exports/"+id, object{"present_64_bit_fields_as_32_bit": true}); len(got.list("fields_to_present_as_32_bit")) != 3 || got.at("present_64_bit_fields_as_32_bit") != true {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", "/v3/nfs/exports/"+id, nil); strings.Contains(string(got.raw), "present_64") {
		t.Errorf("%s", got.raw)
	}
	if got := a.must(200, "GET", "/v1/nfs/shares/", nil); got.str(1, "id") != id {
		t.Errorf("%s", got.raw)
	}
	a.must(200, "DELETE", "/v1/nfs/shares/"+id, nil)
	a.fails(404, "nfs_export_doesnt_exist_error", "GET", "/v1/nfs/shares/"+id, nil)

	p := a.must(200, "POST", "/v1/snapshots/policies/", object{"name": "p", "source_file_ids": []string{"2"}, "schedules": []object{{
		"creation_schedule": object{"timezone": "UTC", "frequency": "SCHEDULE_DAILY_OR_WEEKLY", "on_days": []string{"MON"}, "hour": 3}, "expiration_time_to_live": "2days"}}})
	for _, change := range []object{{"schedules": []object{{}}, "name": "q"}, {"schedules": []object{{"expiration_time_to_live": "3days"}}}} {
		p = a.must(200, "PATCH", "/v1/snapshots/policies/"+fmt.Sprint(p.at("id")), change)
	}
	if p.str("name") != "q" || p.at("schedules", 0, "creation_schedule", "hour") != 3.0 || p.str("schedules", 0, "expiration_time_to_live") != "3days" {
		t.Errorf("%s", p.raw)
	}
	a.fails(400, "decode_error", "PUT", "/v1/snapshots/policies/"+fmt.Sprint(p.at("id")), object{"name": "q", "schedules": []object{{}}})

	a.must(200, "POST", "/v1/files/2/entries/", object{"action": "CREATE_DIRECTORY", "name": "d"})
	if got := a.must(202, "POST", "/v1/files/%2Fd/delete-tree", nil); got.str("monitor_uri") == "" {
		t.Errorf("%s", got.raw)
	}
	a.fails(404, "http_not_found_error", "GET", "/v1/files/%2Fd/delete-tree/status", nil)
	a.fails(404, "fs_no_such_entry_error", "POST", "/v1/files/%2Fd/delete-tree", nil)

	f := a.create("2", "owned")
	if got := a.must(200, "PATCH", "/v1/files/"+f+"/info/attributes", object{"owner_details": object{"id_type": "SMB_SID", "id_value": "S-1-5-88-1-7005"}}); got.str("owner_details", "id_value") != "7005" {
		t.Errorf("%s", got.raw)
	}
}
