package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"manifold/internal/kv"
)

func openSealed(t *testing.T, e kv.Engine) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{KV: e, SealKey: bytes.Repeat([]byte{5}, SealKeyBytes)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestS3_settings(t *testing.T) {
	e := newKV(t)
	s := openSealed(t, e)
	v, changed := s.S3InForce()
	if v.Enabled || v.Insecure || v.BasePath != "/" {
		t.Errorf("fresh: %+v", v)
	}
	for _, bad := range []func(*S3){
		func(v *S3) { v.BasePath = "x" }, func(v *S3) { v.BasePath = "/\x00" }, func(v *S3) { v.UploadExpiry = "" }, func(v *S3) { v.UploadExpiry = "0days" },
		func(v *S3) { v.Domains = []string{"A.example"} }, func(v *S3) { v.Domains = []string{"10.0.0.1"} }, func(v *S3) { v.Domains = []string{"a..b"} },
		func(v *S3) { v.Domains = make([]string, maxDomains+1) },
	} {
		w := DefaultS3
		bad(&w)
		if _, err := s.SetS3(t.Context(), 0, w); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", w, err)
		}
	}
	w := S3{Enabled: true, Insecure: true, BasePath: "/buckets", UploadExpiry: "never", Domains: []string{"s3.example"}}
	rec, err := s.SetS3(t.Context(), 0, w)
	if err != nil {
		t.Fatal(err)
	}
	<-changed
	if v, _ := s.S3InForce(); !v.equal(&w) {
		t.Errorf("%+v", v)
	}
	if _, err := s.SetS3(t.Context(), rec.Revision+1, w); !errors.Is(err, ErrStale) {
		t.Errorf("stale: %v", err)
	}
	// Another node sees it.
	other := openSealed(t, e)
	_, changed = other.S3InForce()
	w.Enabled = false
	if _, err := s.SetS3(t.Context(), rec.Revision, w); err != nil {
		t.Fatal(err)
	}
	<-changed
	if v, _ := other.S3InForce(); v.Enabled {
		t.Errorf("the other node has %+v", v)
	}
	for in, want := range map[string]time.Duration{"never": 0, "1days": 24 * time.Hour, "12 hours": 12 * time.Hour, "1Day": 24 * time.Hour, "2weeks": 14 * 24 * time.Hour, "30minutes": 30 * time.Minute} {
		if got, err := ParseUploadExpiry(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}

func TestS3_buckets(t *testing.T) {
	e := newKV(t)
	s := openSealed(t, e)
	ctx := t.Context()
	for _, n := range []string{"mmm", "aaa", "zzz"} {
		if _, err := s.AddBucket(ctx, Bucket{Name: n, Root: 7, Owner: 500}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddBucket(ctx, Bucket{Name: "aaa"}); !errors.Is(err, ErrExists) {
		t.Errorf("twice: %v", err)
	}
	if _, err := s.AddBucket(ctx, Bucket{Name: strings.Repeat("x", 64)}); !errors.Is(err, ErrInvalid) {
		t.Errorf("long: %v", err)
	}
	list := func(s *Store) (out []string) {
		after := ""
		for {
			b, ok := s.BucketAfter(after)
			if !ok {
				return out
			}
			after = b.Value.Name
			out = append(out, after)
		}
	}
	if got := fmt.Sprint(list(s)); got != "[aaa mmm zzz]" {
		t.Error(got)
	}
	if _, err := s.ChangeBucket(ctx, "mmm", func(b *Bucket) error { b.Policy = []byte("p"); return nil }); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	if _, err := s.ChangeBucket(ctx, "mmm", func(b *Bucket) error { b.Policy = nil; return boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
	if b, err := s.Bucket("mmm"); err != nil || string(b.Value.Policy) != "p" || b.Value.Root != 7 {
		t.Errorf("%+v %v", b, err)
	}
	if err := s.DeleteBucket(ctx, "aaa"); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBucket(ctx, "aaa"); !errors.Is(err, ErrNotFound) {
		t.Errorf("gone twice: %v", err)
	}
	if _, err := s.Bucket("aaa"); !errors.Is(err, ErrNotFound) {
		t.Errorf("gone: %v", err)
	}
	if got := fmt.Sprint(list(s), list(openSealed(t, e))); got != "[mmm zzz] [mmm zzz]" {
		t.Error(got)
	}
}

// A name that was given up and taken again on another node is the new bucket's,
// in whatever order the changes arrive.
func TestS3_bucketAgain(t *testing.T) {
	e := newKV(t)
	s, other := openSealed(t, e), openSealed(t, e)
	ctx := t.Context()
	one, err := s.AddBucket(ctx, Bucket{Name: "one", Root: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.refreshS3(ctx, kindBucket, one.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBucket(ctx, "one"); err != nil {
		t.Fatal(err)
	}
	two, err := s.AddBucket(ctx, Bucket{Name: "one", Root: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []uint64{two.ID, one.ID, two.ID} {
		if err := other.refreshS3(ctx, kindBucket, id); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := other.Bucket("one"); err != nil || b.Value.Root != 2 {
		t.Errorf("%+v %v", b, err)
	}
	if b, ok := other.BucketAfter("one"); ok {
		t.Errorf("twice in the list: %+v", b)
	}
}

// What is in force is what is stored, whatever the order of the changes.
func TestS3_concurrentChanges(t *testing.T) {
	e := newKV(t)
	s := openSealed(t, e)
	ctx := t.Context()
	if _, err := s.AddBucket(ctx, Bucket{Name: "one"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if _, err := s.ChangeBucket(ctx, "one", func(b *Bucket) error { b.Root++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if b, err := s.Bucket("one"); err != nil || b.Value.Root != 160 {
		t.Errorf("%+v %v", b, err)
	}
}

func TestS3_keys(t *testing.T) {
	e := newKV(t)
	s := openSealed(t, e)
	ctx := t.Context()
	secret, k, err := s.AddS3Key(ctx, 1000)
	if err != nil || len(k.Value.AccessKey) != 20 || len(secret) != 40 {
		t.Fatalf("%+v %d %v", k, len(secret), err)
	}
	if bytes.Contains(k.Value.Secret, []byte(secret)) {
		t.Error("the secret is stored in the clear")
	}
	if _, _, err := s.AddS3Key(ctx, 1000); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.AddS3Key(ctx, 1000); !errors.Is(err, ErrLimit) {
		t.Errorf("a third: %v", err)
	}
	if _, _, err := s.AddS3Key(ctx, 1001); err != nil {
		t.Errorf("another owner: %v", err)
	}
	for name, s := range map[string]*Store{"same": s, "reopened": openSealed(t, e)} {
		if r, got, err := s.S3Key(k.Value.AccessKey); err != nil || got != secret || r.Value.Owner != 1000 {
			t.Errorf("%s: %+v %v", name, r, err)
		}
		if got := s.S3Keys(0, 1000, 0); len(got) != 2 || got[0].ID >= got[1].ID || got[0].Value.Secret != nil {
			t.Errorf("%s: of one owner: %+v", name, got)
		}
		if got := s.S3Keys(k.ID, 0, 1); len(got) != 1 || got[0].ID <= k.ID {
			t.Errorf("%s: a page: %+v", name, got)
		}
	}
	if err := s.DeleteS3Key(ctx, k.Value.AccessKey); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.S3Key(k.Value.AccessKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("revoked: %v", err)
	}
	if err := s.DeleteS3Key(ctx, k.Value.AccessKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("revoked twice: %v", err)
	}
	if _, _, err := s.AddS3Key(ctx, 1000); err != nil {
		t.Errorf("its place is free: %v", err)
	}
	s.s3.mu.RLock()
	defer s.s3.mu.RUnlock()
	if len(s.s3.mu.keys) != 3 || len(s.s3.mu.keyID) != 3 {
		t.Errorf("in force: %d %d", len(s.s3.mu.keys), len(s.s3.mu.keyID))
	}
}
