package bench

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/peers"
)

const bucket = "bench"

var s3Set = flag.String("s3", "4k,1m,64m,parts", "sets of rows of S3")

// store is one contestant of S3.
type store struct {
	Series
	pid        int
	id, secret string
	http       *http.Client
}

func newStore(name string, at *netns.Namespace, pid int, id, secret string) *store {
	return &store{Series{name, map[string][]Sample{}}, pid, id, secret, &http.Client{Transport: &http.Transport{
		DialContext:         func(ctx context.Context, network, addr string) (net.Conn, error) { return at.Dial(ctx, network, addr) },
		MaxIdleConnsPerHost: 64, DisableCompression: true, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10,
	}}}
}

// do sends a signed request with an unsigned body and reads the whole answer:
// into the answer if keep is set, else it is counted.
func (s *store) do(method, target string, body []byte, keep bool) (answer []byte, n int64, h http.Header, err error) {
	req, err := http.NewRequest(method, "http://"+netns.Server+":9000/"+bucket+target, bytes.NewReader(body))
	if err != nil {
		return nil, 0, nil, err
	}
	req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	res, err := s.http.Do(signer.SignV4(*req, s.id, s.secret, "", "us-east-1"))
	if err != nil {
		return nil, 0, nil, err
	}
	defer res.Body.Close()
	if keep || res.StatusCode >= 300 {
		answer, err = io.ReadAll(res.Body)
	} else {
		buf := pieces.Get().(*[]byte)
		n, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, res.Body, *buf)
		pieces.Put(buf)
	}
	if res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s %s: %s %s", s.Server, method, target, res.Status, answer)
	}
	return answer, n, res.Header, err
}

var pieces = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// each runs n operations by some workers.
func each(n, workers int, op func(i int) error) error {
	var next atomic.Int64
	failed := make(chan error, workers)
	for range workers {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					failed <- nil
					return
				}
				if err := op(i); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	var err error
	for range workers {
		err = errors.Join(err, <-failed)
	}
	return err
}

// row measures n operations that count ops units.
func (s *store) row(b *testing.B, name string, n, workers int, ops float64, op func(i int) error) {
	b.Helper()
	before, err := treeCPU(s.pid)
	began := time.Now()
	err = errors.Join(err, each(n, workers, op))
	took := time.Since(began)
	after, err2 := treeCPU(s.pid)
	if err = errors.Join(err, err2); err != nil {
		b.Fatalf("%s, %s: %v", s.Server, name, err)
	}
	s.Samples[name] = append(s.Samples[name], Sample{Ops: ops, Elapsed: took, CPU: after - before})
}

// objects measures objects of one size: put, get, and of small ones head and delete.
func (s *store) objects(b *testing.B, name, dir string, body []byte, n, workers int) {
	b.Helper()
	key := func(i int) string { return fmt.Sprintf("/%s/%s/%02d/%d", name, dir, i%16, i) }
	ops := float64(n)
	if name != "4k" {
		ops = float64(n*len(body)) / (1 << 20)
	}
	s.row(b, "s3put"+name, n, workers, ops, func(i int) error { _, _, _, err := s.do("PUT", key(i), body, false); return err })
	s.row(b, "s3get"+name, n, workers, ops, func(i int) error {
		_, got, _, err := s.do("GET", key(i), nil, false)
		if err == nil && got != int64(len(body)) {
			err = fmt.Errorf("%d bytes of %s", got, key(i))
		}
		return err
	})
	if name == "4k" {
		s.row(b, "s3head", n, workers, ops, func(i int) error { _, _, _, err := s.do("HEAD", key(i), nil, false); return err })
		s.row(b, "s3delete", n, workers, ops, func(i int) error { _, _, _, err := s.do("DELETE", key(i), nil, false); return err })
		return
	}
	for i := range n {
		if _, _, _, err := s.do("DELETE", key(i), nil, false); err != nil {
			b.Fatal(err)
		}
	}
}

