package node

import (
	"net/netip"
	"path/filepath"
	"testing"

	"manifold/internal/data/segment"
	"manifold/internal/wire/nfs3/nlm"
)

func TestHostStore(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "data")
	open := func() (*storage, hostStore) {
		st, err := openStorage(ctx, storageOptions{dir: dir, create: true, segments: segment.Options{SegmentBytes: 8 << 20, ReserveBytes: -1}})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.openFS(ctx); err != nil {
			t.Fatal(err)
		}
		return st, hostStore{st.fs.DB()}
	}
	st, s := open()
	if state, hosts, err := s.Load(ctx); state != 0 || len(hosts) != 0 || err != nil {
		t.Errorf("%d %v %v", state, hosts, err)
	}
	a := nlm.Host{Name: "a/b", Addr: netip.MustParseAddr("192.0.2.1"), Local: netip.MustParseAddr("192.0.2.9"), State: 7}
	b := nlm.Host{Name: "a/b", Addr: netip.MustParseAddr("2001:db8::1")}
	for _, h := range []nlm.Host{a, b, a} {
		if err := s.Put(ctx, h); err != nil {
			t.Fatal(err)
		}
	}
	a.State = 9
	if err := s.Put(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := s.SetState(ctx, 5); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st, s = open()
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	state, hosts, err := s.Load(ctx)
	if err != nil || state != 5 || len(hosts) != 2 || hosts[0] != a && hosts[1] != a {
		t.Errorf("%d %+v %v", state, hosts, err)
	}
	if err := s.Remove(ctx, a); err != nil {
		t.Fatal(err)
	}
	if _, hosts, err := s.Load(ctx); err != nil || len(hosts) != 1 || hosts[0] != b {
		t.Errorf("%+v %v", hosts, err)
	}
}
