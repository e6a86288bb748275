// Package s3 tests the S3 port from outside, with the clients that people use.
//
// Invariants: clients are Debian's packages and public libraries, never ours;
// what was written over S3 is compared byte for byte over another protocol.
// The package must not know the server beyond its ports and public interfaces.
package s3
