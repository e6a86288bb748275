package fold

import (
	"cmp"
	"slices"
	"unicode/utf8"
)

// The tables: each sorted by its first field (compositions by the first two).
type (
	// A class gives runes from lo to hi their canonical combining class; others have 0.
	class struct {
		lo, hi rune
		ccc    uint8
	}
	// A decomposition is full and canonical.
	decomposition struct {
		r  rune
		to string
	}
	// A composition is of a primary composite.
	composition struct{ a, b, to rune }
	// A folding is simple: one rune to one.
	folding struct{ r, to rune }
)

// Hangul syllables are composed by arithmetic (Unicode 3.12).
const (
	hangulS, hangulL, hangulV, hangulT = 0xac00, 0x1100, 0x1161, 0x11a7
	lCount, vCount, tCount             = 19, 21, 28
	sCount                             = lCount * vCount * tCount
)

// A mark is a decoded rune, or with ccc 0 a byte that is not UTF-8, kept as -1-byte.
type mark struct {
	r   rune
	ccc uint8
}

// unicodeName folds a name that is not ASCII.
func unicodeName(name string) string {
	var space [128]mark
	ms := space[:0]
	plain := true // nothing at or above U+0300: NFC as it stands
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && n <= 1 {
			r = -1 - rune(name[i])
		}
		plain = plain && r < 0x300
		ms = append(ms, mark{r: r})
		i += n
	}
	if !plain {
		ms = compose(decompose(ms))
	}
	for i := range ms {
		to := foldRune(ms[i].r)
		plain = plain && to < 0x300
		ms[i].r = to
	}
	if !plain {
		ms = compose(decompose(ms))
	}
	out := make([]byte, 0, len(name)+8)
	for _, m := range ms {
		if m.r < 0 {
			out = append(out, byte(-1-m.r))
			continue
		}
		out = utf8.AppendRune(out, m.r)
	}
	return string(out)
}

// decompose is NFD: canonical decomposition, marks in canonical order.
func decompose(in []mark) []mark {
	out := make([]mark, 0, len(in)+16)
	for _, m := range in {
		r := m.r
		switch s := r - hangulS; {
		case 0 <= s && s < sCount:
			out = append(out, mark{r: hangulL + s/(vCount*tCount)}, mark{r: hangulV + s%(vCount*tCount)/tCount})
			if t := s % tCount; t != 0 {
				out = append(out, mark{r: hangulT + t})
			}
		default:
			d, ok := lookup(decompositions[:], r, func(d decomposition) rune { return d.r })
			if !ok {
				out = append(out, mark{r, classOf(r)})
				continue
			}
			for _, c := range d.to {
				out = append(out, mark{c, classOf(c)})
			}
		}
	}
	for i := 0; i < len(out); {
		if out[i].ccc == 0 {
			i++
			continue
		}
		j := i
		for j < len(out) && out[j].ccc != 0 {
			j++
		}
		slices.SortStableFunc(out[i:j], func(a, b mark) int { return cmp.Compare(a.ccc, b.ccc) })
		i = j
	}
	return out
}

// compose turns NFD into NFC in place (Unicode 3.11, D117).
func compose(ms []mark) []mark {
	n, starter := 0, -1
	lastCCC := -1 // class of the last mark kept since the starter, -1 if none
	for _, m := range ms {
		if starter >= 0 && lastCCC < int(m.ccc) {
			// Not blocked: nothing since the starter, or all of a lower class.
			if to, ok := pair(ms[starter].r, m.r); ok {
				ms[starter].r = to
				continue
			}
		}
		ms[n] = m
		if m.ccc == 0 {
			starter, lastCCC = n, -1
		} else {
			lastCCC = int(m.ccc)
		}
		n++
	}
	return ms[:n]
}

// pair answers the primary composite of a and b.
func pair(a, b rune) (rune, bool) {
	if l, v := a-hangulL, b-hangulV; 0 <= l && l < lCount && 0 <= v && v < vCount {
		return hangulS + (l*vCount+v)*tCount, true
	}
	if s, t := a-hangulS, b-hangulT; 0 <= s && s < sCount && s%tCount == 0 && 0 < t && t < tCount {
		return a + t, true
	}
	i, ok := slices.BinarySearchFunc(compositions[:], composition{a: a, b: b}, func(c, want composition) int {
		return cmp.Or(cmp.Compare(c.a, want.a), cmp.Compare(c.b, want.b))
	})
	if !ok {
		return 0, false
	}
	return compositions[i].to, true
}

func classOf(r rune) uint8 {
	if r < 0x300 {
		return 0
	}
	i, ok := slices.BinarySearchFunc(classes[:], r, func(c class, r rune) int {
		switch {
		case c.hi < r:
			return -1
		case c.lo > r:
			return 1
		}
		return 0
	})
	if !ok {
		return 0
	}
	return classes[i].ccc
}

func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	f, ok := lookup(foldings[:], r, func(f folding) rune { return f.r })
	if !ok {
		return r
	}
	return f.to
}

func lookup[T any](table []T, r rune, key func(T) rune) (T, bool) {
	i, ok := slices.BinarySearchFunc(table, r, func(t T, r rune) int { return cmp.Compare(key(t), r) })
	if !ok {
		var none T
		return none, false
	}
	return table[i], true
}
