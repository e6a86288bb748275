package rest

import (
	"strconv"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

type stream struct {
	Name         string `json:"name"`
	ID           string `json:"id"`
	Size         u64    `json:"size"`
	DataBlocks   u64    `json:"datablocks"`
	DataRevision u64    `json:"data_revision"`
}

type streamRequest struct {
	Name string `json:"stream_name"`
}

type streamPatch struct {
	Size u64 `json:"size"`
}

type holeRequest struct {
	Offset u64 `json:"offset"`
	Size   u64 `json:"size"`
}

func streamRoutes() []route {
	const (
		all  = "/v1/files/{ref}/streams/"
		one  = all + "{stream_id}"
		data = one + "/data"
	)
	offset := query{"offset", "integer", "First byte."}
	rs := []route{
		{Method: "GET", Path: all, Summary: "Named streams of a file or directory.", Out: []stream{}, Query: []query{querySnapshot}, handle: listStreams},
		{Method: "POST", Path: all, Summary: "Add a named stream.", In: streamRequest{}, Out: stream{}, Conditional: true, handle: addStream},
		{Method: "DELETE", Path: one, Summary: "Remove a named stream.", handle: removeStream},
		{Method: "GET", Path: one + "/attributes", Summary: "One named stream.", Out: stream{}, Query: []query{querySnapshot}, handle: getStream},
		{Method: "PATCH", Path: one + "/attributes", Summary: "Shorten or extend a named stream.", In: streamPatch{}, Out: stream{}, Conditional: true, handle: patchStream},
		{Method: "GET", Path: data, Summary: "Bytes of a named stream.", Out: []byte{},
			Query: []query{querySnapshot, offset, {"length", "integer", "At most so many bytes; all without it."}}, handle: readStream},
		{Method: "PUT", Path: data, Summary: "Replace the content of a named stream.", In: []byte{}, Out: stream{}, Conditional: true,
			handle: func(q *request) (reply, error) { return writeStream(q, true) }},
		{Method: "PATCH", Path: data, Summary: "Write into a named stream at an offset.", In: []byte{}, Out: stream{}, Conditional: true, Query: []query{offset},
			handle: func(q *request) (reply, error) { return writeStream(q, false) }},
		{Method: "POST", Path: one + "/punch-hole", Summary: "Free a range of a named stream; it reads as zeros.", In: holeRequest{}, Out: stream{}, Conditional: true, handle: punchStream},
		{Method: "POST", Path: one + "/rename", Summary: "Rename a named stream.", In: streamRequest{}, Out: stream{}, Conditional: true, handle: renameStream},
		{Method: "POST", Path: "/v1/files/{ref}/punch-hole", Summary: "Free a range of a file; it reads as zeros.", In: holeRequest{}, Out: fileAttrs{}, Conditional: true, handle: punchHole},
	}
	for i := range rs {
		rs[i].Privilege = control.FSAttributesRead
	}
	return rs
}

func renderStream(s *fs.StreamInfo) stream {
	return stream{s.Name, strconv.FormatUint(uint64(s.ID), 10), num(s.Size), num(s.DataBytes / fs.BlockSize), num(s.DataRevision)}
}

func noStream(id string) error {
	return &apiError{Status: 404, Class: "fs_no_such_entry_error", Text: "No such stream: '" + id + "'"}
}

// stream finds the stream that the second parameter names.
func (q *request) stream(snap fs.SnapshotID) (service.File, fs.StreamInfo, error) {
	f, err := q.fileAt(snap, fs.AttrChange)
	if err != nil {
		return f, fs.StreamInfo{}, err
	}
	id, ok := q.id(1)
	if !ok {
		return f, fs.StreamInfo{}, noStream(q.params[1])
	}
	ss, err := q.s.o.FS.Streams(q.Context(), q.caller(), f.Attr.Node)
	if err != nil {
		return f, fs.StreamInfo{}, err
	}
	for _, s := range ss {
		if uint64(s.ID) == id {
			return f, s, nil
		}
	}
	return f, fs.StreamInfo{}, noStream(q.params[1])
}

// streamForChange is stream for an operation that honours If-Match.
func (q *request) streamForChange() (service.File, fs.StreamInfo, error) {
	f, s, err := q.stream(0)
	if err == nil {
		_, err = q.match(fileTag(&f.Attr))
	}
	return f, s, err
}

// changedStream answers a stream as it is after a change.
func (q *request) changedStream() (reply, error) {
	f, s, err := q.stream(0)
	return reply{body: renderStream(&s), tag: fileTag(&f.Attr)}, err
}

func listStreams(q *request) (reply, error) {
	f, err := q.file(fs.AttrChange)
	if err != nil {
		return reply{}, err
	}
	ss, err := q.s.o.FS.Streams(q.Context(), q.caller(), f.Attr.Node)
	out := []stream{}
	for i := range ss {
		out = append(out, renderStream(&ss[i]))
	}
	return reply{body: out, tag: fileTag(&f.Attr)}, err
}

func addStream(q *request) (reply, error) {
	in, err := body[streamRequest](q)
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
	s, err := q.s.o.FS.CreateStream(q.Context(), q.caller(), f.Attr.Node, in.Name, true)
	return reply{body: renderStream(&s)}, err
}

func removeStream(q *request) (reply, error) {
	f, s, err := q.stream(0)
	if err != nil {
		return reply{}, err
	}
	return reply{}, q.s.o.FS.RemoveStream(q.Context(), q.caller(), f.Attr.Node, s.ID)
}

func getStream(q *request) (reply, error) {
	snap, err := q.snapshot()
	if err != nil {
		return reply{}, err
	}
	f, s, err := q.stream(snap)
	return reply{body: renderStream(&s), tag: fileTag(&f.Attr)}, err
}

func patchStream(q *request) (reply, error) {
	in, err := body[streamPatch](q)
	if err != nil {
		return reply{}, err
	}
	f, s, err := q.streamForChange()
	if err != nil {
		return reply{}, err
	}
	if in.Size.Set {
		if _, err := q.s.o.FS.SetStreamSize(q.Context(), q.caller(), f.Attr.Node, s.ID, in.Size.N); err != nil {
			return reply{}, err
		}
	}
	return q.changedStream()
}

func readStream(q *request) (reply, error) {
	snap, err := q.snapshot()
	if err != nil {
		return reply{}, err
	}
	f, s, err := q.stream(snap)
	if err != nil {
		return reply{}, err
	}
	return q.download(&content{f, s.ID, s.Size})
}

func writeStream(q *request, replace bool) (reply, error) {
	if err := q.isContent(); err != nil {
		return reply{}, err
	}
	off, err := q.offset(replace)
	if err != nil {
		return reply{}, err
	}
	f, s, err := q.streamForChange()
	if err != nil {
		return reply{}, err
	}
	if replace {
		if _, err := q.s.o.FS.SetStreamSize(q.Context(), q.caller(), f.Attr.Node, s.ID, 0); err != nil {
			return reply{}, err
		}
	}
	if err := q.store(f.Attr.Node, s.ID, off); err != nil {
		return reply{}, err
	}
	return q.changedStream()
}

func (q *request) hole() (holeRequest, error) {
	in, err := body[holeRequest](q)
	switch {
	case err != nil:
	case !in.Offset.Set || !in.Size.Set:
		err = decodeError("offset and size are required")
	case in.Size.N > fs.MaxFileSize || in.Offset.N > fs.MaxFileSize-in.Size.N:
		err = badRequest("fs_invalid_size_error", "the range ends beyond the largest file")
	}
	return in, err
}

func punchStream(q *request) (reply, error) {
	in, err := q.hole()
	if err != nil {
		return reply{}, err
	}
	f, s, err := q.streamForChange()
	if err != nil {
		return reply{}, err
	}
	if _, err := q.s.o.FS.Zero(q.Context(), q.caller(), f.Attr.Node, s.ID, in.Offset.N, in.Size.N); err != nil {
		return reply{}, err
	}
	return q.changedStream()
}

func punchHole(q *request) (reply, error) {
	in, err := q.hole()
	if err != nil {
		return reply{}, err
	}
	f, err := q.fileAt(0, fs.AttrChange)
	if err == nil {
		err = regular(&f)
	}
	if err == nil {
		_, err = q.match(fileTag(&f.Attr))
	}
	if err != nil {
		return reply{}, err
	}
	if _, err := q.s.o.FS.Zero(q.Context(), q.caller(), f.Attr.Node, 0, in.Offset.N, in.Size.N); err != nil {
		return reply{}, err
	}
	return q.reread(f, wantAttrs)
}

func renameStream(q *request) (reply, error) {
	in, err := body[streamRequest](q)
	if err != nil {
		return reply{}, err
	}
	f, s, err := q.streamForChange()
	if err != nil {
		return reply{}, err
	}
	if err := q.s.o.FS.RenameStream(q.Context(), q.caller(), f.Attr.Node, s.ID, in.Name); err != nil {
		return reply{}, err
	}
	return q.changedStream()
}
