package rpc

import (
	"context"
	"strings"

	"github.com/oiweiwei/go-msrpc/msrpc/dtyp"
	lsad "github.com/oiweiwei/go-msrpc/msrpc/lsad/lsarpc/v0"

	"manifold/internal/identity/sid"
)

// lsaPolicy answers the rest of lsarpc, [MS-LSAD], for reading.
type lsaPolicy struct {
	lsad.UnimplementedLsarpcServer
	*call
}

// privileges of Windows that the file system knows, with their numbers and
// whether administrators have them.
var privileges = []struct {
	name, text string
	luid       uint32
}{
	{"SeSecurityPrivilege", "Manage auditing and security log", 8},
	{"SeTakeOwnershipPrivilege", "Take ownership of files or other objects", 9},
	{"SeBackupPrivilege", "Back up files and directories", 17},
	{"SeRestorePrivilege", "Restore files and directories", 18},
	{"SeChangeNotifyPrivilege", "Bypass traverse checking", 23},
}

// account is an open handle of somebody who may have rights.
type account struct{ sid sid.SID }

// privileged lists who has privileges: administrators.
func (c *call) privileged() []sid.SID {
	return []sid.SID{join(builtinDomain, 544), join(c.s.o.Accounts.Domain(), 512)}
}

func (c *call) isPrivileged(s sid.SID) bool {
	for _, p := range c.privileged() {
		if p == s {
			return true
		}
	}
	return false
}

// openPolicy is [MS-LSAD] 3.1.4.4.2, and the next with it.
func (s *lsaPolicy) openPolicy() (*lsad.Handle, int32) {
	if s.who.User == "" {
		return nil, ntAccessDenied
	}
	h := s.newHandle(policy{})
	if h == nil {
		return nil, ntResources
	}
	return (*lsad.Handle)(h), ntOK
}

// OpenPolicy2 is [MS-LSAD] 3.1.4.4.1.
func (s *lsaPolicy) OpenPolicy2(context.Context, *lsad.OpenPolicy2Request) (*lsad.OpenPolicy2Response, error) {
	h, st := s.openPolicy()
	return &lsad.OpenPolicy2Response{Policy: h, Return: st}, nil
}

// Close is [MS-LSAD] 3.1.4.9.4.
func (s *lsaPolicy) Close(_ context.Context, q *lsad.CloseRequest) (*lsad.CloseResponse, error) {
	if !s.closeHandle(q.Object.ContextHandle()) {
		return &lsad.CloseResponse{Object: q.Object, Return: ntInvalidHandle}, nil
	}
	return &lsad.CloseResponse{Object: &lsad.Handle{}}, nil
}

func (s *lsaPolicy) isPolicy(h *lsad.Handle) bool {
	_, ok := opened[policy](s.Association, h.ContextHandle())
	return ok
}

// information is what there is to say of the policy.
func (s *lsaPolicy) information(class lsad.PolicyInformationClass) *lsad.PolicyInformation {
	o := &s.s.o
	domain := &lsad.PolicyAccountDomInfo{DomainName: unicode(o.Name), DomainSID: wireSID(o.Accounts.Domain())}
	dns := &lsad.PolicyDNSDomainInfo{Name: unicode(o.Domain), DNSDomainName: unicode(""), DNSForestName: unicode(""), DomainGUID: &dtyp.GUID{Data4: make([]byte, 8)}}
	switch class {
	case lsad.PolicyInformationClassAuditEventsInformation:
		return &lsad.PolicyInformation{Value: &lsad.PolicyInformation_PolicyAuditEventsInfo{PolicyAuditEventsInfo: &lsad.PolicyAuditEventsInfo{}}}
	case lsad.PolicyInformationClassPrimaryDomainInformation:
		return &lsad.PolicyInformation{Value: &lsad.PolicyInformation_PolicyPrimaryDomainInfo{PolicyPrimaryDomainInfo: &lsad.PolicyPrimaryDomInfo{Name: unicode(o.Domain)}}}
	case lsad.PolicyInformationClassAccountDomainInformation:
		return &lsad.PolicyInformation{Value: &lsad.PolicyInformation_PolicyAccountDomainInfo{PolicyAccountDomainInfo: domain}}
	case lsad.PolicyInformationClassLocalAccountDomainInformation:
		return &lsad.PolicyInformation{Value: &lsad.PolicyInformation_PolicyLocalAccountDomainInfo{PolicyLocalAccountDomainInfo: domain}}
	case lsad.PolicyInformationClassLSAServerRoleInformation:
		return &lsad.PolicyInformation{Value: &lsad.PolicyInformation_PolicyServerRoleInfo{PolicyServerRoleInfo: &lsad.PolicyLSAServerRoleInfo{LSAServerRole: lsad.PolicyLSAServerRolePrimary}}}
	case lsad.PolicyInformationClassDNSDomainInformation:
		return &lsad.PolicyInformation{Value: &lsad.PolicyInformation_PolicyDNSDomainInfo{PolicyDNSDomainInfo: dns}}
	case lsad.PolicyInformationClassDNSDomainInformationInt:
		return &lsad.PolicyInformation{Value: &lsad.PolicyInformation_PolicyDNSDomainInfoInt{PolicyDNSDomainInfoInt: dns}}
	}
	return nil
}

