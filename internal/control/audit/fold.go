package audit

import (
	"sync"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// foldTime is how long repeated reads of one file by one user are one record.
const (
	foldTime = time.Minute
	maxFolds = 1 << 16
)

type foldKey struct {
	user identity.AuthID
	node fs.Node
	op   string
	ok   bool
}

// folder remembers what was recorded of late.
type folder struct {
	mu   sync.Mutex
	seen map[foldKey]time.Time
}

// first tells whether something is to be recorded, and remembers it.
func (f *folder) first(k foldKey, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at, ok := f.seen[k]; ok && now.Sub(at) < foldTime && now.Sub(at) >= 0 {
		return false
	}
	if f.seen == nil || len(f.seen) >= maxFolds {
		f.seen = map[foldKey]time.Time{} // a record too many does no harm
	}
	f.seen[k] = now
	return true
}
