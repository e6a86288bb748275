package ftp

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// quickAck acknowledges what has arrived at once. Clients whose TLS library
// writes a handshake or the end of a session in pieces wait for it with the
// next piece (Nagle), which would cost every encrypted transfer the 40 ms of a
// delayed acknowledgement.
func quickAck(c net.Conn) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if r, err := s.SyscallConn(); err == nil {
		_ = r.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
	}
}
