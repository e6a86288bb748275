// Package export says which clients may use an NFS export, and as whom: host
// patterns, ordered rules, squashing, and what is shown with 32 bits.
//
// Exports and rules are immutable values made from stored configuration; a
// change makes new ones. Matching does no I/O: names of a client come from a
// function that the protocol supplies.
//
// Invariants: the first rule whose hosts match decides; no match is no access;
// no rules at all are full access for everybody; whatever cannot be determined
// (no name, unknown port) does not match and is not privileged.
//
// The package must not know the protocol's messages, DNS, or where
// configuration is kept.
package export

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// Export is a directory under the name that clients mount.
type Export struct {
	// ID is the same for ever; it goes into file handles and refusals in the log.
	ID uint32
	// Path is the name that clients mount: absolute, no trailing slash but in "/".
	Path string
	// FSPath is the directory it shows.
	FSPath      string
	Description string
	// Rules in the order in which they are tried.
	Rules []Rule
	// What NFSv3 shows with 32 bits, for old clients.
	FileIDs32, FileSizes32, FSSize32 bool
}

// Rule says what the hosts it names may do. The zero Rule is full access for everybody.
type Rule struct {
	// Hosts; none are all hosts.
	Hosts    []Host
	ReadOnly bool
	// RequirePrivilegedPort refuses the hosts if they call from a port that any
	// user could have: 1024 or above.
	RequirePrivilegedPort bool
	Mapping               Mapping
	// MapTo is who mapped callers become; nil is nobody, 65534:65534.
	MapTo *identity.Credential
}

// Mapping says which callers become someone else.
type Mapping uint8

// Mappings, numbered as stored.
const (
	MapNone Mapping = 0
	MapRoot Mapping = 1
	MapAll  Mapping = 2
)

// Flavor is how well a client proved who is calling; ordered.
type Flavor uint8

// Flavors.
const (
	FlavorSys  Flavor = iota // AUTH_SYS or AUTH_NONE: the client's word
	FlavorKrb5               // Kerberos
	FlavorKrb5i
	FlavorKrb5p
)

// Client is what is known of who calls.
type Client struct {
	Addr netip.Addr
	Port uint16
	// Flavor of the call's authentication.
	Flavor Flavor
	// Names answers the names of Addr by reverse lookup. It is asked once at
	// most, and only if a rule names hosts. Whoever controls the reverse zone of
	// an address chooses its name: confirm it by a forward lookup. nil: none.
	Names func() []string
}

// Match answers the rule for a client that called with AUTH_SYS from addr and
// port, and whether it has access.
func (e *Export) Match(addr netip.Addr, port uint16, lookup func() []string) (Rule, bool) {
	return e.MatchClient(Client{Addr: addr, Port: port, Names: lookup})
}

// MatchClient answers the rule for a client, and whether it has access. An
// export without rules has the zero Rule for everybody.
func (e *Export) MatchClient(c Client) (Rule, bool) {
	if len(e.Rules) == 0 {
		return Rule{}, true
	}
	var names nameCache
	addr := c.Addr.Unmap().WithZone("")
	for i := range e.Rules {
		r := &e.Rules[i]
		if !r.matches(addr, &c, &names) {
			continue
		}
		if r.RequirePrivilegedPort && (c.Port == 0 || c.Port >= 1024) {
			return Rule{}, false
		}
		return *r, true
	}
	return Rule{}, false
}

func (r *Rule) matches(addr netip.Addr, c *Client, names *nameCache) bool {
	if len(r.Hosts) == 0 {
		return true
	}
	for i := range r.Hosts {
		if r.Hosts[i].matches(addr, c, names) {
			return true
		}
	}
	return false
}

// NeedsNames tells whether a match may ask for names, so that a protocol can
// look them up where it may wait.
func (e *Export) NeedsNames() bool {
	for i := range e.Rules {
		for j := range e.Rules[i].Hosts {
			if e.Rules[i].Hosts[j].name != "" {
				return true
			}
		}
	}
	return false
}

// Squash answers who a caller becomes. It does not apply to callers that
// Kerberos proved: those stay themselves.
func (r *Rule) Squash(cred *identity.Credential) *identity.Credential {
	switch {
	case r.Mapping == MapAll, r.Mapping == MapRoot && (cred.Superuser || cred.User == identity.UID(0)):
		if r.MapTo != nil {
			return r.MapTo
		}
		return Nobody()
	}
	return cred
}

