// Package ssh serves SSH 2 (RFC 4250 to 4254): the administrator's shell,
// single commands, and SFTP in the folder below.
//
// Invariants: only algorithms that are held to be safe are spoken; a session
// acts for the account whose key or password was verified, never for one whose
// key was merely shown; nothing is forwarded, neither ports, sockets, X11 nor
// agents; connections, logins and channels are bounded in number and time.
//
// The package must not know where accounts and keys are kept nor what a shell
// is: both come through interfaces. The library below it does not show in them.
package ssh
