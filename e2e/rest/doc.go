// Package rest walks the administrator's surface from outside: the REST API as
// its clients use it, and the command line.
//
// Invariants: only the built binary and public protocols are used. The package
// must not know what the server is made of.
package rest
