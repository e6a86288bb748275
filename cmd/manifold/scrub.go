package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"manifold/internal/node"
)

// statusDamage is the exit status of a check that found damage; 1 is a check
// that could not be done.
const statusDamage = 4

// meter shows progress on a terminal and nothing elsewhere.
type meter struct {
	mu   sync.Mutex
	what string
	bar  *progressbar.ProgressBar
	w    io.Writer
}

func newMeter() *meter {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return &meter{}
	}
	return &meter{w: os.Stderr}
}

// set shows done of total; a total of -1 is unknown.
func (m *meter) set(what string, done, total int64) {
	if m.w == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar == nil || m.what != what {
		m.what = what
		m.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(m.w), progressbar.OptionSetDescription(what),
			progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
	}
	_ = m.bar.Set64(done) // a bar that cannot be drawn is no failure
}

func (m *meter) end() {
	if m.bar != nil {
		_ = m.bar.Clear()
	}
}

// addOfflineScrub makes the scrub command, whose verbs work on a running
// server, do a stopped data directory by itself.
func addOfflineScrub(c *cobra.Command) {
	var (
		lf logFlags
		o  node.ScrubOptions
	)
	c.Use = "scrub --data DIR"
	c.Long = "Reads all file data and compares it with its checksums, and compares the records of data with the\n" +
		"segments on the disk. With --data it does a stopped data directory; the verbs below have a running\n" +
		"server do it. Exits with 0 if all is well, 4 if something is damaged, 1 if it could not be told."
	c.RunE = func(c *cobra.Command, _ []string) error {
		if o.DataDir == "" {
			return c.Help()
		}
		var err error
		if o.Logger, err = lf.logger(); err != nil {
			return err
		}
		bar := newMeter()
		o.Rate <<= 20
		o.Progress = func(p node.ScrubProgress) { bar.set("bytes verified", int64(p.Bytes), -1) }
		out := c.OutOrStdout()
		o.Found = func(f node.ScrubFinding) {
			fmt.Fprintf(out, "%s: extent %d of stream %d, segment %d, block %d: %v\n", f.Kind, f.Extent, f.Owner, f.Segment, f.Block, f.Err)
		}
		report, err := node.Scrub(c.Context(), o)
		bar.end()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d extents with %d bytes verified in %d segments; %d findings\n",
			report.Extents, report.Bytes, report.Segments, report.Progress.Findings)
		if n := report.Progress.Findings; n > 0 {
			return exitError{statusDamage, errors.New("data is damaged")}
		}
		return nil
	}
	c.Flags().StringVar(&o.DataDir, "data", "", "data directory `DIR` of a stopped server")
	c.Flags().Int64Var(&o.Rate, "rate", 0, "read at most `MIB` a second; 0 is no limit")
	lf.register(c)
}
