package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"manifold/internal/node/bench"
	"manifold/internal/ports"
	"manifold/internal/wire/sunrpc"
)

// running is a server in this process on ports of the system's choice.
type running struct {
	ledger *ports.Ledger
	out    *bytes.Buffer
	stop   func() error // asks it to end and answers how it did
}

func startServer(t *testing.T, dir string, change ...func(*ports.Options)) *running {
	t.Helper()
	po := ports.Options{
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Move:      map[ports.ID]uint16{ports.REST: 0, ports.NFS: 0, ports.RPCBind: 0, ports.S3: 0, ports.CIFS: 0, ports.SSH: 0, ports.FTP: 0, ports.FTPS: 0},
	}
	for _, c := range change {
		c(&po)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{out: &bytes.Buffer{}}
	ready, ended := make(chan *ports.Ledger, 1), make(chan error, 1)
	go func() {
		ended <- Serve(ctx, Options{
			DataDir: dir, AdminPassword: "Serve-Test-1", Out: r.out,
			Ports: po,
			Ready: func(l *ports.Ledger) { ready <- l },
		})
	}()
	select {
	case r.ledger = <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("not started: %v", err)
	}
	stopped := false
	r.stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			_ = r.stop()
		}
	})
	return r
}

func (r *running) address(id ports.ID) string {
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(r.ledger.Number(id)))
}

// rest does one request without a connection that outlives it.
func (r *running) rest(t *testing.T, method, path, token string, body any) (int, string) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+r.address(ports.REST)+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true} // self-signed
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

