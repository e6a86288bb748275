package ports

import (
	"io"
	"testing"
)

func TestLoopback(t *testing.T) {
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	from, to, err := l.Loopback(t.Context(), BenchOut)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if _, err := from.Write([]byte("bytes")); err != nil {
		t.Fatal(err)
	}
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(to); err != nil || string(got) != "bytes" {
		t.Errorf("%q %v", got, err)
	}
	if _, _, err := l.Loopback(t.Context(), NFS); err == nil {
		t.Error("an inbound row was dialled")
	}
}
