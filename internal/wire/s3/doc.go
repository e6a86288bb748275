// Package s3 serves the file system over the S3 REST protocol, on net/http.
//
// A bucket is a directory, a key is a path below it, an object is a file of
// the one namespace. Headers of an object lie in the S3 metadata space of its
// file, its tags in the generic one.
//
// Invariants:
//   - An object or version appears whole or not at all, and with it every other
//     name that changes: each write ends in one transaction of the file system.
//   - A body is consumed to its end, and answered exactly once, before the
//     connection is used again.
//   - What decides over access is the file system, with the caller's own
//     credential; a bucket policy only takes away.
//   - Every document, header, list and path is bounded before memory is spent on it.
//   - A request whose meaning we do not implement (encryption keys, ACL grants,
//     unknown subresources) is refused, never ignored.
//
// The package must not know how files, buckets and keys are stored, nor any
// other protocol.
package s3
