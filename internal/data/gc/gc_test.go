package gc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"manifold/internal/data"
	"manifold/internal/data/datatest"
	"manifold/internal/data/errdisk"
	"manifold/internal/data/gc"
	"manifold/internal/data/segment"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
)

const stream = 10

// world is an engine, a store, and a collector on a fake clock.
type world struct {
	t     testing.TB
	disk  *errdisk.Disk
	eng   kv.Engine
	store *segment.Store
	gc    *gc.Collector
	next  data.ExtentID

	mu  sync.Mutex
	now time.Time
}

// plenty is the option that makes no test store short of space.
const plenty = 1

// packAge is short enough for the model, and longer than the grace.
const packAge = 4 * time.Minute

func newWorld(t testing.TB) *world { return newWorldOn(t, memkv.New()) }

func newWorldOn(t testing.TB, eng kv.Engine) *world {
	w := &world{t: t, disk: errdisk.New(), eng: eng, now: time.Unix(1e9, 0)}
	w.start()
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) start() {
	w.t.Helper()
	var err error
	w.store, err = segment.Open(w.disk, segment.Options{SegmentBytes: 5 << 20, ReserveBytes: -1})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.gc, err = gc.New(w.eng, w.store, gc.Options{Now: w.clock, LowBytes: plenty, PackAge: packAge}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.store.Close() })
}

// crash goes on with what a power loss leaves.
func (w *world) crash() {
	w.disk, w.eng = w.disk.Crash(), w.eng.(*memkv.Engine).Crash()
	w.start()
}

func body(id data.ExtentID, n int) []byte { return datatest.Payload(uint64(id), n) }

