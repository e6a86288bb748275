package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"manifold/internal/fs"
)

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// byteRange is what a Range header asks for, resolved against a size.
type byteRange struct{ start, length uint64 }

// parseRange reads one range of bytes. ok is false for what RFC 9110 lets a
// server ignore: other units, several ranges, nonsense.
func parseRange(v string, size uint64) (r byteRange, ok bool, err *apiError) {
	spec, found := strings.CutPrefix(strings.TrimSpace(v), "bytes=")
	if !found || strings.Contains(spec, ",") {
		return r, false, nil
	}
	first, last, found := strings.Cut(spec, "-")
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	if !found {
		return r, false, nil
	}
	if first == "" {
		n, ok := parseUint(last, 1<<63)
		if !ok {
			return r, false, nil
		}
		if n == 0 || size == 0 {
			return r, false, errInvalidRange
		}
		n = min(n, size)
		return byteRange{size - n, n}, true, nil
	}
	start, ok := parseUint(first, 1<<63)
	if !ok {
		return r, false, nil
	}
	end := size - 1
	if last != "" {
		e, ok := parseUint(last, 1<<63)
		if !ok || e < start {
			return r, false, nil
		}
		if size > 0 {
			end = min(end, e)
		}
	}
	if start >= size {
		return r, false, errInvalidRange
	}
	return byteRange{start, end - start + 1}, true, nil
}

// readConditions applies the conditions of RFC 9110 13.2.2 with the header
// names under a prefix ("" or "X-Amz-Copy-Source-").
func readConditions(h http.Header, prefix string, etag string, modified fs.Time) *apiError {
	mod := modified.Time().Truncate(time.Second)
	if v := h.Get(prefix + "If-Match"); v != "" {
		if !tagListed(v, etag) {
			return errPrecondition.detail("Condition", "If-Match")
		}
	} else if t, err := http.ParseTime(h.Get(prefix + "If-Unmodified-Since")); err == nil && mod.After(t) {
		return errPrecondition.detail("Condition", "If-Unmodified-Since")
	}
	failed := errNotModified
	if prefix != "" {
		failed = errPrecondition
	}
	if v := h.Get(prefix + "If-None-Match"); v != "" {
		if tagListed(v, etag) {
			return failed
		}
	} else if t, err := http.ParseTime(h.Get(prefix + "If-Modified-Since")); err == nil && !mod.After(t) {
		return failed
	}
	return nil
}

func tagListed(list, etag string) bool {
	for part := range strings.SplitSeq(list, ",") {
		if t := trimTag(part); t == "*" || t == etag {
			return true
		}
	}
	return false
}

// overrides are query parameters that replace headers of the answer.
var overrides = map[string]string{
	"response-content-type":        "Content-Type",
	"response-cache-control":       "Cache-Control",
	"response-content-disposition": "Content-Disposition",
	"response-content-encoding":    "Content-Encoding",
	"response-content-language":    "Content-Language",
	"response-expires":             "Expires",
}

// getObject serves GET and HEAD.
func (q *request) getObject() error {
	o, err := q.target()
	if err != nil {
		return err
	}
	if err := q.need(o, fs.RightRead); err != nil {
		return err
	}
	h := q.w.Header()
	q.versionHeader(o)
	// The handle keeps these bytes readable when the name goes to another file.
	var read readAt
	size := o.size()
	if o.attr.Type == fs.File && q.r.Method == http.MethodGet {
		hd, _, err := q.s.o.FS.Open(q.ctx, q.caller, &fs.OpenSpec{Dir: o.attr.Node, Desired: fs.RightRead, Share: fs.ShareAll,
			Disposition: fs.OpenExisting, MustNotBeDir: true})
		if err != nil {
			return err
		}
		defer func() { _ = hd.Close(detach(q.ctx)) }()
		read = hd.Read
	}
	if o.attr.Type == fs.Directory && q.r.Method == http.MethodGet {
		read = func(ctx context.Context, off uint64, dst []byte) (fs.ReadResult, error) {
			return q.s.o.FS.Read(ctx, q.caller, o.attr.Node, &fs.ReadRequest{Stream: o.rec.Stream, Offset: off}, dst)
		}
	}
	setHeader(h, "ETag", `"`+o.rec.ETag+`"`)
	setHeader(h, "Last-Modified", httpTime(o.attr.Mtime))
	if err := readConditions(q.r.Header, "", o.rec.ETag, o.attr.Mtime); err != nil {
		return err
	}
	setHeader(h, "Accept-Ranges", "bytes")
	for _, n := range keptHeaders {
		if v, ok := o.rec.Headers[n]; ok {
			setHeader(h, n, v)
		}
	}
	if _, ok := h["Content-Type"]; !ok {
		setHeader(h, "Content-Type", defaultType)
		if o.attr.Type == fs.Directory {
			setHeader(h, "Content-Type", "application/x-directory")
		}
	}
	for param, name := range overrides {
		v, ok := q.query.find(param)
		if !ok {
			continue
		}
		if q.access == nil {
			return errInvalidRequest.with("Request specific response headers cannot be used for anonymous GET requests.")
		}
		if !strings.ContainsAny(v, "\r\n\x00") {
			setHeader(h, name, v)
		}
	}
	meta, err := q.userMetadata(o.attr.Node)
	if err != nil {
		return err
	}
	metaHeaders(h, meta)
	tags, err := q.objectTags(o.attr.Node)
	if err != nil {
		return err
	}
	if len(tags) > 0 {
		setHeader(h, "x-amz-tagging-count", formatInt(int64(len(tags))))
	}
	if err := q.lockHeaders(o); err != nil {
		return err
	}
	rg, status, err := q.selectRange(o, size)
	if err != nil {
		return err
	}
	if strings.EqualFold(q.r.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") {
		if n, ok := parseUint(q.query.get("partNumber"), uint64(len(o.rec.PartSums))); ok && n > 0 {
			for name := range o.rec.Sums {
				sumHeaders(h, &record{Sums: map[string]string{name: o.rec.PartSums[n-1]}, SumType: o.rec.SumType})
			}
		} else if status == http.StatusOK {
			sumHeaders(h, o.rec)
		}
	}
	setHeader(h, "Content-Length", formatInt(int64(rg.length)))
	if read == nil || rg.length == 0 {
		q.w.WriteHeader(status)
		return nil
	}
	return q.send(read, rg, status)
}

