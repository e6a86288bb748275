package meta

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// StagedFor says what a file without a name is being made for.
type StagedFor struct {
	// Owner names the work it belongs to; "": it ends with the process that
	// made it, which Boot tells from others.
	Owner string
	Dir   fs.FileID
	Boot  uint64
}

func stagedKey(owner string, id fs.FileID) []byte {
	k := append(plainKey(tagStaged, 0, len(owner)+9), owner...)
	return binary.BigEndian.AppendUint64(append(k, 0), uint64(id))
}

func splitStaged(key []byte) (owner string, id fs.FileID, ok bool) {
	n := len(key) - 9
	if n < 9 || key[n] != 0 {
		return "", 0, false
	}
	return string(key[9:n]), fs.FileID(binary.BigEndian.Uint64(key[n+1:])), true
}

// Stage marks an inode that has no name as one that waits for it. The caller
// puts n afterwards.
func (tx *Txn) Stage(n *Inode, s StagedFor) {
	n.Staged = &s
	tx.kv.Put(stagedKey(s.Owner, n.ID), []byte{recordFormat})
}

// Unstage ends that: the caller gives n a name and puts it, or frees it.
func (tx *Txn) Unstage(n *Inode) {
	tx.kv.Delete(stagedKey(n.Staged.Owner, n.ID))
	n.Staged = nil
}

// StagedID is a row of the list of staged files.
type StagedID struct {
	Owner string
	ID    fs.FileID
}

// Staged returns up to limit staged files whose owner begins with prefix, those
// after after in order of owner and id; nil: from the start.
func (r *Reader) Staged(ctx context.Context, prefix string, after *StagedID, limit int) ([]StagedID, error) {
	p := append(plainKey(tagStaged, 0, len(prefix)), prefix...)
	rng := kv.Prefix(p)
	if after != nil {
		from := append(stagedKey(after.Owner, after.ID), 0)
		if bytes.Compare(from, rng.Start) > 0 {
			rng.Start = from
		}
	}
	var out []StagedID
	for e, err := range r.r.Scan(ctx, rng, kv.ScanOptions{Limit: limit, KeysOnly: true}) {
		if err != nil {
			return nil, err
		}
		owner, id, ok := splitStaged(e.Key)
		if !ok {
			return nil, fmt.Errorf("%w: key of a staged file", ErrCorrupt)
		}
		out = append(out, StagedID{owner, id})
	}
	return out, nil
}
