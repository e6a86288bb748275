package meta

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// Bounds of one step that frees an object.
const (
	chunksPerStep = 24
	xattrsPerStep = 40
)

// FreeInode removes an object that has no name left, in this transaction if it
// is small; else it becomes an orphan that StepOrphan frees. ino must have been
// read in this transaction; hold keeps it an orphan (it is still open).
func (tx *Txn) FreeInode(ctx context.Context, n *Inode, hold bool) error {
	small := !hold && n.NamedStreams == 0 && n.Xattrs <= 8
	if small && n.Data.AllocBytes > 0 && n.Data.Size > 8*chunkBytes {
		small = false
	}
	if !small {
		tx.kv.Put(orphanKey(n.ID), []byte{recordFormat})
		tx.orphaned = !hold
		return tx.PutInode(ctx, n)
	}
	done, err := tx.freeSome(ctx, n)
	if err != nil {
		return err
	}
	if done {
		return tx.deleteInode(ctx, n)
	}
	tx.kv.Put(orphanKey(n.ID), []byte{recordFormat})
	tx.orphaned = true
	return tx.PutInode(ctx, n)
}

// freeSome removes a bounded part of what belongs to n; done if nothing is left.
func (tx *Txn) freeSome(ctx context.Context, n *Inode) (done bool, err error) {
	if n.Data.ID != 0 && (n.Data.AllocBytes > 0 || len(n.Data.Masks) > 0) {
		if done, err := tx.freeChunks(ctx, n.ID, n.Data.ID, chunksPerStep); err != nil || !done {
			return false, err
		}
	}
	if n.NamedStreams > 0 {
		for e, err := range tx.kv.Scan(ctx, kv.Prefix(keyOf(tagStream, uint64(n.ID), 0)), kv.ScanOptions{Limit: 1}) {
			if err != nil {
				return false, err
			}
			s, err := decodeNamedStream(n.ID, e.Value)
			if err != nil {
				return false, err
			}
			sid := fs.StreamID(binary.BigEndian.Uint64(e.Key[9:]))
			done, err := tx.freeChunks(ctx, n.ID, s.ID, chunksPerStep)
			if err != nil || !done {
				return false, err
			}
			n.NamedStreams--
			if err := tx.deleteStream(ctx, n.ID, sid, s.Birth); err != nil {
				return false, err
			}
			return n.NamedStreams == 0 && n.Xattrs == 0, nil
		}
	}
	if n.Xattrs > 0 {
		type row struct {
			key   []byte
			birth uint64
		}
		var rows []row
		for e, err := range tx.kv.Scan(ctx, kv.Prefix(keyOf(tagXattr, uint64(n.ID), 0)), kv.ScanOptions{Limit: xattrsPerStep}) {
			if err != nil {
				return false, err
			}
			rows = append(rows, row{bytes.Clone(e.Key), birthOf(e.Value)})
		}
		for _, w := range rows {
			if err := tx.age(ctx, n.ID, w.key, w.birth, 0); err != nil {
				return false, err
			}
			tx.kv.Delete(w.key)
		}
		return len(rows) < xattrsPerStep, nil
	}
	return true, nil
}

// freeChunks removes up to limit chunks of a stream; done if none is left.
func (tx *Txn) freeChunks(ctx context.Context, id fs.FileID, sid fs.StreamID, limit int) (done bool, err error) {
	var chunks []ChunkAt
	for c, err := range tx.Chunks(ctx, sid, 0, limit) {
		if err != nil {
			return false, err
		}
		chunks = append(chunks, c)
	}
	for _, c := range chunks {
		c.Chunk.Frags = nil
		if err := tx.PutChunk(ctx, id, sid, c.Index, c.Chunk); err != nil {
			return false, err
		}
	}
	return len(chunks) < limit, nil
}

// Orphans returns up to limit inodes without a name, those above after.
func (db *DB) Orphans(ctx context.Context, after []byte, limit int) (ids []fs.FileID, next []byte, err error) {
	rng := table(tagOrphan)
	if after != nil {
		rng.Start = append(bytes.Clone(after), 0)
	}
	err = db.view(ctx, func(r kv.Reader) error {
		ids, next = ids[:0], nil
		for e, err := range r.Scan(ctx, rng, kv.ScanOptions{Limit: limit, KeysOnly: true}) {
			if err != nil {
				return err
			}
			next = bytes.Clone(e.Key)
			ids = append(ids, fs.FileID(idOf(e.Key)))
		}
		return nil
	})
	return ids, next, err
}

// StepOrphan frees a bounded part of an orphan. done: it is gone, or was none.
func (db *DB) StepOrphan(ctx context.Context, id fs.FileID) (done bool, err error) {
	err = db.Update(ctx, func(tx *Txn) error {
		done = false
		switch _, err := tx.kv.Get(ctx, orphanKey(id)); {
		case errors.Is(err, kv.ErrNotFound):
			done = true
			return nil
		case err != nil:
			return err
		}
		n, err := tx.Inode(ctx, id)
		if errors.Is(err, ErrNotFound) {
			tx.kv.Delete(orphanKey(id))
			done = true
			return nil
		}
		if err != nil {
			return err
		}
		if n.Parent != 0 {
			return fmt.Errorf("%w: orphan %d has a name", ErrCorrupt, id)
		}
		if done, err = tx.freeSome(ctx, n); err != nil {
			return err
		}
		if !done {
			return tx.PutInode(ctx, n)
		}
		tx.kv.Delete(orphanKey(id))
		return tx.deleteInode(ctx, n)
	})
	return done, err
}

// FreeStream removes a named stream: its record at once, its chunks too if
// they fit, else ErrTooBig and the caller truncates it first.
func (tx *Txn) FreeStream(ctx context.Context, n *Inode, sid fs.StreamID, s *NamedStream) error {
	if s.ID != 0 {
		done, err := tx.freeChunks(ctx, n.ID, s.ID, chunksPerStep)
		if err != nil {
			return err
		}
		if !done {
			return ErrTooBig
		}
	}
	n.NamedStreams--
	n.StreamBytes -= min(n.StreamBytes, s.AllocBytes)
	return tx.deleteStream(ctx, n.ID, sid, s.Birth)
}
