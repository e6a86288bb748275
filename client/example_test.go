package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"manifold/client"
)

// server stands in for a real one: it answers what a test of the examples needs.
func server() *httptest.Server {
	answers := map[string]string{
		"POST /v1/session/login":                             `{"bearer_token":"session-v1:abc"}`,
		"GET /v1/session/who-am-i":                           `{"name":"admin"}`,
		"POST /v1/files/%2F/entries/":                        `{"id":"5","name":"projects","type":"FS_FILE_TYPE_DIRECTORY"}`,
		"POST /v1/files/5/entries/":                          `{"id":"6","name":"readme"}`,
		"PUT /v1/files/6/data":                               `{"id":"6","size":"5"}`,
		"GET /v1/files/%2Fprojects/entries/":                 `{"files":[{"path":"/projects/a","size":"10"},{"path":"/projects/b","size":"20"}],"paging":{"next":""}}`,
		"GET /v1/files/%2Fprojects/info/attributes":          `{"id":"5","path":"/projects/"}`,
		"POST /v3/snapshots/":                                `{"id":12,"name":"12_before-upgrade"}`,
		"POST /v3/snapshots/policies/":                       `{"id":1,"policy_name":"nightly","enabled":true}`,
		"PATCH /v1/files/%2Fprojects%2Fa/file-lock":          `{"path":"/projects/a"}`,
		"POST /v1/files/%2Fprojects/info/acl/explain-rights": `{"effective_rights":["READ","EXECUTE"]}`,
	}
	return httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		a, ok := answers[r.Method+" "+r.URL.EscapedPath()]
		switch {
		case ok:
			_, _ = io.WriteString(w, a)
		case r.Method == "GET":
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error_class":"fs_no_such_entry_error","description":"No such path"}`)
		}
	}))
}

// Sign in, trusting the one certificate that the server is known to have. Here
// the fingerprint is the one that the server showed at first contact.
func ExampleNew() {
	srv := server()
	defer srv.Close()
	ctx := context.Background()
	var seen client.Peer
	first, err := client.New(srv.URL, client.WithTrust(func(p client.Peer) error { seen = p; return nil }))
	if err != nil {
		log.Fatal(err)
	}
	if err := first.Login(ctx, "admin", "secret"); err != nil {
		log.Fatal(err)
	}
	c, err := client.New(srv.URL, client.WithTrust(client.Pinned(seen.Fingerprint)), client.WithToken(first.Token()))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	me, err := c.WhoAmI(ctx)
	fmt.Println(me.Name, err)
	// Output: admin <nil>
}

func connect(srv *httptest.Server) *client.Client {
	c, err := client.New(srv.URL, client.WithTrust(client.Insecure), client.WithToken("access-v1:..."))
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// Make a directory with a quota, and a file in it.
func ExampleClient_Write() {
	srv := server()
	defer srv.Close()
	ctx, c := context.Background(), connect(srv)
	dir, err := c.Mkdir(ctx, "/", "projects")
	if err != nil {
		log.Fatal(err) // client.IsClass(err, "fs_entry_exists_error") if it is there
	}
	if err := c.CreateQuota(ctx, dir.ID, 500<<30); err != nil {
		log.Fatal(err)
	}
	f, err := c.Create(ctx, client.RefOf(dir.ID), "readme")
	if err != nil {
		log.Fatal(err)
	}
	f, err = c.Write(ctx, client.RefOf(f.ID), strings.NewReader("hello"), "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.Size, "bytes are durable")
	// Output: 5 bytes are durable
}

// List a directory of any size.
func ExampleClient_List() {
	srv := server()
	defer srv.Close()
	for a, err := range connect(srv).List(context.Background(), "/projects", client.ListOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(a.Path, a.Size)
	}
	// Output:
	// /projects/a 10
	// /projects/b 20
}

// Errors are told apart by their class, which is part of the API.
func ExampleIsClass() {
	srv := server()
	defer srv.Close()
	_, err := connect(srv).Attributes(context.Background(), "/nowhere", 0)
	fmt.Println(client.IsClass(err, "fs_no_such_entry_error"))
	fmt.Println(err)
	// Output:
	// true
	// fs_no_such_entry_error: No such path (HTTP 404)
}

// Take a snapshot that goes by itself after two days.
func ExampleClient_TakeSnapshot() {
	srv := server()
	defer srv.Close()
	s, err := connect(srv).TakeSnapshot(context.Background(), client.NewSnapshot{Dir: "/projects", Suffix: "before-upgrade", TimeToLive: "2days"})
	fmt.Println(s.Name, err)
	// Output: 12_before-upgrade <nil>
}

// Take one every night by the clocks of Berlin.
func ExampleClient_AddPolicy() {
	srv := server()
	defer srv.Close()
	ctx, c := context.Background(), connect(srv)
	dir, err := c.Attributes(ctx, "/projects", 0)
	if err != nil {
		log.Fatal(err)
	}
	name := "nightly"
	p, err := c.AddPolicy(ctx, client.PolicyBody{Name: &name, Dir: dir.ID, Schedule: &client.PolicySchedule{
		Creation:   client.Schedule{Frequency: "SCHEDULE_DAILY_OR_WEEKLY", OnDays: []string{"EVERY_DAY"}, Hour: 2, Minute: 30, Timezone: "Europe/Berlin"},
		TimeToLive: "14days",
	}})
	fmt.Println(p.Name, p.Enabled, err)
	// Output: nightly true <nil>
}

// Keep a file from change and removal.
func ExampleClient_SetFileLock() {
	srv := server()
	defer srv.Close()
	on := true
	a, err := connect(srv).SetFileLock(context.Background(), "/projects/a", client.FileLock{LegalHold: &on}, "")
	fmt.Println(a.Path, err)
	// Output: /projects/a <nil>
}

// Tell what somebody may do.
func ExampleClient_ExplainRights() {
	srv := server()
	defer srv.Close()
	x, err := connect(srv).ExplainRights(context.Background(), "/projects", 0, client.Requestor{User: client.Named("local:jane")})
	fmt.Println(x.Effective, err)
	// Output: [READ EXECUTE] <nil>
}

// Call what has no method of its own.
func ExampleClient_Do() {
	srv := server()
	defer srv.Close()
	var out map[string]json.RawMessage
	_, err := connect(srv).Do(context.Background(), client.Request{Method: "GET", Path: "/v1/session/who-am-i"}, &out)
	fmt.Println(string(out["name"]), err)
	// Output: "admin" <nil>
}
