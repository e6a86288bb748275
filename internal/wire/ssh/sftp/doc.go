// Package sftp serves version 3 of the SSH File Transfer Protocol
// (draft-ietf-secsh-filexfer-02) with the extensions that OpenSSH's clients
// use, over the file system contract.
//
// Invariants: a request is answered after those before it, one session never
// holds more than its limits of handles and memory, a handle that was written
// to is stable when its close has been answered, no path leaves the session's
// root, and whatever a client sends costs it at most its own session.
//
// The package must not know SSH nor how a user was recognised: it reads and
// writes a byte stream on behalf of a caller.
package sftp
