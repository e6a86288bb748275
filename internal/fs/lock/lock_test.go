package lock

import (
	"context"
	"errors"
	"math"
	"testing"

	"manifold/internal/fs"
)

var (
	file1 = fs.Node{ID: 10}
	file2 = fs.Node{ID: 11}
)

// posix asks for a lock of a POSIX owner.
func posix(n fs.Node, owner string, off, length uint64, exclusive bool) *fs.LockRequest {
	return &fs.LockRequest{Node: n, Owner: fs.LockOwner{Client: "nlm:" + owner[:1], Owner: owner}, Range: fs.LockRange{Offset: off, Length: length}, Exclusive: exclusive}
}

// smb asks for a lock of a handle.
func smb(n fs.Node, handle, off, length uint64, exclusive bool) *fs.LockRequest {
	return &fs.LockRequest{Node: n, Space: fs.LockSMB, Handle: handle, Owner: fs.LockOwner{Client: "smb:1"}, Range: fs.LockRange{Offset: off, Length: length}, Exclusive: exclusive}
}

func mustLock(t testing.TB, l *Table, r *fs.LockRequest) {
	t.Helper()
	if c, err := l.Lock(t.Context(), nil, r); err != nil || c != nil {
		t.Fatalf("lock %+v: %+v, %v", r, c, err)
	}
}

func mustUnlock(t testing.TB, l *Table, r *fs.LockRequest) {
	t.Helper()
	if err := l.Unlock(t.Context(), nil, r); err != nil {
		t.Fatalf("unlock %+v: %v", r, err)
	}
}

func mustConflict(t testing.TB, l *Table, r *fs.LockRequest, with string, where fs.LockRange) {
	t.Helper()
	c, err := l.Lock(t.Context(), nil, r)
	if !errors.Is(err, fs.LockConflict) || c == nil {
		t.Fatalf("lock %+v: %+v, %v", r, c, err)
	}
	if c.Owner.Owner != with || c.Range != where {
		t.Errorf("conflict with %+v, want %s at %+v", c, with, where)
	}
	if c2, err := l.TestLock(t.Context(), nil, r); err != nil || c2 == nil || *c2 != *c {
		t.Errorf("test: %+v, %v; lock: %+v", c2, err, c)
	}
}

func mustWait(t testing.TB, l *Table, r *fs.LockRequest) fs.Waiter {
	t.Helper()
	w, err := l.LockWait(t.Context(), nil, r)
	if err != nil || w == nil {
		t.Fatalf("wait %+v: %v, %v", r, w, err)
	}
	return w
}

