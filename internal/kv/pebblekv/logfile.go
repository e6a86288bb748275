package pebblekv

import (
	"cmp"
	"errors"
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

// logFile is the key store's log on the operating system's files.
//
// It writes whole blocks past the page cache where the file system lets it, the
// block in which the last write ended once more: a sync has then nothing to wait
// for but the disk's flush, and pages to be neither read, copied nor looked for.
//
// While the disk is quick and only one commit waits for it, it writes and syncs
// without telling Go's scheduler: told of a system call that takes as long as a sync
// of a quick disk, the scheduler wakes its monitor thread, which then looks at the
// call every 20 µs until it ends, and that costs more than the sync itself. A sync
// that the scheduler does not know of keeps a processor of the program from other
// work, so it is told when several commits are under way, and whenever the disk is
// slow.
//
// Who uses it writes from the beginning of the file on, one goroutine at a time.
type logFile struct {
	vfs.File
	fd    uintptr
	waits *atomic.Int64 // how many commits wait for a sync
	pace  *pace
	lone  bool  // there is one processor: nothing else would run meanwhile
	end   int64 // of what was written

	// past is a descriptor that goes past the page cache, or -1. What is written
	// through it is put together in blocks, of which the first tail bytes are
	// there from the last write.
	past   int
	blocks []byte
	tail   int
}

func (e *Engine) logFile(f vfs.File) vfs.File {
	if f.Fd() == vfs.InvalidFd {
		return f
	}
	return newLogFile(f, f.Fd(), &e.syncing, &e.pace)
}

func newLogFile(f vfs.File, fd uintptr, waits *atomic.Int64, p *pace) *logFile {
	past, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		past = -1 // as with file systems in memory
	}
	return &logFile{File: f, fd: fd, waits: waits, pace: p, lone: runtime.GOMAXPROCS(0) == 1, past: past}
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

// quietly tells whether to make the next call without the scheduler.
func (l *logFile) quietly() bool {
	return l.fd != vfs.InvalidFd && l.waits.Load() == 1 && l.pace.quick() && !l.lone
}

// Close implements vfs.File. Nobody writes or syncs any more.
func (l *logFile) Close() error {
	l.fd = vfs.InvalidFd // the number may become another file's
	return errors.Join(l.cached(), l.File.Close())
}

// cached goes through the page cache from now on.
func (l *logFile) cached() error {
	past := l.past
	l.past, l.blocks, l.tail = -1, nil, 0
	if past < 0 {
		return nil
	}
	return unix.Close(past)
}

const (
	// block is what goes past the page cache is a multiple of, in place, length
	// and memory: that of every disk there is.
	block = 4 << 10
	// minBlocks and maxBlocks bound what is written at once past the page cache,
	// bytes.
	minBlocks, maxBlocks = 4 * block, 1 << 20
	// maxQuietly is the most that is written without the scheduler.
	maxQuietly = 64 << 10
)

func wholeBlocks[N int | int64](n N) N { return (n + block - 1) &^ (block - 1) }

// Write implements vfs.File.
func (l *logFile) Write(p []byte) (n int, err error) {
	for l.past >= 0 && n < len(p) {
		m := min(len(p)-n, maxBlocks-l.tail)
		switch err := l.writePast(p[n : n+m]); err {
		case 0:
			n += m
		case unix.EINVAL, unix.EOPNOTSUPP:
			_ = l.cached() // the file system, or its disk, has other rules
		default:
			return n, &os.PathError{Op: "write", Path: "the log", Err: err}
		}
	}
	if n == len(p) {
		return n, nil
	}
	m, err := l.writeCached(p[n:])
	return n + m, err
}

// writePast writes up to maxBlocks past the page cache, the block in which the last
// write ended included. After the end are zeros up to the next block.
func (l *logFile) writePast(p []byte) syscall.Errno {
	n := l.tail + len(p)
	full := wholeBlocks(n)
	if full > len(l.blocks) {
		b := aligned(max(full, minBlocks))
		copy(b, l.blocks[:l.tail])
		l.blocks = b
	}
	copy(l.blocks[l.tail:], p)
	clear(l.blocks[n:full])
	if err := l.pwrite(uintptr(l.past), l.blocks[:full], l.end-int64(l.tail)); err != 0 {
		return err
	}
	l.end += int64(len(p))
	l.tail = n % block
	tail := l.blocks[n-l.tail : n]
	if len(l.blocks) > maxQuietly {
		l.blocks = aligned(minBlocks)
	}
	copy(l.blocks, tail)
	return 0
}

// aligned returns memory that begins with a block.
func aligned(n int) []byte {
	b := make([]byte, n+block)
	at := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (block - 1))
	return b[at : at+n : at+n]
}

func (l *logFile) writeCached(p []byte) (n int, err error) {
	if len(p) <= maxQuietly && l.quietly() {
		if err := l.pwrite(l.fd, p, l.end); err != 0 {
			return 0, &os.PathError{Op: "write", Path: "the log", Err: err}
		}
		n = len(p)
	} else {
		n, err = l.File.WriteAt(p, l.end)
	}
	l.end += int64(n)
	return n, err
}

// pwrite writes all of p.
func (l *logFile) pwrite(fd uintptr, p []byte, at int64) syscall.Errno {
	quietly := len(p) <= maxQuietly && l.quietly()
	if quietly {
		start := time.Now()
		defer func() { l.pace.took(time.Since(start)) }()
	}
	for len(p) > 0 {
		n, err := pwrite(quietly, fd, p, at)
		switch {
		case err == unix.EINTR:
			continue
		case err != 0:
			return err
		case n == 0:
			return unix.EIO
		}
		p, at = p[n:], at+int64(n)
	}
	return 0
}

func pwrite(quietly bool, fd uintptr, p []byte, at int64) (int, syscall.Errno) {
	if !quietly {
		n, _, err := unix.Syscall6(unix.SYS_PWRITE64, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(at), 0, 0)
		return int(n), err
	}
	n, _, err := unix.RawSyscall6(unix.SYS_PWRITE64, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), uintptr(at), 0, 0)
	return int(n), err
}

// SyncData implements vfs.File.
func (l *logFile) SyncData() error {
	quietly := l.quietly()
	start := time.Now()
	var err error
	if quietly {
		err = rawSync(l.fd)
	} else {
		err = l.File.SyncData()
	}
	l.pace.took(time.Since(start))
	return err
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
