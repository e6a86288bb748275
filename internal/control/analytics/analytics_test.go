package analytics

import (
	"bytes"
	"context"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/kv/memkv"
)

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func caller(addr string) *fs.Caller {
	c := *fs.SystemCaller()
	c.Protocol, c.Client = fs.ProtoNFS3, netip.MustParseAddrPort(addr)
	return &c
}

func TestRecorder(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	trees, snapshots := uint64(1000), uint64(2000) // before anybody looked
	r := New(Options{Now: c.now, Reclaimed: func() (uint64, uint64) { return trees, snapshots }})
	f := r.Wrap(memfs.New(memfs.Options{}))
	ctx, a, b := t.Context(), caller("192.0.2.1:700"), caller("[::ffff:192.0.2.2]:701")

	made, err := f.Create(ctx, a, fs.Root, fs.Name("f"), &fs.CreateSpec{Type: fs.File})
	if err != nil {
		t.Fatal(err)
	}
	n := made.Attr.Node
	for range 10 {
		if _, err := f.Write(ctx, a, n, &fs.WriteRequest{Data: make([]byte, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Read(ctx, b, n, &fs.ReadRequest{}, make([]byte, 50)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.GetAttr(ctx, fs.SystemCaller(), n, fs.AttrSize); err != nil { // nobody's
		t.Fatal(err)
	}
	if got := r.Activity(""); got != nil {
		t.Errorf("no time has passed: %+v", got)
	}
	c.add(5 * time.Second)
	r.turn()
	c.add(5 * time.Second)
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	want := []control.Activity{
		{File: n.ID, Client: two, Rate: 0.1, Type: control.FileReads}, {File: n.ID, Client: one, Rate: 1, Type: control.FileWrites},
		{File: fs.RootID, Client: one, Rate: 0.1, Type: control.MetadataWrites},
		{File: n.ID, Client: two, Rate: 5, Type: control.BytesRead}, {File: n.ID, Client: one, Rate: 100, Type: control.BytesWritten},
	}
	if got := r.Activity(""); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := r.Activity(control.FileWrites); len(got) != 1 || got[0] != want[1] {
		t.Errorf("%+v", got)
	}
	trees, snapshots = trees+50, snapshots+500
	r.turn()
	s := r.Series(0)
	if len(s) != 6 || s[4].ID != "reclaim.deferred.rate" || !slices.Equal(s[4].Values, []float64{0, 10}) || s[5].ID != "reclaim.snapshot.rate" || !slices.Equal(s[5].Values, []float64{0, 100}) {
		t.Errorf("%+v", s)
	}
	if n := len(New(Options{}).Series(0)); n != 4 {
		t.Errorf("%d series where nobody counts what is reclaimed", n)
	}
	if s[1].ID != "iops.write.rate" || !slices.Equal(s[1].Times, []int64{1005, 1010}) || !slices.Equal(s[1].Values, []float64{11.0 / 5, 0}) ||
		s[2].Values[0] != 10 || s[3].Values[0] != 200 {
		t.Errorf("%+v", s)
	}
	if s := r.Series(1006); len(s[0].Times) != 1 {
		t.Errorf("%+v", s)
	}
	c.add(10 * time.Second)
	r.turn() // what was done is over two windows ago
	if got := r.Activity(""); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// What is kept does not grow with what clients do, and what does most is kept.
func TestRecorder_bounded(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	r := New(Options{Now: c.now})
	who := caller("192.0.2.1:1")
	for i := range 50_000 {
		r.add(who, fs.Node{ID: fs.FileID(i + 10)}, metaRead, 0)
		if i%10 == 0 {
			r.add(who, fs.Root, metaRead, 0)
		}
	}
	n := 0
	for i := range r.shards {
		n += len(r.shards[i].current)
	}
	if n > shards*maxKeys {
		t.Errorf("%d keys", n)
	}
	c.add(time.Second)
	if got := r.Activity(""); len(got) != maxActivity || got[0].File != fs.RootID || got[0].Rate != 5000 {
		t.Errorf("%d, %+v", len(got), got[0])
	}
	for range maxPoints + 10 {
		c.add(window)
		r.turn()
	}
	if s := r.Series(0); len(s[0].Times) != maxPoints || !slices.IsSorted(s[0].Times) {
		t.Errorf("%d points", len(s[0].Times))
	}
	c.add(-time.Hour)
	r.turn()
	if got := r.Activity(""); got != nil {
		t.Errorf("%+v", got)
	}
}

func TestRecorder_concurrent(t *testing.T) {
	r := New(Options{})
	var wg sync.WaitGroup
	for g := range 8 {
		who := caller("192.0.2." + strconv.Itoa(g) + ":1")
		wg.Go(func() {
			for i := range 2000 {
				r.add(who, fs.Node{ID: fs.FileID(i % 300)}, fileWrite, 1)
				if i%500 == 0 {
					r.turn()
					r.Activity("")
					r.Series(0)
				}
			}
		})
	}
	wg.Wait()
	n := uint64(0)
	for i := range r.shards {
		n += r.shards[i].total[bytesWritten]
	}
	if n != 16_000 {
		t.Errorf("%d bytes", n)
	}
}

func TestHistory(t *testing.T) {
	kv := memkv.New()
	t.Cleanup(func() { _ = kv.Close() })
	store, err := config.Open(t.Context(), config.Options{KV: kv, SealKey: bytes.Repeat([]byte{1}, config.SealKeyBytes)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	f := memfs.New(memfs.Options{})
	ctx, who := t.Context(), fs.SystemCaller()
	d, err := f.Create(ctx, who, fs.Root, fs.Name("d"), &fs.CreateSpec{Type: fs.Directory})
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"big": 8 << 20, "small": 1} {
		n, err := f.Create(ctx, who, d.Attr.Node, fs.Name(name), &fs.CreateSpec{Type: fs.File})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(ctx, who, n.Attr.Node, &fs.WriteRequest{Data: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	c := &clock{t: time.Unix(7200+59, 0)}
	h := NewHistory(HistoryOptions{FS: f, Store: store, Now: c.now})
	for range 2 { // the second finds the record
		if err := h.Record(ctx); err != nil {
			t.Fatal(err)
		}
	}
	c.add(time.Hour)
	if err := h.Record(ctx); err != nil {
		t.Fatal(err)
	}
	recs, err := store.Capacities(ctx, 0, 100)
	if err != nil || len(recs) != 2 || recs[0].ID != 2 || recs[1].ID != 3 {
		t.Fatalf("%+v %v", recs, err)
	}
	totals, err := f.TotalsOf(ctx, fs.Root)
	if err != nil {
		t.Fatal(err)
	}
	if v := recs[0].Value; v.Used != used(&totals) || v.Data != totals.DataBytes || v.Metadata != totals.MetaBytes || v.Usable == 0 {
		t.Errorf("%+v", v)
	}
	p, err := store.LargePaths(ctx, 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range p.Value.Paths {
		got = append(got, x.Path)
	}
	if !slices.Equal(got, []string{"/", "/d/", "/d/big"}) || p.Value.Threshold != recs[1].Value.Used/shareOfUsed {
		t.Errorf("%v, threshold %d", got, p.Value.Threshold)
	}
	// Run records, and ends with its context.
	c.add(time.Hour)
	rctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { h.Run(rctx); close(done) }()
	for {
		changed := store.Changed()
		if recs, _ := store.Capacities(ctx, 4, 4); len(recs) == 1 {
			break
		}
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	<-done
}

// What counting costs an operation, four clients on many files each.
func BenchmarkAdd(b *testing.B) {
	r := New(Options{})
	b.RunParallel(func(p *testing.PB) {
		who := caller("192.0.2.1:1")
		for i := 0; p.Next(); i++ {
			r.add(who, fs.Node{ID: fs.FileID(i % 1000)}, fileRead, 4096)
		}
	})
}
