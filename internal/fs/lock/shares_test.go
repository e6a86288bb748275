package lock

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"manifold/internal/fs"
)

const (
	rd  = fs.RightRead
	wr  = fs.RightModify
	del = fs.RightDelete
)

func TestShares_matrix(t *testing.T) {
	kinds := []fs.Rights{0, fs.RightReadAttr | fs.RightSynchronize, rd, fs.RightExecute, wr, fs.RightExtend, del, rd | wr, rd | wr | del}
	bit := func(r fs.Rights) (s fs.Share) {
		for right, share := range map[fs.Rights]fs.Share{rd: 1, fs.RightExecute: 1, wr: 2, fs.RightExtend: 2, del: 4} {
			if r&right != 0 {
				s |= share
			}
		}
		return s
	}
	for _, a1 := range kinds {
		for s1 := fs.Share(0); s1 <= fs.ShareAll; s1++ {
			for _, a2 := range kinds {
				for s2 := fs.Share(0); s2 <= fs.ShareAll; s2++ {
					var s Shares
					if _, err := s.Acquire(Open{Handle: 1, Node: file1, Access: a1, Share: s1}); err != nil {
						t.Fatal(err)
					}
					takesPart := bit(a1) != 0 && bit(a2) != 0
					bad := takesPart && (bit(a2)&^s1 != 0 || bit(a1)&^s2 != 0)
					c, err := s.Acquire(Open{Handle: 2, Node: file1, Access: a2, Share: s2})
					if bad != errors.Is(err, fs.Sharing) || bad != (c != nil) || c != nil && c.Handle != 1 {
						t.Fatalf("%#x sharing %d beside %#x sharing %d: %+v, %v", a2, s2, a1, s1, c, err)
					}
					s.Release(file1, 2)
					if got := s.Test(fs.LockPOSIX, file1, 0, a2) != nil; got != (takesPart && bit(a2)&^s1 != 0) {
						t.Fatalf("test %#x beside %#x sharing %d: %t", a2, a1, s1, got)
					}
					s.Release(file1, 1)
					if len(s.Of(file1)) != 0 || s.denying.Load() != 0 {
						t.Fatal("something is left")
					}
				}
			}
		}
	}
}

func TestShares_streams(t *testing.T) {
	const all, noDelete = fs.ShareAll, fs.ShareRead | fs.ShareWrite
	for _, c := range []struct {
		name      string
		have, add Open
		ok        bool
	}{
		{"streams_are_apart", Open{Stream: 1, Access: wr}, Open{Stream: 2, Access: wr}, true},
		{"file_and_stream_are_apart", Open{Stream: 1, Access: wr}, Open{Access: wr}, true},
		{"delete_file_under_stream", Open{Stream: 1, Access: rd, Share: noDelete}, Open{Access: del, Share: all}, false},
		{"delete_file_stream_allows", Open{Stream: 1, Access: rd, Share: all}, Open{Access: del, Share: all}, true},
		{"stream_of_file_being_deleted", Open{Access: del, Share: all}, Open{Stream: 1, Access: rd, Share: noDelete}, false},
		{"delete_stream_under_file", Open{Access: rd, Share: noDelete}, Open{Stream: 1, Access: del, Share: all}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s Shares
			c.have.Handle, c.have.Node, c.add.Handle, c.add.Node = 1, file1, 2, file1
			if _, err := s.Acquire(c.have); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Acquire(c.add); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestShares_change(t *testing.T) {
	var s Shares
	must := func(o Open) {
		t.Helper()
		if _, err := s.Change(o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Acquire(Open{Node: file1, Access: rd}); !errors.Is(err, fs.Invalid) {
		t.Errorf("no handle: %v", err)
	}
	must(Open{Handle: 1, Node: file1, Access: rd, Share: fs.ShareAll})
	must(Open{Handle: 2, Node: file1, Access: rd, Share: fs.ShareAll})
	if s.Test(fs.LockPOSIX, file1, 0, wr) != nil {
		t.Error("nobody denies writing")
	}
	must(Open{Handle: 1, Node: file1, Access: rd | wr, Share: fs.ShareRead})
	if c, err := s.Change(Open{Handle: 2, Node: file1, Access: wr, Share: fs.ShareAll}); !errors.Is(err, fs.Sharing) || c.Handle != 1 {
		t.Errorf("upgrade: %+v, %v", c, err)
	}
	if s.Test(fs.LockPOSIX, file1, 0, wr) == nil || s.Test(fs.LockSMB, file1, 0, wr) != nil {
		t.Error("handle 1 denies others writing, not itself")
	}
	if s.Test(fs.LockPOSIX, file2, 0, wr) != nil || s.Test(fs.LockPOSIX, file1, 5, wr) != nil {
		t.Error("denied elsewhere")
	}
	must(Open{Handle: 1, Node: file1, Access: fs.RightReadAttr}) // takes no more part
	must(Open{Handle: 2, Node: file1, Access: wr, Share: 0})
	if n := len(s.Of(file1)); n != 1 {
		t.Errorf("%d opens", n)
	}
	s.Release(file1, 1)
	s.Release(file1, 2)
	s.Release(file1, 2)
	if s.denying.Load() != 0 {
		t.Errorf("%d deny", s.denying.Load())
	}
}

// TestShares_storm: holders that deny everything are alone.
func TestShares_storm(t *testing.T) {
	var s Shares
	var wg sync.WaitGroup
	var counters [2]int
	for i := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 17))
			for range 500 {
				k := rnd.IntN(2)
				n := fs.Node{ID: fs.FileID(10 + k)}
				o := Open{Handle: uint64(i + 1), Node: n, Access: rd | wr}
				if rnd.IntN(2) == 0 {
					o.Access, o.Share = rd, fs.ShareRead
				}
				s.Test(fs.LockPOSIX, n, 0, wr)
				if _, err := s.Acquire(o); err != nil {
					continue
				}
				if o.Share == 0 {
					counters[k]++
				} else {
					_ = counters[k]
				}
				s.Release(n, o.Handle)
			}
		})
	}
	wg.Wait()
	if s.denying.Load() != 0 || len(s.Of(file1))+len(s.Of(file2)) != 0 {
		t.Error("something is left")
	}
	if counters == [2]int{} {
		t.Error("nobody was ever alone")
	}
}

func BenchmarkShares(b *testing.B) {
	var s Shares
	b.Run("test_nobody_denies", func(b *testing.B) {
		for b.Loop() {
			s.Test(fs.LockPOSIX, file1, 0, wr)
		}
	})
	b.Run("acquire_release", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Acquire(Open{Handle: 1, Node: file1, Access: rd}); err != nil {
				b.Fatal(err)
			}
			s.Release(file1, 1)
		}
	})
}
