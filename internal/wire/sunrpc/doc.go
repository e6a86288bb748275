// Package sunrpc is ONC RPC version 2 (RFC 5531) with XDR (RFC 4506): record
// marking, AUTH_NONE and AUTH_SYS, a server for TCP and UDP, a client, and the
// cache that answers repeated calls.
//
// Invariants: every decoder is bounded by the record it reads from and never
// panics; a record is never larger than Options.MaxRecord; memory held by
// requests and replies is bounded over all connections; a connection that
// stands still in the middle of a record or does not take its replies is
// closed; Shutdown returns when every accepted call has been answered.
//
// Buffers come from pools and are counted: whoever keeps bytes of a call
// beyond its handler retains Call.Record.
//
// The package must not know any program that runs over it, nor files. It opens
// no sockets: listeners and connections are given to it.
package sunrpc
