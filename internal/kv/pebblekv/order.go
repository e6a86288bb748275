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
// It also writes zeros into a new log, logBytes of them: syncing bytes that
// overwrite others costs a write and a flush of the disk; syncing bytes that
// make a file longer costs a commit of the file system's journal besides, half
// as much again. Pebble goes on with old logs when it has some.
type orderFS struct {
	vfs.FS
	logBytes int64
	log      *slog.Logger
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
	f, err := o.create(name, c)
	if err == nil && o.direct != nil && strings.HasSuffix(name, ".log") {
		f = o.direct(f)
	}
	return f, err
}

func (o orderFS) create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := o.ordered(name); err != nil {
		return nil, err
	}
	f, err := o.FS.Create(name, c)
	if err != nil || o.logBytes == 0 || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	if err := o.zero(f); err != nil {
		// There may be no room: what has been taken of it is given back, and the
		// log grows as it is written.
		o.log.Warn("a log of the key store was not filled beforehand", "err", err)
		if err := f.Close(); err != nil {
			return nil, err
		}
		return o.FS.Create(name, c)
	}
	if err := f.SyncData(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// zero writes logBytes of zeros, which does not move where the log begins.
func (o orderFS) zero(f vfs.File) error {
	zeros := make([]byte, min(o.logBytes, 1<<20))
	for at := int64(0); at < o.logBytes; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), o.logBytes-at)], at); err != nil {
			return err
		}
	}
	return nil
}

func (o orderFS) Remove(name string) error {
	if err := o.ordered(name); err != nil {
		return err
	}
	return o.FS.Remove(name)
}

// Unwrap implements vfs.FS.
func (o orderFS) Unwrap() vfs.FS { return o.FS }
