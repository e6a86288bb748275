// Package smb tests SMB from outside: through the Linux kernel's client and
// Samba's tools.
//
// Invariants: only the built binary and public protocols are used. The package
// must not know what the server is made of.
package smb
