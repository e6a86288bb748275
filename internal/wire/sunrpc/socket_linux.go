package sunrpc

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawMost is the most that is written without telling the scheduler: some
// microseconds of copying.
const rawMost = 16 << 10

// A socket reads and writes a net.Conn without telling Go's scheduler about the
// system calls. They never wait, since the descriptor is in non-blocking mode, so
// there is nothing for the scheduler to do; but telling it wakes its monitor
// thread on a quiet machine, which costs as much as the call. Waiting is done as
// by any net.Conn, deadlines and Close included.
//
// One goroutine may read and one may write at a time.
type socket struct {
	net.Conn
	raw syscall.RawConn // nil: what is below is no socket

	// want answers where to read to, once there may be something; unwanted is
	// called when there was nothing.
	want     func() []byte
	unwanted func()

	// unread is what was there to be read when a write began, bytes; not set by
	// writes of more than rawMost, nor without a socket.
	unread int32

	in, out move
}

// move is one read or write of a socket. It is kept there, as is fn, so that a
// call allocates nothing.
type move struct {
	p   []byte
	n   int
	err syscall.Errno
	fn  func(fd uintptr) bool
}

func newSocket(nc net.Conn) *socket {
	s := &socket{Conn: nc}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	s.in.fn = func(fd uintptr) bool {
		s.in.p = s.want()
		s.in.do(unix.SYS_READ, fd)
		if s.in.err == unix.EAGAIN {
			s.unwanted()
			return false
		}
		return true
	}
	s.out.fn = func(fd uintptr) bool {
		if _, _, err := unix.RawSyscall(unix.SYS_IOCTL, fd, unix.TIOCINQ, uintptr(unsafe.Pointer(&s.unread))); err != 0 {
			s.unread = -1
		}
		s.out.do(unix.SYS_WRITE, fd)
		return true
	}
	return s
}

func (m *move) do(call, fd uintptr) {
	for {
		n, _, err := unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(m.p))), uintptr(len(m.p)))
		if err == unix.EINTR {
			continue
		}
		m.n, m.err = int(n), err
		return
	}
}

// read reads what there is to where it is wanted.
func (s *socket) read() (int, error) {
	if s.raw == nil {
		return s.Conn.Read(s.want())
	}
	m := &s.in
	err := s.raw.Read(m.fn)
	m.p = nil
	switch {
	case err != nil:
		return 0, err
	case m.err != 0:
		return 0, s.failed("read", m.err)
	case m.n == 0:
		return 0, io.EOF
	}
	return m.n, nil
}

// Write implements net.Conn. What does not fit into the socket's buffer at once
// is left to the net.Conn.
func (s *socket) Write(p []byte) (int, error) {
	if s.raw == nil || len(p) == 0 || len(p) > rawMost {
		return s.Conn.Write(p)
	}
	m := &s.out
	m.p = p
	err := s.raw.Write(m.fn)
	m.p = nil
	switch {
	case err != nil:
		return 0, err
	case m.err == unix.EAGAIN:
		return s.Conn.Write(p)
	case m.err != 0:
		return 0, s.failed("write", m.err)
	case m.n == len(p):
		return m.n, nil
	}
	n, err := s.Conn.Write(p[m.n:])
	return m.n + n, err
}

func (s *socket) failed(op string, err syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
