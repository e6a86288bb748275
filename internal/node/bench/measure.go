package bench

import (
	"math/bits"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// pattern is what files hold, so that reads can be checked. It does not compress.
var pattern = func() (p [64 << 10]byte) {
	x := uint64(0x9e3779b97f4a7c15)
	for i := range p {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x)
	}
	return p
}()

var buffers = sync.Pool{New: func() any { return new([len(pattern)]byte) }}

// histogram counts durations in steps of 1/8 of a power of two.
type histogram struct{ n [64 * 8]atomic.Int64 }

func bucket(d time.Duration) int {
	v := uint64(max(d, 8))
	e := bits.Len64(v) - 1
	return e*8 + int(v>>(e-3)&7)
}

func (h *histogram) add(d time.Duration) { h.n[bucket(d)].Add(1) }

// quantile answers the upper edge of the bucket that holds the share q.
func (h *histogram) quantile(q float64) time.Duration {
	var total int64
	for i := range h.n {
		total += h.n[i].Load()
	}
	want := int64(q*float64(total) + 0.5)
	var sum int64
	for i := range h.n {
		if sum += h.n[i].Load(); sum >= want && sum > 0 {
			e, m := i/8, i%8
			return time.Duration(uint64(8+m+1) << (e - 3))
		}
	}
	return 0
}

// processCPU is the user and system time of this process so far.
func processCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memory remembers the greatest resident size that it saw.
type memory struct {
	end  chan struct{}
	done sync.WaitGroup
	peak int64 // read after done
}

func watchMemory() *memory {
	m := &memory{end: make(chan struct{}), peak: ResidentBytes()}
	m.done.Go(func() {
		t := time.NewTicker(50 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-m.end:
				return
			case <-t.C:
				m.peak = max(m.peak, ResidentBytes())
			}
		}
	})
	return m
}

func (m *memory) stop() int64 {
	close(m.end)
	m.done.Wait()
	return max(m.peak, ResidentBytes())
}

// ResidentBytes is the resident size of this process, 0 if unknown.
func ResidentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(b))
	if err != nil || len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