// selectRange resolves Range and partNumber.
func (q *request) selectRange(o *object, size uint64) (byteRange, int, error) {
	h := q.w.Header()
	all := byteRange{0, size}
	v := q.r.Header.Get("Range")
	if pn, ok := q.query.find("partNumber"); ok {
		n, ok := parseUint(pn, maxParts)
		switch {
		case v != "":
			return all, 0, errInvalidRequest.with("Cannot specify both Range header and partNumber query parameter")
		case !ok || n == 0:
			return all, 0, errInvalidArgument.with("Part number must be an integer between 1 and 10000, inclusive")
		}
		if len(o.rec.Parts) == 0 {
			if n != 1 {
				return all, 0, newError(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
			}
			return all, http.StatusOK, nil
		}
		if n > uint64(len(o.rec.Parts)) {
			return all, 0, newError(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
		}
		setHeader(h, "x-amz-mp-parts-count", formatInt(int64(len(o.rec.Parts))))
		r := byteRange{0, o.rec.Parts[n-1]}
		for _, p := range o.rec.Parts[:n-1] {
			r.start += p
		}
		setContentRange(h, r, size)
		return r, http.StatusPartialContent, nil
	}
	if v == "" {
		return all, http.StatusOK, nil
	}
	if ir := q.r.Header.Get("If-Range"); ir != "" {
		if t, err := http.ParseTime(ir); err == nil {
			if !o.attr.Mtime.Time().Truncate(time.Second).Equal(t) {
				return all, http.StatusOK, nil
			}
		} else if trimTag(ir) != o.rec.ETag {
			return all, http.StatusOK, nil
		}
	}
	r, ok, err := parseRange(v, size)
	if err != nil {
		return all, 0, err.withHeader("Content-Range", "bytes */"+formatInt(int64(size))).
			detail("RangeRequested", v).detail("ActualObjectSize", formatInt(int64(size)))
	}
	if !ok {
		return all, http.StatusOK, nil
	}
	setContentRange(h, r, size)
	return r, http.StatusPartialContent, nil
}

func setContentRange(h http.Header, r byteRange, size uint64) {
	setHeader(h, "Content-Range", "bytes "+formatInt(int64(r.start))+"-"+formatInt(int64(r.start+r.length)-1)+"/"+formatInt(int64(size)))
}

type readAt func(ctx context.Context, off uint64, dst []byte) (fs.ReadResult, error)

// readPiece is one that was read.
type readPiece struct {
	b   []byte
	err error
}

// send streams a range. The first piece is read before the status goes out,
// so that an error there is still an answer. Each further one is read while the
// one before it is sent.
func (q *request) send(read readAt, r byteRange, status int) error {
	buf, done := q.s.piece(int64(r.length))
	defer done()
	at := uint64(0)
	next := func(buf []byte) readPiece {
		res, err := read(q.ctx, r.start+at, buf[:min(r.length-at, uint64(len(buf)))])
		if err == nil && res.N == 0 {
			err = errInternal.with("The object became shorter while it was read.")
		}
		at += uint64(res.N)
		return readPiece{buf[:res.N], err}
	}
	p := next(buf)
	if p.err != nil {
		return p.err
	}
	q.w.WriteHeader(status)
	if at == r.length {
		q.write(p.b)
		return nil
	}
	spare, done2 := q.s.piece(int64(r.length))
	defer done2()
	var ahead sync.WaitGroup
	defer ahead.Wait() // before the buffers go back
	for at < r.length {
		var following readPiece
		into := spare
		ahead.Go(func() { following = next(into) })
		q.write(p.b)
		ahead.Wait()
		if following.err != nil {
			return following.err
		}
		spare, p = p.b[:cap(p.b)], following
	}
	q.write(p.b)
	return nil
}

// write sends part of an answer.
func (q *request) write(b []byte) {
	if _, err := q.w.Write(b); err != nil {
		panic(http.ErrAbortHandler) // the peer is gone
	}
}

type attributesXML struct {
	XMLName      xml.Name      `xml:"http://s3.amazonaws.com/doc/2006-03-01/ GetObjectAttributesResponse"`
	ETag         string        `xml:",omitempty"`
	Checksum     *checksumXML  `xml:",omitempty"`
	ObjectParts  *attrPartsXML `xml:",omitempty"`
	StorageClass string        `xml:",omitempty"`
	ObjectSize   *uint64       `xml:",omitempty"`
}

type attrPartsXML struct {
	TotalPartsCount      int `xml:"PartsCount"`
	PartNumberMarker     int
	NextPartNumberMarker int
	MaxParts             int
	IsTruncated          bool
	Part                 []attrPartXML `xml:",omitempty"`
}

type attrPartXML struct {
	PartNumber int
	Size       uint64
	checksumXML
}

// checksumXML are the elements of all algorithms.
type checksumXML struct {
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
}

func sumsXML(sums map[string]string, typ string) checksumXML {
	c := checksumXML{ChecksumCRC32: sums["CRC32"], ChecksumCRC32C: sums["CRC32C"], ChecksumCRC64NVME: sums["CRC64NVME"],
		ChecksumSHA1: sums["SHA1"], ChecksumSHA256: sums["SHA256"]}
	if len(sums) > 0 {
		c.ChecksumType = typ
	}
	return c
}

func (c *checksumXML) value(a *algorithm) string {
	switch a.name {
	case "CRC32":
		return c.ChecksumCRC32
	case "CRC32C":
		return c.ChecksumCRC32C
	case "CRC64NVME":
		return c.ChecksumCRC64NVME
	case "SHA1":
		return c.ChecksumSHA1
	}
	return c.ChecksumSHA256
}

func (q *request) getAttributes() error {
	o, err := q.target()
	if err != nil {
		return err
	}
	if err := q.need(o, fs.RightReadAttr); err != nil {
		return err
	}
	out := attributesXML{}
	asked := false
	for _, v := range q.r.Header.Values("X-Amz-Object-Attributes") {
		for a := range strings.SplitSeq(v, ",") {
			asked = true
			switch strings.TrimSpace(a) {
			case "ETag":
				out.ETag = o.rec.ETag
			case "Checksum":
				if len(o.rec.Sums) > 0 {
					c := sumsXML(o.rec.Sums, o.rec.SumType)
					out.Checksum = &c
				}
			case "ObjectParts":
				if out.ObjectParts, err = q.attributeParts(o); err != nil {
					return err
				}
			case "StorageClass":
				out.StorageClass = "STANDARD"
			case "ObjectSize":
				size := o.size()
				out.ObjectSize = &size
			default:
				return errInvalidArgument.with("Invalid attribute name specified.")
			}
		}
	}
	if !asked {
		return errInvalidRequest.with("The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	q.versionHeader(o)
	setHeader(q.w.Header(), "Last-Modified", httpTime(o.attr.Mtime))
	q.writeXML(http.StatusOK, &out)
	return nil
}

func (q *request) attributeParts(o *object) (*attrPartsXML, error) {
	if len(o.rec.Parts) == 0 {
		return nil, nil
	}
	most, marker := uint64(maxList), uint64(0)
	if v := q.r.Header.Get("X-Amz-Max-Parts"); v != "" {
		n, ok := parseUint(v, 1<<31-1)
		if !ok {
			return nil, errInvalidArgument
		}
		most = min(n, maxList)
	}
	if v := q.r.Header.Get("X-Amz-Part-Number-Marker"); v != "" {
		n, ok := parseUint(v, 1<<31-1)
		if !ok {
			return nil, errInvalidArgument
		}
		marker = n
	}
	out := &attrPartsXML{TotalPartsCount: len(o.rec.Parts), PartNumberMarker: int(marker), MaxParts: int(most)}
	for i := marker; i < uint64(len(o.rec.Parts)); i++ {
		if uint64(len(out.Part)) == most {
			out.IsTruncated = true
			break
		}
		part := attrPartXML{PartNumber: int(i) + 1, Size: o.rec.Parts[i]}
		for name := range o.rec.Sums {
			if i < uint64(len(o.rec.PartSums)) {
				part.checksumXML = sumsXML(map[string]string{name: o.rec.PartSums[i]}, "")
			}
		}
		out.Part = append(out.Part, part)
		out.NextPartNumberMarker = int(i) + 1
	}
	return out, nil
}
