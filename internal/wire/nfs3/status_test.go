package nfs3

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"manifold/internal/fs"
)

func TestStatusOf_everyKind(t *testing.T) {
	for _, k := range fs.Kinds() {
		st, ok := statusOfKind[k]
		if !ok {
			t.Errorf("%v has no status", k)
			continue
		}
		if st == OK || strings.HasPrefix(st.String(), "status ") {
			t.Errorf("%v: %v is no error of the protocol", k, st)
		}
		if got := StatusOf(fmt.Errorf("wrapped: %w", fs.E("op", fs.Root, "name", k, nil))); got != st {
			t.Errorf("%v: %v, want %v", k, got, st)
		}
	}
	if StatusOf(nil) != OK || StatusOf(errors.New("foreign")) != ErrServerFault {
		t.Error("nil or a foreign error")
	}
	if Status(99).String() != "status 99" || OK.String() != "OK" {
		t.Error("names")
	}
}
