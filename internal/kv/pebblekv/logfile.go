package pebblekv

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// logFile is the key store's log on the operating system's files. While the disk
// is quick and only one commit waits for it, it writes and syncs without telling
// Go's scheduler: told of a system call that takes as long as a sync of a quick
// disk, the scheduler wakes its monitor thread, which then looks at the call every
// 20 µs until it ends, and that costs more than the sync itself. A sync that the
// scheduler does not know of keeps a processor of the program from other work,
// so it is told when several commits are under way, and whenever the disk is slow.
type logFile struct {
	vfs.File
	fd    uintptr
	waits *atomic.Int64 // how many commits wait for a sync
	pace  *pace
}

func (e *Engine) logFile(f vfs.File) vfs.File {
	if f.Fd() == vfs.InvalidFd || runtime.GOMAXPROCS(0) == 1 {
		return f // nothing else would run meanwhile
	}
	return &logFile{File: f, fd: f.Fd(), waits: &e.syncing, pace: &e.pace}
}

// pace tells quick disks from slow ones. All logs of a store share one.
type pace struct {
	left  atomic.Int64  // quick calls until it is quick
	limit time.Duration // 0 means quickCall
}

const (
	// quickCall is the longest that a call of a quick disk takes.
	quickCall = 4 * time.Millisecond
	// quickRun calls in a row have to be quick after one that was not.
	quickRun = 16
)

// quick tells whether the last calls were.
func (p *pace) quick() bool { return p.left.Load() == 0 }

// took notes how long a call took.
func (p *pace) took(d time.Duration) {
	if d > cmp.Or(p.limit, quickCall) {
		p.left.Store(quickRun)
	} else if n := p.left.Load(); n > 0 {
		p.left.CompareAndSwap(n, n-1)
	}
}

// direct tells whether to make the next call without the scheduler.
func (l *logFile) direct() bool {
	return l.fd != vfs.InvalidFd && l.waits.Load() == 1 && l.pace.quick()
}

// Close implements vfs.File. Nobody writes or syncs any more.
func (l *logFile) Close() error {
	l.fd = vfs.InvalidFd // the number may become another file's
	return l.File.Close()
}

// Write implements vfs.File.
func (l *logFile) Write(p []byte) (int, error) {
	if len(p) == 0 || len(p) > 64<<10 || !l.direct() {
		return l.File.Write(p)
	}
	start := time.Now()
	n, err := rawWrite(l.fd, p)
	l.pace.took(time.Since(start))
	switch {
	case err != 0:
		return 0, &os.PathError{Op: "write", Path: "the log", Err: err}
	case n < len(p):
		m, err := l.File.Write(p[n:])
		return n + m, err
	}
	return n, nil
}

// SyncData implements vfs.File.
func (l *logFile) SyncData() error {
	direct := l.direct()
	start := time.Now()
	var err error
	if direct {
		err = rawSync(l.fd)
	} else {
		err = l.File.SyncData()
	}
	l.pace.took(time.Since(start))
	return err
}

func rawWrite(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, err := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if err != unix.EINTR {
			return int(n), err
		}
	}
}

func rawSync(fd uintptr) error {
	for {
		_, _, err := unix.RawSyscall(unix.SYS_FDATASYNC, fd, 0, 0)
		switch err {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("fdatasync: %w", err)
		}
	}
}
