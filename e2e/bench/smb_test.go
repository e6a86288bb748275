package bench

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/peers"
)

var (
	entries = flag.Int("entries", 50000, "entries of the directory that is listed over SMB")
	smbSet  = flag.String("smb", "large,small,list,sign,seal", "sets of rows of SMB")
)

func smbArgs(user, protection, commands string) []string {
	return []string{"--configfile=/dev/null", "--client-protection=" + protection, "--user=" + user, "//" + netns.Server + "/Files", "-c", commands}
}

// run runs a client without measuring it.
func (c *contestant) run(name string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := c.net.Start(cmd)
	if err != nil {
		return "", err
	}
	<-p.Done()
	return out.String(), p.Err()
}

// smbclient runs one and measures it.
func (c *contestant) smbclient(b *testing.B, dir, row string, ops int, protection, commands string) {
	b.Helper()
	c.measure(b, dir, row, ops, "", "smbclient", smbArgs(c.user, protection, commands)...)
}

// manyName is a name in the directory that is listed.
func manyName(i int) string { return fmt.Sprintf("a file of the many that are listed %d", i) }

// fill makes the directory that is listed: several clients at once put its files
// from dir, or they are made in the served folder itself. Samba looks through
// the whole directory for every name that it makes, which would take hours.
func (c *contestant) fill(dir string) error {
	if c.folder != "/" {
		at := filepath.Join(c.folder, "many")
		errs := []error{os.Mkdir(at, 0o755)}
		for i := range *entries {
			errs = append(errs, os.WriteFile(filepath.Join(at, manyName(i)), nil, 0o644))
		}
		return errors.Join(errs...)
	}
	const clients = 4
	var wg sync.WaitGroup
	errs := make([]error, clients)
	for i := range clients {
		wg.Go(func() {
			cmd := exec.Command("smbclient", smbArgs(c.user, "off", `prompt off; mkdir \many; cd \many; mput *`)...)
			cmd.Dir = filepath.Join(dir, "empty"+strconv.Itoa(i))
			p, err := c.net.Start(cmd)
			if err == nil {
				<-p.Done()
				err = p.Err() // of the last command: another may have made the directory
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *contestant) smb(b *testing.B, dir string, round int) {
	b.Helper()
	for _, set := range strings.Split(*smbSet, ",") {
		switch set {
		case "large":
			c.smbclient(b, dir, "put", *mib, "off", "put big")
			c.smbclient(b, dir, "get", *mib, "off", "get big /dev/null")
			// The put above goes over the file of the round before, whose blocks
			// Samba keeps.
			name := "new" + strconv.Itoa(round)
			c.smbclient(b, dir, "putnew", *mib, "off", "put big "+name)
			if out, err := c.run("smbclient", smbArgs(c.user, "off", "del "+name)...); err != nil {
				b.Fatalf("%s: %v\n%s", c.Server, err, out)
			}
		case "small":
			at := "r" + strconv.Itoa(round)
			c.smbclient(b, filepath.Join(dir, "small"), "puts", *small, "off", "prompt off; mkdir "+at+"; cd "+at+"; mput *")
			back := filepath.Join(dir, "back", strings.ReplaceAll(c.Server, " ", "-")+at)
			if err := os.Mkdir(back, 0o755); err != nil {
				b.Fatal(err)
			}
			c.smbclient(b, back, "gets", *small, "off", "prompt off; cd "+at+"; mget *")
			c.smbclient(b, dir, "dels", *small, "off", "cd "+at+"; del *")
			if err := os.RemoveAll(back); err != nil {
				b.Fatal(err)
			}
		case "list":
			c.smbclient(b, dir, "list", *entries, "off", "cd many; ls")
		case "sign":
			c.smbclient(b, dir, "signput", *mib, "sign", "put big")
			c.smbclient(b, dir, "signget", *mib, "sign", "get big /dev/null")
		case "seal":
			c.smbclient(b, dir, "sealput", *mib, "encrypt", "put big")
			c.smbclient(b, dir, "sealget", *mib, "encrypt", "get big /dev/null")
		default:
			b.Fatalf("-smb: no set %q", set)
		}
	}
}

// smbContestants are manifold, Samba as it is set up by default, and Samba that
// makes every write durable. With us what is closed is durable, and so is a name.
func smbContestants(b *testing.B) []*contestant {
	b.Helper()
	var all []*contestant
	if *only != "samba" {
		s := harness.StartServer(b)
		all = append(all, newContestant("manifold", s.Net, s.Pid(), "admin%"+harness.Password, "/"))
	}
	if *only != "manifold" {
		for _, x := range []struct {
			name   string
			always bool
		}{{"Samba", false}, {"Samba sync always", true}} {
			at := b.TempDir()
			p := peers.StartSamba(b, at, x.always)
			all = append(all, newContestant(x.name, p.Net, p.Pid(), "root%"+peers.SambaPassword, at))
		}
	}
	return all
}

// BenchmarkSMB compares with Samba through smbclient.
func BenchmarkSMB(b *testing.B) {
	harness.Require(b, "smbclient")
	dir := makeFiles(b)
	all := smbContestants(b)
	if strings.Contains(*smbSet, "list") {
		for i := range *entries {
			at := filepath.Join(dir, "empty"+strconv.Itoa(i%4))
			if err := errors.Join(os.MkdirAll(at, 0o755), os.WriteFile(filepath.Join(at, manyName(i)), nil, 0o644)); err != nil {
				b.Fatal(err)
			}
		}
		errs := make([]error, len(all))
		var wg sync.WaitGroup
		for i, c := range all {
			wg.Go(func() { errs[i] = c.fill(dir) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			b.Fatal(err)
		}
	}
	for round := range *rounds {
		for i := range all {
			c := all[(i+round)%len(all)]
			c.smb(b, dir, round)
			b.Logf("round %d: %s done", round+1, c.Server)
		}
	}
	report(b, all)
}

// BenchmarkCIFS compares with Samba through the Linux kernel's client.
func BenchmarkCIFS(b *testing.B) {
	dir := b.TempDir()
	script := filepath.Join(dir, "work.py")
	if err := os.WriteFile(script, work, 0o600); err != nil {
		b.Fatal(err)
	}
	all := smbContestants(b)
	for round := range *rounds {
		for i := range all {
			c := all[(i+round)%len(all)]
			m := meter{into: c.Samples, cpu: func() (time.Duration, error) { return treeCPU(c.pid) }}
			user, password, _ := strings.Cut(c.user, "%")
			guest := harness.Guest{Net: c.net, CPU: 1, MemoryMB: 768, Timeout: 20 * time.Minute, OnLine: m.line}
			res := guest.Run(b, fmt.Sprintf("mount -t cifs -o vers=3.1.1,username=%s,password=%s,uid=0,gid=0 //$SERVER/Files /mnt || exit 1\n"+
				"ROWS=%s MIB=%d FILES=%d python3 %s /mnt/bench none", user, password, *rowSets, *mib, *files, script))
			if res.Code != 0 || m.err != nil {
				b.Fatalf("%s: exit code %d, %v\n%s", c.Server, res.Code, m.err, res.Stderr)
			}
			b.Logf("round %d: %s done", round+1, c.Server)
		}
	}
	report(b, all)
}
