package config

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
)

// Keys of this room. Numbers are 8 bytes, big-endian; every key has at least 9
// bytes and the first 9 are what it conflicts by (kv.PrefixOf).
//
//	0xa0 kind id              a record: format, revision, JSON (record.go)
//	0xa1 counter              last number taken, 8 bytes
//	0xa2 hash space name      id of what has the unique name; hash is FNV-1a of space and name
//	0xa3 group user           membership, empty
//	0xa4 user group           the same the other way round
//	0xa5 sha256               a session by the hash of its token
//	0xa6 sha256               id of the access token that hashes so
//	0xa7 user token           access tokens of a user, empty
//
// 0xa8-0xaf are free. Numbers below are stored: only add to them.
const (
	tagRecord     = 0xa0
	tagCounter    = 0xa1
	tagName       = 0xa2
	tagMembers    = 0xa3
	tagMemberOf   = 0xa4
	tagSession    = 0xa5
	tagTokenHash  = 0xa6
	tagUserTokens = 0xa7
)

// kind of a record.
type kind uint64

const (
	kindCluster     kind = 1
	kindNode        kind = 2
	kindUser        kind = 3
	kindGroup       kind = 4
	kindPassword    kind = 5 // by user id
	kindToken       kind = 6
	kindCertificate kind = 7
	kindExport      kind = 8
	kindNFS         kind = 9
	kindMetrics     kind = 10
	kindScrub       kind = 11
	kindRole        kind = 12
	kindSetting     kind = 13 // settings of which there is one each, by setting id
	kindPolicy      kind = 14
	kindFSKey       kind = 15
	kindDNS         kind = 16
	kindAttributes  kind = 17 // of identities, by auth_id
	kindFTP         kind = 18
	kindSSH         kind = 19
	kindHostKeys    kind = 20 // private keys of SSH
	kindSSHKeys     kind = 21 // public keys of a user, by user id
	kindS3          kind = 22
	kindBucket      kind = 23
	kindS3Key       kind = 24
	kindShare       kind = 32
	kindSMB         kind = 33
	kindForeign     kind = 34 // SIDs of other domains, by what their auth_id is above the first
	kindCapacity    kind = 40 // by the hour since 1970
	kindLargePaths  kind = 41 // the same
	kindForeignBy   kind = 48 // how many foreign SIDs a user has brought in, by its auth_id
)

// Counters.
const (
	counterFormat   uint64 = 0
	counterRevision uint64 = 1
	counterRID      uint64 = 2
	counterExport   uint64 = 3
	counterToken    uint64 = 4
	counterRole     uint64 = 5
	counterPolicy   uint64 = 6
	counterFSKey    uint64 = 7
	counterBucket   uint64 = 8
	counterS3Key    uint64 = 9
	counterShare    uint64 = 11
	counterForeign  uint64 = 12
)

// space of unique names.
type space byte

const (
	spacePrincipal space = 1 // folded name of a user or group
	spaceUID       space = 2
	spaceGID       space = 3
	spaceExport    space = 4 // export path
	spaceRole      space = 5 // folded name
	spaceFSKey     space = 6
	spaceBucket    space = 7
	spaceS3Key     space = 8  // public name of an access key
	spaceS3Slot    space = 9  // owner and number of an access key, so that there are at most two
	spaceShare     space = 10 // folded name of an SMB share
	spaceForeign   space = 11 // text form of a SID
)

// theOne is the id of records of which there is one.
const theOne = 1

func key(tag byte, numbers ...uint64) []byte {
	k := make([]byte, 1, 1+8*len(numbers))
	k[0] = tag
	for _, n := range numbers {
		k = binary.BigEndian.AppendUint64(k, n)
	}
	return k
}

func recordKey(k kind, id uint64) []byte { return key(tagRecord, uint64(k), id) }
func kindPrefix(k kind) []byte           { return key(tagRecord, uint64(k)) }
func counterKey(id uint64) []byte        { return key(tagCounter, id) }

// ofKind tells whether a key is that of a record of one of the kinds.
func ofKind(k []byte, kinds ...kind) bool {
	return len(k) == 17 && k[0] == tagRecord && slices.Contains(kinds, kind(lastNumber(k[:9])))
}

// lastNumber reads the id that ends a key.
func lastNumber(k []byte) uint64 { return binary.BigEndian.Uint64(k[len(k)-8:]) }

func nameKey(s space, name string) []byte {
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(s)})
	_, _ = h.Write([]byte(name))
	k := key(tagName, h.Sum64())
	return append(append(k, byte(s)), name...)
}

func hashKey(tag byte, hash [32]byte) []byte { return append([]byte{tag}, hash[:]...) }
