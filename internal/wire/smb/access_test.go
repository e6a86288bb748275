package smb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
)

// Whoever signs in, connects, leaves or is refused is told of, each once.
func TestAccess(t *testing.T) {
	var mu sync.Mutex
	var got []string
	s := New(t.Context(), Options{
		FS: memfs.New(memfs.Options{RootMode: 0o777}), Accounts: noAccounts{}, Shares: &oneShare{Share{Name: "Files", Root: fs.Root, Guest: true}},
		Access: func(a Access) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(a.Kind, " ", a.Share, " ", a.Refused, a.Missing, " ", a.Cred != nil, " ", a.Node.ID))
		},
	})
	c := dial(t, s)
	c.login()
	dir := c.create("", fileGenericRead, uint32(fs.OpenExisting), 1, stOK)
	n := make([]byte, 32)
	n[0] = 32
	le.PutUint32(n[4:], 1000)
	copy(n[8:], dir)
	le.PutUint32(n[24:], filterFileName)
	c.frame(c.message(cmdChangeNotify, n))
	if st, _ := c.reply(); st != stPending {
		t.Fatalf("status %08x", uint32(st))
	}
	tree := c.tree
	c.connect("\\\\host\\none", stBadNetworkName)
	c.connect("\\\\host\\IPC$", stOK)
	c.tree = tree
	bad := dial(t, s)
	bad.call(cmdNegotiate, negotiateRequest(dialect202), stOK)
	bad.setup([]byte("NTLMSSP\x00\x09"), stInvalidParameter)
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(cut); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	want := []string{
		"0  false false true 0", "2 Files false false true 0", "4 Files false false true 2", "2 none true true true 0", "0  true false false 0",
		"3 Files false false true 0", "1  false false true 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}
