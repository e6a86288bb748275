//go:build !linux

package ftp

import "net"

// quickAck does nothing where the system offers no way to.
func quickAck(net.Conn) {}