// Nobody is the credential of anonymous callers.
func Nobody() *identity.Credential {
	return identity.POSIX(identity.NobodyUID, identity.NobodyGID, nil)
}

// ShowFileID is a file id as NFSv3 shows it. Ids that need more than 32 bits are
// hashed if the export says so; two files may then look like one.
func (e *Export) ShowFileID(id fs.FileID) uint64 {
	if !e.FileIDs32 || id <= math.MaxUint32 {
		return uint64(id)
	}
	h := uint64(id) * 0x9e3779b97f4a7c15 // Fibonacci hashing: the high bits mix all
	if h >>= 32; h > uint64(fs.RootID) {
		return h
	}
	return uint64(fs.RootID) + 1
}

// ShowFileSize is a file size as NFSv3 shows it.
func (e *Export) ShowFileSize(n uint64) uint64 { return show32(e.FileSizes32, n) }

// ShowFSSize is a size of the file system as NFSv3 shows it.
func (e *Export) ShowFSSize(n uint64) uint64 { return show32(e.FSSize32, n) }

func show32(on bool, n uint64) uint64 {
	if on {
		return min(n, math.MaxUint32)
	}
	return n
}

const (
	maxPathBytes = 64 << 10
	maxRules     = 1024
	maxHosts     = 1024 // of one rule
)

// Validate tells what is wrong with an export, in words for the administrator
// and of kind fs.Invalid.
func (e *Export) Validate() error {
	if err := CheckPath(e.Path); err != nil {
		return fmt.Errorf("export path %w", err)
	}
	if !strings.HasPrefix(e.FSPath, "/") || strings.ContainsRune(e.FSPath, 0) {
		return fmt.Errorf("file system path %q is not absolute: %w", e.FSPath, fs.Invalid)
	}
	if len(e.Rules) > maxRules {
		return fmt.Errorf("%d rules, at most %d are possible: %w", len(e.Rules), maxRules, fs.Invalid)
	}
	for i, r := range e.Rules {
		switch {
		case len(r.Hosts) > maxHosts:
			return fmt.Errorf("rule %d: %d hosts, at most %d are possible: %w", i+1, len(r.Hosts), maxHosts, fs.Invalid)
		case r.Mapping > MapAll:
			return fmt.Errorf("rule %d: unknown mapping %d: %w", i+1, r.Mapping, fs.Invalid)
		}
	}
	return nil
}

// CheckPath tells what is wrong with the name of an export. Its components
// must be good for the pseudo file system of NFSv4.
func CheckPath(path string) error {
	bad := func(what string) error {
		if len(path) > 100 {
			path = path[:100] + "..."
		}
		return fmt.Errorf("%q %s: %w", path, what, fs.Invalid)
	}
	switch {
	case !strings.HasPrefix(path, "/"):
		return bad("does not begin with /")
	case path == "/":
		return nil
	case strings.HasSuffix(path, "/"):
		return bad("ends with /")
	case len(path) > maxPathBytes:
		return bad(fmt.Sprintf("is longer than %d bytes", maxPathBytes))
	}
	for name := range strings.SplitSeq(path[1:], "/") {
		switch {
		case name == "":
			return bad("has an empty component")
		case name == "." || name == "..":
			return bad("has the component " + name)
		case len(name) > fs.MaxName:
			return bad(fmt.Sprintf("has a component longer than %d bytes", fs.MaxName))
		case strings.ContainsRune(name, 0):
			return bad("has a zero byte")
		}
	}
	return nil
}

// Nested answers two paths of which the first is a prefix of the second by
// whole components, if there are such: NFSv4 cannot show both.
func Nested(paths []string) (outer, inner string, ok bool) {
	have := make(map[string]bool, len(paths))
	for _, p := range paths {
		have[p] = true
	}
	for _, p := range paths {
		for q := p; q != "/"; {
			q = q[:strings.LastIndexByte(q, '/')]
			if q == "" {
				q = "/"
			}
			if have[q] {
				return q, p, true
			}
		}
	}
	return "", "", false
}
