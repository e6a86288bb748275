package node

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"manifold/internal/config"
	"manifold/internal/control/audit"
	"manifold/internal/kv/memkv"
	"manifold/internal/telemetry"
)

// The metrics tell what became of records.
func TestDescribeAudit(t *testing.T) {
	l, err := audit.Open(audit.Options{Dir: filepath.Join(t.TempDir(), "audit"), SpoolBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	r := telemetry.New()
	describeAudit(r, l)
	l.Configure(audit.Config{Enabled: true, Server: "nowhere:514"})
	const many = 100
	for range many {
		l.Add(&audit.Record{Protocol: "internal", Operation: "a_long_name_of_an_operation", Status: "ok"})
	}
	s := l.Status()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("manifold_audit_records_count %d\n", s.Spooled), fmt.Sprintf("manifold_audit_records_dropped_count %d\n", many-s.Spooled),
		fmt.Sprintf("manifold_audit_records_waiting %d\n", s.Spooled), fmt.Sprintf("manifold_audit_spool_bytes %d\n", s.Bytes), "manifold_audit_spool_limit_bytes 4096\n",
		`manifold_audit_connection{state="AUDIT_LOG_CONNECTING"} 1`, `manifold_audit_connection{state="AUDIT_LOG_CONNECTED"} 0`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q in\n%s", want, &b)
		}
	}
	if s.Spooled == 0 || s.Spooled >= many {
		t.Errorf("%d of %d records were stored", s.Spooled, many)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

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
