// Package errdisk is a disk in memory for tests of data/segment: it forgets
// unsynced writes on demand and fails as told.
package errdisk

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"

	"manifold/internal/data/segment"
)

// Disk implements segment.Disk.
type Disk struct {
	mu struct {
		sync.Mutex
		files map[string]*file
		f     Faults
		size  int64 // 0: boundless
		other int64
	}
}

// Faults are what goes wrong; the zero value is a good disk.
type Faults struct {
	// Write and Sync and Read are returned by every such call when not nil; a
	// failed Write has written half.
	Write, Sync, Read error
	// Hook is called before every write, sync and read of a file, without
	// locks: it may wait, and an error fails the call.
	Hook func(op Op, name string) error
}

// Op is what a hook is told.
type Op string

// The operations.
const (
	OpWrite Op = "write"
	OpSync  Op = "sync"
	OpRead  Op = "read"
)

type file struct {
	d      *Disk
	name   string
	now    []byte
	synced []byte
	// now and synced differ from lo to hi at most.
	lo, hi int64
}

// write needs mu.
func (f *file) write(p []byte, off int64) int {
	n := copy(f.now[off:], p)
	if f.lo == f.hi {
		f.lo, f.hi = off, off
	}
	f.lo, f.hi = min(f.lo, off), max(f.hi, off+int64(n))
	return n
}

// New returns an empty disk.
func New() *Disk {
	d := &Disk{}
	d.mu.files = map[string]*file{}
	return d
}

// SetFaults replaces the faults.
func (d *Disk) SetFaults(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.f = f
}

// SetSize bounds the disk, of which others take some bytes: files beyond it
// cannot be made.
func (d *Disk) SetSize(sizeBytes, otherBytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.size, d.mu.other = sizeBytes, otherBytes
}

// free needs mu.
func (d *Disk) free() int64 {
	free := d.mu.size - d.mu.other
	for _, f := range d.mu.files {
		free -= int64(len(f.now))
	}
	return max(free, 0)
}

// Crash returns what a power loss now would leave: the synced bytes only.
func (d *Disk) Crash() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clone(func([]byte, []byte) {})
}

// CrashTorn is Crash, but of what was not synced some pages have reached the
// disk by chance.
func (d *Disk) CrashTorn(r *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clone(func(kept, now []byte) {
		for off := 0; off < len(kept); off += pageBytes {
			end := min(off+pageBytes, len(kept))
			if r.IntN(2) == 0 {
				copy(kept[off:end], now[off:end])
			}
		}
	})
}

const pageBytes = 4096

// clone needs mu.
func (d *Disk) clone(leak func(kept, now []byte)) *Disk {
	c := New()
	c.mu.size, c.mu.other = d.mu.size, d.mu.other
	for _, n := range slices.Sorted(maps.Keys(d.mu.files)) {
		f := d.mu.files[n]
		kept := bytes.Clone(f.synced)
		leak(kept, f.now)
		c.mu.files[n] = &file{d: c, name: n, now: kept, synced: bytes.Clone(kept)}
	}
	return c
}

// Flip inverts one bit of a file.
func (d *Disk) Flip(name string, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.mu.files[name]
	f.now[off] ^= 1
	f.synced[off] ^= 1
}

// List implements segment.Disk.
func (d *Disk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for n := range d.mu.files {
		names = append(names, n)
	}
	return names, nil
}

// Create implements segment.Disk.
func (d *Disk) Create(name string, sizeBytes int64) (segment.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.files[name] != nil {
		return nil, fs.ErrExist
	}
	if d.mu.size > 0 && sizeBytes > d.free() {
		return nil, syscall.ENOSPC
	}
	f := &file{d: d, name: name, now: make([]byte, sizeBytes), synced: make([]byte, sizeBytes)}
	d.mu.files[name] = f
	return f, nil
}

// Open implements segment.Disk.
func (d *Disk) Open(name string) (segment.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.mu.files[name]; f != nil {
		return f, nil
	}
	return nil, fs.ErrNotExist
}

// Stat implements segment.Disk.
func (d *Disk) Stat(name string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.mu.files[name]; f != nil {
		return int64(len(f.now)), nil
	}
	return 0, fs.ErrNotExist
}

// Remove implements segment.Disk. It survives a crash at once.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.files[name] == nil {
		return fs.ErrNotExist
	}
	delete(d.mu.files, name)
	return nil
}

// Truncate implements segment.Disk. It survives a crash at once.
func (d *Disk) Truncate(name string, sizeBytes int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.mu.files[name]
	if f == nil {
		return fs.ErrNotExist
	}
	for _, b := range []*[]byte{&f.now, &f.synced} {
		if sizeBytes <= int64(len(*b)) {
			*b = (*b)[:sizeBytes:sizeBytes]
		} else {
			*b = append(*b, make([]byte, sizeBytes-int64(len(*b)))...)
		}
	}
	return nil
}

// Space implements segment.Disk.
func (d *Disk) Space() (total, free uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.size > 0 {
		return uint64(d.mu.size), uint64(d.free()), nil
	}
	return 1 << 50, 1 << 49, nil
}

func (f *file) hook(op Op) error {
	f.d.mu.Lock()
	hook := f.d.mu.f.Hook
	f.d.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(op, f.name)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.hook(OpRead); err != nil {
		return 0, err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.mu.f.Read; err != nil {
		return 0, err
	}
	if off >= int64(len(f.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if err := f.hook(OpWrite); err != nil {
		return 0, err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.mu.f.Write; err != nil {
		return f.write(p[:len(p)/2], off), err
	}
	return f.write(p, off), nil
}

func (f *file) Sync() error {
	if err := f.hook(OpSync); err != nil {
		return err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.mu.f.Sync; err != nil {
		return err
	}
	hi := min(f.hi, int64(len(f.now)))
	if f.lo < hi {
		copy(f.synced[f.lo:hi], f.now[f.lo:hi])
	}
	f.lo, f.hi = 0, 0
	return nil
}

func (f *file) Close() error { return nil }
