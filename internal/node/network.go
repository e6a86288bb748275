package node

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"manifold/internal/control"
	"manifold/internal/ports"
)

// network is how this machine is connected, read from the kernel when somebody
// asks.
type network struct {
	proc, sys string // where the kernel shows it
	ledger    *ports.Ledger
}

func newNetwork(l *ports.Ledger) *network { return &network{"/proc", "/sys", l} }

// Link implements control.Network: the interface of the default route, or else
// the first that has an address.
func (n *network) Link() (control.Link, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return control.Link{}, err
	}
	name4, gw4 := defaultRoute(readFile(n.proc, "net/route"))
	name6, gw6 := defaultRoute6(readFile(n.proc, "net/ipv6_route"))
	i := slices.IndexFunc(ifaces, func(x net.Interface) bool { return x.Name == name4 })
	if i < 0 {
		i = slices.IndexFunc(ifaces, func(x net.Interface) bool { return x.Name == name6 })
	}
	if i < 0 {
		i = slices.IndexFunc(ifaces, func(x net.Interface) bool {
			addrs, _ := x.Addrs()
			return x.Flags&net.FlagLoopback == 0 && len(addrs) > 0
		})
	}
	if i < 0 {
		i = slices.IndexFunc(ifaces, func(x net.Interface) bool { return x.Flags&net.FlagLoopback != 0 })
	}
	if i < 0 {
		return control.Link{}, errors.New("the machine has no network interface")
	}
	x := &ifaces[i]
	at := filepath.Join("class/net", x.Name)
	number := func(file string) uint64 {
		v, _ := strconv.ParseUint(strings.TrimSpace(readFile(n.sys, filepath.Join(at, file))), 10, 64)
		return v
	}
	l := control.Link{
		Name: x.Name, MAC: x.HardwareAddr.String(), MTU: x.MTU, SpeedMbit: number("speed"),
		Up: x.Flags&net.FlagUp != 0, Carrier: number("carrier") == 1,
		Received: number("statistics/rx_bytes"), Sent: number("statistics/tx_bytes"), Taken: time.Now(),
	}
	if mode := readFile(n.sys, filepath.Join(at, "bonding/mode")); mode != "" {
		l.Bond, l.LACP = true, strings.HasPrefix(mode, "802.3ad")
	}
	if name4 == x.Name {
		l.Gateway = gw4
	}
	if name6 == x.Name {
		l.Gateway6 = gw6
	}
	l.Addresses, err = linkAddresses(x)
	return l, err
}

// readFile answers "" for what is not there.
func readFile(root, name string) string {
	b, _ := os.ReadFile(filepath.Join(root, name))
	return string(b)
}

// defaultRoute finds the interface and gateway of the default route, by lines
// of name, destination and gateway as the kernel prints them: words of the
// machine's byte order, which is little-endian on all that are built for.
func defaultRoute(table string) (string, netip.Addr) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		if gw, ok := kernelAddr(f[2]); ok {
			if gw.IsUnspecified() {
				gw = netip.Addr{}
			}
			return f[0], gw
		}
	}
	return "", netip.Addr{}
}

func defaultRoute6(table string) (string, netip.Addr) {
	const none = "00000000000000000000000000000000"
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[0] != none || f[1] != "00" || f[9] == "lo" {
			continue
		}
		b, err := hex.DecodeString(f[4])
		if err != nil || len(b) != 16 {
			continue
		}
		gw := netip.AddrFrom16([16]byte(b))
		if gw.IsUnspecified() {
			gw = netip.Addr{}
		}
		return f[9], gw
	}
	return "", netip.Addr{}
}

// kernelAddr reads an address of the kernel's tables: 32-bit words, each
// little-endian.
func kernelAddr(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 && len(b) != 16 {
		return netip.Addr{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.BigEndian.PutUint32(b[i:], binary.LittleEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	return a.Unmap(), ok
}

// linkAddresses asks the kernel for the addresses of an interface and whether
// they run out.
func linkAddresses(x *net.Interface) ([]control.LinkAddress, error) {
	leased, err := leasedAddresses(x.Index)
	if err != nil {
		return nil, err
	}
	addrs, err := x.Addrs()
	if err != nil {
		return nil, err
	}
	var out []control.LinkAddress
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, control.LinkAddress{Prefix: p, Leased: leased[p.Addr()]})
		}
	}
	return out, nil
}

// leasedAddresses are those whose IFA_F_PERMANENT is not set, rtnetlink(7).
func leasedAddresses(index int) (map[netip.Addr]bool, error) {
	b, err := syscall.NetlinkRIB(syscall.RTM_GETADDR, syscall.AF_UNSPEC)
	if err != nil {
		return nil, os.NewSyscallError("netlink", err)
	}
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return nil, os.NewSyscallError("netlink", err)
	}
	out := map[netip.Addr]bool{}
	for i := range msgs {
		m := &msgs[i]
		if m.Header.Type != syscall.RTM_NEWADDR || len(m.Data) < syscall.SizeofIfAddrmsg {
			continue
		}
		// family, prefix length, flags, scope; then the index.
		if int(binary.NativeEndian.Uint32(m.Data[4:])) != index || m.Data[2]&syscall.IFA_F_PERMANENT != 0 {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			continue
		}
		for _, at := range attrs {
			if a, ok := netip.AddrFromSlice(at.Value); ok && (at.Attr.Type == syscall.IFA_ADDRESS || at.Attr.Type == syscall.IFA_LOCAL) {
				out[a] = true
			}
		}
	}
	return out, nil
}

// maxConnections that are listed.
const maxConnections = 10_000

// Connections implements control.Network, by the kernel's table of connections.
func (n *network) Connections() ([]control.Connection, error) {
	of := map[uint16]string{}
	for id, protocol := range map[ports.ID]string{ports.NFS: "NFS", ports.CIFS: "SMB", ports.FTP: "FTP", ports.REST: "REST", ports.S3: "S3"} {
		if n.ledger.Enabled(id) {
			of[n.ledger.Number(id)] = protocol
		}
	}
	var out []control.Connection
	for _, name := range []string{"net/tcp", "net/tcp6"} {
		f, err := os.Open(filepath.Join(n.proc, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return nil, err
		}
		out = connections(f, of, out)
		_ = f.Close() // it was only read
	}
	slices.SortFunc(out, func(a, b control.Connection) int {
		if c := strings.Compare(a.Protocol, b.Protocol); c != 0 {
			return c
		}
		return a.Client.Compare(b.Client)
	})
	return out, nil
}

// connections adds the established connections to ports of a table of the
// kernel, proc(5).
func connections(table io.Reader, of map[uint16]string, out []control.Connection) []control.Connection {
	const established = "01"
	for sc := bufio.NewScanner(table); sc.Scan() && len(out) < maxConnections; {
		f := strings.Fields(sc.Text())
		if len(f) < 4 || f[3] != established {
			continue
		}
		_, port, _ := strings.Cut(f[1], ":")
		number, err := strconv.ParseUint(port, 16, 16)
		if err != nil || of[uint16(number)] == "" {
			continue
		}
		remote, _, _ := strings.Cut(f[2], ":")
		if a, ok := kernelAddr(remote); ok {
			out = append(out, control.Connection{Protocol: of[uint16(number)], Client: a})
		}
	}
	return out
}
