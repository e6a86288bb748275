package smb

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
)

// slice is a first walk through a mount at /mnt/s; its output is the same with
// every dialect.
const slice = `
slice() { (
set -e
cd /mnt/s
mkdir d
echo hello >d/f; echo world >>d/f; cat d/f
cp d/f d/g; mv d/g d/i
stat -c '%n %F %s' d d/f | sed 's/ directory.*/ directory/'
ls -1 d
dd if=/dev/zero of=d/big bs=1M count=8 conv=fsync 2>/dev/null
printf x | dd of=d/big bs=1 seek=5000000 conv=notrunc 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
md5sum <d/big
truncate -s 1000000 d/big; stat -c %s d/big
touch -d '2001-02-03 04:05:06.789' d/f; stat -c %Y d/f
rmdir d 2>/dev/null || echo not empty
touch "d/$(printf 'n\303\266n ascii')"; ls d | wc -l
rm -r d; ls -1 | wc -l
) }
`

const sliceOutput = `hello
world
d directory
d/f regular file 12
f
i
36f84be4c29c526a1c803a0a5c44d862
1000000
981173106
not empty
4
0
`

const mountSMB = `
cifs() { mkdir -p /mnt/s && mount -t cifs -o "$1,username=admin,password=` + harness.Password + `,uid=0,gid=0" "//$SERVER/Files$2" /mnt/s; }
`

// The kernel's client does the same with every dialect that it knows, sealed
// or signed, and through its cache or past it.
func TestKernel(t *testing.T) {
	s := harness.StartServer(t)
	guest := harness.Guest{Net: s.Net, Realtime: true, Timeout: 4 * time.Minute}
	kinds := []string{"vers=2.1", "vers=3.0", "vers=3.1.1", "vers=3.1.1,seal", "vers=3.0,sign,cache=none", "vers=3.1.1,cache=loose", "vers=3.1.1,multichannel,max_channels=3"}
	script := mountSMB + slice
	for _, k := range kinds {
		script += "echo = " + k + "; cifs " + k + " || exit 1; slice || exit 2\n"
		if strings.Contains(k, "multichannel") {
			script += "grep -q 'Extra Channels: 2' /proc/fs/cifs/DebugData || exit 4\n"
		}
		script += "umount /mnt/s || exit 3\n"
	}
	res := guest.Run(t, script)
	want := ""
	for _, k := range kinds {
		want += "= " + k + "\n" + sliceOutput
	}
	if got := strings.ReplaceAll(res.Stdout, "  -\n", "\n"); got != want || res.Code != 0 {
		t.Fatalf("exit code %d, got\n%q\nwant\n%q\n%s", res.Code, got, want, res.Stderr)
	}
}

// A tree that is copied in over SMB is the same over NFS, and the other way
// round. MANIFOLD_TREE names another than the small one that CI has time for.
func TestKernel_sameTreeAsNFS(t *testing.T) {
	s := harness.StartServer(t)
	src := os.Getenv("MANIFOLD_TREE")
	if src == "" {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			t.Fatal(err)
		}
		src = filepath.Join(strings.TrimSpace(string(out)), "src/net")
	}
	began := time.Now()
	guest := harness.Guest{Net: s.Net, Realtime: true, Timeout: 15 * time.Minute, OnLine: func(line string) {
		t.Logf("%5.1f s: %s", time.Since(began).Seconds(), line)
	}}
	res := guest.Run(t, "src="+src+mountSMB+`
cifs vers=3.1.1 && mkdir /mnt/n && mount -t nfs -o vers=3,proto=tcp,nolock $SERVER:/ /mnt/n || exit 1
echo mounted; cp -rL $src /mnt/s/smb || exit 2
echo copied over SMB; diff -r $src /mnt/n/smb || exit 3
echo the same over NFS; cp -rL $src /mnt/n/nfs || exit 4
umount /mnt/s && cifs vers=3.1.1,seal || exit 5
echo copied over NFS; diff -r $src /mnt/s/nfs || exit 6
echo the same over SMB; diff -r /mnt/n/smb /mnt/s/nfs || exit 7
echo both the same; rm -r /mnt/s/smb || exit 8
echo removed over SMB
ls -1 /mnt/n; find /mnt/n/nfs -type f | wc -l; find -L $src -type f | wc -l
umount /mnt/s /mnt/n`)
	_, counts, _ := strings.Cut(res.Stdout, "removed over SMB\n")
	f := strings.Fields(counts)
	if res.Code != 0 || len(f) != 3 || f[0] != "nfs" || f[1] != f[2] {
		t.Fatalf("exit code %d\n%s\n%s", res.Code, res.Stdout, res.Stderr)
	}
}

// What a client caches under a lease is called in before another protocol
// reads it, and is given up before another protocol changes or removes it.
func TestKernel_leasesAcrossProtocols(t *testing.T) {
	s := harness.StartServer(t)
	rest := s.Login(t)
	guest := harness.Guest{Net: s.Net, Realtime: true, Timeout: 3 * time.Minute}
	res := guest.Run(t, mountSMB+`
token='`+rest.Token+`'
cifs vers=3.1.1,cache=strict,closetimeo=60 && mkdir /mnt/n && mount -t nfs -o vers=3,proto=tcp,nolock,noac $SERVER:/ /mnt/n || exit 1
put() { printf %s "$2" | curl -sk -H "Authorization: Bearer $token" -H 'Content-Type: application/octet-stream' -T - "https://$SERVER:8000/v1/files/%2F$1/data" >/dev/null; }
get() { curl -sk -H "Authorization: Bearer $token" "https://$SERVER:8000/v1/files/%2F$1/data"; echo; }
cd /mnt/s
touch f; echo 3 >/proc/sys/vm/drop_caches
exec 3<>f; printf written-by-smb >&3   # stays in the client's memory
echo 1 $(get f)
printf '+more' >&3
echo 2 $(cat /mnt/n/f)
exec 3>&-
exec 4<f; echo 3 $(cat f)
put f changed-by-rest; echo 4 $(cat f)
printf changed-by-nfs >/mnt/n/f; echo 5 $(cat f)
exec 4<&-
truncate -s 7 /mnt/n/f; echo 6 $(cat f)
cat f >/dev/null; rm /mnt/n/f; echo 7 $(cat f 2>/dev/null || echo gone) $(ls /mnt/n | wc -l)
cd /; umount /mnt/s /mnt/n`)
	want := "1 written-by-smb\n2 written-by-smb+more\n3 written-by-smb+more\n4 changed-by-rest\n5 changed-by-nfs\n6 changed\n7 gone 0\n"
	if res.Stdout != want || res.Code != 0 {
		t.Fatalf("exit code %d, got\n%s\nwant\n%s\n%s", res.Code, res.Stdout, want, res.Stderr)
	}
}
