package rest

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"sync"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

const contentType = "application/octet-stream"

func dataRoutes() []route {
	const path = "/v1/files/{ref}/data"
	offset := query{"offset", "integer", "First byte."}
	return []route{
		{Method: "GET", Path: path, Privilege: control.FSAttributesRead, Summary: "Bytes of a file; none past its end.", Out: []byte{},
			Query: []query{querySnapshot, offset, {"length", "integer", "At most so many bytes; all without it."}}, handle: readData},
		{Method: "PUT", Path: path, Privilege: control.FSAttributesRead, Summary: "Replace the content of a file that exists.", In: []byte{}, Out: fileAttrs{}, Conditional: true,
			handle: func(q *request) (reply, error) { return writeData(q, true) }},
		{Method: "PATCH", Path: path, Privilege: control.FSAttributesRead, Summary: "Write into a file at an offset; a gap reads as zeros.", In: []byte{}, Out: fileAttrs{}, Conditional: true,
			Query: []query{offset}, handle: func(q *request) (reply, error) { return writeData(q, false) }},
	}
}

// chunk is how much is moved at a time.
const chunk = 1 << 20

// chunks keeps buffers between requests.
type chunks struct{ pool sync.Pool }

func (c *chunks) get() *[]byte {
	if b, ok := c.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, chunk)
	return &b
}

func (c *chunks) put(b *[]byte) { c.pool.Put(b) }

// content is a byte sequence of a file that is read or written.
type content struct {
	file   service.File
	stream fs.StreamID
	size   uint64
}

func readData(q *request) (reply, error) {
	f, err := q.file(fs.AttrSize)
	if err != nil {
		return reply{}, err
	}
	if err := regular(&f); err != nil {
		return reply{}, err
	}
	return q.download(&content{f, 0, f.Attr.Size})
}

// download answers the part of a content that is asked for.
func (q *request) download(c *content) (reply, error) {
	off, err := q.argUint("offset", 0)
	if err != nil {
		return reply{}, err
	}
	length, err := q.argUint("length", fs.MaxFileSize)
	if err != nil {
		return reply{}, err
	}
	left := min(length, c.size-min(off, c.size))
	buf := q.s.chunks.get()
	defer q.s.chunks.put(buf)
	// The first chunk is read before the header goes out, so that a refusal
	// can still be told.
	n := 0
	if left > 0 {
		if n, err = q.read(c, off, (*buf)[:min(left, chunk)]); err != nil {
			return reply{}, err
		}
		if n == 0 {
			left = 0 // truncated meanwhile
		}
	}
	h := q.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.FormatUint(left, 10))
	h.Set("ETag", fileTag(&c.file.Attr))
	q.w.WriteHeader(http.StatusOK)
	for left > 0 {
		if _, err := q.w.Write((*buf)[:n]); err != nil {
			return reply{done: true}, nil
		}
		off += uint64(n)
		if left -= uint64(n); left == 0 {
			break
		}
		n, err = q.read(c, off, (*buf)[:min(left, chunk)])
		if err == nil && n == 0 {
			err = errors.New("the file was truncated")
		}
		if err != nil {
			if q.Context().Err() == nil {
				q.s.log.WarnContext(q.Context(), "download broken off", "file", c.file.Attr.Node, "offset", off, "error", err)
			}
			panic(http.ErrAbortHandler) // a short answer must not pass for a whole one
		}
	}
	return reply{done: true}, nil
}

func (q *request) read(c *content, off uint64, dst []byte) (int, error) {
	r, err := q.s.o.FS.Read(q.Context(), q.caller(), c.file.Attr.Node, &fs.ReadRequest{Stream: c.stream, Offset: off}, dst)
	return r.N, err
}

func regular(f *service.File) error {
	switch f.Attr.Type {
	case fs.File:
		return nil
	case fs.Directory:
		return ofKind(fs.IsDir, nil)
	}
	return ofKind(fs.NotFile, nil)
}

// isContent refuses a body that does not say that it is file content.
func (q *request) isContent() error {
	if ct := q.Header.Get("Content-Type"); ct != "" {
		if t, _, err := mime.ParseMediaType(ct); err != nil || t != contentType {
			return &apiError{Status: http.StatusUnsupportedMediaType, Class: "http_unsupported_media_type_error", Text: "file content is sent as " + contentType}
		}
	}
	return nil
}

// offset is where a write begins.
func (q *request) offset(replace bool) (uint64, error) {
	off, err := q.argUint("offset", 0)
	if err == nil && replace && off != 0 {
		err = badRequest("fs_invalid_offset_error", "a replacement begins at the start; write with PATCH")
	}
	return off, err
}

func writeData(q *request, replace bool) (reply, error) {
	if err := q.isContent(); err != nil {
		return reply{}, err
	}
	f, err := q.fileAt(0, fs.AttrSize|fs.AttrChange)
	if err != nil {
		return reply{}, err
	}
	if err := regular(&f); err != nil {
		return reply{}, err
	}
	off, err := q.offset(replace)
	if err != nil {
		return reply{}, err
	}
	conditional, err := q.match(fileTag(&f.Attr))
	if err != nil {
		return reply{}, err
	}
	if replace || conditional {
		set := &fs.SetAttr{}
		if replace {
			set.Size = new(uint64)
		} else {
			set.Mtime = &fs.TimeSet{Now: true}
		}
		if conditional {
			set.GuardChange = &f.Attr.Change
		}
		if _, err := q.s.o.FS.SetAttr(q.Context(), q.caller(), f.Attr.Node, set); err != nil {
			return reply{}, err
		}
	}
	if err := q.store(f.Attr.Node, 0, off); err != nil {
		return reply{}, err
	}
	return q.reread(f, wantAttrs)
}

// store writes the body from off on. It is durable when the call returns.
func (q *request) store(n fs.Node, stream fs.StreamID, off uint64) error {
	buf := q.s.chunks.get()
	defer q.s.chunks.put(buf)
	start, verifier, written := off, fs.Verifier(0), false
	for {
		got, rerr := fill(q.Body, *buf)
		if got > 0 {
			if off > fs.MaxFileSize-uint64(got) {
				return ofKind(fs.TooBig, nil)
			}
			res, err := q.s.o.FS.Write(q.Context(), q.caller(), n, &fs.WriteRequest{Stream: stream, Offset: off, Data: (*buf)[:got]})
			if err != nil {
				return err
			}
			if written && res.Verifier != verifier {
				return lostWrites()
			}
			verifier, written = res.Verifier, true
			off += uint64(got)
		}
		switch {
		case rerr == io.EOF:
		case rerr != nil:
			return badRequest("http_bad_request_error", "the body ended early: %v", rerr)
		default:
			continue
		}
		break
	}
	if !written {
		return nil
	}
	v, _, err := q.s.o.FS.Commit(q.Context(), q.caller(), n, stream, start, off-start)
	if err == nil && v != verifier {
		return lostWrites()
	}
	return err
}

// fill reads until b is full or r ends. Unlike io.ReadFull it tells a clean end
// from a body that was broken off.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}

// lostWrites: the buffer of unstable writes was lost in between.
func lostWrites() error {
	return &apiError{Status: http.StatusServiceUnavailable, Class: "fs_retry_error", Text: "part of the data was lost before it was durable; send it again"}
}
