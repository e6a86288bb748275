package node

import (
	"context"
	"errors"
	"log/slog"

	"manifold/internal/data/scrub"
)

// What a scrub tells its caller.
type (
	ScrubProgress = scrub.Progress
	ScrubFinding  = scrub.Finding
	ScrubReport   = scrub.Report
)

// ScrubOptions say which stopped data directory to scrub. DataDir is required.
type ScrubOptions struct {
	DataDir string
	// Rate bounds reading, in bytes a second; 0: no bound.
	Rate int64
	// Progress is called now and then, Found with everything that is wrong.
	Progress func(ScrubProgress)
	Found    func(ScrubFinding)
	// Logger; nil discards.
	Logger *slog.Logger
}

// Scrub verifies every byte of a stopped data directory against its checksum,
// and that records and segments agree. Findings are no error; they are marked
// in the directory, so that the server knows them.
func Scrub(ctx context.Context, o ScrubOptions) (report ScrubReport, err error) {
	st, err := openStorage(ctx, storageOptions{dir: o.DataDir, log: o.Logger})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := st.openExtents(); err != nil {
		return report, err
	}
	return scrub.Run(ctx, st.kv, st.data, scrub.Options{Rate: o.Rate, Progress: o.Progress, Found: o.Found, Logger: quiet(o.Found, o.Logger)})
}

// quiet drops the log of findings that the caller is told of anyway.
func quiet(found func(scrub.Finding), log *slog.Logger) *slog.Logger {
	if found != nil {
		return nil
	}
	return log
}
