package node

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"manifold/internal/config"
	"manifold/internal/control/audit"
	"manifold/internal/kv/memkv"
)

// Where records go is set on one node, and another follows.
func TestRunAudit_follows(t *testing.T) {
	e := memkv.New()
	defer e.Close()
	open := func() *config.Store {
		s, err := config.Open(t.Context(), config.Options{KV: e})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	one, other := open(), open()
	l, err := audit.Open(audit.Options{Dir: filepath.Join(t.TempDir(), "audit")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { runAudit(ctx, l, other) })
	for _, local := range []bool{true, false} {
		if l.Enabled() == local {
			t.Fatal("it follows before anything was set")
		}
		v := config.DefaultSyslog
		v.Local = local
		if _, err := one.SetSyslog(ctx, 0, v); err != nil {
			t.Fatal(err)
		}
		for changed := l.Changed(); l.Enabled() != local; changed = l.Changed() {
			<-changed
		}
	}
	stop()
	running.Wait()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
