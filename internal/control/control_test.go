package control

import (
	"slices"
	"testing"

	"manifold/internal/config"
	"manifold/internal/telemetry"
)

// The composition root hands these over as they are.
var (
	_ Authenticator  = (*config.Store)(nil)
	_ Sessions       = (*config.Store)(nil)
	_ Principals     = (*config.Store)(nil)
	_ Exports        = (*config.Store)(nil)
	_ Accounts       = (*config.Store)(nil)
	_ Roles          = (*config.Store)(nil)
	_ AccessTokens   = (*config.Store)(nil)
	_ Identities     = (*config.Store)(nil)
	_ Policies       = (*config.Store)(nil)
	_ FSKeys         = (*config.Store)(nil)
	_ Settings       = (*config.Store)(nil)
	_ Members        = (*config.Store)(nil)
	_ MetricsReaders = (*config.Store)(nil)
	_ Metrics        = (*telemetry.Registry)(nil)
)

func TestAllPrivileges(t *testing.T) {
	all := AllPrivileges()
	if !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Error("not sorted, or not unique")
	}
	for _, p := range []Privilege{
		ClusterRead, FileFullAccess, FileReadAccess, FSAttributesRead, FSFileLockWrite, MetricsRead, NetworkRead,
		NFSExportRead, NFSExportWrite, QuotaRead, QuotaWrite,
		SnapshotRead, SnapshotWrite, SnapshotDiffRead, TreeDeleteRead, TreeDeleteWrite,
	} {
		if !slices.Contains(all, p) {
			t.Errorf("%s is no privilege", p)
		}
	}
}
