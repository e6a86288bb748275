package s3

import (
	"mime"
	"net/http"
)

// isForm tells a browser's upload.
func (q *request) isForm() bool {
	if q.r.Method != http.MethodPost || q.bucketName == "" || q.key != "" || q.r.URL.RawQuery != "" {
		return false
	}
	t, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	return err == nil && t == "multipart/form-data"
}

func (q *request) postObject() error { return errNotImplemented }
