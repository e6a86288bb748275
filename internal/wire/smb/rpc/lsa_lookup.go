package rpc

import (
	"context"
	"slices"

	"github.com/oiweiwei/go-msrpc/msrpc/dcetypes"
	"github.com/oiweiwei/go-msrpc/msrpc/dtyp"
	lsat "github.com/oiweiwei/go-msrpc/msrpc/lsat/lsarpc/v0"

	"manifold/internal/identity/sid"
)

// lsaNames answers [MS-LSAT]: names of SIDs and the other way round.
type lsaNames struct {
	lsat.UnimplementedLsarpcServer
	*call
}

// policy is the handle of lsarpc; it is the same for all who have signed in.
type policy struct{}

// maxLookup bounds the names of one call, as Windows does.
const maxLookup = 1000

// domains collects those that translations refer to.
type domains struct{ list []*lsat.TrustInformation }

func (d *domains) of(name string, s sid.SID) int32 {
	w := wireSID(s)
	i := slices.IndexFunc(d.list, func(t *lsat.TrustInformation) bool {
		x, _ := sidOf(t.SID)
		return x == s
	})
	if i < 0 {
		i = len(d.list)
		d.list = append(d.list, &lsat.TrustInformation{Name: unicode(name), SID: w})
	}
	return int32(i)
}

func (d *domains) wire() *lsat.ReferencedDomainList {
	return &lsat.ReferencedDomainList{Entries: uint32(len(d.list)), Domains: d.list, MaxEntries: 32}
}

// outcome is the status of a lookup of n names of which some were found.
func outcome(n, found int) int32 {
	switch {
	case found == n:
		return ntOK
	case found == 0:
		return ntNoneMapped
	}
	return ntSomeNotMapped
}

// allowed checks the handle of a lookup, and how much it asks for.
func (s *lsaNames) allowed(h *lsat.Handle, n int) int32 {
	if h != nil {
		if _, ok := opened[policy](s.Association, h.ContextHandle()); !ok {
			return ntInvalidHandle
		}
	} else if s.who.User == "" {
		return ntAccessDenied
	}
	if n > maxLookup {
		return ntInvalidParameter
	}
	return ntOK
}

