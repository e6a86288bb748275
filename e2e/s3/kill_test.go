package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// written is a version that the server acknowledged.
type written struct {
	key, version string
	sum          [sha256.Size]byte
}

// The server is killed while objects come, whole and in parts. Afterwards every
// version that was acknowledged is there, and each key shows its newest one.
func TestKill9(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	c := w.minio(w.id, w.secret, false)
	for _, b := range []string{"versions", "plain"} {
		if err := c.MakeBucket(ctx, b, minio.MakeBucketOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.EnableVersioning(ctx, "versions"); err != nil {
		t.Fatal(err)
	}
	const cycles, writers = 5, 6
	var mu sync.Mutex
	var all []written
	last := map[string][sha256.Size]byte{} // of unversioned keys, each written by one writer
	tried := map[string][sha256.Size]byte{}
	for cycle := range cycles {
		load, stop := context.WithCancel(ctx)
		acknowledged := make(chan struct{}, 1)
		var group sync.WaitGroup
		for i := range writers {
			group.Go(func() {
				for n := 0; ; n++ {
					size, part := 4096+n, uint64(0)
					if i == 0 { // in parts
						size, part = 6<<20+n, 5<<20
					}
					body := content(size, byte(cycle*50+i*7+n))
					sum := sha256.Sum256(body)
					bucket, key := "versions", fmt.Sprintf("d/k%d", n%3)
					if i%2 == 1 {
						bucket, key = "plain", fmt.Sprintf("d%d/k", i)
						mu.Lock()
						tried[key] = sum
						mu.Unlock()
					}
					u, err := c.PutObject(load, bucket, key, bytes.NewReader(body), int64(size), minio.PutObjectOptions{PartSize: part})
					if err != nil {
						return
					}
					mu.Lock()
					if bucket == "plain" {
						last[key] = sum
					} else {
						all = append(all, written{key, u.VersionID, sum})
					}
					mu.Unlock()
					select {
					case acknowledged <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 20 * (cycle + 1) {
			select {
			case <-acknowledged:
			case <-time.After(time.Minute):
				t.Fatal("nothing is acknowledged")
			}
		}
		w.s.Kill9()
		stop()
		group.Wait()
		w.s.Fsck(t)
		w.s.Start(t)

		read := func(bucket, key, version string) [sha256.Size]byte {
			t.Helper()
			o, err := c.GetObject(ctx, bucket, key, minio.GetObjectOptions{VersionID: version})
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			b, err := io.ReadAll(o)
			if err != nil {
				t.Fatalf("cycle %d: %s/%s %s: %v", cycle, bucket, key, version, err)
			}
			return sha256.Sum256(b)
		}
		for key, sum := range last {
			// The write under way may have been stored, but not answered.
			if got := read("plain", key, ""); got != sum && got != tried[key] {
				t.Errorf("cycle %d: plain/%s holds what no write of its gave", cycle, key)
			}
		}
		for i, v := range all {
			if i%3 != cycle%3 && i < len(all)-60 {
				continue // the old ones in turn
			}
			if read("versions", v.key, v.version) != v.sum {
				t.Errorf("cycle %d: version %s of %s is not what was sent", cycle, v.version, v.key)
			}
		}
		listed, newest := map[string]bool{}, map[string]string{}
		for o := range c.ListObjects(ctx, "versions", minio.ListObjectsOptions{Recursive: true, WithVersions: true}) {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			if id := o.Key + " " + o.VersionID; listed[id] {
				t.Errorf("cycle %d: %s is listed twice", cycle, id)
			} else {
				listed[id] = true
			}
			if o.IsLatest {
				newest[o.Key] = o.VersionID
			}
		}
		for _, v := range all {
			if !listed[v.key+" "+v.version] {
				t.Errorf("cycle %d: version %s of %s is not listed", cycle, v.version, v.key)
			}
		}
		for key, version := range newest {
			if st, err := c.StatObject(ctx, "versions", key, minio.StatObjectOptions{}); err != nil || st.VersionID != version {
				t.Errorf("cycle %d: %s shows version %s, its newest is %s, %v", cycle, key, st.VersionID, version, err)
			}
		}
	}
	t.Logf("%d versions and %d keys after %d kills", len(all), len(last), cycles)
	w.s.Stop(t)
	w.s.Fsck(t)
}
