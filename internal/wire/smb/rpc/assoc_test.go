package rpc

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"testing"
)

var srvsvcSyntax = services["srvsvc"][0].syntax

func TestBind(t *testing.T) {
	const ndr64 = "\x33\x05\x71\x71\xba\xbe\x37\x49\x83\x19\xb5\xdb\xef\x9c\xcc\x36"
	c := dial(t, newServer(t, newWorld()), "SRVSVC", theUser())
	out := c.a.Feed(t.Context(), c.who, bindPDU(pduBind,
		[2]string{srvsvcSyntax, ndr64}, [2]string{services["samr"][0].syntax, ndr32}, [2]string{srvsvcSyntax, bindTimeFeatures + "\x03\x00\x00\x00\x00\x00\x00\x00"}, [2]string{srvsvcSyntax, ndr32},
	))
	if out[2] != pduBindAck || int(le.Uint16(out[8:])) != len(out) || le.Uint16(out[16:]) != maxFrag {
		t.Fatalf("%x", out)
	}
	at := len(out) - 4*24
	if out[at-4] != 4 {
		t.Fatalf("%x", out)
	}
	for i, want := range [][2]uint16{{contextRefused, transferUnknown}, {contextRefused, abstractUnknown}, {contextFeatures, 0}, {contextAccepted, 0}} {
		if got := out[at+24*i:]; le.Uint16(got) != want[0] || le.Uint16(got[2:]) != want[1] {
			t.Errorf("context %d: %x, want %v", i, got[:4], want)
		}
	}
	if !bytes.Contains(out, []byte("\x0d\x00\\PIPE\\srvsvc\x00")) {
		t.Errorf("no address in %q", out)
	}
	auth := bindPDU(pduBind, [2]string{srvsvcSyntax, ndr32})
	auth[10] = 8
	if out := c.a.Feed(t.Context(), c.who, auth); out[2] != pduBindNak || le.Uint16(out[16:]) != nakAuthType {
		t.Errorf("%x", out)
	}
	if out := c.a.Feed(t.Context(), c.who, finish(bindPDU(pduBind, [2]string{srvsvcSyntax, ndr32})[:40])); out[2] != pduBindNak {
		t.Errorf("%x", out)
	}
	if out := c.a.Feed(t.Context(), c.who, bindPDU(pduAlter, [2]string{srvsvcSyntax, ndr32})); out[2] != pduAlterAck {
		t.Errorf("%x", out)
	}
	if _, ok := newServer(t, newWorld()).Open("spoolss"); ok {
		t.Error("there are no printers")
	}
}