// policyInfo answers a query, or the status that stands in its place.
func (s *lsaPolicy) policyInfo(ctx context.Context, h *lsad.Handle, class lsad.PolicyInformationClass) (*lsad.PolicyInformation, int32) {
	if !s.isPolicy(h) {
		return nil, ntInvalidHandle
	}
	if class == lsad.PolicyInformationClassAuditEventsInformation && !s.may(ctx, SeeShares) {
		return nil, ntAccessDenied
	}
	i := s.information(class)
	if i == nil {
		return nil, ntInvalidParameter
	}
	return i, ntOK
}

// answerNothing answers no data and a status.
func (c *call) answerNothing(st int32) {
	c.raw = le.AppendUint32(le.AppendUint32(nil, 0), uint32(st))
}

// QueryInformationPolicy is [MS-LSAD] 3.1.4.4.4.
func (s *lsaPolicy) QueryInformationPolicy(ctx context.Context, q *lsad.QueryInformationPolicyRequest) (*lsad.QueryInformationPolicyResponse, error) {
	i, st := s.policyInfo(ctx, q.Policy, q.InformationClass)
	if st != ntOK {
		s.answerNothing(st)
		return nil, nil
	}
	return &lsad.QueryInformationPolicyResponse{InformationClass: q.InformationClass, PolicyInformation: i}, nil
}

// QueryInformationPolicy2 is [MS-LSAD] 3.1.4.4.3.
func (s *lsaPolicy) QueryInformationPolicy2(ctx context.Context, q *lsad.QueryInformationPolicy2Request) (*lsad.QueryInformationPolicy2Response, error) {
	i, st := s.policyInfo(ctx, q.Policy, q.InformationClass)
	if st != ntOK {
		s.answerNothing(st)
		return nil, nil
	}
	return &lsad.QueryInformationPolicy2Response{InformationClass: q.InformationClass, PolicyInformation: i}, nil
}

// EnumerateTrustedDomains is [MS-LSAD] 3.1.4.7.8: there are none.
func (s *lsaPolicy) EnumerateTrustedDomains(_ context.Context, q *lsad.EnumerateTrustedDomainsRequest) (*lsad.EnumerateTrustedDomainsResponse, error) {
	r := &lsad.EnumerateTrustedDomainsResponse{EnumerationBuffer: &lsad.TrustedEnumBuffer{}, Return: ntNoMoreEntries}
	if !s.isPolicy(q.Policy) {
		r.Return = ntInvalidHandle
	}
	return r, nil
}

// EnumerateTrustedDomainsEx is [MS-LSAD] 3.1.4.7.9: there are none.
func (s *lsaPolicy) EnumerateTrustedDomainsEx(_ context.Context, q *lsad.EnumerateTrustedDomainsExRequest) (*lsad.EnumerateTrustedDomainsExResponse, error) {
	r := &lsad.EnumerateTrustedDomainsExResponse{EnumerationBuffer: &lsad.TrustedEnumBufferEx{}, Return: ntNoMoreEntries}
	if !s.isPolicy(q.Policy) {
		r.Return = ntInvalidHandle
	}
	return r, nil
}

