package rest

import (
	"strconv"

	"manifold/internal/control"
	"manifold/internal/fs"
)

type fileLockPatch struct {
	RetentionPeriod string `json:"retention_period,omitempty"`
	LegalHold       *bool  `json:"legal_hold,omitempty"`
}

type copyRequest struct {
	SourceID       u64    `json:"source_id,omitzero"`
	SourcePath     string `json:"source_path,omitempty"`
	SourceStream   u64    `json:"source_stream_id,omitzero"`
	SourceSnapshot u64    `json:"source_snapshot,omitzero"`
	SourceOffset   u64    `json:"source_offset,omitzero"`
	TargetOffset   u64    `json:"target_offset,omitzero"`
	Length         u64    `json:"length,omitzero"`
	SourceETag     string `json:"source_etag,omitempty"`
}

func fileLockRoutes() []route {
	return []route{
		{Method: "PATCH", Path: "/v1/files/{ref}/file-lock", Privilege: control.FSFileLockWrite, Summary: "Extend the retention period of a file, set or clear its legal hold.",
			In: fileLockPatch{}, Out: fileAttrs{}, Conditional: true, handle: patchFileLock},
		{Method: "POST", Path: "/v1/files/{ref}/copy-chunk", Privilege: control.FSAttributesRead,
			Summary: "Copy into a file within the server. The answer is the request for the rest, empty when there is none.",
			In:      copyRequest{}, Out: copyRequest{}, MayBeEmpty: true, Conditional: true, handle: func(q *request) (reply, error) { return copyChunk(q, false) }},
		{Method: "POST", Path: "/v1/files/{ref}/streams/{stream_id}/copy-chunk", Privilege: control.FSAttributesRead,
			Summary: "Copy into a named stream within the server.",
			In:      copyRequest{}, Out: copyRequest{}, MayBeEmpty: true, Conditional: true, handle: func(q *request) (reply, error) { return copyChunk(q, true) }},
	}
}

func patchFileLock(q *request) (reply, error) {
	in, err := body[fileLockPatch](q)
	if err != nil {
		return reply{}, err
	}
	f, err := q.fileAt(0, fs.AttrChange)
	if err != nil {
		return reply{}, err
	}
	set := &fs.SetAttr{LegalHold: in.LegalHold}
	if in.RetentionPeriod != "" {
		t, err := parseTime("retention_period", in.RetentionPeriod)
		if err != nil {
			return reply{}, err
		}
		at := fs.TimeOf(t)
		set.Retention = &at
	}
	if set.Retention == nil && set.LegalHold == nil {
		return reply{}, decodeError("one of retention_period and legal_hold is required")
	}
	conditional, err := q.match(fileTag(&f.Attr))
	if err != nil {
		return reply{}, err
	}
	if conditional {
		set.GuardChange = &f.Attr.Change
	}
	if _, err := q.s.o.FS.SetAttr(q.Context(), q.caller(), f.Attr.Node, set); err != nil {
		return reply{}, err
	}
	q.lock = true
	return q.reread(f, wantAttrs|fs.AttrLock)
}

// copyChunk copies a piece, so that no call takes long.
func copyChunk(q *request, intoStream bool) (reply, error) {
	in, err := body[copyRequest](q)
	if err != nil {
		return reply{}, err
	}
	ref := in.SourcePath
	if in.SourceID.Set {
		ref = strconv.FormatUint(in.SourceID.N, 10)
	}
	if ref == "" {
		return reply{}, decodeError("one of source_id and source_path is required")
	}
	src, err := q.other(ref, fs.SnapshotID(in.SourceSnapshot.N), fs.AttrSize|fs.AttrChange)
	if err != nil {
		return reply{}, err
	}
	if in.SourceETag != "" && bare(in.SourceETag) != bare(fileTag(&src.Attr)) {
		return reply{}, stale()
	}
	size := src.Attr.Size
	if in.SourceStream.N != 0 {
		ss, err := q.s.o.FS.Streams(q.Context(), q.caller(), src.Attr.Node)
		if err != nil {
			return reply{}, err
		}
		found := false
		for _, s := range ss {
			if uint64(s.ID) == in.SourceStream.N {
				size, found = s.Size, true
			}
		}
		if !found {
			return reply{}, noStream(strconv.FormatUint(in.SourceStream.N, 10))
		}
	} else if err := regular(&src); err != nil {
		return reply{}, err
	}
	dst, err := q.fileAt(0, fs.AttrChange)
	if err != nil {
		return reply{}, err
	}
	var stream fs.StreamID
	if intoStream {
		var s fs.StreamInfo
		if dst, s, err = q.stream(0); err != nil {
			return reply{}, err
		}
		stream = s.ID
	} else if err := regular(&dst); err != nil {
		return reply{}, err
	}
	if _, err := q.match(fileTag(&dst.Attr)); err != nil {
		return reply{}, err
	}
	left := size - min(size, in.SourceOffset.N)
	if in.Length.Set {
		left = min(left, in.Length.N)
	}
	n := uint64(0)
	if left > 0 {
		n, err = q.s.o.FS.CopyRange(q.Context(), q.caller(), src.Attr.Node, fs.StreamID(in.SourceStream.N), in.SourceOffset.N, dst.Attr.Node, stream, in.TargetOffset.N, left)
		if err != nil {
			return reply{}, err
		}
	}
	now, err := q.s.o.FS.GetAttr(q.Context(), q.caller(), dst.Attr.Node, fs.AttrChange)
	if err != nil {
		return reply{}, err
	}
	r := reply{tag: fileTag(&now)}
	if left -= min(n, left); left > 0 && n > 0 {
		in.SourceOffset, in.TargetOffset, in.Length = num(in.SourceOffset.N+n), num(in.TargetOffset.N+n), num(left)
		r.body = in
	}
	return r, nil
}
