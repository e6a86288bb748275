package node

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"manifold/internal/config"
	"manifold/internal/control/service"
	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/telemetry"
)

// A listing costs what its page costs, wherever in the bucket the page is.
// MANIFOLD_S3_KEYS sets how many keys there are (make s3list: a million) and
// judges times and memory, which few keys say nothing about.
func TestS3_listing(t *testing.T) {
	keys, judged := 4000, false
	if n, err := strconv.Atoi(os.Getenv("MANIFOLD_S3_KEYS")); err == nil && n > 0 {
		keys, judged = n, true
	}
	ctx := t.Context()
	st, err := openStorage(ctx, storageOptions{dir: filepath.Join(t.TempDir(), "data"), create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := st.openFS(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := firstRun(ctx, st, [16]byte{1}, machine{hosts: []string{"localhost"}}, "Test-Password-1", false); err != nil {
		t.Fatal(err)
	}
	sys := fs.SystemCaller()
	root, err := st.fs.Create(ctx, sys, fs.Root, "many", &fs.CreateSpec{Type: fs.Directory})
	if err != nil {
		t.Fatal(err)
	}
	const perDir = 10000
	var made sync.WaitGroup
	next := make(chan int)
	for range 32 {
		made.Go(func() {
			for d := range next {
				// One worker fills a directory: creates in it share little with others.
				dir, err := st.fs.Create(ctx, sys, root.Attr.Node, fmt.Sprintf("d%05d", d), &fs.CreateSpec{Type: fs.Directory})
				if err != nil {
					t.Error(err)
					return
				}
				for i := d * perDir; i < min((d+1)*perDir, keys); i++ {
					if _, err := st.fs.Create(ctx, sys, dir.Attr.Node, fmt.Sprintf("key %07d", i), &fs.CreateSpec{Type: fs.File}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for d := 0; d*perDir < keys; d++ {
		next <- d
	}
	close(next)
	made.Wait()
	if t.Failed() {
		return
	}
	if _, err := st.config.AddBucket(ctx, config.Bucket{Name: "many", Root: root.Attr.Node.ID, Owner: identity.Admin}); err != nil {
		t.Fatal(err)
	}
	secret, key, err := st.config.AddS3Key(ctx, identity.Admin)
	if err != nil {
		t.Fatal(err)
	}
	svc := service.New(service.Options{FS: st.fs, Auth: st.config, Sessions: st.config, Principals: st.config, Roles: st.config})
	srv := httptest.NewServer(newS3(st, st.fs, svc, nil, telemetry.New(), time.Hour, slog.New(slog.DiscardHandler)))
	defer srv.Close()
	c, err := minio.NewCore(strings.TrimPrefix(srv.URL, "http://"), &minio.Options{Creds: credentials.NewStaticV4(key.Value.AccessKey, secret, "")})
	if err != nil {
		t.Fatal(err)
	}

	fetch := func(token string) (minio.ListBucketV2Result, time.Duration) {
		start := time.Now()
		page, err := c.ListObjectsV2("many", "", "", token, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		return page, time.Since(start)
	}
	// walk answers what leads to each page.
	walk := func() (tokens []string, most uint64) {
		token, last, n := "", "", 0
		for {
			page, _ := fetch(token)
			tokens = append(tokens, token)
			for _, o := range page.Contents {
				if strings.HasSuffix(o.Key, "/") {
					continue // the directories themselves
				}
				if o.Key <= last {
					t.Fatalf("%q after %q", o.Key, last)
				}
				last = o.Key
				n++
			}
			if len(tokens)%50 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			}
			if !page.IsTruncated {
				break
			}
			token = page.NextContinuationToken
		}
		if n != keys {
			t.Errorf("%d keys of %d", n, keys)
		}
		return tokens, most
	}
	walk() // whatever is to be cached is so for all pages
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	tokens, most := walk()
	if !judged || len(tokens) < 60 {
		return
	}
	// The three places in turn, as the machine does other things too, and of each
	// the fastest tenth of its pages.
	const rounds = 5
	places := []int{0, len(tokens)/2 - 10, len(tokens) - 21}
	times := make([][]time.Duration, len(places))
	for range rounds {
		for i := range 20 {
			for at, from := range places {
				_, took := fetch(tokens[from+i])
				times[at] = append(times[at], took)
			}
		}
	}
	fast := func(part []time.Duration) time.Duration {
		slices.Sort(part)
		return part[len(part)/10]
	}
	first, middle, end := fast(times[0]), fast(times[1]), fast(times[2])
	t.Logf("%d keys, %d pages; a page takes %v at the start, %v in the middle, %v at the end; heap %d MiB before, at most %d MiB",
		keys, len(tokens), first, middle, end, before.HeapInuse>>20, most>>20)
	if low, high := min(first, middle, end), max(first, middle, end); high > low*3/2 {
		t.Errorf("a page takes from %v to %v", low, high)
	}
	if most > before.HeapInuse+64<<20 {
		t.Errorf("listing takes %d MiB", (most-before.HeapInuse)>>20)
	}
}
