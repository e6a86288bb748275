package smb

import "testing"

// TestWatch_order: changes go to the request that has waited longest, whichever
// looks first, and the end of the watch to all.
func TestWatch_order(t *testing.T) {
	w := &watchState{limit: 1000, cancel: func() {}}
	first, second, third := w.join(), w.join(), w.join()
	w.add(actionAdded, "a")
	if out, _, ok := w.take(second, 1000); ok {
		t.Errorf("the second request took %x", out)
	}
	out, st, ok := w.take(first, 1000)
	if !ok || st != stOK || len(out) != 14 {
		t.Errorf("the first got %x, %v, %v", out, st, ok)
	}
	w.add(actionAdded, "b") // before the first is gone
	w.leave(first)
	<-second.woken
	if out, st, ok = w.take(second, 1000); !ok || st != stOK || len(out) != 14 {
		t.Errorf("the second got %x, %v, %v", out, st, ok)
	}
	w.leave(second)
	w.end(stDeletePending)
	<-third.woken
	if _, st, ok = w.take(third, 1000); !ok || st != stDeletePending {
		t.Errorf("the third got %v, %v", st, ok)
	}
	late := w.join()
	if _, _, ok = w.take(late, 1000); ok {
		t.Error("a fourth came before the third had left")
	}
	w.leave(third)
	<-late.woken
	if _, st, ok = w.take(late, 1000); !ok || st != stDeletePending {
		t.Errorf("the fourth got %v, %v", st, ok)
	}
}
