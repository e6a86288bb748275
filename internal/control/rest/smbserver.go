package rest

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/identity"
)

type smbSettings struct {
	Encryption      string   `json:"session_encryption"`
	Dialects        []string `json:"supported_dialects"`
	HideFromUsers   bool     `json:"hide_shares_from_unauthorized_users"`
	HideFromHosts   bool     `json:"hide_shares_from_unauthorized_hosts"`
	SnapshotMode    string   `json:"snapshot_directory_mode"`
	BypassTraverse  bool     `json:"bypass_traverse_checking"`
	SigningRequired bool     `json:"signing_required"`
}

// smbSettingsPatch are settings of which any may be missing.
type smbSettingsPatch struct {
	Encryption      *string            `json:"session_encryption,omitempty"`
	Dialects        optional[[]string] `json:"supported_dialects,omitzero"`
	HideFromUsers   *bool              `json:"hide_shares_from_unauthorized_users,omitempty"`
	HideFromHosts   *bool              `json:"hide_shares_from_unauthorized_hosts,omitempty"`
	SnapshotMode    *string            `json:"snapshot_directory_mode,omitempty"`
	BypassTraverse  *bool              `json:"bypass_traverse_checking,omitempty"`
	SigningRequired *bool              `json:"signing_required,omitempty"`
}

var (
	encryptionNames   = []string{"NONE", "PREFERRED", "REQUIRED"}
	snapshotModeNames = []string{"VISIBLE", "HIDDEN", "DISABLED"}
	dialectNames      = []struct {
		name string
		d    config.SMBDialect
	}{
		{"SMB2_DIALECT_2_002", config.SMB2_002}, {"SMB2_DIALECT_2_1", config.SMB2_1}, {"SMB2_DIALECT_3_0", config.SMB3_0}, {"SMB2_DIALECT_3_11", config.SMB3_11},
	}
)

func smbSettingsRoutes() []route {
	get, set := verbs(func(q *request) control.SMBSettings { return q.s.o.SMB }, control.SMBSettings.SMB, control.SMBSettings.SetSMB)
	return singleton[config.SMB, smbSettingsPatch]{
		path: "/v1/smb/settings", read: control.SMBShareRead, write: control.SMBShareWrite, about: "Settings of SMB; no dialects at all switch it off", out: smbSettings{},
		def: config.DefaultSMB(), get: get, set: set, render: plain(renderSMBSettings),
		merge: func(_ *request, in smbSettingsPatch, v *config.SMB) error { return in.apply(v) },
	}.routes("PUT", "PATCH")
}

func renderSMBSettings(v config.SMB) smbSettings {
	out := smbSettings{
		Encryption: encryptionNames[v.Encryption], Dialects: []string{}, HideFromUsers: v.HideFromUsers, HideFromHosts: v.HideFromHosts,
		SnapshotMode: snapshotModeNames[v.Snapshots], BypassTraverse: v.BypassTraverseChecking, SigningRequired: v.SigningRequired,
	}
	for _, d := range v.Dialects {
		for _, n := range dialectNames {
			if n.d == d {
				out.Dialects = append(out.Dialects, n.name)
			}
		}
	}
	return out
}

// oneOf puts the place of a word among names into to, if the word was given.
func oneOf[T ~uint8](field string, names []string, word *string, to *T) error {
	if word == nil {
		return nil
	}
	i := slices.Index(names, *word)
	if i < 0 {
		return decodeError("%s is %q, want one of %s", field, *word, strings.Join(names, ", "))
	}
	*to = T(i)
	return nil
}

func (in *smbSettingsPatch) apply(v *config.SMB) error {
	if err := oneOf("session_encryption", encryptionNames, in.Encryption, &v.Encryption); err != nil {
		return err
	}
	if err := oneOf("snapshot_directory_mode", snapshotModeNames, in.SnapshotMode, &v.Snapshots); err != nil {
		return err
	}
	if in.Dialects.Given {
		v.Dialects = []config.SMBDialect{}
	next:
		for _, w := range in.Dialects.Value {
			for _, n := range dialectNames {
				if n.name == w {
					v.Dialects = append(v.Dialects, n.d)
					continue next
				}
			}
			return decodeError("supported_dialects has no %q", w)
		}
	}
	given(in.HideFromUsers, &v.HideFromUsers)
	given(in.HideFromHosts, &v.HideFromHosts)
	given(in.BypassTraverse, &v.BypassTraverseChecking)
	given(in.SigningRequired, &v.SigningRequired)
	return nil
}

