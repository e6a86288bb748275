package rest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"manifold/internal/fs"
)

// hold takes a lock as a client of NFSv3 does; one that waits is answered.
func (a *api) hold(id string, client, owner string, off, length uint64, exclusive bool) fs.Waiter {
	a.t.Helper()
	var n uint64
	if _, err := fmt.Sscan(id, &n); err != nil {
		a.t.Fatal(err)
	}
	addr, _, _ := strings.Cut(client, "/")
	w, err := a.fs.LockWait(a.t.Context(), nil, &fs.LockRequest{
		Node: fs.Node{ID: fs.FileID(n)}, Range: fs.LockRange{Offset: off, Length: length}, Exclusive: exclusive,
		Owner: fs.LockOwner{Client: "nlm:" + client, Owner: owner, Addr: addr},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return w
}

const (
	lockPath = "/locks/nlm/byte-range/"
	allLocks = "/v1/files" + lockPath
)

func TestLocks(t *testing.T) {
	a := newAPI(t)
	f, g := a.create("2", "f"), a.create("2", "g")
	a.hold(f, "10.0.0.1/alice", "\x00\x00\x00\x011@alice", 10, 5, true)
	a.hold(f, "10.0.0.2/bob", "b", 20, 0, false)
	a.hold(g, "10.0.0.1/alice", "x", 0, 0, false)
	w := a.hold(f, "10.0.0.2/bob", "b", 0, 11, true)

	got := a.must(200, "GET", "/v1/files/%2Ff"+lockPath, nil)
	if len(got.list("grants")) != 2 || got.str("paging", "next") != "" {
		t.Fatalf("%s", got.raw)
	}
	for k, want := range map[string]string{"file_id": f, "offset": "10", "size": "5", "owner_name": "alice", "owner_address": "10.0.0.1", "owner_id": "0000000131" + "40616c696365", "snapshot_id": "0"} {
		if s := got.str("grants", 0, k); s != want {
			t.Errorf("%s is %q, want %q", k, s, want)
		}
	}
	if s := got.str("grants", 0, "mode", 0); s != "API_BYTE_RANGE_EXCLUSIVE" {
		t.Error(s)
	}
	if got := a.must(200, "GET", "/v1/files/"+f+lockPath+"waiters/", nil); len(got.list("waiters")) != 1 || got.str("waiters", 0, "owner_name") != "bob" {
		t.Errorf("%s", got.raw)
	}
	for q, want := range map[string]int{"": 3, "?owner_name=Alice": 2, "?owner_address=10.0.0.2": 1, "?owner_name=alice&owner_address=10.0.0.2": 0} {
		if got := a.must(200, "GET", allLocks+q, nil); len(got.list("grants")) != want {
			t.Errorf("%s: %s", q, got.raw)
		}
	}
	if got := a.must(200, "GET", allLocks+"waiters/?owner_name=alice", nil); len(got.list("waiters")) != 0 {
		t.Errorf("%s", got.raw)
	}

	// One range of one owner; who waited for it gets it.
	owner := "&owner_id=" + got.str("grants", 0, "owner_id")
	a.fails(404, "fs_lock_not_found_error", "DELETE", "/v1/files/"+f+lockPath+"?offset=0&size=10"+owner, nil)
	a.fails(400, "http_bad_request_error", "DELETE", "/v1/files/"+f+lockPath+"?offset=0&size=10", nil)
	a.must(200, "DELETE", "/v1/files/"+f+lockPath+"?offset=10&size=5"+owner, nil)
	select {
	case <-w.Granted():
	default:
		t.Error("the waiter has not got its lock")
	}

	a.fails(400, "http_bad_request_error", "DELETE", allLocks, nil)
	a.fails(400, "http_bad_request_error", "DELETE", allLocks+"?owner_address=here", nil)
	a.fails(404, "fs_lock_not_found_error", "DELETE", allLocks+"?owner_name=carol", nil)
	a.must(200, "DELETE", allLocks+"?owner_name=alice&owner_address=10.0.0.1", nil)
	if got := a.must(200, "GET", allLocks, nil); strings.Contains(string(got.raw), "alice") || !strings.Contains(string(got.raw), "bob") {
		t.Errorf("%s", got.raw)
	}
	a.fails(404, "fs_no_such_entry_error", "GET", "/v1/files/%2Fnone"+lockPath, nil)
	a.fails(404, "fs_no_such_inode_error", "GET", "/v1/files/999999"+lockPath, nil)
}

func TestLocks_pages(t *testing.T) {
	a := newAPI(t)
	var want []string
	for i := range 3 {
		id := a.create("2", fmt.Sprint("f", i))
		for off := range 5 {
			a.hold(id, "::1/host", "o", uint64(2*off), 1, true)
			want = append(want, fmt.Sprint(id, " ", 2*off))
		}
	}
	for _, limit := range []int{1, 4, 5, 15, 16} {
		var got []string
		for next := fmt.Sprintf("%s?owner_address=::1&limit=%d", allLocks, limit); next != ""; {
			p := a.must(200, "GET", next, nil)
			n := len(p.list("grants"))
			for i := range n {
				got = append(got, p.str("grants", i, "file_id")+" "+p.str("grants", i, "offset"))
			}
			if next = p.str("paging", "next"); next != "" && n != limit {
				t.Errorf("a page of %d with limit %d", n, limit)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("limit %d: %q", limit, got)
		}
	}
	a.must(400, "GET", allLocks+"?after="+url.QueryEscape("!"), nil)
}

func TestLocks_needPrivilege(t *testing.T) {
	a := newAPI(t)
	var err error
	if a.token, _, err = a.config.NewSession(t.Context(), 500, []string{"PRIVILEGE_FS_LOCK_READ"}); err != nil {
		t.Fatal(err)
	}
	a.must(200, "GET", allLocks, nil)
	a.fails(403, "http_forbidden_error", "DELETE", allLocks+"?owner_name=x", nil)
}

func TestCLI_locks(t *testing.T) {
	a := newAPI(t)
	x := newTerminal(t, a)
	x.run("login", "--host", x.host, "-p", adminPassword)
	f := a.create("2", "f")
	a.hold(f, "10.0.0.1/alice", "o", 0, 0, true)
	a.hold(f, "10.0.0.2/bob", "p", 0, 1, true)
	out := x.run("nfs", "lock", "list", "--file", "/f")
	if !strings.Contains(out, "held     exclusive  0       end   alice") || !strings.Contains(out, "waiting  exclusive  0       1     bob") {
		t.Error(out)
	}
	if out := x.run("nfs", "lock", "list", "--client", "bob", "--json"); strings.Contains(out, "alice") || !strings.Contains(out, `"owner_name": "bob"`) {
		t.Error(out)
	}
	x.fails("want --client", "nfs", "lock", "release")
	x.fails("want --client", "nfs", "lock", "release", "--file", "/f")
	x.fails("want --client", "nfs", "lock", "release", "--file", "/f", "--owner", "6f", "--client", "alice")
	x.fails("fs_lock_not_found_error", "nfs", "lock", "release", "--file", "/f", "--owner", "70")
	x.run("nfs", "lock", "release", "--file", "/f", "--owner", "6f")
	if out := x.run("nfs", "lock", "list"); strings.Contains(out, "alice") || !strings.Contains(out, "exclusive  0       1     bob") {
		t.Error(out)
	}
	x.run("nfs", "lock", "release", "--address", "10.0.0.2")
	if out := x.run("nfs", "lock", "list"); strings.Contains(out, "bob") {
		t.Error(out)
	}
}
