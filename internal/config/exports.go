package config

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/fs/export"
	"manifold/internal/identity"
	"manifold/internal/kv"
)

// Export is one NFS export.
type Export struct {
	// Path is the name that clients mount: absolute, no trailing slash but in "/".
	Path string `json:"export_path"`
	// FSPath is the directory it shows.
	FSPath      string `json:"fs_path"`
	Description string `json:"description,omitempty"`
	// Restrictions in the order in which they are tried. None at all is full
	// access for everybody.
	Restrictions []Restriction `json:"restrictions,omitempty"`
	// What NFSv3 shows with 32 bits.
	FileIDs32   bool `json:"file_ids_32,omitempty"`
	FileSizes32 bool `json:"file_sizes_32,omitempty"`
	FSSize32    bool `json:"fs_size_32,omitempty"`
}

// Restriction says what the hosts it names may do.
type Restriction struct {
	// Hosts are patterns as fs/export reads them; empty is every host.
	Hosts          []string `json:"hosts,omitempty"`
	ReadOnly       bool     `json:"read_only,omitempty"`
	PrivilegedPort bool     `json:"privileged_port,omitempty"`
	Mapping        Mapping  `json:"mapping,omitempty"`
	// MapUser and MapGroup are who mapped callers become. Group is only given
	// with a POSIX user; a local user has its own groups.
	MapUser  Principal `json:"map_user,omitzero"`
	MapGroup Principal `json:"map_group,omitzero"`
}

// Mapping says which callers become someone else. Stored by number.
type Mapping uint8

// Mappings.
const (
	MapNone Mapping = 0
	MapRoot Mapping = 1
	MapAll  Mapping = 2
)

// PrincipalType tells how a Principal is given. Stored by number.
type PrincipalType uint8

// Principal types.
const (
	PrincipalNone      PrincipalType = 0
	PrincipalLocalUser PrincipalType = 1 // ID is a user id
	PrincipalUID       PrincipalType = 2
	PrincipalGID       PrincipalType = 3
)

// Principal names a user or group as the administrator gave it.
type Principal struct {
	Type PrincipalType `json:"type,omitempty"`
	ID   uint64        `json:"id,omitempty"`
}

// ExportTable is all exports at one moment. It is immutable.
type ExportTable struct {
	byID   map[uint64]*inForce
	byPath map[string]*inForce
	sorted []Record[Export]
	// Version grows with every change.
	Version uint64

	superseded chan struct{}
}

// Superseded is closed when another table is in force.
func (t *ExportTable) Superseded() <-chan struct{} { return t.superseded }

// inForce is an export as stored and as protocols match clients with it.
type inForce struct {
	rec   *Record[Export]
	rules *export.Export
}

// ByID finds an export.
func (t *ExportTable) ByID(id uint64) (*Record[Export], bool) {
	if e, ok := t.byID[id]; ok {
		return e.rec, true
	}
	return nil, false
}

// ByPath finds an export by its exact name.
func (t *ExportTable) ByPath(path string) (*Record[Export], bool) {
	if e, ok := t.byPath[path]; ok {
		return e.rec, true
	}
	return nil, false
}

// Rules answers what protocols need of an export, by its id.
func (t *ExportTable) Rules(id uint32) (*export.Export, bool) {
	if e, ok := t.byID[uint64(id)]; ok && e.rules != nil {
		return e.rules, true
	}
	return nil, false
}

// RulesByPath answers the same by the exact name.
func (t *ExportTable) RulesByPath(path string) (*export.Export, bool) {
	if e, ok := t.byPath[path]; ok && e.rules != nil {
		return e.rules, true
	}
	return nil, false
}

// AllRules lists what protocols need of every export, by id.
func (t *ExportTable) AllRules() []*export.Export {
	out := make([]*export.Export, 0, len(t.sorted))
	for i := range t.sorted {
		if e := t.byID[t.sorted[i].ID]; e.rules != nil {
			out = append(out, e.rules)
		}
	}
	return out
}

// All lists the exports by id; callers must not change them.
func (t *ExportTable) All() []Record[Export] { return t.sorted }

// ExportTable answers the exports in force. It costs one atomic load.
func (s *Store) ExportTable() *ExportTable { return s.exports.Load() }

