package ftp

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"manifold/internal/fs"
)

var errSyntax = errors.New("ftp: syntax")

// parseCommand splits a line into its verb, in capitals, and the argument.
func parseCommand(line string) (verb, arg string) {
	verb, arg, _ = strings.Cut(line, " ")
	return strings.ToUpper(verb), arg
}

// untelnet takes the commands of Telnet (RFC 854) out of a line, such as the
// interrupt that clients send before ABOR.
func untelnet(b []byte) []byte {
	const iac, will, dont = 255, 251, 254
	out := b[:0]
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] != iac:
			out = append(out, b[i])
		case i+1 < len(b) && b[i+1] == iac:
			out = append(out, iac)
			i++
		case i+1 < len(b) && b[i+1] >= will && b[i+1] <= dont:
			i += 2
		default:
			i++
		}
	}
	return out
}

// parsePort is the argument of PORT: h1,h2,h3,h4,p1,p2.
func parsePort(s string) (netip.AddrPort, error) {
	parts := strings.Split(s, ",")
	if len(parts) != 6 {
		return netip.AddrPort{}, errSyntax
	}
	var n [6]byte
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return netip.AddrPort{}, errSyntax
		}
		n[i] = byte(v)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[:4])), uint16(n[4])<<8|uint16(n[5])), nil
}

// parseEprt is the argument of EPRT (RFC 2428 2): |1|address|port|. It answers
// whether the network protocol is known.
func parseEprt(s string) (a netip.AddrPort, known bool, err error) {
	if len(s) < 2 || s[0] < 33 || s[0] > 126 {
		return a, true, errSyntax
	}
	parts := strings.Split(s, s[:1])
	if len(parts) != 5 || parts[0] != "" || parts[4] != "" {
		return a, true, errSyntax
	}
	if parts[1] != "1" && parts[1] != "2" {
		return a, false, errSyntax
	}
	addr, err := netip.ParseAddr(parts[2])
	if err != nil || addr.Zone() != "" || addr.Is4() != (parts[1] == "1") {
		return a, true, errSyntax
	}
	port, err := strconv.ParseUint(parts[3], 10, 16)
	if err != nil {
		return a, true, errSyntax
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true, nil
}

const timeFormat = "20060102150405"

// parseTime is a time-val of RFC 3659 2.3, in UTC.
func parseTime(s string) (fs.Time, error) {
	whole, fraction, dotted := strings.Cut(s, ".")
	if len(whole) != len(timeFormat) || dotted && (fraction == "" || len(fraction) > 9) {
		return fs.Time{}, errSyntax
	}
	t, err := time.Parse(timeFormat, whole)
	if err != nil {
		return fs.Time{}, errSyntax
	}
	nsec := uint64(0)
	if dotted {
		if nsec, err = strconv.ParseUint(fraction+"000000000"[len(fraction):], 10, 32); err != nil {
			return fs.Time{}, errSyntax
		}
	}
	return fs.Time{Sec: t.Unix(), Nsec: uint32(nsec)}, nil
}

// parseMode is an octal mode.
func parseMode(s string) (fs.Mode, error) {
	if len(s) < 1 || len(s) > 5 {
		return 0, errSyntax
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > uint64(fs.ModeAll) {
		return 0, errSyntax
	}
	return fs.Mode(n), nil
}

// splitOptions takes options in the way of ls off the argument of LIST: they
// are accepted and change nothing.
func splitOptions(arg string) string {
	for strings.HasPrefix(arg, "-") {
		option, rest, _ := strings.Cut(arg, " ")
		if option == "--" {
			return rest
		}
		arg = strings.TrimLeft(rest, " ")
	}
	return arg
}

// printable keeps a name on its line.
func printable(name string) string {
	if strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0 {
		return name
	}
	b := []byte(name)
	for i := range b {
		if b[i] < ' ' || b[i] == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

// quoted is a path as RFC 959 appendix II wants it.
func quoted(p string) string {
	return `"` + strings.ReplaceAll(printable(p), `"`, `""`) + `"`
}