func TestServe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := startServer(t, dir)
	for _, want := range []string{"mount -t nfs", fmt.Sprintf("https://%s/", r.address(ports.REST)), dir} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("banner lacks %q:\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out.String(), "Serve-Test-1") {
		t.Error("the banner shows a password that was given")
	}
	if code, body := r.rest(t, "GET", "/v1/version", "", nil); code != 200 || !strings.Contains(body, "manifold") {
		t.Errorf("%d %s", code, body)
	}
	code, body := r.rest(t, "POST", "/v1/session/login", "", map[string]string{"username": "admin", "password": "Serve-Test-1"})
	var login struct {
		Token string `json:"bearer_token"`
	}
	if err := json.Unmarshal([]byte(body), &login); code != 200 || err != nil {
		t.Fatalf("%d %s", code, body)
	}
	token := readPrivate(t, filepath.Join(dir, metricsFile))
	if code, body := r.rest(t, "GET", "/v2/metrics/endpoints/default/data", token, nil); code != 200 || !strings.HasSuffix(body, "# EOF\n") || !strings.Contains(body, "qumulo_fs_capacity_bytes ") ||
		!strings.Contains(body, `qumulo_time_is_not_synchronizing{node_id="1"} 1`) || !strings.Contains(body, `qumulo_quorum_node_is_offline{node_id="1"} 0`) {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := r.rest(t, "GET", "/v1/users/", token, nil); code == 200 {
		t.Error("the metrics token reads users")
	}
	if code, body := r.rest(t, "POST", "/v1/files/%2F/entries/", login.Token, map[string]string{"name": "kept", "action": "CREATE_DIRECTORY"}); code != 200 && code != 201 {
		t.Errorf("mkdir: %d %s", code, body)
	}

	// NFS: the benchmark is a client that checks what it gets.
	phases, err := bench.NFS(t.Context(), bench.NFSOptions{
		Options: bench.Options{Files: 30, Clients: 2}, Bytes: 4 << 20, RandomOps: 40,
		Dial: func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", r.address(ports.NFS))
		},
		Pair:     func(ctx context.Context) (net.Conn, net.Conn, error) { return r.ledger.Loopback(ctx, ports.BenchOut) },
		PlainDir: t.TempDir(),
	})
	if err != nil || len(phases) != 12 || bench.OfPlainCopy(phases) <= 0 {
		t.Errorf("NFS: %+v %v", phases, err)
	}
	if code, body := r.rest(t, "GET", "/v2/metrics/endpoints/internal/data", token, nil); code != 200 ||
		!strings.Contains(body, `latency_seconds_bucket{data_type="data",io_type="read",op_name="READ",protocol="nfs",le="0.0001"}`) ||
		!strings.Contains(body, `qumulo_protocol_operations_count{data_type="metadata",io_type="composite",op_name="NLM_LOCK",protocol="nfs"} 0`) {
		t.Errorf("%d %s", code, body)
	}
	if got := r.portOf(t, 100003, 3, 6); got != uint32(r.ledger.Number(ports.NFS)) {
		t.Errorf("rpcbind says NFS is on %d, it is on %d", got, r.ledger.Number(ports.NFS))
	}

	// One process at a time, and no check meanwhile.
	err = Serve(t.Context(), Options{DataDir: dir, Ports: ports.Options{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Move: map[ports.ID]uint16{ports.REST: 0, ports.NFS: 0, ports.RPCBind: 0, ports.CIFS: 0, ports.SSH: 0, ports.FTP: 0, ports.FTPS: 0}}})
	if !errors.Is(err, ErrLocked) {
		t.Errorf("second server: %v", err)
	}
	if _, err := Check(t.Context(), CheckOptions{DataDir: dir, Found: func(CheckFinding) {}}); !errors.Is(err, ErrLocked) {
		t.Errorf("fsck of a running server: %v", err)
	}
	if err := r.stop(); err != nil {
		t.Fatalf("stopped with %v", err)
	}

	report, err := Check(t.Context(), CheckOptions{DataDir: dir, Found: func(f CheckFinding) { t.Errorf("fsck: %+v", f) }})
	if err != nil || report.Inodes < 2 {
		t.Errorf("fsck: %+v %v", report, err)
	}
	if _, err := Scrub(t.Context(), ScrubOptions{DataDir: dir, Found: func(f ScrubFinding) { t.Errorf("scrub: %+v", f) }}); err != nil {
		t.Errorf("scrub: %v", err)
	}

	// The next process finds all of it: session, token, directory.
	r = startServer(t, dir)
	if code, body := r.rest(t, "GET", "/v1/files/%2Fkept/info/attributes", login.Token, nil); code != 200 {
		t.Errorf("after a restart: %d %s", code, body)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// portOf asks the server's rpcbind, version 2.
func (r *running) portOf(t *testing.T, prog, vers, proto uint32) (port uint32) {
	t.Helper()
	nc, err := net.Dial("tcp", r.address(ports.RPCBind))
	if err != nil {
		t.Fatal(err)
	}
	c := sunrpc.NewClient(nc)
	defer c.Close()
	err = c.Call(t.Context(), 100000, 2, 3, nil, func(e *sunrpc.Encoder) {
		for _, n := range []uint32{prog, vers, proto, 0} {
			e.U32(n)
		}
	}, func(d *sunrpc.Decoder) error { port = d.U32(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestServe_conflictChangesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := filepath.Join(t.TempDir(), "data")
	n := uint16(taken.Addr().(*net.TCPAddr).Port)
	err = Serve(t.Context(), Options{DataDir: dir, Ports: ports.Options{
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Move:      map[ports.ID]uint16{ports.REST: n, ports.NFS: 0, ports.RPCBind: 0, ports.CIFS: 0, ports.SSH: 0, ports.FTP: 0, ports.FTPS: 0},
	}})
	var all *ports.ConflictError
	if !errors.As(err, &all) || len(all.Conflicts) != 1 || all.Conflicts[0].ID != ports.REST {
		t.Errorf("%v", err)
	}
	if _, err := openDataDir(dir, false); err == nil {
		t.Error("a data directory was made")
	}
}

func TestServe_stoppedWhileStarting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Serve(ctx, Options{DataDir: filepath.Join(t.TempDir(), "data"), Ports: ports.Options{
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Move:      map[ports.ID]uint16{ports.REST: 0, ports.NFS: 0, ports.RPCBind: 0, ports.CIFS: 0, ports.SSH: 0, ports.FTP: 0, ports.FTPS: 0},
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestBench_nfs(t *testing.T) {
	phases, err := Bench(t.Context(), BenchOptions{BenchShape: BenchShape{Files: 20}, Dir: t.TempDir(), NFS: true, NFSBytes: 2 << 20})
	if err != nil || len(phases) != 12 {
		t.Errorf("%+v %v", phases, err)
	}
	phases, err = Bench(t.Context(), BenchOptions{BenchShape: BenchShape{Files: 20}, Dir: t.TempDir()})
	if err != nil || len(phases) != 4 {
		t.Errorf("%+v %v", phases, err)
	}
}
