package audit

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/nfsclient"
)

var (
	outage     = flag.Duration("outage", 0, "how long the syslog server is away at least; a minute is what operators ask about")
	operations = flag.Int("operations", 10_000, "operations of the client")
)

// run is a client that notes what it did.
type run struct {
	t      *testing.T
	s      *harness.Server
	c      *nfsclient.Conn
	root   nfsclient.Handle
	dir    nfsclient.Handle // of the present files
	file   nfsclient.Handle
	dirNo  int
	mounts int
	did    []done
	broken bool // the connection ended in the middle of the last call
}

// done is one operation: what its record says after the protocol.
type done struct {
	record string
	// unknown: no answer came, so it may have happened or not.
	unknown bool
}

func (r *run) connect() {
	r.t.Helper()
	r.c = r.s.NFS(r.t, nfsclient.Cred{})
	root, err := r.c.Mount(r.t.Context(), "/")
	if err != nil {
		r.t.Fatal(err)
	}
	r.root, r.broken = root, false
	r.mounts++
}

// note keeps what an operation is to be recorded as. A status is an answer.
func (r *run) note(record string, err error) {
	r.t.Helper()
	var st nfsclient.Status
	switch {
	case err == nil:
	case errors.As(err, &st):
		r.t.Fatalf("%s: %v", record, err)
	default:
		r.broken = true
	}
	r.did = append(r.did, done{record, r.broken})
}

const perDir = 50

// one does the next operation. Every name is used once, so records of one say
// which it was.
func (r *run) one(i int) {
	r.t.Helper()
	ctx, c := r.t.Context(), r.c
	kind, no := i%10, i/10
	if i%(10*perDir) == 0 || r.dir == "" {
		r.dirNo = i
		h, _, err := c.Mkdir(ctx, r.root, fmt.Sprint("d", i), nfsclient.SetAttr{})
		r.dir, r.file = h, ""
		r.note(fmt.Sprintf(`fs_create_directory,ok,/d%d,`, i), err)
		return
	}
	at := func(form string) string { return fmt.Sprintf("/d%d/", r.dirNo) + fmt.Sprintf(form, no) }
	if r.file == "" && kind != 0 && kind != 8 {
		kind = 8 // what was to be worked on was not made
	}
	switch kind {
	case 0:
		h, _, err := c.Create(ctx, r.dir, fmt.Sprint("f", no), nfsclient.SetAttr{}, false)
		r.file = h
		r.note("fs_create_file,ok,"+at("f%d")+",", err)
	case 1, 2, 3, 4:
		_, err := c.Write(ctx, r.file, uint64(kind)*4096, []byte("some bytes"), nfsclient.Unstable)
		r.note("fs_write_data,ok,"+at("f%d")+",", err)
	case 5:
		mode := uint32(0o640)
		_, err := c.SetAttr(ctx, r.file, nfsclient.SetAttr{Mode: &mode})
		r.note("fs_write_metadata,ok,"+at("f%d")+",", err)
	case 6:
		_, _, err := c.Read(ctx, r.file, 0, 16)
		r.note("fs_read_data,ok,"+at("f%d")+",", err)
	case 7:
		err := c.Link(ctx, r.file, r.dir, fmt.Sprint("l", no))
		r.note("fs_create_hard_link,ok,"+at("l%d")+","+at("f%d"), err)
	case 8:
		_, _, err := c.Symlink(ctx, r.dir, fmt.Sprint("s", i), "there, \"quoted\"", nfsclient.SetAttr{})
		r.note(fmt.Sprintf(`fs_create_symlink,ok,/d%d/s%d,there, ""quoted""`, r.dirNo, i), err)
	case 9:
		err := c.Rename(ctx, r.dir, fmt.Sprint("f", no), r.dir, fmt.Sprint("r", no))
		r.note("fs_rename,ok,"+at("f%d")+","+at("r%d"), err)
		r.file = ""
	}
}

