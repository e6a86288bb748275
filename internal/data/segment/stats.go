package segment

import "sync/atomic"

// Stats are counters since Open and the state now, for metrics.
type Stats struct {
	AppendedExtents, AppendedBytes uint64
	// Syncs of the disk; one may serve many calls of Sync.
	Syncs uint64
	// Reads are calls of ReadAt.
	Reads, ReadBytes uint64
	// Hits and Misses of the cache of blocks that were wanted in part.
	Hits, Misses uint64
	// Corrupt blocks met by reads.
	Corrupt uint64
	// Reused files of removed segments, and those that wait to be.
	Reused   uint64
	Spares   int
	Segments int
	// Bytes of all segments on the disk.
	Bytes int64
	// Open files of segments.
	Open int
	// Failed is why the store takes no more writes; nil if it does.
	Failed error
}

type counters struct {
	appended, appendedBytes, syncs, reads, readBytes, hits, misses, corrupt, reused atomic.Uint64
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	c := &s.count
	st := Stats{
		AppendedExtents: c.appended.Load(), AppendedBytes: c.appendedBytes.Load(), Syncs: c.syncs.Load(),
		Reads: c.reads.Load(), ReadBytes: c.readBytes.Load(), Hits: c.hits.Load(), Misses: c.misses.Load(),
		Corrupt: c.corrupt.Load(), Reused: c.reused.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Segments, st.Spares, st.Failed = len(s.mu.segs), len(s.mu.spares), s.mu.failed
	for _, sg := range s.mu.segs {
		st.Bytes += sg.bytes
		if sg.file != nil {
			st.Open++
		}
	}
	return st
}
