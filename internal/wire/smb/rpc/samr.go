package rpc

import (
	"context"
	"strings"

	"github.com/oiweiwei/go-msrpc/msrpc/dtyp"
	samr "github.com/oiweiwei/go-msrpc/msrpc/samr/samr/v1"

	"manifold/internal/identity/sid"
)

// samrServer answers [MS-SAMR] for reading. The domain of the server's own name
// holds the local users, and the local groups as its groups; the built-in one
// holds the aliases that every machine has.
type samrServer struct {
	samr.UnimplementedSamrServer
	*call
}

// What handles stand for.
type (
	samServer struct{}
	samDomain struct{ builtin bool }
	samUser   struct{ rid uint32 }
	samGroup  struct{ rid uint32 }
	samAlias  struct{ rid uint32 }
)

// connect opens the server: for administrators, as Windows has it by default.
func (s *samrServer) connect(ctx context.Context) (*samr.Handle, int32) {
	if s.who.User == "" || !s.may(ctx, SeeAccounts) {
		return nil, ntAccessDenied
	}
	return s.open(samServer{})
}

func (s *samrServer) open(of any) (*samr.Handle, int32) {
	h := s.newHandle(of)
	if h == nil {
		return nil, ntResources
	}
	return (*samr.Handle)(h), ntOK
}

// Connect is [MS-SAMR] 3.1.5.1.4.
func (s *samrServer) Connect(ctx context.Context, _ *samr.ConnectRequest) (*samr.ConnectResponse, error) {
	h, st := s.connect(ctx)
	return &samr.ConnectResponse{Server: h, Return: st}, nil
}

// Connect2 is [MS-SAMR] 3.1.5.1.3.
func (s *samrServer) Connect2(ctx context.Context, _ *samr.Connect2Request) (*samr.Connect2Response, error) {
	h, st := s.connect(ctx)
	return &samr.Connect2Response{Server: h, Return: st}, nil
}

// Connect4 is [MS-SAMR] 3.1.5.1.2.
func (s *samrServer) Connect4(ctx context.Context, _ *samr.Connect4Request) (*samr.Connect4Response, error) {
	h, st := s.connect(ctx)
	return &samr.Connect4Response{Server: h, Return: st}, nil
}

// Connect5 is [MS-SAMR] 3.1.5.1.1.
func (s *samrServer) Connect5(ctx context.Context, _ *samr.Connect5Request) (*samr.Connect5Response, error) {
	h, st := s.connect(ctx)
	return &samr.Connect5Response{
		OutVersion: 1, OutRevisionInfo: &samr.RevisionInfo{Value: &samr.RevisionInfo_V1{V1: &samr.RevisionInfoV1{Revision: 3}}}, Server: h, Return: st,
	}, nil
}

// CloseHandle is [MS-SAMR] 3.1.5.13.1.
func (s *samrServer) CloseHandle(_ context.Context, q *samr.CloseHandleRequest) (*samr.CloseHandleResponse, error) {
	if !s.closeHandle(q.SAMHandle.ContextHandle()) {
		return &samr.CloseHandleResponse{SAMHandle: q.SAMHandle, Return: ntInvalidHandle}, nil
	}
	return &samr.CloseHandleResponse{SAMHandle: &samr.Handle{}}, nil
}

// handleOf answers what a handle stands for, if it is one of T.
func handleOf[T any](s *samrServer, h *samr.Handle) (T, bool) {
	return opened[T](s.Association, h.ContextHandle())
}

// sid of the domain.
func (s *samrServer) sid(d samDomain) sid.SID {
	if d.builtin {
		return builtinDomain
	}
	return s.s.o.Accounts.Domain()
}

// LookupDomainInSAMServer is [MS-SAMR] 3.1.5.11.1.
func (s *samrServer) LookupDomainInSAMServer(_ context.Context, q *samr.LookupDomainInSAMServerRequest) (*samr.LookupDomainInSAMServerResponse, error) {
	r := &samr.LookupDomainInSAMServerResponse{}
	if _, ok := handleOf[samServer](s, q.Server); !ok {
		r.Return = ntInvalidHandle
		return r, nil
	}
	switch {
	case strings.EqualFold(q.Name.Buffer, s.s.o.Name):
		r.DomainID = wireSID(s.sid(samDomain{}))
	case strings.EqualFold(q.Name.Buffer, builtinName):
		r.DomainID = wireSID(builtinDomain)
	default:
		r.Return = ntNoSuchDomain
	}
	return r, nil
}