// check compares what came with what was done. seqs must have no gap once what
// was sent again is left out.
func (r *run) check(rs []record) {
	r.t.Helper()
	var got []string
	next, again, mounts := uint64(1), 0, 0
	for _, x := range rs {
		switch {
		case x.seq < next:
			again++
			continue
		case x.seq > next:
			r.t.Fatalf("record %d came where %d was due", x.seq, next)
		}
		next++
		// address, user, protocol, operation, status, file id, path, target
		f := strings.SplitN(x.text, ",", 7)
		if len(f) != 7 || f[2] != "nfsv3" || f[3] == "fs_read_metadata" {
			continue
		}
		if f[3] == "nfs_mount" {
			mounts++
			continue
		}
		if f[1] != `"0"` || f[0] == "" || f[5] == "" {
			r.t.Fatalf("%s", x.text)
		}
		path, target, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(f[6], `"`), `"`), `","`)
		got = append(got, f[3]+","+f[4]+","+path+","+target)
	}
	if mounts != r.mounts {
		r.t.Errorf("%d mounts were recorded, want %d", mounts, r.mounts)
	}
	at := 0
	for _, d := range r.did {
		switch {
		case at < len(got) && got[at] == d.record:
			at++
		case d.unknown:
		case at == len(got):
			r.t.Fatalf("%s is missing at the end", d.record)
		default:
			r.t.Fatalf("%s came where %s was due", got[at], d.record)
		}
	}
	if at != len(got) {
		r.t.Fatalf("%d records too many, the first is %s", len(got)-at, got[at])
	}
	r.t.Logf("%d operations, %d records, %d of them sent again", len(r.did), next-1, again)
}

func configure(t *testing.T, s *harness.Server, more map[string]any) *harness.REST {
	t.Helper()
	rest := s.Login(t)
	in := map[string]any{"enabled": true, "server_address": "127.0.0.1", "server_port": port}
	for k, v := range more {
		in[k] = v
	}
	rest.Must(t, "PUT", "/v1/audit/syslog/config", in, nil)
	return rest
}

// waitStatus until the connection is what it should be, for that reason.
func waitStatus(t *testing.T, rest *harness.REST, want string, reason ...string) {
	t.Helper()
	var st struct {
		Status  string `json:"connection_status"`
		Details string `json:"error_details"`
	}
	if !harness.Within(60*time.Second, func() bool {
		st.Details = ""
		rest.Must(t, "GET", "/v1/audit/syslog/status", nil, &st)
		return st.Status == want && (len(reason) == 0 || strings.Contains(st.Details, reason[0]))
	}) {
		t.Fatalf("the connection is %+v", st)
	}
}

// Every operation of a long run is received, in order, though the syslog server
// goes away and is killed, and ours is stopped and is killed.
func TestEveryOperation(t *testing.T) {
	s := harness.StartServer(t)
	logd := newRsyslog(t, s.Net, t.TempDir(), "", "")
	logd.start()
	rest := configure(t, s, nil)
	waitStatus(t, rest, "AUDIT_LOG_CONNECTED")
	r := &run{t: t, s: s}
	r.connect()
	n := *operations
	var killed chan error
	for i := range n {
		switch i {
		case n / 4:
			logd.stop()
		case n / 2:
			waitStatus(t, rest, "AUDIT_LOG_DISCONNECTED")
			<-time.After(*outage)
			logd.start()
		case n * 6 / 10: // in the middle of calls
			killed = make(chan error, 1)
			go func() {
				s.Kill9()
				killed <- s.Launch()
			}()
		case n * 8 / 10:
			s.Stop(t)
			s.Start(t)
			r.connect()
		case n * 9 / 10:
			logd.proc.Kill()
			logd.start()
		}
		r.one(i)
		if r.broken {
			if err := <-killed; err != nil {
				t.Fatal(err)
			}
			if err := s.Wait(t.Context(), 30*time.Second); err != nil {
				t.Fatal(err)
			}
			r.connect()
			r.dir, r.file = "", ""
		}
	}
	if _, _, err := r.c.Mkdir(t.Context(), r.root, "last", nfsclient.SetAttr{}); err != nil {
		t.Fatal(err)
	}
	r.did = append(r.did, done{record: "fs_create_directory,ok,/last,"})
	r.check(logd.wait(`"/last"`))
	s.Stop(t)
}
