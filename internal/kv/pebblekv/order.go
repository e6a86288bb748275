package pebblekv

import (
	"errors"
	"log/slog"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// orderFS syncs the directory before a marker file is made and before one is
// removed. Pebble writes and syncs a new manifest, makes the marker that names
// it, removes the old marker, and only then syncs the directory. A file system
// that does not keep the order of these could keep the new marker without the
// manifest, or lose both markers, and the store would not open or look new.
//
// And it makes the logs what logFile and aheadFile say.
type orderFS struct {
	vfs.FS
	ahead int64 // of logs, bytes; 0: none
	log   *slog.Logger
	// direct makes a logFile of a log; nil: FS is not the operating system's.
	direct func(vfs.File) vfs.File
}

// ordered syncs the directory of a marker.
func (o orderFS) ordered(name string) error {
	if !strings.HasPrefix(o.PathBase(name), "marker.") {
		return nil
	}
	d, err := o.OpenDir(o.PathDir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (o orderFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := o.ordered(name); err != nil {
		return nil, err
	}
	f, err := o.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	return o.asLog(name, f, 0), nil
}

// ReuseForWrite implements vfs.FS.
func (o orderFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := o.FS.ReuseForWrite(oldname, newname, c)
	if err != nil {
		return nil, err
	}
	s, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return o.asLog(newname, f, s.Size()), nil
}

// asLog is f, of which size bytes exist, as a log if name is that of one.
func (o orderFS) asLog(name string, f vfs.File, size int64) vfs.File {
	if !strings.HasSuffix(name, ".log") {
		return f
	}
	if o.direct != nil {
		f = o.direct(f)
	}
	if o.ahead > 0 {
		f = &aheadFile{File: f, log: o.log, piece: o.ahead, filled: size}
	}
	return f
}

func (o orderFS) Remove(name string) error {
	if err := o.ordered(name); err != nil {
		return err
	}
	return o.FS.Remove(name)
}

// Unwrap implements vfs.FS.
func (o orderFS) Unwrap() vfs.FS { return o.FS }
