package rest

import (
	"strconv"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// rendered is an answer that renders itself, as attributes of a file do, which are
// asked for often. What it appends is what encoding/json would, without escapes of
// HTML; a test compares the two.
type rendered interface{ appendJSON(b []byte) []byte }

// appendField begins a field; name comes with quotation marks and colon.
func appendField(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(b, name...)
}

// appendText appends a JSON string.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			if q, err := reflected(s); err == nil { // strings always render
				return append(b, q...)
			}
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func (u u64) appendJSON(b []byte) []byte {
	b = append(b, '"')
	if u.Set {
		b = strconv.AppendUint(b, u.N, 10)
	}
	return append(b, '"')
}

func (t *identityText) appendJSON(b []byte) []byte {
	b = appendText(append(b, `{"id_type":`...), t.Type)
	b = appendText(append(b, `,"id_value":`...), t.Value)
	return append(b, '}')
}

func (x *extAttrs) appendJSON(b []byte) []byte {
	b = append(b, '{')
	for _, f := range [...]struct {
		name string
		on   bool
	}{
		{`"read_only":`, x.ReadOnly}, {`"hidden":`, x.Hidden}, {`"system":`, x.System}, {`"archive":`, x.Archive}, {`"temporary":`, x.Temporary},
		{`"compressed":`, x.Compressed}, {`"not_content_indexed":`, x.NotContentIndexed}, {`"sparse_file":`, x.SparseFile}, {`"offline":`, x.Offline},
	} {
		b = strconv.AppendBool(appendField(b, f.name), f.on)
	}
	return append(b, '}')
}

func (f fileAttrs) appendJSON(b []byte) []byte { return f.append(b) }

func (f *fileAttrs) append(b []byte) []byte {
	b = appendText(append(b, `{"path":`...), f.Path)
	b = appendText(append(b, `,"name":`...), f.Name)
	return f.appendRest(b)
}

// appendRest is what follows path and name.
func (f *fileAttrs) appendRest(b []byte) []byte {
	b = f.appendKind(b)
	b = f.FileNumber.appendJSON(append(b, `,"file_number":`...))
	b = f.ID.appendJSON(append(b, `,"id":`...))
	b = f.appendOwners(b)
	b = f.Blocks.appendJSON(append(b, `,"blocks":`...))
	b = f.DataBlocks.appendJSON(append(b, `,"datablocks":`...))
	b = f.MetaBlocks.appendJSON(append(b, `,"metablocks":`...))
	b = f.Size.appendJSON(append(b, `,"size":`...))
	b = appendText(append(b, `,"access_time":`...), f.AccessTime)
	b = appendText(append(b, `,"modification_time":`...), f.ModificationTime)
	b = appendText(append(b, `,"change_time":`...), f.ChangeTime)
	b = appendText(append(b, `,"creation_time":`...), f.CreationTime)
	b = f.appendFlags(b)
	b = f.DataRevision.appendJSON(append(b, `,"data_revision":`...))
	b = f.UserMetadataVersion.appendJSON(append(b, `,"user_metadata_revision":`...))
	if l := f.Lock; l != nil {
		b = append(b, `,"lock":{"retention_period":`...)
		if l.RetentionPeriod == nil {
			b = append(b, "null"...)
		} else {
			b = appendText(b, *l.RetentionPeriod)
		}
		b = strconv.AppendBool(append(b, `,"legal_hold":`...), l.LegalHold)
		b = append(b, '}')
	}
	return append(b, '}')
}

// The next three are of parts that entries of a directory often share.

func (f *fileAttrs) appendKind(b []byte) []byte {
	b = strconv.AppendUint(append(b, `,"num_links":`...), uint64(f.NumLinks), 10)
	b = appendText(append(b, `,"type":`...), f.Type)
	b = strconv.AppendUint(append(b, `,"major_minor_numbers":{"major":`...), uint64(f.MajorMinor.Major), 10)
	b = strconv.AppendUint(append(b, `,"minor":`...), uint64(f.MajorMinor.Minor), 10)
	return appendText(append(b, `},"symlink_target_type":`...), f.SymlinkTarget)
}

func (f *fileAttrs) appendOwners(b []byte) []byte {
	b = appendText(append(b, `,"mode":`...), f.Mode)
	b = f.Owner.appendJSON(append(b, `,"owner":`...))
	b = f.OwnerDetails.appendJSON(append(b, `,"owner_details":`...))
	b = f.Group.appendJSON(append(b, `,"group":`...))
	return f.GroupDetails.appendJSON(append(b, `,"group_details":`...))
}

func (f *fileAttrs) appendFlags(b []byte) []byte {
	b = strconv.AppendUint(append(b, `,"child_count":`...), f.ChildCount, 10)
	b = f.ExtendedAttributes.appendJSON(append(b, `,"extended_attributes":`...))
	return appendText(append(b, `,"directory_entry_hash_policy":`...), f.HashPolicy)
}

