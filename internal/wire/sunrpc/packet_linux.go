package sunrpc

import (
	"encoding/binary"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An answer must come from the address that was asked, which a socket bound to
// all addresses of a machine with several does not do by itself: the kernel
// tells with each datagram where it was sent to, and is told with each answer.

const oobSize = 128

// wantDestinations asks the kernel for destination addresses.
func wantDestinations(u *net.UDPConn) bool {
	rc, err := u.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	_ = rc.Control(func(fd uintptr) {
		v4 := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1) == nil
		v6 := unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1) == nil
		ok = v4 || v6
	})
	return ok
}

// destination reads the address from a datagram's control messages.
func destination(oob []byte) (netip.Addr, bool) {
	for len(oob) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
		n := int(h.Len)
		if n < unix.SizeofCmsghdr || n > len(oob) {
			break
		}
		data := oob[unix.CmsgLen(0):n]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(data[8:12])), true
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16([16]byte(data[:16])).Unmap(), true
		}
		oob = oob[min(unix.CmsgSpace(n-unix.CmsgLen(0)), len(oob)):]
	}
	return netip.Addr{}, false
}

// source builds the control message that makes a datagram come from a.
func source(a netip.Addr) []byte {
	level, typ, size := int32(unix.IPPROTO_IP), int32(unix.IP_PKTINFO), unix.SizeofInet4Pktinfo
	if a.Is6() {
		level, typ, size = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo
	}
	b := make([]byte, unix.CmsgSpace(size))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, typ
	h.SetLen(unix.CmsgLen(size))
	data := b[unix.CmsgLen(0):]
	if a.Is6() {
		copy(data, a.AsSlice())
	} else {
		binary.NativeEndian.PutUint32(data, 0)
		copy(data[4:], a.AsSlice()) // ipi_spec_dst
	}
	return b
}
