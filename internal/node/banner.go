package node

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"manifold/internal/ports"
)

// banner is what a server tells whoever started it.
type banner struct {
	build   Build
	dataDir string
	ledger  *ports.Ledger
	// addrs of this machine, to name those that clients can reach.
	addrs []netip.Addr
	// exports to show mount commands for.
	exports []string
	// shares to show how to reach.
	shares []string
	// registered: another rpcbind knows our ports.
	registered bool
	// noLocks: clients cannot find the lock manager.
	noLocks bool
	// password of the administrator when it was made just now and may be shown.
	password string
	// notes are further lines: where a password was left, what is missing.
	notes []string
}

// reachable picks the addresses to show: those bound, or where all are, those
// of the machine, global ones first, at most limit.
func (b *banner) reachable(limit int) []netip.Addr {
	var out []netip.Addr
	for _, a := range b.ledger.Addresses() {
		if !a.IsUnspecified() {
			out = append(out, a)
			continue
		}
		for _, m := range b.addrs {
			if !m.IsLinkLocalUnicast() && (a.Is6() || m.Is4()) {
				out = append(out, m)
			}
		}
	}
	slices.SortStableFunc(out, func(x, y netip.Addr) int { return rank(x) - rank(y) })
	out = slices.Compact(out)
	if len(out) == 0 {
		out = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	}
	return out[:min(limit, len(out))]
}

func rank(a netip.Addr) int {
	switch {
	case a.IsLoopback():
		return 2
	case a.Is4():
		return 0
	}
	return 1
}

func host(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// mount renders a mount command for an export.
func (b *banner) mount(a netip.Addr, export string) string {
	o := []string{"vers=3", "proto=tcp"}
	nfs := b.ledger.Number(ports.NFS)
	byRPCBind := b.registered || b.ledger.Enabled(ports.RPCBind) && b.ledger.Number(ports.RPCBind) == 111
	if !byRPCBind || nfs != 2049 {
		o = append(o, fmt.Sprintf("port=%d,mountport=%d,mountproto=tcp", nfs, nfs))
	}
	if !byRPCBind || b.noLocks {
		// Clients find the lock manager by rpcbind at its standard port only;
		// without it they must keep locks to themselves.
		o = append(o, "nolock")
	}
	return fmt.Sprintf("mount -t nfs -o %s %s:%s /mnt", strings.Join(o, ","), host(a), export)
}

// mountSMB says how to reach a share: Windows knows no other port than 445.
func (b *banner) mountSMB(a netip.Addr, share string) string {
	port := b.ledger.Number(ports.CIFS)
	if port == 445 {
		return fmt.Sprintf(`\\%s\%s or mount -t cifs -o username=admin '//%s/%s' /mnt`, unc(a), share, host(a), share)
	}
	return fmt.Sprintf("mount -t cifs -o username=admin,port=%d '//%s/%s' /mnt", port, host(a), share)
}

// unc is an address as it stands in the name of a share.
func unc(a netip.Addr) string {
	if a.Is6() {
		return strings.ReplaceAll(a.String(), ":", "-") + ".ipv6-literal.net"
	}
	return a.String()
}

// write renders everything.
func (b *banner) write(w io.Writer) error {
	var s strings.Builder
	fmt.Fprintf(&s, "\n%s\n\n", b.build)
	fmt.Fprintf(&s, "  Data       %s\n", b.dataDir)
	addrs := b.reachable(3)
	if b.ledger.Enabled(ports.REST) {
		for i, a := range addrs {
			fmt.Fprintf(&s, "  %-10s https://%s:%d/\n", []string{"REST", "", ""}[i], host(a), b.ledger.Number(ports.REST))
		}
	}
	if b.ledger.Listening(ports.SSH) {
		port := ""
		if n := b.ledger.Number(ports.SSH); n != 22 {
			port = fmt.Sprintf("-p %d ", n)
		}
		fmt.Fprintf(&s, "  %-10s ssh %sadmin@%s\n", "SSH", port, addrs[0])
	}
	if b.ledger.Enabled(ports.NFS) {
		for i, e := range b.exports {
			fmt.Fprintf(&s, "  %-10s %s\n", map[bool]string{true: "NFS"}[i == 0], b.mount(addrs[0], e))
		}
	}
	if b.ledger.Enabled(ports.CIFS) {
		for i, x := range b.shares {
			fmt.Fprintf(&s, "  %-10s %s\n", map[bool]string{true: "SMB"}[i == 0], b.mountSMB(addrs[0], x))
		}
	}
	if b.password != "" {
		fmt.Fprintf(&s, "\n  Administrator   admin\n  Password        %s\n  This is shown once. Change it with: manifold login && manifold change-password\n", b.password)
	}
	for i, n := range b.notes {
		if i == 0 {
			s.WriteByte('\n')
		}
		fmt.Fprintf(&s, "  %s\n", n)
	}
	s.WriteByte('\n')
	_, err := io.WriteString(w, s.String())
	return err
}
