package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func runArgs(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestPorts_formats(t *testing.T) {
	table, err := runArgs(t, "ports", "--port-offset", "20000", "--disable", "rpcbind", "--port", "rest=18000")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"22049", "18000", "disabled"} {
		if !strings.Contains(table, want) {
			t.Errorf("table lacks %q:\n%s", want, table)
		}
	}
	js, err := runArgs(t, "ports", "--format", "json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Entries []struct {
			ID  string `json:"id"`
			Low int    `json:"port_low"`
		} `json:"entries"`
	}
	if err := json.Unmarshal([]byte(js), &doc); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, e := range doc.Entries {
		found = found || e.ID == "nfs" && e.Low == 2049
	}
	if !found {
		t.Errorf("nfs is not on 2049 in %s", js)
	}
	nft, err := runArgs(t, "ports", "--format", "nft")
	if err != nil || !strings.Contains(nft, "tcp dport 2049 accept") {
		t.Errorf("nft: %v\n%s", err, nft)
	}
}

func TestPorts_refuses(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"ports --port nfs", "want NAME=NUMBER"},
		{"ports --port nope=1", "unknown port"},
		{"ports --disable nope", "unknown port"},
		{"ports --port-offset 70000", "no port number"},
		{"ports --format xml", "want table, json or nft"},
		{"ports extra", "unknown command"},
	} {
		if _, err := runArgs(t, strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestVersion(t *testing.T) {
	s, err := runArgs(t, "version")
	if err != nil || !strings.HasPrefix(s, "manifold ") {
		t.Errorf("%q %v", s, err)
	}
}

func TestScrub_bothWays(t *testing.T) {
	c, _, err := newRoot().Find([]string{"scrub"})
	if err != nil {
		t.Fatal(err)
	}
	help := c.UsageString()
	for _, want := range []string{"--data", "--host", "start", "status", "stop"} {
		if !strings.Contains(help, want) {
			t.Errorf("help lacks %q:\n%s", want, help)
		}
	}
	if _, err := runArgs(t, "scrub", "--data", t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a data directory") {
		t.Errorf("%v", err)
	}
}

func TestServerCommands_wantData(t *testing.T) {
	for _, c := range []string{"serve", "fsck", "reset-admin-password"} {
		if _, err := runArgs(t, c); err == nil || !strings.Contains(err.Error(), "data") {
			t.Errorf("%s: %v", c, err)
		}
	}
}