// EnumerateAccounts is [MS-LSAD] 3.1.4.5.2: who has privileges.
func (s *lsaPolicy) EnumerateAccounts(ctx context.Context, q *lsad.EnumerateAccountsRequest) (*lsad.EnumerateAccountsResponse, error) {
	r := &lsad.EnumerateAccountsResponse{EnumerationBuffer: &lsad.AccountEnumBuffer{}}
	all := s.privileged()
	switch {
	case !s.isPolicy(q.Policy):
		r.Return = ntInvalidHandle
	case !s.may(ctx, SeeAccounts):
		r.Return = ntAccessDenied
	case q.EnumerationContext >= uint32(len(all)):
		r.Return = ntNoMoreEntries
	default:
		for _, x := range all[q.EnumerationContext:] {
			r.EnumerationBuffer.Information = append(r.EnumerationBuffer.Information, &lsad.AccountInformation{SID: wireSID(x)})
		}
		r.EnumerationBuffer.EntriesRead = uint32(len(r.EnumerationBuffer.Information))
		r.EnumerationContext = uint32(len(all))
	}
	return r, nil
}

// EnumerateAccountsWithUserRight is [MS-LSAD] 3.1.4.5.3.
func (s *lsaPolicy) EnumerateAccountsWithUserRight(ctx context.Context, q *lsad.EnumerateAccountsWithUserRightRequest) (*lsad.EnumerateAccountsWithUserRightResponse, error) {
	r := &lsad.EnumerateAccountsWithUserRightResponse{EnumerationBuffer: &lsad.AccountEnumBuffer{}}
	switch {
	case !s.isPolicy(q.Policy):
		r.Return = ntInvalidHandle
	case !s.may(ctx, SeeAccounts):
		r.Return = ntAccessDenied
	case q.UserRight == nil || luidOf(q.UserRight.Buffer) == 0:
		r.Return = ntNoSuchPrivilege
	default:
		for _, x := range s.privileged() {
			r.EnumerationBuffer.Information = append(r.EnumerationBuffer.Information, &lsad.AccountInformation{SID: wireSID(x)})
		}
		r.EnumerationBuffer.EntriesRead = uint32(len(r.EnumerationBuffer.Information))
	}
	return r, nil
}

// EnumerateAccountRights is [MS-LSAD] 3.1.4.5.10.
func (s *lsaPolicy) EnumerateAccountRights(_ context.Context, q *lsad.EnumerateAccountRightsRequest) (*lsad.EnumerateAccountRightsResponse, error) {
	r := &lsad.EnumerateAccountRightsResponse{UserRights: &lsad.UserRightSet{}}
	who, ok := sidOf(q.AccountSID)
	switch {
	case !s.isPolicy(q.Policy):
		r.Return = ntInvalidHandle
	case !ok:
		r.Return = ntInvalidParameter
	case !s.isPrivileged(who):
		r.Return = ntNotFound
	default:
		for _, p := range privileges {
			r.UserRights.UserRights = append(r.UserRights.UserRights, unicode(p.name))
		}
		r.UserRights.Entries = uint32(len(privileges))
	}
	return r, nil
}

// OpenAccount is [MS-LSAD] 3.1.4.5.3.
func (s *lsaPolicy) OpenAccount(_ context.Context, q *lsad.OpenAccountRequest) (*lsad.OpenAccountResponse, error) {
	r := &lsad.OpenAccountResponse{}
	who, ok := sidOf(q.AccountSID)
	switch {
	case !s.isPolicy(q.Policy):
		r.Return = ntInvalidHandle
	case !ok:
		r.Return = ntInvalidParameter
	case !s.isPrivileged(who):
		r.Return = ntNotFound
	default:
		if r.Account = (*lsad.Handle)(s.newHandle(account{who})); r.Account == nil {
			r.Return = ntResources
		}
	}
	return r, nil
}

// EnumeratePrivilegesAccount is [MS-LSAD] 3.1.4.5.4.
func (s *lsaPolicy) EnumeratePrivilegesAccount(_ context.Context, q *lsad.EnumeratePrivilegesAccountRequest) (*lsad.EnumeratePrivilegesAccountResponse, error) {
	r := &lsad.EnumeratePrivilegesAccountResponse{Privileges: &lsad.PrivilegeSet{}}
	if _, ok := opened[account](s.Association, q.Account.ContextHandle()); !ok {
		r.Return = ntInvalidHandle
		return r, nil
	}
	for _, p := range privileges {
		r.Privileges.Privilege = append(r.Privileges.Privilege, &lsad.LUIDAndAttributes{LUID: &dtyp.LUID{LowPart: p.luid}})
	}
	r.Privileges.PrivilegeCount = uint32(len(privileges))
	return r, nil
}