// entryPage renders entries as they come, in place: a thousand records would be a
// megabyte to fill, to grow, to render from and to collect. What it renders is what
// encoding/json makes of entries; a test compares the two.
type entryPage struct {
	b   []byte
	dir []byte // path of the directory as JSON, without the mark at its end
	n   int    // entries so far
	// What was rendered for the entry before, and of what.
	kind   memo[kindOf]
	owners memo[ownersOf]
	flags  memo[flagsOf]
}

type memo[K comparable] struct {
	of   K
	text []byte
}

type kindOf struct {
	links, major, minor uint32
	kind                fs.Type
	hint                fs.SymlinkHint
}

type ownersOf struct {
	mode         fs.Mode
	owner, group identity.AuthID
}

type flagsOf struct {
	children uint64
	dos      fs.DOSAttr
}

// is tells whether what was rendered last was rendered of k.
func (m *memo[K]) is(k K) bool {
	same := m.of == k && m.text != nil
	m.of = k
	return same
}

func newEntryPage(b []byte, path string, id, children uint64) entryPage {
	p := entryPage{dir: appendText(nil, path)}
	p.dir = p.dir[:len(p.dir)-1]
	b = append(append(append(b, `{"path":`...), p.dir...), '"')
	b = num(id).appendJSON(append(b, `,"id":`...))
	b = strconv.AppendUint(append(b, `,"child_count":`...), children, 10)
	p.b = append(b, `,"files":[`...)
	return p
}

// add renders an entry, whose path is that of the directory and its name.
func (p *entryPage) add(q *request, a *fs.Attr, name string) error {
	kind, owners, flags := p.kind.is(kindOf{a.Links, a.RdevMajor, a.RdevMinor, a.Type, a.SymlinkHint}), p.owners.is(ownersOf{a.Mode, a.Owner, a.Group}), p.flags.is(flagsOf{a.Children, a.DOS})
	if !kind || !owners || !flags {
		f, err := q.fileAttrs(a, "", "")
		if err != nil {
			return err
		}
		if !kind {
			p.kind.text = f.appendKind(p.kind.text[:0])
		}
		if !owners {
			p.owners.text = f.appendOwners(p.owners.text[:0])
		}
		if !flags {
			p.flags.text = f.appendFlags(p.flags.text[:0])
		}
	}
	b := p.b
	if p.n++; p.n > 1 {
		b = append(b, ',')
	}
	b = append(append(b, `{"path":`...), p.dir...)
	at := len(b)
	b = appendText(b, name)
	end := len(b) - 2
	copy(b[at:], b[at+1:]) // without its marks, which have no place within a path
	b = b[:end]
	if a.Type == fs.Directory {
		b = append(b, '/')
	}
	b = append(append(append(b, `","name":"`...), b[at:end]...), '"')
	b = append(b, p.kind.text...)
	b = append(b, `,"file_number":"`...)
	at = len(b)
	b = strconv.AppendUint(b, uint64(a.Node.ID), 10)
	end = len(b)
	b = append(append(append(b, `","id":"`...), b[at:end]...), '"')
	b = append(b, p.owners.text...)
	b = appendNumber(b, `,"blocks":"`, a.Blocks())
	b = appendNumber(b, `,"datablocks":"`, a.DataBytes/fs.BlockSize)
	b = appendNumber(b, `,"metablocks":"`, a.MetaBytes/fs.BlockSize)
	b = appendNumber(b, `,"size":"`, a.Size)
	b = append(b, `,"access_time":"`...)
	at = len(b)
	b = appendTime(b, a.Atime)
	end = len(b)
	same := func(b []byte, t fs.Time) []byte { // times of a file are often one time
		if t == a.Atime {
			return append(b, b[at:end]...)
		}
		return appendTime(b, t)
	}
	b = same(append(b, `","modification_time":"`...), a.Mtime)
	b = same(append(b, `","change_time":"`...), a.Ctime)
	b = same(append(b, `","creation_time":"`...), a.Btime)
	b = append(append(b, '"'), p.flags.text...)
	b = appendNumber(b, `,"data_revision":"`, a.DataRevision)
	p.b = append(b, `,"user_metadata_revision":"0"}`...)
	return nil
}

func appendNumber(b []byte, name string, n uint64) []byte {
	return append(strconv.AppendUint(append(b, name...), n, 10), '"')
}

func appendTime(b []byte, t fs.Time) []byte {
	return t.Time().UTC().AppendFormat(b, time.RFC3339Nano)
}

// end renders what follows the entries, and answers all.
func (p *entryPage) end(next string) []byte {
	b := appendText(append(p.b, `],"paging":{"next":`...), next)
	return append(b, `,"prev":""}}`...)
}
