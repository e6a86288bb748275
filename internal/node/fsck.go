package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"manifold/internal/data"
	"manifold/internal/fs/core"
	"manifold/internal/kv"
)

// What a check tells its caller.
type (
	CheckFinding = core.Finding
	CheckReport  = core.CheckReport
)

// CheckOptions say which stopped data directory to check. DataDir and Found
// are required.
type CheckOptions struct {
	DataDir string
	// Found is called with everything that is wrong.
	Found func(CheckFinding)
	// Progress is called now and then.
	Progress func(records uint64)
	// Logger; nil discards.
	Logger *slog.Logger
}

// Check reads all metadata of a stopped data directory and compares names,
// links, attributes, totals, maps and extents with each other, and the extents
// with the segments on the disk. It reads no file data, which is for Scrub, and
// mends nothing. Findings are no error.
func Check(ctx context.Context, o CheckOptions) (report CheckReport, err error) {
	st, err := openStorage(ctx, storageOptions{dir: o.DataDir, log: o.Logger})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := st.openExtents(); err != nil {
		return report, err
	}
	if report, err = core.Check(ctx, st.kv, o.Found, o.Progress); err != nil {
		return report, err
	}
	n, err := checkSegments(ctx, st.kv, st.data, o.Found)
	report.Findings += n
	return report, err
}

// checkSegments tells which extents do not lie within a segment that exists.
func checkSegments(ctx context.Context, e kv.Engine, store data.Segmented, found func(CheckFinding)) (findings uint64, err error) {
	size := map[uint64]int64{}
	for _, s := range store.Segments() {
		size[s.Num] = s.Bytes
	}
	report := func(id data.ExtentID, format string, a ...any) {
		findings++
		found(CheckFinding{Extent: uint64(id), What: fmt.Sprintf(format, a...)})
	}
	const page = 1000
	for after, more := data.ExtentID(0), true; more; {
		var recs []data.Record
		from := after
		if err := e.View(ctx, kv.Linearizable, func(r kv.Reader) (err error) {
			var bad []data.ExtentID
			recs, bad, after, err = data.Extents(ctx, r, from, page) // core.Check has told of bad ones
			more = len(recs)+len(bad) > 0
			return err
		}); err != nil {
			return findings, fmt.Errorf("check segments: %w", err)
		}
		for _, rec := range recs {
			if rec.IsInline {
				continue
			}
			bytes, ok := size[rec.Segment]
			switch end := int64(rec.Offset) + rec.StoredBytes(); {
			case !ok:
				report(rec.ID, "extent lies in segment %d, which does not exist", rec.Segment)
			case end > bytes:
				report(rec.ID, "extent ends at %d of segment %d, which has %d bytes", end, rec.Segment, bytes)
			}
		}
	}
	return findings, nil
}
