package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestNotify(t *testing.T) {
	cut := false
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Get("filter") != "child_file_added,child_dir_added" || q.Get("recursive") != "true" {
			t.Errorf("asked for %v", q)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": watching\n\ndata: [{\"type\":\"child_file_added\",\"path\":\"a\",\"spine\":[\"7\"]},{\"type\":\"child_dir_added\",\"path\":\"b\"}]\n\n: keepalive\n\ndata: [{\"type\":\"x\"}]\n\n")
		if cut {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	watch := func(most int) (got string, last error) {
		for n, err := range c.Notify(t.Context(), "/d", NotifyOptions{Types: []string{"child_file_added", "child_dir_added"}, Recursive: true}) {
			if err != nil {
				return got, err
			}
			got += fmt.Sprint(n.Type, " ", n.Path, n.Spine, ";")
			if most--; most == 0 {
				break
			}
		}
		return got, nil
	}
	const all = "child_file_added a[7];child_dir_added b[];x [];"
	if got, err := watch(-1); got != all || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if got, err := watch(1); got != "child_file_added a[7];" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	// Whoever missed something is told.
	cut = true
	if got, err := watch(-1); got != all || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q %v", got, err)
	}
}

func FuzzReadNotifications(f *testing.F) {
	f.Add("data: [{\"type\":\"x\",\"path\":\"p\",\"spine\":[\"1\"]}]\n\n: keepalive\n\n")
	f.Add("data: {}\n")
	f.Fuzz(func(t *testing.T, s string) {
		n := 0
		_ = readNotifications(strings.NewReader(s), func(Notification) bool { n++; return true })
		if n > len(s) {
			t.Error("more changes than bytes")
		}
	})
}
