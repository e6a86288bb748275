package node

import (
	"net/netip"
	"strings"
	"testing"

	"manifold/internal/ports"
)

func TestBanner(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("192.0.2.9")}
	for _, c := range []struct {
		name string
		o    ports.Options
		want []string
		not  []string
	}{
		{"standard", ports.Options{}, []string{"https://192.0.2.9:8000/", "https://[2001:db8::7]:8000/", "mount -t nfs -o vers=3,proto=tcp 192.0.2.9:/ /mnt", "Xy9-secret"}, []string{"fe80", "mountport", "nolock"}},
		{"moved", ports.Options{Offset: 20000}, []string{":28000/", "port=22049,mountport=22049,mountproto=tcp,nolock 192.0.2.9:/ /mnt"}, nil},
		{"no rpcbind", ports.Options{Disable: []ports.ID{ports.RPCBind}}, []string{"port=2049,mountport=2049"}, nil},
		{"one address", ports.Options{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, []string{"https://127.0.0.1:8000/"}, []string{"192.0.2.9"}},
		{"smb", ports.Options{}, []string{`\\192.0.2.9\Files`, "mount -t cifs -o username=admin '//192.0.2.9/Files' /mnt"}, []string{"port=445"}},
		{"smb moved", ports.Options{Offset: 20000}, []string{"username=admin,port=20445 '//192.0.2.9/Files'"}, []string{`\\192`}},
		{"smb over IPv6", ports.Options{Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::7")}}, []string{`\\2001-db8--7.ipv6-literal.net\Files`}, nil},
		{"no smb", ports.Options{Disable: []ports.ID{ports.CIFS}}, nil, []string{"cifs"}},
		{"no nfs", ports.Options{Disable: []ports.ID{ports.NFS}}, nil, []string{"mount -t nfs"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := ports.New(c.o)
			if err != nil {
				t.Fatal(err)
			}
			var s strings.Builder
			b := banner{build: BuildInfo(), dataDir: "/srv/m", ledger: l, addrs: addrs, exports: []string{"/"}, shares: []string{"Files"}, password: "Xy9-secret"}
			if err := b.write(&s); err != nil {
				t.Fatal(err)
			}
			for _, w := range c.want {
				if !strings.Contains(s.String(), w) {
					t.Errorf("lacks %q:\n%s", w, &s)
				}
			}
			for _, w := range c.not {
				if strings.Contains(s.String(), w) {
					t.Errorf("has %q:\n%s", w, &s)
				}
			}
		})
	}
}
