package rest

import (
	"net/netip"
	"slices"
	"strconv"

	"manifold/internal/control"
	"manifold/internal/fs"
)

type shareModeLock struct {
	FileID       u64      `json:"file_id"`
	StreamID     u64      `json:"stream_id"`
	SnapshotID   u64      `json:"snapshot_id"`
	Mode         []string `json:"mode"`
	OwnerID      string   `json:"owner_id"`
	OwnerAddress string   `json:"owner_address"`
	NodeAddress  string   `json:"node_address"`
}

type shareModeList struct {
	Grants []shareModeLock `json:"grants"`
	Paging paging          `json:"paging"`
}

func smbLockRoutes() []route {
	const read = control.FSLockRead
	page := []query{queryAfter, queryLimit}
	byClient := append([]query{queryOwnerAddress}, page...)
	byFile := append([]query{querySnapshot}, page...)
	var rs []route
	for _, x := range []struct {
		at, of string
		query  []query
		ofFile bool
	}{
		{"/v1/files/locks/smb/", "of SMB clients", byClient, false},
		{"/v1/files/{ref}/locks/smb/", "of SMB clients on a file", byFile, true},
	} {
		rs = append(rs,
			route{Method: "GET", Path: x.at + "byte-range/", Privilege: read, Summary: "Byte-range locks " + x.of + ".", Out: grantList{}, Query: x.query,
				handle: func(q *request) (reply, error) { return listLocks(q, smbLocks, x.ofFile, false) }},
			route{Method: "GET", Path: x.at + "share-mode/", Privilege: read, Summary: "What opens " + x.of + " do and refuse to others.", Out: shareModeList{}, Query: x.query,
				handle: func(q *request) (reply, error) { return listShareModes(q, x.ofFile) }})
	}
	return rs
}

// Rights of an open that conflict with what another refuses, [MS-FSA] 2.1.5.1.2.2.
const (
	accessReads   = 1<<0 | 1<<5 // data, execute
	accessWrites  = 1<<1 | 1<<2 // data, append
	accessDeletes = 1 << 16
	accessShares  = accessReads | accessWrites | accessDeletes
)

func shareModes(x *control.SMBOpen) []string {
	out := []string{}
	for _, m := range []struct {
		on   bool
		name string
	}{
		{x.Access&accessReads != 0, "READ"}, {x.Access&accessWrites != 0, "WRITE"}, {x.Access&accessDeletes != 0, "DELETE"},
		{x.Share&fs.ShareRead == 0, "EXCLUDE_READ"}, {x.Share&fs.ShareWrite == 0, "EXCLUDE_WRITE"}, {x.Share&fs.ShareDelete == 0, "EXCLUDE_DELETE"},
	} {
		if m.on {
			out = append(out, "API_SHARE_MODE_"+m.name)
		}
	}
	return out
}

// listShareModes lists opens that take part in sharing: one that only looks at
// attributes is in nobody's way.
func listShareModes(q *request, ofFile bool) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	after, err := p.number()
	if err != nil {
		return reply{}, err
	}
	var filter clientFilter
	var node fs.Node
	if ofFile {
		node, err = q.lockedNode()
	} else {
		filter, err = q.clientFilter()
	}
	if err != nil {
		return reply{}, err
	}
	takes := func(x control.SMBOpen) bool {
		return x.ID > after && x.Access&accessShares != 0 && (!ofFile || x.Node == node) && filter.name == "" &&
			(filter.addr == netip.Addr{} || x.Client.Addr().Unmap() == filter.addr)
	}
	opens := slices.DeleteFunc(q.s.o.SMBServer.Opens(), func(x control.SMBOpen) bool { return !takes(x) })
	out := shareModeList{Grants: []shareModeLock{}}
	for i := range opens {
		x := &opens[i]
		if i == p.limit {
			out.Paging.Next = q.next(p, strconv.FormatUint(opens[i-1].ID, 10))
			break
		}
		out.Grants = append(out.Grants, shareModeLock{
			FileID: num(uint64(x.Node.ID)), StreamID: num(uint64(x.Stream)), SnapshotID: num(uint64(x.Node.Snap)), Mode: shareModes(x),
			OwnerID: strconv.FormatUint(uint64(x.User), 10), OwnerAddress: addressText(x.Client),
		})
	}
	return reply{body: out}, nil
}
