package node

import (
	"bytes"
	"context"
	"os"
	"strings"
	"time"

	"manifold/internal/fs"
	"manifold/internal/node/bench"
	"manifold/internal/telemetry"
)

// nodeID of a server that stands alone.
const nodeID = "1"

// describe declares what the metrics say about the node and its file system.
// Values are read when somebody asks for them.
func describe(r *telemetry.Registry, f fs.FS, b Build, clusterName, clusterUUID string) {
	r.Info("qumulo", "The cluster.",
		"name", clusterName, "uuid", clusterUUID, "version", b.Version, "platform", "manifold", "service_model", "manifold",
		"max_drive_failures", "0", "max_node_failures", "0")
	r.Info("qumulo_node", "The node.", "node_id", nodeID, "node_model", b.OS+"/"+b.Arch)
	r.Info("qumulo_kernel", "The operating system.", "node_id", nodeID, "version", kernelVersion(), "cmdline", "")

	statfs := func(pick func(fs.StatFS) uint64) func() float64 {
		return func() float64 {
			ctx, cancel := scrape()
			defer cancel()
			s, err := f.StatFS(ctx, fs.SystemCaller(), fs.Root)
			if err != nil {
				return 0
			}
			return float64(pick(s))
		}
	}
	r.Gauge("qumulo_fs_capacity_bytes", "Size of the file system.", statfs(func(s fs.StatFS) uint64 { return s.TotalBytes }))
	r.Gauge("qumulo_fs_free_bytes", "What is free of it.", statfs(func(s fs.StatFS) uint64 { return s.FreeBytes }))
	r.Gauge("qumulo_fs_snapshots", "Snapshots that exist.", func() float64 {
		ctx, cancel := scrape()
		defer cancel()
		n := 0
		_ = f.ListSnapshots(ctx, 0, func(s *fs.Snapshot) bool {
			if !s.InDelete {
				n++
			}
			return true
		})
		return float64(n)
	})

	totals := func(pick func(fs.Totals) uint64) func() float64 {
		return func() float64 {
			ctx, cancel := scrape()
			defer cancel()
			t, err := f.TotalsOf(ctx, fs.Root)
			if err != nil {
				return 0
			}
			return float64(pick(t))
		}
	}
	for _, e := range []struct {
		kind string
		pick func(fs.Totals) uint64
	}{
		{"alternate_data_stream", func(t fs.Totals) uint64 { return t.Streams }},
		{"directory", func(t fs.Totals) uint64 { return t.Directories }},
		{"file", func(t fs.Totals) uint64 { return t.Files }},
		{"other", func(t fs.Totals) uint64 { return t.Other }},
		{"symlink", func(t fs.Totals) uint64 { return t.Symlinks }},
	} {
		r.Gauge("qumulo_fs_directory_tree_entries", "Entries of a directory's whole tree.", totals(e.pick), "entry_type", e.kind, "path", "/")
	}
	for _, u := range []struct {
		kind string
		read func() float64
	}{
		{"data", totals(func(t fs.Totals) uint64 { return t.DataBytes + t.StreamBytes })},
		{"metadata", totals(func(t fs.Totals) uint64 { return t.MetaBytes })},
		{"snapshot", statfs(func(s fs.StatFS) uint64 { return s.SnapshotBytes })},
	} {
		r.Gauge("qumulo_fs_directory_used_bytes", "Bytes that a directory's whole tree takes.", u.read, "path", "/", "usage_type", u.kind)
	}
	r.Gauge("manifold_resident_bytes", "Resident memory of the server.", func() float64 { return float64(bench.ResidentBytes()) })
}

// scrape bounds what one value may take: a metric that hangs would hang all.
func scrape() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Second)
}

func kernelVersion() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(bytes.ToValidUTF8(b, nil)))
}
