package audit

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a syslog server that can be stopped.
type server struct {
	t    *testing.T
	mu   sync.Mutex
	c    map[net.Conn]bool
	seqs chan uint64
	last string
}

// connect is a dialer that ends at the server through pipes, or fails while it
// is down.
func newServer(t *testing.T) *server {
	return &server{t: t, c: map[net.Conn]bool{}, seqs: make(chan uint64, 1<<20)}
}

func (s *server) dial(context.Context, string, bool) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		return nil, fmt.Errorf("connection refused")
	}
	ours, theirs := net.Pipe()
	s.c[theirs] = true
	go s.serve(theirs)
	return ours, nil
}

func (s *server) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		n, err := r.ReadString(' ')
		if err != nil {
			return
		}
		size, err := strconv.Atoi(strings.TrimSpace(n))
		if err != nil {
			s.t.Errorf("frame %q", n)
			return
		}
		b := make([]byte, size)
		if _, err := readFull(r, b); err != nil {
			return
		}
		_, tail, _ := strings.Cut(string(b), `seq="`)
		seq, _, _ := strings.Cut(tail, `"`)
		q, err := strconv.ParseUint(seq, 10, 64)
		if err != nil {
			s.t.Errorf("message %q", b)
			return
		}
		s.mu.Lock()
		s.last = string(b)
		s.mu.Unlock()
		s.seqs <- q
	}
}

func readFull(r *bufio.Reader, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := r.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.c {
		_ = c.Close()
	}
	s.c = nil
}

func (s *server) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c = map[net.Conn]bool{}
}

// upTo waits until everything to n has come, in order but for what is sent again.
func (s *server) upTo(n uint64) {
	s.t.Helper()
	seen := map[uint64]bool{}
	limit := time.After(30 * time.Second)
	for next := uint64(1); next <= n; {
		select {
		case q := <-s.seqs:
			seen[q] = true
			if q > next {
				for m := next; m < q; m++ {
					if !seen[m] {
						s.t.Fatalf("%d came before %d", q, m)
					}
				}
			}
			for seen[next] {
				next++
			}
		case <-limit:
			s.t.Fatalf("only %d of %d came", next-1, n)
		}
	}
}

// running opens a log and runs it until stop is called.
func running(t *testing.T, o Options) (l *Log, stop func()) {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l, stop
}

func TestLog(t *testing.T) {
	s := newServer(t)
	o := Options{Dir: filepath.Join(t.TempDir(), "audit"), Dial: s.dial, Retry: time.Millisecond}
	l, stop := running(t, o)
	l.Add(&Record{Operation: "ignored"}) // nobody wants it yet
	l.Configure(Config{Enabled: true, Server: "x:514", Format: CSV})
	add := func(n int) {
		for range n {
			l.Add(&Record{Protocol: "nfsv3", Operation: "fs_write_data", Status: "ok", Path: "/a"})
		}
	}
	add(1000)
	s.upTo(1001) // with the record of the start
	s.stop()
	add(1000)
	s.start()
	s.upTo(2002)
	// A restart of the process, with an outage around it.
	s.stop()
	add(500)
	stop()
	s.start()
	l, stop = running(t, o)
	l.Configure(Config{Enabled: true, Server: "x:514", Format: CSV})
	add(500)
	s.upTo(3003)
	if st := l.Status(); st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
	stop()
	s.stop()
}

// A full spool keeps the oldest and says how many were lost.
func TestLog_full(t *testing.T) {
	s := newServer(t)
	s.stop()
	o := Options{Dir: filepath.Join(t.TempDir(), "audit"), Dial: s.dial, Retry: time.Millisecond, SpoolBytes: 10 << 10}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	l.Configure(Config{Enabled: true, Server: "x:514"})
	for i := range 1000 {
		l.Add(&Record{Operation: "op", Path: fmt.Sprint("/", i)})
	}
	st := l.Status()
	if st.Spooled == 0 || st.Dropped == 0 || st.Spooled+st.Dropped != 1000 || st.Bytes > st.Limit {
		t.Errorf("%+v", st)
	}
	if got := stored(l.spool); len(got) != int(st.Spooled) || got[0] != `,"0",,op,,,"/0",""` {
		t.Errorf("%d records, the oldest is %s", len(got), got[0])
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	// The count outlives a restart.
	o.SpoolBytes = 1 << 20
	if l, err = Open(o); err != nil {
		t.Fatal(err)
	}
	l.Configure(Config{Enabled: true, Server: "x:514"})
	l.full.Store(true) // as a record that finds no room would
	if err := l.tidy(); err != nil {
		t.Error(err)
	}
	l.Add(&Record{Operation: "later", Path: "/x"})
	got := stored(l.spool)
	want := []string{fmt.Sprintf(`,"1",internal,audit_records_dropped,ok,,"%d",""`, st.Dropped), `,"0",,later,,,"/x",""`}
	if len(got) != int(st.Spooled)+2 || !slices.Equal(got[len(got)-2:], want) {
		t.Errorf("%q, want %q", got[len(got)-2:], want)
	}
	if p, _ := l.spool.state(); p.Dropped != 0 || p.Next != st.Spooled+3 {
		t.Errorf("%+v", p)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// stored are the texts of all records, whose numbers must be without a gap.
func stored(s *spool) (out []string) {
	if err := s.file(); err != nil {
		panic(err)
	}
	r := s.readFrom(1)
	defer r.close()
	for {
		e, ok := r.read()
		if !ok {
			return out
		}
		if len(out) > 0 && e.seq != r.next-1 {
			panic(fmt.Sprint(e.seq, " after ", r.next-1))
		}
		out = append(out, string(e.text))
	}
}

// The local log has every record once, over restarts and rotations.
func TestLog_local(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	o := Options{Dir: dir, Dial: newServer(t).dial, Retry: time.Millisecond, LocalBytes: 100 << 10}
	next := 0
	for range 4 {
		l, stop := running(t, o)
		l.Configure(Config{Local: true, Format: JSON})
		for range 500 {
			next++
			l.Add(&Record{Operation: "op", Path: fmt.Sprint("/", next)})
		}
		waitLocal(t, l)
		if st := l.Status(); st.State != Disabled {
			t.Errorf("%+v", st)
		}
		stop()
	}
	seq := uint64(0)
	for i := LocalFiles - 1; i >= 0; i-- {
		name := filepath.Join(dir, "audit.log")
		if i > 0 {
			name += fmt.Sprint(".", i)
		}
		b, err := os.ReadFile(name)
		if err != nil || len(b) > 200<<10 {
			t.Fatal(len(b), err)
		}
		for line := range strings.Lines(string(b)) {
			q, ok := seqOf([]byte(line))
			if !ok || seq != 0 && q != seq+1 {
				t.Fatalf("%d after %d in %s", q, seq, line)
			}
			seq = q
		}
	}
	if seq != uint64(next) {
		t.Errorf("%d of %d", seq, next)
	}
}

// waitLocal until the local log has everything.
func waitLocal(t *testing.T, l *Log) {
	t.Helper()
	limit := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for l.local.Load() != l.Status().Last {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%d of %d", l.local.Load(), l.Status().Last)
		}
	}
}
