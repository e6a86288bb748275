package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/nfsclient"
)

const rootID = "2"

func number(t *testing.T, env string, usual int) int {
	t.Helper()
	s := os.Getenv(env)
	if s == "" {
		return usual
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", env, err)
	}
	return n
}

// The server is killed at random moments under load of eight clients, with
// snapshots coming and going; nothing acknowledged may be lost. CRASH_CYCLES
// and CRASH_SEED change the run.
func TestKill9(t *testing.T) {
	cycles, seed := number(t, "CRASH_CYCLES", 200), number(t, "CRASH_SEED", 1)
	rng := rand.New(rand.NewPCG(uint64(seed), 99))
	ctx := t.Context()
	s := harness.StartServer(t)
	dial := func(ctx context.Context) (*nfsclient.Conn, error) {
		nc, err := s.Net.Dial(ctx, "tcp", netns.Server+":2049")
		if err != nil {
			return nil, err
		}
		return nfsclient.NewConn(nc, nfsclient.Cred{}), nil
	}
	conn := s.NFS(t, nfsclient.Cred{})
	root, err := conn.Mount(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	c := New(root, 8, uint64(seed))
	if err := c.Setup(ctx, conn); err != nil {
		t.Fatal(err)
	}

	var snaps snapshots
	var total int64
	var starts, checks, fscks []time.Duration
	for cycle := range cycles {
		total += loadAndKill(t, s, c, dial, 20+rng.Int64N(500), func(r *harness.REST) {
			if cycle%4 == 3 {
				snaps.change(ctx, r, cycle)
			}
		})
		at := time.Now()
		s.Fsck(t)
		fscks = append(fscks, time.Since(at))
		at = time.Now()
		s.Start(t)
		starts = append(starts, time.Since(at))
		at = time.Now()
		found, err := c.Verify(ctx, dial)
		if err != nil {
			t.Fatalf("cycle %d: %v", cycle, err)
		}
		for _, f := range found {
			t.Errorf("cycle %d: %s", cycle, f)
		}
		if cycle%4 == 3 {
			snaps.check(t, s.Login(t))
		}
		checks = append(checks, time.Since(at))
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d cycles, %d acknowledged operations, %d names at the end; medians: start %v, verification %v, fsck %v",
		cycles, total, c.Nodes(), median(starts), median(checks), median(fscks))
	if u, err := harness.UsageOf(s.Pid()); err == nil {
		t.Logf("resident: %d MiB", u.ResidentBytes>>20)
	}
	s.Stop(t)
	s.Fsck(t)
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2].Round(time.Millisecond)
}

// loadAndKill kills the server after so many operations, while more are under
// way, and returns how many were acknowledged.
func loadAndKill(t *testing.T, s *harness.Server, c *Checker, dial Dial, operations int64, admin func(*harness.REST)) int64 {
	t.Helper()
	rest := s.Login(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var acked atomic.Int64
	var once sync.Once
	reached := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { admin(rest) })
	wg.Go(func() {
		defer once.Do(func() { close(reached) })
		for _, f := range c.Load(ctx, dial, nil, func() {
			if acked.Add(1) == operations {
				once.Do(func() { close(reached) })
			}
		}) {
			t.Errorf("under load: %s", f)
		}
	})
	<-reached
	s.Kill9()
	wg.Wait()
	return acked.Load()
}

// snapshots is what is known of the snapshots of the root.
type snapshots struct {
	have  []int        // acknowledged
	gone  map[int]bool // acknowledged as deleted
	maybe int          // deletion of unknown outcome
}

type snapshot struct {
	ID       int    `json:"id"`
	Name     string `json:"name"`
	InDelete bool   `json:"in_delete"`
}

// change takes a snapshot and deletes the oldest of more than three, until the
// server is gone.
func (s *snapshots) change(ctx context.Context, r *harness.REST, cycle int) {
	if s.gone == nil {
		s.gone = map[int]bool{}
	}
	for i := range 3 {
		var out snapshot
		in := map[string]string{"name": fmt.Sprintf("c%d-%d", cycle, i), "source_file_id": rootID, "expiration": ""}
		if _, err := r.Try(ctx, "POST", "/v2/snapshots/", in, &out); err != nil {
			return
		}
		s.have = append(s.have, out.ID)
		if len(s.have) > 3 {
			s.maybe, s.have = s.have[0], s.have[1:]
			if _, err := r.Try(ctx, "DELETE", "/v2/snapshots/"+strconv.Itoa(s.maybe), nil, nil); err != nil {
				return
			}
			s.gone[s.maybe] = true
		}
	}
}

func (s *snapshots) check(t *testing.T, r *harness.REST) {
	t.Helper()
	var out struct{ Entries []snapshot }
	r.Must(t, "GET", "/v2/snapshots/", nil, &out)
	live := map[int]bool{}
	for _, e := range out.Entries {
		live[e.ID] = !e.InDelete
	}
	for _, id := range s.have {
		if !live[id] {
			t.Errorf("snapshot %d is lost", id)
		}
	}
	for id := range s.gone {
		if live[id] {
			t.Errorf("snapshot %d is here although its deletion was acknowledged", id)
		}
	}
}
