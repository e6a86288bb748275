package s3

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"

	"manifold/internal/fs"
)

type partXML struct {
	PartNumber   uint64
	LastModified string
	ETag         string
	Size         uint64
	checksumXML
}

type listPartsXML struct {
	XMLName              xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListPartsResult"`
	Bucket               string
	Key                  string
	UploadID             string `xml:"UploadId"`
	Initiator            *ownerXML
	Owner                *ownerXML
	StorageClass         string
	PartNumberMarker     uint64
	NextPartNumberMarker uint64 `xml:",omitempty"`
	MaxParts             int
	IsTruncated          bool
	ChecksumAlgorithm    string    `xml:",omitempty"`
	ChecksumType         string    `xml:",omitempty"`
	Part                 []partXML `xml:",omitempty"`
}

func (q *request) listParts() error {
	u, err := q.findUpload(q.query.get("uploadId"))
	if err != nil {
		return err
	}
	if !q.caller.Cred.IsUser(u.Owner) && !q.administers() {
		return errAccessDenied
	}
	most, aerr := q.maxKeys("max-parts")
	if aerr != nil {
		return aerr
	}
	marker := uint64(0)
	if v := q.query.get("part-number-marker"); v != "" {
		var ok bool
		if marker, ok = parseUint(v, 1<<31-1); !ok {
			return errInvalidArgument.detail("ArgumentName", "part-number-marker")
		}
	}
	out := listPartsXML{Bucket: q.bucketName, Key: q.key, UploadID: u.id, Initiator: q.owner(u.Owner), Owner: q.owner(u.Owner),
		StorageClass: "STANDARD", PartNumberMarker: marker, MaxParts: most, ChecksumAlgorithm: u.Algorithm, ChecksumType: u.SumType}
	if marker >= maxParts {
		q.writeXML(http.StatusOK, &out)
		return nil
	}
	err = q.partsAfter(u, marker, func(p *part) error {
		if len(out.Part) == most {
			out.IsTruncated = true
			return errEnough
		}
		out.Part = append(out.Part, partXML{p.number, isoTime(p.attr.Mtime.Time()), `"` + p.rec.ETag + `"`, p.attr.Size, sumsXML(p.rec.Sums, "")})
		out.NextPartNumberMarker = p.number
		return nil
	})
	if err != nil {
		return q.uploadGone(err)
	}
	q.writeXML(http.StatusOK, &out)
	return nil
}

type uploadXML struct {
	Key               string
	UploadID          string `xml:"UploadId"`
	Initiator         *ownerXML
	Owner             *ownerXML
	StorageClass      string
	Initiated         string
	ChecksumAlgorithm string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
}

type listUploadsXML struct {
	XMLName            xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListMultipartUploadsResult"`
	Bucket             string
	KeyMarker          string
	UploadIDMarker     string `xml:"UploadIdMarker"`
	NextKeyMarker      string `xml:",omitempty"`
	NextUploadIDMarker string `xml:"NextUploadIdMarker,omitempty"`
	Prefix             string
	Delimiter          string `xml:",omitempty"`
	EncodingType       string `xml:",omitempty"`
	MaxUploads         int
	IsTruncated        bool
	Upload             []uploadXML `xml:",omitempty"`
	CommonPrefixes     []prefixXML `xml:",omitempty"`
}

// uploadOrder sorts by key, then by the moment of initiation.
func uploadOrder(a, b *upload) int {
	if c := strings.Compare(a.Key, b.Key); c != 0 {
		return c
	}
	if c := a.Initiated.Compare(b.Initiated); c != 0 {
		return c
	}
	return strings.Compare(a.id, b.id)
}

// listUploads looks at all uploads of the bucket and keeps the first page's:
// memory is that of a page.
func (q *request) listUploads() error {
	encode, encoding, aerr := q.encoder()
	if aerr != nil {
		return aerr
	}
	most, aerr := q.maxKeys("max-uploads")
	if aerr != nil {
		return aerr
	}
	prefix, delimiter := q.query.get("prefix"), q.query.get("delimiter")
	keyMarker, idMarker := q.query.get("key-marker"), q.query.get("upload-id-marker")
	if err := q.need(&object{attr: fs.Attr{Node: q.root()}}, fs.RightList); err != nil {
		return err
	}
	var marker *upload
	if keyMarker != "" && idMarker != "" {
		marker, _ = q.findUpload(idMarker) // gone: the key alone tells where
		if marker != nil && marker.Key != keyMarker {
			marker = nil
		}
	}
	roll := func(key string) (string, bool) {
		if delimiter == "" {
			return "", false
		}
		i := strings.Index(key[len(prefix):], delimiter)
		if i < 0 {
			return "", false
		}
		return key[:len(prefix)+i+len(delimiter)], true
	}
	// page holds the smallest most+1 items; a rolled-up one has no id.
	var page []*upload
	var inner error
	err := q.s.eachUpload(q.ctx, q.bucket.Root, "", func(id string, n fs.Node) bool {
		var u *upload
		if u, inner = q.readUpload(n, id); inner != nil {
			return false
		}
		switch {
		case u == nil || !strings.HasPrefix(u.Key, prefix):
			return true
		case marker != nil && uploadOrder(u, marker) <= 0:
			return true
		case marker == nil && keyMarker != "" && u.Key <= keyMarker:
			return true
		}
		item := u
		if cp, ok := roll(u.Key); ok {
			if keyMarker != "" && cp <= keyMarker && strings.HasPrefix(keyMarker, cp) {
				return true
			}
			item = &upload{Key: cp}
		}
		i, found := slices.BinarySearchFunc(page, item, uploadOrder)
		if found {
			return true
		}
		page = slices.Insert(page, i, item)
		if len(page) > most+1 {
			page = page[:most+1]
		}
		return true
	})
	if inner != nil {
		err = inner
	}
	if err != nil {
		return q.gone(err)
	}
	out := listUploadsXML{Bucket: q.bucketName, KeyMarker: encode(keyMarker), UploadIDMarker: idMarker, Prefix: encode(prefix),
		Delimiter: encode(delimiter), EncodingType: encoding, MaxUploads: most}
	if len(page) > most {
		out.IsTruncated = most > 0
		page = page[:most]
	}
	for _, u := range page {
		if u.id == "" {
			out.CommonPrefixes = append(out.CommonPrefixes, prefixXML{encode(u.Key)})
		} else {
			out.Upload = append(out.Upload, uploadXML{encode(u.Key), u.id, q.owner(u.Owner), q.owner(u.Owner), "STANDARD", isoTime(u.Initiated), u.Algorithm, u.SumType})
		}
		if out.IsTruncated {
			out.NextKeyMarker, out.NextUploadIDMarker = encode(u.Key), u.id
		}
	}
	q.writeXML(http.StatusOK, &out)
	return nil
}
