package rest

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
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
	for range 500 {
		var e entries
		scramble(reflect.ValueOf(&e).Elem(), rnd)
		var f fileAttrs
		scramble(reflect.ValueOf(&f).Elem(), rnd)
		for _, v := range []any{e, f} {
			got, _ := encode(v)
			want, err := reflected(v)
			if err != nil || string(got) != string(want) {
				t.Fatalf("%s\nwant\n%s (%v)", got, want, err)
			}
		}
	}
}
