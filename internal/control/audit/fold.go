package audit

import (
	"hash/maphash"
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

// repeated are the operations of which repetitions are one record.
type repeated uint8

const (
	readData repeated = iota
	readMetadata
	readUserMetadata
	readLink
	listDirectory
	statFS
	notifyRequest
	writeMetadata // where it would not show what was changed
)

var repeatedNames = [...]string{
	readData: "fs_read_data", readMetadata: "fs_read_metadata", readUserMetadata: "fs_read_user_metadata", readLink: "fs_read_link",
	listDirectory: "fs_list_directory", statFS: "fs_fsstat", notifyRequest: "smb2_notify_req", writeMetadata: "fs_write_metadata",
}

func (r repeated) String() string { return repeatedNames[r] }

// foldKey is what a repetition repeats.
type foldKey struct {
	user identity.AuthID
	node fs.Node
	op   repeated
	ok   bool
}

// folded is one operation that was recorded: the hash of its key and when that
// was, in nanoseconds since 1970, 0 if there is nothing.
type folded struct {
	hash uint64
	at   int64
}

// A set fills a line of the processor's cache: to look one up is most of what
// a repetition costs.
const (
	foldWays = 4
	foldSets = maxFolds / foldWays
)

// folder remembers what was recorded of late, of each set the last few: a
// record too many does no harm. Two keys of one set and hash would be a record
// too few, which for each record has a chance of 2^-62; nobody can seek such
// keys, since the seed is secret.
type folder struct {
	seed   maphash.Seed
	shards [foldShards]foldShard
}

type foldShard struct {
	mu   sync.Mutex
	seen *[foldSets][foldWays]folded
	_    [48]byte // a line for each
}

func newFolder() folder { return folder{seed: maphash.MakeSeed()} }

// place answers the set that a key belongs to. Neighbours share it: who goes
// through a directory meets files in the order in which they were made, and a
// set that is not in the processor's cache is most of what a key costs.
func (k *foldKey) place() uint64 {
	by := uint64(k.user)<<4 | uint64(k.op)
	if k.ok {
		by = ^by
	}
	return uint64(k.node.ID)/2 + (by^uint64(k.node.Snap)<<32)*0x9e3779b97f4a7c15>>32
}

// first tells whether something is to be recorded, and remembers it. at are
// nanoseconds since 1970.
func (f *folder) first(k foldKey, at int64) bool {
	h := maphash.Comparable(f.seed, k)
	place := k.place()
	s := &f.shards[place%foldShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = new([foldSets][foldWays]folded)
	}
	set := &s.seen[place/foldShards%foldSets]
	oldest := &set[0]
	for i := range set {
		e := &set[i]
		if e.hash == h && e.at != 0 {
			if at-e.at < int64(foldTime) && at >= e.at {
				return false
			}
			oldest = e
			break
		}
		if e.at < oldest.at {
			oldest = e
		}
	}
	*oldest = folded{h, at}
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

func (p *repeats) first(r *Record, at int64) bool {
	own := func(s string) string { return strings.Clone(s[:min(len(s), maxRepeatText)]) }
	k := repeat{r.User, r.Client, r.Protocol, r.Operation, r.Status, own(r.Extra), own(r.Extra2)}
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
