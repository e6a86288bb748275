package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

// client of the REST API with as many connections as it has workers.
type restClient struct {
	hc    *http.Client
	token string
}

func newRESTClient(b *testing.B, s *harness.Server, connections int) *restClient {
	b.Helper()
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return s.Net.Dial(ctx, network, addr)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections,
		DisableCompression: true, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10,
	}
	b.Cleanup(t.CloseIdleConnections)
	return &restClient{&http.Client{Transport: t}, s.Login(b).Token}
}

// do sends one request and answers how many bytes came back.
func (c *restClient) do(ctx context.Context, method, path string, body io.Reader, size int64) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+netns.Server+":8000"+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := c.hc.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return n, err
}

// rate asks the same for d over as many connections as there are workers.
func (c *restClient) rate(b *testing.B, path string, workers int, d time.Duration) (perSecond float64, p50, p99 time.Duration) {
	b.Helper()
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	start := time.Now()
	for range workers {
		wg.Go(func() {
			var mine []time.Duration
			for time.Since(start) < d {
				t := time.Now()
				if _, err := c.do(b.Context(), "GET", path, nil, 0); err != nil {
					b.Error(err)
					return
				}
				mine = append(mine, time.Since(t))
			}
			mu.Lock()
			all = append(all, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	took := time.Since(start)
	if len(all) == 0 {
		b.Fatal("no request was answered")
	}
	slices.Sort(all)
	return float64(len(all)) / took.Seconds(), all[len(all)/2], all[len(all)*99/100]
}

// BenchmarkREST measures the API over TLS, client and server on one machine.
// Its rows are for docs/performance.md.
func BenchmarkREST(b *testing.B) {
	const entries, size, each = 1000, int64(1) << 30, 10 * time.Second
	s := harness.StartServer(b)
	admin := s.Login(b)
	admin.Must(b, "POST", "/v1/files/2/entries/", map[string]string{"action": "CREATE_DIRECTORY", "name": "d"}, nil)
	for i := range entries {
		admin.Must(b, "POST", "/v1/files/%2Fd/entries/", map[string]string{"action": "CREATE_FILE", "name": fmt.Sprintf("file-%04d", i)}, nil)
	}
	var rows strings.Builder
	for _, x := range []struct{ name, path string }{
		{"GET attributes", "/v1/files/%2Fd%2Ffile-0500/info/attributes"}, {"GET entries of 1,000", "/v1/files/%2Fd/entries/?limit=1000"},
	} {
		for _, workers := range []int{1, 16, 64} {
			c := newRESTClient(b, s, workers)
			_, _, _ = c.rate(b, x.path, workers, time.Second) // warm
			before, err := harness.UsageOf(s.Pid())
			if err != nil {
				b.Fatal(err)
			}
			n, p50, p99 := c.rate(b, x.path, workers, each)
			after, err := harness.UsageOf(s.Pid())
			if err != nil {
				b.Fatal(err)
			}
			cpu := (after.CPU - before.CPU).Seconds() / (n * each.Seconds()) * 1e6
			fmt.Fprintf(&rows, "| %s | %d | %.0f | %.2f | %.2f | %.0f |\n", x.name, workers, n, p50.Seconds()*1e3, p99.Seconds()*1e3, cpu)
		}
	}
	admin.Must(b, "POST", "/v1/files/%2Fd/entries/", map[string]string{"action": "CREATE_FILE", "name": "big"}, nil)
	c := newRESTClient(b, s, 1)
	var moved strings.Builder
	for range 3 {
		t := time.Now()
		if _, err := c.do(b.Context(), "PUT", "/v1/files/%2Fd%2Fbig/data", io.LimitReader(&pattern{}, size), size); err != nil {
			b.Fatal(err)
		}
		up := time.Since(t)
		t = time.Now()
		n, err := c.do(b.Context(), "GET", "/v1/files/%2Fd%2Fbig/data", nil, 0)
		if err != nil || n != size {
			b.Fatalf("%d bytes, %v", n, err)
		}
		down := time.Since(t)
		fmt.Fprintf(&moved, "| %.0f | %.0f |\n", float64(size>>20)/up.Seconds(), float64(size>>20)/down.Seconds())
	}
	b.Logf("\n| Request | Connections | Requests/s | p50 ms | p99 ms | Server CPU µs |\n|---|---|---|---|---|---|\n%s\n| Upload 1 GiB, MiB/s | Download 1 GiB, MiB/s |\n|---|---|\n%s", rows.String(), moved.String())
}

// pattern is data that does not compress to nothing.
type pattern struct{ x uint64 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := 0; i < len(b); i += 8 {
		p.x = p.x*6364136223846793005 + 1442695040888963407
		for j, v := i, p.x; j < min(i+8, len(b)); j, v = j+1, v>>8 {
			b[j] = byte(v)
		}
	}
	return len(b), nil
}
