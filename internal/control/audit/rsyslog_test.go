package audit

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rsyslog is Debian's server on a port of its own, writing what comes to a file.
type rsyslog struct {
	t    *testing.T
	dir  string
	port int
	cmd  *exec.Cmd
}

func newRsyslog(t *testing.T) *rsyslog {
	t.Helper()
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		t.Fatal("rsyslogd is missing; install it with: apt-get install rsyslog")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rsyslog{t: t, dir: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	_ = l.Close()
	conf := fmt.Sprintf(`global(workDirectory="%s" maxMessageSize="64k")
module(load="imtcp")
template(name="raw" type="string" string="%%structured-data%%%%msg%%\n")
input(type="imtcp" port="%d" address="127.0.0.1" ruleset="in")
ruleset(name="in") { action(type="omfile" file="%s" template="raw") }
`, r.dir, r.port, r.out())
	if err := os.WriteFile(filepath.Join(r.dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.stop)
	return r
}

func (r *rsyslog) out() string     { return filepath.Join(r.dir, "out") }
func (r *rsyslog) address() string { return "127.0.0.1:" + strconv.Itoa(r.port) }

func (r *rsyslog) start() {
	r.t.Helper()
	r.cmd = exec.Command("rsyslogd", "-n", "-i", filepath.Join(r.dir, "pid"), "-f", filepath.Join(r.dir, "conf"))
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rsyslog) stop() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill() // as it comes: without finishing
		_ = r.cmd.Wait()
		r.cmd = nil
	}
}

// sequence are the numbers in the file, as they came.
func (r *rsyslog) sequence() []uint64 {
	f, err := os.Open(r.out())
	if err != nil {
		return nil
	}
	defer f.Close()
	var out []uint64
	for s := bufio.NewScanner(f); s.Scan(); {
		_, tail, _ := strings.Cut(s.Text(), `seq="`)
		n, _, _ := strings.Cut(tail, `"`)
		if q, err := strconv.ParseUint(n, 10, 64); err == nil {
			out = append(out, q)
		}
	}
	return out
}

// wait until record n has come.
func (r *rsyslog) wait(n uint64) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(60 * time.Second)
	for {
		s := r.sequence()
		if len(s) > 0 && s[len(s)-1] >= n {
			return
		}
		select {
		case <-limit:
			r.t.Fatalf("record %d has not come; the last of %d is %v", n, len(s), s[max(0, len(s)-1):])
		case <-tick.C:
		}
	}
}

// Everything comes, in order, through the death of the syslog server and a
// restart of ours.
func TestRsyslog(t *testing.T) {
	r := newRsyslog(t)
	r.start()
	o := Options{
		Dir: filepath.Join(t.TempDir(), "audit"), Retry: 50 * time.Millisecond, Host: "node1",
		Dial: func(ctx context.Context, address string, _ bool) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}
	l, stop := running(t, o)
	l.Configure(Config{Enabled: true, Server: r.address(), Format: JSON})
	add := func(n int) {
		for i := range n {
			l.Add(&Record{Protocol: "nfsv3", Operation: "fs_write_data", Status: "ok", Path: fmt.Sprint("/file ", i), FileID: 7})
		}
	}
	add(3000)
	r.wait(2000)
	r.stop() // in the middle
	add(3000)
	r.start()
	r.wait(6000)
	add(1000)
	stop()
	r.stop()
	r.start()
	l, stop = running(t, o)
	l.Configure(Config{Enabled: true, Server: r.address(), Format: JSON})
	add(3000)
	// 10,000 records and one for each start of a connection: at least three.
	r.wait(10_003)
	stop()

	seen, next, again := map[uint64]bool{}, uint64(1), 0
	for _, q := range r.sequence() {
		if seen[q] {
			again++
			continue
		}
		if q != next {
			t.Fatalf("%d came where %d was due", q, next)
		}
		seen[q] = true
		next++
	}
	t.Logf("%d records, %d of them sent again around reconnects", next-1, again)
	b, err := os.ReadFile(r.out())
	if err != nil || !strings.Contains(string(b), `"path":"/file 0"`) {
		t.Errorf("%.300s", b)
	}
}
