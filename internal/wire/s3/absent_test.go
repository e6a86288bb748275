package s3_test

import (
	"encoding/xml"
	"strings"
	"testing"

	"manifold/internal/fs"
)

// TestAbsent asks for what a fresh bucket and a fresh object do not have.
func TestAbsent(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/k", "x")
	r.want(200, "PUT", "/locked", "", "X-Amz-Bucket-Object-Lock-Enabled", "true")
	r.want(200, "PUT", "/locked/k", "x")
	for target, code := range map[string]string{
		"/bucket?cors":              "NoSuchCORSConfiguration",
		"/bucket?tagging":           "NoSuchTagSet",
		"/bucket?policy":            "NoSuchBucketPolicy",
		"/bucket?object-lock":       "ObjectLockConfigurationNotFoundError",
		"/bucket?lifecycle":         "NoSuchLifecycleConfiguration",
		"/bucket?encryption":        "ServerSideEncryptionConfigurationNotFoundError",
		"/bucket?replication":       "ReplicationConfigurationNotFoundError",
		"/bucket?website":           "NoSuchWebsiteConfiguration",
		"/bucket?publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
		"/bucket?ownershipControls": "OwnershipControlsNotFoundError",
		"/locked/k?retention":       "NoSuchObjectLockConfiguration",
		"/nowhere?cors":             "NoSuchBucket",
		"/nowhere?tagging":          "NoSuchBucket",
		"/nowhere?policy":           "NoSuchBucket",
		"/nowhere?object-lock":      "NoSuchBucket",
		"/bucket/none?tagging":      "NoSuchKey",
		"/bucket/none?attributes":   "NoSuchKey",
		"/bucket/none?uploadId=no":  "NoSuchUpload",
	} {
		if a := r.do("GET", target, "", "X-Amz-Object-Attributes", "ETag"); a.status != 404 || a.code() != code {
			t.Errorf("%s: %d %s, want 404 %s", target, a.status, a.body, code)
		}
	}
	for _, target := range []string{"/bucket/k?retention", "/bucket/k?legal-hold"} {
		if a := r.do("GET", target, ""); a.status != 400 || a.code() != "InvalidRequest" {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
	for target, part := range map[string]string{
		"/bucket?versioning":     "VersioningConfiguration",
		"/bucket?notification":   "NotificationConfiguration",
		"/bucket?logging":        "BucketLoggingStatus",
		"/bucket?accelerate":     "AccelerateConfiguration",
		"/bucket?requestPayment": "<Payer>BucketOwner</Payer>",
		"/bucket?location":       "LocationConstraint",
		"/bucket?acl":            "FULL_CONTROL",
		"/bucket/k?acl":          "FULL_CONTROL",
		"/bucket/k?tagging":      "TagSet",
		"/bucket?policyStatus":   "<IsPublic>false</IsPublic>",
		"/locked/k?legal-hold":   "<Status>OFF</Status>",
		"/bucket?uploads":        "ListMultipartUploadsResult",
		"/locked?object-lock":    "<ObjectLockEnabled>Enabled</ObjectLockEnabled>",
	} {
		if a := r.do("GET", target, ""); a.status != 200 || !strings.Contains(a.body, part) {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
	// Taking away what is not there is no error.
	for _, target := range []string{"/bucket?cors", "/bucket?tagging", "/bucket?policy", "/bucket/k?tagging", "/bucket/none"} {
		r.want(204, "DELETE", target, "")
	}
}

// TestAbort wants nothing to stay of an upload that was given up.
func TestAbort(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/dir/other", "stays")
	staged := func() (n int) {
		t.Helper()
		if err := r.fs.ListStaged(t.Context(), "", nil, func(*fs.Staged) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	used := func() fs.Totals {
		t.Helper()
		tt, err := r.fs.TotalsOf(t.Context(), fs.Root)
		if err != nil {
			t.Fatal(err)
		}
		return tt
	}
	before := used()
	var d struct {
		UploadID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal([]byte(r.want(200, "POST", "/bucket/dir/big?uploads", "").body), &d); err != nil {
		t.Fatal(err)
	}
	part := "/bucket/dir/big?uploadId=" + d.UploadID + "&partNumber="
	etag := r.want(200, "PUT", part+"1", strings.Repeat("x", 5<<20)).header.Get("Etag")
	r.want(200, "PUT", part+"2", "tail")
	r.want(200, "PUT", part+"2", "another tail")
	if staged() == 0 {
		t.Fatal("parts are no staged files")
	}
	upload := "/bucket/dir/big?uploadId=" + d.UploadID
	r.want(204, "DELETE", upload, "")
	if n := staged(); n != 0 {
		t.Errorf("%d staged files stay", n)
	}
	if after := used(); after != before {
		t.Errorf("used %+v, before %+v", after, before)
	}
	if a := r.want(200, "GET", "/bucket?uploads", ""); strings.Contains(a.body, d.UploadID) {
		t.Errorf("listed: %s", a.body)
	}
	if l := r.list("/bucket?list-type=2"); len(l.Contents) != 1 {
		t.Errorf("%+v", l.Contents)
	}
	done := "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + etag + "</ETag></Part></CompleteMultipartUpload>"
	for method, target := range map[string]string{"PUT": part + "3", "GET": upload, "DELETE": upload, "POST": upload} {
		body := ""
		if method == "POST" {
			body = done
		}
		if a := r.do(method, target, body); a.status != 404 || a.code() != "NoSuchUpload" {
			t.Errorf("%s after the abort: %d %s", method, a.status, a.body)
		}
	}
}