// GetSystemAccessAccount is [MS-LSAD] 3.1.4.5.7: sign in over the network only.
func (s *lsaPolicy) GetSystemAccessAccount(_ context.Context, q *lsad.GetSystemAccessAccountRequest) (*lsad.GetSystemAccessAccountResponse, error) {
	if _, ok := opened[account](s.Association, q.Account.ContextHandle()); !ok {
		return &lsad.GetSystemAccessAccountResponse{Return: ntInvalidHandle}, nil
	}
	return &lsad.GetSystemAccessAccountResponse{SystemAccess: 2}, nil
}

// EnumeratePrivileges is [MS-LSAD] 3.1.4.8.1.
func (s *lsaPolicy) EnumeratePrivileges(_ context.Context, q *lsad.EnumeratePrivilegesRequest) (*lsad.EnumeratePrivilegesResponse, error) {
	r := &lsad.EnumeratePrivilegesResponse{EnumerationBuffer: &lsad.PrivilegeEnumBuffer{}}
	switch {
	case !s.isPolicy(q.Policy):
		r.Return = ntInvalidHandle
	case q.EnumerationContext >= uint32(len(privileges)):
		r.Return = ntNoMoreEntries
	default:
		for _, p := range privileges[q.EnumerationContext:] {
			r.EnumerationBuffer.Privileges = append(r.EnumerationBuffer.Privileges, &lsad.PolicyPrivilegeDefinition{Name: unicode(p.name), LocalValue: &dtyp.LUID{LowPart: p.luid}})
		}
		r.EnumerationBuffer.Entries = uint32(len(r.EnumerationBuffer.Privileges))
		r.EnumerationContext = uint32(len(privileges))
	}
	return r, nil
}

func luidOf(name string) uint32 {
	for _, p := range privileges {
		if strings.EqualFold(p.name, name) {
			return p.luid
		}
	}
	return 0
}

// LookupPrivilegeValue is [MS-LSAD] 3.1.4.8.2.
func (s *lsaPolicy) LookupPrivilegeValue(_ context.Context, q *lsad.LookupPrivilegeValueRequest) (*lsad.LookupPrivilegeValueResponse, error) {
	r := &lsad.LookupPrivilegeValueResponse{Value: &dtyp.LUID{}}
	if !s.isPolicy(q.Policy) {
		r.Return = ntInvalidHandle
	} else if r.Value.LowPart = luidOf(q.Name.Buffer); r.Value.LowPart == 0 {
		r.Return = ntNoSuchPrivilege
	}
	return r, nil
}

// LookupPrivilegeName is [MS-LSAD] 3.1.4.8.3.
func (s *lsaPolicy) LookupPrivilegeName(_ context.Context, q *lsad.LookupPrivilegeNameRequest) (*lsad.LookupPrivilegeNameResponse, error) {
	if !s.isPolicy(q.Policy) {
		return &lsad.LookupPrivilegeNameResponse{Return: ntInvalidHandle}, nil
	}
	for _, p := range privileges {
		if q.Value.LowPart == p.luid && q.Value.HighPart == 0 {
			return &lsad.LookupPrivilegeNameResponse{Name: unicode(p.name)}, nil
		}
	}
	return &lsad.LookupPrivilegeNameResponse{Return: ntNoSuchPrivilege}, nil
}

// LookupPrivilegeDisplayName is [MS-LSAD] 3.1.4.8.4; there is English only.
func (s *lsaPolicy) LookupPrivilegeDisplayName(_ context.Context, q *lsad.LookupPrivilegeDisplayNameRequest) (*lsad.LookupPrivilegeDisplayNameResponse, error) {
	if !s.isPolicy(q.Policy) {
		return &lsad.LookupPrivilegeDisplayNameResponse{Return: ntInvalidHandle}, nil
	}
	for _, p := range privileges {
		if strings.EqualFold(p.name, q.Name.Buffer) {
			return &lsad.LookupPrivilegeDisplayNameResponse{DisplayName: unicode(p.text), LanguageReturned: 0x409}, nil
		}
	}
	return &lsad.LookupPrivilegeDisplayNameResponse{Return: ntNoSuchPrivilege}, nil
}
