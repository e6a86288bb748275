package s3

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"manifold/internal/fs"
)

const (
	maxParts = 10000
	minPart  = 5 << 20
	// maxRecord keeps the record of an object of many parts below what one
	// metadata value may hold.
	maxRecord = 256 << 10
)

// checksumPlan reads what a new upload wants of checksums.
func checksumPlan(h http.Header) (*algorithm, string, *apiError) {
	name, typ := h.Get("X-Amz-Checksum-Algorithm"), strings.ToUpper(h.Get("X-Amz-Checksum-Type"))
	if name == "" {
		if typ != "" {
			return nil, "", errInvalidRequest.with("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return nil, "", nil
	}
	a := algorithmByName(name)
	if a == nil {
		return nil, "", errInvalidRequest.with("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	}
	switch {
	case typ == "" && a.name == "CRC64NVME":
		typ = checksumFull
	case typ == "":
		typ = checksumComposite
	case typ == checksumFull && a.poly == 0, typ == checksumComposite && a.name == "CRC64NVME":
		return nil, "", errInvalidRequest.with("The " + typ + " checksum type cannot be used with the " + strings.ToLower(a.name) + " checksum algorithm.")
	case typ != checksumFull && typ != checksumComposite:
		return nil, "", errInvalidRequest.with("Value for x-amz-checksum-type header is invalid.")
	}
	return a, typ, nil
}

func (q *request) createUpload() error {
	if _, err := parseKey(q.key); err != nil {
		return err
	}
	if strings.HasSuffix(q.key, "/") {
		return errInvalidArgument.with("A key that ends in a slash is a directory and holds no data.")
	}
	if err := q.noBody(); err != nil {
		return err
	}
	attrs, aerr := q.readAttributes()
	if aerr != nil {
		return aerr
	}
	alg, typ, aerr := checksumPlan(q.r.Header)
	if aerr != nil {
		return aerr
	}
	if err := q.need(&object{attr: fs.Attr{Node: q.root()}}, fs.RightTraverse); err != nil {
		return err
	}
	u := upload{Key: q.key, Initiated: q.s.o.Now().UTC(), Owner: q.caller.Cred.User, Headers: attrs.headers, Meta: attrs.meta,
		Tags: attrs.tags, Lock: attrs.lock, SumType: typ}
	h := q.w.Header()
	if alg != nil {
		u.Algorithm = alg.name
		setHeader(h, "x-amz-checksum-algorithm", alg.name)
		setHeader(h, "x-amz-checksum-type", typ)
	}
	if err := q.storeUpload(&u); err != nil {
		return q.gone(err)
	}
	var out struct {
		XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
		Bucket   string
		Key      string
		UploadID string `xml:"UploadId"`
	}
	out.Bucket, out.Key, out.UploadID = q.bucketName, q.key, u.id
	q.writeXML(http.StatusOK, &out)
	return nil
}

func (q *request) partNumber() (uint64, *apiError) {
	n, ok := parseUint(q.query.get("partNumber"), maxParts)
	if !ok || n == 0 {
		return 0, errInvalidArgument.with("Part number must be an integer between 1 and 10000, inclusive").detail("ArgumentName", "partNumber")
	}
	return n, nil
}

func (q *request) uploadPart() error {
	n, aerr := q.partNumber()
	if aerr != nil {
		return aerr
	}
	u, err := q.findUpload(q.query.get("uploadId"))
	if err != nil {
		return err
	}
	st, err := q.stagePart(u, n)
	if err != nil {
		return err
	}
	defer q.drop(st)
	if a := algorithmByName(u.Algorithm); a != nil && q.body.claim == nil {
		q.body.claim = &checksumClaim{alg: a} // the upload wants it of every part
	}
	q.body.start(!q.set.OpaqueETags)
	if err := q.receive(st, maxPut); err != nil {
		return q.uploadGone(err)
	}
	rec := &record{ETag: q.etag(), Sums: q.sums()}
	if err := q.takePart(u, st, n, rec); err != nil {
		return err
	}
	h := q.w.Header()
	setHeader(h, "ETag", `"`+rec.ETag+`"`)
	for _, a := range algorithms {
		if v, ok := rec.Sums[a.name]; ok {
			setHeader(h, a.header, v)
		}
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// uploadGone says that the upload was completed or aborted under the request.
func (q *request) uploadGone(err error) error {
	if k := fs.KindOf(err); k == fs.Stale || k == fs.NotExist {
		return errNoSuchUpload.detail("UploadId", q.query.get("uploadId")).wrap(err)
	}
	return err
}

func (q *request) uploadPartCopy() error {
	n, aerr := q.partNumber()
	if aerr != nil {
		return aerr
	}
	if err := q.noBody(); err != nil {
		return err
	}
	u, err := q.findUpload(q.query.get("uploadId"))
	if err != nil {
		return err
	}
	o, _, err := q.source()
	if err != nil {
		return err
	}
	if o.attr.Type != fs.File {
		return errInvalidRequest.with("A key that ends in a slash is a directory and holds no data.")
	}
	r := byteRange{0, o.attr.Size}
	if v := q.r.Header.Get("X-Amz-Copy-Source-Range"); v != "" {
		if r, aerr = parseCopyRange(v, o.attr.Size); aerr != nil {
			return aerr
		}
	}
	if r.length > maxPut {
		return errEntityTooLarge
	}
	st, err := q.stagePart(u, n)
	if err != nil {
		return err
	}
	defer q.drop(st)
	if err := q.copyRange(o, r, st); err != nil {
		return q.uploadGone(err)
	}
	rec := &record{}
	if r.start == 0 && r.length == o.attr.Size && !strings.Contains(o.rec.ETag, "-") {
		rec.ETag, rec.Sums = o.rec.ETag, o.rec.Sums
	} else if !q.set.OpaqueETags || u.Algorithm != "" {
		if err := q.digestPart(st, rec, algorithmByName(u.Algorithm)); err != nil {
			return err
		}
	}
	if err := q.takePart(u, st, n, rec); err != nil {
		return err
	}
	q.copied("CopyPartResult", rec, fs.TimeOf(q.s.o.Now()))
	return nil
}

// parseCopyRange is stricter than a Range header: both ends, inside the source.
func parseCopyRange(v string, size uint64) (byteRange, *apiError) {
	bad := errInvalidArgument.with("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy").
		detail("ArgumentName", "x-amz-copy-source-range").detail("ArgumentValue", v)
	spec, ok := strings.CutPrefix(v, "bytes=")
	a, b, ok2 := strings.Cut(spec, "-")
	first, ok3 := parseUint(a, 1<<62)
	last, ok4 := parseUint(b, 1<<62)
	if !ok || !ok2 || !ok3 || !ok4 || last < first {
		return byteRange{}, bad
	}
	if last >= size {
		return byteRange{}, newError(400, "InvalidRange", "Range specified is not valid for source object of size: "+formatInt(int64(size))).
			detail("ArgumentName", "x-amz-copy-source-range").detail("ArgumentValue", v)
	}
	return byteRange{first, last - first + 1}, nil
}

// digestPart reads a part that was copied, for its MD5: clients compare it.
func (q *request) digestPart(st *staged, rec *record, a *algorithm) error {
	buf, done := q.s.piece(int64(st.size))
	defer done()
	p := payload{}
	if !q.set.OpaqueETags {
		p.hMD5 = md5.New()
		p.hashes = append(p.hashes, p.hMD5)
	}
	if a != nil {
		p.hSum = a.new()
		p.hashes = append(p.hashes, p.hSum)
	}
	for off := uint64(0); off < st.size; {
		r, err := q.s.o.FS.Read(q.ctx, q.caller, st.node, &fs.ReadRequest{Offset: off, OwnerOverride: true}, buf)
		if err != nil {
			return q.uploadGone(err)
		}
		if r.N == 0 {
			return errInternal.with("The part became shorter while it was read.")
		}
		p.digest(buf[:r.N])
		off += uint64(r.N)
	}
	if p.hMD5 != nil {
		rec.ETag = hex.EncodeToString(p.hMD5.Sum(nil))
	}
	if a != nil {
		rec.Sums = map[string]string{a.name: base64.StdEncoding.EncodeToString(p.hSum.Sum(nil))}
	}
	return nil
}

func (q *request) abortUpload() error {
	u, err := q.findUpload(q.query.get("uploadId"))
	if err != nil {
		return err
	}
	if !q.caller.Cred.IsUser(u.Owner) && !q.administers() {
		return errAccessDenied
	}
	if err := q.dropUpload(u); err != nil {
		return err
	}
	return q.noContent()
}

type completePart struct {
	PartNumber uint64
	ETag       string
	checksumXML
}

func parseComplete(b []byte) ([]completePart, *apiError) {
	var doc struct {
		XMLName xml.Name       `xml:"CompleteMultipartUpload"`
		Part    []completePart `xml:"Part"`
	}
	if err := decodeXML(b, &doc); err != nil {
		return nil, err
	}
	if len(doc.Part) == 0 || len(doc.Part) > maxParts {
		return nil, errMalformedXML
	}
	for i := range doc.Part {
		p := &doc.Part[i]
		if p.PartNumber == 0 || p.PartNumber > maxParts {
			return nil, errInvalidPart.detail("PartNumber", fmt.Sprint(p.PartNumber))
		}
		if i > 0 && p.PartNumber <= doc.Part[i-1].PartNumber {
			return nil, errInvalidPartOrder
		}
		p.ETag = trimTag(p.ETag)
	}
	return doc.Part, nil
}

type completeXML struct {
	XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
	Location string
	Bucket   string
	Key      string
	ETag     string
	checksumXML
}

func (q *request) completed(rec *record) {
	newVersionHeader(q.w.Header(), rec)
	scheme := "http"
	if q.r.TLS != nil {
		scheme = "https"
	}
	q.writeXML(http.StatusOK, &completeXML{Location: scheme + "://" + q.r.Host + uriEncode(q.path, false), Bucket: q.bucketName, Key: q.key,
		ETag: `"` + rec.ETag + `"`, checksumXML: sumsXML(rec.Sums, rec.SumType)})
}

func (q *request) completeUpload() error {
	// The headers of a complete speak of the object, not of its body.
	object := q.body.claim
	q.body.claim = nil
	b, aerr := q.body.document(maxDocument)
	if aerr != nil {
		return aerr
	}
	list, aerr := parseComplete(b)
	if aerr != nil {
		return aerr
	}
	cond, aerr := readWriteCondition(q.r.Header)
	if aerr != nil {
		return aerr
	}
	id := q.query.get("uploadId")
	u, err := q.findUpload(id)
	if errors.Is(err, errNoSuchUpload) {
		// A repeated complete of what is there already succeeds again.
		if o, ferr := q.present(q.key); ferr == nil && o != nil && id != "" && o.rec.Upload == id {
			q.completed(o.rec)
			return nil
		}
	}
	if err != nil {
		return err
	}
	p, aerr := parseKey(q.key)
	if aerr != nil {
		return aerr
	}
	if !cond.empty() {
		o, err := q.present(q.key)
		if err == nil {
			err = cond.check(o)
		}
		if err != nil {
			return err
		}
	}
	rec, parts, err := q.collect(u, list)
	if err != nil {
		return err
	}
	if object != nil && object.value != "" && rec.Sums[object.alg.name] != object.value && (u.Algorithm != "" || u.SumType != "") {
		return errBadDigest.with("The " + object.alg.name + " you specified did not match the calculated checksum.")
	}
	st, err := q.stage("")
	if err != nil {
		return err
	}
	defer q.drop(st)
	// The parts become one by reference to their data.
	if _, err := q.s.o.FS.Splice(q.ctx, q.caller, st.node, parts); err != nil {
		return q.uploadGone(err)
	}
	attrs := &attributes{headers: u.Headers, meta: u.Meta, tags: u.Tags, lock: u.Lock}
	if err := q.publish(st, p, rec, attrs, cond); err != nil {
		return err
	}
	if err := q.dropUpload(u); err != nil {
		q.s.o.Log.WarnContext(q.ctx, "s3: completed upload stays behind", "upload", u.id, "error", err)
	}
	q.completed(rec)
	return nil
}

// collect compares the list of a complete with the parts that are there, and
// makes the record of the whole.
func (q *request) collect(u *upload, list []completePart) (*record, []fs.Node, error) {
	alg := algorithmByName(u.Algorithm)
	whole := md5.New()
	rec := &record{Headers: u.Headers, Upload: u.id, Parts: make([]uint64, 0, len(list))}
	nodes := make([]fs.Node, 0, len(list))
	there, err := q.allParts(u)
	if err != nil {
		return nil, nil, q.uploadGone(err)
	}
	var sums []byte
	var partSums []string
	var crc, total uint64
	haveSums := alg != nil
	for i := range list {
		want := &list[i]
		bad := errInvalidPart.detail("UploadId", u.id).detail("PartNumber", fmt.Sprint(want.PartNumber)).detail("ETag", want.ETag)
		part := there[want.PartNumber]
		if part == nil || part.rec.ETag != want.ETag {
			return nil, nil, bad
		}
		a, pr := &part.attr, part.rec
		for _, x := range algorithms {
			if v := want.value(x); v != "" && pr.Sums[x.name] != "" && pr.Sums[x.name] != v {
				return nil, nil, bad
			}
		}
		if i < len(list)-1 && a.Size < minPart {
			return nil, nil, errEntityTooSmall.detail("PartNumber", fmt.Sprint(want.PartNumber)).
				detail("ProposedSize", formatInt(int64(a.Size))).detail("MinSizeAllowed", formatInt(minPart)).detail("ETag", want.ETag)
		}
		if b, err := hex.DecodeString(pr.ETag); err == nil {
			whole.Write(b)
		} else {
			whole.Write([]byte(pr.ETag))
		}
		if haveSums {
			v, ok := alg.decode(pr.Sums[alg.name])
			haveSums = ok
			if ok && u.SumType == checksumFull {
				n := uint64(0)
				for _, c := range v {
					n = n<<8 | uint64(c)
				}
				crc = combineCRC(alg.poly, alg.size*8, crc, n, a.Size)
			}
			sums = append(sums, v...)
			partSums = append(partSums, pr.Sums[alg.name])
		}
		total += a.Size
		rec.Parts = append(rec.Parts, a.Size)
		nodes = append(nodes, a.Node)
	}
	if total > fs.MaxFileSize {
		return nil, nil, errEntityTooLarge
	}
	rec.ETag = hex.EncodeToString(whole.Sum(nil)) + "-" + fmt.Sprint(len(list))
	if haveSums {
		rec.SumType = u.SumType
		var v string
		if u.SumType == checksumFull {
			b := make([]byte, alg.size)
			for i := range b {
				b[i] = byte(crc >> (8 * (alg.size - 1 - i)))
			}
			v = base64.StdEncoding.EncodeToString(b)
		} else {
			h := alg.new()
			h.Write(sums)
			v = base64.StdEncoding.EncodeToString(h.Sum(nil)) + "-" + fmt.Sprint(len(list))
		}
		rec.Sums = map[string]string{alg.name: v}
		if len(partSums)*(len(partSums[0])+16) < maxRecord { // else the parts' own are not kept
			rec.PartSums = partSums
		}
	}
	return rec, nodes, nil
}
