package pebblekv

import (
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// aheadFile writes zeros ahead of the end of a log, a piece at a time: syncing
// bytes that overwrite others costs a write and a flush of the disk; syncing
// bytes that make a file longer costs a commit of the file system's journal
// besides, half as much again. So one sync in a piece pays it, and a log is no
// longer than what was written to it and one piece. The file of an old log that
// is used again needs nothing.
//
// As any vfs.File it is written by one goroutine at a time.
type aheadFile struct {
	vfs.File
	log    *slog.Logger
	piece  int64
	end    int64 // of what was written, bytes
	filled int64 // bytes that exist, zeros and the rest of an old log included
}

func (f *aheadFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.end += int64(n)
	if err == nil && f.end > f.filled && f.piece > 0 {
		f.fill()
	}
	return n, err
}

// fill writes a piece of zeros after the block of the end, which does not move where
// the log goes on. There may be no room for it: then the log grows as it is written.
func (f *aheadFile) fill() {
	zeros := make([]byte, min(f.piece, 256<<10))
	f.filled = wholeBlocks(f.end)
	for to := wholeBlocks(f.end + f.piece); f.filled < to; {
		n, err := f.File.WriteAt(zeros[:min(int64(len(zeros)), to-f.filled)], f.filled)
		f.filled += int64(n)
		if err != nil {
			f.log.Warn("a log of the key store was not filled beforehand", "err", err)
			f.piece = 0
			return
		}
	}
}
