package s3

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/nfsclient"
)

// overNFS reads a file through the NFS port.
func (w *world) overNFS(nfs *nfsclient.Conn, root nfsclient.Handle, path string) (all []byte) {
	w.Helper()
	h := root
	var err error
	for name := range strings.SplitSeq(path, "/") {
		if h, _, err = nfs.Lookup(w.Context(), h, name); err != nil {
			w.Fatalf("%s: %v", path, err)
		}
	}
	for {
		b, eof, err := nfs.Read(w.Context(), h, uint64(len(all)), 1<<17)
		if err != nil {
			w.Fatalf("%s: %v", path, err)
		}
		if all = append(all, b...); eof {
			return all
		}
	}
}

// A tree that was put by one client is the same tree for every other, and over
// NFS, SMB, SFTP, FTP and REST.
func TestTree(t *testing.T) {
	w := newWorld(t)
	files := w.tree()
	awsArgs := func(endpoint string, args ...string) []string {
		return append([]string{"--endpoint-url", endpoint, "--no-verify-ssl"}, args...)
	}
	w.must(aws, awsArgs("https://"+address, "s3", "mb", "s3://byaws")...)
	w.must(aws, awsArgs("https://"+address, "s3", "sync", "--only-show-errors", "tree", "s3://byaws")...)
	w.must(aws, awsArgs("http://"+address, "s3", "sync", "--only-show-errors", "s3://byaws", "awsback")...)
	w.must("diff", "-r", "tree", "awsback")

	conf := fmt.Sprintf("[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\n", w.id, w.secret, address, address)
	if err := os.WriteFile(w.path("s3cfg"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	s3cmd := func(args ...string) string {
		t.Helper()
		return w.must("s3cmd", append([]string{"-c", w.path("s3cfg"), "--no-progress"}, args...)...)
	}
	s3cmd("mb", "s3://bys3cmd")
	s3cmd("sync", "tree/", "s3://bys3cmd/")
	if out := s3cmd("sync", "tree/", "s3://bys3cmd/"); strings.Contains(out, "upload:") {
		t.Errorf("s3cmd sends what is there:\n%s", out)
	}
	if err := os.Mkdir(w.path("s3cmdback"), 0o755); err != nil {
		t.Fatal(err)
	}
	s3cmd("sync", "s3://bys3cmd/", "s3cmdback/")
	w.must("diff", "-r", "tree", "s3cmdback")

	conf = fmt.Sprintf("[m]\ntype = s3\nprovider = Other\naccess_key_id = %s\nsecret_access_key = %s\nendpoint = https://%s\n", w.id, w.secret, address)
	if err := os.WriteFile(w.path("rclone"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	rclone := func(args ...string) string {
		t.Helper()
		return w.must("env", append([]string{"-u", "AWS_CA_BUNDLE", "rclone", "--config", w.path("rclone"), "--no-check-certificate", "-v"}, args...)...)
	}
	rclone("sync", "tree", "m:byrclone")
	if out := rclone("sync", "tree", "m:byrclone"); strings.Contains(out, "Copied") {
		t.Errorf("rclone sends what is there:\n%s", out)
	}
	rclone("check", "tree", "m:byrclone")
	rclone("sync", "m:byrclone", "rcloneback")
	w.must("diff", "-r", "tree", "rcloneback")

	nfs := w.s.NFS(t, nfsclient.Cred{})
	root, err := nfs.Mount(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	r := w.s.Login(t)
	for i, name := range slices.Sorted(maps.Keys(files)) {
		for j, bucket := range []string{"byaws", "bys3cmd", "byrclone"} {
			if (i+j)%5 != 0 {
				continue
			}
			if got := w.overNFS(nfs, root, bucket+"/"+name); !bytes.Equal(got, files[name]) {
				t.Errorf("%s/%s over NFS: %d bytes that are not the %d that were sent", bucket, name, len(got), len(files[name]))
			}
			var got []byte
			r.Must(t, "GET", "/v1/files/"+url.PathEscape("/"+bucket+"/"+name)+"/data", nil, &got)
			if !bytes.Equal(got, files[name]) {
				t.Errorf("%s/%s over REST: %d bytes that are not the %d that were sent", bucket, name, len(got), len(files[name]))
			}
		}
	}

	w.everywhere()

	// The other way round: a file made over NFS is an object at once, and a
	// change over NFS changes what S3 answers, its tag too.
	c := w.minio(w.id, w.secret, false)
	dir, _, err := nfs.Lookup(t.Context(), root, "byaws")
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := nfs.Create(t.Context(), dir, "by nfs", nfsclient.SetAttr{}, true)
	if err != nil {
		t.Fatal(err)
	}
	tags := map[string]bool{}
	for _, text := range []string{"first", "second text"} {
		if _, err := nfs.Write(t.Context(), h, 0, []byte(text), nfsclient.FileSync); err != nil {
			t.Fatal(err)
		}
		o, err := c.GetObject(t.Context(), "byaws", "by nfs", minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(o)
		st, serr := o.Stat()
		_ = o.Close()
		if err != nil || serr != nil || string(b) != text {
			t.Errorf("by NFS: %q %v %v", b, err, serr)
		}
		tags[st.ETag] = true
	}
	if len(tags) != 2 {
		t.Errorf("entity tags of two contents: %v", tags)
	}
}

// everywhere fetches a tree that was put over S3 through all other doors.
func (w *world) everywhere() {
	w.Helper()
	for _, name := range []string{"ftpback", "sftpback", "smbback"} {
		if err := os.Mkdir(w.path(name), 0o755); err != nil {
			w.Fatal(err)
		}
	}
	w.s.MustCLI(w.T, "ftp", "enable")
	w.must("lftp", "-u", "admin,"+harness.Password, netns.Server, "-e",
		"set net:max-retries 1; set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; mirror --parallel=2 byaws ftpback; exit")
	w.must("diff", "-r", "tree", "ftpback")

	w.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w.path("id"))
	w.s.MustCLI(w.T, "ssh", "key", "add", "admin", w.path("id.pub"))
	w.must("scp", "-q", "-r", "-F", "none", "-i", w.path("id"), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "admin@"+netns.Server+":/byaws", "sftpback")
	w.must("diff", "-r", "tree", "sftpback/byaws")

	w.must("smbclient", "--configfile=/dev/null", "--user=admin%"+harness.Password, "//"+netns.Server+"/Files", "-c", "prompt off; recurse on; lcd smbback; cd byaws; mget *")
	w.must("diff", "-r", "tree", "smbback")
}

// boto3 does what programs do: multipart, presigned, versions, tags, metadata.
const botoScript = `
import boto3, hashlib, os, sys, urllib.request, ssl
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
url, part = sys.argv[1], 5 << 20
s3 = boto3.client("s3", endpoint_url=url, verify=False, config=Config(signature_version="s3v4", retries={"max_attempts": 1}))
def fails(code, f, **a):
    try: f(**a)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        return
    raise AssertionError("%s did not happen" % code)
s3.create_bucket(Bucket="boto")
data = os.urandom(3 * part + 77)
open("big", "wb").write(data)
s3.upload_file("big", "boto", "dir/big", ExtraArgs={"Metadata": {"color": "blue"}, "ContentType": "x/y"}, Config=TransferConfig(multipart_threshold=part, multipart_chunksize=part))
s3.download_file("boto", "dir/big", "back", Config=TransferConfig(multipart_threshold=part, multipart_chunksize=part))
assert open("back", "rb").read() == data
h = s3.head_object(Bucket="boto", Key="dir/big")
assert h["Metadata"] == {"color": "blue"} and h["ContentType"] == "x/y" and h["ETag"].endswith('-4"'), h
assert s3.get_object(Bucket="boto", Key="dir/big", Range="bytes=5-9")["Body"].read() == data[5:10]
s3.copy_object(Bucket="boto", Key="copy", CopySource="boto/dir/big")
assert hashlib.md5(s3.get_object(Bucket="boto", Key="copy")["Body"].read()).digest() == hashlib.md5(data).digest()
ctx = ssl._create_unverified_context()
kw = {"context": ctx} if url.startswith("https") else {}
p = s3.generate_presigned_url("put_object", Params={"Bucket": "boto", "Key": "signed"}, ExpiresIn=60)
urllib.request.urlopen(urllib.request.Request(p, data=b"hello", method="PUT"), **kw).read()
g = s3.generate_presigned_url("get_object", Params={"Bucket": "boto", "Key": "signed"}, ExpiresIn=60)
assert urllib.request.urlopen(g, **kw).read() == b"hello"
try:
    urllib.request.urlopen(url + "/boto/signed", **kw)
    raise AssertionError("unsigned requests read")
except urllib.error.HTTPError as e:
    assert e.code == 403, e
s3.put_object_tagging(Bucket="boto", Key="signed", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
assert s3.get_object_tagging(Bucket="boto", Key="signed")["TagSet"] == [{"Key": "a", "Value": "b"}]
s3.put_bucket_versioning(Bucket="boto", VersioningConfiguration={"Status": "Enabled"})
one = s3.put_object(Bucket="boto", Key="v", Body=b"one")["VersionId"]
two = s3.put_object(Bucket="boto", Key="v", Body=b"two")["VersionId"]
s3.delete_object(Bucket="boto", Key="v")
fails("NoSuchKey", s3.get_object, Bucket="boto", Key="v")
assert s3.get_object(Bucket="boto", Key="v", VersionId=one)["Body"].read() == b"one"
vs = s3.list_object_versions(Bucket="boto", Prefix="v")
assert [v["VersionId"] for v in vs["Versions"]] == [two, one] and len(vs["DeleteMarkers"]) == 1, vs
fails("BucketNotEmpty", s3.delete_bucket, Bucket="boto")
for page in s3.get_paginator("list_object_versions").paginate(Bucket="boto"):
    gone = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in page.get("Versions", []) + page.get("DeleteMarkers", [])]
    s3.delete_objects(Bucket="boto", Delete={"Objects": gone})
s3.delete_bucket(Bucket="boto")
fails("404", s3.head_bucket, Bucket="boto")
fails("NotImplemented", s3.create_bucket, Bucket="other", GrantRead="id=x")
print("done")
`

func TestBoto3(t *testing.T) {
	w := newWorld(t)
	for _, scheme := range []string{"http://", "https://"} {
		if out := w.must(python, "-c", botoScript, scheme+address); !strings.HasSuffix(out, "done\n") {
			t.Error(out)
		}
	}
}

func TestMinioGo(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for i, secure := range []bool{false, true} {
		c := w.minio(w.id, w.secret, secure)
		bucket := fmt.Sprintf("minio-%d", i)
		if err := c.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}); err != nil {
			t.Fatal(err)
		}
		data := content(21<<20+5, 9)
		// Of unknown size, so that it goes in parts.
		if _, err := c.PutObject(ctx, bucket, "a/stream", bytes.NewReader(data), -1, minio.PutObjectOptions{PartSize: 5 << 20, UserTags: map[string]string{"k": "v"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.PutObject(ctx, bucket, "small", strings.NewReader("small"), 5, minio.PutObjectOptions{UserMetadata: map[string]string{"Color": "blue"}}); err != nil {
			t.Fatal(err)
		}
		u, err := c.PresignedGetObject(ctx, bucket, "a/stream", time.Minute, nil)
		if err != nil || u.Query().Get("X-Amz-Signature") == "" {
			t.Fatalf("%v %v", u, err)
		}
		o, err := c.GetObject(ctx, bucket, "a/stream", minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(o)
		_ = o.Close()
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes back, %v", len(got), err)
		}
		if _, err := c.ComposeObject(ctx, minio.CopyDestOptions{Bucket: bucket, Object: "composed"},
			minio.CopySrcOptions{Bucket: bucket, Object: "a/stream"}, minio.CopySrcOptions{Bucket: bucket, Object: "small"}); err != nil {
			t.Error(err)
		}
		st, err := c.StatObject(ctx, bucket, "composed", minio.StatObjectOptions{})
		if err != nil || st.Size != int64(len(data)+5) {
			t.Errorf("%+v %v", st, err)
		}
		tags, err := c.GetObjectTagging(ctx, bucket, "a/stream", minio.GetObjectTaggingOptions{})
		if err != nil || tags.ToMap()["k"] != "v" {
			t.Errorf("%v %v", tags, err)
		}
		var keys []string
		for o := range c.ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true}) {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
			keys = append(keys, o.Key)
		}
		if fmt.Sprint(keys) != "[a/stream composed small]" {
			t.Error(keys)
		}
		for _, err := range []error{c.RemoveObject(ctx, bucket, "a/stream", minio.RemoveObjectOptions{}), c.RemoveObject(ctx, bucket, "composed", minio.RemoveObjectOptions{}),
			c.RemoveObject(ctx, bucket, "small", minio.RemoveObjectOptions{}), c.RemoveBucket(ctx, bucket)} {
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// counting makes a body of a seed again and again, with no memory for it.
type counting struct {
	rng  *rand.ChaCha8
	left int64
	sum  hash.Hash
}

func (c *counting) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), c.left)]
	_, _ = c.rng.Read(p)
	c.left -= int64(len(p))
	c.sum.Write(p)
	return len(p), nil
}

// An object of many parts, larger than memory may hold: MANIFOLD_S3_BIG bytes,
// otherwise few.
func TestBig(t *testing.T) {
	w := newWorld(t)
	size := int64(96 << 20)
	if n, err := strconv.ParseInt(os.Getenv("MANIFOLD_S3_BIG"), 10, 64); err == nil && n > 0 {
		size = n
	}
	ctx := t.Context()
	c := w.minio(w.id, w.secret, false)
	if err := c.MakeBucket(ctx, "big", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	body := &counting{rng: rand.NewChaCha8([32]byte{3}), left: size, sum: sha256.New()}
	start := time.Now()
	if _, err := c.PutObject(ctx, "big", "object", body, size, minio.PutObjectOptions{PartSize: 16 << 20, NumThreads: 2, SendContentMd5: false}); err != nil {
		t.Fatal(err)
	}
	put := time.Since(start)
	o, err := c.GetObject(ctx, "big", "object", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	start = time.Now()
	got := sha256.New()
	n, err := io.Copy(got, o)
	if err != nil || n != size || !bytes.Equal(got.Sum(nil), body.sum.Sum(nil)) {
		t.Errorf("%d of %d bytes back, %v", n, size, err)
	}
	mbs := func(d time.Duration) float64 { return float64(size) / 1e6 / d.Seconds() }
	u, err := harness.UsageOf(w.s.Pid())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB: PUT in parts %.0f MB/s, GET %.0f MB/s; the server has %d MiB and took %v of CPU", size>>20, mbs(put), mbs(time.Since(start)), u.ResidentBytes>>20, u.CPU)
}