func (w *world) append(n int) data.Record {
	w.t.Helper()
	w.next++
	rec, err := w.store.Append(w.t.Context(), w.next, [][]byte{body(w.next, n)})
	if err == nil {
		err = w.store.Sync(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

func (w *world) install(rec data.Record) error {
	_, err := w.eng.Update(w.t.Context(), func(tx kv.Txn) error { return data.PutExtent(tx, stream, rec) })
	return err
}

func (w *world) put(n int) data.ExtentID {
	w.t.Helper()
	if n <= w.store.InlineMax() {
		w.next++
		if _, err := w.eng.Update(w.t.Context(), func(tx kv.Txn) error {
			return data.PutInline(tx, w.next, stream, [][]byte{body(w.next, n)})
		}); err != nil {
			w.t.Fatal(err)
		}
		return w.next
	}
	rec := w.append(n)
	if err := w.install(rec); err != nil {
		w.t.Fatal(err)
	}
	return rec.ID
}

func (w *world) drop(id data.ExtentID) {
	w.t.Helper()
	_, err := w.eng.Update(w.t.Context(), func(tx kv.Txn) error { return data.DropRef(w.t.Context(), tx, id, stream) })
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) lookup(ctx context.Context, id data.ExtentID) (rec data.Record, err error) {
	err = w.eng.View(ctx, kv.Linearizable, func(r kv.Reader) error {
		recs, err := data.GetExtents(ctx, r, []data.ExtentID{id})
		if err == nil {
			rec = recs[0]
		}
		return err
	})
	return rec, err
}

// check fails unless the extent reads back.
func (w *world) check(id data.ExtentID) {
	w.t.Helper()
	rec, err := w.lookup(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	got := make([]byte, rec.Length)
	if err := w.store.ReadAt(w.t.Context(), rec, 0, got); err != nil {
		w.t.Fatal(err)
	}
	if !bytes.Equal(got, body(id, len(got))) {
		w.t.Fatalf("extent %d: wrong bytes", id)
	}
}

// settle steps until all graces are over and nothing is left to do.
func (w *world) settle() {
	w.t.Helper()
	for range 6 {
		w.advance(2 * time.Minute)
		w.stepAll()
	}
}

func (w *world) stepAll() {
	w.t.Helper()
	for i := 0; ; i++ {
		more, err := w.gc.Step(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if !more {
			return
		}
		if i > 10000 {
			w.t.Fatal("the collector never ends")
		}
	}
}

func (w *world) bytes() (total int64, count int) {
	for _, i := range w.store.Segments() {
		total += i.Bytes
		count++
	}
	return total, count
}

func TestDeadSegmentsGoAfterTheGrace(t *testing.T) {
	w := newWorld(t)
	var ids []data.ExtentID
	for range 12 {
		ids = append(ids, w.put(2<<20)) // two a segment
	}
	for _, id := range ids[:8] {
		w.drop(id)
	}
	w.advance(time.Second)
	w.stepAll() // sees the segments closed
	w.advance(31 * time.Second)
	w.stepAll()
	if _, n := w.bytes(); n != 6 {
		t.Fatalf("%d segments during the grace, want all 6", n)
	}
	if s := w.gc.Stats(); s.FreedExtents != 8 || s.Waiting != 4 {
		t.Fatalf("%+v", s)
	}
	w.advance(61 * time.Second)
	w.stepAll()
	if _, n := w.bytes(); n != 2 {
		t.Fatalf("%d segments left, want 2", n)
	}
	for _, id := range ids[8:] {
		w.check(id)
	}
	w.settle()
	if s := w.gc.Stats(); s.RemovedSegments != 4 || s.MovedExtents != 0 || s.Waiting != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestSparseSegmentsAreEmptied(t *testing.T) {
	w := newWorld(t)
	var keep []data.ExtentID
	for i := range 40 {
		id := w.put(1 << 20)
		if i%4 == 0 {
			keep = append(keep, id)
		} else {
			w.drop(id)
		}
	}
	reader, err := w.lookup(t.Context(), keep[0])
	if err != nil {
		t.Fatal(err)
	}
	before, _ := w.bytes()
	w.settle()
	after, _ := w.bytes()
	if after > before/2 {
		t.Fatalf("%d bytes of %d left, a quarter lives", after, before)
	}
	for _, id := range keep {
		w.check(id)
	}
	got := make([]byte, 10)
	if err := w.store.ReadAt(t.Context(), reader, 5, got); !errors.Is(err, data.ErrMoved) {
		t.Fatalf("old location: %v", err)
	}
	if err := data.Reread(t.Context(), w.store, reader, 5, got, w.lookup); err != nil || !bytes.Equal(got, body(keep[0], 1<<20)[5:15]) {
		t.Fatalf("reread: %v", err)
	}
}

func TestLateCommitIsRefused(t *testing.T) {
	w := newWorld(t)
	late, inside := w.append(1<<20), w.append(1<<20)
	w.store.Seal(late.Segment)
	w.put(1 << 20)
	w.advance(time.Second)
	w.stepAll()
	w.advance(time.Minute)
	// The segment is condemned between the first attempt and its commit.
	attempts := 0
	_, err := w.eng.Update(t.Context(), func(tx kv.Txn) error {
		attempts++
		if err := data.PutExtent(tx, stream, inside); err != nil {
			return err
		}
		if attempts == 1 {
			w.stepAll()
		}
		return nil
	})
	if !errors.Is(err, data.ErrMoved) || attempts < 2 {
		t.Fatalf("commit that raced: %v after %d attempts", err, attempts)
	}
	if s := w.gc.Stats(); s.Waiting != 1 {
		t.Fatalf("%+v", s)
	}
	if err := w.install(late); !errors.Is(err, data.ErrMoved) {
		t.Fatalf("late commit: %v", err)
	}
	w.settle()
	if _, ok := w.store.Segment(late.Segment); ok {
		t.Fatal("the segment stayed")
	}
}

func TestCommitBeforeCondemnationKeepsTheSegment(t *testing.T) {
	w := newWorld(t)
	rec := w.append(4 << 20)
	w.store.Seal(rec.Segment)
	w.advance(time.Second)
	w.stepAll()
	if err := w.install(rec); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.check(rec.ID)
}

func TestCorruptExtentKeepsItsSegment(t *testing.T) {
	w := newWorld(t)
	ids := []data.ExtentID{w.put(1 << 20), w.put(1 << 20), w.put(1 << 20)}
	w.store.Seal(1)
	w.put(1 << 20)
	w.drop(ids[0])
	w.drop(ids[2])
	rec, _ := w.lookup(t.Context(), ids[1])
	w.disk.Flip(fmt.Sprintf("%016x.seg", rec.Segment), int64(rec.Offset)+100)
	w.settle()
	if s := w.gc.Stats(); s.Stuck != 1 {
		t.Fatalf("%+v", s)
	}
	if _, ok := w.store.Segment(rec.Segment); !ok {
		t.Fatal("a segment with an unreadable extent was removed")
	}
}

func TestInlineExtentsAreFreed(t *testing.T) {
	w := newWorld(t)
	for id := data.ExtentID(1); id <= 500; id++ {
		_, err := w.eng.Update(t.Context(), func(tx kv.Txn) error {
			return errors.Join(data.PutInline(tx, id, stream, [][]byte{{1, 2}}))
		})
		if err != nil {
			t.Fatal(err)
		}
		w.drop(id)
	}
	w.stepAll()
	if n := w.keys(); n != 0 {
		t.Fatalf("%d keys left", n)
	}
}

func (w *world) keys() (n int) {
	err := w.eng.View(w.t.Context(), kv.Linearizable, func(r kv.Reader) error {
		for _, err := range r.Scan(w.t.Context(), kv.Range{Start: []byte{1}}, kv.ScanOptions{KeysOnly: true}) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// Random work with crashes: nothing committed is ever lost, and in the end no
// more is left than lives.
func TestModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t)
			r := rand.New(rand.NewPCG(seed, 5))
			live := map[data.ExtentID]bool{}
			var pending []data.Record
			for range 250 {
				switch k := r.IntN(20); {
				case k < 5:
					live[w.put(r.IntN(400000)+20000)] = true
				case k < 8:
					live[w.put(r.IntN(16000)+1)] = true
				case k < 9:
					pending = append(pending, w.append(r.IntN(400000)+20000))
				case k < 10 && len(pending) > 0:
					i := r.IntN(len(pending))
					err := w.install(pending[i])
					if err == nil {
						live[pending[i].ID] = true
					} else if !errors.Is(err, data.ErrMoved) {
						t.Fatal(err)
					}
					pending = slices.Delete(pending, i, i+1)
				case k < 15 && len(live) > 0:
					ids := slices.Sorted(maps.Keys(live))
					id := ids[r.IntN(len(ids))]
					w.drop(id)
					delete(live, id)
				case k < 18:
					if _, err := w.gc.Step(t.Context()); err != nil {
						t.Fatal(err)
					}
					w.advance(time.Duration(r.IntN(60)) * time.Second)
				case k < 19 && r.IntN(3) == 0:
					if r.IntN(2) == 0 {
						w.crash()
					} else {
						w.disk, w.eng = w.disk.CrashTorn(r), w.eng.(*memkv.Engine).Crash()
						w.start()
					}
					pending = nil
				}
			}
			for id := range live {
				w.check(id)
			}
			w.settle()
			for id := range live {
				w.check(id)
			}
			for id := range live {
				w.drop(id)
			}
			for range 2 { // the first round may move what it has yet to free
				w.crash()
				w.settle()
			}
			if b, n := w.bytes(); n > 1 || b != 0 {
				t.Fatalf("%d bytes left of nothing in %d segments: %+v", b, n, w.store.Segments())
			}
			if n := w.keys(); n != 0 {
				t.Fatalf("%d keys left of nothing", n)
			}
		})
	}
}

func TestRunWakesForTheQueue(t *testing.T) {
	w := newWorld(t)
	var err error
	if w.gc, err = gc.New(w.eng, w.store, gc.Options{Delay: time.Millisecond, Interval: time.Hour, LowBytes: plenty}); err != nil {
		t.Fatal(err)
	}
	id := w.put(100000)
	ctx, stop := context.WithCancel(t.Context())
	changed, err := w.eng.Watch(ctx, data.QueueRange())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.gc.Run(ctx)
	}()
	w.drop(id)
	for w.gc.Stats().FreedExtents == 0 { // the queueing and the freeing both change the queue
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond):
		}
	}
	stop()
	<-done
}

func TestGraceOutlastsTransactions(t *testing.T) {
	w := newWorld(t)
	if _, err := gc.New(w.eng, w.store, gc.Options{Grace: time.Second}); err == nil {
		t.Fatal("a grace shorter than a transaction was taken")
	}
}

// A store that is full of half-dead segments gets its space back.
func TestFullStoreRecovers(t *testing.T) {
	w := newWorld(t)
	w.disk.SetSize(96<<20, 0) // all of it less than LowBytes
	var err error
	w.store, err = segment.Open(w.disk, segment.Options{SegmentBytes: 8 << 20, ReserveBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	if w.gc, err = gc.New(w.eng, w.store, gc.Options{Now: w.clock}); err != nil {
		t.Fatal(err)
	}
	var ids []data.ExtentID
	fill := func() {
		for {
			rec, err := w.store.Append(t.Context(), w.next+1, [][]byte{body(w.next+1, 1<<20)})
			if errors.Is(err, data.ErrNoSpace) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w.next++
			if err := errors.Join(w.store.Sync(t.Context()), w.install(rec)); err != nil {
				t.Fatal(err)
			}
			ids = append(ids, rec.ID)
		}
	}
	fill()
	first := len(ids)
	for i, id := range ids {
		if i%4 != 0 {
			w.drop(id)
		}
	}
	// Short of space, it takes seconds, not minutes.
	for range 5 {
		w.advance(6 * time.Second)
		w.stepAll()
	}
	if s := w.gc.Stats(); s.RemovedSegments == 0 {
		t.Fatalf("nothing removed: %+v", s)
	}
	w.settle()
	fill()
	if got := len(ids) - first; got < first/2 {
		t.Fatalf("room for %d extents after three quarters of %d were freed", got, first)
	}
	for i, id := range ids {
		if i >= first || i%4 == 0 {
			w.check(id)
		}
	}
}

func TestFaultsWhileMoving(t *testing.T) {
	w := newWorld(t)
	var kept []data.ExtentID
	for i := range 12 {
		if id := w.put(1 << 20); i%4 == 3 {
			kept = append(kept, id)
		} else {
			w.drop(id)
		}
	}
	w.stepAll()
	w.advance(time.Minute)
	eio := errors.New("input/output error")
	for _, f := range []errdisk.Faults{{Write: eio}, {Read: eio}, {Sync: eio}} {
		w.disk.SetFaults(f)
		var err error
		for more := true; more && err == nil; {
			more, err = w.gc.Step(t.Context())
		}
		if !errors.Is(err, eio) {
			t.Fatalf("%+v: %v", f, err)
		}
		w.disk.SetFaults(errdisk.Faults{})
		w.advance(time.Minute)
		for _, id := range kept {
			w.check(id)
		}
	}
	if s := w.gc.Stats(); s.MovedExtents != 0 || s.Stuck != 0 {
		t.Fatalf("%+v", s)
	}
	w.start() // the failed sync was final
	w.settle()
	for _, id := range kept {
		w.check(id)
	}
	if s := w.gc.Stats(); s.MovedExtents == 0 {
		t.Fatalf("%+v", s)
	}
}

func TestOldInlineExtentsArePacked(t *testing.T) {
	w := newWorld(t)
	var ids []data.ExtentID
	for i := range 300 {
		ids = append(ids, w.put(900+10*i)) // 13 of them below PackMin
	}
	w.stepAll()
	w.advance(packAge - time.Second)
	w.stepAll()
	if s := w.gc.Stats(); s.PackedExtents != 0 {
		t.Fatalf("too early: %+v", s)
	}
	young := w.put(2000)
	w.advance(2 * time.Second)
	w.stepAll()
	if s := w.gc.Stats(); s.PackedExtents != 287 {
		t.Fatalf("%+v", s)
	}
	for i, id := range append(ids, young) {
		w.check(id)
		rec, err := w.lookup(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if want := i < 13 || id == young; rec.IsInline != want || rec.Owner != stream {
			t.Fatalf("extent %d inline %v", id, rec.IsInline)
		}
	}
	w.crash()
	for _, id := range ids {
		w.check(id)
		w.drop(id)
	}
	w.drop(young)
	w.settle()
	if n := w.keys(); n != 0 {
		t.Fatalf("%d keys left of nothing", n)
	}
}

// horizon is an engine that knows how far its Views are.
type horizon struct {
	kv.Engine
	rev kv.Rev // all Views are past it
}

func (h *horizon) Past(rev kv.Rev) bool { return rev <= h.rev }

func TestHorizonShortensTheGrace(t *testing.T) {
	h := &horizon{Engine: memkv.New()}
	w := newWorldOn(t, h)
	for range 4 {
		w.drop(w.put(2 << 20)) // two a segment
	}
	w.put(2 << 20)
	w.stepAll() // sees the segments closed
	w.advance(11 * time.Second)
	w.stepAll() // condemns
	w.advance(6 * time.Second)
	w.stepAll()
	if s := w.gc.Stats(); s.Waiting != 2 || s.RemovedSegments != 0 {
		t.Fatalf("while a View runs: %+v", s)
	}
	h.rev = 1 << 60
	w.stepAll()
	if s := w.gc.Stats(); s.Waiting != 0 || s.RemovedSegments != 2 {
		t.Fatalf("when all have ended: %+v", s)
	}
}

// forgetful notes which extents' memory is let go.
type forgetful struct {
	data.Segmented
	ids []data.ExtentID
}

func (f *forgetful) Forget(rec data.Record) {
	f.ids = append(f.ids, rec.ID)
	f.Segmented.Forget(rec)
}

// The memory of a freed extent serves others at once, long before its segment goes.
func TestFreedExtentsAreForgotten(t *testing.T) {
	w := newWorld(t)
	f := &forgetful{Segmented: w.store}
	var err error
	if w.gc, err = gc.New(w.eng, f, gc.Options{Now: w.clock, LowBytes: plenty}); err != nil {
		t.Fatal(err)
	}
	gone, stays := w.put(1<<20), w.put(1<<20)
	w.drop(gone)
	w.stepAll()
	if len(f.ids) != 1 || f.ids[0] != gone {
		t.Fatalf("forgot %v, want %d alone", f.ids, gone)
	}
	w.check(stays)
}

// What is being overwritten is not copied first.
func TestSegmentsInWhichExtentsDieAreNotMoved(t *testing.T) {
	w := newWorld(t)
	var ids []data.ExtentID
	for range 12 {
		ids = append(ids, w.put(1<<20)) // four a segment
	}
	w.stepAll()
	for round := range 4 { // one of each segment at a time
		for i := round; i < 12; i += 4 {
			w.drop(ids[i])
		}
		w.advance(40 * time.Second)
		w.stepAll()
	}
	if s := w.gc.Stats(); s.MovedExtents != 0 || s.Waiting == 0 {
		t.Fatalf("%+v", s)
	}
}
