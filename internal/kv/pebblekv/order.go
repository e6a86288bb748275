package pebblekv

import (
	"errors"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// orderFS syncs the directory before a marker file is made and before one is
// removed. Pebble writes and syncs a new manifest, makes the marker that names
// it, removes the old marker, and only then syncs the directory. A file system
// that does not keep the order of these could keep the new marker without the
// manifest, or lose both markers, and the store would not open or look new.
type orderFS struct{ vfs.FS }

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
	return o.FS.Create(name, c)
}

func (o orderFS) Remove(name string) error {
	if err := o.ordered(name); err != nil {
		return err
	}
	return o.FS.Remove(name)
}

// Unwrap implements vfs.FS.
func (o orderFS) Unwrap() vfs.FS { return o.FS }
