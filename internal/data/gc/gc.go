// Package gc gives the space of dead extents back: it drains the queue of
// extents to free, removes segments in which nothing lives, empties those in
// which little does, and packs inline extents that have lasted into segments.
//
// Invariants:
//   - A segment is removed only when a transaction saw its index empty and
//     condemned it, that commit is durable, and the grace has passed or the
//     engine says so, so that no View that could name its extents is left and
//     no transaction either.
//   - An extent is moved by copy, sync and compare-and-swap of its location.
//   - Live bytes are counted from the index in the background, a page a step,
//     and only guide: what is removed is checked in the transaction.
//   - Every step is bounded and may be cut off by a crash anywhere.
//
// The package must not know what extents are for.
package gc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"manifold/internal/data"
	"manifold/internal/kv"
)

// Bounds of one step, well inside kv.DefaultLimits.
const (
	freeBatch = 48 // four writes each
	pageRows  = 4096
	moveBatch = 32 // three writes each
	packBatch = 64 // three writes each
	packPage  = 512
	moveBytes = 16 << 20
	tailBytes = 1 << 20 // a longer dead tail is trimmed
)

// Options shape a Collector. The zero value works.
type Options struct {
	// Grace is how long a condemned segment is kept for Views that may still
	// name it; 0: the engine's MaxSnapshotAge. At least its MaxTxnAge. An engine
	// that is a [kv.Horizon] shortens it to little more than a transaction may take.
	Grace time.Duration
	// Settle is how long after its last append a segment is left alone, so that
	// commits on their way are not refused; default 10 s.
	Settle time.Duration
	// MinLive is the part of a segment that must live, or what does is moved
	// away; default 0.5, negative never.
	MinLive float64
	// Calm is how long nothing must have died in a sparse segment before what
	// lives is moved away, since the rest may be about to die too; while space is
	// short it is not waited for. Default 1 min, negative none.
	Calm time.Duration
	// LowBytes: while less is free, the store is short of space. Then grace and
	// settle shrink to little more than a transaction may take, so that Views
	// meet data.ErrMoved, and fuller segments are emptied; default 1 GiB.
	LowBytes uint64
	// PackAge is how long an extent lies inline before it is packed into a
	// segment; default 1 h, negative never.
	PackAge time.Duration
	// PackMin is the smallest payload that is packed: below it a record and an
	// index row weigh more than is won; default 1 KiB.
	PackMin uint32
	// Interval is how often Run looks around without being told; default 30 s.
	Interval time.Duration
	// Delay lets freed extents gather after the first; default 50 ms.
	Delay time.Duration
	// MoveRate bounds moving in Run, in bytes a second; default 64 MiB, negative none.
	MoveRate int64
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Logger; nil: discard.
	Logger *slog.Logger
}

// Stats are counters since the start.
type Stats struct {
	FreedExtents, FreedBytes   uint64
	MovedExtents, MovedBytes   uint64
	PackedExtents, PackedBytes uint64
	RemovedSegments            uint64
	// Stuck segments cannot be emptied since something in them is corrupt.
	Stuck int
	// Waiting segments are condemned and in their grace.
	Waiting int
	// Low: the store is short of space.
	Low bool
}

// Collector is the garbage collector of one store.
type Collector struct {
	eng   kv.Engine
	store data.Segmented
	o     Options

	step sync.Mutex // a step at a time; guards all below but stats

	loaded    bool
	low       bool
	condemned map[uint64]sentence
	segs      map[uint64]*state
	queue     []uint64 // segments to look at
	listed    time.Time
	settles   time.Time     // when the next segment has settled; zero if none waits
	after     data.ExtentID // how far the queue of extents was read
	bad       map[data.ExtentID]bool
	ages      []age
	packed    data.ExtentID // those up to it were looked at

	stats struct {
		sync.Mutex
		Stats
	}
}

// sentence is when a segment was condemned; zero by an earlier process.
type sentence struct {
	at  time.Time
	rev kv.Rev
}

// state is what is known of one segment.
type state struct {
	queued  bool
	sealed  time.Time // first seen closed
	scanned bool
	cursor  uint64 // index rows before it are counted in live
	live    int64
	end     uint64 // behind the last extent
	freed   uint64 // behind the last that was freed here: a View may name it yet
	stuck   bool
	moving  bool
	died    time.Time // when something was freed here last
}

