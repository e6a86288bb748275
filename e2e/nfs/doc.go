// Package nfs tests NFSv3 from outside: through the Linux kernel's client and
// with peers that do not keep to the protocol.
//
// Invariants: only the built binary and public protocols are used. The package
// must not know what the server is made of.
package nfs
