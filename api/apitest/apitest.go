// Package apitest holds answers of the REST API against its description.
//
// Invariants: an answer that the description does not promise is an error: its
// status, its content type, a field too many as well as one too few. The
// package must not know the server; all it has is the description.
package apitest

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Checker checks answers. Many may use one at a time.
type Checker struct {
	doc      map[string]any
	paths    []path
	mu       sync.Mutex // guards what follows
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

// path is a pattern of the description, in segments.
type path struct {
	pattern  string
	segments []string
}

// Validate tells what is wrong with a description by the rules of OpenAPI.
func Validate(doc []byte) error {
	l := openapi3.NewLoader()
	t, err := l.LoadFromData(doc)
	if err != nil {
		return err
	}
	if !t.IsOpenAPI31OrLater() {
		return fmt.Errorf("OpenAPI %s, want 3.1", t.OpenAPI)
	}
	return t.Validate(l.Context)
}

// location names the description in the schema compiler.
const location = "manifold:///openapi.json"

// New makes a checker of a description.
func New(doc []byte) (*Checker, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return nil, err
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the description is no object")
	}
	closed(root)
	c := &Checker{doc: root, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	if err := c.compiler.AddResource(location, root); err != nil {
		return nil, err
	}
	paths, _ := root["paths"].(map[string]any)
	for p := range paths {
		c.paths = append(c.paths, path{p, strings.Split(p, "/")})
	}
	// Literal segments win over parameters: compare parameters as the last.
	slices.SortFunc(c.paths, func(a, b path) int { return slices.Compare(ranked(a), ranked(b)) })
	return c, nil
}

func ranked(p path) []string {
	out := slices.Clone(p.segments)
	for i, s := range out {
		if strings.HasPrefix(s, "{") {
			out[i] = "\xff"
		}
	}
	return out
}

// closed forbids fields that schemas do not name: the description leaves them
// open for clients, but the server has no business to send any.
func closed(v any) {
	switch x := v.(type) {
	case map[string]any:
		if _, ok := x["properties"].(map[string]any); ok && x["additionalProperties"] == nil {
			x["additionalProperties"] = false
		}
		for _, e := range x {
			closed(e)
		}
	case []any:
		for _, e := range x {
			closed(e)
		}
	}
}

// operation finds what the description says of a request; nil if nothing.
func (c *Checker) operation(method, escaped string) (pattern string, op map[string]any) {
	segments := strings.Split(escaped, "/")
	for _, p := range c.paths {
		if len(p.segments) != len(segments) {
			continue
		}
		fits := true
		for i, s := range p.segments {
			if strings.HasPrefix(s, "{") && segments[i] != "" || s == segments[i] {
				continue
			}
			fits = false
			break
		}
		if !fits {
			continue
		}
		item, _ := c.doc["paths"].(map[string]any)[p.pattern].(map[string]any)
		op, _ := item[strings.ToLower(method)].(map[string]any)
		return p.pattern, op
	}
	return "", nil
}

// Check holds one answer against the description. escaped is the path of the
// request as it was sent. What is not in the description must be refused.
func (c *Checker) Check(method, escaped string, status int, header http.Header, body []byte) error {
	pattern, op := c.operation(method, escaped)
	at := fmt.Sprintf("%s %s: %d", method, escaped, status)
	if op == nil {
		if status < 400 {
			return fmt.Errorf("%s: the description has no such operation", at)
		}
		pattern, op = "/v1/version", c.doc["paths"].(map[string]any)["/v1/version"].(map[string]any)["get"].(map[string]any)
		method = http.MethodGet
	}
	responses, _ := op["responses"].(map[string]any)
	which := strconv.Itoa(status)
	if responses[which] == nil {
		if status < 400 {
			return fmt.Errorf("%s: the description has no such status", at)
		}
		which = "default"
	}
	response, _ := responses[which].(map[string]any)
	content, _ := response["content"].(map[string]any)
	if len(body) == 0 && (status == http.StatusMethodNotAllowed || response["x-may-be-empty"] == true) {
		return nil
	}
	if content == nil {
		if len(body) != 0 {
			return fmt.Errorf("%s: want no body, not %.200s", at, body)
		}
		return nil
	}
	got, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || content[got] == nil {
		return fmt.Errorf("%s: the description has no content type %q", at, header.Get("Content-Type"))
	}
	if got != "application/json" {
		return nil
	}
	s, err := c.schema(pattern, strings.ToLower(method), which)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if err := s.Validate(v); err != nil {
		return fmt.Errorf("%s: %w\n%.2000s", at, err, body)
	}
	return nil
}

// schema compiles that of a response when it is first asked for.
func (c *Checker) schema(pattern, method, status string) (*jsonschema.Schema, error) {
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	at := location + "#/paths/" + escape.Replace(pattern) + "/" + method + "/responses/" + status + "/content/application~1json/schema"
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.schemas[at]; s != nil {
		return s, nil
	}
	s, err := c.compiler.Compile(at)
	if err == nil {
		c.schemas[at] = s
	}
	return s, err
}

// Handler checks every answer of a handler before it goes out; streams are
// passed on unchecked. wrong hears of what does not fit.
func (c *Checker) Handler(h http.Handler, wrong func(error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		h.ServeHTTP(rec, r)
		if rec.streams {
			return
		}
		if rec.status == 0 {
			rec.status = http.StatusOK
		}
		if err := c.Check(r.Method, r.URL.EscapedPath(), rec.status, w.Header(), rec.body.Bytes()); err != nil {
			wrong(err)
		}
	})
}

// recorder keeps what is written beside writing it.
type recorder struct {
	http.ResponseWriter
	status  int
	body    bytes.Buffer
	streams bool
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
		ct := r.Header().Get("Content-Type")
		r.streams = strings.HasPrefix(ct, "text/event-") || ct == "application/octet-stream"
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if !r.streams {
		r.body.Write(p)
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap implements what http.ResponseController looks for.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Flush implements http.Flusher.
func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// Operations lists all of a description as "METHOD /path".
func (c *Checker) Operations() []string {
	var out []string
	for _, p := range c.paths {
		item, _ := c.doc["paths"].(map[string]any)[p.pattern].(map[string]any)
		for m := range item {
			out = append(out, strings.ToUpper(m)+" "+p.pattern)
		}
	}
	slices.Sort(out)
	return out
}

// Find answers the operation of a request as [Checker.Operations] lists it.
func (c *Checker) Find(method, escaped string) (string, bool) {
	pattern, op := c.operation(method, escaped)
	return method + " " + pattern, op != nil
}
