package streamio

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// Contents are bytes that a file is made with. The zero value has none.
type Contents struct {
	ext extent
}

// Prepare stores b, at most fs.MaxCreateData bytes, as far as it does not go
// with the transaction that Put belongs to.
func (e *Engine) Prepare(ctx context.Context, b []byte) (Contents, error) {
	if len(b) == 0 {
		return Contents{}, nil
	}
	exts := []extent{{length: len(b), parts: [][]byte{b}}}
	err := e.place(ctx, exts)
	return Contents{exts[0]}, err
}

// Blocks is how many blocks the bytes take.
func (c *Contents) Blocks() uint64 {
	return (uint64(c.ext.length) + fs.BlockSize - 1) / fs.BlockSize
}

// Put makes the bytes those of ino, a file that the transaction makes and that
// nothing counts yet. The caller puts the inode. With data.ErrMoved, of this or
// of the transaction, they have to be prepared anew.
func (c *Contents) Put(ctx context.Context, tx *meta.Txn, ino *meta.Inode) error {
	if c.ext.length == 0 {
		return nil
	}
	if err := c.ext.put(tx, ino.Data.ID); err != nil {
		return err
	}
	ch := &meta.Chunk{Frags: []meta.Frag{{Len: uint32(c.ext.length), Extent: uint64(c.ext.id)}}}
	ino.Data.Size, ino.Data.AllocBytes, ino.Data.Rev = uint64(c.ext.length), c.Blocks()*fs.BlockSize, ino.Data.Rev+1
	return tx.PutChunk(ctx, ino.ID, ino.Data.ID, 0, ch)
}
