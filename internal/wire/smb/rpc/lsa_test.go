package rpc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oiweiwei/go-msrpc/msrpc/dtyp"
	lsad "github.com/oiweiwei/go-msrpc/msrpc/lsad/lsarpc/v0"
	lsat "github.com/oiweiwei/go-msrpc/msrpc/lsat/lsarpc/v0"
)

// openLSA opens the policy and answers both halves of the interface on it.
func openLSA(t *testing.T, who *Caller) (lsad.LsarpcClient, lsat.LsarpcClient, *lsad.Handle) {
	t.Helper()
	c := dial(t, newServer(t, newWorld()), "lsarpc", who)
	p := must[lsad.LsarpcClient](t)(lsad.NewLsarpcClient(t.Context(), c))
	n := must[lsat.LsarpcClient](t)(lsat.NewLsarpcClient(t.Context(), c))
	r := must[*lsad.OpenPolicyResponse](t)(p.OpenPolicy(t.Context(), &lsad.OpenPolicyRequest{ObjectAttributes: &lsad.ObjectAttributes{}}))
	return p, n, r.Policy
}

var lsaNamesTable = []struct {
	name, sid, full string
	use             uint32
}{
	{"admin", "S-1-5-21-7-8-9-500", `BOX\admin`, useUser},
	{`box\JANE`, "S-1-5-21-7-8-9-1000", `BOX\jane`, useUser},
	{"jane@box", "S-1-5-21-7-8-9-1000", `BOX\jane`, useUser},
	{"users", "S-1-5-21-7-8-9-513", `BOX\Users`, useGroup},
	{`builtin\users`, "S-1-5-32-545", `BUILTIN\Users`, useAlias},
	{"GRÜN𝄞", "S-1-5-21-7-8-9-1001", `BOX\grün𝄞`, useGroup},
	{"everyone", "S-1-1-0", `\Everyone`, useWellKnown},
	{`NT AUTHORITY\System`, "S-1-5-18", `NT AUTHORITY\SYSTEM`, useWellKnown},
	{`Unix User\1000`, "S-1-5-88-1-1000", `Unix User\1000`, useUser},
	{"BOX", "S-1-5-21-7-8-9", `BOX\`, useDomain},
	{`BUILTIN\`, "S-1-5-32", `BUILTIN\`, useDomain},
}

func TestLookup(t *testing.T) {
	_, c, h := openLSA(t, theUser())
	var names []*dtyp.UnicodeString
	in := &lsat.SIDEnumBuffer{}
	for _, x := range lsaNamesTable {
		names = append(names, unicode(x.name))
		in.SIDInfo = append(in.SIDInfo, &lsat.SIDInformation{SID: wireSID(mustSID(x.sid))})
	}
	n := uint32(len(names))
	in.Entries = n
	domain := func(l *lsat.ReferencedDomainList, i int32) string { return l.Domains[i].Name.Buffer }
	r1 := must[*lsat.LookupNamesResponse](t)(c.LookupNames(t.Context(), &lsat.LookupNamesRequest{Policy: (*lsat.Handle)(h), Count: n, Names: names, TranslatedSIDs: &lsat.TranslatedSIDs{}, LookupLevel: 1}))
	r2 := must[*lsat.LookupNames2Response](t)(c.LookupNames2(t.Context(), &lsat.LookupNames2Request{Policy: (*lsat.Handle)(h), Count: n, Names: names, TranslatedSIDs: &lsat.TranslatedSIDsEx{}, LookupLevel: 1}))
	r3 := must[*lsat.LookupNames3Response](t)(c.LookupNames3(t.Context(), &lsat.LookupNames3Request{Policy: (*lsat.Handle)(h), Count: n, Names: names, TranslatedSIDs: &lsat.TranslatedSIDsEx2{}, LookupLevel: 1}))
	r4 := must[*lsat.LookupNames4Response](t)(c.LookupNames4(t.Context(), &lsat.LookupNames4Request{Count: n, Names: names, TranslatedSIDs: &lsat.TranslatedSIDsEx2{}, LookupLevel: 1}))
	s1 := must[*lsat.LookupSIDsResponse](t)(c.LookupSIDs(t.Context(), &lsat.LookupSIDsRequest{Policy: (*lsat.Handle)(h), SIDEnumBuffer: in, TranslatedNames: &lsat.TranslatedNames{}, LookupLevel: 1}))
	s2 := must[*lsat.LookupSids2Response](t)(c.LookupSids2(t.Context(), &lsat.LookupSids2Request{Policy: (*lsat.Handle)(h), SIDEnumBuffer: in, TranslatedNames: &lsat.TranslatedNamesEx{}, LookupLevel: 1}))
	s3 := must[*lsat.LookupSids3Response](t)(c.LookupSids3(t.Context(), &lsat.LookupSids3Request{SIDEnumBuffer: in, TranslatedNames: &lsat.TranslatedNamesEx{}, LookupLevel: 1}))
	for i, x := range lsaNamesTable {
		want := mustSID(x.sid)
		d, rid, _ := split(want)
		if x.use == useDomain {
			d, rid = want, unlimited
		}
		for _, got := range []struct {
			use, rid uint32
			at       int32
			in       *lsat.ReferencedDomainList
		}{
			{uint32(r1.TranslatedSIDs.SIDs[i].Use), r1.TranslatedSIDs.SIDs[i].RelativeID, r1.TranslatedSIDs.SIDs[i].DomainIndex, r1.ReferencedDomains},
			{uint32(r2.TranslatedSIDs.SIDs[i].Use), r2.TranslatedSIDs.SIDs[i].RelativeID, r2.TranslatedSIDs.SIDs[i].DomainIndex, r2.ReferencedDomains},
		} {
			if s, _ := sidOf(got.in.Domains[got.at].SID); s != d || got.rid != rid || got.use != x.use {
				t.Errorf("%s is %s %d, kind %d", x.name, s, got.rid, got.use)
			}
		}
		for _, got := range []*lsat.TranslatedSIDEx2{r3.TranslatedSIDs.SIDs[i], r4.TranslatedSIDs.SIDs[i]} {
			if s, _ := sidOf(got.SID); s != want || uint32(got.Use) != x.use {
				t.Errorf("%s is %s", x.name, s)
			}
		}
		for _, got := range []string{
			domain(s1.ReferencedDomains, s1.TranslatedNames.Names[i].DomainIndex) + `\` + s1.TranslatedNames.Names[i].Name.Buffer,
			domain(s2.ReferencedDomains, s2.TranslatedNames.Names[i].DomainIndex) + `\` + s2.TranslatedNames.Names[i].Name.Buffer,
			domain(s3.ReferencedDomains, s3.TranslatedNames.Names[i].DomainIndex) + `\` + s3.TranslatedNames.Names[i].Name.Buffer,
		} {
			if got != x.full {
				t.Errorf("%s is %s, want %s", x.sid, got, x.full)
			}
		}
	}
}

func TestLookup_unknown(t *testing.T) {
	_, c, h := openLSA(t, theUser())
	names := func(list ...string) *lsat.LookupNames2Response {
		q := &lsat.LookupNames2Request{Policy: (*lsat.Handle)(h), Count: uint32(len(list)), TranslatedSIDs: &lsat.TranslatedSIDsEx{}, LookupLevel: 1}
		for _, n := range list {
			q.Names = append(q.Names, unicode(n))
		}
		r, err := c.LookupNames2(t.Context(), q)
		if r == nil {
			t.Fatal(err)
		}
		return r
	}
	if r := names("nobody", `OTHER\admin`, ""); r.Return != ntNoneMapped || r.TranslatedSIDs.SIDs[0].Use != useUnknown || r.TranslatedSIDs.SIDs[0].DomainIndex != -1 {
		t.Errorf("%+v", r)
	}
	if r := names("nobody", "admin"); r.Return != ntSomeNotMapped || r.MappedCount != 1 {
		t.Errorf("%+v", r)
	}
	r, _ := c.LookupSIDs(t.Context(), &lsat.LookupSIDsRequest{
		Policy: (*lsat.Handle)(h), TranslatedNames: &lsat.TranslatedNames{}, LookupLevel: 1,
		SIDEnumBuffer: &lsat.SIDEnumBuffer{Entries: 2, SIDInfo: []*lsat.SIDInformation{{SID: wireSID(mustSID("S-1-5-21-1-2-3-4"))}, {SID: wireSID(mustSID("S-1-5-21-7-8-9-4444"))}}},
	})
	if n := r.TranslatedNames.Names; r.Return != ntNoneMapped || n[0].Name.Buffer != "S-1-5-21-1-2-3-4" || n[0].DomainIndex != -1 || n[1].DomainIndex != 0 {
		t.Errorf("%+v", r)
	}
	h.UUID.Data1++
	if r := names("admin"); r.Return != ntInvalidHandle {
		t.Errorf("%08x", uint32(r.Return))
	}
}

func TestPolicy(t *testing.T) {
	p, n, h := openLSA(t, theAdmin())
	r := must[*lsad.QueryInformationPolicyResponse](t)(p.QueryInformationPolicy(t.Context(), &lsad.QueryInformationPolicyRequest{Policy: h, InformationClass: lsad.PolicyInformationClassAccountDomainInformation}))
	d := r.PolicyInformation.Value.(*lsad.PolicyInformation_PolicyAccountDomainInfo).PolicyAccountDomainInfo
	if s, _ := sidOf(d.DomainSID); d.DomainName.Buffer != "BOX" || s.String() != "S-1-5-21-7-8-9" {
		t.Errorf("%+v", d)
	}
	if _, err := p.QueryInformationPolicy(t.Context(), &lsad.QueryInformationPolicyRequest{Policy: h, InformationClass: 8}); err == nil {
		t.Error("there is no such class")
	}
	all := must[*lsad.EnumerateAccountsResponse](t)(p.EnumerateAccounts(t.Context(), &lsad.EnumerateAccountsRequest{Policy: h, PreferredMaximumLength: unlimited}))
	for _, x := range all.EnumerationBuffer.Information {
		rights := must[*lsad.EnumerateAccountRightsResponse](t)(p.EnumerateAccountRights(t.Context(), &lsad.EnumerateAccountRightsRequest{Policy: h, AccountSID: x.SID}))
		a := must[*lsad.OpenAccountResponse](t)(p.OpenAccount(t.Context(), &lsad.OpenAccountRequest{Policy: h, AccountSID: x.SID}))
		privs := must[*lsad.EnumeratePrivilegesAccountResponse](t)(p.EnumeratePrivilegesAccount(t.Context(), &lsad.EnumeratePrivilegesAccountRequest{Account: a.Account}))
		if len(rights.UserRights.UserRights) != len(privileges) || len(privs.Privileges.Privilege) != len(privileges) {
			t.Errorf("%+v %+v", rights, privs)
		}
		for i, name := range rights.UserRights.UserRights {
			v := must[*lsad.LookupPrivilegeValueResponse](t)(p.LookupPrivilegeValue(t.Context(), &lsad.LookupPrivilegeValueRequest{Policy: h, Name: name}))
			back := must[*lsad.LookupPrivilegeNameResponse](t)(p.LookupPrivilegeName(t.Context(), &lsad.LookupPrivilegeNameRequest{Policy: h, Value: v.Value}))
			text := must[*lsad.LookupPrivilegeDisplayNameResponse](t)(p.LookupPrivilegeDisplayName(t.Context(), &lsad.LookupPrivilegeDisplayNameRequest{Policy: h, Name: name}))
			if v.Value.LowPart != privs.Privileges.Privilege[i].LUID.LowPart || back.Name.Buffer != name.Buffer || text.DisplayName.Buffer == "" {
				t.Errorf("%s is %+v, %+v", name.Buffer, v.Value, back.Name)
			}
		}
	}
	who := must[*lsat.GetUserNameResponse](t)(n.GetUserName(t.Context(), &lsat.GetUserNameRequest{}))
	if got := fmt.Sprint(who.DomainName.Buffer, who.UserName.Buffer); got != "BOXadmin" {
		t.Error(got)
	}
	must[*lsad.CloseResponse](t)(p.Close(t.Context(), &lsad.CloseRequest{Object: h}))
	if r, _ := p.EnumeratePrivileges(t.Context(), &lsad.EnumeratePrivilegesRequest{Policy: h}); r.Return != ntInvalidHandle {
		t.Errorf("a closed handle: %08x", uint32(r.Return))
	}
}

func TestPolicy_refused(t *testing.T) {
	c := dial(t, newServer(t, newWorld()), "lsarpc", theNobody())
	p := must[lsad.LsarpcClient](t)(lsad.NewLsarpcClient(t.Context(), c))
	if r, _ := p.OpenPolicy2(t.Context(), &lsad.OpenPolicy2Request{ObjectAttributes: &lsad.ObjectAttributes{}}); r.Return != ntAccessDenied {
		t.Errorf("anonymous: %08x", uint32(r.Return))
	}
	n := must[lsat.LsarpcClient](t)(lsat.NewLsarpcClient(t.Context(), c))
	if r, _ := n.LookupNames4(t.Context(), &lsat.LookupNames4Request{Count: 1, Names: []*dtyp.UnicodeString{unicode("admin")}, TranslatedSIDs: &lsat.TranslatedSIDsEx2{}, LookupLevel: 1}); r.Return != ntAccessDenied {
		t.Errorf("anonymous lookup: %08x", uint32(r.Return))
	}
	c.who = theUser()
	for range maxHandles {
		must[*lsad.OpenPolicy2Response](t)(p.OpenPolicy2(t.Context(), &lsad.OpenPolicy2Request{ObjectAttributes: &lsad.ObjectAttributes{}}))
	}
	if r, _ := p.OpenPolicy2(t.Context(), &lsad.OpenPolicy2Request{ObjectAttributes: &lsad.ObjectAttributes{}}); r.Return != ntResources {
		t.Errorf("one handle too many: %08x", uint32(r.Return))
	}
	if _, err := p.CreateAccount(t.Context(), &lsad.CreateAccountRequest{Policy: &lsad.Handle{}, AccountSID: wireSID(worldDomain)}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%08x", uint32(faultOperation))) {
		t.Errorf("rights are not given: %v", err)
	}
}
