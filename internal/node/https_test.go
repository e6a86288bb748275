package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"manifold/internal/kv/memkv"
	"manifold/internal/telemetry"
)

func TestHTTPS_certificateAndDrain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	st, err := testStorage(t, t.TempDir(), memkv.New(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	m := machine{hosts: []string{"localhost"}}
	if _, err := firstRun(ctx, st, [16]byte{1}, m, "Test-Password-1", false); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	inside, finish := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(inside)
			<-finish
		}
		_, _ = io.WriteString(w, "ok")
	})
	metrics := telemetry.New()
	var logged strings.Builder // read when all has ended
	certs := &certificates{config: st.config}
	p := httpsPart("test", []net.Listener{l}, h, certs, newHTTPCounter(metrics, "rest", slowLog(time.Nanosecond, slog.New(slog.NewTextHandler(&logged, nil)))), slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- runParts(ctx, slog.New(slog.DiscardHandler), time.Minute, []part{p}, nil) }()

	rec, err := st.config.Certificate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(rec.Value.Chain)) {
		t.Fatal("no certificate")
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr}
	get := func(path string) (string, error) {
		resp, err := c.Get("https://" + l.Addr().String() + path)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}
	if b, err := get("/"); err != nil || b != "ok" {
		t.Fatalf("%q %v", b, err)
	}
	// A request that is under way when the end is asked for gets its answer.
	type result struct {
		body string
		err  error
	}
	slow := make(chan result, 1)
	go func() { b, err := get("/slow"); slow <- result{b, err} }()
	<-inside
	cancel()
	close(finish)
	if r := <-slow; r.err != nil || r.body != "ok" {
		t.Errorf("%+v", r)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := logged.String(); !strings.Contains(got, `msg="slow request" method=GET path=/slow`) {
		t.Errorf("logged: %s", got)
	}
	var b strings.Builder
	if err := metrics.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`qumulo_protocol_operations_count{data_type="metadata",io_type="read",op_name="GET",protocol="rest"} 2`,
		`qumulo_protocol_operation_bytes_count{data_type="metadata",io_type="read",op_name="GET",protocol="rest"} 4`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("metrics lack %q:\n%s", want, &b)
		}
	}
}