type nanoseconds struct {
	Nanoseconds u64 `json:"nanoseconds"`
}

type smbSession struct {
	Location      string         `json:"location"`
	TenantID      uint64         `json:"tenant_id"`
	Originator    string         `json:"originator"`
	ServerAddress string         `json:"server_address"`
	User          identityRecord `json:"user"`
	NumOpens      int            `json:"num_opens"`
	TimeOpen      nanoseconds    `json:"time_open"`
	TimeIdle      nanoseconds    `json:"time_idle"`
	IsGuest       bool           `json:"is_guest"`
	IsEncrypted   bool           `json:"is_encrypted"`
	ShareNames    []string       `json:"share_names"`
}

type smbSessionList struct {
	Sessions []smbSession `json:"session_infos"`
	Paging   paging       `json:"paging"`
}

type smbHandle struct {
	FileNumber u64           `json:"file_number"`
	Info       smbHandleInfo `json:"handle_info"`
}

type smbHandleInfo struct {
	Location string   `json:"location"`
	Version  uint64   `json:"version"`
	NumLocks int      `json:"num_byte_range_locks"`
	Access   []string `json:"access_mask"`
	Owner    string   `json:"owner"`
	Path     string   `json:"path"`
}

type smbHandleList struct {
	Handles []smbHandle `json:"file_handles"`
	Paging  paging      `json:"paging"`
}

// smbLocation is what names a session or a handle to be closed.
type smbLocation struct {
	Location string `json:"location"`
}

type smbHandleLocation struct {
	Info smbLocation `json:"handle_info"`
}

type closeResult struct {
	Error string `json:"error_message"`
}

func smbServerRoutes() []route {
	page := []query{queryAfter, queryLimit}
	return []route{
		{Method: "GET", Path: "/v1/smb/sessions/", Privilege: control.SMBSessionRead, Summary: "Clients that have signed in over SMB.", Out: smbSessionList{},
			Query: append([]query{{"identity", "string", "Only those of a user."}}, page...), handle: listSMBSessions},
		{Method: "POST", Path: "/v1/smb/sessions/close", Privilege: control.SMBSessionWrite, Summary: "Close SMB sessions; one result for each.", In: []smbSession{}, Out: []closeResult{}, handle: closeSMBSessions},
		{Method: "GET", Path: "/v1/smb/files/", Privilege: control.SMBFileHandleRead, Summary: "Files that are open over SMB.", Out: smbHandleList{},
			Query: append([]query{{"file_number", "string", "Only handles of a file."}, {"resolve_paths", "boolean", "Answer paths, too."}}, page...), handle: listSMBFiles},
		{Method: "POST", Path: "/v1/smb/files/close", Privilege: control.SMBFileHandleWrite, Summary: "Close files that are open over SMB; one result for each.", In: []smbHandle{}, Out: []closeResult{}, handle: closeSMBFiles},
	}
}

func (q *request) location(id uint64) string { return fmt.Sprintf("%d.%d", q.s.o.NodeID, id) }

func (q *request) atLocation(s string) (uint64, bool) {
	node, id, _ := strings.Cut(s, ".")
	n, err := strconv.ParseUint(id, 10, 64)
	return n, err == nil && node == strconv.FormatUint(uint64(q.s.o.NodeID), 10)
}

func since(now, t time.Time) nanoseconds { return nanoseconds{num(uint64(max(0, now.Sub(t))))} }

func addressText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().Unmap().String()
}