// exportTable makes a table of exports, in order of their ids; those that are
// the same in the table in force, under the same users, are taken from there.
func (s *Store) exportTable(ctx context.Context, recs []Record[Export], d *Directory, sameUsers bool) *ExportTable {
	t := &ExportTable{byID: make(map[uint64]*inForce, len(recs)), byPath: make(map[string]*inForce, len(recs)), sorted: recs, Version: 1, superseded: make(chan struct{})}
	old := s.exports.Load()
	if old != nil {
		t.Version = old.Version + 1
	}
	for i := range recs {
		var e *inForce
		if old != nil && old.byID[recs[i].ID] != nil {
			if x := old.byID[recs[i].ID]; x.rec.Revision == recs[i].Revision && (sameUsers || !x.namesUsers()) {
				e = x
			}
		}
		if e == nil {
			e = &inForce{rec: &recs[i]}
			var err error
			if e.rules, err = compile(&recs[i], d); err != nil {
				// Half the rules could let in whom the other half keeps out.
				s.log.ErrorContext(ctx, "an export cannot be understood and is closed to everybody", "export", recs[i].Value.Path, "error", err)
			}
		}
		t.byID[recs[i].ID] = e
		t.byPath[recs[i].Value.Path] = e
	}
	return t
}

// namesUsers tells whether what the export means depends on local users.
func (e *inForce) namesUsers() bool {
	return slices.ContainsFunc(e.rec.Value.Restrictions, func(r Restriction) bool { return r.MapUser.Type == PrincipalLocalUser })
}

// compile makes of a stored export what protocols match clients with.
func compile(rec *Record[Export], d *Directory) (*export.Export, error) {
	v := &rec.Value
	if rec.ID > math.MaxUint32 {
		return nil, fmt.Errorf("%w: export id %d", ErrCorrupt, rec.ID)
	}
	out := &export.Export{
		ID: uint32(rec.ID), Path: v.Path, FSPath: v.FSPath, Description: v.Description,
		FileIDs32: v.FileIDs32, FileSizes32: v.FileSizes32, FSSize32: v.FSSize32,
	}
	for _, x := range v.Restrictions {
		hosts, err := export.ParseHosts(x.Hosts)
		if err != nil {
			return nil, err
		}
		r := export.Rule{Hosts: hosts, ReadOnly: x.ReadOnly, RequirePrivilegedPort: x.PrivilegedPort, Mapping: export.Mapping(x.Mapping)}
		switch x.MapUser.Type {
		case PrincipalUID:
			r.MapTo = identity.POSIX(uint32(x.MapUser.ID), uint32(x.MapGroup.ID), nil)
		case PrincipalLocalUser:
			// A user that was deleted leaves nobody to map to.
			if c, err := d.LocalCredential(x.MapUser.ID); err == nil {
				r.MapTo = c
			}
		}
		out.Rules = append(out.Rules, r)
	}
	return out, out.Validate()
}

// Export answers one export.
func (s *Store) Export(ctx context.Context, id uint64) (Record[Export], error) {
	return read[Export](ctx, s, kindExport, id)
}

// ExportByPath answers the export of that name.
func (s *Store) ExportByPath(ctx context.Context, path string) (Record[Export], error) {
	return byName[Export](ctx, s, kindExport, spaceExport, path)
}

// Exports lists exports by id, those greater than after; limit 0 is all.
func (s *Store) Exports(ctx context.Context, after uint64, limit int) ([]Record[Export], error) {
	return list[Export](ctx, s, kindExport, after, limit)
}

// AddExport creates an export. It is in force when the call returns.
func (s *Store) AddExport(ctx context.Context, e Export) (Record[Export], error) {
	return changed(ctx, s, func(tx kv.Txn) (Record[Export], error) { return putNewExport(ctx, tx, e) })
}

func putNewExport(ctx context.Context, tx kv.Txn, e Export) (Record[Export], error) {
	if err := checkExport(ctx, tx, e); err != nil {
		return Record[Export]{}, err
	}
	id, err := next(ctx, tx, counterExport, 1)
	if err != nil {
		return Record[Export]{}, err
	}
	if err := claim(ctx, tx, spaceExport, e.Path, id); err != nil {
		return Record[Export]{}, err
	}
	return put(ctx, tx, kindExport, id, e)
}

// ModifyExport replaces an export whose revision is as given (0: any). It is
// in force, on live mounts too, when the call returns.
func (s *Store) ModifyExport(ctx context.Context, id, revision uint64, e Export) (Record[Export], error) {
	return changed(ctx, s, func(tx kv.Txn) (Record[Export], error) {
		old, err := forChange[Export](ctx, tx, kindExport, id, revision)
		if err != nil {
			return old, err
		}
		if err := checkExport(ctx, tx, e); err != nil {
			return old, err
		}
		if err := rename(ctx, tx, spaceExport, old.Value.Path, e.Path, id); err != nil {
			return old, err
		}
		return put(ctx, tx, kindExport, id, e)
	})
}