// named finds names; what is not found has no kind.
func (s *lsaNames) named(ctx context.Context, names []*dtyp.UnicodeString) (list []principal, found int, err error) {
	ns, err := s.namespace(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, n := range names {
		p := principal{}
		if n != nil && n.Buffer != "" {
			if x, ok := ns.ofName(n.Buffer); ok {
				p = x
				found++
			}
		}
		list = append(list, p)
	}
	return list, found, nil
}

// relative is the last number of a principal's SID, and nothing of a domain's.
func (p *principal) relative() uint32 {
	if p.use == useDomain {
		return unlimited
	}
	_, rid, _ := split(p.sid)
	return rid
}

// translation is what the calls that look up names answer, each with its own T.
type translation[T any] struct {
	list    []T
	domains *lsat.ReferencedDomainList // nil when the call is refused
	mapped  uint32
	status  int32
}

// translate looks up names. What is unknown has a domain of -1.
func translate[T any](ctx context.Context, s *lsaNames, h *lsat.Handle, names []*dtyp.UnicodeString, one func(p *principal, use lsat.SIDNameUse, domain int32) T) (x translation[T], err error) {
	if x.status = s.allowed(orNone(h), len(names)); x.status != ntOK {
		return x, nil
	}
	list, found, err := s.named(ctx, names)
	if err != nil {
		return x, err
	}
	var d domains
	for i := range list {
		p, use, domain := &list[i], lsat.SIDNameUse(useUnknown), int32(-1)
		if p.use != 0 {
			use, domain = lsat.SIDNameUse(p.use), d.of(p.domain, p.domainSID)
		}
		x.list = append(x.list, one(p, use, domain))
	}
	x.domains, x.mapped, x.status = d.wire(), uint32(found), outcome(len(list), found)
	return x, nil
}

// LookupNames is [MS-LSAT] 3.1.4.8.
func (s *lsaNames) LookupNames(ctx context.Context, q *lsat.LookupNamesRequest) (*lsat.LookupNamesResponse, error) {
	r := &lsat.LookupNamesResponse{TranslatedSIDs: &lsat.TranslatedSIDs{}}
	x, err := translate(ctx, s, q.Policy, q.Names, func(p *principal, use lsat.SIDNameUse, domain int32) *lsat.TranslatedSID {
		t := &lsat.TranslatedSID{Use: use, DomainIndex: domain}
		if p.use != 0 {
			t.RelativeID = p.relative()
		}
		return t
	})
	if err != nil {
		return nil, err
	}
	r.TranslatedSIDs.SIDs, r.TranslatedSIDs.Entries = x.list, uint32(len(x.list))
	r.ReferencedDomains, r.MappedCount, r.Return = x.domains, x.mapped, x.status
	return r, nil
}

// LookupNames2 is [MS-LSAT] 3.1.4.7.
func (s *lsaNames) LookupNames2(ctx context.Context, q *lsat.LookupNames2Request) (*lsat.LookupNames2Response, error) {
	r := &lsat.LookupNames2Response{TranslatedSIDs: &lsat.TranslatedSIDsEx{}}
	x, err := translate(ctx, s, q.Policy, q.Names, func(p *principal, use lsat.SIDNameUse, domain int32) *lsat.TranslatedSIDEx {
		t := &lsat.TranslatedSIDEx{Use: use, DomainIndex: domain}
		if p.use != 0 {
			t.RelativeID = p.relative()
		}
		return t
	})
	if err != nil {
		return nil, err
	}
	r.TranslatedSIDs.SIDs, r.TranslatedSIDs.Entries = x.list, uint32(len(x.list))
	r.ReferencedDomains, r.MappedCount, r.Return = x.domains, x.mapped, x.status
	return r, nil
}

// LookupNames3 is [MS-LSAT] 3.1.4.6.
func (s *lsaNames) LookupNames3(ctx context.Context, q *lsat.LookupNames3Request) (*lsat.LookupNames3Response, error) {
	r := &lsat.LookupNames3Response{TranslatedSIDs: &lsat.TranslatedSIDsEx2{}}
	x, err := translate(ctx, s, q.Policy, q.Names, func(p *principal, use lsat.SIDNameUse, domain int32) *lsat.TranslatedSIDEx2 {
		t := &lsat.TranslatedSIDEx2{Use: use, DomainIndex: domain}
		if p.use != 0 {
			t.SID = wireSID(p.sid)
		}
		return t
	})
	if err != nil {
		return nil, err
	}
	r.TranslatedSIDs.SIDs, r.TranslatedSIDs.Entries = x.list, uint32(len(x.list))
	r.ReferencedDomains, r.MappedCount, r.Return = x.domains, x.mapped, x.status
	return r, nil
}

// known finds SIDs; what is not found has no kind.
func (s *lsaNames) known(ctx context.Context, in *lsat.SIDEnumBuffer) (list []principal, found int, err error) {
	ns, err := s.namespace(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, x := range in.SIDInfo {
		p := principal{}
		if x != nil {
			if n, ok := sidOf(x.SID); ok {
				if known, ok := ns.ofSID(n); ok {
					p = known
					found++
				} else {
					p.sid = n
					p.domainSID, _, _ = split(n)
					if p.domainSID == ns.domain {
						p.domain = ns.server
					}
				}
			}
		}
		list = append(list, p)
	}
	return list, found, nil
}

// translated makes the names of an answer.
func (d *domains) translated(list []principal) *lsat.TranslatedNamesEx {
	out := &lsat.TranslatedNamesEx{Entries: uint32(len(list))}
	for i := range list {
		p := &list[i]
		t := &lsat.TranslatedNameEx{Use: lsat.SIDNameUse(p.use), Name: unicode(p.name), DomainIndex: -1}
		switch {
		case p.use == 0:
			// The name of an unknown SID is its text.
			t.Use, t.Name = useUnknown, unicode(p.sid.String())
			if p.domain != "" {
				t.DomainIndex = d.of(p.domain, p.domainSID)
			}
		case p.use == useDomain:
			t.Name, t.DomainIndex = unicode(""), d.of(p.domain, p.domainSID)
		default:
			t.DomainIndex = d.of(p.domain, p.domainSID)
		}
		out.Names = append(out.Names, t)
	}
	return out
}

// LookupSIDs is [MS-LSAT] 3.1.4.11.
func (s *lsaNames) LookupSIDs(ctx context.Context, q *lsat.LookupSIDsRequest) (*lsat.LookupSIDsResponse, error) {
	r := &lsat.LookupSIDsResponse{TranslatedNames: &lsat.TranslatedNames{}}
	if r.Return = s.allowed(orNone(q.Policy), len(q.SIDEnumBuffer.SIDInfo)); r.Return != ntOK {
		return r, nil
	}
	list, found, err := s.known(ctx, q.SIDEnumBuffer)
	if err != nil {
		return nil, err
	}
	var d domains
	for _, t := range d.translated(list).Names {
		r.TranslatedNames.Names = append(r.TranslatedNames.Names, &lsat.TranslatedName{Use: t.Use, Name: t.Name, DomainIndex: t.DomainIndex})
	}
	r.TranslatedNames.Entries = uint32(len(list))
	r.ReferencedDomains, r.MappedCount, r.Return = d.wire(), uint32(found), outcome(len(list), found)
	return r, nil
}

// LookupSids2 is [MS-LSAT] 3.1.4.10.
func (s *lsaNames) LookupSids2(ctx context.Context, q *lsat.LookupSids2Request) (*lsat.LookupSids2Response, error) {
	r, err := s.lookup(ctx, orNone(q.Policy), q.SIDEnumBuffer)
	return (*lsat.LookupSids2Response)(r), err
}

// LookupSids3 is [MS-LSAT] 3.1.4.9, which wants no handle.
func (s *lsaNames) LookupSids3(ctx context.Context, q *lsat.LookupSids3Request) (*lsat.LookupSids3Response, error) {
	return s.lookup(ctx, nil, q.SIDEnumBuffer)
}

func (s *lsaNames) lookup(ctx context.Context, h *lsat.Handle, in *lsat.SIDEnumBuffer) (*lsat.LookupSids3Response, error) {
	r := &lsat.LookupSids3Response{TranslatedNames: &lsat.TranslatedNamesEx{}}
	if r.Return = s.allowed(h, len(in.SIDInfo)); r.Return != ntOK {
		return r, nil
	}
	list, found, err := s.known(ctx, in)
	if err != nil {
		return nil, err
	}
	var d domains
	r.TranslatedNames = d.translated(list)
	r.ReferencedDomains, r.MappedCount, r.Return = d.wire(), uint32(found), outcome(len(list), found)
	return r, nil
}

// LookupNames4 is [MS-LSAT] 3.1.4.5, which wants no handle.
func (s *lsaNames) LookupNames4(ctx context.Context, q *lsat.LookupNames4Request) (*lsat.LookupNames4Response, error) {
	if st := s.allowed(nil, len(q.Names)); st != ntOK {
		return &lsat.LookupNames4Response{TranslatedSIDs: &lsat.TranslatedSIDsEx2{}, Return: st}, nil
	}
	h := s.newHandle(policy{})
	if h == nil {
		return &lsat.LookupNames4Response{TranslatedSIDs: &lsat.TranslatedSIDsEx2{}, Return: ntResources}, nil
	}
	defer s.closeHandle(h)
	r, err := s.LookupNames3(ctx, &lsat.LookupNames3Request{Policy: (*lsat.Handle)(h), Count: q.Count, Names: q.Names})
	return (*lsat.LookupNames4Response)(r), err
}

// orNone makes of a handle that was not sent one that is not good.
func orNone(h *lsat.Handle) *lsat.Handle {
	if h == nil {
		return (*lsat.Handle)(&dcetypes.ContextHandle{})
	}
	return h
}

// GetUserName is [MS-LSAT] 3.1.4.4: who calls.
func (s *lsaNames) GetUserName(context.Context, *lsat.GetUserNameRequest) (*lsat.GetUserNameResponse, error) {
	user, domain := s.who.User, s.s.o.Name
	if user == "" {
		user, domain = "ANONYMOUS LOGON", "NT AUTHORITY"
	}
	return &lsat.GetUserNameResponse{UserName: unicode(user), DomainName: unicode(domain)}, nil
}
