package apitest

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

const doc = `{"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {
	"/v1/version": {"get": {"responses": {"200": {"description": "d", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/V"}}}},
		"default": {"description": "e", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/E"}}}}}}},
	"/v1/x/{ref}": {"delete": {"parameters": [{"name": "ref", "in": "path", "required": true, "schema": {"type": "string"}}], "responses": {"200": {"description": "d"}}}}},
	"components": {"schemas": {
		"V": {"type": "object", "properties": {"a": {"type": ["string", "null"]}, "n": {"$ref": "#/components/schemas/N"}}, "required": ["a"]},
		"N": {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]},
		"E": {"type": "object", "properties": {"error_class": {"type": "string"}}, "required": ["error_class"]}}}}`

func TestValidate(t *testing.T) {
	if err := Validate([]byte(doc)); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		`{`, `{"openapi": "3.1.0"}`, `{"openapi": "3.0.3", "info": {"title": "t", "version": "1"}, "paths": {}}`,
		`{"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/x": {"get": {"responses": {"200": {"description": "d", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/No"}}}}}}}}}`,
	} {
		if Validate([]byte(bad)) == nil {
			t.Errorf("taken: %s", bad)
		}
	}
}

func TestCheck(t *testing.T) {
	c, err := New([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	js := http.Header{"Content-Type": {"application/json"}}
	for _, x := range []struct {
		method, path string
		status       int
		header       http.Header
		body         string
		fits         bool
	}{
		{"GET", "/v1/version", 200, js, `{"a": "x"}`, true},
		{"GET", "/v1/version", 200, js, `{"a": null, "n": {"b": 1}}`, true},
		{"GET", "/v1/version", 200, js, `{"a": 1}`, false},
		{"GET", "/v1/version", 200, js, `{}`, false},
		{"GET", "/v1/version", 200, js, `{"a": "x", "c": 1}`, false},
		{"GET", "/v1/version", 200, js, `{"a": "x", "n": {"b": 1, "c": 2}}`, false},
		{"GET", "/v1/version", 202, js, `{"a": "x"}`, false},
		{"GET", "/v1/version", 200, http.Header{"Content-Type": {"text/plain"}}, `{"a": "x"}`, false},
		{"GET", "/v1/version", 404, js, `{"error_class": "x"}`, true},
		{"GET", "/v1/version", 404, js, `{"a": "x"}`, false},
		{"DELETE", "/v1/x/%2Fa%2Fb", 200, nil, "", true},
		{"DELETE", "/v1/x/a", 200, nil, "{}", false},
		{"GET", "/v1/nowhere", 404, js, `{"error_class": "x"}`, true},
		{"GET", "/v1/nowhere", 200, js, `{}`, false},
		{"PUT", "/v1/x/a", 405, nil, "", true},
	} {
		if err := c.Check(x.method, x.path, x.status, x.header, []byte(x.body)); (err == nil) != x.fits {
			t.Errorf("%+v: %v", x, err)
		}
	}
	if ops := c.Operations(); len(ops) != 2 || ops[1] != "GET /v1/version" {
		t.Errorf("%v", ops)
	}
}

func TestHandler(t *testing.T) {
	c, err := New([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(r.URL.Query().Get("answer")))
	}), func(error) { n++ })
	for _, q := range []string{"{}", `%7B"a":"x"%7D`} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/v1/version?answer="+q, nil))
	}
	if n != 1 {
		t.Errorf("%d complaints", n)
	}
}

// The description of the server keeps to the rules of OpenAPI 3.1.
func TestDescription(t *testing.T) {
	b, err := os.ReadFile("../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := Validate(b); err != nil {
		t.Error(err)
	}
	if _, err := New(b); err != nil {
		t.Error(err)
	}
}
