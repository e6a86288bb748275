// Package analytics measures what clients do to the file system and what it
// takes, so that an administrator can see who does what, and since when.
//
// Invariants: everything told was measured: nothing is made up for a time in
// which nobody looked. What is kept in memory is bounded, whatever clients do.
// Counting an operation takes no lock that all share and starts no goroutine.
//
// The package must not know protocols or how files are stored.
package analytics

import (
	"cmp"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"manifold/internal/control"
	"manifold/internal/fs"
)

// Options shape a Recorder; the zero value works.
type Options struct {
	Now func() time.Time // nil is the system's clock
	// Reclaimed answers how many bytes of data went with deleted trees and
	// snapshots since the start; nil where nobody counts them.
	Reclaimed func() (trees, snapshots uint64)
}

// Recorder counts operations.
type Recorder struct {
	now    func() time.Time
	freed  func() (trees, snapshots uint64)
	seed   maphash.Seed
	shards [shards]shard

	mu struct {
		sync.Mutex
		// Times at which the last windows began.
		last, current time.Time
		// Totals when the current window began.
		before [kinds]uint64
		freed  [2]uint64 // the same of what was reclaimed
		points []point   // a ring
		first  int       // of the ring
	}
}

const (
	// window is the time over which activity is averaged, and between points
	// of a series.
	window = 5 * time.Second
	// maxPoints is a day.
	maxPoints = int(24 * time.Hour / window)
	shards    = 16
	// maxKeys of a shard and window. What does little makes room.
	maxKeys = 256
)

// kind of what is counted.
type kind uint8

const (
	fileRead kind = iota
	fileWrite
	metaRead
	metaWrite
	bytesRead
	bytesWritten
	kinds
)

var kindNames = [kinds]control.ActivityType{
	control.FileReads, control.FileWrites, control.MetadataReads, control.MetadataWrites, control.BytesRead, control.BytesWritten,
}

// key is who does something to what.
type key struct {
	file   fs.FileID
	client netip.Addr
}

type counts [kinds]uint64

func (c *counts) ops() uint64 {
	return c[fileRead] + c[fileWrite] + c[metaRead] + c[metaWrite]
}

type shard struct {
	mu            sync.Mutex
	last, current map[key]*counts
	total         counts   // since the start
	_             [64]byte // so that shards do not share a cache line
}

// point of all series: rates over the window that ended then.
type point struct {
	at    int64 // seconds since 1970
	rates [6]float64
}

// New makes a Recorder; [Recorder.Run] makes it tell rates.
func New(o Options) *Recorder {
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Recorder{now: o.Now, freed: o.Reclaimed, seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].last, r.shards[i].current = map[key]*counts{}, map[key]*counts{}
	}
	t := r.now()
	r.mu.last, r.mu.current = t, t
	if r.freed != nil {
		r.mu.freed[0], r.mu.freed[1] = r.freed()
	}
	return r
}

// add counts one operation and the bytes that it moved.
func (r *Recorder) add(c *fs.Caller, n fs.Node, k kind, bytes int) {
	if c == nil || c.Protocol == fs.ProtoInternal || c.Protocol == fs.ProtoReplication {
		return // nobody's
	}
	moved := kinds
	switch k {
	case fileRead:
		moved = bytesRead
	case fileWrite:
		moved = bytesWritten
	}
	client := c.Client.Addr().Unmap()
	if client.Is6() {
		client = client.WithZone("")
	}
	who := key{n.ID, client}
	s := &r.shards[maphash.Comparable(r.seed, who)%shards]
	s.mu.Lock()
	x := s.current[who]
	if x == nil {
		if len(s.current) >= maxKeys {
			prune(s.current)
		}
		x = &counts{}
		s.current[who] = x
	}
	x[k]++
	s.total[k]++
	if moved < kinds {
		x[moved] += uint64(bytes)
		s.total[moved] += uint64(bytes)
	}
	s.mu.Unlock()
}

// prune drops the half that does less: what does much stays in sight.
func prune(m map[key]*counts) {
	all := make([]uint64, 0, len(m))
	for _, c := range m {
		all = append(all, c.ops())
	}
	slices.Sort(all)
	median, drop := all[len(all)/2], len(all)/2
	for k, c := range m {
		if c.ops() <= median && drop > 0 {
			delete(m, k)
			drop--
		}
	}
}

// turn ends the current window.
func (r *Recorder) turn() {
	t := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	took := t.Sub(r.mu.current).Seconds()
	if took <= 0 {
		return // the clock was set back
	}
	var now, delta [kinds]uint64
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for k, n := range s.total {
			now[k] += n
		}
		s.mu.Unlock()
	}
	for k := range now {
		delta[k] = now[k] - r.mu.before[k]
	}
	var freed [2]uint64
	if r.freed != nil {
		freed[0], freed[1] = r.freed()
	}
	p := point{t.Unix(), [6]float64{
		float64(delta[fileRead]+delta[metaRead]) / took, float64(delta[fileWrite]+delta[metaWrite]) / took,
		float64(delta[bytesRead]) / took, float64(delta[bytesWritten]) / took,
		float64(freed[0]-r.mu.freed[0]) / took, float64(freed[1]-r.mu.freed[1]) / took,
	}}
	if len(r.mu.points) < maxPoints {
		r.mu.points = append(r.mu.points, p)
	} else {
		r.mu.points[r.mu.first] = p
		r.mu.first = (r.mu.first + 1) % maxPoints
	}
	r.mu.before, r.mu.freed = now, freed
	r.mu.last, r.mu.current = r.mu.current, t
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		s.last, s.current = s.current, map[key]*counts{}
		s.mu.Unlock()
	}
}

// maxActivity is how much is told of each type.
const maxActivity = 1000

// Activity implements control.Analytics.
func (r *Recorder) Activity(only control.ActivityType) []control.Activity {
	r.mu.Lock()
	defer r.mu.Unlock()
	took := r.now().Sub(r.mu.last).Seconds()
	if took <= 0 {
		return nil
	}
	sums := map[key]counts{}
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for _, m := range []map[key]*counts{s.last, s.current} {
			for k, c := range m {
				sum := sums[k]
				for i := range sum {
					sum[i] += c[i]
				}
				sums[k] = sum
			}
		}
		s.mu.Unlock()
	}
	var out []control.Activity
	for k, name := range kindNames {
		if only != "" && name != only {
			continue
		}
		var of []control.Activity
		for who, c := range sums {
			if c[k] > 0 {
				of = append(of, control.Activity{File: who.file, Client: who.client, Rate: float64(c[k]) / took, Type: name})
			}
		}
		slices.SortFunc(of, func(a, b control.Activity) int {
			return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.File, b.File), a.Client.Compare(b.Client))
		})
		out = append(out, of[:min(len(of), maxActivity)]...)
	}
	return out
}

// seriesIDs in the order of a point's rates.
var seriesIDs = [6]string{"iops.read.rate", "iops.write.rate", "throughput.read.rate", "throughput.write.rate", "reclaim.deferred.rate", "reclaim.snapshot.rate"}

// Series implements control.Analytics.
func (r *Recorder) Series(begin int64) []control.Series {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := seriesIDs[:]
	if r.freed == nil {
		ids = ids[:4]
	}
	out := make([]control.Series, len(ids))
	for i, id := range ids {
		out[i].ID = id
	}
	for i := range r.mu.points {
		p := &r.mu.points[(r.mu.first+i)%len(r.mu.points)]
		if p.at < begin {
			continue
		}
		for i := range out {
			out[i].Times = append(out[i].Times, p.at)
			out[i].Values = append(out[i].Values, p.rates[i])
		}
	}
	return out
}
