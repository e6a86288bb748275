package config

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"
	"sync/atomic"
	"testing"

	"manifold/internal/identity"
	"manifold/internal/kv"
)

// counted counts the keys that Views read.
type counted struct {
	kv.Engine
	keys *atomic.Int64
}

func (c counted) View(ctx context.Context, f kv.Freshness, fn func(kv.Reader) error) error {
	return c.Engine.View(ctx, f, func(r kv.Reader) error { return fn(countedReader{r, c.keys}) })
}

type countedReader struct {
	kv.Reader
	keys *atomic.Int64
}

func (r countedReader) Get(ctx context.Context, k []byte) ([]byte, error) {
	r.keys.Add(1)
	return r.Reader.Get(ctx, k)
}

func (r countedReader) Scan(ctx context.Context, g kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		for e, err := range r.Reader.Scan(ctx, g, o) {
			r.keys.Add(1)
			if !yield(e, err) {
				return
			}
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A change reads what it changed, however much else there is, on the node that
// makes it and on another.
func TestReload_keysRead(t *testing.T) {
	const many = 2000
	e := newKV(t)
	c := newClock()
	var here, there atomic.Int64
	full := open(t, e, c)
	if _, err := full.FirstRun(t.Context(), FirstRunOptions{AdminPassword: adminPassword, NodeName: "n1"}); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	// Many records, by few transactions.
	const batch = 20
	for i := 0; i < many; i += batch {
		if err := full.update(ctx, func(tx kv.Txn) error {
			for j := i; j < i+batch; j++ {
				u, err := full.putNewUser(ctx, tx, uint64(firstRID+j), User{Name: fmt.Sprint("u", j), PrimaryGroup: 513}, hashes{})
				if err != nil {
					return err
				}
				setMember(tx, uint64(identity.Guests), u.ID, true)
				if _, err := putNewShare(ctx, tx, Share{Name: fmt.Sprint("s", j), FSPath: "/"}); err != nil {
					return err
				}
				if _, err := putNewExport(ctx, tx, Export{Path: fmt.Sprint("/e", j), FSPath: "/"}); err != nil {
					return err
				}
				if j == many-1 {
					setCounter(tx, counterRID, uint64(firstRID+j))
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	a := open(t, counted{e, &here}, c)
	b := open(t, counted{e, &there}, c)
	if n := there.Load(); n < 5*many {
		t.Fatalf("opening reads %d keys", n)
	}
	ok := must[any](t)
	changes := map[string]func() (any, error){
		"add user":      func() (any, error) { return a.AddUser(ctx, User{Name: "jane", PrimaryGroup: 513}, "") },
		"modify user":   func() (any, error) { return a.ModifyUser(ctx, 1005, 0, User{Name: "joe", PrimaryGroup: 513}) },
		"delete user":   func() (any, error) { return nil, a.DeleteUser(ctx, 1006, 0) },
		"add group":     func() (any, error) { return a.AddGroup(ctx, Group{Name: "g"}) },
		"add member":    func() (any, error) { return nil, a.AddMember(ctx, uint64(identity.Administrators), 1007) },
		"add share":     func() (any, error) { return a.AddShare(ctx, Share{Name: "x", FSPath: "/"}) },
		"modify share":  func() (any, error) { return a.ModifyShare(ctx, 7, 0, Share{Name: "y", FSPath: "/"}) },
		"delete share":  func() (any, error) { return nil, a.DeleteShare(ctx, 8, 0) },
		"add export":    func() (any, error) { return a.AddExport(ctx, Export{Path: "/x", FSPath: "/"}) },
		"modify export": func() (any, error) { return a.ModifyExport(ctx, 7, 0, Export{Path: "/y", FSPath: "/"}) },
		"delete export": func() (any, error) { return nil, a.DeleteExport(ctx, 8, 0) },
		"settings":      func() (any, error) { return a.SetSyslog(ctx, 0, Syslog{Local: true, Format: "json"}) },
		"NFS":           func() (any, error) { return a.SetNFS(ctx, 0, NFS{V4Enabled: true}) },
	}
	here.Store(0)
	there.Store(0)
	for _, change := range changes {
		changed := b.Changed()
		ok(change())
		<-changed
	}
	// The node that makes a change is told of it as the others are, some time.
	t.Logf("%d changes: %d keys here, %d there", len(changes), here.Load(), there.Load())
	for where, n := range map[string]int64{"here": here.Load(), "there": there.Load()} {
		if n > int64(10*len(changes)) {
			t.Errorf("%d changes read %d keys %s", len(changes), n, where)
		}
	}
}

// inForce is what a store has in force, without what is only for comparison.
func inForceOf(s *Store) any {
	type exportNow struct {
		rec   Record[Export]
		rules any
	}
	var exports []exportNow
	for _, x := range s.ExportTable().All() {
		e := s.ExportTable().byID[x.ID]
		if s.ExportTable().byPath[x.Value.Path] != e {
			return "an export is not found by its path"
		}
		exports = append(exports, exportNow{*e.rec, e.rules})
	}
	var shares []ShareInForce
	for _, x := range s.ShareTable().All() {
		if y, _ := s.ShareTable().Named(x.Value.Name); y != x {
			return "a share is not found by its name"
		}
		shares = append(shares, *x)
	}
	return []any{
		exports, shares, len(s.ExportTable().byPath), len(s.ShareTable().byName), *s.Directory(), s.NFSInForce(), s.FTPInForce(), s.SSHInForce(), *s.SMBInForce(), s.GeneralInForce(),
	}
}

// Whatever is changed, in whatever order, in force is what a store that is
// opened afresh has, on the node that makes the changes and on one that follows.
func TestReload_model(t *testing.T) {
	e := newKV(t)
	c := newClock()
	a := open(t, e, c)
	if _, err := a.FirstRun(t.Context(), FirstRunOptions{AdminPassword: adminPassword, NodeName: "n1"}); err != nil {
		t.Fatal(err)
	}
	b := open(t, e, c)
	ctx := t.Context()
	rnd := rand.New(rand.NewPCG(1, 2))
	name := func() string { return fmt.Sprint("n", rnd.IntN(30)) }
	num := func() *uint32 {
		if n := rnd.Uint32N(20); n > 0 {
			return &n
		}
		return nil
	}
	id := func() uint64 { return uint64(1000 + rnd.IntN(40)) }
	small := func() uint64 { return uint64(1 + rnd.IntN(20)) }
	export := func() Export {
		return Export{Path: "/" + name(), FSPath: "/", Restrictions: []Restriction{{Mapping: MapAll, MapUser: Principal{Type: PrincipalLocalUser, ID: id()}}}}
	}
	groups := func() uint64 {
		if rnd.IntN(2) == 0 {
			return uint64(identity.Users)
		}
		return id()
	}
	did := 0
	for range 4000 {
		var err error
		switch rnd.IntN(15) {
		case 0, 1:
			_, err = a.AddUser(ctx, User{Name: name(), PrimaryGroup: groups(), UID: num()}, "")
		case 2:
			_, err = a.ModifyUser(ctx, id(), 0, User{Name: name(), PrimaryGroup: groups(), UID: num()})
		case 3:
			err = a.DeleteUser(ctx, id(), 0)
		case 4:
			_, err = a.AddGroup(ctx, Group{Name: name(), GID: num()})
		case 5:
			_, err = a.ModifyGroup(ctx, id(), 0, Group{Name: name(), GID: num()})
		case 6:
			err = a.DeleteGroup(ctx, id(), 0)
		case 7:
			err = a.AddMember(ctx, groups(), id())
		case 8:
			err = a.RemoveMember(ctx, groups(), id())
		case 9:
			_, err = a.AddShare(ctx, Share{Name: name(), FSPath: "/"})
		case 10:
			_, err = a.ModifyShare(ctx, small(), 0, Share{Name: name(), FSPath: "/", Network: []NetworkPermission{{Addresses: []string{"10.0.0.1"}}}})
		case 11:
			err = a.DeleteShare(ctx, small(), 0)
		case 12:
			_, err = a.AddExport(ctx, export())
		case 13:
			_, err = a.ModifyExport(ctx, small(), 0, export())
		case 14:
			if rnd.IntN(2) == 0 {
				err = a.DeleteExport(ctx, small(), 0)
			} else {
				_, err = a.SetAtime(ctx, 0, Atime{Enabled: rnd.IntN(2) == 0, Granularity: GranularityDay})
			}
		}
		if err == nil {
			did++
		} else if !errors.Is(err, ErrExists) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrInUse) {
			t.Fatal(err)
		}
		if did%50 != 0 || err != nil {
			continue
		}
		fresh := open(t, e, c)
		want := inForceOf(fresh)
		if got := inForceOf(a); !reflect.DeepEqual(got, want) {
			t.Fatalf("after %d changes there is in force\n%+v\nwant\n%+v", did, got, want)
		}
		for {
			changed := b.Changed()
			if reflect.DeepEqual(inForceOf(b), want) {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatalf("the other node has in force\n%+v\nwant\n%+v", inForceOf(b), want)
			}
		}
	}
	if did < 300 {
		t.Errorf("only %d changes", did)
	}
}
