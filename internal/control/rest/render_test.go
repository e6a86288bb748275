package rest

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// scramble sets every field to something.
func scramble(v reflect.Value, rnd *rand.Rand) {
	if n, ok := v.Addr().Interface().(*u64); ok {
		*n = u64{rnd.Uint64() >> rnd.IntN(64), rnd.IntN(4) > 0}
		if !n.Set {
			n.N = 0
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			scramble(v.Field(i), rnd)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rnd.IntN(3), 3))
		for i := range v.Len() {
			scramble(v.Index(i), rnd)
		}
	case reflect.Pointer:
		if rnd.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			scramble(v.Elem(), rnd)
		}
	case reflect.String:
		v.SetString([]string{"", "plain", "a/b", `q"\`, "tab\t", "<&>", "ä\u2028", "\xff\xfe", "\x7f", strings.Repeat("x", 300)}[rnd.IntN(10)])
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(rnd.Uint64() >> (64 - v.Type().Bits()) >> rnd.IntN(32))
	default:
		panic(v.Type())
	}
}

// What is rendered by hand is what encoding/json renders.
func TestRendered(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	same := func(got []byte, of any) {
		t.Helper()
		want, err := reflected(of)
		if err != nil || string(got) != string(want) {
			t.Fatalf("%s\nwant\n%s (%v)", got, want, err)
		}
	}
	text := func() (s string) { scramble(reflect.ValueOf(&s).Elem(), rnd); return s }
	few := func(n int) uint64 { return uint64(rnd.IntN(n)) } // so that entries have some in common
	for range 500 {
		var f fileAttrs
		scramble(reflect.ValueOf(&f).Elem(), rnd)
		got, _ := encode(f)
		same(got, f)

		q := &request{}
		e := entries{Path: text() + "/", ID: num(rnd.Uint64()), ChildCount: few(9), Files: []fileAttrs{}, Paging: entriesPaging{Next: text()}}
		p := newEntryPage([]byte("what was here")[:0], e.Path, e.ID.N, e.ChildCount)
		moments := []fs.Time{{}, {Sec: 1 << 30, Nsec: 5}, {Sec: 1 << 31, Nsec: 120_000_000}}
		for range rnd.IntN(5) {
			when := func() fs.Time { return moments[rnd.IntN(len(moments))] }
			a := fs.Attr{Mask: fs.AttrEverything, Node: fs.Node{ID: fs.FileID(rnd.Uint64())}, Type: []fs.Type{fs.File, fs.Directory, fs.Symlink}[rnd.IntN(3)], Links: uint32(few(2)), Mode: fs.Mode(few(2) * 0o644),
				Owner: identity.AuthID(3<<32 + few(2)), Group: identity.AuthID(4<<32 + few(2)), Size: rnd.Uint64(), DataBytes: few(1 << 20), MetaBytes: few(1 << 20), Children: few(2),
				Atime: when(), Mtime: when(), Ctime: when(), Btime: when(), DOS: fs.DOSAttr(few(4)), DataRevision: few(9), RdevMinor: uint32(few(2)), SymlinkHint: fs.SymlinkHint(few(2))}
			name := text()
			f, err := q.fileAttrs(&a, childPath(e.Path, name, a.Type), name)
			if err != nil {
				t.Fatal(err)
			}
			e.Files = append(e.Files, f)
			if err := p.add(q, &a, name); err != nil {
				t.Fatal(err)
			}
		}
		same(p.end(e.Paging.Next), e)
	}
}
