package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"net/http"

	"manifold/internal/fs"
)

// apiError is an answer of S3's kind. The values below are never changed:
// with, detail and wrap copy.
type apiError struct {
	Status  int
	Code    string
	Message string
	Extra   []xmlField // further elements of the document
	cause   error
	// header fields of the answer, such as Content-Range of a 416
	header map[string]string
	// closing ends the connection: the rest of the body is not known
	closing bool
}

type xmlField struct{ Name, Value string }

// Error implements error.
func (e *apiError) Error() string {
	if e.cause != nil {
		return e.Code + ": " + e.cause.Error()
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause.
func (e *apiError) Unwrap() error { return e.cause }

// Is compares codes, so that a detailed copy equals its value.
func (e *apiError) Is(target error) bool {
	t, ok := target.(*apiError)
	return ok && t.Code == e.Code
}

func (e *apiError) with(message string) *apiError {
	c := *e
	c.Message = message
	return &c
}

func (e *apiError) detail(name, value string) *apiError {
	c := *e
	c.Extra = append(append([]xmlField(nil), e.Extra...), xmlField{name, value})
	return &c
}

func (e *apiError) wrap(err error) *apiError {
	c := *e
	c.cause = err
	return &c
}

func (e *apiError) withHeader(name, value string) *apiError {
	c := *e
	c.header = map[string]string{name: value}
	return &c
}

func newError(status int, code, message string) *apiError {
	return &apiError{Status: status, Code: code, Message: message}
}

// Errors of the protocol, by code.
var (
	errAccessDenied        = newError(403, "AccessDenied", "Access Denied")
	errAuthMalformed       = newError(400, "AuthorizationHeaderMalformed", "The authorization header you provided is invalid.")
	errAuthQuery           = newError(400, "AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter.")
	errBadDigest           = newError(400, "BadDigest", "The Content-MD5 or checksum value that you specified did not match what the server received.")
	errBucketExists        = newError(409, "BucketAlreadyExists", "The requested bucket name is not available.")
	errBucketNotEmpty      = newError(409, "BucketNotEmpty", "The bucket you tried to delete is not empty.")
	errBucketOwned         = newError(409, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
	errConflict            = newError(409, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")
	errConditional         = newError(409, "ConditionalRequestConflict", "A conflicting operation occurred during this request. Please try again.")
	errContentSHA          = newError(400, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	errDirectoryIsThere    = newError(409, "ExistingObjectIsDirectory", "The key names a directory; objects lie below it.")
	errParentIsFile        = newError(409, "ObjectParentIsFile", "A part of the key's path is an object.")
	errEntityTooLarge      = newError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
	errEntityTooSmall      = newError(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
	errExpired             = newError(403, "AccessDenied", "Request has expired")
	errIncompleteBody      = newError(400, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.")
	errInternal            = newError(500, "InternalError", "We encountered an internal error. Please try again.")
	errInvalidAccessKey    = newError(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	errInvalidArgument     = newError(400, "InvalidArgument", "Invalid Argument")
	errInvalidBucketName   = newError(400, "InvalidBucketName", "The specified bucket is not valid.")
	errInvalidBucketState  = newError(409, "InvalidBucketState", "The request is not valid with the current state of the bucket.")
	errInvalidDigest       = newError(400, "InvalidDigest", "The Content-MD5 you specified is not valid.")
	errInvalidKey          = newError(400, "InvalidArgument", "The key cannot be a path of the file system: it has an empty, '.', '..' or reserved component, a NUL byte, or a component over 255 bytes.")
	errInvalidPart         = newError(400, "InvalidPart", "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
	errInvalidPartOrder    = newError(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
	errInvalidRange        = newError(416, "InvalidRange", "The requested range is not satisfiable")
	errInvalidRequest      = newError(400, "InvalidRequest", "Invalid Request")
	errInvalidRetention    = newError(400, "InvalidRetentionPeriod", "The retention period must be a positive integer.")
	errInvalidTag          = newError(400, "InvalidTag", "The tag provided was not a valid tag.")
	errInvalidURI          = newError(400, "InvalidURI", "Couldn't parse the specified URI.")
	errKeyTooLong          = newError(400, "KeyTooLongError", "Your key is too long.")
	errMalformedPolicy     = newError(400, "MalformedPolicy", "The policy is not valid.")
	errMalformedPOST       = newError(400, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
	errMalformedXML        = newError(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema.")
	errMetadataTooLarge    = newError(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.")
	errMethodNotAllowed    = newError(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	errMissingLength       = newError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	errNoSuchBucket        = newError(404, "NoSuchBucket", "The specified bucket does not exist")
	errNoSuchCORS          = newError(404, "NoSuchCORSConfiguration", "The CORS configuration does not exist")
	errNoSuchKey           = newError(404, "NoSuchKey", "The specified key does not exist.")
	errNoSuchLock          = newError(404, "ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket")
	errNoSuchObjectLock    = newError(404, "NoSuchObjectLockConfiguration", "The specified object does not have an ObjectLock configuration.")
	errNoSuchPolicy        = newError(404, "NoSuchBucketPolicy", "The bucket policy does not exist")
	errNoSuchTagSet        = newError(404, "NoSuchTagSet", "The TagSet does not exist")
	errNoSuchUpload        = newError(404, "NoSuchUpload", "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
	errNoSuchVersion       = newError(404, "NoSuchVersion", "The specified version does not exist.")
	errNotImplemented      = newError(501, "NotImplemented", "A header or query you provided implies functionality that is not implemented.")
	errNotModified         = newError(304, "NotModified", "Not Modified")
	errPrecondition        = newError(412, "PreconditionFailed", "At least one of the preconditions you specified did not hold.")
	errQuota               = newError(403, "QuotaExceeded", "The directory quota would be exceeded.")
	errNoSpace             = newError(507, "InsufficientStorage", "The cluster is full.")
	errRequestTimeTooSkew  = newError(403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	errSignature           = newError(403, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	errSlowDown            = newError(503, "SlowDown", "Please reduce your request rate.")
	errTooManyBuckets      = newError(400, "TooManyBuckets", "You have attempted to create more buckets than allowed.")
	errUnavailable         = newError(503, "ServiceUnavailable", "Service is unable to handle request. Please try again.")
	errMalformedTrailer    = newError(400, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
	errInvalidStorageClass = newError(400, "InvalidStorageClass", "The storage class you specified is not valid")
	errACLNotSupported     = newError(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
)

// fromFS translates an error of the file system. Every Kind has its answer.
func fromFS(err error) *apiError {
	var a *apiError
	if errors.As(err, &a) {
		return a
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return errUnavailable.wrap(err)
	}
	switch fs.KindOf(err) {
	case fs.NotExist, fs.Stale, fs.NotFile, fs.NotSymlink:
		return errNoSuchKey.wrap(err)
	case fs.NotDir:
		return errParentIsFile.wrap(err)
	case fs.IsDir:
		return errDirectoryIsThere.wrap(err)
	case fs.Exist, fs.NotEmpty:
		return errConflict.wrap(err)
	case fs.Access, fs.Perm, fs.ReadOnly, fs.WORM:
		return errAccessDenied.wrap(err)
	case fs.NameInvalid, fs.CrossDevice, fs.Loop:
		return errInvalidKey.wrap(err)
	case fs.NameTooLong:
		return errKeyTooLong.wrap(err)
	case fs.TooBig:
		return errEntityTooLarge.wrap(err)
	case fs.NoSpace:
		return errNoSpace.wrap(err)
	case fs.QuotaExceeded:
		return errQuota.wrap(err)
	case fs.Invalid, fs.BadCookie, fs.NoAttr, fs.TooSmall:
		return errInvalidArgument.wrap(err)
	case fs.TooMany, fs.TooManyLinks:
		return errMetadataTooLarge.wrap(err)
	case fs.Sharing, fs.LockConflict, fs.Busy, fs.RevisionMismatch:
		return errConflict.wrap(err)
	case fs.Retry, fs.Grace, fs.Canceled, fs.Unavailable, fs.Deadlock, fs.NoLock:
		return errUnavailable.wrap(err)
	case fs.NotSupported:
		return errNotImplemented.wrap(err)
	case fs.Corrupt, fs.Other:
	}
	return errInternal.wrap(err)
}

type errorDocument struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	Extra     []errorExtra
	Resource  string
	RequestID string `xml:"RequestId"`
	HostID    string `xml:"HostId"`
}

type errorExtra struct {
	XMLName xml.Name
	Value   string `xml:",chardata"`
}

// fail answers an error.
func (q *request) fail(e *apiError) {
	h := q.w.Header()
	for _, n := range []string{"Content-Length", "ETag", "Content-Range", "Content-Encoding", "Cache-Control", "Content-Disposition", "Content-Language", "Expires", "Last-Modified"} {
		if e.Status != http.StatusNotModified || n == "Content-Length" {
			h.Del(n)
		}
	}
	for n, v := range e.header {
		h.Set(n, v)
	}
	if e.closing {
		h.Set("Connection", "close")
	}
	if q.r.Method == http.MethodHead || e.Status == http.StatusNotModified {
		h.Del("Content-Type")
		q.w.WriteHeader(e.Status)
		return
	}
	d := errorDocument{Code: e.Code, Message: e.Message, Resource: q.path, RequestID: q.id, HostID: q.id}
	for _, x := range e.Extra {
		d.Extra = append(d.Extra, errorExtra{xml.Name{Local: x.Name}, x.Value})
	}
	q.writeXML(e.Status, &d)
}
