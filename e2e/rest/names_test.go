package rest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/client"
	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

// peer runs a server of Debian in the namespace of ours until the test ends.
func peer(t *testing.T, s *harness.Server, program string, args ...string) *netns.Process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(program)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := s.Net.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		_ = log.Close()
		if b, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s:\n%s", program, b)
		}
	})
	return p
}

// answer is what the server finds of a name or an address, and how that ended.
func answer(t *testing.T, s *harness.Server, name string) string {
	t.Helper()
	var out []struct {
		Found  []string
		Result string
	}
	if err := json.Unmarshal([]byte(s.MustCLI(t, "dns", "resolve", name, "--json")), &out); err != nil || len(out) != 1 {
		t.Fatalf("%s: %+v %v", name, out, err)
	}
	return strings.Join(append([]string{out[0].Result}, out[0].Found...), " ")
}

// eventually waits for an answer.
func eventually(t *testing.T, s *harness.Server, name, want string) {
	t.Helper()
	var got string
	if !harness.Within(20*time.Second, func() bool { got = answer(t, s, name); return strings.Contains(got, want) }) {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

// Names come from dnsmasq, and from unbound when that is gone.
func TestNames(t *testing.T) {
	harness.Require(t, "dnsmasq", "unbound")
	s := harness.StartServer(t)
	s.MustCLI(t, "login", "--password", harness.Password)
	const first, second, nobody = "127.77.0.53", "127.77.0.54", "127.77.0.55"
	p := peer(t, s, "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts", "--bind-interfaces",
		"--listen-address="+first, "--local=/example/", "--local=/in-addr.arpa/", "--local-ttl=2", "--host-record=host.example,192.0.2.9", "--host-record=six.example,2001:db8::9")
	conf := filepath.Join(t.TempDir(), "unbound.conf")
	if err := os.WriteFile(conf, []byte(`server:
  interface: `+second+`
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  pidfile: ""
  local-zone: "example." static
  local-data: "host.example. 600 IN A 192.0.2.10"
remote-control:
  control-enable: no
`), 0o600); err != nil {
		t.Fatal(err)
	}
	peer(t, s, "unbound", "-d", "-c", conf)
	s.MustCLI(t, "dns", "modify", "--server", nobody, "--server", first, "--server", second, "--search", "example")
	s.MustCLI(t, "dns", "override", "set", "198.51.100.7", "static.example")
	eventually(t, s, "host.example", "OK 192.0.2.9")
	for name, want := range map[string]string{
		"host": "OK 192.0.2.9", "HOST.example": "OK 192.0.2.9", "six.example": "OK 2001:db8::9", "192.0.2.9": "OK host.example",
		"static.example": "OK 198.51.100.7", "198.51.100.7": "OK static.example",
	} {
		if got := answer(t, s, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := answer(t, s, "nobody.example"); strings.HasPrefix(got, "OK") {
		t.Errorf("a name that there is not: %q", got)
	}
	// Two seconds are what dnsmasq allows; then the next server is asked.
	p.Kill()
	eventually(t, s, "host.example", "OK 192.0.2.10")
	s.MustCLI(t, "dns", "clear-cache")
	if got := answer(t, s, "six.example"); strings.HasPrefix(got, "OK") {
		t.Errorf("unbound knows no such name: %q", got)
	}
}

// The clock is compared with chronyd, whose name comes from dnsmasq.
func TestClock(t *testing.T) {
	harness.Require(t, "dnsmasq", "chronyd")
	s := harness.StartServer(t)
	s.MustCLI(t, "login", "--password", harness.Password)
	peer(t, s, "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts", "--bind-interfaces",
		"--listen-address=127.77.0.53", "--host-record=clock.example,127.77.0.123", "--host-record=dead.example,127.77.0.124")
	dir := t.TempDir()
	conf := filepath.Join(dir, "chrony.conf")
	text := "local stratum 4\nallow all\nbindaddress 127.77.0.123\nport 123\ncmdport 0\nbindcmdaddress " + filepath.Join(dir, "sock") + "\npidfile " + filepath.Join(dir, "pid") + "\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// It leaves the clock of this machine alone.
	p := peer(t, s, "chronyd", "-d", "-x", "-u", "root", "-f", conf)
	s.MustCLI(t, "dns", "modify", "--server", "127.77.0.53")
	eventually(t, s, "clock.example", "OK 127.77.0.123")
	status := func() (st client.TimeStatus) {
		t.Helper()
		if err := json.Unmarshal([]byte(s.MustCLI(t, "time", "show", "--json")), &st); err != nil {
			t.Fatal(err)
		}
		return st
	}
	var st client.TimeStatus
	// Another list is looked at at once; chronyd may need a moment to answer.
	if !harness.Within(30*time.Second, func() bool {
		s.MustCLI(t, "time", "modify", "--server", "")
		s.MustCLI(t, "time", "modify", "--server", "clock.example,dead.example")
		return harness.Within(2*time.Second, func() bool {
			st = status()
			return len(st.Servers) == 2 && st.Servers[0].Healthy
		})
	}) {
		t.Fatalf("%+v", st)
	}
	good, dead := st.Servers[0], st.Servers[1]
	if good.Server != "clock.example" || good.Stratum != 4 || good.OffsetNanoseconds > 1e8 || good.OffsetNanoseconds < -1e8 || good.RoundTripNanoseconds <= 0 || good.RoundTripNanoseconds > 1e9 {
		t.Errorf("%+v", good)
	}
	if dead.Healthy || dead.Error == "" || st.Status != "TIME_SYNCHRONIZING" {
		t.Errorf("%+v %s", dead, st.Status)
	}
	p.Kill()
	s.MustCLI(t, "time", "modify", "--server", "dead.example")
	if !harness.Within(20*time.Second, func() bool {
		st = status()
		return len(st.Servers) == 1 && !st.Servers[0].Healthy && st.Status != "TIME_SYNCHRONIZING"
	}) {
		t.Errorf("%+v", st)
	}
}
