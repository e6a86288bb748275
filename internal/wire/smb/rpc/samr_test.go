package rpc

import (
	"fmt"
	"testing"

	"github.com/oiweiwei/go-msrpc/msrpc/dtyp"
	samr "github.com/oiweiwei/go-msrpc/msrpc/samr/samr/v1"

	"manifold/internal/identity/sid"
)

func openSAM(t *testing.T) (c samr.SamrClient, server *samr.Handle, domain func(sid.SID) *samr.Handle) {
	t.Helper()
	c = must[samr.SamrClient](t)(samr.NewSamrClient(t.Context(), dial(t, newServer(t, newWorld()), "samr", theAdmin())))
	r := must[*samr.Connect5Response](t)(c.Connect5(t.Context(), &samr.Connect5Request{InVersion: 1, InRevisionInfo: &samr.RevisionInfo{Value: &samr.RevisionInfo_V1{V1: &samr.RevisionInfoV1{Revision: 3}}}}))
	return c, r.Server, func(s sid.SID) *samr.Handle {
		return must[*samr.OpenDomainResponse](t)(c.OpenDomain(t.Context(), &samr.OpenDomainRequest{Server: r.Server, DomainID: wireSID(s)})).Domain
	}
}

func listed(b *samr.EnumerationBuffer) string {
	out := ""
	for _, x := range b.Buffer {
		out += fmt.Sprintf("%s=%d ", x.Name.Buffer, x.RelativeID)
	}
	return out
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestSAM_lists(t *testing.T) {
	ctx := t.Context()
	c, server, domain := openSAM(t)
	ds := must[*samr.EnumerateDomainsInSAMServerResponse](t)(c.EnumerateDomainsInSAMServer(ctx, &samr.EnumerateDomainsInSAMServerRequest{Server: server, PreferredMaximumLength: unlimited}))
	same(t, "domains", listed(ds.Buffer), "BOX=0 Builtin=0 ")
	l := must[*samr.LookupDomainInSAMServerResponse](t)(c.LookupDomainInSAMServer(ctx, &samr.LookupDomainInSAMServerRequest{Server: server, Name: unicode("box")}))
	box, _ := sidOf(l.DomainID)
	d, b := domain(box), domain(builtinDomain)
	users := must[*samr.EnumerateUsersInDomainResponse](t)(c.EnumerateUsersInDomain(ctx, &samr.EnumerateUsersInDomainRequest{Domain: d, PreferredMaximumLength: unlimited}))
	same(t, "users", listed(users.Buffer), "admin=500 guest=501 jane=1000 ")
	groups := must[*samr.EnumerateGroupsInDomainResponse](t)(c.EnumerateGroupsInDomain(ctx, &samr.EnumerateGroupsInDomainRequest{Domain: d, PreferredMaximumLength: unlimited}))
	same(t, "groups", listed(groups.Buffer), "Administrators=512 Users=513 Guests=514 grün𝄞=1001 ")
	aliases := must[*samr.EnumerateAliasesInDomainResponse](t)(c.EnumerateAliasesInDomain(ctx, &samr.EnumerateAliasesInDomainRequest{Domain: b, PreferredMaximumLength: unlimited}))
	same(t, "aliases", listed(aliases.Buffer), "Administrators=544 Users=545 Guests=546 ")
	// One at a time.
	got, at := "", uint32(0)
	for range 5 {
		r, _ := c.EnumerateUsersInDomain(ctx, &samr.EnumerateUsersInDomainRequest{Domain: d, EnumerationContext: at, PreferredMaximumLength: 1})
		got += listed(r.Buffer)
		if at = r.EnumerationContext; r.Return != ntMoreEntries {
			break
		}
	}
	same(t, "users one by one", got, "admin=500 guest=501 jane=1000 ")
	for class := samr.DomainInformationClassPasswordInformation; class <= samr.DomainInformationClassModifiedInformation2; class++ {
		if _, err := c.QueryInformationDomain2(ctx, &samr.QueryInformationDomain2Request{Domain: d, DomainInformationClass: class}); (err != nil) != (class == 10) {
			t.Errorf("class %d of a domain: %v", class, err)
		}
	}
	for class := samr.DomainDisplayInformationUser; class <= samr.DomainDisplayInformationOEMGroup; class++ {
		r := must[*samr.QueryDisplayInformation3Response](t)(c.QueryDisplayInformation3(ctx, &samr.QueryDisplayInformation3Request{Domain: d, DisplayInformationClass: class, EntryCount: 100, PreferredMaximumLength: unlimited}))
		if u, ok := r.Buffer.Value.(*samr.DisplayInfoBuffer_UserInformation); ok && (len(u.UserInformation.Buffer) != 3 || u.UserInformation.Buffer[1].AccountControl&accountDisabled == 0) {
			t.Errorf("%+v", u.UserInformation)
		}
	}
}

func TestSAM_lookups(t *testing.T) {
	ctx := t.Context()
	c, _, domain := openSAM(t)
	d, b := domain(newWorld().Domain()), domain(builtinDomain)
	n, _ := c.LookupNamesInDomain(ctx, &samr.LookupNamesInDomainRequest{Domain: d, Count: 3, Names: []*dtyp.UnicodeString{unicode("JANE"), unicode("nobody"), unicode("users")}})
	same(t, "names", fmt.Sprint(n.RelativeIDs.Element, n.Use.Element, uint32(n.Return)), fmt.Sprint([]uint32{1000, 0, 513}, []uint32{useUser, useUnknown, useGroup}, ntSomeNotMapped))
	r, _ := c.LookupIDsInDomain(ctx, &samr.LookupIDsInDomainRequest{Domain: b, Count: 2, RelativeIDs: []uint32{545, 1}})
	same(t, "ids", r.Names.Element[0].Buffer+fmt.Sprint(r.Use.Element), "Users"+fmt.Sprint([]uint32{useAlias, useUnknown}))
	m := must[*samr.GetAliasMembershipResponse](t)(c.GetAliasMembership(ctx, &samr.GetAliasMembershipRequest{Domain: b, SIDArray: &samr.SIDArray{Count: 2, SIDs: []*samr.SIDInformation{
		{SIDPointer: wireSID(mustSID("S-1-5-21-7-8-9-500"))}, {SIDPointer: wireSID(mustSID("S-1-5-21-7-8-9-512"))},
	}}}))
	same(t, "aliases of a group", fmt.Sprint(m.Membership.Element), "[544]")
	s := must[*samr.RIDToSIDResponse](t)(c.RIDToSID(ctx, &samr.RIDToSIDRequest{Object: d, RID: 500}))
	x, _ := sidOf(s.SID)
	same(t, "SID", x.String(), "S-1-5-21-7-8-9-500")
}

func TestSAM_accounts(t *testing.T) {
	ctx := t.Context()
	c, _, domain := openSAM(t)
	d, b := domain(newWorld().Domain()), domain(builtinDomain)
	u := must[*samr.OpenUserResponse](t)(c.OpenUser(ctx, &samr.OpenUserRequest{Domain: d, UserID: 500})).UserHandle
	for class := samr.UserInformationClassGeneralInformation; class <= samr.UserInformationClassAllInformation; class++ {
		_, err := c.QueryInformationUser2(ctx, &samr.QueryInformationUser2Request{UserHandle: u, UserInformationClass: class})
		if unknown := class == 15 || class == 18 || class == 19; (err != nil) != unknown {
			t.Errorf("class %d of a user: %v", class, err)
		}
	}
	all := must[*samr.QueryInformationUserResponse](t)(c.QueryInformationUser(ctx, &samr.QueryInformationUserRequest{UserHandle: u, UserInformationClass: samr.UserInformationClassAllInformation}))
	a := all.Buffer.Value.(*samr.UserInfoBuffer_All).All
	same(t, "user", fmt.Sprint(a.UserName.Buffer, a.UserID, a.PrimaryGroupID, a.UserAccountControl, a.HomeDirectory.Buffer, len(a.LogonHours.LogonHours), a.NTPasswordPresent), `admin500 513 528C:\home\admin21 0`)
	gs := must[*samr.GetGroupsForUserResponse](t)(c.GetGroupsForUser(ctx, &samr.GetGroupsForUserRequest{UserHandle: u}))
	same(t, "groups", fmt.Sprint(len(gs.Groups.Groups), gs.Groups.Groups[0].RelativeID, gs.Groups.Groups[1].RelativeID), "2 512 513")
	g := must[*samr.OpenGroupResponse](t)(c.OpenGroup(ctx, &samr.OpenGroupRequest{Domain: d, GroupID: 513})).GroupHandle
	for class := samr.GroupInformationClassGeneralInformation; class <= samr.GroupInformationClassReplicationInformation; class++ {
		must[*samr.QueryInformationGroupResponse](t)(c.QueryInformationGroup(ctx, &samr.QueryInformationGroupRequest{GroupHandle: g, GroupInformationClass: class}))
	}
	ms := must[*samr.GetMembersInGroupResponse](t)(c.GetMembersInGroup(ctx, &samr.GetMembersInGroupRequest{GroupHandle: g}))
	same(t, "members", fmt.Sprint(ms.Members.Members), "[500 1000]")
	al := must[*samr.OpenAliasResponse](t)(c.OpenAlias(ctx, &samr.OpenAliasRequest{Domain: b, AliasID: 544})).AliasHandle
	for class := samr.AliasInformationClassGeneralInformation; class <= samr.AliasInformationClassAdminCommentInformation; class++ {
		must[*samr.QueryInformationAliasResponse](t)(c.QueryInformationAlias(ctx, &samr.QueryInformationAliasRequest{AliasHandle: al, AliasInformationClass: class}))
	}
	as := must[*samr.GetMembersInAliasResponse](t)(c.GetMembersInAlias(ctx, &samr.GetMembersInAliasRequest{AliasHandle: al}))
	x, _ := sidOf(as.Members.SIDs[0].SIDPointer)
	same(t, "members of an alias", x.String(), "S-1-5-21-7-8-9-512")
	for what, st := range map[string]func() (int32, int32){
		"user": func() (int32, int32) {
			r, _ := c.OpenUser(ctx, &samr.OpenUserRequest{Domain: d, UserID: 513})
			return r.Return, ntNoSuchUser
		},
		"group": func() (int32, int32) {
			r, _ := c.OpenGroup(ctx, &samr.OpenGroupRequest{Domain: d, GroupID: 500})
			return r.Return, ntNoSuchGroup
		},
		"alias": func() (int32, int32) {
			r, _ := c.OpenAlias(ctx, &samr.OpenAliasRequest{Domain: d, AliasID: 544})
			return r.Return, ntNoSuchAlias
		},
		"kind": func() (int32, int32) {
			r, _ := c.GetMembersInGroup(ctx, &samr.GetMembersInGroupRequest{GroupHandle: u})
			return r.Return, ntInvalidHandle
		},
	} {
		if got, want := st(); got != want {
			t.Errorf("wrong %s: %08x, want %08x", what, uint32(got), uint32(want))
		}
	}
}

// Only administrators look into the database of accounts.
func TestSAM_refused(t *testing.T) {
	for _, who := range []*Caller{theUser(), theNobody()} {
		c := must[samr.SamrClient](t)(samr.NewSamrClient(t.Context(), dial(t, newServer(t, newWorld()), "samr", who)))
		if r, _ := c.Connect2(t.Context(), &samr.Connect2Request{}); r.Return != ntAccessDenied {
			t.Errorf("%q: %08x", who.User, uint32(r.Return))
		}
	}
}