// EnumerateDomainsInSAMServer is [MS-SAMR] 3.1.5.2.1.
func (s *samrServer) EnumerateDomainsInSAMServer(_ context.Context, q *samr.EnumerateDomainsInSAMServerRequest) (*samr.EnumerateDomainsInSAMServerResponse, error) {
	r := &samr.EnumerateDomainsInSAMServerResponse{Buffer: &samr.EnumerationBuffer{}}
	if _, ok := handleOf[samServer](s, q.Server); !ok {
		r.Return = ntInvalidHandle
		return r, nil
	}
	names := []*samr.RIDEnumeration{{Name: unicode(s.s.o.Name)}, {Name: unicode("Builtin")}}
	r.Buffer, r.CountReturned, r.EnumerationContext, r.Return = enumeration(names, q.EnumerationContext, q.PreferredMaximumLength)
	return r, nil
}

// enumeration cuts out of names those that one answer holds.
func enumeration(names []*samr.RIDEnumeration, resume, wanted uint32) (*samr.EnumerationBuffer, uint32, uint32, int32) {
	from, to, next, more := page(len(names), resume, wanted, 32)
	st := ntOK
	if more == werrMoreData {
		st = ntMoreEntries
	} else {
		next = uint32(to)
	}
	return &samr.EnumerationBuffer{EntriesRead: uint32(to - from), Buffer: names[from:to]}, uint32(to - from), next, st
}

// OpenDomain is [MS-SAMR] 3.1.5.1.5.
func (s *samrServer) OpenDomain(_ context.Context, q *samr.OpenDomainRequest) (*samr.OpenDomainResponse, error) {
	r := &samr.OpenDomainResponse{}
	if _, ok := handleOf[samServer](s, q.Server); !ok {
		r.Return = ntInvalidHandle
		return r, nil
	}
	switch n, _ := sidOf(q.DomainID); n {
	case builtinDomain:
		r.Domain, r.Return = s.open(samDomain{builtin: true})
	case s.sid(samDomain{}):
		r.Domain, r.Return = s.open(samDomain{})
	default:
		r.Return = ntNoSuchDomain
	}
	return r, nil
}

// Times of accounts: what never was, what never will be, and a span without end.
var (
	endless = &samr.OldLargeInteger{HighPart: -1 << 31}
	longAgo = &samr.OldLargeInteger{}
	never   = &samr.OldLargeInteger{LowPart: 0xffffffff, HighPart: 0x7fffffff}
)

const minPassword = 8 // characters of a password, as what sets passwords has it

