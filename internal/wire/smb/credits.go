package smb

// creditWindow is the set of message ids that a client may use, [MS-SMB2] 3.3.1.1.
type creditWindow struct {
	low, high uint64 // ids in [low, high) were granted
	used      map[uint64]struct{}
	max       int
}

func newCreditWindow(limit int) creditWindow {
	return creditWindow{high: 1, used: map[uint64]struct{}{}, max: limit}
}

// take uses up n ids from id on.
func (w *creditWindow) take(id uint64, n int) bool {
	if id < w.low || id >= w.high || uint64(n) > w.high-id {
		return false
	}
	for i := range uint64(n) {
		if _, ok := w.used[id+i]; ok {
			return false
		}
	}
	for i := range uint64(n) {
		w.used[id+i] = struct{}{}
	}
	for {
		if _, ok := w.used[w.low]; !ok {
			return true
		}
		delete(w.used, w.low)
		w.low++
	}
}

// grant answers how many credits a response carries that was asked for want.
// Without more, the charge is only replaced.
func (w *creditWindow) grant(want, charge int, more bool) int {
	n := charge
	if want < charge {
		n = max(want, 0)
	}
	if more && want > charge {
		n = want
	}
	have := int(w.high-w.low) - len(w.used)
	n = min(n, w.max-have, 2*w.max-int(w.high-w.low))
	if n <= 0 {
		n = 0
		if have == 0 {
			n = 1
		}
	}
	w.high += uint64(n)
	return n
}
