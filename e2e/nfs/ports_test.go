package nfs

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

type portRow struct {
	ID         string   `json:"id"`
	Low        int      `json:"port_low"`
	High       int      `json:"port_high"`
	Transports []string `json:"transports"`
	Direction  string   `json:"direction"`
	State      string   `json:"state"`
	Disabled   bool     `json:"disabled"`
}

func portTable(t *testing.T, s *harness.Server, args ...string) []portRow {
	t.Helper()
	out := s.MustCLI(t, append([]string{"ports", "--format", "json"}, args...)...)
	var doc struct{ Entries []portRow }
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Entries
}

// openSockets lists what a namespace listens on as "tcp 2049".
func openSockets(t *testing.T, pid int) map[string]bool {
	t.Helper()
	open := map[string]bool{}
	for _, proto := range []string{"tcp", "tcp6", "udp", "udp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, proto))
		if err != nil {
			continue // no IPv6 here
		}
		defer f.Close()
		for sc := bufio.NewScanner(f); sc.Scan(); {
			// sl local_address rem_address st ...
			col := strings.Fields(sc.Text())
			if len(col) < 4 || col[0] == "sl" {
				continue
			}
			transport := strings.TrimSuffix(proto, "6")
			if transport == "tcp" && col[3] != "0A" || transport == "udp" && col[3] != "07" {
				continue // only LISTEN, only unconnected
			}
			_, port, _ := strings.Cut(col[1], ":")
			b, err := hex.DecodeString(port)
			if err != nil || len(b) != 2 {
				t.Fatalf("%q", sc.Text())
			}
			open[fmt.Sprintf("%s %d", transport, int(b[0])<<8|int(b[1]))] = true
		}
	}
	return open
}

func checkSockets(t *testing.T, s *harness.Server, flags ...string) {
	t.Helper()
	open := openSockets(t, s.Pid())
	want := map[string]bool{}
	for _, r := range portTable(t, s, flags...) {
		if r.Direction != "in" || r.State != "on" || r.Disabled {
			continue
		}
		for _, tr := range r.Transports {
			want[fmt.Sprintf("%s %d", tr, r.Low)] = true
		}
	}
	for sock := range want {
		if !open[sock] {
			t.Errorf("%s is in the table but not open", sock)
		}
	}
	for sock := range open {
		if !want[sock] {
			t.Errorf("%s is open but not in the table", sock)
		}
	}
}

func TestPorts_openSocketsAreTheTable(t *testing.T) {
	s := harness.StartServer(t)
	checkSockets(t, s)
}

func TestPorts_movedAndDisabled(t *testing.T) {
	flags := []string{"--port-offset", "20000", "--port", "rest=8000", "--disable", "rpcbind"}
	s := harness.StartServer(t, flags...)
	checkSockets(t, s, flags...)
	if !openSockets(t, s.Pid())["tcp 22049"] {
		t.Error("NFS is not on 22049")
	}
}

// All conflicts are reported at once, each with what to do about it.
func TestPorts_conflict(t *testing.T) {
	s := harness.NewServer(t)
	for _, addr := range []string{"0.0.0.0:2049", "0.0.0.0:8000"} {
		l, err := s.Net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	if err := s.Launch(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Ended():
	case <-time.After(20 * time.Second):
		t.Fatal("the server runs although its ports are taken")
	}
	log, err := os.ReadFile(s.Log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2049", "8000", "--port nfs=", "--port rest=", "--disable nfs"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the message lacks %q", want)
		}
	}
}

func TestSecondServerOnOneDirectory(t *testing.T) {
	s := harness.StartServer(t)
	out, errOut, err := s.CLI(t.Context(), "serve", "--data", s.Data, "--port-offset", "10000")
	if err == nil || !strings.Contains(out+errOut, s.Data) {
		t.Errorf("%v\n%s%s", err, out, errOut)
	}
	if out, errOut, err := s.CLI(t.Context(), "fsck", "--data", s.Data); err == nil {
		t.Errorf("fsck of a directory in use succeeds:\n%s%s", out, errOut)
	}
	if !s.Running() {
		t.Error("the first server ended")
	}
}

// A user without privileges runs the server on high ports.
func TestUnprivileged(t *testing.T) {
	s := harness.NewServer(t)
	dir, err := os.MkdirTemp("/var/tmp", "manifold")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "manifold")
	if out, err := exec.Command("install", "-m", "755", harness.Binary(t), bin).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all",
		bin, "serve", "--data", filepath.Join(dir, "data"), "--port-offset", "20000")
	cmd.Env = append(os.Environ(), "HOME="+dir, "MANIFOLD_ADMIN_PASSWORD="+harness.Password)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	p, err := s.Net.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if err := harness.Answers(t.Context(), s.Net, p, netns.Server+":22049", 20*time.Second); err != nil {
		b, _ := os.ReadFile(log.Name())
		t.Fatalf("%v\n%s", err, b)
	}
}