// domainInfo makes what there is to say of a domain; nil for an unknown class.
func (s *samrServer) domainInfo(d samDomain, ns *namespace, class samr.DomainInformationClass) *samr.DomainInfoBuffer {
	name := ns.server
	var users, groups, aliases uint32
	if d.builtin {
		name, aliases = builtinName, uint32(len(builtins))
	} else {
		for i := range ns.accounts {
			if ns.accounts[i].Group {
				groups++
			} else {
				users++
			}
		}
	}
	general := &samr.DomainGeneralInformation{
		ForceLogoff: endless, OEMInformation: unicode(""), DomainName: unicode(name), SourceNodeNameReplica: unicode(""), DomainModifiedCount: longAgo,
		DomainServerState: uint32(samr.DomainServerEnableStateEnabled), DomainServerRole: uint32(samr.DomainServerRolePrimary), UASCompatibilityRequired: 1,
		UserCount: users, GroupCount: groups, AliasCount: aliases,
	}
	lockout := &samr.DomainLockoutInformation{LockoutDuration: &dtyp.LargeInteger{}, LockoutObservationWindow: &dtyp.LargeInteger{}}
	b := &samr.DomainInfoBuffer{}
	switch class {
	case samr.DomainInformationClassPasswordInformation:
		b.Value = &samr.DomainInfoBuffer_Password{Password: &samr.DomainPasswordInformation{MinPasswordLength: minPassword, MaxPasswordAge: endless, MinPasswordAge: longAgo}}
	case samr.DomainInformationClassGeneralInformation:
		b.Value = &samr.DomainInfoBuffer_General{General: general}
	case samr.DomainInformationClassLogoffInformation:
		b.Value = &samr.DomainInfoBuffer_Logoff{Logoff: &samr.DomainLogoffInformation{ForceLogoff: endless}}
	case samr.DomainInformationClassOEMInformation:
		b.Value = &samr.DomainInfoBuffer_OEM{OEM: &samr.DomainOEMInformation{OEMInformation: unicode("")}}
	case samr.DomainInformationClassNameInformation:
		b.Value = &samr.DomainInfoBuffer_Name{Name: &samr.DomainNameInformation{DomainName: unicode(name)}}
	case samr.DomainInformationClassReplicationInformation:
		b.Value = &samr.DomainInfoBuffer_Replication{Replication: &samr.DomainReplicationInformation{SourceNodeNameReplica: unicode("")}}
	case samr.DomainInformationClassServerRoleInformation:
		b.Value = &samr.DomainInfoBuffer_Role{Role: &samr.DomainServerRoleInformation{DomainServerRole: samr.DomainServerRolePrimary}}
	case samr.DomainInformationClassModifiedInformation:
		b.Value = &samr.DomainInfoBuffer_Modified{Modified: &samr.DomainModifiedInformation{DomainModifiedCount: longAgo, CreationTime: longAgo}}
	case samr.DomainInformationClassStateInformation:
		b.Value = &samr.DomainInfoBuffer_State{State: &samr.DomainStateInformation{DomainServerState: samr.DomainServerEnableStateEnabled}}
	case samr.DomainInformationClassGeneralInformation2:
		b.Value = &samr.DomainInfoBuffer_General2{General2: &samr.DomainGeneralInformation2{
			I1: general, LockoutDuration: lockout.LockoutDuration, LockoutObservationWindow: lockout.LockoutObservationWindow,
		}}
	case samr.DomainInformationClassLockoutInformation:
		b.Value = &samr.DomainInfoBuffer_Lockout{Lockout: lockout}
	case samr.DomainInformationClassModifiedInformation2:
		b.Value = &samr.DomainInfoBuffer_Modified2{Modified2: &samr.DomainModifiedInformation2{DomainModifiedCount: longAgo, CreationTime: longAgo, ModifiedCountATLastPromotion: longAgo}}
	default:
		return nil
	}
	return b
}

// QueryInformationDomain is [MS-SAMR] 3.1.5.5.2.
func (s *samrServer) QueryInformationDomain(ctx context.Context, q *samr.QueryInformationDomainRequest) (*samr.QueryInformationDomainResponse, error) {
	d, ok := handleOf[samDomain](s, q.Domain)
	if !ok {
		s.answerNothing(ntInvalidHandle)
		return nil, nil
	}
	ns, err := s.namespace(ctx)
	if err != nil {
		return nil, err
	}
	b := s.domainInfo(d, ns, q.DomainInformationClass)
	if b == nil {
		s.answerNothing(ntInvalidInfoClass)
		return nil, nil
	}
	return &samr.QueryInformationDomainResponse{DomainInformationClass: q.DomainInformationClass, Buffer: b}, nil
}

// QueryInformationDomain2 is [MS-SAMR] 3.1.5.5.1.
func (s *samrServer) QueryInformationDomain2(ctx context.Context, q *samr.QueryInformationDomain2Request) (*samr.QueryInformationDomain2Response, error) {
	r, err := s.QueryInformationDomain(ctx, (*samr.QueryInformationDomainRequest)(q))
	return (*samr.QueryInformationDomain2Response)(r), err
}

