package resolver

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// zone is a name server over pipes: it knows host.example and the address back.
type zone struct {
	asked atomic.Int32
	ttl   atomic.Uint32 // 0 is 60
	down  atomic.Bool
	hold  chan struct{} // answers wait for it to be closed
}

func (z *zone) dial(t *testing.T) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, network, address string) (net.Conn, error) {
		if address != "198.51.100.53:53" || z.down.Load() {
			return nil, errors.New("unreachable")
		}
		ours, theirs := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		go z.serve(theirs)
		return ours, nil // not a packet connection, so it carries lengths as TCP does
	}
}

func (z *zone) serve(c net.Conn) {
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, q); err != nil || len(q) < 12 {
			return
		}
		z.asked.Add(1)
		var labels []string
		i := 12
		for q[i] != 0 {
			labels = append(labels, string(q[i+1:i+1+int(q[i])]))
			i += 1 + int(q[i])
		}
		question := q[12 : i+5]
		kind := binary.BigEndian.Uint16(q[i+1:])
		var data []byte
		name := strings.ToLower(strings.Join(labels, "."))
		switch {
		case name == "host.example" && kind == 1:
			data = []byte{198, 51, 100, 9}
		case name == "9.100.51.198.in-addr.arpa" && kind == 12:
			data = []byte("\x04host\x07example\x00")
		}
		a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
		if data != nil {
			a[7] = 1
			a = append(a, 0xc0, 12, 0, byte(kind), 0, 1)
			a = binary.BigEndian.AppendUint32(a, cmp.Or(z.ttl.Load(), 60))
			a = append(a, 0, byte(len(data)))
			a = append(a, data...)
		} else if name != "host.example" {
			a[3] |= 3 // no such name
			a[9] = 1  // with the zone's say on how long that holds: 90 s
			a = append(a, 0, 0, 6, 0, 1, 0, 0, 1, 0, 0, 22, 0, 0)
			a = append(a, make([]byte, 16)...)
			a = append(a, 0, 0, 0, 90)
		}
		if z.hold != nil {
			<-z.hold
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
			return
		}
	}
}

