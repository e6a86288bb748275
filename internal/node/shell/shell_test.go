package shell

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"manifold/client"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"":                         nil,
		"  fs   ls\t/ ":            {"fs", "ls", "/"},
		`fs cat "/a b" '/c"d' \ x`: {"fs", "cat", "/a b", `/c"d`, " x"},
		`a""b '' "\"\x"`:           {"ab", "", `"\x`},
		"a;b|c $HOME `x` *":        {"a;b|c", "$HOME", "`x`", "*"}, // nothing has a meaning
	} {
		if got, err := split(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q %v", line, got, err)
		}
	}
	for _, line := range []string{`"`, `'a`, `a\`} {
		if got, err := split(line); err == nil {
			t.Errorf("%q: %q", line, got)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(`a "b c" 'd' \e`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := split(line)
		if err != nil {
			return
		}
		// Quoted again they are the same words.
		var b strings.Builder
		for _, w := range words {
			b.WriteString("'" + strings.ReplaceAll(w, "'", `'\''`) + "' ")
		}
		if again, err := split(b.String()); err != nil || !slices.Equal(again, words) {
			t.Fatalf("%q: %q, then %q %v", line, words, again, err)
		}
	})
}

func TestTransport(t *testing.T) {
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			if r.RemoteAddr != "192.0.2.1:5" || r.Header.Get("Authorization") != "Bearer secret" {
				t.Errorf("%s %v", r.RemoteAddr, r.Header)
			}
			w.Header().Set("ETag", `"1"`)
			_, _ = io.Copy(w, r.Body)
		case "/abort":
			_, _ = io.WriteString(w, "{")
			panic(http.ErrAbortHandler)
		case "/hang":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error_class":"none"}`)
		}
	})
	c, err := client.New("https://x", client.WithHTTPClient(&http.Client{Transport: transport{api, "192.0.2.1:5"}}), client.WithToken("secret"))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if tag, err := c.Do(t.Context(), client.Request{Method: "POST", Path: "/echo", Body: map[string]string{"a": "b"}}, &got); err != nil || tag != `"1"` || got["a"] != "b" {
		t.Errorf("%v %s %v", got, tag, err)
	}
	if _, err := c.Do(t.Context(), client.Request{Method: "GET", Path: "/nothing"}, nil); !client.IsClass(err, "none") {
		t.Error(err)
	}
	if _, err := c.Do(t.Context(), client.Request{Method: "GET", Path: "/abort"}, &got); err == nil || !strings.Contains(err.Error(), errAborted.Error()) {
		t.Error(err)
	}
	resp, err := c.Send(t.Context(), client.Request{Method: "GET", Path: "/hang"})
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil { // ends the handler
		t.Error(err)
	}
}

var _ http.ResponseWriter = (*answer)(nil)
