package sunrpc

import (
	"testing"
)

func BenchmarkParseCall(b *testing.B) {
	p := record(1, 2, procEcho, func(e *Encoder) { e.String("some arguments") })[4:]
	c := &Call{}
	b.ReportAllocs()
	for b.Loop() {
		c.Args = NewDecoder(p)
		if _, ok := parseCall(c); !ok {
			b.Fatal("no call")
		}
	}
}

func BenchmarkLoopback(b *testing.B) {
	for _, x := range []struct {
		name string
		proc uint32
		args func(*Encoder)
		n    int64
	}{
		{"null", procNull, nil, 0},
		{"reply1M", procBig, func(e *Encoder) { e.U32(1 << 20) }, 1 << 20},
		{"call1M", procNull, func(e *Encoder) { e.Reserve(1 << 20) }, 1 << 20},
	} {
		b.Run(x.name, func(b *testing.B) {
			_, addr := startServer(b, Options{Programs: []*Program{(&testService{}).program()}})
			nc := dial(b, addr)
			p := record(1, 2, x.proc, x.args)
			in := make([]byte, 2<<20)
			b.SetBytes(x.n)
			b.ReportAllocs()
			const depth = 16
			sent := 0
			done := make(chan error, 1)
			slots := make(chan struct{}, depth)
			go func() {
				for range slots {
					if _, err := nc.Write(p); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
			read := func() {
				have := 0
				for have < 4 {
					n, err := nc.Read(in[have:4])
					if err != nil {
						b.Fatal(err)
					}
					have += n
				}
				left := int(in[1])<<16 | int(in[2])<<8 | int(in[3])
				for left > 0 {
					n, err := nc.Read(in[:left])
					if err != nil {
						b.Fatal(err)
					}
					left -= n
				}
			}
			got := 0
			for b.Loop() {
				slots <- struct{}{}
				if sent++; sent-got >= depth {
					read()
					got++
				}
			}
			close(slots)
			for ; got < sent; got++ {
				read()
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}
