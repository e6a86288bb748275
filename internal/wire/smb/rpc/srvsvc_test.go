package rpc

import (
	"fmt"
	"strings"
	"testing"

	srvsvc "github.com/oiweiwei/go-msrpc/msrpc/srvs/srvsvc/v3"
	wkssvc "github.com/oiweiwei/go-msrpc/msrpc/wkst/wkssvc/v1"
)

func srvsvcClient(t *testing.T, w *world, who *Caller) srvsvc.SrvsvcClient {
	t.Helper()
	return must[srvsvc.SrvsvcClient](t)(srvsvc.NewSrvsvcClient(t.Context(), dial(t, newServer(t, w), "srvsvc", who)))
}

// wants checks what a call has answered: an outcome that is no success comes as
// an error of the generated client, beside the answer.
func wants(t *testing.T, what string, got, want uint32) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

func enumOf(level uint32) *srvsvc.ShareEnum {
	u, _ := enumerate(level, nil)
	return &srvsvc.ShareEnum{Level: level, ShareInfo: u}
}

func TestShares_list(t *testing.T) {
	for _, x := range []struct {
		who        *Caller
		path, desc string
	}{{theAdmin(), `C:\`, "sd"}, {theUser(), "", ""}, {theNobody(), "", ""}} {
		c := srvsvcClient(t, newWorld(), x.who)
		for _, level := range []uint32{0, 1, 2, 501, 502, 503} {
			r := must[*srvsvc.ShareEnumResponse](t)(c.ShareEnum(t.Context(), &srvsvc.ShareEnumRequest{Info: enumOf(level), PreferredMaximumLength: unlimited}))
			if r.TotalEntries != 2 || r.Info.Level != level {
				t.Fatalf("level %d: %+v", level, r)
			}
			switch v := r.Info.ShareInfo.Value.(type) {
			case *srvsvc.ShareEnumUnion_Level1:
				if b := v.Level1.Buffer; b[0].NetworkName != "IPC$" || b[0].Type != kindPipes|kindSpecial || b[1].NetworkName != "Files" || b[1].Remark != "all of it" {
					t.Errorf("%+v %+v", b[0], b[1])
				}
			case *srvsvc.ShareEnumUnion_Level502:
				if b := v.Level502.Buffer[1]; b.Path != x.path || string(b.SecurityDescriptor) != x.desc || b.CurrentUses != 2 {
					t.Errorf("%+v", b)
				}
			}
		}
	}
	// A hidden share can be asked for by its name.
	c := srvsvcClient(t, newWorld(), theUser())
	r := must[*srvsvc.ShareGetInfoResponse](t)(c.ShareGetInfo(t.Context(), &srvsvc.ShareGetInfoRequest{NetName: "SECRET$", Level: 1}))
	if i := r.Info.Value.(*srvsvc.ShareInfo_1).ShareInfo1; i.NetworkName != "secret$" || i.Type != kindSpecial {
		t.Errorf("%+v", i)
	}
}

func TestShares_change(t *testing.T) {
	w := newWorld()
	admin, user := srvsvcClient(t, w, theAdmin()), srvsvcClient(t, w, theUser())
	add := func(c srvsvc.SrvsvcClient, name, path string) uint32 {
		r, _ := c.ShareAdd(t.Context(), &srvsvc.ShareAddRequest{Level: 2, Info: &srvsvc.ShareInfo{Value: &srvsvc.ShareInfo_2{ShareInfo2: &srvsvc.ShareInfo2{NetworkName: name, Remark: "mine", Path: path}}}})
		return r.Return
	}
	wants(t, "add by a user", add(user, "x", `C:\x`), werrAccessDenied)
	wants(t, "add", add(admin, "x", `c:\x\y\`), werrOK)
	wants(t, "add again", add(admin, "X", `C:\x`), werrShareExists)
	wants(t, "add where nothing is", add(admin, "y", `/nowhere`), werrUnknownDevDir)
	wants(t, "add without a name", add(admin, "", `C:\x`), werrInvalid)
	if s := w.shares[2]; s.Path != "/x/y" || s.Comment != "mine" {
		t.Errorf("%+v", s)
	}
	set := func(c srvsvc.SrvsvcClient, name string, level uint32, i *srvsvc.ShareInfo) uint32 {
		r, _ := c.ShareSetInfo(t.Context(), &srvsvc.ShareSetInfoRequest{NetName: name, Level: level, ShareInfo: i})
		return r.Return
	}
	remark := &srvsvc.ShareInfo{Value: &srvsvc.ShareInfo_1004{ShareInfo1004: &srvsvc.ShareInfo1004{Shi1004Remark: "ours"}}}
	wants(t, "set by a user", set(user, "x", 1004, remark), werrAccessDenied)
	wants(t, "set", set(admin, "x", 1004, remark), werrOK)
	wants(t, "set nothing", set(admin, "nothing", 1004, remark), werrNoShare)
	wants(t, "flags", set(admin, "x", 1005, &srvsvc.ShareInfo{Value: &srvsvc.ShareInfo_1005{ShareInfo1005: &srvsvc.ShareInfo1005{Flags: flagEncrypt}}}), werrOK)
	wants(t, "descriptor", set(admin, "x", 1501, &srvsvc.ShareInfo{Value: &srvsvc.ShareInfo_1501{ShareInfo1501: &srvsvc.ShareInfo1501I{SecurityDescriptor: []byte("new")}}}), werrOK)
	if s := w.shares[2]; s.Comment != "ours" || !s.Encrypt || s.AccessBased || string(s.Security) != "new" {
		t.Errorf("%+v", s)
	}
	del := func(c srvsvc.SrvsvcClient, name string) uint32 {
		r, _ := c.ShareDelete(t.Context(), &srvsvc.ShareDeleteRequest{NetName: name})
		return r.Return
	}
	wants(t, "delete by a user", del(user, "x"), werrAccessDenied)
	wants(t, "delete", del(admin, "x"), werrOK)
	wants(t, "delete again", del(admin, "x"), werrNoShare)
	wants(t, "delete the pipes", del(admin, "ipc$"), werrInvalid)
	start := must[*srvsvc.ShareDeleteStartResponse](t)(admin.ShareDeleteStart(t.Context(), &srvsvc.ShareDeleteStartRequest{NetName: "Files"}))
	must[*srvsvc.ShareDeleteCommitResponse](t)(admin.ShareDeleteCommit(t.Context(), &srvsvc.ShareDeleteCommitRequest{ContextHandle: start.ContextHandle}))
	if len(w.shares) != 1 {
		t.Errorf("%+v", w.shares)
	}
	r, _ := admin.ShareDeleteCommit(t.Context(), &srvsvc.ShareDeleteCommitRequest{ContextHandle: start.ContextHandle})
	wants(t, "a handle that is used up", r.Return, werrInvalid)
}

// Answers longer than one fragment, and lists longer than one answer.
func TestShares_many(t *testing.T) {
	w := newWorld()
	w.shares = nil
	for i := range maxRows + 500 {
		w.shares = append(w.shares, Share{Name: fmt.Sprint("share", i), Comment: strings.Repeat("ü", 20), Path: "/"})
	}
	c := srvsvcClient(t, w, theUser())
	seen, resume := map[string]bool{}, uint32(0)
	for calls := 0; ; calls++ {
		r, err := c.ShareEnum(t.Context(), &srvsvc.ShareEnumRequest{Info: enumOf(1), PreferredMaximumLength: unlimited, Resume: resume})
		if r == nil {
			t.Fatal(err)
		}
		for _, x := range r.Info.ShareInfo.Value.(*srvsvc.ShareEnumUnion_Level1).Level1.Buffer {
			seen[x.NetworkName] = true
		}
		if r.Return == werrOK {
			break
		}
		if resume = r.Resume; r.Return != werrMoreData || resume == 0 || calls > 9 {
			t.Fatalf("%d %d", r.Return, resume)
		}
	}
	if len(seen) != len(w.shares)+1 {
		t.Errorf("%d shares", len(seen))
	}
	r, _ := c.ShareEnum(t.Context(), &srvsvc.ShareEnumRequest{Info: enumOf(0), PreferredMaximumLength: 1})
	if v := r.Info.ShareInfo.Value.(*srvsvc.ShareEnumUnion_Level0).Level0; r.Return != werrMoreData || len(v.Buffer) != 1 {
		t.Errorf("%d of them: %d", len(v.Buffer), r.Return)
	}
}

func TestSessions(t *testing.T) {
	w := newWorld()
	admin, user := srvsvcClient(t, w, theAdmin()), srvsvcClient(t, w, theUser())
	list := func(c srvsvc.SrvsvcClient, client string, level uint32, u *srvsvc.SessionEnumUnion) *srvsvc.SessionEnumResponse {
		r, _ := c.SessionEnum(t.Context(), &srvsvc.SessionEnumRequest{ClientName: client, Info: &srvsvc.SessionEnum{Level: level, SessionInfo: u}, PreferredMaximumLength: unlimited})
		return r
	}
	for level, u := range map[uint32]*srvsvc.SessionEnumUnion{
		0: {Value: &srvsvc.SessionEnumUnion_Level0{}}, 1: {Value: &srvsvc.SessionEnumUnion_Level1{}}, 2: {Value: &srvsvc.SessionEnumUnion_Level2{}},
		10: {Value: &srvsvc.SessionEnumUnion_Level10{}}, 502: {Value: &srvsvc.SessionEnumUnion_Level502{}},
	} {
		if r := list(admin, "", level, u); r.TotalEntries != 2 || r.Return != werrOK {
			t.Errorf("level %d: %+v", level, r)
		}
		wants(t, "a user's list", list(user, "", level, u).Return, werrAccessDenied)
	}
	one := list(admin, `\\10.0.0.1`, 1, &srvsvc.SessionEnumUnion{Value: &srvsvc.SessionEnumUnion_Level1{}}).Info.SessionInfo.Value.(*srvsvc.SessionEnumUnion_Level1).Level1.Buffer
	if len(one) != 1 || one[0].UserName != "admin" || one[0].ClientName != `\\10.0.0.1` || one[0].Time != 60 || one[0].IdleTime != 1 || one[0].NumOpens != 2 {
		t.Errorf("%+v", one)
	}
	conns := func(c srvsvc.SrvsvcClient, of string) *srvsvc.ConnectionEnumResponse {
		r, _ := c.ConnectionEnum(t.Context(), &srvsvc.ConnectionEnumRequest{
			Qualifier: of, Info: &srvsvc.ConnectEnum{Level: 1, ConnectInfo: &srvsvc.ConnectEnumUnion{Value: &srvsvc.ConnectEnumUnion_Level1{}}}, PreferredMaximumLength: unlimited,
		})
		return r
	}
	if b := conns(admin, "files").Info.ConnectInfo.Value.(*srvsvc.ConnectEnumUnion_Level1).Level1.Buffer; len(b) != 2 || b[1].NetworkName != `\\10.0.0.2` {
		t.Errorf("%+v", b)
	}
	if b := conns(admin, `\\10.0.0.2`).Info.ConnectInfo.Value.(*srvsvc.ConnectEnumUnion_Level1).Level1.Buffer; len(b) != 2 || b[1].NetworkName != "secret$" {
		t.Errorf("%+v", b)
	}
	wants(t, "connections to a user", conns(user, "files").Return, werrAccessDenied)
	del := func(c srvsvc.SrvsvcClient, client, user string) uint32 {
		r, _ := c.SessionDelete(t.Context(), &srvsvc.SessionDeleteRequest{ClientName: client, UserName: user})
		return r.Return
	}
	wants(t, "end by a user", del(user, "", "admin"), werrAccessDenied)
	wants(t, "end all", del(admin, "", ""), werrInvalid)
	wants(t, "end one's own", del(admin, "", "admin"), werrNoSession)
	wants(t, "end", del(admin, `\\10.0.0.2`, "JANE"), werrOK)
	wants(t, "end again", del(admin, `\\10.0.0.2`, "jane"), werrNoSession)
	if len(w.sessions) != 1 || w.sessions[0].ID != 1 {
		t.Errorf("%+v", w.sessions)
	}
}

func TestFiles(t *testing.T) {
	w := newWorld()
	admin, user := srvsvcClient(t, w, theAdmin()), srvsvcClient(t, w, theUser())
	list := func(c srvsvc.SrvsvcClient, base, of string) *srvsvc.FileEnumResponse {
		r, _ := c.FileEnum(t.Context(), &srvsvc.FileEnumRequest{
			BasePath: base, UserName: of, Info: &srvsvc.FileEnum{Level: 3, FileInfo: &srvsvc.FileEnumUnion{Value: &srvsvc.FileEnumUnion_Level3{}}}, PreferredMaximumLength: unlimited,
		})
		return r
	}
	files := func(base, of string) (out []string) {
		for _, x := range list(admin, base, of).Info.FileInfo.Value.(*srvsvc.FileEnumUnion_Level3).Level3.Buffer {
			out = append(out, fmt.Sprint(x.ID, x.PathName, x.UserName, x.Permissions, x.NumLocks))
		}
		return out
	}
	a, b := `5C:\a\badmin1 3`, `6C:\abjane7 0`
	for _, x := range []struct{ base, user, want string }{{"", "", a + b}, {`C:\`, "", a + b}, {`c:\A`, "", a}, {"", "JANE", b}, {`C:\c`, "", ""}} {
		if got := strings.Join(files(x.base, x.user), ""); got != x.want {
			t.Errorf("%q %q: %q, want %q", x.base, x.user, got, x.want)
		}
	}
	wants(t, "a user's list", list(user, "", "").Return, werrAccessDenied)
	i := must[*srvsvc.FileGetInfoResponse](t)(admin.FileGetInfo(t.Context(), &srvsvc.FileGetInfoRequest{FileID: 5, Level: 3}))
	if f := i.Info.Value.(*srvsvc.FileInfo_3).FileInfo3; f.PathName != `C:\a\b` {
		t.Errorf("%+v", f)
	}
	closes := func(c srvsvc.SrvsvcClient, id uint32) uint32 {
		r, _ := c.FileClose(t.Context(), &srvsvc.FileCloseRequest{FileID: id})
		return r.Return
	}
	wants(t, "close by a user", closes(user, 6), werrAccessDenied)
	wants(t, "close nothing", closes(admin, 7), werrNoFile)
	wants(t, "close", closes(admin, 6), werrOK)
	if len(w.opens) != 1 {
		t.Errorf("%+v", w.opens)
	}
}

// A level that there is not is answered so, in the shape that clients expect.
func TestUnknownLevels(t *testing.T) {
	c := dial(t, newServer(t, newWorld()), "srvsvc", theUser())
	must[any](t)(c.Bind(t.Context()))
	out, err := c.stub(21, append(make([]byte, 4), 0xe7, 3, 0, 0)) // NetrServerGetInfo 999
	if err != nil || len(out) != 12 || le.Uint32(out) != 999 || le.Uint32(out[4:]) != 0 || le.Uint32(out[8:]) != werrInvalidLevel {
		t.Errorf("%x %v", out, err)
	}
}

func TestServer(t *testing.T) {
	w := newWorld()
	c := srvsvcClient(t, w, theUser())
	r := must[*srvsvc.GetInfoResponse](t)(c.GetInfo(t.Context(), &srvsvc.GetInfoRequest{Level: 101}))
	if i := r.Info.Value.(*srvsvc.ServerInfo_101).ServerInfo101; i.Name != "BOX" || i.Comment != "manifold" || i.VersionType != serverType {
		t.Errorf("%+v", i)
	}
	tod := must[*srvsvc.RemoteToDResponse](t)(c.RemoteToD(t.Context(), &srvsvc.RemoteToDRequest{})).BufferPointer
	if tod.ElapsedTime != uint32(testNow.Unix()) || tod.Hours != 6 || tod.Hunds != 9 || tod.Weekday != 4 || tod.Msecs != 3600_000 {
		t.Errorf("%+v", tod)
	}
	for name, want := range map[string]uint32{"good name": werrOK, "bad/name": werrInvalidName, "": werrInvalidName, strings.Repeat("x", 81): werrInvalidName} {
		r, _ := c.NameValidate(t.Context(), &srvsvc.NameValidateRequest{Name: name, NameType: 9})
		wants(t, fmt.Sprintf("name %q", name), r.Return, want)
	}
	disks, _ := srvsvcClient(t, w, theNobody()).DiskEnum(t.Context(), &srvsvc.DiskEnumRequest{DiskInfo: &srvsvc.DiskEnumContainer{}})
	wants(t, "a guest's drives", disks.Return, werrAccessDenied)
	disks = must[*srvsvc.DiskEnumResponse](t)(c.DiskEnum(t.Context(), &srvsvc.DiskEnumRequest{DiskInfo: &srvsvc.DiskEnumContainer{}}))
	if disks.TotalEntries != 1 || disks.DiskInfo.Buffer[0].Disk != "C:" {
		t.Errorf("%+v", disks)
	}
	wk := must[wkssvc.WkssvcClient](t)(wkssvc.NewWkssvcClient(t.Context(), dial(t, newServer(t, w), "wkssvc", theUser())))
	i := must[*wkssvc.GetInfoResponse](t)(wk.GetInfo(t.Context(), &wkssvc.GetInfoRequest{Level: 100}))
	if x := i.WorkstationInfo.Value.(*wkssvc.WorkstationInfo_100).WorkstationInfo100; x.ComputerName != "BOX" || x.LANGroup != "WORKGROUP" {
		t.Errorf("%+v", x)
	}
	j := must[*wkssvc.GetJoinInformationResponse](t)(wk.GetJoinInformation(t.Context(), &wkssvc.GetJoinInformationRequest{}))
	if j.NameBuffer != "WORKGROUP" || j.BufferType != wkssvc.NetsetupJoinStatusSetupWorkgroupName {
		t.Errorf("%+v", j)
	}
}
