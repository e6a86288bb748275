package lock

import (
	"errors"
	"testing"

	"manifold/internal/fs"
)

func TestLockWait_fifo(t *testing.T) {
	l := New(Options{})
	mustLock(t, l, posix(file1, "a", 0, 10, false))
	w := mustWait(t, l, posix(file1, "b", 0, 10, true))
	// A reader that may wait does not overtake the writer; elsewhere it is free.
	r := mustWait(t, l, posix(file1, "c", 5, 1, false))
	if got, err := l.LockWait(t.Context(), nil, posix(file1, "c", 20, 1, false)); got != nil || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	// Who holds a lock already is not made to wait behind others.
	if got, err := l.LockWait(t.Context(), nil, posix(file1, "a", 3, 9, false)); got != nil || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	// Neither is who does not wait.
	mustLock(t, l, posix(file1, "d", 0, 1, false))
	mustUnlock(t, l, posix(file1, "a", 0, 0, false))
	if granted(w) || granted(r) {
		t.Fatal("granted although d holds")
	}
	mustUnlock(t, l, posix(file1, "d", 0, 0, false))
	if !granted(w) || granted(r) {
		t.Fatal("the writer was first")
	}
	mustUnlock(t, l, posix(file1, "b", 0, 4, false))
	if granted(r) {
		t.Fatal("granted although b holds")
	}
	mustLock(t, l, posix(file1, "b", 4, 6, false)) // downgrade
	if !granted(r) {
		t.Fatal("not granted after a downgrade")
	}
}

func TestLockWait_cancelLetsOthersIn(t *testing.T) {
	l := New(Options{})
	mustLock(t, l, posix(file1, "a", 0, 10, false))
	w := mustWait(t, l, posix(file1, "b", 0, 10, true))
	r := mustWait(t, l, posix(file1, "c", 5, 1, false))
	if !w.Cancel() || !canceled(w) || granted(w) {
		t.Error("not canceled")
	}
	if !granted(r) || r.Cancel() || canceled(r) {
		t.Error("who waited behind it is not granted")
	}
	if !w.Cancel() {
		t.Error("canceled twice answers false")
	}
}

func TestLockWait_deadlock(t *testing.T) {
	l := New(Options{})
	mustLock(t, l, posix(file1, "a", 0, 1, true))
	mustLock(t, l, posix(file2, "b", 0, 1, true))
	mustLock(t, l, posix(file2, "c", 5, 1, true))
	wb := mustWait(t, l, posix(file1, "b", 0, 1, true))
	wc := mustWait(t, l, posix(file2, "c", 0, 1, true)) // c -> b -> a
	if _, err := l.LockWait(t.Context(), nil, posix(file2, "a", 5, 1, true)); !errors.Is(err, fs.Deadlock) {
		t.Fatalf("a -> c: %v", err)
	}
	if got, _ := l.TestLock(t.Context(), nil, posix(file2, "a", 5, 1, true)); got == nil || got.Owner.Owner != "c" {
		t.Errorf("the refused request changed something: %+v", got)
	}
	mustUnlock(t, l, posix(file1, "a", 0, 1, true))
	if !granted(wb) || granted(wc) {
		t.Error("b is not granted, or c is")
	}
	mustUnlock(t, l, posix(file2, "b", 0, 1, true))
	if !granted(wc) {
		t.Error("c is not granted")
	}
}

// TestLockWait_upgrade: two readers who both want to write wait for each other.
func TestLockWait_upgrade(t *testing.T) {
	l := New(Options{})
	mustLock(t, l, posix(file1, "a", 0, 1, false))
	mustLock(t, l, posix(file1, "b", 0, 1, false))
	w := mustWait(t, l, posix(file1, "a", 0, 1, true))
	if _, err := l.LockWait(t.Context(), nil, posix(file1, "b", 0, 1, true)); !errors.Is(err, fs.Deadlock) {
		t.Fatalf("got %v", err)
	}
	mustUnlock(t, l, posix(file1, "b", 0, 1, false))
	if !granted(w) {
		t.Error("not granted")
	}
}

// TestLockWait_courtesyIsNoDeadlock: waiting behind others would lock a up, so
// it is let through.
func TestLockWait_courtesyIsNoDeadlock(t *testing.T) {
	l := New(Options{})
	mustLock(t, l, posix(file2, "a", 0, 1, true))
	mustLock(t, l, posix(file1, "c", 0, 1, false))
	mustWait(t, l, posix(file1, "b", 0, 1, true)) // b -> c
	mustWait(t, l, posix(file2, "c", 0, 1, true)) // c -> a
	if w, err := l.LockWait(t.Context(), nil, posix(file1, "a", 0, 1, false)); w != nil || err != nil {
		t.Errorf("%v, %v", w, err)
	}
}

func TestLockWait_smb(t *testing.T) {
	l := New(Options{})
	mustLock(t, l, smb(file1, 1, 0, 10, true))
	w1 := mustWait(t, l, smb(file1, 2, 0, 10, false))
	w2 := mustWait(t, l, smb(file1, 1, 0, 10, true)) // itself in the way: it can still unlock
	mustUnlock(t, l, smb(file1, 1, 0, 10, true))
	if !granted(w1) || granted(w2) {
		t.Error("not in order")
	}
	if n := l.ReleaseHandle(file1, 2); n != 1 || !granted(w2) {
		t.Errorf("freed %d, granted %t", n, granted(w2))
	}
	w3 := mustWait(t, l, smb(file1, 3, 5, 1, false))
	if n := l.ReleaseHandle(file1, 3); n != 1 || !canceled(w3) {
		t.Errorf("freed %d, canceled %t", n, canceled(w3))
	}
}

// TestLockWait_grantLetsEarlierIn: a waiter that is granted gives up a stronger
// lock, for which somebody before it in the queue waits.
func TestLockWait_grantLetsEarlierIn(t *testing.T) {
	l := New(Options{})
	mustLock(t, l, posix(file1, "a", 0, 1, true))
	mustLock(t, l, posix(file1, "c", 5, 1, true))
	b := mustWait(t, l, posix(file1, "b", 0, 1, false))
	a := mustWait(t, l, posix(file1, "a", 0, 6, false))
	mustUnlock(t, l, posix(file1, "c", 5, 1, true))
	if !granted(a) || !granted(b) {
		t.Errorf("granted: a %t, b %t", granted(a), granted(b))
	}
}