// multipart measures an object of parts.
func (s *store) multipart(b *testing.B, part []byte, parts, workers int) {
	b.Helper()
	const key = "/parts"
	mib := float64(parts*len(part)) / (1 << 20)
	s.row(b, "s3putmulti", 1, 1, mib, func(int) error {
		answer, _, _, err := s.do("POST", key+"?uploads", nil, true)
		var begun struct {
			UploadID string `xml:"UploadId"`
		}
		if err = errors.Join(err, xml.Unmarshal(answer, &begun)); err != nil {
			return err
		}
		tags := make([]string, parts)
		err = each(parts, workers, func(i int) error {
			_, _, h, err := s.do("PUT", fmt.Sprintf("%s?partNumber=%d&uploadId=%s", key, i+1, url.QueryEscape(begun.UploadID)), part, false)
			tags[i] = h.Get("Etag")
			return err
		})
		if err != nil {
			return err
		}
		var doc strings.Builder
		doc.WriteString("<CompleteMultipartUpload>")
		for i, tag := range tags {
			fmt.Fprintf(&doc, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, tag)
		}
		doc.WriteString("</CompleteMultipartUpload>")
		answer, _, _, err = s.do("POST", key+"?uploadId="+url.QueryEscape(begun.UploadID), []byte(doc.String()), true)
		if err == nil && !bytes.Contains(answer, []byte("<ETag>")) {
			err = fmt.Errorf("%s", answer)
		}
		return err
	})
	s.row(b, "s3getmulti", 1, 1, mib, func(int) error {
		_, got, _, err := s.do("GET", key, nil, false)
		if err == nil && got != int64(parts*len(part)) {
			err = fmt.Errorf("%d bytes", got)
		}
		return err
	})
	if _, _, _, err := s.do("DELETE", key, nil, false); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkS3 compares with MinIO on one drive, which syncs as we do, and with
// versitygw, which does not and is there for reads. MINIO_BIN and VERSITYGW_BIN
// name their programs; what is unset does not run.
func BenchmarkS3(b *testing.B) {
	all := s3Contestants(b)
	rnd := rand.NewChaCha8([32]byte{1})
	body := make([]byte, 64<<20)
	_, _ = rnd.Read(body)
	for round := range *rounds {
		for i := range all {
			s := all[(i+round)%len(all)] // each goes first in turn
			dir := fmt.Sprint(round)
			for _, set := range strings.Split(*s3Set, ",") {
				switch set {
				case "4k":
					s.objects(b, set, dir, body[:4<<10], 1600, 8)
				case "1m":
					s.objects(b, set, dir, body[:1<<20], 128, 8)
				case "64m":
					s.objects(b, set, dir, body, 6, 2)
				case "parts":
					s.multipart(b, body[:16<<20], 16, 4)
				default:
					b.Fatalf("unknown set of rows of S3 %q", set)
				}
			}
			b.Logf("round %d: %s done", round+1, s.Server)
		}
	}
	s3Report(b, all)
}

// BenchmarkS3List compares pages of a listing of many keys in one directory.
func BenchmarkS3List(b *testing.B) {
	all := s3Contestants(b)
	const workers, pages = 16, 20
	for _, s := range all {
		began := time.Now()
		if err := each(*keys, workers, func(i int) error { _, _, _, err := s.do("PUT", fmt.Sprintf("/list/%07d", i), nil, false); return err }); err != nil {
			b.Fatal(err)
		}
		b.Logf("%s: %d keys made in %v", s.Server, *keys, time.Since(began))
	}
	for round := range *rounds {
		for i := range all {
			s := all[(i+round)%len(all)]
			for _, at := range []struct {
				row  string
				from int
			}{{"s3first", -1}, {"s3middle", *keys / 2}, {"s3last", *keys - 1001}} {
				q := "?list-type=2&max-keys=1000&prefix=list%2F"
				if at.from >= 0 {
					q += fmt.Sprintf("&start-after=list%%2F%07d", at.from)
				}
				s.row(b, at.row, pages, 1, pages, func(int) error {
					answer, _, _, err := s.do("GET", "/"+q, nil, true)
					if n := bytes.Count(answer, []byte("<Key>")); err == nil && n != 1000 {
						err = fmt.Errorf("%d keys", n)
					}
					return err
				})
			}
		}
	}
	s3Report(b, all)
}

func s3Contestants(b *testing.B) []*store {
	b.Helper()
	var all []*store
	s := harness.StartServer(b)
	s.MustCLI(b, "login", "--password", harness.Password)
	s.MustCLI(b, "s3", "modify", "--secure=false")
	s.MustCLI(b, "s3", "enable")
	key := strings.Fields(s.MustCLI(b, "s3", "access-key", "create", "admin"))
	if len(key) != 2 {
		b.Fatalf("%q", key)
	}
	all = append(all, newStore("manifold", s.Net, s.Pid(), key[0], key[1]))
	if bin := os.Getenv("MINIO_BIN"); bin != "" {
		p := peers.StartMinIO(b, bin, b.TempDir())
		all = append(all, newStore("MinIO", p.Net, p.Pid(), peers.S3ID, peers.S3Secret))
	} else {
		fmt.Println("NOT RUN: MinIO: MINIO_BIN is not set")
	}
	if bin := os.Getenv("VERSITYGW_BIN"); bin != "" {
		p := peers.StartVersityGW(b, bin, b.TempDir())
		all = append(all, newStore("versitygw", p.Net, p.Pid(), peers.S3ID, peers.S3Secret))
	} else {
		fmt.Println("NOT RUN: versitygw: VERSITYGW_BIN is not set")
	}
	for _, s := range all {
		b.Cleanup(s.http.CloseIdleConnections)
		made := harness.Within(20*time.Second, func() bool {
			_, _, _, err := s.do("PUT", "", nil, false)
			return err == nil
		})
		if !made {
			b.Fatalf("%s makes no bucket", s.Server)
		}
	}
	return all
}

func s3Report(b *testing.B, all []*store) {
	b.Helper()
	var series []Series
	for _, s := range all {
		series = append(series, s.Series)
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("\n%d rounds, load at the end %s; median (min..max)\n\n", *rounds, strings.TrimSpace(string(load)))
	if err := WriteTable(os.Stdout, series); err != nil {
		b.Fatal(err)
	}
}
