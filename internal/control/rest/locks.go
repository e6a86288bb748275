package rest

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

type nlmLock struct {
	FileID       u64      `json:"file_id"`
	StreamID     u64      `json:"stream_id"`
	SnapshotID   u64      `json:"snapshot_id"`
	Mode         []string `json:"mode"`
	Offset       u64      `json:"offset"`
	Size         u64      `json:"size"`
	OwnerID      string   `json:"owner_id"`
	OwnerName    string   `json:"owner_name"`
	OwnerAddress string   `json:"owner_address"`
	NodeAddress  string   `json:"node_address"`
}

type grantList struct {
	Grants []nlmLock `json:"grants"`
	Paging paging    `json:"paging"`
}

type waiterList struct {
	Waiters []nlmLock `json:"waiters"`
	Paging  paging    `json:"paging"`
}

var (
	queryOwnerName    = query{"owner_name", "string", "Name that the client gives itself."}
	queryOwnerAddress = query{"owner_address", "string", "Address of the client."}
)

func lockRoutes() []route {
	const all, one = "/v1/files/locks/nlm/byte-range/", "/v1/files/{ref}/locks/nlm/byte-range/"
	client := []query{queryOwnerName, queryOwnerAddress}
	page := []query{queryAfter, queryLimit}
	byClient := append(slices.Clone(client), page...)
	byFile := append([]query{querySnapshot}, page...)
	freed := []query{
		querySnapshot,
		{"offset", "integer", "First byte to free; 0 without it."},
		{"size", "integer", "Bytes to free; without it or 0 up to the end of all offsets."},
		{"owner_id", "string", "Owner of the lock, as listed."},
	}
	return []route{
		{Method: "GET", Path: all, Privilege: control.FSLockRead, Summary: "Byte-range locks of NFSv3 clients.", Out: grantList{}, Query: byClient, handle: func(q *request) (reply, error) { return listLocks(q, nlmLocks, false, false) }},
		{Method: "DELETE", Path: all, Privilege: control.FSLockWrite, Summary: "Free all locks of a client that is gone. Two clients may hold one lock afterwards if it is not.", Query: client, handle: releaseClient},
		{Method: "GET", Path: all + "waiters/", Privilege: control.FSLockRead, Summary: "Lock requests of NFSv3 clients that wait.", Out: waiterList{}, Query: byClient, handle: func(q *request) (reply, error) { return listLocks(q, nlmLocks, false, true) }},
		{Method: "GET", Path: one, Privilege: control.FSLockRead, Summary: "Byte-range locks of NFSv3 clients on a file.", Out: grantList{}, Query: byFile, handle: func(q *request) (reply, error) { return listLocks(q, nlmLocks, true, false) }},
		{Method: "DELETE", Path: one, Privilege: control.FSLockWrite, Summary: "Free one owner's locks in a range of a file.", Query: freed, handle: releaseRange},
		{Method: "GET", Path: one + "waiters/", Privilege: control.FSLockRead, Summary: "Lock requests of NFSv3 clients that wait for a file.", Out: waiterList{}, Query: byFile, handle: func(q *request) (reply, error) { return listLocks(q, nlmLocks, true, true) }},
	}
}

// nlmOwner tells the address and name of a client of NFSv3 from its name in the
// lock table; ok is false for clients of other protocols.
func nlmOwner(client string) (addr, name string, ok bool) {
	s, ok := strings.CutPrefix(client, "nlm:")
	if !ok {
		return "", "", false
	}
	addr, name, ok = strings.Cut(s, "/")
	return addr, name, ok
}

func ownerID(o fs.LockOwner) string { return hex.EncodeToString([]byte(o.Owner)) }

func renderLock(l *fs.LockInfo) nlmLock {
	_, name, _ := nlmOwner(l.Owner.Client)
	mode := "API_BYTE_RANGE_SHARED"
	if l.Exclusive {
		mode = "API_BYTE_RANGE_EXCLUSIVE"
	}
	return nlmLock{
		FileID: num(uint64(l.Node.ID)), StreamID: num(uint64(l.Stream)), SnapshotID: num(uint64(l.Node.Snap)),
		Mode: []string{mode}, Offset: num(l.Range.Offset), Size: num(l.Range.Length),
		OwnerID: ownerID(l.Owner), OwnerName: name, OwnerAddress: l.Owner.Addr,
	}
}

// lockKey orders locks as the table lists nodes, and tells them apart.
func lockKey(l *fs.LockInfo) string {
	var b []byte
	for _, n := range []uint64{uint64(l.Node.ID), uint64(l.Node.Snap), uint64(l.Stream), l.Range.Offset, l.Range.Length} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return string(b) + l.Owner.Client + "\x00" + l.Owner.Owner
}

// clientFilter is what the query asks of the owner.
type clientFilter struct {
	name string
	addr netip.Addr
}

func (q *request) clientFilter() (f clientFilter, err error) {
	f.name = q.arg("owner_name")
	if s := q.arg("owner_address"); s != "" {
		if f.addr, err = netip.ParseAddr(s); err != nil {
			return f, badRequest("http_bad_request_error", "owner_address is %q, want an IP address", s)
		}
		f.addr = f.addr.Unmap()
	}
	return f, nil
}

func (f *clientFilter) takes(family lockFamily, l *fs.LockInfo) bool {
	_, name, _ := nlmOwner(l.Owner.Client) // clients of SMB have no name
	if l.Space != family.space || !strings.HasPrefix(l.Owner.Client, family.prefix) || f.name != "" && !strings.EqualFold(f.name, name) {
		return false
	}
	a, err := netip.ParseAddr(l.Owner.Addr)
	return !f.addr.IsValid() || err == nil && a.Unmap() == f.addr
}