// DeleteExport removes an export; its handles are stale when the call returns.
func (s *Store) DeleteExport(ctx context.Context, id, revision uint64) error {
	return s.change(ctx, func(tx kv.Txn) error {
		old, err := forChange[Export](ctx, tx, kindExport, id, revision)
		if err != nil {
			return err
		}
		tx.Delete(recordKey(kindExport, id))
		tx.Delete(nameKey(spaceExport, old.Value.Path))
		return nil
	})
}

const (
	maxRestrictions = 1024
	maxHosts        = 1024 // of one restriction
)

// reason is an error's text without its kind: the field says that it is invalid.
func reason(err error) string { return strings.TrimSuffix(err.Error(), ": "+fs.Invalid.Error()) }

// checkShown checks what exports and shares have alike.
func checkShown(fsPath, description string) error {
	switch {
	case !strings.HasPrefix(fsPath, "/"):
		return invalid("fs_path", "%q is not an absolute path", fsPath)
	case len(fsPath) > fs.MaxPath:
		return invalid("fs_path", "is longer than %d bytes", fs.MaxPath)
	case strings.ContainsRune(fsPath, 0):
		return invalid("fs_path", "contains a zero byte")
	case len(description) > 4096:
		return invalid("description", "is longer than 4096 bytes")
	}
	return nil
}

func checkExport(ctx context.Context, r kv.Reader, e Export) error {
	if err := export.CheckPath(e.Path); err != nil {
		return invalid("export_path", "%s", reason(err))
	}
	if err := checkShown(e.FSPath, e.Description); err != nil {
		return err
	}
	if len(e.Restrictions) > maxRestrictions {
		return invalid("restrictions", "are more than %d", maxRestrictions)
	}
	for i, x := range e.Restrictions {
		if err := checkRestriction(x); err != nil {
			return invalid(fmt.Sprintf("restrictions[%d]", i), "%v", err)
		}
		if x.Mapping != MapNone && x.MapUser.Type == PrincipalLocalUser {
			if _, err := get[User](ctx, r, kindUser, x.MapUser.ID); err != nil {
				return invalid(fmt.Sprintf("restrictions[%d].map_to_user", i), "there is no local user %d", x.MapUser.ID)
			}
		}
	}
	return nil
}

func checkRestriction(x Restriction) error {
	if len(x.Hosts) > maxHosts {
		return fmt.Errorf("more than %d hosts", maxHosts)
	}
	if _, err := export.ParseHosts(x.Hosts); err != nil {
		return errors.New(reason(err))
	}
	if x.Mapping > MapAll {
		return fmt.Errorf("unknown mapping %d", x.Mapping)
	}
	switch u, g := x.MapUser.Type, x.MapGroup.Type; {
	case u > PrincipalUID:
		return fmt.Errorf("the mapped user is no user")
	case g != PrincipalNone && g != PrincipalGID:
		return fmt.Errorf("the mapped group is no NFS gid")
	case u == PrincipalUID && g == PrincipalNone:
		return fmt.Errorf("an NFS uid to map to needs an NFS gid")
	case u != PrincipalUID && g != PrincipalNone:
		return fmt.Errorf("a group to map to needs an NFS uid")
	case u == PrincipalUID && x.MapUser.ID > 1<<32-1, g == PrincipalGID && x.MapGroup.ID > 1<<32-1:
		return fmt.Errorf("uid or gid exceeds 32 bits")
	}
	return nil
}

const factoryText = "Everything, for the subnets that this machine was in at first start."

// factoryHosts are this machine and its subnets.
func factoryHosts(subnets []netip.Prefix) []string {
	out := []string{"127.0.0.0/8", "::1/128"}
	for _, p := range subnets {
		if h := p.Masked().String(); !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// putFactoryExport exports everything, root included, but only to machines on
// our own subnets.
func (s *Store) putFactoryExport(ctx context.Context, tx kv.Txn, subnets []netip.Prefix) error {
	_, err := putNewExport(ctx, tx, Export{Path: "/", FSPath: "/", Description: factoryText, Restrictions: []Restriction{{Hosts: factoryHosts(subnets)}}})
	return err
}
