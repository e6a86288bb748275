package accept

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawMost is the most that is read or written without telling the scheduler:
// some microseconds of copying.
const rawMost = 16 << 10

// quiet reads and writes a net.Conn without telling Go's scheduler about the
// system calls, as wire/sunrpc does and for its reason: they never wait, and
// telling of them wakes the monitor thread of the scheduler on a machine with
// little to do, which costs more than the call. Waiting is done as by any
// net.Conn, deadlines and Close included.
type quiet struct {
	net.Conn
	raw     syscall.RawConn
	in, out move
}

// move is one read or write. It is kept with its function, so that a call
// allocates nothing; mu lets in one at a time.
type move struct {
	mu  sync.Mutex
	p   []byte
	n   int
	err syscall.Errno
	fn  func(fd uintptr) bool
}

// newQuiet answers nc itself if what is below is no socket.
func newQuiet(nc net.Conn) net.Conn {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nc
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nc
	}
	q := &quiet{Conn: nc, raw: raw}
	q.in.fn = func(fd uintptr) bool {
		q.in.do(unix.SYS_READ, fd)
		return q.in.err != unix.EAGAIN
	}
	q.out.fn = func(fd uintptr) bool {
		q.out.do(unix.SYS_WRITE, fd)
		return true
	}
	return q
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

// SyscallConn implements syscall.Conn.
func (q *quiet) SyscallConn() (syscall.RawConn, error) { return q.raw, nil }

// Read implements net.Conn.
func (q *quiet) Read(p []byte) (int, error) {
	if len(p) == 0 || len(p) > rawMost {
		return q.Conn.Read(p)
	}
	m := &q.in
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p = p
	err := q.raw.Read(m.fn)
	m.p = nil
	switch {
	case err != nil:
		return 0, err
	case m.err != 0:
		return 0, q.failed("read", m.err)
	case m.n == 0:
		return 0, io.EOF
	}
	return m.n, nil
}

// Write implements net.Conn. What does not fit into the socket's buffer at once
// is left to the net.Conn.
func (q *quiet) Write(p []byte) (int, error) {
	if len(p) == 0 || len(p) > rawMost {
		return q.Conn.Write(p)
	}
	m := &q.out
	m.mu.Lock()
	defer m.mu.Unlock()
	m.p = p
	err := q.raw.Write(m.fn)
	m.p = nil
	switch {
	case err != nil:
		return 0, err
	case m.err == unix.EAGAIN:
		return q.Conn.Write(p)
	case m.err != 0:
		return 0, q.failed("write", m.err)
	case m.n == len(p):
		return m.n, nil
	}
	n, err := q.Conn.Write(p[m.n:])
	return m.n + n, err
}

func (q *quiet) failed(op string, err syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Source: q.LocalAddr(), Addr: q.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
