package config

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"manifold/internal/fs"
	"manifold/internal/fs/export"
	"manifold/internal/identity"
	"manifold/internal/kv"
)

// Share is one SMB share.
type Share struct {
	// Name that clients connect to, compared without case. One that ends in '$'
	// is not listed.
	Name string `json:"name"`
	// FSPath is the directory it shows.
	FSPath      string `json:"fs_path"`
	Description string `json:"description,omitempty"`
	// Permissions in order; for each right the first that mentions it decides.
	Permissions []SharePermission `json:"permissions,omitempty"`
	// Network in order: the first that matches the client decides. None at all
	// serves nobody.
	Network []NetworkPermission `json:"network,omitempty"`
	// AccessBasedEnumeration lists only what the caller may read.
	AccessBasedEnumeration bool `json:"access_based_enumeration,omitempty"`
	// FileMode and DirMode of what is made where nothing is inherited.
	FileMode fs.Mode `json:"file_mode"`
	DirMode  fs.Mode `json:"dir_mode"`
	// RequireEncryption refuses clients that do not encrypt.
	RequireEncryption bool `json:"require_encryption,omitempty"`
}

// SharePermission gives rights to a principal or takes them away.
type SharePermission struct {
	Deny    bool            `json:"deny,omitempty"`
	Trustee identity.AuthID `json:"trustee"`
	Rights  fs.Rights       `json:"rights"`
}

// NetworkPermission says what may be done from some addresses.
type NetworkPermission struct {
	// Deny lets nobody in from there.
	Deny bool `json:"deny,omitempty"`
	// Addresses: single ones, ranges and networks; none is every address.
	Addresses []string  `json:"addresses,omitempty"`
	Rights    fs.Rights `json:"rights"`
}

// Rights of shares in the three groups that administrators use.
const (
	ShareRead              = fs.RightRead | fs.RightReadEA | fs.RightReadAttr | fs.RightReadACL | fs.RightExecute | fs.RightSynchronize
	ShareWrite             = fs.RightModify | fs.RightExtend | fs.RightWriteEA | fs.RightWriteAttr | fs.RightDelete | fs.RightDeleteChild
	ShareChangePermissions = fs.RightWriteACL | fs.RightChangeOwner | fs.RightWriteGroup
)

// Modes of a share that says nothing about them.
const (
	DefaultShareFileMode fs.Mode = 0o644
	DefaultShareDirMode  fs.Mode = 0o755
)

// MaxShares bounds what a server lists.
const MaxShares = 40_000

// SessionEncryption says how keen the server is on encryption. Stored by number.
type SessionEncryption uint8

// Session encryption.
const (
	EncryptionNone SessionEncryption = iota
	EncryptionPreferred
	EncryptionRequired
)

// SnapshotDirectories says how clients see ".snapshot". Stored by number.
type SnapshotDirectories uint8

// Modes of the snapshot directory.
const (
	SnapshotsVisible SnapshotDirectories = iota
	SnapshotsHidden
	SnapshotsDisabled
)

// SMBDialect is a version of the protocol, numbered as on the wire.
type SMBDialect uint16

// Dialects.
const (
	SMB2_002 SMBDialect = 0x0202
	SMB2_1   SMBDialect = 0x0210
	SMB3_0   SMBDialect = 0x0300
	SMB3_11  SMBDialect = 0x0311
)

// SMB are the settings of the protocol.
type SMB struct {
	Encryption SessionEncryption `json:"encryption,omitempty"`
	// Dialects that are served; none switches SMB off.
	Dialects               []SMBDialect        `json:"dialects"`
	HideFromUsers          bool                `json:"hide_from_users,omitempty"`
	HideFromHosts          bool                `json:"hide_from_hosts,omitempty"`
	Snapshots              SnapshotDirectories `json:"snapshots,omitempty"`
	BypassTraverseChecking bool                `json:"bypass_traverse_checking,omitempty"`
	SigningRequired        bool                `json:"signing_required,omitempty"`
}

// DefaultSMB are the settings of a fresh system.
func DefaultSMB() SMB { return SMB{Dialects: []SMBDialect{SMB2_002, SMB2_1, SMB3_0, SMB3_11}} }

// ShareTable is all shares at one moment. It is immutable.
type ShareTable struct {
	byName map[string]*ShareInForce
	sorted []*ShareInForce

	superseded chan struct{}
}

// Superseded is closed when another table is in force, and maybe other settings
// or users.
func (t *ShareTable) Superseded() <-chan struct{} { return t.superseded }

// ShareInForce is a share as stored and as clients are matched with it.
type ShareInForce struct {
	Record[Share]
	network []export.Rule // parallel to Value.Network; nil serves nobody
}

// Named finds a share by its name, in any case.
func (t *ShareTable) Named(name string) (*ShareInForce, bool) {
	x, ok := t.byName[fold(name)]
	return x, ok
}

// All lists the shares by id; callers must not change them.
func (t *ShareTable) All() []*ShareInForce { return t.sorted }