func granted(w fs.Waiter) bool  { return closed(w.Granted()) }
func canceled(w fs.Waiter) bool { return closed(w.Canceled()) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// listed are the granted and the waiting locks of a node.
func listed(t testing.TB, l *Table, n fs.Node) (held, waiting []fs.LockInfo) {
	t.Helper()
	err := l.LockList(t.Context(), n, func(i *fs.LockInfo) bool {
		if i.Waiting {
			waiting = append(waiting, *i)
		} else {
			held = append(held, *i)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return held, waiting
}

func ranges(t testing.TB, l *Table, n fs.Node) []fs.LockRange {
	held, _ := listed(t, l, n)
	var rs []fs.LockRange
	for _, h := range held {
		rs = append(rs, h.Range)
	}
	return rs
}

func TestLock_posixMergeAndSplit(t *testing.T) {
	type op struct {
		off, length uint64
		kind        byte // r, w, u
	}
	for _, c := range []struct {
		name string
		ops  []op
		want []fs.LockRange
	}{
		{"merge_adjacent", []op{{0, 10, 'w'}, {10, 5, 'w'}}, []fs.LockRange{{Offset: 0, Length: 15}}},
		{"merge_overlap", []op{{0, 10, 'r'}, {5, 10, 'r'}}, []fs.LockRange{{Offset: 0, Length: 15}}},
		{"merge_both_sides", []op{{0, 5, 'w'}, {10, 5, 'w'}, {5, 5, 'w'}}, []fs.LockRange{{Offset: 0, Length: 15}}},
		{"no_merge_of_kinds", []op{{0, 10, 'w'}, {10, 5, 'r'}}, []fs.LockRange{{Offset: 0, Length: 10}, {Offset: 10, Length: 5}}},
		{"downgrade_middle", []op{{0, 15, 'w'}, {5, 5, 'r'}}, []fs.LockRange{{Offset: 0, Length: 5}, {Offset: 5, Length: 5}, {Offset: 10, Length: 5}}},
		{"unlock_middle", []op{{0, 15, 'w'}, {5, 5, 'u'}}, []fs.LockRange{{Offset: 0, Length: 5}, {Offset: 10, Length: 5}}},
		{"unlock_to_end", []op{{0, 0, 'w'}, {5, 0, 'u'}}, []fs.LockRange{{Offset: 0, Length: 5}}},
		{"unlock_head_of_all", []op{{0, 0, 'w'}, {0, 5, 'u'}}, []fs.LockRange{{Offset: 5}}},
		{"unlock_nothing", []op{{5, 5, 'u'}}, nil},
		{"unlock_across", []op{{0, 5, 'w'}, {10, 5, 'r'}, {3, 9, 'u'}}, []fs.LockRange{{Offset: 0, Length: 3}, {Offset: 12, Length: 3}}},
		{"last_byte", []op{{math.MaxUint64, 1, 'w'}}, []fs.LockRange{{Offset: math.MaxUint64}}},
		{"to_the_last_byte_is_to_the_end", []op{{1, math.MaxUint64, 'w'}}, []fs.LockRange{{Offset: 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := New(Options{})
			for _, o := range c.ops {
				r := posix(file1, "a", o.off, o.length, o.kind == 'w')
				if o.kind == 'u' {
					mustUnlock(t, l, r)
				} else {
					mustLock(t, l, r)
				}
			}
			got := ranges(t, l, file1)
			if len(got) != len(c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Fatalf("got %v, want %v", got, c.want)
				}
			}
			if n := l.count.Load(); n != int64(len(got)) {
				t.Errorf("counts %d locks", n)
			}
		})
	}
}

func TestLock_conflicts(t *testing.T) {
	l := New(Options{})
	mustLock(t, l, posix(file1, "a", 0, 10, false))
	mustLock(t, l, posix(file1, "b", 5, 10, false))
	mustConflict(t, l, posix(file1, "c", 9, 1, true), "a", fs.LockRange{Length: 10})
	mustConflict(t, l, posix(file1, "a", 0, 10, true), "b", fs.LockRange{Offset: 5, Length: 10})
	mustLock(t, l, posix(file1, "a", 0, 5, true))
	mustConflict(t, l, posix(file1, "c", 0, 0, false), "a", fs.LockRange{Length: 5})
	mustLock(t, l, posix(file2, "c", 0, 0, true))
	mustLock(t, l, posix(fs.Node{ID: 10, Snap: 1}, "c", 0, 0, false))
	other := posix(file1, "c", 0, 0, true)
	other.Stream = 3
	mustLock(t, l, other)
}

func TestLock_ranges(t *testing.T) {
	l := New(Options{})
	for _, r := range []*fs.LockRequest{
		posix(file1, "a", 2, math.MaxUint64, true), posix(file1, "a", math.MaxUint64, 2, true), smb(file1, 1, 2, math.MaxUint64, true),
		{Node: file1, Space: 9},
	} {
		if _, err := l.Lock(t.Context(), nil, r); !errors.Is(err, fs.Invalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	mustLock(t, l, smb(file1, 1, 1, math.MaxUint64, true))
	if got := ranges(t, l, file1); len(got) != 1 || got[0] != (fs.LockRange{Offset: 1, Length: math.MaxUint64}) {
		t.Errorf("got %v", got)
	}
}

func TestLock_smb(t *testing.T) {
	l := New(Options{})
	// Shared locks stack and are freed one by one, by their exact range.
	mustLock(t, l, smb(file1, 1, 0, 10, false))
	mustLock(t, l, smb(file1, 1, 0, 10, false))
	mustLock(t, l, smb(file1, 2, 5, 10, false))
	mustConflict(t, l, smb(file1, 1, 9, 1, true), "", fs.LockRange{Length: 10})
	if err := l.Unlock(t.Context(), nil, smb(file1, 1, 0, 9, false)); !errors.Is(err, fs.NoLock) {
		t.Errorf("unlock of another range: %v", err)
	}
	if err := l.Unlock(t.Context(), nil, smb(file1, 2, 0, 10, false)); !errors.Is(err, fs.NoLock) {
		t.Errorf("unlock by another handle: %v", err)
	}
	mustUnlock(t, l, smb(file1, 1, 0, 10, false))
	mustUnlock(t, l, smb(file1, 1, 0, 10, false))
	mustUnlock(t, l, smb(file1, 2, 5, 10, false))
	// A handle may add a shared lock to its exclusive one; the exclusive one goes first.
	mustLock(t, l, smb(file1, 1, 0, 10, true))
	mustConflict(t, l, smb(file1, 1, 0, 10, true), "", fs.LockRange{Length: 10})
	mustLock(t, l, smb(file1, 1, 0, 10, false))
	mustUnlock(t, l, smb(file1, 1, 0, 10, false))
	mustLock(t, l, smb(file1, 2, 0, 10, false))
	// The spaces do not see each other.
	mustLock(t, l, posix(file1, "a", 0, 0, true))
	if n := l.ReleaseHandle(file1, 1); n != 1 {
		t.Errorf("handle 1 had %d locks", n)
	}
	if n := l.ReleaseHandle(file1, 2); n != 1 || l.smbCount.Load() != 0 {
		t.Errorf("handle 2 had %d locks, %d are counted", n, l.smbCount.Load())
	}
}

func TestLock_smbUnlocksExclusiveFirst(t *testing.T) {
	l := New(Options{})
	mustLock(t, l, smb(file1, 1, 100, 1, true))
	mustLock(t, l, smb(file1, 1, 0, 10, true))
	mustLock(t, l, smb(file1, 1, 0, 10, false))
	mustUnlock(t, l, smb(file1, 1, 100, 1, true)) // moves the others about in the table
	mustUnlock(t, l, smb(file1, 1, 0, 10, false))
	mustLock(t, l, smb(file1, 2, 0, 10, false))
}

func TestLock_smbEmptyRange(t *testing.T) {
	l := New(Options{})
	mustLock(t, l, smb(file1, 1, 5, 0, true))
	mustLock(t, l, smb(file1, 2, 5, 0, true))  // no byte in common
	mustLock(t, l, smb(file1, 2, 5, 10, true)) // begins there
	mustUnlock(t, l, smb(file1, 2, 5, 10, true))
	mustLock(t, l, smb(file1, 2, 0, 5, true)) // ends there
	mustConflict(t, l, smb(file1, 3, 4, 2, true), "", fs.LockRange{Length: 5})
	mustUnlock(t, l, smb(file1, 2, 0, 5, true))
	mustConflict(t, l, smb(file1, 3, 4, 2, true), "", fs.LockRange{Offset: 5})
	mustUnlock(t, l, smb(file1, 1, 5, 0, true))
	mustUnlock(t, l, smb(file1, 2, 5, 0, true))
	if got := ranges(t, l, file1); got != nil {
		t.Errorf("left over: %v", got)
	}
}

func TestLock_strict(t *testing.T) {
	l := New(Options{Strict: true})
	mustLock(t, l, posix(file1, "a", 0, 10, false))
	mustLock(t, l, smb(file1, 1, 0, 10, false))
	mustConflict(t, l, smb(file1, 2, 0, 5, true), "a", fs.LockRange{Length: 10})
	mustConflict(t, l, posix(file1, "a", 0, 5, true), "", fs.LockRange{Length: 10})
	w := mustWait(t, l, posix(file1, "a", 0, 5, true))
	l.ReleaseHandle(file1, 1)
	if !granted(w) {
		t.Error("not granted after the SMB lock went")
	}
}

func TestCheckIO(t *testing.T) {
	l := New(Options{})
	if l.CheckIO(fs.LockSMB, file1, 0, 0, 0, 10, true) != nil {
		t.Error("conflict in an empty table")
	}
	mustLock(t, l, posix(file1, "a", 0, 0, true)) // advisory
	mustLock(t, l, smb(file1, 1, 0, 10, true))
	mustLock(t, l, smb(file1, 1, 20, 10, false))
	for _, c := range []struct {
		name         string
		n            fs.Node
		handle       uint64
		off, length  uint64
		read, writes bool // allowed
	}{
		{"exclusive_owner", file1, 1, 0, 10, true, true},
		{"exclusive_other", file1, 2, 9, 1, false, false},
		{"exclusive_stateless", file1, 0, 0, 1, false, false},
		{"shared_owner", file1, 1, 20, 10, true, false},
		{"shared_other", file1, 2, 20, 10, true, false},
		{"between", file1, 0, 10, 10, true, true},
		{"beyond_the_end", file1, 0, math.MaxUint64 - 1, 10, true, true},
		{"nothing", file1, 0, 0, 0, true, true},
		{"other_file", file2, 0, 0, 10, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := l.CheckIO(fs.LockSMB, c.n, 0, c.handle, c.off, c.length, false) == nil; got != c.read {
				t.Errorf("read: %t", got)
			}
			if got := l.CheckIO(fs.LockSMB, c.n, 0, c.handle, c.off, c.length, true) == nil; got != c.writes {
				t.Errorf("write: %t", got)
			}
		})
	}
	if l.CheckIO(fs.LockSMB, file1, 7, 0, 0, 10, true) != nil {
		t.Error("conflict in another stream")
	}
}

func TestGrace(t *testing.T) {
	l := New(Options{})
	reclaim := posix(file1, "a", 0, 10, true)
	reclaim.Reclaim = true
	if _, err := l.Lock(t.Context(), nil, reclaim); !errors.Is(err, fs.Grace) {
		t.Errorf("reclaim without grace: %v", err)
	}
	l.SetGrace(true)
	if _, err := l.Lock(t.Context(), nil, posix(file1, "b", 0, 10, true)); !errors.Is(err, fs.Grace) {
		t.Errorf("lock in grace: %v", err)
	}
	if _, err := l.LockWait(t.Context(), nil, posix(file1, "b", 0, 10, true)); !errors.Is(err, fs.Grace) {
		t.Errorf("wait in grace: %v", err)
	}
	if _, err := l.TestLock(t.Context(), nil, posix(file1, "b", 0, 10, true)); !errors.Is(err, fs.Grace) {
		t.Errorf("test in grace: %v", err)
	}
	mustLock(t, l, reclaim)
	mustUnlock(t, l, posix(file1, "a", 0, 5, true))
	mustLock(t, l, smb(file1, 1, 0, 10, true))
	l.SetGrace(false)
	mustConflict(t, l, posix(file1, "b", 0, 10, true), "a", fs.LockRange{Offset: 5, Length: 5})
}

func TestMaxLocks(t *testing.T) {
	l := New(Options{MaxLocks: 2})
	mustLock(t, l, posix(file1, "a", 0, 1, true))
	mustLock(t, l, posix(file1, "a", 2, 1, true))
	if _, err := l.Lock(t.Context(), nil, posix(file1, "a", 4, 1, true)); !errors.Is(err, fs.TooMany) {
		t.Errorf("lock: %v", err)
	}
	if _, err := l.LockWait(t.Context(), nil, posix(file1, "b", 0, 1, true)); !errors.Is(err, fs.TooMany) {
		t.Errorf("wait: %v", err)
	}
	mustUnlock(t, l, posix(file1, "a", 0, 1, true))
	mustLock(t, l, posix(file1, "a", 4, 1, true))
}

func TestRelease(t *testing.T) {
	l := New(Options{})
	fill := func() (fs.Waiter, fs.Waiter) {
		mustLock(t, l, posix(file1, "a1", 0, 10, true))
		mustLock(t, l, posix(file1, "a2", 10, 10, true))
		mustLock(t, l, posix(file2, "a1", 0, 10, true))
		return mustWait(t, l, posix(file1, "b1", 0, 20, true)), mustWait(t, l, posix(file1, "a3", 0, 5, false))
	}
	b, a3 := fill()
	if n, err := l.ReleaseOwner(t.Context(), fs.LockOwner{Client: "nlm:a", Owner: "a1"}, file1); n != 1 || err != nil {
		t.Errorf("owner on a node: %d, %v", n, err)
	}
	if granted(b) || granted(a3) {
		t.Error("granted too early, or out of order")
	}
	if n, err := l.ReleaseClient(t.Context(), "nlm:a"); n != 3 || err != nil {
		t.Errorf("client: %d, %v", n, err)
	}
	if !granted(b) || !canceled(a3) || granted(a3) {
		t.Errorf("b granted %t, a3 canceled %t", granted(b), canceled(a3))
	}
	if b.Cancel() || !a3.Cancel() {
		t.Error("Cancel after the end answers wrongly")
	}
	if n, _ := l.ReleaseOwner(t.Context(), fs.LockOwner{Client: "nlm:b"}, fs.Node{}); n != 1 {
		t.Errorf("all owners of a client: %d", n)
	}
	if n := l.count.Load(); n != 0 {
		t.Errorf("%d locks are left", n)
	}
	for i := range l.shards {
		if len(l.shards[i].files) != 0 {
			t.Error("an empty file is left")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.ReleaseClient(ctx, "x"); !errors.Is(err, fs.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestLockList(t *testing.T) {
	l := New(Options{})
	r := posix(file2, "a", 5, 5, true)
	r.Cookie, r.Owner.Addr = []byte("c"), "10.0.0.1"
	mustLock(t, l, r)
	mustLock(t, l, posix(file1, "b", 0, 0, false))
	mustWait(t, l, posix(file1, "a", 0, 1, true))
	var got []fs.LockInfo
	if err := l.LockList(t.Context(), fs.Node{}, func(i *fs.LockInfo) bool { got = append(got, *i); return true }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].Owner.Owner != "b" || !got[1].Waiting || got[2].Node != file2 ||
		string(got[2].Cookie) != "c" || got[2].Owner.Addr != "10.0.0.1" || !got[2].Exclusive {
		t.Errorf("got %+v", got)
	}
	n := 0
	if err := l.LockList(t.Context(), fs.Node{}, func(*fs.LockInfo) bool { n++; return false }); err != nil || n != 1 {
		t.Errorf("stopped after %d, %v", n, err)
	}
}
