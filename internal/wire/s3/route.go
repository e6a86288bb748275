package s3

import (
	"net/http"
	"slices"
)

// opID finds an operation: by method, by whether a key is given, and by the
// first query parameter that names a subresource.
type opID struct {
	method string
	object bool
	sub    string
}

// op is an operation of the protocol.
type op struct {
	name     string
	action   string // in policies, without "s3:"
	noBucket bool   // runs without a bucket record
	run      func(*request) error
}

// Subresources in the order in which they win.
var (
	bucketSubs = []string{"location", "versioning", "policy", "policyStatus", "cors", "tagging", "acl", "object-lock",
		"uploads", "versions", "delete", "notification", "lifecycle", "encryption", "replication", "website", "logging",
		"accelerate", "requestPayment", "publicAccessBlock", "ownershipControls", "inventory", "analytics", "metrics",
		"intelligent-tiering", "session", "metadataTable"}
	objectSubs = []string{"uploadId", "uploads", "tagging", "acl", "retention", "legal-hold", "attributes",
		"torrent", "restore", "select", "append", "renameObject"}
)

func operations() map[opID]op {
	const get, put, del, head, post = http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodHead, http.MethodPost
	m := map[opID]op{
		{put, false, ""}:  {"CreateBucket", "CreateBucket", true, (*request).createBucket},
		{head, false, ""}: {"HeadBucket", "ListBucket", false, (*request).headBucket},
		{del, false, ""}:  {"DeleteBucket", "DeleteBucket", false, (*request).deleteBucket},
		{get, false, ""}:  {"ListObjects", "ListBucket", false, (*request).listObjects},

		{get, false, "versions"}:    {"ListObjectVersions", "ListBucketVersions", false, (*request).listVersions},
		{get, false, "uploads"}:     {"ListMultipartUploads", "ListBucketMultipartUploads", false, (*request).listUploads},
		{get, false, "location"}:    {"GetBucketLocation", "GetBucketLocation", false, (*request).getLocation},
		{post, false, "delete"}:     {"DeleteObjects", "", false, (*request).deleteObjects},
		{get, false, "versioning"}:  {"GetBucketVersioning", "GetBucketVersioning", false, (*request).getVersioning},
		{put, false, "versioning"}:  {"PutBucketVersioning", "PutBucketVersioning", false, (*request).putVersioning},
		{get, false, "policy"}:      {"GetBucketPolicy", "GetBucketPolicy", false, (*request).getPolicy},
		{put, false, "policy"}:      {"PutBucketPolicy", "PutBucketPolicy", false, (*request).putPolicy},
		{del, false, "policy"}:      {"DeleteBucketPolicy", "DeleteBucketPolicy", false, (*request).deletePolicy},
		{get, false, "cors"}:        {"GetBucketCors", "GetBucketCORS", false, (*request).getCORS},
		{put, false, "cors"}:        {"PutBucketCors", "PutBucketCORS", false, (*request).putCORS},
		{del, false, "cors"}:        {"DeleteBucketCors", "PutBucketCORS", false, (*request).deleteCORS},
		{get, false, "tagging"}:     {"GetBucketTagging", "GetBucketTagging", false, (*request).getBucketTags},
		{put, false, "tagging"}:     {"PutBucketTagging", "PutBucketTagging", false, (*request).putBucketTags},
		{del, false, "tagging"}:     {"DeleteBucketTagging", "PutBucketTagging", false, (*request).deleteBucketTags},
		{get, false, "acl"}:         {"GetBucketAcl", "GetBucketAcl", false, (*request).getACL},
		{get, false, "object-lock"}: {"GetObjectLockConfiguration", "GetBucketObjectLockConfiguration", false, (*request).getLockConfig},
		{put, false, "object-lock"}: {"PutObjectLockConfiguration", "PutBucketObjectLockConfiguration", false, (*request).putLockConfig},

		{put, true, ""}:            {"PutObject", "PutObject", false, (*request).putObject},
		{get, true, ""}:            {"GetObject", "GetObject", false, (*request).getObject},
		{head, true, ""}:           {"HeadObject", "GetObject", false, (*request).getObject},
		{del, true, ""}:            {"DeleteObject", "DeleteObject", false, (*request).deleteObject},
		{get, true, "acl"}:         {"GetObjectAcl", "GetObjectAcl", false, (*request).getACL},
		{get, true, "attributes"}:  {"GetObjectAttributes", "GetObjectAttributes", false, (*request).getAttributes},
		{get, true, "tagging"}:     {"GetObjectTagging", "GetObjectTagging", false, (*request).getTags},
		{put, true, "tagging"}:     {"PutObjectTagging", "PutObjectTagging", false, (*request).putTags},
		{del, true, "tagging"}:     {"DeleteObjectTagging", "DeleteObjectTagging", false, (*request).deleteTags},
		{post, true, "uploads"}:    {"CreateMultipartUpload", "PutObject", false, (*request).createUpload},
		{put, true, "uploadId"}:    {"UploadPart", "PutObject", false, (*request).uploadPart},
		{post, true, "uploadId"}:   {"CompleteMultipartUpload", "PutObject", false, (*request).completeUpload},
		{del, true, "uploadId"}:    {"AbortMultipartUpload", "AbortMultipartUpload", false, (*request).abortUpload},
		{get, true, "uploadId"}:    {"ListParts", "ListMultipartUploadParts", false, (*request).listParts},
		{get, true, "retention"}:   {"GetObjectRetention", "GetObjectRetention", false, (*request).getRetention},
		{put, true, "retention"}:   {"PutObjectRetention", "PutObjectRetention", false, (*request).putRetention},
		{get, true, "legal-hold"}:  {"GetObjectLegalHold", "GetObjectLegalHold", false, (*request).getLegalHold},
		{put, true, "legal-hold"}:  {"PutObjectLegalHold", "PutObjectLegalHold", false, (*request).putLegalHold},
		{put, false, "acl"}:        {"PutBucketAcl", "PutBucketAcl", false, (*request).putACL},
		{put, true, "acl"}:         {"PutObjectAcl", "PutObjectAcl", false, (*request).putACL},
		{get, false, "lifecycle"}:  absent("GetLifecycleConfiguration", "GetLifecycleConfiguration", "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
		{get, false, "encryption"}: absent("GetBucketEncryption", "GetEncryptionConfiguration", "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found"),
		{get, false, "replication"}: absent("GetBucketReplication", "GetReplicationConfiguration", "ReplicationConfigurationNotFoundError",
			"The replication configuration was not found"),
		{get, false, "website"}: absent("GetBucketWebsite", "GetBucketWebsite", "NoSuchWebsiteConfiguration",
			"The specified bucket does not have a website configuration"),
		{get, false, "publicAccessBlock"}: absent("GetPublicAccessBlock", "GetBucketPublicAccessBlock", "NoSuchPublicAccessBlockConfiguration",
			"The public access block configuration was not found"),
		{get, false, "ownershipControls"}: absent("GetBucketOwnershipControls", "GetBucketOwnershipControls", "OwnershipControlsNotFoundError",
			"The bucket ownership controls were not found"),
		{get, false, "notification"}:   fixed("GetBucketNotificationConfiguration", "GetBucketNotification", "NotificationConfiguration", ""),
		{get, false, "logging"}:        fixed("GetBucketLogging", "GetBucketLogging", "BucketLoggingStatus", ""),
		{get, false, "accelerate"}:     fixed("GetBucketAccelerateConfiguration", "GetAccelerateConfiguration", "AccelerateConfiguration", ""),
		{get, false, "requestPayment"}: fixed("GetBucketRequestPayment", "GetBucketRequestPayment", "RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"),
		{get, false, "policyStatus"}:   {"GetBucketPolicyStatus", "GetBucketPolicyStatus", false, (*request).getPolicyStatus},
	}
	return m
}

// Operations are the names of all that are answered, sorted.
func Operations() []string {
	out := []string{"CopyObject", "ListBuckets", "PostObject", "UploadPartCopy"} // not found by their opID alone
	for _, o := range operations() {
		out = append(out, o.name)
	}
	slices.Sort(out)
	return out
}

// absent answers that a configuration is not there.
func absent(name, action, code, message string) op {
	e := newError(http.StatusNotFound, code, message)
	return op{name: name, action: action, run: func(*request) error { return e }}
}

// fixed answers a configuration that is always the same.
func fixed(name, action, element, inner string) op {
	doc := []byte(xmlHeader + "<" + element + " xmlns=\"" + xmlns + "\">" + inner + "</" + element + ">")
	return op{name: name, action: action, run: func(q *request) error {
		q.writeRaw(http.StatusOK, "application/xml", doc)
		return nil
	}}
}

func (q *request) route() *apiError {
	if q.bucketName == "" {
		if q.r.Method != http.MethodGet {
			return errMethodNotAllowed
		}
		q.op = &op{name: "ListBuckets", noBucket: true, run: (*request).listBuckets}
		return nil
	}
	id := opID{method: q.r.Method, object: q.key != ""}
	subs := bucketSubs
	if id.object {
		subs = objectSubs
	}
	for _, s := range subs {
		if q.query.has(s) {
			id.sub = s
			break
		}
	}
	o, ok := q.s.ops[id]
	if !ok {
		if id.sub != "" {
			return errNotImplemented.detail("Query", id.sub)
		}
		return errMethodNotAllowed
	}
	switch copySource := q.r.Header.Get("X-Amz-Copy-Source") != ""; {
	case copySource && o.name == "PutObject":
		o.name, o.run = "CopyObject", (*request).copyObject
	case copySource && o.name == "UploadPart":
		o.name, o.run = "UploadPartCopy", (*request).uploadPartCopy
	}
	// Versions have actions of their own.
	if q.query.get("versionId") != "" {
		switch o.name {
		case "GetObject", "HeadObject":
			o.action = "GetObjectVersion"
		case "DeleteObject":
			o.action = "DeleteObjectVersion"
		case "GetObjectTagging":
			o.action = "GetObjectVersionTagging"
		case "PutObjectTagging":
			o.action = "PutObjectVersionTagging"
		case "DeleteObjectTagging":
			o.action = "DeleteObjectVersionTagging"
		case "GetObjectAcl":
			o.action = "GetObjectVersionAcl"
		}
	}
	q.op = &o
	return nil
}