// From answers what may be done from an address.
func (x *ShareInForce) From(addr netip.Addr) fs.Rights {
	for i := range x.network {
		e := export.Export{Rules: x.network[i : i+1]}
		if _, ok := e.MatchClient(export.Client{Addr: addr}); ok {
			if p := &x.Value.Network[i]; !p.Deny {
				return p.Rights
			}
			return 0
		}
	}
	return 0
}

// For answers what a caller may do. Everyone is everybody with an account: a
// guest is let in by a permission that names it, its group or no-one else.
func (x *ShareInForce) For(c *identity.Credential) fs.Rights {
	guest := c.User == identity.Guest
	var allowed, decided fs.Rights
	for _, p := range x.Value.Permissions {
		if !c.Is(p.Trustee) || guest && p.Trustee == identity.Everyone && !p.Deny {
			continue
		}
		if !p.Deny {
			allowed |= p.Rights &^ decided
		}
		decided |= p.Rights
	}
	return allowed
}

// Guests tells whether guests may do anything.
func (x *ShareInForce) Guests() bool {
	return x.For(identity.New(identity.Guest, identity.Guests, nil, nil)) != 0
}

// ShareTable answers the shares in force. It costs one atomic load.
func (s *Store) ShareTable() *ShareTable { return s.shares.Load() }

// SMBInForce answers the settings in force. It costs one atomic load.
func (s *Store) SMBInForce() *SMB { return s.smb.Load() }

// SMB answers the settings.
func (s *Store) SMB(ctx context.Context) (Record[SMB], error) {
	return readOr(ctx, s, kindSMB, theOne, DefaultSMB())
}

// SetSMB replaces the settings whose revision is as given (0: any). They are in
// force when the call returns.
func (s *Store) SetSMB(ctx context.Context, revision uint64, v SMB) (Record[SMB], error) {
	for i, d := range v.Dialects {
		if d != SMB2_002 && d != SMB2_1 && d != SMB3_0 && d != SMB3_11 || slices.Contains(v.Dialects[:i], d) {
			return Record[SMB]{}, invalid("supported_dialects", "%#x is unknown or given twice", uint16(d))
		}
	}
	if v.Encryption > EncryptionRequired || v.Snapshots > SnapshotsDisabled {
		return Record[SMB]{}, invalid("settings", "unknown number")
	}
	v.Dialects = slices.Clone(v.Dialects) // the caller may have more use for them
	slices.Sort(v.Dialects)
	return changed(ctx, s, func(tx kv.Txn) (Record[SMB], error) { return replace(ctx, tx, kindSMB, theOne, revision, v) })
}

// shareTable makes a table of shares, in order of their ids; those that are the
// same in the table in force are taken from there.
func (s *Store) shareTable(ctx context.Context, recs []Record[Share]) *ShareTable {
	t := &ShareTable{byName: make(map[string]*ShareInForce, len(recs)), sorted: make([]*ShareInForce, 0, len(recs)), superseded: make(chan struct{})}
	have := map[uint64]*ShareInForce{}
	if old := s.shares.Load(); old != nil {
		for _, x := range old.sorted {
			have[x.ID] = x
		}
	}
	for _, rec := range recs {
		x := have[rec.ID]
		if x == nil || x.Revision != rec.Revision {
			x = s.shareInForce(ctx, rec)
		}
		t.byName[fold(rec.Value.Name)] = x
		t.sorted = append(t.sorted, x)
	}
	return t
}

func (s *Store) shareInForce(ctx context.Context, rec Record[Share]) *ShareInForce {
	x := &ShareInForce{Record: rec, network: make([]export.Rule, len(rec.Value.Network))}
	for i, p := range rec.Value.Network {
		hosts, err := shareHosts(p.Addresses)
		if err != nil {
			// Half the rules could let in whom the other half keeps out.
			s.log.ErrorContext(ctx, "a share cannot be understood and is closed to everybody", "share", rec.Value.Name, "error", err)
			x.network = nil
			break
		}
		x.network[i].Hosts = hosts
	}
	return x
}

// again is the same table under other settings or users.
func (t *ShareTable) again() *ShareTable {
	return &ShareTable{byName: t.byName, sorted: t.sorted, superseded: make(chan struct{})}
}

// shareHosts reads address ranges; names would need a lookup at each connect,
// and Kerberos is not how an address is matched.
func shareHosts(texts []string) ([]export.Host, error) {
	for _, t := range texts {
		if strings.ContainsAny(t, "@*") {
			return nil, fmt.Errorf("%q is no address", t)
		}
	}
	hosts, err := export.ParseHosts(texts)
	if err != nil {
		return nil, errors.New(reason(err))
	}
	if x := (export.Export{Rules: []export.Rule{{Hosts: hosts}}}); x.NeedsNames() {
		return nil, errors.New("addresses cannot be names")
	}
	return hosts, nil
}

// Share answers one share.
func (s *Store) Share(ctx context.Context, id uint64) (Record[Share], error) {
	return read[Share](ctx, s, kindShare, id)
}

// ShareByName answers the share of that name, in any case.
func (s *Store) ShareByName(ctx context.Context, name string) (Record[Share], error) {
	return byName[Share](ctx, s, kindShare, spaceShare, fold(name))
}

