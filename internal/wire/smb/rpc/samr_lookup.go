package rpc

import (
	"context"
	"strings"

	samr "github.com/oiweiwei/go-msrpc/msrpc/samr/samr/v1"
)

// found is an account of a domain, of whatever kind.
type found struct {
	rid  uint32
	name string
	use  uint32
}

// members of a domain, by a test of theirs.
func (s *samrServer) find(ns *namespace, d samDomain, is func(rid uint32, name string) bool) (found, bool) {
	if d.builtin {
		for _, b := range builtins {
			if is(b.rid, b.name) {
				return found{b.rid, b.name, useAlias}, true
			}
		}
		return found{}, false
	}
	for i := range ns.accounts {
		if a := &ns.accounts[i]; is(a.RID, a.Name) {
			return found{a.RID, a.Name, uint32(ns.account(a).use)}, true
		}
	}
	return found{}, false
}

// LookupNamesInDomain is [MS-SAMR] 3.1.5.11.2.
func (s *samrServer) LookupNamesInDomain(ctx context.Context, q *samr.LookupNamesInDomainRequest) (*samr.LookupNamesInDomainResponse, error) {
	r := &samr.LookupNamesInDomainResponse{RelativeIDs: &samr.Uint32Array{}, Use: &samr.Uint32Array{}}
	d, ok := handleOf[samDomain](s, q.Domain)
	switch {
	case !ok:
		r.Return = ntInvalidHandle
		return r, nil
	case len(q.Names) > maxLookup:
		r.Return = ntInvalidParameter
		return r, nil
	}
	ns, err := s.namespace(ctx)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, name := range q.Names {
		x, ok := s.find(ns, d, func(_ uint32, has string) bool { return name != nil && strings.EqualFold(has, name.Buffer) })
		if !ok {
			x.use = useUnknown
		} else {
			n++
		}
		r.RelativeIDs.Element, r.Use.Element = append(r.RelativeIDs.Element, x.rid), append(r.Use.Element, x.use)
	}
	r.RelativeIDs.Count, r.Use.Count = uint32(len(q.Names)), uint32(len(q.Names))
	r.Return = outcome(len(q.Names), n)
	return r, nil
}

// LookupIDsInDomain is [MS-SAMR] 3.1.5.11.3.
func (s *samrServer) LookupIDsInDomain(ctx context.Context, q *samr.LookupIDsInDomainRequest) (*samr.LookupIDsInDomainResponse, error) {
	r := &samr.LookupIDsInDomainResponse{Names: &samr.ReturnedUstringArray{}, Use: &samr.Uint32Array{}}
	d, ok := handleOf[samDomain](s, q.Domain)
	switch {
	case !ok:
		r.Return = ntInvalidHandle
		return r, nil
	case len(q.RelativeIDs) > maxLookup:
		r.Return = ntInvalidParameter
		return r, nil
	}
	ns, err := s.namespace(ctx)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, rid := range q.RelativeIDs {
		x, ok := s.find(ns, d, func(has uint32, _ string) bool { return has == rid })
		if !ok {
			x.use = useUnknown
		} else {
			n++
		}
		r.Names.Element, r.Use.Element = append(r.Names.Element, unicode(x.name)), append(r.Use.Element, x.use)
	}
	r.Names.Count, r.Use.Count = uint32(len(q.RelativeIDs)), uint32(len(q.RelativeIDs))
	r.Return = outcome(len(q.RelativeIDs), n)
	return r, nil
}

// GetAliasMembership is [MS-SAMR] 3.1.5.9.2: in which aliases of the domain are
// the holders of some SIDs?
func (s *samrServer) GetAliasMembership(_ context.Context, q *samr.GetAliasMembershipRequest) (*samr.GetAliasMembershipResponse, error) {
	r := &samr.GetAliasMembershipResponse{Membership: &samr.Uint32Array{}}
	d, ok := handleOf[samDomain](s, q.Domain)
	switch {
	case !ok:
		r.Return = ntInvalidHandle
		return r, nil
	case len(q.SIDArray.SIDs) > maxLookup:
		r.Return = ntInvalidParameter
		return r, nil
	case !d.builtin:
		return r, nil
	}
	for _, b := range builtins {
		for _, x := range q.SIDArray.SIDs {
			if x == nil {
				continue
			}
			if n, ok := sidOf(x.SIDPointer); ok && n == join(s.sid(samDomain{}), b.group) {
				r.Membership.Element = append(r.Membership.Element, b.rid)
				break
			}
		}
	}
	r.Membership.Count = uint32(len(r.Membership.Element))
	return r, nil
}

