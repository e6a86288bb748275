// Package errdisk is a disk in memory for tests of data/segment: it forgets
// unsynced writes on demand and fails as told.
package errdisk

import (
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

// file is sparse; absent pages are zeros. A page that is not in dirty may be
// shared with synced and with clones, so it is copied before it is written.
type file struct {
	d      *Disk
	name   string
	size   int64
	now    map[int64]*page
	synced map[int64]*page
	dirty  map[int64]struct{} // pages of now that are not synced
}

const pageBytes = 4096

type page [pageBytes]byte

func newFile(d *Disk, name string, size int64) *file {
	return &file{d: d, name: name, size: size, now: map[int64]*page{}, synced: map[int64]*page{}, dirty: map[int64]struct{}{}}
}

// write needs mu.
func (f *file) write(p []byte, off int64) (n int) {
	p = p[:max(min(int64(len(p)), f.size-off), 0)]
	for n < len(p) {
		i, in := (off+int64(n))/pageBytes, (off+int64(n))%pageBytes
		if _, own := f.dirty[i]; !own {
			c := new(page)
			if old := f.now[i]; old != nil {
				*c = *old
			}
			f.now[i] = c
			f.dirty[i] = struct{}{}
		}
		n += copy(f.now[i][in:], p[n:])
	}
	return n
}

// read needs mu.
func (f *file) read(p []byte, off int64) (n int) {
	p = p[:max(min(int64(len(p)), f.size-off), 0)]
	for n < len(p) {
		i, in := (off+int64(n))/pageBytes, (off+int64(n))%pageBytes
		if src := f.now[i]; src != nil {
			n += copy(p[n:], src[in:])
		} else {
			m := min(len(p)-n, int(pageBytes-in))
			clear(p[n : n+m])
			n += m
		}
	}
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
		free -= f.size
	}
	return max(free, 0)
}

// Crash returns what a power loss now would leave: the synced bytes only.
func (d *Disk) Crash() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clone(func() bool { return false })
}

// CrashTorn is Crash, but of what was not synced some pages have reached the
// disk by chance.
func (d *Disk) CrashTorn(r *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clone(func() bool { return r.IntN(2) == 0 })
}

// clone needs mu. Dirty pages are kept as luck has it.
func (d *Disk) clone(luck func() bool) *Disk {
	c := New()
	c.mu.size, c.mu.other = d.mu.size, d.mu.other
	for _, n := range slices.Sorted(maps.Keys(d.mu.files)) {
		f := d.mu.files[n]
		k := newFile(c, n, f.size)
		k.synced = maps.Clone(f.synced)
		for _, i := range slices.Sorted(maps.Keys(f.dirty)) {
			if luck() {
				kept := *f.now[i]
				k.synced[i] = &kept
			}
		}
		k.now = maps.Clone(k.synced)
		c.mu.files[n] = k
	}
	return c
}

// Flip inverts one bit of a file.
func (d *Disk) Flip(name string, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.mu.files[name]
	i := off / pageBytes
	for _, pages := range []map[int64]*page{f.now, f.synced} {
		c := new(page)
		if old := pages[i]; old != nil {
			*c = *old
		}
		c[off%pageBytes] ^= 1
		pages[i] = c
	}
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
	f := newFile(d, name, sizeBytes)
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
		return f.size, nil
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

// Rename implements segment.Disk. It survives a crash at once.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.rename(from, to)
	return err
}

// rename needs mu.
func (d *Disk) rename(from, to string) (*file, error) {
	f := d.mu.files[from]
	switch {
	case f == nil:
		return nil, fs.ErrNotExist
	case d.mu.files[to] != nil:
		return nil, fs.ErrExist
	}
	delete(d.mu.files, from)
	d.mu.files[to] = f
	f.name = to
	return f, nil
}

// Adopt implements segment.Disk.
func (d *Disk) Adopt(from, to string, head []byte) (segment.File, error) {
	f, err := d.Open(from)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(head, 0); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rename(from, to)
}

// Truncate implements segment.Disk. It survives a crash at once.
func (d *Disk) Truncate(name string, sizeBytes int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.mu.files[name]
	if f == nil {
		return fs.ErrNotExist
	}
	for i := range f.now {
		if i*pageBytes >= sizeBytes {
			delete(f.now, i)
			delete(f.dirty, i)
		}
	}
	for i := range f.synced {
		if i*pageBytes >= sizeBytes {
			delete(f.synced, i)
		}
	}
	f.size = sizeBytes
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
	n := f.read(p, off)
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
	for i := range f.dirty {
		f.synced[i] = f.now[i]
	}
	clear(f.dirty)
	return nil
}

func (f *file) Close() error { return nil }
