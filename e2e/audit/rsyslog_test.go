package audit

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

// rsyslog is Debian's syslog server in a namespace. It appends what comes to a
// file, structured data and message of each.
type rsyslog struct {
	tb   testing.TB
	net  *netns.Namespace
	dir  string
	proc *netns.Process
}

const port = 6514

// newRsyslog prepares a server; stream are settings of its input, for TLS.
func newRsyslog(tb testing.TB, n *netns.Namespace, dir, global, stream string) *rsyslog {
	tb.Helper()
	harness.Require(tb, "rsyslogd")
	r := &rsyslog{tb: tb, net: n, dir: dir}
	conf := fmt.Sprintf(`global(workDirectory=%[1]q maxMessageSize="64k"%[4]s)
module(load="imtcp"%[5]s)
template(name="raw" type="string" string="%%structured-data%%%%msg%%\n")
input(type="imtcp" port="%[2]d" address="127.0.0.1" ruleset="in")
ruleset(name="in") { action(type="omfile" file=%[3]q template="raw") }
`, dir, port, r.out(), global, stream)
	if err := os.WriteFile(r.path("conf"), []byte(conf), 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if r.proc != nil {
			r.proc.Kill()
		}
		if tb.Failed() {
			log, _ := os.ReadFile(r.path("log"))
			tb.Logf("rsyslogd:\n%s", log)
		}
	})
	return r
}

func (r *rsyslog) path(name string) string { return filepath.Join(r.dir, name) }
func (r *rsyslog) out() string             { return r.path("out") }

func (r *rsyslog) start() {
	r.tb.Helper()
	log, err := os.OpenFile(r.path("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("rsyslogd", "-n", "-i", r.path("pid"), "-f", r.path("conf"))
	cmd.Stdout, cmd.Stderr = log, log
	if r.proc, err = r.net.Start(cmd); err != nil {
		r.tb.Fatal(err)
	}
}

// stop ends it as an init system would.
func (r *rsyslog) stop() {
	r.tb.Helper()
	if err := syscall.Kill(r.proc.Pid(), syscall.SIGTERM); err != nil {
		r.tb.Fatal(err)
	}
	select {
	case <-r.proc.Done():
	case <-time.After(30 * time.Second):
		r.tb.Fatal("rsyslogd does not end")
	}
}

// record is one that came.
type record struct {
	seq  uint64
	text string
}

// records are those that came, in order of arrival, the ones sent again included.
func (r *rsyslog) records() (out []record) {
	r.tb.Helper()
	f, err := os.Open(r.out())
	if err != nil {
		return nil
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		head, text, ok := strings.Cut(s.Text(), `"]`)
		_, digits, _ := strings.Cut(head, `seq="`)
		q, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil {
			continue // a line that is being written
		}
		out = append(out, record{q, strings.TrimPrefix(text, " ")})
	}
	return out
}

// wait until a record has come that holds a text, and answer all.
func (r *rsyslog) wait(text string) (all []record) {
	r.tb.Helper()
	if !harness.Within(60*time.Second, func() bool {
		all = r.records()
		if slices.ContainsFunc(all[max(0, len(all)-1000):], func(x record) bool { return strings.Contains(x.text, text) }) {
			return true
		}
		select {
		case <-r.proc.Done():
			r.tb.Fatalf("rsyslogd ended: %v", r.proc.Err())
		default:
		}
		return false
	}) {
		r.tb.Fatalf("%q has not come; %d records have", text, len(all))
	}
	return all
}
