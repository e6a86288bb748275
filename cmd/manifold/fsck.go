package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"manifold/internal/node"
)

func newFsck() *cobra.Command {
	var (
		lf    = logFlags{level: "warn"}
		o     node.CheckOptions
		quiet bool
	)
	c := &cobra.Command{
		Use:   "fsck --data DIR",
		Short: "Check the metadata of a stopped data directory",
		Long: "Compares names, links, attributes, totals, maps and extents with each other and with the segments on\n" +
			"the disk. Changes nothing and reads no file data: that is for scrub. Exits with 0 if all is well,\n" +
			"4 if something is damaged, 1 if it could not be told.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Logger, err = lf.logger(); err != nil {
				return err
			}
			bar := newMeter()
			out := c.OutOrStdout()
			o.Progress = func(records uint64) { bar.set("records read", int64(records), -1) }
			o.Found = func(f node.CheckFinding) {
				where := ""
				if f.Inode != 0 {
					where = fmt.Sprintf("inode %d: ", f.Inode)
				}
				if f.Extent != 0 {
					where += fmt.Sprintf("extent %d: ", f.Extent)
				}
				fmt.Fprintf(out, "%s%s\n", where, f.What)
			}
			r, err := node.Check(c.Context(), o)
			bar.end()
			if err != nil {
				return err
			}
			if !quiet || r.Findings > 0 {
				fmt.Fprintf(out, "%d inodes, %d names, %d chunks, %d extents, %d snapshots, %d orphans; %d findings\n",
					r.Inodes, r.Dentries, r.Chunks, r.ExtentRecords, r.Snapshots, r.Orphans, r.Findings)
			}
			if r.Findings > 0 {
				return exitError{statusDamage, errors.New("the file system is damaged")}
			}
			return nil
		},
	}
	c.Flags().StringVar(&o.DataDir, "data", "", "data directory `DIR` (required)")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing if all is well")
	lf.register(c)
	_ = c.MarkFlagRequired("data")
	return c
}
