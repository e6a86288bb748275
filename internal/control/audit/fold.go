package audit

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// foldTime is how long what one user repeats on one object is one record.
const (
	foldTime   = time.Minute
	foldShards = 16
	maxFolds   = 1 << 12 // in each shard
)

type foldKey struct {
	user identity.AuthID
	node fs.Node
	op   string
	ok   bool
}

// folder remembers what was recorded of late.
type folder struct {
	shards [foldShards]struct {
		mu   sync.Mutex
		seen map[foldKey]int64 // nanoseconds since 1970
	}
}

// first tells whether something is to be recorded, and remembers it.
func (f *folder) first(k foldKey, now time.Time) bool {
	s := &f.shards[shardOf(k.node)%foldShards]
	at := now.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.seen[k]; ok && at-last < int64(foldTime) && at >= last {
		return false
	}
	if s.seen == nil || len(s.seen) >= maxFolds {
		s.seen = map[foldKey]int64{} // a record too many does no harm
	}
	s.seen[k] = at
	return true
}

// repeats remembers records that are on no file: what peers can cause as often
// as they like.
type repeats struct {
	mu   sync.Mutex
	seen map[repeat]int64 // nanoseconds since 1970
}

type repeat struct {
	user                identity.AuthID
	client              netip.Addr
	protocol, op        string
	status, text, text2 string
}

// maxRepeatText is what counts of a text that a peer may have chosen.
const maxRepeatText = 128

func (p *repeats) first(r *Record, now time.Time) bool {
	own := func(s string) string { return strings.Clone(s[:min(len(s), maxRepeatText)]) }
	k := repeat{r.User, r.Client, r.Protocol, r.Operation, r.Status, own(r.Extra), own(r.Extra2)}
	at := now.UnixNano()
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, ok := p.seen[k]; ok && at-last < int64(foldTime) && at >= last {
		return false
	}
	if p.seen == nil || len(p.seen) >= maxFolds {
		p.seen = map[repeat]int64{}
	}
	p.seen[k] = at
	return true
}
