package node

import (
	"net/netip"
	"strings"
	"testing"

	"manifold/internal/control"
	"manifold/internal/ports"
)

func TestDefaultRoute(t *testing.T) {
	name, gw := defaultRoute(`Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth1	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
`)
	if name != "eth0" || gw != netip.MustParseAddr("192.0.2.1") {
		t.Error(name, gw)
	}
	name, gw = defaultRoute6(`00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
`)
	if name != "eth0" || gw != netip.MustParseAddr("fe80::1") {
		t.Error(name, gw)
	}
	for _, bad := range []string{"", "x", "eth0	00000000	zz	0003	0	0	0	00000000"} {
		if name, gw := defaultRoute(bad); name != "" || gw.IsValid() {
			t.Error(name, gw)
		}
	}
}

func TestConnections_table(t *testing.T) {
	got := connections(strings.NewReader(`  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0801 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 020200C0:0801 070200C0:03E8 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0000000000000000FFFF0000020200C0:0801 0000000000000000FFFF0000080200C0:03E8 01 00000000:00000000
   3: B80D0120000000000000000001000000:0801 B80D0120000000000000000002000000:03E8 01 00000000:00000000
   4: 020200C0:0802 070200C0:03E8 01 00000000:00000000
   5: nonsense:ZZZZ 070200C0:03E8 01
`), map[uint16]string{2049: "NFS"}, nil)
	want := []string{"192.0.2.7", "192.0.2.8", "2001:db8::2"}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, w := range want {
		if got[i] != (control.Connection{Protocol: "NFS", Client: netip.MustParseAddr(w)}) {
			t.Errorf("%+v", got[i])
		}
	}
}

// The machine of the test has an interface, and what is told of it hangs together.
func TestLink(t *testing.T) {
	l, err := ports.New(ports.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := newNetwork(l)
	link, err := n.Link()
	if err != nil {
		t.Fatal(err)
	}
	if link.Name == "" || link.MTU == 0 || link.Taken.IsZero() {
		t.Errorf("%+v", link)
	}
	if _, err := n.Connections(); err != nil {
		t.Error(err)
	}
}
