package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/identity"
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

func (s *server) dial(context.Context, string) (net.Conn, error) {
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
	l.Add(Record{Operation: "ignored"}) // nobody wants it yet
	l.Configure(Config{Enabled: true, Server: "x:514", Format: CSV})
	add := func(n int) {
		for range n {
			l.Add(Record{Protocol: "nfsv3", Operation: "fs_write_data", Status: "ok", Path: "/a"})
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
		l.Add(Record{Operation: "op", Path: fmt.Sprint(i)})
	}
	if err := l.store(); err == nil {
		t.Error("all fitted")
	}
	st := l.Status()
	if st.Spooled == 0 || st.Spooled+st.Dropped != 1000 {
		t.Errorf("%+v", st)
	}
	r := l.spool.resume()
	first, _, ok := r.read()
	r.close()
	if !ok || first.Path != "0" {
		t.Errorf("the oldest is %+v", first)
	}
	l.spool.limit = 1 << 20 // room again
	if err := l.store(); err != nil {
		t.Error(err)
	}
	r = l.spool.resume()
	defer r.close()
	var last Record
	for {
		rec, _, ok := r.read()
		if !ok {
			break
		}
		last = rec
	}
	if last.Operation != "audit_records_dropped" || last.Extra != fmt.Sprint(st.Dropped) || last.Seq != st.Spooled+1 {
		t.Errorf("%+v of %+v", last, st)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// What was not written whole is cut off; the rest is read.
func TestSpool_torn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	s, err := openSpool(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.append(make([]Record, 10)); n != 10 || err != nil {
		t.Fatal(n, err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	path := s.segment(1)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := int64(1); cut < 60; cut += 7 {
		if err := os.Truncate(path, st.Size()-cut); err != nil {
			t.Fatal(err)
		}
		s, err := openSpool(dir, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		r := s.resume()
		n := 0
		for {
			rec, _, ok := r.read()
			if !ok {
				break
			}
			if n++; rec.Seq != uint64(n) {
				t.Fatalf("record %d is %d", n, rec.Seq)
			}
		}
		r.close()
		if n != 9 || s.mu.next != 11 {
			t.Fatalf("cut %d: %d records, next %d", cut, n, s.mu.next)
		}
	}
}

func FuzzReadRecord(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 1, 2, 3, 4, '{', '}'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(strings.NewReader(string(b)))
		for {
			rec, err := readRecord(r)
			if err != nil {
				return
			}
			_, _ = decodeRecord(rec)
		}
	})
}

func TestMessage(t *testing.T) {
	names := func(a identity.AuthID) (string, string) {
		if a == 500 {
			return "ad\nmin\"x", "S-1-5-21-1-2-3-500"
		}
		return "", ""
	}
	off, size := uint64(5), uint64(7)
	r := Record{
		Seq: 42, Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), User: 500, Client: netip.MustParseAddr("::ffff:10.1.2.3"), Protocol: "nfsv3",
		Operation: "fs_write_data", Status: "ok", FileID: 7, Path: "/a,b\n\"c", Offset: &off, Size: &size,
	}
	head := `<14>1 2026-01-02T03:04:05.000006Z ho_st qumulo 1 - [manifold@32473 seq="42"] `
	if got, want := string(message(&r, CSV, "ho st", names)), head+`10.1.2.3,"admin""x",nfsv3,fs_write_data,ok,7,"/a,b""c",""`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	b, ok := strings.CutPrefix(string(message(&r, JSON, "ho st", names)), head)
	var j map[string]any
	if err := json.Unmarshal([]byte(b), &j); err != nil || !ok {
		t.Fatalf("%v: %s", err, b)
	}
	if d := j["details"].(map[string]any); d["path"] != r.Path || d["file_id"] != "7" || d["offset"] != 5.0 || j["user_ip"] != "10.1.2.3" || j["user_id"].(map[string]any)["auth_id"] != "500" {
		t.Errorf("%s", b)
	}
	r = Record{Time: r.Time, User: identity.UID(1000), Protocol: "api", Operation: "auth_create_user", Status: "ok", Extra: "jane"}
	if got := string(message(&r, CSV, "", names)); !strings.HasSuffix(got, `] ,"1000",api,auth_create_user,ok,,"jane",""`) {
		t.Error(got)
	}
}

func TestWrap(t *testing.T) {
	ctx := t.Context()
	l, err := Open(Options{Dir: filepath.Join(t.TempDir(), "audit"), Dial: newServer(t).dial})
	if err != nil {
		t.Fatal(err)
	}
	l.Configure(Config{Enabled: true})
	f := Wrap(memfs.New(memfs.Options{}), l)
	c := &fs.Caller{Cred: identity.POSIX(0, 0, nil), Protocol: fs.ProtoNFS3, Client: netip.MustParseAddrPort("10.0.0.1:800")}
	made, err := f.Create(ctx, c, fs.Root, "d", &fs.CreateSpec{Type: fs.Directory, Want: fs.AttrType})
	if err != nil {
		t.Fatal(err)
	}
	file, err := f.Create(ctx, c, made.Attr.Node, "f", &fs.CreateSpec{Type: fs.File, Want: fs.AttrType})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(ctx, c, file.Attr.Node, &fs.WriteRequest{Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	for range 3 { // one record
		if _, err := f.Read(ctx, c, file.Attr.Node, &fs.ReadRequest{}, buf); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Rename(ctx, c, made.Attr.Node, "f", fs.Root, "g", fs.RenameOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(ctx, c, file.Attr.Node, &fs.WriteRequest{Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Remove(ctx, c, fs.Root, "none", fs.RemoveAny); err == nil {
		t.Fatal("removed")
	}
	if _, err := f.StartTreeDelete(ctx, c, made.Attr.Node.ID); err != nil {
		t.Fatal(err)
	}
	staged, err := f.Stage(ctx, c, &fs.StageSpec{Dir: fs.Root})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(ctx, c, staged, &fs.WriteRequest{Data: []byte("new")}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Publish(ctx, c, staged, fs.Root, "g", &fs.PublishSpec{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range l.mu.queue {
		got = append(got, fmt.Sprintf("%s %s %s %s", r.Operation, r.Status, r.Path, r.Target))
		if r.Protocol != "nfsv3" || r.User != identity.UID(0) || r.Client != c.Client.Addr() {
			t.Errorf("%+v", r)
		}
	}
	want := []string{
		"fs_create_directory ok /d ", "fs_create_file ok /d/f ", "fs_write_data ok /d/f ", "fs_read_data ok /d/f ", "fs_rename ok /d/f /g",
		"fs_write_data ok /g ", "fs_delete fs_no_such_entry /none ", "fs_tree_delete ok /d/ ",
		"fs_delete ok /g ", "fs_create_file ok /g ", "fs_write_data ok /g ",
	}
	for i := range max(len(got), len(want)) {
		if i >= len(want) || i >= len(got) || strings.TrimSuffix(strings.TrimSpace(got[i]), "/") != strings.TrimSuffix(strings.TrimSpace(want[i]), "/") {
			t.Fatalf("%q\nwant %q", got, want)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
