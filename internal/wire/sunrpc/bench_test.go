package sunrpc

import "testing"

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

func BenchmarkCache(b *testing.B) {
	c := newCache(1000, 1000, 1<<20)
	call := cacheCall(1, 0)
	reply := make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		call.XID++
		e, _ := c.begin(call)
		c.end(e, reply, true)
	}
}
