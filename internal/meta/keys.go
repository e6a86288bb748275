package meta

import (
	"encoding/binary"
	"math/bits"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// The key space of metadata, tags 0x01 to 0x7f. A key is a tag, an 8-byte id
// and a rest; kv.PrefixOf is tag and id. Integers are big-endian. An id of a
// file or stream is stored with its allocation batch (all but the low 16 bits)
// bit-reversed, so that batches spread over the key space while the ids of one
// batch stay neighbours. The rest never contains NUL where it is of variable
// length.
//
// Values of the tables marked H carry a birth epoch; their old versions lie
// under tag|0x40, id, rest, NUL, end epoch (8 bytes) with the old value.
//
//	tag   id            rest              value
//	0x01  0             -                 superblock, JSON
//	0x02  0             -                 epoch record: epoch, newest live snapshot, version
//	0x03  kind          -                 id counter: next free id of files, streams, extents, marks
//	0x04  0             -                 topology version: grows with every directory that changes its parent
//	0x10  inode     H   -                 inode record
//	0x11  directory H   name              dentry by name: child, type, cookie
//	0x12  directory H   cookie            dentry by cookie: child, type, name
//	0x13  inode     H   dir 8, name       further parent links; the first is in the inode record
//	0x14  directory     shard             reserved: sharded times of hot directories
//	0x15  inode         -                 reserved: atime
//	0x16  inode     H   space, key        xattrs, EAs, user metadata
//	0x17  inode     H   stream 8          named stream: name and stream record
//	0x18  stream    H   chunk index 8     chunk map of 4 MiB
//	0x19  hash 8        hash, other 8     ACL record, immutable
//	0x1a  inode         -                 orphan: no name is left, to be freed
//	0x1b  epoch         inode 8, kind, name   change log: what changed in that epoch
//	0x1c  directory     mark 8            delta of totals, not yet rolled up
//	0x1d  directory H   -                 totals of the whole tree
//	0x1e  directory     -                 quota, JSON
//	0x1f  snapshot      -                 snapshot, JSON
//	0x20  snapshot      history key       death list: history that dies with the snapshot
//	0x21  intent        -                 intent of work in steps, JSON
//	0x22  kind          name              durable client records
//	0x23  mark          -                 reserved: notification feed
//	0x24  stream        mark 8            extents that no version maps any more
//	0x25  0             owner, NUL, inode 8   staged: a file that has no name yet
const (
	tagSuper    byte = 0x01
	tagEpoch    byte = 0x02
	tagCounter  byte = 0x03
	tagTopology byte = 0x04
	tagInode    byte = 0x10
	tagName     byte = 0x11
	tagCookie   byte = 0x12
	tagParent   byte = 0x13
	tagXattr    byte = 0x16
	tagStream   byte = 0x17
	tagChunk    byte = 0x18
	tagACL      byte = 0x19
	tagOrphan   byte = 0x1a
	tagLog      byte = 0x1b
	tagDelta    byte = 0x1c
	tagTotals   byte = 0x1d
	tagQuota    byte = 0x1e
	tagSnapshot byte = 0x1f
	tagDeath    byte = 0x20
	tagIntent   byte = 0x21
	tagClient   byte = 0x22
	tagRelease  byte = 0x24
	tagStaged   byte = 0x25

	historyBit byte = 0x40
)

// Scanned are the tags of keys that are hardly ever read but by scans.
const Scanned = string(rune(tagCookie)) + string(rune(tagDelta))

const batchBits = 16

// spread bit-reverses the batch number of an id; it is its own inverse.
func spread(id uint64) uint64 {
	return bits.Reverse64(id>>batchBits<<batchBits)<<batchBits | id&(1<<batchBits-1)
}

func keyOf(tag byte, id uint64, room int) []byte {
	k := make([]byte, 9, 9+room)
	k[0] = tag
	binary.BigEndian.PutUint64(k[1:], spread(id))
	return k
}

// plainKey is for ids that are not spread: epochs, snapshots, counters, hashes.
func plainKey(tag byte, id uint64, room int) []byte {
	k := make([]byte, 9, 9+room)
	k[0] = tag
	binary.BigEndian.PutUint64(k[1:], id)
	return k
}

func inodeKey(id fs.FileID) []byte { return keyOf(tagInode, uint64(id), 0) }

// inodeKeys are those of many, in one piece of memory.
func inodeKeys(ids []fs.FileID) [][]byte {
	const size = 9
	room, keys := make([]byte, size*len(ids)), make([][]byte, len(ids))
	for i, id := range ids {
		k := room[i*size : (i+1)*size : (i+1)*size]
		k[0] = tagInode
		binary.BigEndian.PutUint64(k[1:], spread(uint64(id)))
		keys[i] = k
	}
	return keys
}

func nameKey(dir fs.FileID, name string) []byte {
	return append(keyOf(tagName, uint64(dir), len(name)), name...)
}

func cookieKey(dir fs.FileID, cookie uint64) []byte {
	return binary.BigEndian.AppendUint64(keyOf(tagCookie, uint64(dir), 8), cookie)
}

func parentKey(id, dir fs.FileID, name string) []byte {
	k := binary.BigEndian.AppendUint64(keyOf(tagParent, uint64(id), 8+len(name)), uint64(dir))
	return append(k, name...)
}

func xattrKey(id fs.FileID, s fs.MetaSpace, key string) []byte {
	return append(append(keyOf(tagXattr, uint64(id), 1+len(key)), byte(s)), key...)
}

func streamKey(id fs.FileID, sid fs.StreamID) []byte {
	return binary.BigEndian.AppendUint64(keyOf(tagStream, uint64(id), 8), uint64(sid))
}

func chunkKey(sid fs.StreamID, idx uint64) []byte {
	return binary.BigEndian.AppendUint64(keyOf(tagChunk, uint64(sid), 8), idx)
}

func totalsKey(dir fs.FileID) []byte { return keyOf(tagTotals, uint64(dir), 0) }
func orphanKey(id fs.FileID) []byte  { return keyOf(tagOrphan, uint64(id), 0) }
func quotaKey(dir fs.FileID) []byte  { return keyOf(tagQuota, uint64(dir), 0) }

func deltaKey(dir fs.FileID, mark uint64) []byte {
	return binary.BigEndian.AppendUint64(keyOf(tagDelta, uint64(dir), 8), mark)
}

func releaseKey(sid fs.StreamID, mark uint64) []byte {
	return binary.BigEndian.AppendUint64(keyOf(tagRelease, uint64(sid), 8), mark)
}

func logKey(epoch uint64, id fs.FileID, kind byte, name string) []byte {
	k := binary.BigEndian.AppendUint64(plainKey(tagLog, epoch, 9+len(name)), uint64(id))
	return append(append(k, kind), name...)
}

func deathKey(s fs.SnapshotID, history []byte) []byte {
	return append(plainKey(tagDeath, uint64(s), len(history)), history...)
}

// historyPrefix is what the history keys of key start with.
func historyPrefix(key []byte) []byte {
	h := make([]byte, len(key)+1, len(key)+9)
	copy(h, key)
	h[0] |= historyBit
	return h
}

// historyKey names the version of key that ended with epoch end.
func historyKey(key []byte, end uint64) []byte {
	return binary.BigEndian.AppendUint64(historyPrefix(key), end)
}

// splitHistory is the inverse of historyKey.
func splitHistory(h []byte) (key []byte, end uint64, ok bool) {
	n := len(h) - 9
	if n < 9 || h[0]&historyBit == 0 || h[n] != 0 {
		return nil, 0, false
	}
	key = append([]byte(nil), h[:n]...)
	key[0] &^= historyBit
	return key, binary.BigEndian.Uint64(h[n+1:]), true
}

// idOf returns the spread id of a key.
func idOf(key []byte) uint64 { return spread(binary.BigEndian.Uint64(key[1:9])) }

func plainIDOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[1:9]) }

// table is the range of all keys of a tag, for Views.
func table(tag byte) kv.Range { return kv.Range{Start: []byte{tag}, End: []byte{tag + 1}} }
