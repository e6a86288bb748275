// Package scrub compares the records of extents with the bytes in segments,
// both ways, and verifies every checksum from the disk.
//
// Invariants:
//   - It changes nothing but the marks of corrupt extents, see data.Mark.
//   - A finding was confirmed against the newest record, so that extents that
//     are moved or freed meanwhile are none.
//   - It reads at the rate it was given, one extent at a time, and holds no
//     View while it reads segments.
//
// The package must not know what extents are for.
package scrub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"manifold/internal/data"
	"manifold/internal/kv"
)

// pageRows is how many records or rows one View reads.
const pageRows = 256

// Kind says what is wrong.
type Kind int

const (
	// Checksum: bytes fail their checksum or cannot be read.
	Checksum Kind = iota + 1
	// Missing: there is a record but its segment or payload is gone.
	Missing
	// BadRecord: a record does not decode.
	BadRecord
	// BadIndex: record and index of segments disagree.
	BadIndex
	// BadSegment: the headers in a segment cannot be followed to its end. What
	// the index names in it was verified all the same.
	BadSegment
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Checksum:
		return "checksum"
	case Missing:
		return "missing"
	case BadRecord:
		return "bad record"
	case BadIndex:
		return "bad index"
	case BadSegment:
		return "bad segment"
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Finding is one thing that is wrong.
type Finding struct {
	Kind    Kind
	Extent  data.ExtentID // 0 for BadSegment
	Owner   uint64        // stream, 0 if none or unknown
	Segment uint64
	Block   int // of Checksum; -1 unknown
	Err     error
}

// Progress is how far a scrub is.
type Progress struct {
	Extents, Bytes, Segments, Findings uint64
}

// Report is the result of a scrub.
type Report struct {
	Progress
	// DeadBytes lie in segments and no record points to them: what was freed
	// and not collected yet, and appends without commit. They are no findings.
	DeadBytes, DeadEntries uint64
	// Findings are the first Options.MaxFindings.
	Findings []Finding
}

// Options shape a scrub. The zero value works.
type Options struct {
	// Rate bounds reading, in bytes a second; 0: no bound.
	Rate int64
	// Progress is called after every page.
	Progress func(Progress)
	// Found is called with every finding.
	Found func(Finding)
	// MaxFindings bounds Report.Findings; default 1000.
	MaxFindings int
	// NoMarks leaves the marks of corrupt extents as they are.
	NoMarks bool
	// Now is the clock of the marks; nil: time.Now.
	Now func() time.Time
	// Logger; nil: discard.
	Logger *slog.Logger
}

type scrubber struct {
	eng   kv.Engine
	store data.Segmented
	o     Options
	limit *rate.Limiter
	rep   Report
}

// Run scrubs everything once. On an error, which is never a finding, the
// report covers what was done.
func Run(ctx context.Context, eng kv.Engine, store data.Segmented, o Options) (Report, error) {
	if o.MaxFindings == 0 {
		o.MaxFindings = 1000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &scrubber{eng: eng, store: store, o: o}
	if o.Rate > 0 {
		s.limit = rate.NewLimiter(rate.Limit(o.Rate), int(max(o.Rate, 2*data.MaxExtentBytes)))
	}
	err := s.records(ctx)
	if err == nil {
		err = s.segments(ctx)
	}
	return s.rep, err
}

func (s *scrubber) view(ctx context.Context, fn func(kv.Reader) error) error {
	return s.eng.View(ctx, kv.Linearizable, fn)
}

func (s *scrubber) page() {
	if s.o.Progress != nil {
		s.o.Progress(s.rep.Progress)
	}
}

func (s *scrubber) found(f Finding) {
	s.rep.Progress.Findings++
	if len(s.rep.Findings) < s.o.MaxFindings {
		s.rep.Findings = append(s.rep.Findings, f)
	}
	if s.o.Found != nil {
		s.o.Found(f)
	}
	s.o.Logger.Error("scrub found damage", "kind", f.Kind.String(), "extent", uint64(f.Extent), "stream", f.Owner, "segment", f.Segment, "block", f.Block, "err", f.Err)
}

// records goes from every record to its bytes.
func (s *scrubber) records(ctx context.Context) error {
	var after data.ExtentID
	for {
		var recs []data.Record
		var bad []data.ExtentID
		from := after
		err := s.view(ctx, func(r kv.Reader) (err error) {
			recs, bad, after, err = data.Extents(ctx, r, from, pageRows)
			return err
		})
		if err != nil {
			return err
		}
		for _, id := range bad {
			s.found(Finding{Kind: BadRecord, Extent: id, Block: -1})
		}
		for _, rec := range recs {
			if err := s.record(ctx, rec.ID); err != nil {
				return err
			}
		}
		s.page()
		if after == from {
			return nil
		}
	}
}

// record verifies one extent. What fails is looked up again: it may have been
// moved or freed.
func (s *scrubber) record(ctx context.Context, id data.ExtentID) error {
	for try := 0; ; try++ {
		rec, indexed, err := s.lookup(ctx, id)
		switch {
		case errors.Is(err, data.ErrNotFound):
			return nil
		case errors.Is(err, data.ErrCorrupt): // the payload of an inline extent is not there
			s.found(Finding{Kind: Missing, Extent: id, Block: -1, Err: err})
			return s.mark(ctx, id, 0)
		case errors.Is(err, data.ErrFormat):
			s.found(Finding{Kind: BadRecord, Extent: id, Block: -1, Err: err})
			return nil
		case err != nil:
			return err
		}
		if try == 0 {
			if err := s.wait(ctx, rec.StoredBytes()); err != nil {
				return err
			}
			s.rep.Extents++
			s.rep.Bytes += uint64(rec.StoredBytes())
		}
		err = s.store.Verify(ctx, rec)
		if err == nil {
			if !indexed {
				s.found(Finding{Kind: BadIndex, Extent: id, Owner: rec.Owner, Segment: rec.Segment, Block: -1})
			}
			return s.unmark(ctx, id)
		}
		if ctx.Err() != nil || errors.Is(err, data.ErrClosed) {
			return err
		}
		if try == 0 {
			continue
		}
		f := Finding{Kind: Checksum, Extent: id, Owner: rec.Owner, Segment: rec.Segment, Block: -1, Err: err}
		var ce *data.CorruptError
		switch {
		case errors.As(err, &ce):
			f.Block = ce.Block
		case errors.Is(err, data.ErrMoved):
			f.Kind = Missing
		}
		s.found(f)
		return s.mark(ctx, id, f.Block)
	}
}

func (s *scrubber) lookup(ctx context.Context, id data.ExtentID) (rec data.Record, indexed bool, err error) {
	err = s.view(ctx, func(r kv.Reader) error {
		recs, err := data.GetExtents(ctx, r, []data.ExtentID{id})
		if err != nil {
			return err
		}
		rec = recs[0]
		if indexed = rec.IsInline; indexed {
			return nil
		}
		ls, err := data.InSegment(ctx, r, rec.Segment, rec.Offset, 1)
		if errors.Is(err, data.ErrCorrupt) || errors.Is(err, data.ErrFormat) {
			return nil
		}
		indexed = err == nil && len(ls) == 1 && ls[0] == data.Located{Offset: rec.Offset, ID: id, Bytes: uint32(rec.StoredBytes())}
		return err
	})
	return rec, indexed, err
}

func (s *scrubber) wait(ctx context.Context, n int64) error {
	if s.limit == nil {
		return nil
	}
	return s.limit.WaitN(ctx, int(n))
}

func (s *scrubber) mark(ctx context.Context, id data.ExtentID, block int) error {
	if s.o.NoMarks {
		return nil
	}
	_, err := s.eng.Update(ctx, func(tx kv.Txn) error { return data.Mark(ctx, tx, id, block, s.o.Now()) })
	return err
}

func (s *scrubber) unmark(ctx context.Context, id data.ExtentID) error {
	if s.o.NoMarks {
		return nil
	}
	marked := false
	err := s.view(ctx, func(r kv.Reader) (err error) {
		marked, err = data.Marked(ctx, r, id)
		return err
	})
	if err != nil || !marked {
		return err
	}
	_, err = s.eng.Update(ctx, func(tx kv.Txn) error {
		data.Unmark(tx, id)
		return nil
	})
	return err
}