// enumerate lists the accounts of a domain that are wanted.
func (s *samrServer) enumerate(ctx context.Context, h *samr.Handle, resume, wanted uint32, want func(*Account) bool) (*samr.EnumerationBuffer, uint32, uint32, int32, error) {
	d, ok := handleOf[samDomain](s, h)
	if !ok {
		return &samr.EnumerationBuffer{}, 0, 0, ntInvalidHandle, nil
	}
	var names []*samr.RIDEnumeration
	if !d.builtin {
		list, err := s.s.o.Accounts.Accounts(ctx)
		if err != nil {
			return nil, 0, 0, 0, s.internal(ctx, err)
		}
		for i := range list {
			if want(&list[i]) {
				names = append(names, &samr.RIDEnumeration{RelativeID: list[i].RID, Name: unicode(list[i].Name)})
			}
		}
	}
	b, n, next, st := enumeration(names, resume, wanted)
	return b, n, next, st, nil
}

// Bits of an account, [MS-SAMR] 2.2.1.12.
const (
	accountDisabled      = 0x001
	accountNormal        = 0x010
	accountNoExpire      = 0x200
	groupMandatory       = 7 // mandatory, enabled by default, enabled
	fieldsOfUser         = 0x00ffffff &^ 0x000f0000
	unitsPerWeek         = 168
	userNormalNoPassword = accountNormal | accountNoExpire
)

func (a *Account) control() uint32 {
	c := uint32(userNormalNoPassword)
	if a.Disabled {
		c |= accountDisabled
	}
	return c
}

// EnumerateUsersInDomain is [MS-SAMR] 3.1.5.2.5.
func (s *samrServer) EnumerateUsersInDomain(ctx context.Context, q *samr.EnumerateUsersInDomainRequest) (*samr.EnumerateUsersInDomainResponse, error) {
	b, n, next, st, err := s.enumerate(ctx, q.Domain, q.EnumerationContext, q.PreferredMaximumLength, func(a *Account) bool {
		return !a.Group && (q.UserAccountControl == 0 || a.control()&q.UserAccountControl != 0)
	})
	return &samr.EnumerateUsersInDomainResponse{Buffer: b, CountReturned: n, EnumerationContext: next, Return: st}, err
}

// EnumerateGroupsInDomain is [MS-SAMR] 3.1.5.2.3.
func (s *samrServer) EnumerateGroupsInDomain(ctx context.Context, q *samr.EnumerateGroupsInDomainRequest) (*samr.EnumerateGroupsInDomainResponse, error) {
	b, n, next, st, err := s.enumerate(ctx, q.Domain, q.EnumerationContext, q.PreferredMaximumLength, func(a *Account) bool { return a.Group })
	return &samr.EnumerateGroupsInDomainResponse{Buffer: b, CountReturned: n, EnumerationContext: next, Return: st}, err
}

// EnumerateAliasesInDomain is [MS-SAMR] 3.1.5.2.4.
func (s *samrServer) EnumerateAliasesInDomain(_ context.Context, q *samr.EnumerateAliasesInDomainRequest) (*samr.EnumerateAliasesInDomainResponse, error) {
	r := &samr.EnumerateAliasesInDomainResponse{Buffer: &samr.EnumerationBuffer{}}
	d, ok := handleOf[samDomain](s, q.Domain)
	if !ok {
		r.Return = ntInvalidHandle
		return r, nil
	}
	var names []*samr.RIDEnumeration
	if d.builtin {
		for _, b := range builtins {
			names = append(names, &samr.RIDEnumeration{RelativeID: b.rid, Name: unicode(b.name)})
		}
	}
	r.Buffer, r.CountReturned, r.EnumerationContext, r.Return = enumeration(names, q.EnumerationContext, q.PreferredMaximumLength)
	return r, nil
}

// RIDToSID is [MS-SAMR] 3.1.5.13.7.
func (s *samrServer) RIDToSID(_ context.Context, q *samr.RIDToSIDRequest) (*samr.RIDToSIDResponse, error) {
	if d, ok := handleOf[samDomain](s, q.Object); ok {
		return &samr.RIDToSIDResponse{SID: wireSID(join(s.sid(d), q.RID))}, nil
	}
	_, user := handleOf[samUser](s, q.Object)
	_, group := handleOf[samGroup](s, q.Object)
	if user || group {
		return &samr.RIDToSIDResponse{SID: wireSID(join(s.sid(samDomain{}), q.RID))}, nil
	}
	return &samr.RIDToSIDResponse{Return: ntInvalidHandle}, nil
}