func TestResolver(t *testing.T) {
	z := &zone{}
	now := time.Now()
	config := Config{
		Servers: []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.53")}, Search: []string{"example"},
		Overrides: []Override{{netip.MustParseAddr("198.51.100.77"), []string{"static.example"}}},
	}
	r := New(Options{Config: func() Config { return config }, Dial: z.dial(t), Now: func() time.Time { return now }})
	want := netip.MustParseAddr("198.51.100.9")
	for _, name := range []string{"host.example", "HOST.example.", "host"} {
		if got, err := r.LookupNetIP(t.Context(), "ip", name); err != nil || !slices.Equal(got, []netip.Addr{want}) {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	asked := z.asked.Load()
	if _, err := r.LookupNetIP(t.Context(), "ip4", "host.example"); err != nil || z.asked.Load() != asked {
		t.Error("an answer is not remembered", err)
	}
	now = now.Add(TTL)
	if _, err := r.LookupNetIP(t.Context(), "ip", "host.example"); err != nil || z.asked.Load() == asked {
		t.Error("an answer is remembered for ever", err)
	}
	if got, err := r.LookupAddr(t.Context(), "198.51.100.9"); err != nil || !slices.Equal(got, []string{"host.example."}) {
		t.Error(got, err)
	}
	asked = z.asked.Load()
	if got, err := r.LookupAddr(t.Context(), "198.51.100.77"); err != nil || got[0] != "static.example" || z.asked.Load() != asked {
		t.Error(got, err)
	}
	if got, err := r.LookupNetIP(t.Context(), "ip", "Static.Example"); err != nil || got[0] != config.Overrides[0].Address {
		t.Error(got, err)
	}
	r.Clear(false, true)
	if _, err := r.LookupAddr(t.Context(), "198.51.100.9"); err != nil || z.asked.Load() == asked {
		t.Error("nothing was forgotten", err)
	}
	var e *net.DNSError
	if _, err := r.LookupNetIP(t.Context(), "ip", "nobody.example"); !errors.As(err, &e) || !e.IsNotFound {
		t.Error(err)
	}
	config.Servers = config.Servers[:1]
	if _, err := r.LookupNetIP(t.Context(), "ip", "other.example"); !errors.As(err, &e) || e.IsNotFound {
		t.Error(err)
	}
}

// rig is a resolver with a clock and the zone as its one server.
func newRig(t *testing.T) (r *Resolver, z *zone, now *atomic.Int64) {
	z, now = &zone{}, &atomic.Int64{}
	config := Config{Servers: []netip.Addr{netip.MustParseAddr("198.51.100.53")}}
	return New(Options{
		Config: func() Config { return config }, Dial: z.dial(t), Now: func() time.Time { return time.Unix(now.Load(), 0) },
	}), z, now
}

// An answer holds as long as its zone says, within bounds.
func TestTTL(t *testing.T) {
	for _, x := range []struct {
		name  string
		ttl   uint32
		holds int64 // seconds
	}{
		{"host.example", 7, 7}, {"host.example", 900, 900}, {"host.example", 1 << 30, 3600}, {"host.example", 1 << 31, 1}, {"nobody.example", 0, 90},
	} {
		r, z, now := newRig(t)
		z.ttl.Store(x.ttl)
		ask := func() int32 {
			_, err := r.LookupNetIP(t.Context(), "ip", x.name)
			if (err != nil) != (x.name == "nobody.example") {
				t.Fatal(err)
			}
			return z.asked.Load()
		}
		first := ask()
		now.Add(x.holds - 1)
		if ask() != first {
			t.Errorf("%s with %d: asked again too early", x.name, x.ttl)
		}
		now.Add(1)
		if ask() == first {
			t.Errorf("%s with %d: held for too long", x.name, x.ttl)
		}
	}
}

// While no server answers, what was known stands in for an hour.
func TestStale(t *testing.T) {
	r, z, now := newRig(t)
	look := func() error { _, err := r.LookupAddr(t.Context(), "198.51.100.9"); return err }
	if err := look(); err != nil {
		t.Fatal(err)
	}
	z.down.Store(true)
	for range 11 {
		now.Add(300)
		if err := look(); err != nil {
			t.Fatalf("after %d s: %v", now.Load(), err)
		}
	}
	now.Add(400)
	if err := look(); err == nil {
		t.Error("an answer stands in for ever")
	}
	z.down.Store(false)
	now.Add(int64(FailTTL / time.Second))
	if err := look(); err != nil {
		t.Error("a failure is remembered for long:", err)
	}
}

// Callers of one name share one question.
func TestShared(t *testing.T) {
	r, z, _ := newRig(t)
	z.hold = make(chan struct{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := r.LookupAddr(t.Context(), "198.51.100.9"); err != nil {
				t.Error(err)
			}
		})
	}
	for z.asked.Load() == 0 {
		runtime.Gosched()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.LookupAddr(ctx, "198.51.100.9"); !errors.Is(err, context.Canceled) {
		t.Error("a waiting caller cannot leave:", err)
	}
	close(z.hold)
	wg.Wait()
	if n := z.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// Other servers are asked anew.
func TestSettings(t *testing.T) {
	z := &zone{}
	config := Config{Servers: []netip.Addr{netip.MustParseAddr("198.51.100.53")}}
	r := New(Options{Config: func() Config { return config }, Dial: z.dial(t)})
	if _, err := r.LookupNetIP(t.Context(), "ip", "host.example"); err != nil {
		t.Fatal(err)
	}
	config.Servers = []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	if _, err := r.LookupNetIP(t.Context(), "ip", "host.example"); err == nil {
		t.Error("an answer of a server that is not asked any more")
	}
}

func TestTable_bounded(t *testing.T) {
	tab := newTable[int, int](time.Now)
	for i := range 3 * maxKept {
		if _, err := tab.get(t.Context(), i, func(context.Context) ([]int, ttl, error) { return nil, ttl{}, nil }); err != nil || len(tab.m) > maxKept {
			t.Fatalf("%d answers kept, %v", len(tab.m), err)
		}
	}
}

func FuzzHolds(f *testing.F) {
	f.Add([]byte("\x00\x01\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x01\x02\x03\x04"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, ok := holds(b); d < 0 || !ok && d != 0 {
			t.Error(d, ok)
		}
	})
}
