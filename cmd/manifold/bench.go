package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"manifold/internal/node"
)

func newBench() *cobra.Command {
	var (
		lf     = logFlags{level: "warn"}
		o      node.BenchOptions
		mib    int64
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the storage engine, or NFS over loopback",
		Long: "Makes a fresh file system below --dir, measures, and removes it. Without --nfs the calls go straight\n" +
			"to the file system: create, stat, list and remove of --files files. With --nfs they go through NFSv3\n" +
			"connections over loopback to a server in the same process; CPU is then that of both sides. A read\n" +
			"of the large files from memory is then compared with a copy of a plain file over TCP.",
		Example: "  manifold bench --files 1000000 --per-directory 1000 --clients 4\n  manifold bench --nfs --clients 2\n  manifold bench --nfs --files 1000 --large-mib 1024",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Logger, err = lf.logger(); err != nil {
				return err
			}
			bar := newMeter()
			o.NFSBytes = mib << 20
			o.Progress = func(phase string, done, total int) { bar.set(phase, int64(done), int64(total)) }
			phases, err := node.Bench(c.Context(), o)
			bar.end()
			out := c.OutOrStdout()
			if asJSON {
				e := json.NewEncoder(out)
				e.SetIndent("", "  ")
				if werr := e.Encode(phases); err == nil {
					err = werr
				}
			} else if werr := node.WriteBench(out, phases); err == nil {
				err = werr
			}
			if err != nil {
				return fmt.Errorf("the measurement was cut short: %w", err)
			}
			return nil
		},
	}
	fl := c.Flags()
	fl.StringVar(&o.Dir, "dir", "", "make the file system below `DIR` (default: the folder for temporary files)")
	fl.BoolVar(&o.NFS, "nfs", false, "measure through NFSv3 over loopback")
	fl.BoolVar(&o.Audit, "audit", false, "with --nfs: record every operation in the local audit log")
	fl.IntVar(&o.Files, "files", 10000, "make `N` files")
	fl.IntVar(&o.PerDirectory, "per-directory", 0, "put `N` files into each directory; 0: all into one")
	fl.IntVar(&o.FileBytes, "file-bytes", 0, "write `N` bytes to each file")
	fl.IntVar(&o.Clients, "clients", 1, "`N` clients at the same time")
	fl.Int64Var(&mib, "large-mib", 256, "with --nfs: size of the large files together, in `MIB`")
	fl.BoolVar(&asJSON, "json", false, "print as JSON")
	lf.register(c)
	return c
}
