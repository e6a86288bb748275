// Package audit tests the audit log from outside: a syslog server of Debian's
// receives what NFS clients do.
//
// Invariants: only the built binary and public protocols are used. The package
// must not know how records are kept.
package audit
