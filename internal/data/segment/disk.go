package segment

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Disk is the directory that segments lie in. Tests inject faulty ones.
type Disk interface {
	// List returns the names in the directory.
	List() ([]string, error)
	// Create makes a new file with sizeBytes allocated and its name durable.
	// An existing name is an error.
	Create(name string, sizeBytes int64) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Stat returns how many bytes a file takes.
	Stat(name string) (int64, error)
	// Remove deletes a file. One that does not exist is fs.ErrNotExist; open
	// ones stay readable.
	Remove(name string) error
	// Rename gives a file another name, which does not exist. It need not survive
	// a crash.
	Rename(from, to string) error
	// Adopt writes head over the front of a file, makes that durable, gives the
	// file another name, makes that durable too, and opens it for writing.
	Adopt(from, to string, head []byte) (File, error)
	// Truncate sets the length of a file.
	Truncate(name string, sizeBytes int64) error
	// Space returns the size of the disk and what may still be allocated, in bytes.
	Space() (total, free uint64, err error)
}

// File is one segment. WriteAt and ReadAt may run at the same time.
type File interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	// Sync makes every WriteAt that returned durable.
	Sync() error
	Close() error
}

// vectorWriter is a File that writes scattered buffers in one go.
type vectorWriter interface {
	WriteVec(bufs [][]byte, off int64) error
}

// evicter is a File that can forget cached pages, so that the next read comes
// from the disk.
type evicter interface {
	Evict(off, n int64) error
}

// OSDisk is a directory of the operating system; it must exist.
type OSDisk struct{ Dir string }

type osFile struct{ *os.File }

func (f osFile) Sync() error {
	return retry(func() error { return unix.Fdatasync(int(f.Fd())) })
}

// retry repeats a call that a signal interrupted before it did anything.
func retry(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

// maxVec is IOV_MAX of Linux.
const maxVec = 1024

// WriteVec implements vectorWriter.
func (f osFile) WriteVec(bufs [][]byte, off int64) error {
	for len(bufs) > 0 {
		n, err := unix.Pwritev(int(f.Fd()), bufs[:min(len(bufs), maxVec)], off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "pwritev", Path: f.Name(), Err: err}
		}
		if n <= 0 {
			return &fs.PathError{Op: "pwritev", Path: f.Name(), Err: io.ErrShortWrite}
		}
		off += int64(n)
		for len(bufs) > 0 && n >= len(bufs[0]) {
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
		if n > 0 {
			bufs = append([][]byte{bufs[0][n:]}, bufs[1:]...)
		}
	}
	return nil
}

// Evict implements evicter.
func (f osFile) Evict(off, n int64) error {
	return unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED)
}

// List implements Disk.
func (d OSDisk) List() ([]string, error) {
	es, err := os.ReadDir(d.Dir)
	names := make([]string, 0, len(es))
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names, err
}

// Create implements Disk.
func (d OSDisk) Create(name string, sizeBytes int64) (File, error) {
	f, err := os.OpenFile(filepath.Join(d.Dir, name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = retry(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, sizeBytes) })
	if errors.Is(err, syscall.EOPNOTSUPP) {
		err = f.Truncate(sizeBytes)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = d.syncDir()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return osFile{f}, nil
}

func (d OSDisk) syncDir() error {
	dir, err := os.Open(d.Dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Open implements Disk.
func (d OSDisk) Open(name string) (File, error) {
	f, err := os.Open(filepath.Join(d.Dir, name))
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename implements Disk.
func (d OSDisk) Rename(from, to string) error {
	return os.Rename(filepath.Join(d.Dir, from), filepath.Join(d.Dir, to))
}

// errShared: a file has another name besides ours, so it is not ours to write over.
var errShared = errors.New("segment: file has several names")

// Adopt implements Disk.
func (d OSDisk) Adopt(from, to string, head []byte) (File, error) {
	f, err := os.OpenFile(filepath.Join(d.Dir, from), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && st.Nlink != 1 {
		err = errShared
	}
	if err == nil {
		_, err = f.WriteAt(head, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = d.Rename(from, to)
	}
	if err == nil {
		err = d.syncDir()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osFile{f}, nil
}

// Stat implements Disk.
func (d OSDisk) Stat(name string) (int64, error) {
	fi, err := os.Stat(filepath.Join(d.Dir, name))
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// Remove implements Disk.
func (d OSDisk) Remove(name string) error { return os.Remove(filepath.Join(d.Dir, name)) }

// Truncate implements Disk.
func (d OSDisk) Truncate(name string, sizeBytes int64) error {
	return os.Truncate(filepath.Join(d.Dir, name), sizeBytes)
}

// Space implements Disk.
func (d OSDisk) Space() (total, free uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.Dir, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: d.Dir, Err: err}
	}
	return st.Blocks * uint64(st.Bsize), st.Bavail * uint64(st.Bsize), nil
}
