// Package ftp serves FTP (RFC 959, 2228, 2389, 2428, 3659, 4217) over the file
// system contract.
//
// Invariants: an upload is stable when 226 has been sent; a session acts for
// the account that logged in and never leaves its root; passwords and data
// cross the network unencrypted only where the settings allow it; each data
// connection has a port of its own, which is open for one transfer and, unless
// the settings say otherwise, to the client's host only; file contents are
// never changed on the way, whatever the transfer type.
//
// The package must not know where accounts are kept, and opens no socket
// itself: listeners and data connections come through an interface.
package ftp
