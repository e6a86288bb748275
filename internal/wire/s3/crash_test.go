package s3_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/errfs"
	"manifold/internal/fs/memfs"
	"manifold/internal/identity"
	"manifold/internal/wire/s3"
)

// changing are the calls that write.
var changing = []string{"Create", "Link", "Remove", "Rename", "SetAttr", "SetACL", "Write", "Commit", "CopyRange", "SetMeta", "RemoveMeta", "CreateStream",
	"RemoveStream", "Stage", "Publish", "Rearrange", "Splice", "Unstage"}

// crashing is a server whose file system stops before its nth change from now.
type crashing struct {
	*rig
	left int // changes to go, negative: no end
	made []string
}

func newCrashing(t *testing.T) *crashing {
	c := &crashing{left: -1}
	f := memfs.New(memfs.Options{RootMode: 0o1777})
	spoiled := errfs.New(f, errfs.Options{Before: func(_ context.Context, call errfs.Call) error {
		if !slices.Contains(changing, call.Op) {
			return nil
		}
		if c.left == 0 {
			return fs.Unavailable
		}
		c.left--
		c.made = append(c.made, call.Op)
		return nil
	}})
	buckets := &memBuckets{base: fs.Root}
	keys := memKeys{"one": {ID: "one", Secret: "secret of one", Cred: identity.POSIX(1001, 1001, nil)}}
	srv := httptest.NewServer(s3.New(s3.Options{FS: spoiled, Buckets: buckets, Keys: keys}))
	t.Cleanup(srv.Close)
	c.rig = &rig{t: t, url: srv.URL, fs: f, buckets: buckets, key: "one", http: srv.Client()}
	return c
}

// crash is that of the machine, and a new start.
func (c *crashing) crash() {
	c.left = -1
	c.fs.Crash()
}

// view is all that S3 shows of a bucket: keys and what they hold, versions with
// their contents in order, whose ids are counted. A version must answer what a
// listing says of it, and a plain key what its newest version holds.
func (c *crashing) view() string {
	c.t.Helper()
	var b strings.Builder
	plain := map[string]string{}
	for _, k := range c.list("/bucket?list-type=2").Contents {
		plain[k.Key] = c.want(200, "GET", "/bucket/"+escape(k.Key), "").body
		fmt.Fprintf(&b, "%s=%.20q ", k.Key, plain[k.Key])
	}
	if c.bucketVersioning() == "" {
		return b.String()
	}
	l := c.list("/bucket?versions")
	seen := map[string]bool{}
	for i, v := range slices.Concat(l.DeleteMarker, l.Version) {
		if id := v.Key + "@" + v.VersionID; seen[id] {
			c.t.Errorf("%s is listed twice", id)
		} else {
			seen[id] = true
		}
		null := ""
		if v.VersionID == "null" {
			null = "null"
		}
		fmt.Fprintf(&b, "| %s %s latest=%v", v.Key, null, v.IsLatest)
		_, there := plain[v.Key]
		if i < len(l.DeleteMarker) {
			if v.IsLatest && there {
				c.t.Errorf("%s shows behind its marker", v.Key)
			}
			continue
		}
		body := c.want(200, "GET", "/bucket/"+escape(v.Key)+"?versionId="+v.VersionID, "").body
		if v.IsLatest && (!there || plain[v.Key] != body) {
			c.t.Errorf("%s shows %.20q, its newest version is %.20q", v.Key, plain[v.Key], body)
		}
		fmt.Fprintf(&b, " %.20q", body)
	}
	return b.String()
}

func (c *crashing) bucketVersioning() s3.Versioning {
	b, err := c.buckets.Bucket(c.t.Context(), "bucket")
	if err != nil {
		c.t.Fatal(err)
	}
	return b.Versioning
}

func (c *crashing) versioning(status string) {
	c.want(200, "PUT", "/bucket?versioning", "<VersioningConfiguration><Status>"+status+"</Status></VersioningConfiguration>")
}

// begin starts an upload of two parts and answers its id and the document that completes it.
func (c *crashing) begin(key, first string) (id, complete string) {
	c.t.Helper()
	var d struct {
		UploadID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal([]byte(c.want(200, "POST", "/bucket/"+key+"?uploads", "").body), &d); err != nil {
		c.t.Fatal(err)
	}
	complete = "<CompleteMultipartUpload>"
	for i, part := range []string{first, "tail"} {
		tag := c.want(200, "PUT", fmt.Sprintf("/bucket/%s?partNumber=%d&uploadId=%s", key, i+1, d.UploadID), part).header.Get("Etag")
		complete += fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, tag)
	}
	return d.UploadID, complete + "</CompleteMultipartUpload>"
}

