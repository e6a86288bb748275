package qq

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/suites"
)

var (
	//go:embed walk.txt
	script string
	//go:embed absent.txt
	absentList string
	//go:embed known_failures.txt
	knownList string
	//go:embed start.py
	start string
)

var update = flag.Bool("update", false, "write docs/conformance/qq.md")

func TestParse(t *testing.T) {
	if _, err := parse(script); err != nil {
		t.Error(err)
	}
	for _, list := range []string{absentList, knownList} {
		if _, err := suites.ParseKnown(list); err != nil {
			t.Error(err)
		}
	}
	steps, err := parse("# head\n! --chunked --chunk-size 9 do \"a b\" ${X} < \"in\\\"put\" ~ one > K=a.0.b\n")
	if err != nil || len(steps) != 1 {
		t.Fatal(steps, err)
	}
	s := steps[0]
	if !s.refused || s.command() != "do" || s.args[4] != "a b" || s.input != `in"put` || s.holds[0] != "one" || s.keeps[0] != (keep{"K", "a.0.b"}) {
		t.Errorf("%+v", s)
	}
	for _, bad := range []string{"do >", "do > K", `do "`, "--only"} {
		if s, err := parse(bad); err == nil {
			t.Errorf("%s: %+v", bad, s)
		}
	}
}

func TestWalk(t *testing.T) {
	steps, err := parse("one > X=a.0\ntwo ${X}\n! three\nfour ~ absent\nfive\n")
	if err != nil {
		t.Fatal(err)
	}
	rs := walk(steps, map[string]string{}, func(args []string, _ string) (string, bool, error) {
		switch args[0] {
		case "one":
			return `said {"a": [7]}`, true, nil
		case "two":
			return "", args[1] == "7", nil
		case "five":
			return "Traceback (most recent call last)", true, nil
		}
		return "", true, nil
	})
	if got := unexpected(rs, map[string]string{"three": "r", "four": "r", "one": "r"}); len(got) != 2 || !strings.HasPrefix(got[0], "line 5: five") || !strings.HasPrefix(got[1], "one is listed") {
		t.Errorf("%q", got)
	}
	for i, wrong := range []bool{false, false, true, true, true} {
		if (rs[i].err != nil) != wrong {
			t.Errorf("%s: %v", rs[i].step.args, rs[i].err)
		}
	}
}

func TestUncovered(t *testing.T) {
	got := uncovered([]string{"a", "b", "x_1", "c"}, []step{{args: []string{"a"}}, {args: []string{"c"}}, {args: []string{"z"}}}, map[string]string{"x_*": "r", "c": "r", "q": "r"})
	want := []string{"b is neither walked nor listed as absent", "c is listed as absent but is walked", "q is listed as absent, but qq has no such command", "z is walked, but qq has no such command"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", got)
	}
}

func TestManifold(t *testing.T) {
	python := os.Getenv("QUMULO_API_PYTHON")
	if python == "" {
		python = "python3"
	}
	tree := suites.Tree(t, "qq", "QUMULO_API_DIR", python)
	steps, err := parse(script)
	if err != nil {
		t.Fatal(err)
	}
	absent, err := suites.ParseKnown(absentList)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := fixtures(dir); err != nil {
		t.Fatal(err)
	}
	command := func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, python, append([]string{filepath.Join(dir, "start.py")}, args...)...)
		cmd.Env = append(os.Environ(), "PYTHONPATH="+tree, "PYTHONDONTWRITEBYTECODE=1", "PYTHONIOENCODING=utf-8", "HOME="+dir)
		return cmd
	}
	list, err := command(t.Context(), "commands").Output()
	if err != nil {
		t.Fatalf("%s does not start qq of %s: %v", python, tree, err)
	}
	commands := strings.Fields(string(list))
	s := harness.StartServer(t)
	r := s.Login(t)
	r.Must(t, "POST", "/v1/files/2/entries/", map[string]string{"action": "CREATE_FILE", "name": "streams"}, nil)
	r.Must(t, "POST", "/v1/files/%2Fstreams/streams/", map[string]string{"stream_name": "notes"}, nil)
	results := walk(steps, map[string]string{"TMP": dir, "PASSWORD": harness.Password}, func(args []string, input string) (string, bool, error) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var out bytes.Buffer
		cmd := command(ctx, append([]string{"--host", netns.Server, "--port", "8000"}, args...)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
		err := s.Net.Run(ctx, cmd)
		if err != nil && !netns.Ran(err) {
			return out.String(), false, err
		}
		return out.String(), err == nil, nil
	})
	known, err := suites.ParseKnown(knownList)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(unexpected(results, known), uncovered(commands, steps, absent)...) {
		t.Error(c)
	}
	if *update {
		version, err := command(t.Context(), "--version").CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		if err := write(commands, results, absent, known, strings.TrimSpace(string(version))); err != nil {
			t.Error(err)
		}
	}
}

// fixtures are the files that the walk uses.
func fixtures(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	now := time.Now()
	c := x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "walk"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.ParseIP(netns.Server)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, &c, &c, &key.PublicKey, key)
	if err != nil {
		return err
	}
	pemCert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	for name, content := range map[string][]byte{
		"start.py": []byte(start), "ca.pem": pemCert, "server.pem": pemCert,
		"server.key":        pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"data":              bytes.Repeat([]byte("0123456789abcdef"), 20_000),
		"restrictions.json": []byte(`{"restrictions": [{"host_restrictions": ["192.0.2.1"], "read_only": true, "require_privileged_port": false, "user_mapping": "none"}]}`),
		"overrides.json":    []byte(`{"lookup_overrides": [{"ip_address": "192.0.2.77", "aliases": ["walk.example"]}]}`),
		"acl.json": []byte(`{"control": ["PRESENT"], "posix_special_permissions": [], "aces": [
			{"type": "ALLOWED", "flags": [], "trustee": {"auth_id": "500"}, "rights": ["ACCESS_RIGHTS_ALL"]}]}`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// write reports one line for each command.
func write(commands []string, results []result, absent, known map[string]string, version string) error {
	commit, err := suites.Commit()
	if err != nil {
		return err
	}
	type tally struct{ steps, passed int }
	of := map[string]*tally{}
	for i := range results {
		r := &results[i]
		c := r.step.command()
		if of[c] == nil {
			of[c] = &tally{}
		}
		of[c].steps++
		if r.err == nil {
			of[c].passed++
		}
	}
	var rows strings.Builder
	walked, passed, steps := 0, 0, 0
	for _, c := range commands {
		n := of[c]
		if n == nil {
			fmt.Fprintf(&rows, "| %s | absent | %s |\n", c, absent[absentBy(c, absent)])
			continue
		}
		walked++
		steps += n.passed
		outcome, why := "fail", known[c]
		if n.passed == n.steps {
			passed, outcome, why = passed+1, "pass", fmt.Sprintf("%d steps", n.steps)
		}
		fmt.Fprintf(&rows, "| %s | %s | %s |\n", c, outcome, why)
	}
	md := fmt.Sprintf(`# qq and its Python library

The public command line of this API and the library that it is made of, walked command by command.

Run unmodified by e2e/suites/qq, whose walk.txt has the steps.

- date: %s
- commit: %s
- version: %s, %d commands
- %d of %d commands whose feature exists pass; %d of %d steps

| Command | Outcome | |
|---|---|---|
%s`, time.Now().UTC().Format(time.DateOnly), commit, version, len(commands), passed, walked, steps, len(results), rows.String())
	return os.WriteFile(filepath.Join("..", "..", "..", "docs", "conformance", "qq.md"), []byte(md), 0o644)
}
