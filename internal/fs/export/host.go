package export

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"manifold/internal/fs"
)

// Host is a pattern of clients: addresses from lo to hi, a name, or all
// domain's direct members; and how well they must prove who calls.
type Host struct {
	text   string
	flavor Flavor
	lo, hi netip.Addr
	name   string // lower case; with wildcard, the part after "*" from its dot on
	wild   bool
	all    bool
}

// String answers the pattern as it was given.
func (h Host) String() string { return h.text }

// ParseHost reads a pattern: an address, a range "10.0.0.1-10.0.0.9" or
// "10.0.0.1-9", a network "10.0.0.0/8" or "10.0.0.0/255.0.0.0", a full name
// "a.example.com", or all names one label below a domain, "*.example.com".
// "KRB5@", "KRB5I@" or "KRB5P@" before it, or alone for all hosts, demands
// Kerberos of at least that strength. Errors are of kind fs.Invalid.
func ParseHost(text string) (Host, error) {
	h := Host{text: text}
	bad := func(format string, args ...any) (Host, error) {
		shown := text
		if len(shown) > 100 {
			shown = shown[:100] + "..."
		}
		return Host{}, fmt.Errorf("host %q: %s: %w", shown, fmt.Sprintf(format, args...), fs.Invalid)
	}
	s := text
	if flavor, rest, ok := strings.Cut(s, "@"); ok {
		switch strings.ToUpper(flavor) {
		case "KRB5":
			h.flavor = FlavorKrb5
		case "KRB5I":
			h.flavor = FlavorKrb5i
		case "KRB5P":
			h.flavor = FlavorKrb5p
		default:
			return bad("before @ there can be KRB5, KRB5I or KRB5P")
		}
		if s = rest; s == "" {
			h.all = true
			return h, nil
		}
	}
	switch s {
	case "":
		return bad("is empty; a list without hosts means every host")
	case "*":
		return bad("a list without hosts means every host")
	}
	if addr, mask, ok := strings.Cut(s, "/"); ok {
		return h.network(addr, mask, bad)
	}
	if from, to, ok := strings.Cut(s, "-"); ok {
		if lo, err := netip.ParseAddr(from); err == nil {
			return h.span(lo, to, bad)
		}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return bad("a zone has no meaning here")
		}
		h.lo = a.Unmap()
		h.hi = h.lo
		return h, nil
	}
	return h.named(s, bad)
}

type badFunc func(format string, args ...any) (Host, error)

func (h Host) network(addr, mask string, bad badFunc) (Host, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" {
		return bad("%q is no address", addr)
	}
	bits, err := strconv.Atoi(mask)
	if err != nil {
		m, err := netip.ParseAddr(mask)
		if err != nil || m.BitLen() != a.BitLen() {
			return bad("%q is neither a prefix length nor a netmask", mask)
		}
		if bits = ones(m); bits < 0 {
			return bad("the ones of netmask %s are not contiguous", mask)
		}
	}
	if a.Is4In6() && bits >= 96 {
		a, bits = a.Unmap(), bits-96
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return bad("the prefix length must be from 0 to %d", a.BitLen())
	}
	h.lo = p.Addr()
	b := h.lo.AsSlice()
	for i := bits; i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	h.hi, _ = netip.AddrFromSlice(b)
	return h, nil
}

// ones answers the length of a netmask, -1 if it is none.
func ones(m netip.Addr) int {
	n, end := 0, false
	for _, b := range m.AsSlice() {
		for i := 7; i >= 0; i-- {
			switch set := b>>i&1 == 1; {
			case set && end:
				return -1
			case set:
				n++
			default:
				end = true
			}
		}
	}
	return n
}

func (h Host) span(lo netip.Addr, to string, bad badFunc) (Host, error) {
	hi, err := netip.ParseAddr(to)
	if err != nil {
		// The short form gives only the last byte.
		n, err := strconv.ParseUint(to, 10, 8)
		if lo = lo.Unmap(); err != nil || !lo.Is4() {
			return bad("%q is no address", to)
		}
		b := lo.As4()
		b[3] = byte(n)
		hi = netip.AddrFrom4(b)
	}
	lo, hi = lo.Unmap(), hi.Unmap()
	switch {
	case lo.Zone() != "" || hi.Zone() != "":
		return bad("a zone has no meaning here")
	case lo.BitLen() != hi.BitLen():
		return bad("the ends are an IPv4 and an IPv6 address")
	case hi.Less(lo):
		return bad("the range ends before it begins")
	}
	h.lo, h.hi = lo, hi
	return h, nil
}

func (h Host) named(s string, bad badFunc) (Host, error) {
	name := canonical(s)
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		h.wild, name = true, rest
	}
	if len(name) > 253 {
		return bad("the name is longer than 253 bytes")
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return bad("the name has an empty label")
		case len(label) > 63:
			return bad("a label is longer than 63 bytes")
		case strings.Contains(label, "*"):
			return bad("* can only be the whole first label")
		case strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
			return bad("neither an address nor a name")
		case label[0] == '-' || label[len(label)-1] == '-':
			return bad("a label begins or ends with a hyphen")
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" {
		return bad("neither an address nor a name: names do not end in a number")
	}
	if h.name = name; h.wild {
		h.name = "." + name
	}
	return h, nil
}

// canonical is a name as it is compared.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// nameCache asks for a client's names once.
type nameCache struct {
	asked bool
	names []string
}

func (n *nameCache) of(c *Client) []string {
	if !n.asked {
		n.asked = true
		if c.Names != nil {
			n.names = c.Names()
		}
	}
	return n.names
}

func (h *Host) matches(addr netip.Addr, c *Client, names *nameCache) bool {
	if c.Flavor < h.flavor {
		return false
	}
	if h.all {
		return true
	}
	if h.name == "" {
		return addr.BitLen() == h.lo.BitLen() && !addr.Less(h.lo) && !h.hi.Less(addr)
	}
	for _, n := range names.of(c) {
		n = canonical(n)
		if !h.wild {
			if n == h.name {
				return true
			}
			continue
		}
		if label, ok := strings.CutSuffix(n, h.name); ok && label != "" && !strings.Contains(label, ".") {
			return true
		}
	}
	return false
}

// ParseHosts reads patterns, in order.
func ParseHosts(texts []string) ([]Host, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	hs := make([]Host, len(texts))
	for i, t := range texts {
		var err error
		if hs[i], err = ParseHost(t); err != nil {
			return nil, err
		}
	}
	return hs, nil
}