// newest is the id of the newest version of a key.
func (c *crashing) newest(key string) string {
	for _, v := range c.list("/bucket?versions").Version {
		if v.Key == key {
			return v.VersionID
		}
	}
	c.t.Fatalf("no version of %s", key)
	return ""
}

// Wherever the server stops, a write is seen whole or not at all, by every way
// to ask; one that was acknowledged stays.
func TestCrash_wholeOrNothing(t *testing.T) {
	first := strings.Repeat("0123456789abcdef", 5<<16) // 5 MiB
	put := func(key, body string) func(*crashing) answer {
		return func(c *crashing) answer {
			return c.do("PUT", "/bucket/"+key, body, "X-Amz-Meta-A", "b", "X-Amz-Tagging", "t=1")
		}
	}
	var id, complete, version string
	for _, tc := range []struct {
		name  string
		setup func(c *crashing)
		op    func(c *crashing) answer
		again bool // a repetition succeeds and makes no difference
	}{
		{"put", nil, put("d/e/k", "new"), true},
		{"put over", func(c *crashing) { put("d/k", "old")(c) }, put("d/k", "new"), true},
		{"first version", func(c *crashing) { put("d/k", "null")(c); c.versioning("Enabled") }, put("d/k", "new"), false},
		{"version", func(c *crashing) { c.versioning("Enabled"); put("d/k", "old")(c) }, put("d/k", "new"), false},
		{"new null version", func(c *crashing) {
			put("d/k", "null")(c)
			c.versioning("Enabled")
			put("d/k", "one")(c)
			c.versioning("Suspended")
		}, put("d/k", "new"), true},
		{"null over null", func(c *crashing) { put("k", "null")(c); c.versioning("Suspended"); put("k", "old")(c) }, put("k", "new"), true},
		{"marker", func(c *crashing) { put("k", "null")(c); c.versioning("Enabled") },
			func(c *crashing) answer { return c.do("DELETE", "/bucket/k", "") }, false},
		{"null marker", func(c *crashing) { put("k", "null")(c); c.versioning("Suspended") },
			func(c *crashing) answer { return c.do("DELETE", "/bucket/k", "") }, true},
		{"delete newest", func(c *crashing) {
			put("d/k", "null")(c)
			c.versioning("Enabled")
			put("d/k", "one")(c)
			version = c.newest("d/k")
		}, func(c *crashing) answer { return c.do("DELETE", "/bucket/d/k?versionId="+version, "") }, true},
		{"delete only version", func(c *crashing) { c.versioning("Enabled"); put("d/k", "one")(c); version = c.newest("d/k") },
			func(c *crashing) answer { return c.do("DELETE", "/bucket/d/k?versionId="+version, "") }, true},
		{"delete marker", func(c *crashing) {
			c.versioning("Enabled")
			put("k", "one")(c)
			c.want(204, "DELETE", "/bucket/k", "")
			version = c.list("/bucket?versions").DeleteMarker[0].VersionID
		}, func(c *crashing) answer { return c.do("DELETE", "/bucket/k?versionId="+version, "") }, true},
		{"copy to version", func(c *crashing) { c.versioning("Enabled"); put("a", "source")(c); put("b", "old")(c) },
			func(c *crashing) answer { return c.do("PUT", "/bucket/b", "", "X-Amz-Copy-Source", "/bucket/a") }, false},
		{"complete", func(c *crashing) { put("k", "old")(c); id, complete = c.begin("k", first) },
			func(c *crashing) answer { return c.do("POST", "/bucket/k?uploadId="+id, complete) }, true},
		{"complete to version", func(c *crashing) { c.versioning("Enabled"); put("k", "old")(c); id, complete = c.begin("k", first) },
			func(c *crashing) answer { return c.do("POST", "/bucket/k?uploadId="+id, complete) }, false},
		{"locked version", func(c *crashing) {
			c.want(200, "PUT", "/bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
			c.want(200, "PUT", "/bucket?object-lock", "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>")
			put("k", "old")(c)
		}, put("k", "new"), false},
	} {
		t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) {
			for n := 0; ; n++ {
				c := newCrashing(t)
				c.want(200, "PUT", "/bucket", "")
				if tc.setup != nil {
					tc.setup(c)
				}
				before := c.view()
				c.left, c.made = n, nil
				a := tc.op(c)
				ended := c.left > 0
				c.crash()
				got := c.view()
				acknowledged := a.status >= 200 && a.status < 300
				switch {
				case acknowledged && got == before:
					t.Fatalf("after %d changes %q: acknowledged and lost: %s", n, c.made, got)
				case !acknowledged && n > 60:
					t.Fatalf("never ends: %d %s", a.status, a.body)
				}
				if !acknowledged && got != before || tc.again {
					a = tc.op(c) // in doubt
					if a.status != 200 && a.status != 204 {
						t.Fatalf("after %d changes %q: the repetition answers %d %s", n, c.made, a.status, a.body)
					}
				}
				if !acknowledged && got != before && tc.again && c.view() != got {
					t.Fatalf("after %d changes %q: half of it:\n%s\nbefore\n%s\nrepeated\n%s", n, c.made, got, before, c.view())
				}
				if ended {
					return
				}
			}
		})
	}
}