// display makes one page of a list that is meant to be shown.
func (s *samrServer) display(ctx context.Context, q *samr.QueryDisplayInformationRequest) (*samr.QueryDisplayInformationResponse, error) {
	r := &samr.QueryDisplayInformationResponse{DisplayInformationClass: q.DisplayInformationClass, Buffer: &samr.DisplayInfoBuffer{}}
	d, ok := handleOf[samDomain](s, q.Domain)
	if !ok {
		r.Return = ntInvalidHandle
	}
	groups := q.DisplayInformationClass == samr.DomainDisplayInformationGroup || q.DisplayInformationClass == samr.DomainDisplayInformationOEMGroup
	var list []Account
	if ok && !d.builtin && q.DisplayInformationClass != samr.DomainDisplayInformationMachine {
		all, err := s.s.o.Accounts.Accounts(ctx)
		if err != nil {
			return nil, s.internal(ctx, err)
		}
		for _, a := range all {
			if a.Group == groups {
				list = append(list, a)
			}
		}
	}
	from, to, _, more := page(len(list), q.Index, q.PreferredMaximumLength, 64)
	if to-from > int(min(q.EntryCount, maxRows)) {
		to, more = from+int(min(q.EntryCount, maxRows)), werrMoreData
	}
	if more == werrMoreData {
		r.Return = ntMoreEntries
	}
	list, n := list[from:to], uint32(to-from)
	r.TotalAvailable, r.TotalReturned = 64*uint32(len(list)), 64*n
	index := uint32(from)
	next := func() uint32 {
		index++
		return index
	}
	switch q.DisplayInformationClass {
	case samr.DomainDisplayInformationUser:
		r.Buffer.Value = &samr.DisplayInfoBuffer_UserInformation{UserInformation: &samr.DomainDisplayUserBuffer{EntriesRead: n, Buffer: each(list, func(a *Account) *samr.DomainDisplayUser {
			return &samr.DomainDisplayUser{Index: next(), RID: a.RID, AccountControl: a.control(), AccountName: unicode(a.Name), AdminComment: unicode(""), FullName: unicode("")}
		})}}
	case samr.DomainDisplayInformationMachine:
		r.Buffer.Value = &samr.DisplayInfoBuffer_MachineInformation{MachineInformation: &samr.DomainDisplayMachineBuffer{}}
	case samr.DomainDisplayInformationGroup:
		r.Buffer.Value = &samr.DisplayInfoBuffer_GroupInformation{GroupInformation: &samr.DomainDisplayGroupBuffer{EntriesRead: n, Buffer: each(list, func(a *Account) *samr.DomainDisplayGroup {
			return &samr.DomainDisplayGroup{Index: next(), RID: a.RID, Attributes: groupMandatory, AccountName: unicode(a.Name), AdminComment: unicode("")}
		})}}
	case samr.DomainDisplayInformationOEMUser:
		r.Buffer.Value = &samr.DisplayInfoBuffer_OEMUserInformation{OEMUserInformation: &samr.DomainDisplayOEMUserBuffer{EntriesRead: n, Buffer: each(list, func(a *Account) *samr.DomainDisplayOEMUser {
			return &samr.DomainDisplayOEMUser{Index: next(), OEMAccountName: oem(a.Name)}
		})}}
	case samr.DomainDisplayInformationOEMGroup:
		r.Buffer.Value = &samr.DisplayInfoBuffer_OEMGroupInformation{OEMGroupInformation: &samr.DomainDisplayOEMGroupBuffer{EntriesRead: n, Buffer: each(list, func(a *Account) *samr.DomainDisplayOEMGroup {
			return &samr.DomainDisplayOEMGroup{Index: next(), OEMAccountName: oem(a.Name)}
		})}}
	default:
		return nil, errBadClass
	}
	return r, nil
}

// oem makes a string of the old 8-bit kind.
func oem(s string) *samr.String {
	b := []byte{}
	for _, r := range s {
		if r > 0x7e {
			r = '?'
		}
		b = append(b, byte(r))
	}
	return &samr.String{Length: uint16(len(b)), MaximumLength: uint16(len(b)), Buffer: b}
}

// QueryDisplayInformation is [MS-SAMR] 3.1.5.3.3.
func (s *samrServer) QueryDisplayInformation(ctx context.Context, q *samr.QueryDisplayInformationRequest) (*samr.QueryDisplayInformationResponse, error) {
	return s.display(ctx, q)
}

// QueryDisplayInformation2 is [MS-SAMR] 3.1.5.3.2.
func (s *samrServer) QueryDisplayInformation2(ctx context.Context, q *samr.QueryDisplayInformation2Request) (*samr.QueryDisplayInformation2Response, error) {
	r, err := s.display(ctx, (*samr.QueryDisplayInformationRequest)(q))
	return (*samr.QueryDisplayInformation2Response)(r), err
}

// QueryDisplayInformation3 is [MS-SAMR] 3.1.5.3.1.
func (s *samrServer) QueryDisplayInformation3(ctx context.Context, q *samr.QueryDisplayInformation3Request) (*samr.QueryDisplayInformation3Response, error) {
	r, err := s.display(ctx, (*samr.QueryDisplayInformationRequest)(q))
	return (*samr.QueryDisplayInformation3Response)(r), err
}
