// Package smb serves SMB 2.0.2 to 3.1.1, [MS-SMB2], on the contract of package fs.
//
// Invariants:
//   - A message that does not parse is answered or ends its connection; it
//     never panics and never makes the server allocate more than it says.
//   - What a session signs or encrypts is verified before anything is done.
//   - Every request is answered exactly once; requests of a connection run at
//     once, and those that change what the next ones see begin in order.
//   - No file system call is made while a lock of this package is held.
//   - Every goroutine belongs to a connection and ends with it, but for the
//     timers of durable handles and breaks, which end with the server.
//
// The package must not know how files, accounts or shares are stored.
package smb