// A part that comes twice is the later one, whatever stops in between, and what
// nobody ends goes in time.
func TestCrash_parts(t *testing.T) {
	first := strings.Repeat("0123456789abcdef", 5<<16)
	for n := 0; ; n++ {
		c := newCrashing(t)
		c.want(200, "PUT", "/bucket", "")
		id, _ := c.begin("k", first)
		c.left, c.made = n, nil
		a := c.do("PUT", "/bucket/k?partNumber=2&uploadId="+id, "other tail")
		ended := c.left > 0
		c.crash()
		parts := c.want(200, "GET", "/bucket/k?uploadId="+id, "").body
		var d struct {
			Part []struct {
				PartNumber int
				ETag       string
			}
		}
		if err := xml.Unmarshal([]byte(parts), &d); err != nil || len(d.Part) != 2 {
			t.Fatalf("after %q: %v %s", c.made, err, parts)
		}
		doc := "<CompleteMultipartUpload>"
		for _, p := range d.Part {
			doc += fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", p.PartNumber, p.ETag)
		}
		c.want(200, "POST", "/bucket/k?uploadId="+id, doc+"</CompleteMultipartUpload>")
		body := c.want(200, "GET", "/bucket/k", "").body
		if body != first+"tail" && body != first+"other tail" || a.status == 200 && body != first+"other tail" {
			t.Fatalf("after %q, answered %d: ends with %q", c.made, a.status, body[len(first):])
		}
		left := 0
		if err := c.fs.ListStaged(t.Context(), "s3/", nil, func(*fs.Staged) bool { left++; return true }); err != nil || left != 0 {
			t.Fatalf("after %q: %d staged files stay, %v", c.made, left, err)
		}
		if ended {
			return
		}
	}
}

// An upload that ends while a part arrives takes the part with it.
func TestUpload_endsUnderPart(t *testing.T) {
	for _, op := range []string{"Stage", "Commit", "SetMeta"} {
		var c *crashing
		gate := errfs.NewGate(op)
		f := memfs.New(memfs.Options{RootMode: 0o1777})
		waiting := false
		spoiled := errfs.New(f, errfs.Options{Before: func(ctx context.Context, call errfs.Call) error {
			if !waiting {
				return nil
			}
			return gate.Before(ctx, call)
		}})
		buckets := &memBuckets{base: fs.Root}
		keys := memKeys{"one": {ID: "one", Secret: "secret of one", Cred: identity.POSIX(1001, 1001, nil)}}
		srv := httptest.NewServer(s3.New(s3.Options{FS: spoiled, Buckets: buckets, Keys: keys}))
		t.Cleanup(srv.Close)
		c = &crashing{rig: &rig{t: t, url: srv.URL, fs: f, buckets: buckets, key: "one", http: srv.Client()}}
		c.want(200, "PUT", "/bucket", "")
		id, _ := c.begin("k", "first")
		waiting = true
		done := make(chan answer)
		go func() { done <- c.do("PUT", "/bucket/k?partNumber=3&uploadId="+id, "late") }()
		<-gate.Arrived()
		c.want(204, "DELETE", "/bucket/k?uploadId="+id, "")
		gate.Open()
		if a := <-done; a.code() != "NoSuchUpload" {
			t.Errorf("%s: %d %s", op, a.status, a.body)
		}
		left := 0
		if err := f.ListStaged(t.Context(), "", nil, func(*fs.Staged) bool { left++; return true }); err != nil || left != 0 {
			t.Errorf("%s: %d staged files stay, %v", op, left, err)
		}
	}
}

// Of many writers of one key in a bucket with versions each gets its version,
// and the plain name shows the newest.
func TestVersions_manyWriters(t *testing.T) {
	c := &crashing{rig: newRig(t, nil)}
	c.want(200, "PUT", "/bucket", "")
	c.versioning("Enabled")
	const writers = 16
	done := make(chan answer)
	for i := range writers {
		go func() { done <- c.do("PUT", "/bucket/d/k", fmt.Sprint("body ", i)) }()
	}
	for range writers {
		if a := <-done; a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if l := c.list("/bucket?versions"); len(l.Version) != writers {
		t.Errorf("%d versions", len(l.Version))
	}
	c.view()
}