// What is malformed is answered with a fault, and what follows on the same
// association, too.
func TestFaults(t *testing.T) {
	s := newServer(t, newWorld())
	good := requestPDU(flagFirst|flagLast, 1, 28, nil) // NetrRemoteTOD without its argument is bad
	change := func(at int, v byte) []byte {
		b := slices.Clone(good)
		b[at] = v
		return b
	}
	for name, x := range map[string]struct {
		in   []byte
		want uint32
		ends bool
	}{
		"no header":         {[]byte{5, 0, 0}, faultProtocol, true},
		"version":           {change(0, 4), faultProtocol, true},
		"big-endian":        {change(4, 0), faultProtocol, true},
		"longer than sent":  {change(8, 25), faultProtocol, true},
		"shorter than that": {change(8, 15), faultProtocol, true},
		"unknown kind":      {change(2, 99), faultProtocol, true},
		"authentication":    {change(10, 8), faultProtocol, true},
		"too short":         {finish(slices.Clone(good)[:20]), faultProtocol, true},
		"no object":         {change(3, flagFirst|flagLast|flagObject), faultProtocol, true},
		"middle first":      {change(3, 0), faultProtocol, true},
		"context":           {change(20, 7), faultContext, false},
		"operation":         {change(22, 99), faultOperation, false},
		"stub":              {good, faultStub, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s, "srvsvc", theUser())
			must[any](t)(c.Bind(t.Context()))
			out := c.a.Feed(t.Context(), c.who, x.in)
			if len(out) != 32 || out[2] != pduFault || le.Uint32(out[24:]) != x.want {
				t.Errorf("%x, want %08x", out, x.want)
			}
			_, err := c.stub(28, make([]byte, 4))
			if f := faultError(0); x.ends != (errors.As(err, &f) && f == faultProtocol) {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}

func TestFragments(t *testing.T) {
	c := dial(t, newServer(t, newWorld()), "srvsvc", theUser())
	must[any](t)(c.Bind(t.Context()))
	feed := func(b []byte) []byte { return c.a.Feed(t.Context(), c.who, b) }
	stub := make([]byte, 4)
	if out := feed(requestPDU(flagFirst, 5, 28, stub[:2])); out != nil {
		t.Fatalf("%x", out)
	}
	if out := feed(header(pduCancel, 3, nil)); len(out) != 32 { // no length in it
		t.Fatalf("%x", out)
	}
	c = dial(t, c.a.s, "srvsvc", theUser())
	must[any](t)(c.Bind(t.Context()))
	both := slices.Concat(requestPDU(flagFirst, 5, 28, stub[:2]), requestPDU(flagLast, 5, 28, stub[2:]))
	if out := feed(both); out[2] != pduResponse {
		t.Fatalf("%x", out)
	}
	feed(requestPDU(flagFirst, 6, 28, stub))
	orphaned := finish(header(pduOrphaned, 3, requestPDU(0, 6, 0, nil)))
	if out := feed(orphaned); out != nil {
		t.Fatalf("%x", out)
	}
	if _, err := c.stub(28, stub); err != nil {
		t.Fatal(err)
	}
	feed(requestPDU(flagFirst, 7, 28, stub))
	if out := feed(requestPDU(flagLast, 8, 28, stub)); out[2] != pduFault {
		t.Fatalf("another call's end is taken: %x", out)
	}
	c = dial(t, c.a.s, "srvsvc", theUser())
	must[any](t)(c.Bind(t.Context()))
	var out []byte
	for i := 0; out == nil; i++ {
		flags := byte(0)
		if i == 0 {
			flags = flagFirst
		}
		out = feed(requestPDU(flags, 9, 28, make([]byte, 4000)))
		if i > maxCall/4000 {
			t.Fatal("a request has no end")
		}
	}
	if le.Uint32(out[24:]) != faultNoMemory {
		t.Fatalf("%x", out)
	}
}

// Whatever comes in, what goes out is PDUs, and not much more than came in.
func FuzzFeed(f *testing.F) {
	f.Add("srvsvc", bindPDU(pduBind, [2]string{srvsvcSyntax, ndr32}))
	f.Add("lsarpc", requestPDU(3, 1, 6, make([]byte, 40)))
	f.Add("samr", slices.Concat(requestPDU(1, 1, 64, make([]byte, 9)), requestPDU(2, 1, 64, make([]byte, 30))))
	f.Fuzz(func(t *testing.T, pipe string, in []byte) {
		a, ok := newServer(t, newWorld()).Open(pipe)
		if !ok {
			return
		}
		a.contexts[0] = services[a.pipe][0]
		checkPDUs(t, a.Feed(t.Context(), theAdmin(), in))
	})
}

func checkPDUs(t *testing.T, out []byte) {
	for len(out) > 0 {
		n := int(le.Uint16(out[8:]))
		if n < 16 || n > len(out) {
			t.Fatalf("%x", out)
		}
		out = out[n:]
	}
}

// Every operation of every pipe survives whatever its arguments are.
func FuzzCall(f *testing.F) {
	for pipe, most := range map[string]uint16{"srvsvc": 57, "wkssvc": 30, "lsarpc": 77, "samr": 67} {
		for op := range most + 1 {
			f.Add(pipe, op, make([]byte, 64))
		}
	}
	f.Add("lsarpc", uint16(76), []byte("\x01\x00\x00\x00\x00\x00\x02\x00\x01\x00\x00\x00\x04\x00\x02\x00\x01\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, pipe string, op uint16, stub []byte) {
		w := newWorld()
		a, ok := newServer(t, w).Open(pipe)
		if !ok || len(stub) > 4000 {
			return
		}
		a.contexts[0] = services[a.pipe][0]
		// Handles that the arguments can name: those of zeros.
		a.handles[[16]byte{}] = []any{policy{}, samServer{}, samDomain{}, samUser{500}, samGroup{512}, samAlias{544}, account{}, shareDeletion{"Files"}}[int(op)%8]
		for i := range 16 {
			a.handles[[16]byte{byte(i + 1)}] = []any{policy{}, samServer{}, samDomain{}, samDomain{true}, samUser{500}, samGroup{512}, samAlias{544}, account{}}[i%8]
		}
		out := a.Feed(t.Context(), theAdmin(), requestPDU(flagFirst|flagLast, 1, op, stub))
		checkPDUs(t, out)
		if len(out) == 0 || len(out) > 64<<10 {
			t.Fatalf("%d bytes", len(out))
		}
	})
}

// A string is not made before it is seen to be there.
func TestHugeCounts(t *testing.T) {
	c := dial(t, newServer(t, newWorld()), "srvsvc", theUser())
	must[any](t)(c.Bind(t.Context()))
	stub := le.AppendUint32(nil, 0x20000)
	for range 3 {
		stub = le.AppendUint32(stub, 0xfffffff0)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := c.stub(21, stub); !errors.Is(err, faultError(faultStub)) {
		t.Error(err)
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("%d bytes for %d", after.TotalAlloc-before.TotalAlloc, len(stub))
	}
}
