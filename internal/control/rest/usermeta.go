package rest

import (
	"encoding/base64"
	"strconv"
	"strings"

	"manifold/internal/control"
	"manifold/internal/fs"
)

type metaEntry struct {
	Type  string `json:"type"`
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

type metaList struct {
	Entries []metaEntry `json:"entries"`
	Paging  paging      `json:"paging"`
}

type metaValue struct {
	Value string `json:"value"`
}

// metaSpaces by their names, in the order in which they are listed.
var metaSpaces = []struct {
	name  string
	space fs.MetaSpace
}{{"GENERIC", fs.MetaGeneric}, {"S3", fs.MetaS3}}

func userMetadataRoutes() []route {
	const (
		all = "/v1/files/{ref}/user-metadata/"
		of  = all + "{type}/"
		one = of + "{key}"
	)
	paged := []query{querySnapshot, queryAfter, queryLimit}
	rs := []route{
		{Method: "GET", Path: all, Summary: "User metadata of a file, both key spaces.", Out: metaList{}, Query: paged, handle: func(q *request) (reply, error) { return listMeta(q, "") }},
		{Method: "GET", Path: of, Summary: "User metadata of a file in one key space: generic or s3.", Out: metaList{}, Query: paged, handle: func(q *request) (reply, error) { return listMeta(q, q.params[1]) }},
		{Method: "GET", Path: one, Summary: "One value, in base64.", Out: metaValue{}, Query: []query{querySnapshot}, handle: getMeta},
		{Method: "POST", Path: one, Summary: "Add a key that is not there.", In: metaValue{}, Out: metaValue{}, Conditional: true, handle: func(q *request) (reply, error) { return setMeta(q, fs.MetaCreate) }},
		{Method: "PUT", Path: one, Summary: "Set a key.", In: metaValue{}, Out: metaValue{}, Conditional: true, handle: func(q *request) (reply, error) { return setMeta(q, fs.MetaUpsert) }},
		{Method: "DELETE", Path: one, Summary: "Remove a key.", Conditional: true, handle: removeMeta},
	}
	for i := range rs {
		rs[i].Privilege = control.FSAttributesRead
	}
	return rs
}

// space reads a key space by its name in any case.
func space(name string) (int, error) {
	for i, s := range metaSpaces {
		if strings.EqualFold(s.name, name) {
			return i, nil
		}
	}
	return 0, notFound("there is no key space %q; want generic or s3", name)
}

// listMeta lists one key space, or with "" all. A page's key is the index of
// the key space and the last key.
func listMeta(q *request, only string) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	first, last := 0, len(metaSpaces)-1
	if only != "" {
		if first, err = space(only); err != nil {
			return reply{}, err
		}
		last = first
	}
	after := ""
	if p.after != "" {
		s, err := parseNameKey(p.after)
		i, key, ok := strings.Cut(s, ":")
		n, aerr := strconv.Atoi(i)
		if err != nil || !ok || aerr != nil || n < first || n > last {
			return reply{}, badKey()
		}
		first, after = n, key
	}
	f, err := q.file(fs.AttrChange)
	if err != nil {
		return reply{}, err
	}
	out := metaList{Entries: []metaEntry{}}
	bytes := 0
	for i := first; i <= last && out.Paging.Next == ""; i++ {
		sp := metaSpaces[i]
		var keys []string
		err := q.s.o.FS.ListMeta(q.Context(), q.caller(), f.Attr.Node, sp.space, after, func(key string, size int) bool {
			// A page is bounded in bytes, too: values may be large.
			if n := len(out.Entries) + len(keys); n == p.limit || n > 0 && bytes+size > maxBody {
				at := after
				if len(keys) > 0 {
					at = keys[len(keys)-1]
				}
				out.Paging.Next = q.next(p, nameKey(strconv.Itoa(i)+":"+at))
				return false
			}
			bytes += size
			keys = append(keys, key)
			return true
		})
		if err != nil {
			return reply{}, err
		}
		for _, k := range keys {
			v, err := q.s.o.FS.GetMeta(q.Context(), q.caller(), f.Attr.Node, sp.space, k)
			if fs.KindOf(err) == fs.NoAttr && err != nil {
				continue // removed meanwhile
			}
			if err != nil {
				return reply{}, err
			}
			out.Entries = append(out.Entries, metaEntry{sp.name, k, v})
		}
		after = ""
	}
	return reply{body: out}, nil
}

func getMeta(q *request) (reply, error) {
	i, err := space(q.params[1])
	if err != nil {
		return reply{}, err
	}
	f, err := q.file(fs.AttrChange)
	if err != nil {
		return reply{}, err
	}
	v, err := q.s.o.FS.GetMeta(q.Context(), q.caller(), f.Attr.Node, metaSpaces[i].space, q.params[2])
	return reply{body: metaValue{base64.StdEncoding.EncodeToString(v)}, tag: fileTag(&f.Attr)}, err
}

func setMeta(q *request, mode fs.MetaMode) (reply, error) {
	in, err := body[metaValue](q)
	if err != nil {
		return reply{}, err
	}
	v, err := base64.StdEncoding.DecodeString(in.Value)
	if err != nil {
		return reply{}, decodeError("value is not base64: %v", err)
	}
	i, err := space(q.params[1])
	if err != nil {
		return reply{}, err
	}
	f, err := q.fileAt(0, fs.AttrChange)
	if err != nil {
		return reply{}, err
	}
	if _, err := q.match(fileTag(&f.Attr)); err != nil {
		return reply{}, err
	}
	_, err = q.s.o.FS.SetMeta(q.Context(), q.caller(), f.Attr.Node, metaSpaces[i].space, q.params[2], v, mode)
	if err != nil {
		switch fs.KindOf(err) {
		case fs.Exist:
			return reply{}, conflict("fs_user_metadata_key_already_exists_error", "the key %q is there already", q.params[2])
		case fs.TooBig:
			return reply{}, badRequest("fs_user_metadata_too_large_error", "the pair of key and value is too large")
		}
		return reply{}, err
	}
	return reply{body: in}, nil
}

func removeMeta(q *request) (reply, error) {
	i, err := space(q.params[1])
	if err != nil {
		return reply{}, err
	}
	f, err := q.fileAt(0, fs.AttrChange)
	if err != nil {
		return reply{}, err
	}
	if _, err := q.match(fileTag(&f.Attr)); err != nil {
		return reply{}, err
	}
	_, err = q.s.o.FS.RemoveMeta(q.Context(), q.caller(), f.Attr.Node, metaSpaces[i].space, q.params[2])
	return reply{}, err
}
