package rpc

import (
	"context"
	"strconv"
	"strings"

	"manifold/internal/identity/sid"
)

// Kinds of principals, [MS-LSAT] 2.2.13.
const (
	useUser      = 1
	useGroup     = 2
	useDomain    = 3
	useAlias     = 4
	useWellKnown = 5
	useUnknown   = 8
)

// principal is a SID with its name.
type principal struct {
	sid  sid.SID
	name string
	use  uint16
	// domain and its SID; of a domain, its own.
	domain    string
	domainSID sid.SID
}

// SIDs of domains that every machine has.
var (
	worldDomain   = mustSID("S-1-1")
	creatorDomain = mustSID("S-1-3")
	ntAuthority   = mustSID("S-1-5")
	builtinDomain = mustSID("S-1-5-32")
	unixUsers     = mustSID("S-1-5-88-1")
	unixGroups    = mustSID("S-1-5-88-2")
)

const (
	builtinName   = "BUILTIN"
	unixUserName  = "Unix User"
	unixGroupName = "Unix Group"
)

// Aliases of the domain that every machine has, and the local group that each
// of them has as its only member.
var builtins = []struct {
	rid   uint32
	name  string
	group uint32
}{
	{544, "Administrators", 512},
	{545, "Users", 513},
	{546, "Guests", 514},
}

// wellKnown are principals that are the same everywhere, [MS-DTYP] 2.4.2.4.
var wellKnown = func() []principal {
	list := []principal{
		{sid: join(worldDomain, 0), name: "Everyone", use: useWellKnown, domainSID: worldDomain},
		{sid: join(creatorDomain, 0), name: "CREATOR OWNER", use: useWellKnown, domainSID: creatorDomain},
		{sid: join(creatorDomain, 1), name: "CREATOR GROUP", use: useWellKnown, domainSID: creatorDomain},
		{sid: join(creatorDomain, 4), name: "OWNER RIGHTS", use: useWellKnown, domainSID: creatorDomain},
		{sid: ntAuthority, name: "NT AUTHORITY", use: useDomain, domain: "NT AUTHORITY", domainSID: ntAuthority},
		{sid: builtinDomain, name: builtinName, use: useDomain, domain: builtinName, domainSID: builtinDomain},
		{sid: join(builtinDomain, 549), name: "Server Operators", use: useAlias, domain: builtinName, domainSID: builtinDomain},
	}
	for _, x := range []struct {
		rid  uint32
		name string
	}{
		{1, "DIALUP"}, {2, "NETWORK"}, {3, "BATCH"}, {4, "INTERACTIVE"}, {6, "SERVICE"}, {7, "ANONYMOUS LOGON"}, {9, "ENTERPRISE DOMAIN CONTROLLERS"},
		{10, "SELF"}, {11, "Authenticated Users"}, {12, "RESTRICTED"}, {13, "TERMINAL SERVER USER"}, {14, "REMOTE INTERACTIVE LOGON"},
		{15, "This Organization"}, {18, "SYSTEM"}, {19, "LOCAL SERVICE"}, {20, "NETWORK SERVICE"},
	} {
		list = append(list, principal{sid: join(ntAuthority, x.rid), name: x.name, use: useWellKnown, domain: "NT AUTHORITY", domainSID: ntAuthority})
	}
	for _, b := range builtins {
		list = append(list, principal{sid: join(builtinDomain, b.rid), name: b.name, use: useAlias, domain: builtinName, domainSID: builtinDomain})
	}
	return list
}()

// namespace is all principals at one moment.
type namespace struct {
	server   string
	domain   sid.SID
	accounts []Account
	byRID    map[uint32]*Account
	byName   map[string]*Account
}

// namespace reads the accounts for one call.
func (c *call) namespace(ctx context.Context) (*namespace, error) {
	list, err := c.s.o.Accounts.Accounts(ctx)
	if err != nil {
		return nil, c.internal(ctx, err)
	}
	n := &namespace{server: c.s.o.Name, domain: c.s.o.Accounts.Domain(), accounts: list, byRID: map[uint32]*Account{}, byName: map[string]*Account{}}
	for i := range list {
		n.byRID[list[i].RID] = &list[i]
		n.byName[strings.ToLower(list[i].Name)] = &list[i]
	}
	return n, nil
}

func (n *namespace) account(a *Account) principal {
	p := principal{sid: join(n.domain, a.RID), name: a.Name, use: useUser, domain: n.server, domainSID: n.domain}
	if a.Group {
		p.use = useGroup
	}
	return p
}

// ofSID finds who has a SID.
func (n *namespace) ofSID(s sid.SID) (principal, bool) {
	for _, w := range wellKnown {
		if w.sid == s {
			return w, true
		}
	}
	if s == n.domain {
		return principal{sid: s, name: n.server, use: useDomain, domain: n.server, domainSID: s}, true
	}
	domain, rid, ok := split(s)
	if !ok {
		return principal{}, false
	}
	switch domain {
	case n.domain:
		if a := n.byRID[rid]; a != nil {
			return n.account(a), true
		}
	case unixUsers:
		return principal{sid: s, name: strconv.FormatUint(uint64(rid), 10), use: useUser, domain: unixUserName, domainSID: domain}, true
	case unixGroups:
		return principal{sid: s, name: strconv.FormatUint(uint64(rid), 10), use: useAlias, domain: unixGroupName, domainSID: domain}, true
	}
	return principal{}, false
}

// ofName finds who has a name: one alone, with its domain and a backslash before
// it, or with its domain and an @ behind it.
func (n *namespace) ofName(name string) (principal, bool) {
	domain, user, qualified := strings.Cut(name, `\`)
	if !qualified {
		user = name
		if i := strings.LastIndexByte(name, '@'); i > 0 {
			user, domain, qualified = name[:i], name[i+1:], true
		}
	}
	in := func(d string) bool { return !qualified || strings.EqualFold(d, domain) }
	for _, w := range wellKnown {
		if strings.EqualFold(w.name, user) && w.use != useDomain && in(w.domain) {
			// The groups of this machine go before those that every machine has.
			if a := n.byName[strings.ToLower(user)]; a != nil && !qualified {
				return n.account(a), true
			}
			return w, true
		}
	}
	if a := n.byName[strings.ToLower(user)]; a != nil && in(n.server) {
		return n.account(a), true
	}
	if qualified && user != "" {
		for _, x := range []struct {
			name   string
			domain sid.SID
		}{{unixUserName, unixUsers}, {unixGroupName, unixGroups}} {
			if rid, err := strconv.ParseUint(user, 10, 32); err == nil && strings.EqualFold(x.name, domain) {
				return n.ofSID(join(x.domain, uint32(rid)))
			}
		}
		return principal{}, false
	}
	if qualified {
		user = domain // "DOMAIN\" is the domain
	}
	switch {
	case strings.EqualFold(user, n.server):
		return n.ofSID(n.domain)
	case strings.EqualFold(user, builtinName):
		return n.ofSID(builtinDomain)
	case strings.EqualFold(user, "NT AUTHORITY"):
		return n.ofSID(ntAuthority)
	}
	return principal{}, false
}
