package nfs3

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
)

// keeper keeps the buffers of writes, as an implementation with dirty data does.
type keeper struct {
	fs.FS
	mu   sync.Mutex
	kept []fs.WriteRequest
}

func (k *keeper) Write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	w.Owner.Retain()
	k.mu.Lock()
	k.kept = append(k.kept, *w)
	k.mu.Unlock()
	return k.FS.Write(ctx, c, n, w)
}

// Data that the file system keeps must not change when the connection goes on.
func TestWrite_buffersAreHandedOver(t *testing.T) {
	k := &keeper{FS: memfs.New(memfs.Options{})}
	b := start(t, func(o *Options) { o.FS = k })
	f := b.mustCreate(b.root, "f")
	fill := func(i int) []byte {
		p := make([]byte, []int{100, 4096, 65536, maxIO}[i%4])
		for j := 0; j+8 <= len(p); j += 8 {
			binary.BigEndian.PutUint64(p[j:], uint64(i)<<32|uint64(j))
		}
		return p
	}
	const n = 32
	for i := range n {
		if _, _, _, _, st := b.write(f, uint64(i)*maxIO, fill(i), 0); st != OK {
			t.Fatal(st)
		}
	}
	for i := range n {
		got, _, st := b.read(f, uint64(i)*maxIO, uint32(len(fill(i))))
		if st != OK || !bytes.Equal(got, fill(i)) {
			t.Fatalf("write %d reads back otherwise, %v", i, st)
		}
		k.mu.Lock()
		w := k.kept[i]
		k.mu.Unlock()
		if !bytes.Equal(w.Data, fill(i)) {
			t.Fatalf("the kept data of write %d changed", i)
		}
	}
	for _, w := range k.kept {
		w.Owner.Release()
	}
}

// Many connections at once, each with many calls under way, on files of their own.
func TestServer_manyAtOnce(t *testing.T) {
	b := start(t)
	var wg sync.WaitGroup
	for i := range 16 {
		name := string(rune('a' + i))
		h := b.mustCreate(b.root, name)
		for range 4 {
			wg.Go(func() {
				for j := range 30 {
					p := bytes.Repeat([]byte{byte(i)}, 1000*(j%5)+1)
					if _, _, _, _, st := b.write(h, 0, p, 2); st != OK {
						t.Error(st)
						return
					}
					got, _, st := b.read(h, 0, uint32(len(p)))
					if st != OK || !bytes.Equal(got, p) {
						t.Errorf("file %s has another's data", name)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}
