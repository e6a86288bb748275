package config

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

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
	byID   map[uint64]*Record[Export]
	byPath map[string]*Record[Export]
	sorted []Record[Export]
	// Version grows with every change.
	Version uint64

	superseded chan struct{}
}

// Superseded is closed when another table is in force.
func (t *ExportTable) Superseded() <-chan struct{} { return t.superseded }

// ByID finds an export.
func (t *ExportTable) ByID(id uint64) (*Record[Export], bool) {
	e, ok := t.byID[id]
	return e, ok
}

// ByPath finds an export by its exact name.
func (t *ExportTable) ByPath(path string) (*Record[Export], bool) {
	e, ok := t.byPath[path]
	return e, ok
}

// All lists the exports by id; callers must not change them.
func (t *ExportTable) All() []Record[Export] { return t.sorted }

// ExportTable answers the exports in force. It costs one atomic load.
func (s *Store) ExportTable() *ExportTable { return s.exports.Load() }

// loadExports makes what is stored the exports in force.
func (s *Store) loadExports(ctx context.Context) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	recs, err := list[Export](ctx, s, kindExport, 0, 0)
	if err != nil {
		return fmt.Errorf("config: load exports: %w", err)
	}
	t := &ExportTable{byID: map[uint64]*Record[Export]{}, byPath: map[string]*Record[Export]{}, sorted: recs, Version: 1, superseded: make(chan struct{})}
	old := s.exports.Load()
	if old != nil {
		t.Version = old.Version + 1
	}
	for i := range recs {
		t.byID[recs[i].ID] = &recs[i]
		t.byPath[recs[i].Value.Path] = &recs[i]
	}
	s.exports.Store(t)
	if old != nil {
		close(old.superseded)
	}
	return nil
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
	return s.changeExport(ctx, func(tx kv.Txn) (Record[Export], error) {
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
	})
}

// ModifyExport replaces an export whose revision is as given (0: any). It is
// in force, on live mounts too, when the call returns.
func (s *Store) ModifyExport(ctx context.Context, id, revision uint64, e Export) (Record[Export], error) {
	return s.changeExport(ctx, func(tx kv.Txn) (Record[Export], error) {
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
	_, err := s.changeExport(ctx, func(tx kv.Txn) (Record[Export], error) {
		old, err := forChange[Export](ctx, tx, kindExport, id, revision)
		if err != nil {
			return old, err
		}
		tx.Delete(recordKey(kindExport, id))
		tx.Delete(nameKey(spaceExport, old.Value.Path))
		return old, nil
	})
	return err
}

func (s *Store) changeExport(ctx context.Context, fn func(kv.Txn) (Record[Export], error)) (Record[Export], error) {
	var rec Record[Export]
	err := s.update(ctx, func(tx kv.Txn) (err error) {
		rec, err = fn(tx)
		return err
	})
	if err != nil {
		return rec, err
	}
	// The change is durable: loading it must not depend on the caller's patience.
	return rec, s.loadExports(context.WithoutCancel(ctx))
}

const (
	maxExportPathBytes = 64 << 10
	maxRestrictions    = 1024
	maxHosts           = 1024 // of one restriction
)

func checkExport(ctx context.Context, r kv.Reader, e Export) error {
	switch {
	case !strings.HasPrefix(e.Path, "/"):
		return invalid("export_path", "%q does not begin with /", e.Path)
	case e.Path != "/" && strings.HasSuffix(e.Path, "/"):
		return invalid("export_path", "%q ends with /", e.Path)
	case len(e.Path) > maxExportPathBytes:
		return invalid("export_path", "is longer than %d bytes", maxExportPathBytes)
	case strings.ContainsRune(e.Path, 0):
		return invalid("export_path", "contains a zero byte")
	case !strings.HasPrefix(e.FSPath, "/"):
		return invalid("fs_path", "%q is not an absolute path", e.FSPath)
	case strings.ContainsRune(e.FSPath, 0):
		return invalid("fs_path", "contains a zero byte")
	case len(e.Description) > 4096:
		return invalid("description", "is longer than 4096 bytes")
	case len(e.Restrictions) > maxRestrictions:
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

// putFactoryExport exports everything, root included, but only to machines on
// our own subnets.
func (s *Store) putFactoryExport(ctx context.Context, tx kv.Txn, subnets []netip.Prefix) error {
	id, err := next(ctx, tx, counterExport, 1)
	if err != nil {
		return err
	}
	x := Restriction{Hosts: []string{"127.0.0.0/8", "::1/128"}}
	for _, p := range subnets {
		if h := p.Masked().String(); h != x.Hosts[0] && h != x.Hosts[1] {
			x.Hosts = append(x.Hosts, h)
		}
	}
	e := Export{Path: "/", FSPath: "/", Description: "Everything, for the subnets that this machine was in at first start.", Restrictions: []Restriction{x}}
	if err := claim(ctx, tx, spaceExport, e.Path, id); err != nil {
		return err
	}
	_, err = put(ctx, tx, kindExport, id, e)
	return err
}