// lockedNode is the file that the path names. A file by its id may have lost
// its last name and still be open and locked.
func (q *request) lockedNode() (fs.Node, error) {
	snap, err := q.snapshot()
	if err != nil {
		return fs.Node{}, err
	}
	f, err := q.fileAt(snap, fs.AttrType)
	if err == nil {
		return f.Attr.Node, nil
	}
	id, ok := service.Ref(q.params[0]).ID()
	if !ok {
		return fs.Node{}, err
	}
	n := fs.Node{ID: id, Snap: snap}
	if lerr := q.s.o.FS.LockList(q.Context(), n, func(*fs.LockInfo) bool { err = nil; return false }); lerr != nil {
		return fs.Node{}, lerr
	}
	return n, err
}

// lockFamily is the clients of one kind of protocol.
type lockFamily struct {
	prefix string // of their names in the lock table
	space  fs.LockSpace
}

var (
	nlmLocks = lockFamily{"nlm:", fs.LockPOSIX}
	smbLocks = lockFamily{"smb:", fs.LockSMB}
)

func listLocks(q *request, family lockFamily, ofFile, waiting bool) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	after, err := parseNameKey(p.after)
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
	locks, next, err := q.pageOfLocks(p, after, node, func(l *fs.LockInfo) bool { return l.Waiting == waiting && filter.takes(family, l) })
	if err != nil {
		return reply{}, err
	}
	if waiting {
		return reply{body: waiterList{locks, next}}, nil
	}
	return reply{body: grantList{locks, next}}, nil
}

// pageOfLocks collects what follows the key. It holds a page and the locks of
// one file at a time.
func (q *request) pageOfLocks(p page, after string, node fs.Node, takes func(*fs.LockInfo) bool) ([]nlmLock, paging, error) {
	type entry struct {
		key  string
		lock fs.LockInfo
	}
	out := []nlmLock{}
	var last string
	more := false
	var file []entry
	flush := func() {
		slices.SortFunc(file, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
		for i := range file {
			if len(out) == p.limit {
				more = true
				break
			}
			out, last = append(out, renderLock(&file[i].lock)), file[i].key
		}
		file = file[:0]
	}
	err := q.s.o.FS.LockList(q.Context(), node, func(l *fs.LockInfo) bool {
		if len(file) > 0 && file[0].lock.Node != l.Node {
			flush()
		}
		if more {
			return false
		}
		if k := lockKey(l); k > after && takes(l) {
			file = append(file, entry{k, *l})
		}
		return true
	})
	flush()
	var next paging
	if more {
		next.Next = q.next(p, nameKey(last))
	}
	return out, next, err
}

func noLocks(text string) error {
	return &apiError{Status: http.StatusNotFound, Class: "fs_lock_not_found_error", Text: text}
}

func releaseClient(q *request) (reply, error) {
	filter, err := q.clientFilter()
	if err != nil {
		return reply{}, err
	}
	if filter == (clientFilter{}) {
		return reply{}, badRequest("http_bad_request_error", "owner_name or owner_address must say which client is meant")
	}
	var clients []string
	err = q.s.o.FS.LockList(q.Context(), fs.Node{}, func(l *fs.LockInfo) bool {
		if filter.takes(nlmLocks, l) && !slices.Contains(clients, l.Owner.Client) {
			clients = append(clients, l.Owner.Client)
		}
		return true
	})
	if err != nil {
		return reply{}, err
	}
	if len(clients) == 0 {
		return reply{}, noLocks("no client of that name and address holds locks")
	}
	for _, c := range clients {
		n, err := q.s.o.FS.ReleaseClient(q.Context(), c)
		if err != nil {
			return reply{}, err
		}
		q.s.log.InfoContext(q.Context(), "an administrator frees the locks of a client", "client", c, "locks", n)
	}
	return reply{}, nil
}

func releaseRange(q *request) (reply, error) {
	node, err := q.lockedNode()
	if err != nil {
		return reply{}, err
	}
	var r fs.LockRange
	if r.Offset, err = q.argUint("offset", 0); err != nil {
		return reply{}, err
	}
	if r.Length, err = q.argUint("size", 0); err != nil {
		return reply{}, err
	}
	id := q.arg("owner_id")
	if id == "" {
		return reply{}, badRequest("http_bad_request_error", "owner_id is required")
	}
	var found []fs.LockRequest
	err = q.s.o.FS.LockList(q.Context(), node, func(l *fs.LockInfo) bool {
		var any clientFilter
		if !l.Waiting && any.takes(nlmLocks, l) && ownerID(l.Owner) == id && overlap(l.Range, r) {
			found = append(found, fs.LockRequest{Node: node, Stream: l.Stream, Space: l.Space, Owner: l.Owner, Range: r})
		}
		return true
	})
	if err != nil {
		return reply{}, err
	}
	if len(found) == 0 {
		return reply{}, noLocks("that owner holds no lock in that range of the file")
	}
	for i := range found {
		l := &found[i]
		if err := q.s.o.FS.Unlock(q.Context(), q.caller(), l); err != nil {
			return reply{}, err
		}
		q.s.log.InfoContext(q.Context(), "an administrator frees a lock", "file", node.ID, "client", l.Owner.Client, "offset", r.Offset, "size", r.Length)
	}
	return reply{}, nil
}

// overlap tells whether two ranges of the POSIX space have a byte in common.
func overlap(a, b fs.LockRange) bool {
	last := func(r fs.LockRange) uint64 {
		if r.Length == 0 || r.Offset+r.Length-1 < r.Offset {
			return math.MaxUint64
		}
		return r.Offset + r.Length - 1
	}
	return a.Offset <= last(b) && b.Offset <= last(a)
}
