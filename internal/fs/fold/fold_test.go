package fold

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func TestName(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"ascii", "readme.txt", "readme.txt"},
		{"ascii_capitals", "ReadMe.TXT", "readme.txt"},
		{"latin1", "ÄÖÜ", "äöü"},
		{"sharp_s_is_not_ss", "Straße", "straße"},
		{"capital_sharp_s", "STRAẞE", "straße"},
		{"decomposed", "A\u0308", "ä"},
		{"angstrom_sign", "\u212b", "å"},
		{"kelvin_sign", "\u212a", "k"},
		{"long_s", "ſ", "s"},
		{"final_sigma", "Σςσ", "σσσ"},
		{"micro_sign", "µ", "μ"},
		{"dotted_i_stays", "İ", "İ"},
		{"dotless_i_stays", "ı", "ı"},
		{"composes_after_folding", "J\u030c", "\u01f0"},
		{"mark_order", "q\u0307\u0323", "q\u0323\u0307"},
		{"hangul", "\u1112\u1161\u11ab", "\ud55c"},
		{"hangul_lv_then_t", "\ud558\u11ab", "\ud55c"},
		{"iota_subscript", "\u0391\u0345", "\u1fb3"},
		{"excluded_composition", "\u0958", "\u0915\u093c"},
		{"not_utf8", "A\xff\xfeB", "a\xff\xfeb"},
		{"surrogate", "X\xed\xa0\x80Y", "x\xed\xa0\x80y"},
		{"mark_after_bad_byte", "\xff\u0301", "\xff\u0301"},
		{"replacement_char", "\ufffdA", "\ufffda"},
		{"deseret", "\U00010400", "\U00010428"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Name(Policy, c.in)
			if got != c.want {
				t.Errorf("Name(%+q) = %+q, want %+q", c.in, got, c.want)
			}
			if again := Name(Policy, got); again != got {
				t.Errorf("Name(%+q) = %+q: not idempotent", got, again)
			}
			if Name(None, c.in) != c.in {
				t.Error("policy None changed a name")
			}
		})
	}
}

// TestName_longMarks: no length of a run of marks changes how it is treated.
func TestName_longMarks(t *testing.T) {
	in := "A" + strings.Repeat("\u0301", 126)
	if got, want := Name(Policy, in), "á"+strings.Repeat("\u0301", 125); got != want {
		t.Errorf("got %+q", got)
	}
}

// TestName_everyRune compares each rune, in front of marks, with x/text and
// package unicode. Runes that a later Unicode assigns are not ours to fold.
func TestName_everyRune(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) || !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.S) || norm.Version != "15.0.0" {
			continue
		}
		if _, ok := lookup(decompositions[:], r, func(d decomposition) rune { return d.r }); !ok && r%61 != 0 &&
			unicode.In(r, unicode.Han, unicode.Hangul, unicode.Tangut, unicode.So) {
			continue // tens of thousands alike
		}
		for _, in := range []string{string(r), string(r) + "\u0323\u0307", "\u0045\u0302" + string(r)} {
			want := norm.NFC.String(strings.Map(simpleFold, norm.NFC.String(in)))
			if got := Name(Policy, in); got != want {
				t.Fatalf("Name(%+q) = %+q, want %+q", in, got, want)
			}
		}
	}
}

// TestName_random holds what makes a folded form one: canonical equivalents and
// case variants share it, and it folds to itself.
func TestName_random(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune("aAäÄσΣςſßẞKİıǰjJ가각\u1100\u1161\u11a8\u0300\u0301\u0323\u0345\u0307\u030c\u1fb3\u1fbcΑα\u0958\u0dddあが\u3099\U0001d15e")
	for range 5000 {
		var b strings.Builder
		for range rnd.IntN(9) {
			if rnd.IntN(20) == 0 {
				b.WriteByte(byte(0x80 + rnd.IntN(128)))
				continue
			}
			b.WriteRune(alphabet[rnd.IntN(len(alphabet))])
		}
		s := b.String()
		f := Name(Policy, s)
		for _, v := range []string{f, norm.NFC.String(s), norm.NFD.String(s)} {
			if got := Name(Policy, v); got != f {
				t.Fatalf("Name(%+q) = %+q but Name(%+q) = %+q", s, f, v, got)
			}
		}
		if !Equal(Policy, s, f) {
			t.Fatalf("%+q and %+q are not equal", s, f)
		}
	}
}

// TestHash_vectors are of the SipHash reference implementation: key and message
// bytes count up from 0.
func TestHash_vectors(t *testing.T) {
	var key [16]byte
	for i := range key {
		key[i] = byte(i)
	}
	msg := "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e"
	for n, want := range map[int]uint64{0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5} {
		if got := sipHash(key, msg[:n]); got != want {
			t.Errorf("%d bytes: got %#x, want %#x", n, got, want)
		}
		if got := Hash(key, msg[:n]); got != want&(1<<63-1) {
			t.Errorf("%d bytes: cookie %#x", n, got)
		}
	}
}

func TestName_allocs(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Name(Policy, "a-plain_name.0001.txt") }); n != 0 {
		t.Errorf("%v allocations for a lower-case name", n)
	}
}

func FuzzName(f *testing.F) {
	f.Add("A\u0308\xff")
	f.Add("\u1112\u1161\u11ab")
	f.Fuzz(func(t *testing.T, s string) {
		got := Name(Policy, s)
		if Name(Policy, got) != got {
			t.Errorf("Name(%+q) = %+q is not its own folded form", s, got)
		}
	})
}

func BenchmarkName(b *testing.B) {
	for _, c := range []struct{ name, in string }{
		{"lower", "some-file-name.0001.dat"}, {"upper", "Some-File-Name.0001.DAT"}, {"latin", "Prüfungsübersicht.pdf"}, {"greek", "Μηνιαία έκθεση.pdf"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Name(Policy, c.in)
			}
		})
	}
}

func BenchmarkHash(b *testing.B) {
	for b.Loop() {
		Hash([16]byte{1}, "some-file-name.0001.dat")
	}
}