func listSMBSessions(q *request) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	after, err := p.number()
	if err != nil {
		return reply{}, err
	}
	var who identity.AuthID
	if s := q.arg("identity"); s != "" {
		if who, err = q.ofText(s); err != nil {
			return reply{}, err
		}
	}
	out := smbSessionList{Sessions: []smbSession{}}
	var last uint64
	for _, x := range q.s.o.SMBServer.Sessions() {
		if x.ID <= after || who != 0 && x.User != who {
			continue
		}
		if len(out.Sessions) == p.limit {
			out.Paging.Next = q.next(p, strconv.FormatUint(last, 10))
			break
		}
		user, err := q.identityOf(x.User)
		if err != nil {
			return reply{}, err
		}
		last = x.ID
		out.Sessions = append(out.Sessions, smbSession{
			Location: q.location(x.ID), TenantID: 1, Originator: addressText(x.Client), ServerAddress: addressText(x.Server), User: user, NumOpens: x.Opens,
			TimeOpen: since(q.s.now(), x.Opened), TimeIdle: since(q.s.now(), x.Active), IsGuest: x.Guest, IsEncrypted: x.Encrypted, ShareNames: append([]string{}, x.Shares...),
		})
	}
	return reply{body: out}, nil
}

// msAccess names the bits of an access mask; the first sixteen mean the same
// for files and directories.
var msAccess = []named[uint32]{
	{"FILE_READ_DATA", 1 << 0}, {"FILE_WRITE_DATA", 1 << 1}, {"FILE_APPEND_DATA", 1 << 2}, {"FILE_READ_EA", 1 << 3}, {"FILE_WRITE_EA", 1 << 4},
	{"FILE_EXECUTE", 1 << 5}, {"FILE_DELETE_CHILD", 1 << 6}, {"FILE_READ_ATTRIBUTES", 1 << 7}, {"FILE_WRITE_ATTRIBUTES", 1 << 8},
	{"DELETE", 1 << 16}, {"READ_CONTROL", 1 << 17}, {"WRITE_DAC", 1 << 18}, {"WRITE_OWNER", 1 << 19}, {"SYNCHRONIZE", 1 << 20}, {"SYSTEM_SECURITY", 1 << 24},
}

func listSMBFiles(q *request) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	after, err := p.number()
	if err != nil {
		return reply{}, err
	}
	file, err := q.argUint("file_number", 0)
	if err != nil {
		return reply{}, err
	}
	paths, err := q.argBool("resolve_paths")
	if err != nil {
		return reply{}, err
	}
	out := smbHandleList{Handles: []smbHandle{}}
	var last uint64
	for _, x := range q.s.o.SMBServer.Opens() {
		if x.ID <= after || file != 0 && uint64(x.Node.ID) != file {
			continue
		}
		if len(out.Handles) == p.limit {
			out.Paging.Next = q.next(p, strconv.FormatUint(last, 10))
			break
		}
		last = x.ID
		h := smbHandle{num(uint64(x.Node.ID)), smbHandleInfo{Location: q.location(x.ID), NumLocks: x.Locks, Access: []string{}, Owner: strconv.FormatUint(uint64(x.User), 10)}}
		for _, w := range words(msAccess, x.Access) {
			h.Info.Access = append(h.Info.Access, "MS_ACCESS_"+w)
		}
		if paths {
			if h.Info.Path, err = q.s.o.FS.PathOf(q.Context(), x.Node); err != nil {
				h.Info.Path = "" // it has no name any more
			}
		}
		out.Handles = append(out.Handles, h)
	}
	return reply{body: out}, nil
}

// closeAll closes each place and says how that went.
func (q *request) closeAll(places []smbLocation, what string, end func(uint64) bool) (reply, error) {
	out := []closeResult{}
	for i, p := range places {
		if i > 0 {
			q.about += " "
		}
		q.about += p.Location
		r := closeResult{}
		if id, ok := q.atLocation(p.Location); !ok || !end(id) {
			r.Error = fmt.Sprintf("there is no %s %q", what, p.Location)
		}
		out = append(out, r)
	}
	return reply{body: out}, nil
}

func closeSMBSessions(q *request) (reply, error) {
	in, err := body[[]smbLocation](q)
	if err != nil {
		return reply{}, err
	}
	return q.closeAll(in, "session", q.s.o.SMBServer.CloseSession)
}

func closeSMBFiles(q *request) (reply, error) {
	in, err := body[[]smbHandleLocation](q)
	if err != nil {
		return reply{}, err
	}
	places := make([]smbLocation, len(in))
	for i := range in {
		places[i] = in[i].Info
	}
	return q.closeAll(places, "open file", func(id uint64) bool { return q.s.o.SMBServer.CloseOpen(q.Context(), id) })
}
