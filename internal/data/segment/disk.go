package segment

import (
	"errors"
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

// OSDisk is a directory of the operating system; it must exist.
type OSDisk struct{ Dir string }

type osFile struct{ *os.File }

func (f osFile) Sync() error { return unix.Fdatasync(int(f.Fd())) }

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
	err = unix.Fallocate(int(f.Fd()), 0, 0, sizeBytes)
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
		return nil, errors.Join(err, f.Close())
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

// Space implements Disk.
func (d OSDisk) Space() (total, free uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.Dir, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: d.Dir, Err: err}
	}
	return st.Blocks * uint64(st.Bsize), st.Bavail * uint64(st.Bsize), nil
}
