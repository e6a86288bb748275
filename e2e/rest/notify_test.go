package rest

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/nfsclient"
)

// A client that watches a tree hears of every change that another makes over
// NFS, in order and soon. MANIFOLD_NOTIFY_CHANGES sets how many.
func TestNotify(t *testing.T) {
	changes := 3000
	if v := os.Getenv("MANIFOLD_NOTIFY_CHANGES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		changes = n
	}
	s := harness.StartServer(t)
	r := s.Login(t)
	r.Must(t, "POST", "/v1/files/2/entries/", object{"action": "CREATE_DIRECTORY", "name": "w"}, nil)
	r.Must(t, "POST", file("/w", "/entries/"), object{"action": "CREATE_DIRECTORY", "name": "sub"}, nil)
	r.Must(t, "PATCH", file("/w/sub", "/info/attributes"), object{"mode": "0777"}, nil)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", r.Base+file("/w", "/notify?filter=child_file_added,child_file_removed&recursive=true"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.Token)
	hc := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return s.Net.Dial(ctx, network, addr)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	defer hc.CloseIdleConnections()
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), ": watching") {
		t.Fatalf("the stream begins with %q", lines.Text())
	}

	name := func(i int) string { return fmt.Sprintf("f%07d", i) }
	replied := make([]time.Time, changes) // before the change is told on done
	done := make(chan int, changes)
	go func() {
		defer close(done)
		c := s.NFS(t, nfsclient.Cred{})
		root, err := c.Mount(ctx, "/")
		if err != nil {
			t.Error(err)
			return
		}
		w, _, err := c.Lookup(ctx, root, "w")
		if err != nil {
			t.Error(err)
			return
		}
		dir, _, err := c.Lookup(ctx, w, "sub")
		if err != nil {
			t.Error(err)
			return
		}
		for i := range changes { // every third removes what the one before made
			if i%3 == 2 {
				err = c.Remove(ctx, dir, name(i-1))
			} else {
				_, _, err = c.Create(ctx, dir, name(i), nfsclient.SetAttr{}, true)
			}
			if err != nil {
				t.Error(err)
				return
			}
			replied[i] = time.Now()
			done <- i
		}
	}()
	var worst time.Duration
	got := 0
	for got < changes && lines.Scan() {
		line := lines.Text()
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			if line != "" && !strings.HasPrefix(line, ": keepalive") {
				t.Fatalf("the stream says %q", line)
			}
			continue
		}
		var events []struct{ Type, Path string }
		if err := json.Unmarshal([]byte(data), &events); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		for _, e := range events {
			typ, path := "child_file_added", "sub/"+name(got)
			if got%3 == 2 {
				typ, path = "child_file_removed", "sub/"+name(got-1)
			}
			if e.Type != typ || e.Path != path {
				t.Fatalf("change %d: %+v, want %s of %s", got, e, typ, path)
			}
			if i, ok := <-done; ok { // in their order
				worst = max(worst, now.Sub(replied[i]))
			}
			got++
		}
	}
	if got < changes {
		t.Fatalf("the stream ended after %d of %d changes: %v", got, changes, lines.Err())
	}
	t.Logf("%d changes, none missed and in order; the last of a message came at most %v after its reply", changes, worst.Round(time.Microsecond))
	if worst > 30*time.Second {
		t.Errorf("a change was told after %v", worst)
	}
}