// Shares lists shares by id, those greater than after; limit 0 is all.
func (s *Store) Shares(ctx context.Context, after uint64, limit int) ([]Record[Share], error) {
	return list[Share](ctx, s, kindShare, after, limit)
}

// AddShare creates a share. It is in force when the call returns.
func (s *Store) AddShare(ctx context.Context, v Share) (Record[Share], error) {
	if len(s.ShareTable().All()) >= MaxShares {
		return Record[Share]{}, ErrLimit
	}
	return changed(ctx, s, func(tx kv.Txn) (Record[Share], error) { return putNewShare(ctx, tx, v) })
}

func putNewShare(ctx context.Context, tx kv.Txn, v Share) (Record[Share], error) {
	if err := checkShare(&v); err != nil {
		return Record[Share]{}, err
	}
	id, err := next(ctx, tx, counterShare, 1)
	if err != nil {
		return Record[Share]{}, err
	}
	if err := claim(ctx, tx, spaceShare, fold(v.Name), id); err != nil {
		return Record[Share]{}, err
	}
	return put(ctx, tx, kindShare, id, v)
}

// ModifyShare replaces a share whose revision is as given (0: any). It is in
// force when the call returns, and for connected clients soon after.
func (s *Store) ModifyShare(ctx context.Context, id, revision uint64, v Share) (Record[Share], error) {
	return changed(ctx, s, func(tx kv.Txn) (Record[Share], error) {
		old, err := forChange[Share](ctx, tx, kindShare, id, revision)
		if err != nil {
			return old, err
		}
		if err := checkShare(&v); err != nil {
			return old, err
		}
		if err := rename(ctx, tx, spaceShare, fold(old.Value.Name), fold(v.Name), id); err != nil {
			return old, err
		}
		return put(ctx, tx, kindShare, id, v)
	})
}

// DeleteShare removes a share; connected clients lose it soon after.
func (s *Store) DeleteShare(ctx context.Context, id, revision uint64) error {
	return s.change(ctx, func(tx kv.Txn) error {
		old, err := forChange[Share](ctx, tx, kindShare, id, revision)
		if err != nil {
			return err
		}
		tx.Delete(recordKey(kindShare, id))
		tx.Delete(nameKey(spaceShare, fold(old.Value.Name)))
		return nil
	})
}

// maxShareEntries bounds each list of permissions.
const maxShareEntries = 1024

// CheckShareName tells whether clients can ask for a name ([MS-SRVS] 2.2.1 has
// the characters; 80 is what Windows takes).
func CheckShareName(name string) error {
	switch {
	case name == "" || !utf8.ValidString(name) || utf8.RuneCountInString(name) > 80:
		return invalid("share_name", "%q: want 1 to 80 characters", name)
	case strings.ContainsAny(name, "\"\\/[]:|<>+=;,*?") || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return invalid("share_name", "%q contains a character that share names may not have", name)
	case strings.TrimSpace(name) != name:
		return invalid("share_name", "%q begins or ends with white space", name)
	}
	if f := fold(name); f == "ipc$" || f == "global" {
		return invalid("share_name", "%s is taken by the protocol", name)
	}
	return nil
}

func checkShare(v *Share) error {
	if err := CheckShareName(v.Name); err != nil {
		return err
	}
	if err := checkShown(v.FSPath, v.Description); err != nil {
		return err
	}
	switch {
	case v.FileMode > 0o7777 || v.DirMode > 0o7777:
		return invalid("default_file_create_mode", "modes have four octal digits")
	case len(v.Permissions) > maxShareEntries:
		return invalid("permissions", "are more than %d", maxShareEntries)
	case len(v.Network) > maxShareEntries:
		return invalid("network_permissions", "are more than %d", maxShareEntries)
	}
	for i, p := range v.Permissions {
		if p.Trustee == identity.Unset || p.Rights&^fs.RightsAll != 0 {
			return invalid(fmt.Sprintf("permissions[%d]", i), "has no trustee or unknown rights")
		}
	}
	for i, p := range v.Network {
		err := error(nil)
		switch {
		case len(p.Addresses) > maxHosts:
			err = fmt.Errorf("more than %d addresses", maxHosts)
		case p.Rights&^fs.RightsAll != 0:
			err = errors.New("unknown rights")
		default:
			_, err = shareHosts(p.Addresses)
		}
		if err != nil {
			return invalid(fmt.Sprintf("network_permissions[%d]", i), "%v", err)
		}
	}
	return nil
}

// putFactoryShare shares everything with everybody who has an account, but only
// with machines on our own subnets.
func (s *Store) putFactoryShare(ctx context.Context, tx kv.Txn, subnets []netip.Prefix) error {
	all := ShareRead | ShareWrite | ShareChangePermissions
	_, err := putNewShare(ctx, tx, Share{
		Name: "Files", FSPath: "/", Description: factoryText,
		Permissions: []SharePermission{{Trustee: identity.Everyone, Rights: all}}, Network: []NetworkPermission{{Addresses: factoryHosts(subnets), Rights: all}},
		FileMode: DefaultShareFileMode, DirMode: DefaultShareDirMode,
	})
	return err
}
