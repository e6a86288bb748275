// Package node is the composition root: it builds the rooms in order, starts
// them on the sockets of the ledger, drains and stops them.
//
// Invariants: nothing is served before everything that was asked for could be
// built and bound; what was opened is closed in reverse order, on every path;
// one process at a time has a data directory.
//
// The package holds no file system rules and speaks no protocol; it may know
// every room, and nobody but the command knows it.
package node

import (
	"runtime"
	"runtime/debug"
)

// Build says what this binary is made of.
type Build struct {
	// Version of the module, "devel" when built from a work tree.
	Version string `json:"version"`
	// Revision of the source, "" if unknown; Modified when the tree was not clean.
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	// Time of the revision, RFC 3339.
	Time string `json:"time,omitempty"`
	Go   string `json:"go"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
}

// BuildInfo reads what the Go tool recorded in the binary.
func BuildInfo() Build {
	b := Build{Version: "devel", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "vcs.time":
			b.Time = s.Value
		}
	}
	return b
}

// String renders it on one line: "manifold devel (1a2b3c4d5e6f, modified) go1.26 linux/amd64".
func (b Build) String() string {
	s := "manifold " + b.Version
	if b.Revision != "" {
		s += " (" + b.Revision[:min(12, len(b.Revision))]
		if b.Modified {
			s += ", modified"
		}
		s += ")"
	}
	return s + " " + b.Go + " " + b.OS + "/" + b.Arch
}
