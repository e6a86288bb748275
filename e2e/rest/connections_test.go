package rest

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

// As many clients as a node promises are connected at a time, all are answered,
// and what they cost is bounded and given back.
func TestConnections(t *testing.T) {
	const (
		clients = 1000
		rounds  = 5
		most    = 256 << 10 // bytes of memory for each
	)
	s := harness.StartServer(t)
	r := s.Login(t)
	before, err := harness.UsageOf(s.Pid())
	if err != nil {
		t.Fatal(err)
	}
	files := openFiles(t, s.Pid())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conns := make([]*tls.Conn, clients)
	var wg sync.WaitGroup
	gate := make(chan struct{}, 50) // the kernel's queue of new connections is short
	for i := range conns {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			raw, err := s.Net.Dial(ctx, "tcp", netns.Server+":8000")
			if err != nil {
				t.Error(err)
				return
			}
			c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) // it signed its certificate itself
			if err := c.HandshakeContext(ctx); err != nil {
				t.Error(err)
			}
			conns[i] = c
		})
	}
	wg.Wait()
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	if t.Failed() {
		t.FailNow()
	}
	ask := func(c *tls.Conn) error {
		req, err := http.NewRequestWithContext(ctx, "GET", "https://"+netns.Server+":8000/v1/files/2/info/attributes", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+r.Token)
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
		if err := req.Write(c); err != nil {
			return err
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != 200 {
			err = fmt.Errorf("%s: %s", resp.Status, b)
		}
		return err
	}
	for range rounds { // all at once, all connections open
		for _, c := range conns {
			wg.Go(func() {
				if err := ask(c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	during, err := harness.UsageOf(s.Pid())
	if err != nil {
		t.Fatal(err)
	}
	grown := int64(during.ResidentBytes) - int64(before.ResidentBytes)
	t.Logf("%d connections took %d KiB of memory", clients, grown>>10)
	if grown > clients*most {
		t.Errorf("%d connections take %d MiB", clients, grown>>20)
	}
	// One more is not left waiting.
	s.Login(t).Must(t, "GET", "/v1/version", nil, nil)
	for _, c := range conns {
		_ = c.Close()
	}
	for openFiles(t, s.Pid()) > files+20 {
		select {
		case <-ctx.Done():
			t.Fatalf("%d files are open, %d were", openFiles(t, s.Pid()), files)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	d, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}
