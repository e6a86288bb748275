package rest

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Description is the OpenAPI 3.1 document of every operation that there is.
func Description() []byte { return describe(allRoutes()) }

type object = map[string]any

// describe renders routes; map keys come out sorted, so that the same table
// always gives the same bytes.
func describe(routes []route) []byte {
	d := describer{schemas: object{}}
	paths := object{}
	for i := range routes {
		r := &routes[i]
		item, ok := paths[r.Path].(object)
		if !ok {
			item = object{}
			paths[r.Path] = item
		}
		item[strings.ToLower(r.Method)] = d.operation(r)
	}
	d.schemas["Error"] = d.object(reflect.TypeFor[errorBody]())
	b, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "manifold", "version": strings.TrimPrefix(revision, "Qumulo Core "),
			"description": "64-bit quantities are decimal strings. A collection ends in a slash, an item does not. Errors carry an error_class.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"paths": paths,
		"components": object{
			"schemas":         d.schemas,
			"securitySchemes": object{"bearer": object{"type": "http", "scheme": "bearer"}},
		},
		"security": []object{{"bearer": []string{}}},
	}, "", "  ")
	if err != nil {
		return []byte("{}") // plain maps and strings always render
	}
	return append(b, '\n')
}

var paramPattern = regexp.MustCompile(`\{(\w+)\}`)

type describer struct{ schemas object }

func (d *describer) operation(r *route) object {
	params := []object{}
	for _, m := range paramPattern.FindAllStringSubmatch(r.Path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range r.Query {
		params = append(params, object{"name": p.Name, "in": "query", "description": p.Summary, "schema": object{"type": p.Type}})
	}
	if r.Conditional {
		params = append(params, object{"name": "If-Match", "in": "header", "description": "Entity tag that the object must still have.", "schema": object{"type": "string"}})
	}
	status, text := "200", "Done."
	if r.Status == 202 {
		status, text = "202", "Accepted; continues in the background."
	}
	ok := object{"description": text}
	if r.MayBeEmpty {
		ok["description"] = text + " Nothing is answered when there is no more to say."
		ok["x-may-be-empty"] = true
	}
	if c := d.content(r.Out); c != nil {
		ok["content"] = c
		if r.Events {
			ok["content"] = object{"text/event-stream": c["application/json"], "text/event-source": c["application/json"]}
		}
	}
	op := object{
		"summary": r.Summary, "operationId": operationID(r), "tags": []string{area(r.Path)}, "parameters": params,
		"responses": object{status: ok, "default": object{"description": "An error.", "content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/Error"}}}}},
	}
	if c := d.content(r.In); c != nil {
		op["requestBody"] = object{"required": true, "content": c}
	}
	if r.Public {
		op["security"] = []object{}
	}
	if r.Privilege != "" {
		op["x-privilege"] = r.Privilege
	}
	return op
}

// area groups operations: the first word of the path after its version.
func area(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) > 1 {
		return parts[1]
	}
	return parts[0]
}

func operationID(r *route) string {
	words := strings.FieldsFunc(r.Method+"/"+r.Path, func(c rune) bool { return strings.ContainsRune("/{}-.", c) })
	id := strings.ToLower(strings.Join(words, "_"))
	if strings.HasSuffix(r.Path, "/") {
		id += "_all"
	}
	return id
}

func (d *describer) content(sample any) object {
	switch sample.(type) {
	case nil:
		return nil
	case []byte:
		return object{contentType: object{"schema": object{"type": "string", "format": "binary"}}}
	case string:
		return object{"application/openmetrics-text": object{"schema": object{"type": "string"}}}
	}
	return object{"application/json": object{"schema": d.schema(reflect.TypeOf(sample))}}
}

var (
	u64Type      = reflect.TypeFor[u64]()
	optionalName = "optional["
)

func (d *describer) schema(t reflect.Type) object {
	switch {
	case t == u64Type:
		return object{"type": "string", "pattern": "^[0-9]*$"}
	case t.Kind() == reflect.Struct && strings.HasPrefix(t.Name(), optionalName):
		f, _ := t.FieldByName("Value")
		return nullable(d.schema(f.Type))
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(d.schema(t.Elem()))
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Struct:
		name := schemaName(t)
		if _, ok := d.schemas[name]; !ok {
			d.schemas[name] = object{} // breaks cycles
			d.schemas[name] = d.object(t)
		}
		return object{"$ref": "#/components/schemas/" + name}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Map, reflect.Interface:
		return object{}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	}
	return object{}
}

func nullable(s object) object {
	if t, ok := s["type"].(string); ok {
		s["type"] = []string{t, "null"}
		return s
	}
	return object{"oneOf": []object{s, {"type": "null"}}}
}

var typeArgument = regexp.MustCompile(`\[(?:.*[./])?(\w+)\]`)

// schemaName is the type's name in upper case; a generic one names its argument.
func schemaName(t reflect.Type) string {
	name := typeArgument.ReplaceAllStringFunc(t.Name(), func(s string) string {
		arg := typeArgument.FindStringSubmatch(s)[1]
		return strings.ToUpper(arg[:1]) + arg[1:]
	})
	return strings.ToUpper(name[:1]) + name[1:]
}

func (d *describer) object(t reflect.Type) object {
	props := object{}
	required := []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		props[name] = d.schema(f.Type)
		if !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	return object{"type": "object", "properties": props, "required": required}
}
