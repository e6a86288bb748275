package s3

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

const (
	xmlns     = "http://s3.amazonaws.com/doc/2006-03-01/"
	xmlHeader = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	// maxConfig bounds configuration documents; lists of keys and parts may
	// take maxDocument.
	maxConfig = 256 << 10
)

// decodeXML reads one document whose root element is that of v.
func decodeXML(b []byte, v any) *apiError {
	d := xml.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(v); err != nil {
		return errMalformedXML.wrap(err)
	}
	// Nothing but blanks and comments may follow.
	for {
		t, err := d.Token()
		if err != nil {
			break
		}
		switch t := t.(type) {
		case xml.Comment, xml.ProcInst:
		case xml.CharData:
			if len(bytes.TrimSpace(t)) != 0 {
				return errMalformedXML
			}
		default:
			return errMalformedXML
		}
	}
	return nil
}

// readXML reads the body as a document; an empty body is malformed.
func (q *request) readXML(most int64, v any) *apiError {
	b, err := q.body.document(most)
	if err != nil {
		return err
	}
	return decodeXML(b, v)
}

func (q *request) writeRaw(status int, contentType string, b []byte) {
	h := q.w.Header()
	h["Content-Type"] = []string{contentType}
	h["Content-Length"] = []string{formatInt(int64(len(b)))}
	q.w.WriteHeader(status)
	_, _ = q.w.Write(b) // the peer may be gone; there is nothing more to say
}

func (q *request) writeXML(status int, v any) {
	var b bytes.Buffer
	b.WriteString(xmlHeader)
	if err := xml.NewEncoder(&b).Encode(v); err != nil {
		// Our own types always encode.
		q.w.WriteHeader(http.StatusInternalServerError)
		return
	}
	q.writeRaw(status, "application/xml", b.Bytes())
}

func (q *request) noContent() error {
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

func setHeader(h http.Header, name, value string) { h[name] = []string{value} }

// isoTime is how documents show moments.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func httpTime(t fs.Time) string { return t.Time().Format(http.TimeFormat) }

type ownerXML struct {
	ID          string
	DisplayName string
}

func (q *request) owner(a identity.AuthID) *ownerXML {
	id, name := q.s.o.Names.OwnerID(q.ctx, a)
	return &ownerXML{id, name}
}
