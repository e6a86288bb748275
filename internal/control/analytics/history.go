package analytics

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
)

// HistoryOptions shape a History; FS and Store are required.
type HistoryOptions struct {
	FS     fs.Accounting
	Store  control.CapacityHistory
	Now    func() time.Time // nil is the system's clock
	Logger *slog.Logger     // nil discards
}

// History records every hour what the file system takes.
type History struct{ o HistoryOptions }

// NewHistory makes a History; [History.Run] makes it work.
func NewHistory(o HistoryOptions) *History {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &History{o}
}

// retry is when a record that could not be taken is tried again.
const retry = time.Minute

// Run records the present hour, and each that begins, until ctx ends. An hour
// in which nothing ran has no record.
func (h *History) Run(ctx context.Context) {
	for {
		wait := retry
		if err := h.Record(ctx); err == nil {
			now := h.o.Now()
			wait = now.Truncate(time.Hour).Add(time.Hour).Sub(now)
		} else if ctx.Err() == nil {
			h.o.Logger.Warn("the capacity of this hour is not recorded", "error", err)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// Record takes the record of the present hour unless there is one.
func (h *History) Record(ctx context.Context) error {
	hour := uint64(max(h.o.Now().Unix(), 0) / 3600)
	recs, err := h.o.Store.Capacities(ctx, hour, hour)
	if err != nil || len(recs) > 0 {
		return err
	}
	st, err := h.o.FS.StatFS(ctx, fs.SystemCaller(), fs.Root)
	if err != nil {
		return err
	}
	t, err := h.o.FS.TotalsOf(ctx, fs.Root)
	if err != nil {
		return err
	}
	c := config.Capacity{Used: used(&t), Data: t.DataBytes + t.StreamBytes, Metadata: t.MetaBytes, Snapshot: st.SnapshotBytes, Usable: st.TotalBytes}
	paths, err := h.largest(ctx, c.Used)
	if err != nil {
		return err
	}
	return h.o.Store.AddCapacity(ctx, hour, c, paths)
}

func used(t *fs.Totals) uint64 { return t.DataBytes + t.StreamBytes + t.MetaBytes }

const (
	// A path counts from this share of all that is used on.
	shareOfUsed = 1000
	// maxPaths of a record, the largest, and maxVisited directories that are
	// looked into for them.
	maxPaths, maxVisited = 300, 2000
)

// largest finds the paths that take more than a thousandth of everything. It
// looks only into directories that do, the largest first.
func (h *History) largest(ctx context.Context, whole uint64) (config.LargePaths, error) {
	out := config.LargePaths{Threshold: max(whole/shareOfUsed, 1)}
	type dir struct {
		path string
		id   fs.FileID
	}
	add := func(path string, n uint64) bool {
		i, _ := slices.BinarySearchFunc(out.Paths, n, func(p config.LargePath, n uint64) int {
			if p.Used >= n {
				return -1
			}
			return 1
		})
		if i >= maxPaths {
			return false
		}
		out.Paths = slices.Insert(out.Paths, i, config.LargePath{Path: path, Used: n})
		out.Paths = out.Paths[:min(len(out.Paths), maxPaths)]
		return true
	}
	add("/", whole)
	queue := []dir{{"/", fs.RootID}}
	for visited := 0; len(queue) > 0 && visited < maxVisited; visited++ {
		here := queue[0]
		queue = queue[1:]
		err := h.o.FS.ChildTotalsOf(ctx, fs.Node{ID: here.id}, func(c *fs.ChildTotals) bool {
			n := used(&c.Totals)
			if n < out.Threshold {
				return true
			}
			path := here.path + c.Name
			if c.Type == fs.Directory {
				path += "/"
			}
			if add(path, n) && c.Type == fs.Directory {
				queue = append(queue, dir{strings.Clone(path), c.ID})
			}
			return true
		})
		if k := fs.KindOf(err); err != nil && k != fs.NotExist && k != fs.Stale && k != fs.NotDir {
			return out, err
		}
	}
	return out, nil
}
