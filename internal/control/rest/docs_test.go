package rest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite generated documents")

func golden(t *testing.T, path string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != string(want) {
		t.Errorf("%s is not what the code says (%v); run: go test ./internal/control/rest -run TestDocs -update", path, err)
	}
}

func TestDocs(t *testing.T) {
	golden(t, "../../../api/openapi.json", Description())

	var b strings.Builder
	b.WriteString(`# REST API

Generated from the table in internal/control/rest; do not edit. ` + "`GET /openapi.json`" + ` describes the bodies; api/openapi.json is the same document.

- HTTPS on port 8000. ` + "`POST /v1/session/login`" + ` answers a bearer token for all other requests.
- A file ` + "`{ref}`" + ` is a decimal id or an absolute path, URL-encoded as one segment: ` + "`/v1/files/%2Fa%2Fb/info/attributes`" + `.
- 64-bit quantities are decimal strings. Times are RFC 3339 in UTC.
- Success is 200, or 202 for work that goes on in the background. Errors carry an ` + "`error_class`" + `.
- Operations marked ` + "`If-Match`" + ` honour an entity tag as answered by a GET; without one the last writer wins.
- A slash at the end is part of the name. Nothing redirects.

| Method | Path | Privilege | Query | |
|---|---|---|---|---|
`)
	rs := allRoutes()
	slices.SortStableFunc(rs, func(x, y route) int { return strings.Compare(area(x.Path)+x.Path, area(y.Path)+y.Path) })
	for _, r := range rs {
		privilege := strings.TrimPrefix(string(r.Privilege), "PRIVILEGE_")
		switch {
		case r.Public:
			privilege = "no token"
		case privilege == "":
			privilege = "signed in"
		}
		var args []string
		for _, q := range r.Query {
			args = append(args, q.Name)
		}
		if r.Conditional {
			args = append(args, "`If-Match`")
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s |\n", r.Method, r.Path, privilege, strings.Join(args, ", "), r.Summary)
	}
	golden(t, "../../../docs/reference/rest.md", []byte(b.String()))
}

// The description must be sound: unique operation ids, and no reference to nowhere.
func TestDescription(t *testing.T) {
	var doc struct {
		Paths      map[string]map[string]struct{ OperationID, Summary string }
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(Description(), &doc); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	n := 0
	for path, ops := range doc.Paths {
		for method, op := range ops {
			n++
			if op.OperationID == "" || seen[op.OperationID] || op.Summary == "" {
				t.Errorf("%s %s: %+v", method, path, op)
			}
			seen[op.OperationID] = true
		}
	}
	if n != len(allRoutes()) {
		t.Errorf("%d operations of %d", n, len(allRoutes()))
	}
	for _, ref := range strings.Split(string(Description()), `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(ref, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("no schema %s", name)
		}
	}
}
