package ports

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite generated files")

func TestTableIsSortedAndComplete(t *testing.T) {
	order := []Direction{In, Node, Out, PeerChosen}
	rows := Table()
	seen := map[ID]bool{}
	for i, p := range rows {
		if seen[p.ID] {
			t.Errorf("%s appears twice", p.ID)
		}
		seen[p.ID] = true
		if p.Plane == "" || p.Room == "" || p.State == "" || p.TLS == "" || !strings.HasSuffix(p.Purpose, ".") || len(p.Transports) == 0 {
			t.Errorf("%s: a column is missing", p.ID)
		}
		if (p.Low == 0) != (p.Direction == PeerChosen) || p.High < p.Low {
			t.Errorf("%s: range %d-%d does not fit direction %s", p.ID, p.Low, p.High, p.Direction)
		}
		if i == 0 {
			continue
		}
		q := rows[i-1]
		a, b := slices.Index(order, q.Direction), slices.Index(order, p.Direction)
		if a > b || a == b && (q.Low > p.Low || q.Low == p.Low && q.ID > p.ID) {
			t.Errorf("%s must come before %s", p.ID, q.ID)
		}
	}
	// What clients of the reference product may connect to.
	for _, id := range []ID{FTP, FTPPassive, SSH, Web, WebTLS, RPCBind, CIFS, NFS, Replication, Portal, REST, S3} {
		if !seen[id] {
			t.Errorf("%s is missing", id)
		}
	}
}

func TestReferencePage(t *testing.T) {
	var b bytes.Buffer
	if err := WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join("..", "..", "docs", "reference", "ports.md")
	if *update {
		if err := os.WriteFile(page, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("docs/reference/ports.md is stale: run go test ./internal/ports -update")
	}
}

func TestOffsetMoveDisable(t *testing.T) {
	l, err := New(Options{Offset: 10000, Move: map[ID]uint16{NFS: 3049}, Disable: []ID{RPCBind}})
	if err != nil {
		t.Fatal(err)
	}
	if n := l.Number(REST); n != 18000 {
		t.Errorf("rest on %d", n)
	}
	if n := l.Number(NFS); n != 3049 {
		t.Errorf("nfs on %d", n)
	}
	if l.Enabled(RPCBind) || l.Enabled(Portal) || !l.Enabled(REST) {
		t.Error("wrong ports are enabled")
	}
	if n := l.Number(FTPPassive); n != 32768 {
		t.Errorf("the passive range moved to %d", n)
	}
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"unknown_move":    {Move: map[ID]uint16{"nope": 1}},
		"outbound_move":   {Move: map[ID]uint16{"ntp": 1}},
		"range_move":      {Move: map[ID]uint16{FTPPassive: 1}},
		"unknown_disable": {Disable: []ID{"nope"}},
		"offset_high":     {Offset: 60000},
		"offset_negative": {Offset: -100},
		"overlap":         {Move: map[ID]uint16{REST: 2049}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, s := range []string{"ssh", "ssh=x", "ssh=70000", "ssh=-1"} {
		if _, _, err := ParseMove(s); err == nil {
			t.Errorf("ParseMove(%q): accepted", s)
		}
	}
}

func TestBindReportsAllConflictsAtOnce(t *testing.T) {
	loop := netip.MustParseAddr("127.0.0.1")
	hold := func() (net.Listener, uint16) {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return ln, addrPort(ln.Addr())
	}
	_, a := hold()
	_, b := hold()
	l, err := New(Options{Move: map[ID]uint16{REST: a, NFS: b, RPCBind: 0}, Addresses: []netip.Addr{loop}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Bind(context.Background(), REST, NFS, RPCBind)
	var ce *ConflictError
	if !errors.As(err, &ce) {
		t.Fatalf("got %v", err)
	}
	text := ce.Error()
	for _, want := range []string{"rest: tcp", "nfs: tcp", "--port rest=N", "--disable nfs", "--port-offset", "pid"} {
		if !strings.Contains(text, want) {
			t.Errorf("report lacks %q:\n%s", want, text)
		}
	}
	// Nothing stays bound after a failure.
	for _, r := range l.Listings() {
		if r.Listening {
			t.Errorf("%s is still bound", r.ID)
		}
	}
}

func TestBindTakesBothTransportsOnOneNumber(t *testing.T) {
	l, err := New(Options{Move: map[ID]uint16{NFS: 0}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Listen(context.Background(), NFS)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.Listeners) != 1 || len(s.Packets) != 1 {
		t.Fatalf("bound %d listeners and %d packet sockets", len(s.Listeners), len(s.Packets))
	}
	n := l.Number(NFS)
	if addrPort(s.Listeners[0].Addr()) != n || addrPort(s.Packets[0].LocalAddr()) != n {
		t.Error("transports are on different ports")
	}
}

func TestBindWildcard(t *testing.T) {
	l, err := New(Options{Move: map[ID]uint16{REST: 0}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Listen(context.Background(), REST)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := net.Dial("tcp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), l.Number(REST)).String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestDialOnlyWhatIsDeclared(t *testing.T) {
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"inbound": func() error {
			_, err := l.Dial(context.Background(), REST, "tcp", "127.0.0.1:8000", DialOptions{})
			return err
		},
		"planned": func() error {
			_, err := l.Dial(context.Background(), "kmip", "tcp", "127.0.0.1:5696", DialOptions{})
			return err
		},
		"unknown": func() error {
			_, err := l.Dial(context.Background(), "x", "tcp", "127.0.0.1:1", DialOptions{})
			return err
		},
		"transport": func() error {
			_, err := l.Dial(context.Background(), Postgres, "udp", "127.0.0.1:5432", DialOptions{})
			return err
		},
		"no_port": func() error {
			_, err := l.Dial(context.Background(), Postgres, "tcp", "localhost", DialOptions{})
			return err
		},
	} {
		if err := f(); err == nil || !strings.HasPrefix(err.Error(), "dial") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestRenderings(t *testing.T) {
	l, err := New(Options{Disable: []ID{RPCBind}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteJSON(&b, l.Listings()); err != nil {
		t.Fatal(err)
	}
	var back struct{ Entries []Listing }
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back.Entries) != len(Table()) {
		t.Fatalf("json: %v, %d rows", err, len(back.Entries))
	}
	b.Reset()
	if err := WriteNFT(&b, l.Listings()); err != nil {
		t.Fatal(err)
	}
	nft := b.String()
	for _, want := range []string{"tcp dport 2049 accept", "udp dport 2049 accept", "tcp dport 8000 accept", "tcp dport 445 accept"} {
		if !strings.Contains(nft, want) {
			t.Errorf("rules lack %q", want)
		}
	}
	for _, not := range []string{"dport 111", "dport 5432"} {
		if strings.Contains(nft, not) {
			t.Errorf("rules open %q", not)
		}
	}
	b.Reset()
	if err := WriteTable(&b, Unbound()); err != nil || !strings.Contains(b.String(), "rpcbind") {
		t.Errorf("table: %v", err)
	}
}
