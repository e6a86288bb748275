// Package meta is the metadata engine: typed transactions on inodes, directory
// entries, streams and chunk maps over an ordered key store, with snapshots of
// any directory, exact totals and a change log.
//
// Invariants:
//   - The key space is the one table in keys.go; docs/format/metadata.md
//     describes the values. Every value starts with a format byte; values that
//     snapshots keep also carry their birth epoch next.
//   - A mutation in epoch e overwrites a record of birth b in place unless a
//     live snapshot s with b <= s covers the owner; then the old value first
//     goes to a history key valid for [b, e) and into the death list of s.
//   - What releases extents is queued in the same transaction and carried out
//     later in bounded steps; a hold is queued exactly once, when a run of
//     versions of a chunk that map its extent ends, see PutChunk.
//   - Totals of a directory's tree are the stored record plus the deltas not
//     yet rolled up; every mutation writes its delta in its own transaction.
//
// Lock order: DB.commit, then DB.roll, then the small mutexes of caches.
//
// The package must not know permissions, protocols, or where bytes are stored.
package meta

import "errors"

// Errors, possibly wrapped; test with errors.Is.
var (
	// ErrNotFound: no such record in the live tree or in the snapshot that was asked for.
	ErrNotFound = errors.New("meta: not found")
	// ErrExists: a record is there that must not be.
	ErrExists = errors.New("meta: exists")
	// ErrCorrupt: a stored value cannot be decoded or contradicts another.
	ErrCorrupt = errors.New("meta: corrupt")
	// ErrFormat: the store was written by an incompatible version, or is no file system.
	ErrFormat = errors.New("meta: incompatible format")
	// ErrBusy: the snapshot has owners, is locked, or changed meanwhile.
	ErrBusy = errors.New("meta: busy")
	// ErrTooBig: the work does not fit one transaction; do it in steps.
	ErrTooBig = errors.New("meta: too big for one transaction")
	// ErrFull: 256 names of one directory have the same folded hash.
	ErrFull = errors.New("meta: too many names that differ only by case")
)
