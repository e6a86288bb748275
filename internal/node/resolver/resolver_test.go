package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// zone is a name server over pipes: it knows host.example and the address back.
type zone struct{ asked atomic.Int32 }

func (z *zone) dial(t *testing.T) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, network, address string) (net.Conn, error) {
		if address != "198.51.100.53:53" {
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
			a = append(a, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 60, 0, byte(len(data)))
			a = append(a, data...)
		} else if name != "host.example" {
			a[3] |= 3 // no such name
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