// New returns a Collector of the store. It does nothing until Run or Step.
func New(eng kv.Engine, store data.Segmented, o Options) (*Collector, error) {
	lim := eng.Limits()
	if o.Grace == 0 {
		o.Grace = lim.MaxSnapshotAge
	}
	if o.Grace < lim.MaxTxnAge {
		return nil, fmt.Errorf("gc: grace %v is shorter than a transaction may take, %v", o.Grace, lim.MaxTxnAge)
	}
	if o.Settle == 0 {
		o.Settle = 10 * time.Second
	}
	if o.MinLive == 0 {
		o.MinLive = 0.5
	}
	if o.Calm == 0 {
		o.Calm = time.Minute
	}
	if o.LowBytes == 0 {
		o.LowBytes = 1 << 30
	}
	if o.PackAge == 0 {
		o.PackAge = time.Hour
	}
	if o.PackMin == 0 {
		o.PackMin = 1 << 10
	}
	if o.Interval == 0 {
		o.Interval = 30 * time.Second
	}
	if o.Delay == 0 {
		o.Delay = 50 * time.Millisecond
	}
	if o.MoveRate == 0 {
		o.MoveRate = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Collector{
		eng: eng, store: store, o: o,
		condemned: map[uint64]sentence{}, segs: map[uint64]*state{}, bad: map[data.ExtentID]bool{},
	}, nil
}

// Stats returns the counters.
func (c *Collector) Stats() Stats {
	c.stats.Lock()
	defer c.stats.Unlock()
	return c.stats.Stats
}

func (c *Collector) count(fn func(*Stats)) {
	c.stats.Lock()
	defer c.stats.Unlock()
	fn(&c.stats.Stats)
}

// Step does a bounded piece of every kind of work and tells whether there is
// more to do now. After an error it may be called again.
func (c *Collector) Step(ctx context.Context) (more bool, err error) {
	c.step.Lock()
	defer c.step.Unlock()
	if err := c.load(ctx); err != nil {
		return false, err
	}
	errs := []error{c.store.Reclaim(ctx), c.measure(ctx), c.remove(ctx)}
	moreQueue, err := c.drain(ctx)
	errs = append(errs, err)
	c.list()
	moreSegments, err := c.look(ctx)
	errs = append(errs, err)
	morePack, err := c.pack(ctx)
	errs = append(errs, err)
	c.count(func(s *Stats) { s.Waiting = len(c.condemned) })
	return moreQueue || moreSegments || morePack, errors.Join(errs...)
}

// measure learns whether space is short.
func (c *Collector) measure(ctx context.Context) error {
	sp, err := c.store.Space(ctx)
	if err != nil {
		return err
	}
	if low := sp.Free < c.o.LowBytes; low != c.low {
		c.low = low
		c.listed = time.Time{} // judge all segments anew
		c.count(func(s *Stats) { s.Low = low })
		c.o.Logger.Info("space for data", "short", low, "free", sp.Free)
	}
	return nil
}

// hurried is a wait, cut short while space is.
func (c *Collector) hurried(d time.Duration) time.Duration {
	if c.low {
		return min(d, c.shortest())
	}
	return d
}

// shortest is a grace that outlasts all transactions, though not all Views.
func (c *Collector) shortest() time.Duration { return c.eng.Limits().MaxTxnAge + time.Second }

// over tells whether nobody can name a segment any more.
func (c *Collector) over(s sentence) bool {
	age := c.o.Now().Sub(s.at)
	if age >= c.hurried(c.o.Grace) {
		return true
	}
	h, ok := c.eng.(kv.Horizon)
	return ok && age >= c.shortest() && h.Past(s.rev)
}

// load learns which segments an earlier process has condemned. No View or
// transaction of it is left, so they may go at once.
func (c *Collector) load(ctx context.Context) error {
	if c.loaded {
		return nil
	}
	var nums []uint64
	err := c.eng.View(ctx, kv.Linearizable, func(r kv.Reader) (err error) {
		nums, err = data.Condemned(ctx, r)
		return err
	})
	if err != nil {
		return err
	}
	for _, num := range nums {
		c.store.Condemn(num)
		c.condemned[num] = sentence{}
	}
	c.loaded = true
	return nil
}

// remove removes the condemned segments whose grace is over.
func (c *Collector) remove(ctx context.Context) error {
	var gone []uint64
	var errs []error
	for num, s := range c.condemned {
		if !c.over(s) {
			continue
		}
		if err := c.store.Remove(num); err != nil {
			errs = append(errs, err)
			continue
		}
		if gone = append(gone, num); len(gone) == freeBatch {
			break
		}
	}
	if len(gone) == 0 {
		return errors.Join(errs...)
	}
	_, err := c.eng.Update(ctx, func(tx kv.Txn) error {
		for _, num := range gone {
			data.Removed(tx, num)
		}
		return nil
	})
	if err != nil {
		return errors.Join(append(errs, err)...) // removing again is harmless
	}
	for _, num := range gone {
		delete(c.condemned, num)
		delete(c.segs, num)
		c.o.Logger.Debug("removed a segment in which nothing lived", "segment", num)
	}
	c.count(func(s *Stats) { s.RemovedSegments += uint64(len(gone)) })
	return errors.Join(errs...)
}

// drain frees a batch of queued extents.
func (c *Collector) drain(ctx context.Context) (more bool, err error) {
	var ids []data.ExtentID
	err = c.eng.View(ctx, kv.Linearizable, func(r kv.Reader) (err error) {
		ids, err = data.Queued(ctx, r, c.after, freeBatch)
		return err
	})
	if err != nil || len(ids) == 0 {
		c.after = 0
		return false, err
	}
	var freed []data.Record
	var bad map[data.ExtentID]error
	_, err = c.eng.Update(ctx, func(tx kv.Txn) error {
		freed, bad = freed[:0], map[data.ExtentID]error{}
		for _, id := range ids {
			rec, ok, err := data.Free(ctx, tx, id)
			switch {
			case errors.Is(err, data.ErrCorrupt), errors.Is(err, data.ErrFormat):
				bad[id] = err
			case err != nil:
				return err
			case ok:
				freed = append(freed, rec)
			}
		}
		return nil
	})
	if err != nil {
		for _, rec := range freed { // perhaps they are freed all the same
			c.rescan(rec.Segment)
		}
		return false, fmt.Errorf("gc: free extents: %w", err)
	}
	for id, err := range bad {
		if !c.bad[id] {
			c.bad[id] = true
			c.o.Logger.Error("an extent cannot be freed, since its record does not decode", "extent", uint64(id), "err", err)
		}
	}
	bytes := uint64(0)
	for _, rec := range freed {
		bytes += uint64(rec.StoredBytes())
		if !rec.IsInline && rec.Segment != 0 {
			c.died(rec)
			c.store.Forget(rec)
		}
	}
	c.count(func(s *Stats) { s.FreedExtents += uint64(len(freed)); s.FreedBytes += bytes })
	c.after = ids[len(ids)-1]
	if len(ids) < freeBatch {
		c.after = 0
		return false, nil
	}
	return true, nil
}

func (c *Collector) state(num uint64) *state {
	st := c.segs[num]
	if st == nil {
		st = &state{}
		c.segs[num] = st
	}
	return st
}

func (c *Collector) died(rec data.Record) {
	st := c.state(rec.Segment)
	st.died = c.o.Now()
	st.freed = max(st.freed, rec.Offset+uint64(rec.StoredBytes()))
	if st.scanned || rec.Offset < st.cursor {
		st.live -= rec.StoredBytes()
	}
	c.enqueue(rec.Segment, st)
}

// rescan forgets what was counted.
func (c *Collector) rescan(num uint64) {
	if st := c.segs[num]; st != nil {
		st.scanned, st.cursor, st.live, st.end, st.moving = false, 0, 0, 0, false
		c.enqueue(num, st)
	}
}

func (c *Collector) enqueue(num uint64, st *state) {
	if _, dying := c.condemned[num]; !dying && !st.queued && !st.stuck {
		st.queued = true
		c.queue = append(c.queue, num)
	}
}

// list queues the segments that must be looked at because of their age alone.
func (c *Collector) list() {
	now := c.o.Now()
	settled := !c.settles.IsZero() && !now.Before(c.settles)
	if !c.listed.IsZero() && now.Sub(c.listed) < c.hurried(c.o.Interval) && !settled {
		return
	}
	c.listed, c.settles = now, time.Time{}
	var sparse []data.SegmentInfo
	for _, info := range c.store.Segments() {
		st := c.state(info.Num)
		switch v := c.wants(info, st); {
		case v == empty:
			sparse = append(sparse, info)
		case v == condemn || !st.scanned || st.moving:
			c.enqueue(info.Num, st)
		}
	}
	// What gives most for the least copying comes first.
	slices.SortFunc(sparse, func(a, b data.SegmentInfo) int {
		return cmp.Compare(c.segs[a.Num].fill(a), c.segs[b.Num].fill(b))
	})
	for _, info := range sparse {
		c.enqueue(info.Num, c.segs[info.Num])
	}
}

// due is how long Run may sleep.
func (c *Collector) due() time.Duration {
	c.step.Lock()
	defer c.step.Unlock()
	d := c.hurried(c.o.Interval)
	now := c.o.Now()
	grace := c.hurried(c.o.Grace)
	if _, ok := c.eng.(kv.Horizon); ok {
		grace = min(grace, c.shortest())
	}
	for _, s := range c.condemned {
		d = min(d, max(s.at.Add(grace).Sub(now), time.Second))
	}
	if !c.settles.IsZero() {
		d = min(d, max(c.settles.Sub(now), 0))
	}
	return max(d, c.o.Delay)
}
