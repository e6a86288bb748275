package smbtorture

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// client is a folder with the configuration of smbtorture.
type client struct{ dir string }

func newClient(dir string) (*client, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "[global]\n  workgroup = WORKGROUP\n  netbios name = TORTURE\n  client min protocol = SMB2_02\n  client max protocol = SMB3_11\n")
	for _, d := range []string{"lock", "state", "cache", "private", "pid"} {
		p := filepath.Join(dir, d)
		if err := os.MkdirAll(p, 0o755); err != nil {
			return nil, err
		}
		key := map[string]string{"private": "private dir"}[d]
		if key == "" {
			key = d + " directory"
		}
		fmt.Fprintf(&b, "  %s = %s\n", key, p)
	}
	return &client{dir}, os.WriteFile(filepath.Join(dir, "client.conf"), []byte(b.String()), 0o644)
}

// run runs tests of one suite until every one has a result. One that crashes
// or hangs the client fails, and the rest goes on without it.
func (c *client) run(ctx context.Context, s *Server, suite string, cases []Case) map[string]Result {
	results := map[string]Result{}
	left := cases
	for len(left) > 0 {
		limit := 60 * time.Second
		for _, x := range left {
			limit += time.Duration(3 * x.Seconds * float64(time.Second))
		}
		got, running, err := c.process(ctx, s, suite, left, limit)
		for _, r := range got {
			results[r.Name] = r
		}
		if running != "" {
			results[running] = Result{Name: running, Outcome: "FAIL", Reason: fmt.Sprintf("time-out or crash (%v)", err)}
		}
		var next []Case
		for _, x := range left {
			if _, done := results[x.Name]; !done {
				next = append(next, x)
			}
		}
		if len(next) == len(left) {
			for _, x := range next {
				results[x.Name] = Result{Name: x.Name, Outcome: "FAIL", Reason: fmt.Sprintf("never ran (%v)", err)}
			}
			break
		}
		left = next
	}
	return results
}

func (c *client) process(ctx context.Context, s *Server, suite string, cases []Case, limit time.Duration) ([]Result, string, error) {
	dir, err := os.MkdirTemp(c.dir, "run")
	if err != nil {
		return nil, "", err
	}
	var names strings.Builder
	for _, x := range cases {
		fmt.Fprintln(&names, x.Name)
	}
	list := filepath.Join(dir, "tests")
	if err := os.WriteFile(list, []byte(names.String()), 0o644); err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	target := fmt.Sprintf("//%s/share", s.Host)
	if strings.HasPrefix(suite, "rpc.") {
		target = fmt.Sprintf("ncacn_np:%s[smb2]", s.Host)
	}
	cmd := exec.CommandContext(ctx, "smbtorture", "-s", filepath.Join(c.dir, "client.conf"), "--format=subunit", "--fullname",
		"-p", fmt.Sprint(s.Port), "-U", "test%test", "--basedir="+dir, "--load-list="+list,
		"--option=torture:user2name=test2", "--option=torture:user2password=test", target, suite)
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout = &out
	runErr := cmd.Run()
	if keep := os.Getenv("SMBTORTURE_RAW"); keep != "" {
		_ = os.WriteFile(filepath.Join(keep, fmt.Sprintf("%s.%s.sub", suite, filepath.Base(dir))), out.Bytes(), 0o644)
	}
	results, running := parseSubunit(&out)
	return results, running, runErr
}
