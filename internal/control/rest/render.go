package rest

import (
	"slices"
	"strconv"
)

// rendered is an answer that renders itself: pages of a thousand files spend
// most of their time in encoding/json otherwise. What it appends is what
// encoding/json would, without escapes of HTML; a test compares the two.
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
	b = strconv.AppendUint(append(b, `,"num_links":`...), uint64(f.NumLinks), 10)
	b = appendText(append(b, `,"type":`...), f.Type)
	b = strconv.AppendUint(append(b, `,"major_minor_numbers":{"major":`...), uint64(f.MajorMinor.Major), 10)
	b = strconv.AppendUint(append(b, `,"minor":`...), uint64(f.MajorMinor.Minor), 10)
	b = appendText(append(b, `},"symlink_target_type":`...), f.SymlinkTarget)
	b = f.FileNumber.appendJSON(append(b, `,"file_number":`...))
	b = f.ID.appendJSON(append(b, `,"id":`...))
	b = appendText(append(b, `,"mode":`...), f.Mode)
	b = f.Owner.appendJSON(append(b, `,"owner":`...))
	b = f.OwnerDetails.appendJSON(append(b, `,"owner_details":`...))
	b = f.Group.appendJSON(append(b, `,"group":`...))
	b = f.GroupDetails.appendJSON(append(b, `,"group_details":`...))
	b = f.Blocks.appendJSON(append(b, `,"blocks":`...))
	b = f.DataBlocks.appendJSON(append(b, `,"datablocks":`...))
	b = f.MetaBlocks.appendJSON(append(b, `,"metablocks":`...))
	b = f.Size.appendJSON(append(b, `,"size":`...))
	b = appendText(append(b, `,"access_time":`...), f.AccessTime)
	b = appendText(append(b, `,"modification_time":`...), f.ModificationTime)
	b = appendText(append(b, `,"change_time":`...), f.ChangeTime)
	b = appendText(append(b, `,"creation_time":`...), f.CreationTime)
	b = strconv.AppendUint(append(b, `,"child_count":`...), f.ChildCount, 10)
	b = f.ExtendedAttributes.appendJSON(append(b, `,"extended_attributes":`...))
	b = appendText(append(b, `,"directory_entry_hash_policy":`...), f.HashPolicy)
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

// bytesOfEntry is about what one entry of a page takes.
const bytesOfEntry = 1100

func (e entries) appendJSON(b []byte) []byte {
	b = slices.Grow(b, 256+bytesOfEntry*len(e.Files))
	b = appendText(append(b, `{"path":`...), e.Path)
	b = e.ID.appendJSON(append(b, `,"id":`...))
	b = strconv.AppendUint(append(b, `,"child_count":`...), e.ChildCount, 10)
	b = append(b, `,"files":[`...)
	for i := range e.Files {
		if i > 0 {
			b = append(b, ',')
		}
		b = e.Files[i].append(b)
	}
	b = appendText(append(b, `],"paging":{"next":`...), e.Paging.Next)
	b = appendText(append(b, `,"prev":`...), e.Paging.Prev)
	return append(b, '}', '}')
}
