package rpc

import (
	"context"
	"errors"
	"strings"

	srvsvc "github.com/oiweiwei/go-msrpc/msrpc/srvs/srvsvc/v3"
)

// srvsvcServer answers [MS-SRVS].
type srvsvcServer struct {
	srvsvc.UnimplementedSrvsvcServer
	*call
}

// may tells whether the caller may do what is for administrators.
func (c *call) may(ctx context.Context, a Act) bool { return c.s.o.May(ctx, c.who, a) }

// Kinds of shares, [MS-SRVS] 2.2.2.4, and bits of their flags.
const (
	kindDisk    = 0
	kindPipes   = 3
	kindSpecial = 0x80000000

	flagAccessBased = 0x0800
	flagEncrypt     = 0x8000
)

// wirePath shows a path of the file system as one of a drive.
func wirePath(p string) string {
	if p == "" {
		return ""
	}
	return "C:" + strings.ReplaceAll(p, "/", `\`)
}

// pathOf reads a path of a drive, or one with slashes.
func pathOf(p string) string {
	p = strings.ReplaceAll(p, `\`, "/")
	if len(p) >= 2 && p[1] == ':' && (p[0]|0x20) == 'c' {
		p = p[2:]
	}
	if p = strings.TrimRight(p, "/"); p == "" {
		return "/"
	}
	return p
}

func (x *Share) kind() uint32 {
	k := uint32(kindDisk)
	if x.Pipes {
		k = kindPipes
	}
	if x.Pipes || strings.HasSuffix(x.Name, "$") {
		k |= kindSpecial
	}
	return k
}

func (x *Share) flags() uint32 {
	f := uint32(0)
	if x.AccessBased {
		f |= flagAccessBased
	}
	if x.Encrypt {
		f |= flagEncrypt
	}
	return f
}

// shares lists what the caller may know of.
func (s *srvsvcServer) shares(ctx context.Context) ([]Share, error) {
	list, err := s.s.o.Shares.Shares(ctx, s.who)
	if err != nil {
		return nil, s.internal(ctx, err)
	}
	list = append([]Share{{Name: "IPC$", Comment: "IPC Service", Pipes: true}}, list...)
	if !s.may(ctx, SeeShares) {
		for i := range list {
			list[i].Path, list[i].Security = "", nil
		}
	}
	return list, nil
}

// share finds one by its name.
func (s *srvsvcServer) share(ctx context.Context, name string) (*Share, error) {
	list, err := s.shares(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if strings.EqualFold(list[i].Name, name) {
			return &list[i], nil
		}
	}
	return nil, nil
}

const unlimited = 0xffffffff

func (x *Share) info2() *srvsvc.ShareInfo2 {
	return &srvsvc.ShareInfo2{NetworkName: x.Name, Type: x.kind(), Remark: x.Comment, MaxUses: unlimited, CurrentUses: uint32(x.Uses), Path: wirePath(x.Path)}
}

func (x *Share) info502() *srvsvc.ShareInfo502I {
	return &srvsvc.ShareInfo502I{
		NetworkName: x.Name, Type: x.kind(), Remark: x.Comment, MaxUses: unlimited, CurrentUses: uint32(x.Uses), Path: wirePath(x.Path),
		SecurityDescriptor: x.Security,
	}
}

func (x *Share) info503() *srvsvc.ShareInfo503I {
	return &srvsvc.ShareInfo503I{
		NetworkName: x.Name, Type: x.kind(), Remark: x.Comment, MaxUses: unlimited, CurrentUses: uint32(x.Uses), Path: wirePath(x.Path),
		Servername: "*", SecurityDescriptor: x.Security,
	}
}

// maxRows bounds one answer of an enumeration.
const maxRows = 8192

// page cuts out of n entries those that one answer holds: from the resume
// handle on, and about as many bytes as the client wants, if one takes size. It
// answers the handle to go on with, too.
func page(n int, resume, wanted uint32, size int) (from, to int, next, result uint32) {
	from = int(min(uint64(resume), uint64(n)))
	to = min(n, from+maxRows)
	if fit := int(min(uint64(wanted)/uint64(size), maxRows)); wanted != unlimited && from+max(1, fit) < to {
		to = from + max(1, fit)
	}
	if to < n {
		return from, to, uint32(to), werrMoreData
	}
	return from, to, 0, werrOK
}

// each makes the entries of an answer.
func each[T, R any](list []T, make func(*T) R) []R {
	out := []R{}
	for i := range list {
		out = append(out, make(&list[i]))
	}
	return out
}

// enumerate fills a list of shares in the form that a level has. It answers
// false for a level that has none.
func enumerate(level uint32, list []Share) (*srvsvc.ShareEnumUnion, bool) {
	u := &srvsvc.ShareEnumUnion{}
	n := uint32(len(list))
	switch level {
	case 0:
		u.Value = &srvsvc.ShareEnumUnion_Level0{Level0: &srvsvc.ShareInfo0Container{EntriesRead: n, Buffer: each(list, func(x *Share) *srvsvc.ShareInfo0 {
			return &srvsvc.ShareInfo0{NetworkName: x.Name}
		})}}
	case 1:
		u.Value = &srvsvc.ShareEnumUnion_Level1{Level1: &srvsvc.ShareInfo1Container{EntriesRead: n, Buffer: each(list, func(x *Share) *srvsvc.ShareInfo1 {
			return &srvsvc.ShareInfo1{NetworkName: x.Name, Type: x.kind(), Remark: x.Comment}
		})}}
	case 2:
		u.Value = &srvsvc.ShareEnumUnion_Level2{Level2: &srvsvc.ShareInfo2Container{EntriesRead: n, Buffer: each(list, (*Share).info2)}}
	case 501:
		u.Value = &srvsvc.ShareEnumUnion_Level501{Level501: &srvsvc.ShareInfo501Container{EntriesRead: n, Buffer: each(list, func(x *Share) *srvsvc.ShareInfo501 {
			return &srvsvc.ShareInfo501{NetworkName: x.Name, Type: x.kind(), Remark: x.Comment, Flags: x.flags()}
		})}}
	case 502:
		u.Value = &srvsvc.ShareEnumUnion_Level502{Level502: &srvsvc.ShareInfo502Container{EntriesRead: n, Buffer: each(list, (*Share).info502)}}
	case 503:
		u.Value = &srvsvc.ShareEnumUnion_Level503{Level503: &srvsvc.ShareInfo503Container{EntriesRead: n, Buffer: each(list, (*Share).info503)}}
	default:
		return nil, false
	}
	return u, true
}

// ShareEnum is [MS-SRVS] 3.1.4.8.
func (s *srvsvcServer) ShareEnum(ctx context.Context, q *srvsvc.ShareEnumRequest) (*srvsvc.ShareEnumResponse, error) {
	level := q.Info.Level
	all, err := s.shares(ctx)
	if err != nil {
		return nil, err
	}
	list := all[:0]
	for _, x := range all {
		if !x.Hidden {
			list = append(list, x)
		}
	}
	from, to, next, result := page(len(list), q.Resume, q.PreferredMaximumLength, 256)
	u, ok := enumerate(level, list[from:to])
	if !ok {
		return &srvsvc.ShareEnumResponse{Info: q.Info, Return: werrInvalidLevel}, nil
	}
	return &srvsvc.ShareEnumResponse{Info: &srvsvc.ShareEnum{Level: level, ShareInfo: u}, TotalEntries: uint32(len(list) - from), Resume: next, Return: result}, nil
}

// ShareEnumSticky is [MS-SRVS] 3.1.4.9; every share is there after a restart.
func (s *srvsvcServer) ShareEnumSticky(ctx context.Context, q *srvsvc.ShareEnumStickyRequest) (*srvsvc.ShareEnumStickyResponse, error) {
	r, err := s.ShareEnum(ctx, (*srvsvc.ShareEnumRequest)(q))
	return (*srvsvc.ShareEnumStickyResponse)(r), err
}

// ShareGetInfo is [MS-SRVS] 3.1.4.10.
func (s *srvsvcServer) ShareGetInfo(ctx context.Context, q *srvsvc.ShareGetInfoRequest) (*srvsvc.ShareGetInfoResponse, error) {
	x, err := s.share(ctx, q.NetName)
	if err != nil {
		return nil, err
	}
	if x == nil {
		s.answerLevel(q.Level, werrNoShare)
		return nil, nil
	}
	i := &srvsvc.ShareInfo{}
	switch q.Level {
	case 0:
		i.Value = &srvsvc.ShareInfo_0{ShareInfo0: &srvsvc.ShareInfo0{NetworkName: x.Name}}
	case 1:
		i.Value = &srvsvc.ShareInfo_1{ShareInfo1: &srvsvc.ShareInfo1{NetworkName: x.Name, Type: x.kind(), Remark: x.Comment}}
	case 2:
		i.Value = &srvsvc.ShareInfo_2{ShareInfo2: x.info2()}
	case 501:
		i.Value = &srvsvc.ShareInfo_501{ShareInfo501: &srvsvc.ShareInfo501{NetworkName: x.Name, Type: x.kind(), Remark: x.Comment, Flags: x.flags()}}
	case 502:
		i.Value = &srvsvc.ShareInfo_502{ShareInfo502: x.info502()}
	case 503:
		i.Value = &srvsvc.ShareInfo_503{ShareInfo503: x.info503()}
	case 1005:
		i.Value = &srvsvc.ShareInfo_1005{ShareInfo1005: &srvsvc.ShareInfo1005{Flags: x.flags()}}
	default:
		s.answerLevel(q.Level, werrInvalidLevel)
		return nil, nil
	}
	return &srvsvc.ShareGetInfoResponse{Level: q.Level, Info: i}, nil
}

// ShareCheck is [MS-SRVS] 3.1.4.13: is a device shared?
func (s *srvsvcServer) ShareCheck(ctx context.Context, q *srvsvc.ShareCheckRequest) (*srvsvc.ShareCheckResponse, error) {
	list, err := s.shares(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if x := &list[i]; x.Path != "" && strings.EqualFold(x.Path, pathOf(q.Device)) {
			return &srvsvc.ShareCheckResponse{Type: x.kind()}, nil
		}
	}
	return &srvsvc.ShareCheckResponse{Return: werrNoShare}, nil
}

// ShareAdd is [MS-SRVS] 3.1.4.7.
func (s *srvsvcServer) ShareAdd(ctx context.Context, q *srvsvc.ShareAddRequest) (*srvsvc.ShareAddResponse, error) {
	var x Share
	kind := uint32(0)
	if q.Info == nil {
		return &srvsvc.ShareAddResponse{Return: werrInvalid}, nil
	}
	switch v := q.Info.Value.(type) {
	case *srvsvc.ShareInfo_2:
		if i := v.ShareInfo2; i != nil {
			x, kind = Share{Name: i.NetworkName, Comment: i.Remark, Path: i.Path}, i.Type
		}
	case *srvsvc.ShareInfo_502:
		if i := v.ShareInfo502; i != nil {
			x, kind = Share{Name: i.NetworkName, Comment: i.Remark, Path: i.Path, Security: i.SecurityDescriptor}, i.Type
		}
	case *srvsvc.ShareInfo_503:
		if i := v.ShareInfo503; i != nil {
			x, kind = Share{Name: i.NetworkName, Comment: i.Remark, Path: i.Path, Security: i.SecurityDescriptor}, i.Type
		}
	default:
		return &srvsvc.ShareAddResponse{Return: werrInvalidLevel}, nil
	}
	if !s.may(ctx, ChangeShares) {
		return &srvsvc.ShareAddResponse{Return: werrAccessDenied}, nil
	}
	if x.Name == "" || x.Path == "" || kind&^kindSpecial != kindDisk {
		return &srvsvc.ShareAddResponse{Return: werrInvalid}, nil
	}
	x.Path = pathOf(x.Path)
	return &srvsvc.ShareAddResponse{Return: s.changed(ctx, s.s.o.Shares.AddShare(ctx, s.who, x))}, nil
}

// changed renders what changing a share came to, and logs what is not the client's fault.
func (s *srvsvcServer) changed(ctx context.Context, err error) uint32 {
	for _, known := range []error{nil, ErrAccess, ErrNotFound, ErrExists, ErrPath, ErrInvalid} {
		if errors.Is(err, known) {
			return werrOf(err)
		}
	}
	s.s.o.Logger.WarnContext(ctx, "share cannot be changed", "error", err)
	return werrOf(err)
}

// ShareSetInfo is [MS-SRVS] 3.1.4.11.
func (s *srvsvcServer) ShareSetInfo(ctx context.Context, q *srvsvc.ShareSetInfoRequest) (*srvsvc.ShareSetInfoResponse, error) {
	if q.ShareInfo == nil {
		return &srvsvc.ShareSetInfoResponse{Return: werrInvalid}, nil
	}
	var c ShareChange
	bad := false
	path := func(p string) *string {
		if p == "" {
			return nil
		}
		p = pathOf(p)
		return &p
	}
	switch v := q.ShareInfo.Value.(type) {
	case *srvsvc.ShareInfo_1:
		if bad = v.ShareInfo1 == nil; !bad {
			c.Comment = &v.ShareInfo1.Remark
		}
	case *srvsvc.ShareInfo_2:
		if bad = v.ShareInfo2 == nil; !bad {
			c.Comment, c.Path = &v.ShareInfo2.Remark, path(v.ShareInfo2.Path)
		}
	case *srvsvc.ShareInfo_502:
		if bad = v.ShareInfo502 == nil; !bad {
			c.Comment, c.Path, c.Security = &v.ShareInfo502.Remark, path(v.ShareInfo502.Path), v.ShareInfo502.SecurityDescriptor
		}
	case *srvsvc.ShareInfo_503:
		if bad = v.ShareInfo503 == nil; !bad {
			c.Comment, c.Path, c.Security = &v.ShareInfo503.Remark, path(v.ShareInfo503.Path), v.ShareInfo503.SecurityDescriptor
		}
	case *srvsvc.ShareInfo_1004:
		if bad = v.ShareInfo1004 == nil; !bad {
			c.Comment = &v.ShareInfo1004.Shi1004Remark
		}
	case *srvsvc.ShareInfo_1005:
		if bad = v.ShareInfo1005 == nil; !bad {
			based, encrypt := v.ShareInfo1005.Flags&flagAccessBased != 0, v.ShareInfo1005.Flags&flagEncrypt != 0
			c.AccessBased, c.Encrypt = &based, &encrypt
		}
	case *srvsvc.ShareInfo_1006: // how many may use it is not bounded
		bad = v.ShareInfo1006 == nil
	case *srvsvc.ShareInfo_1501:
		if bad = v.ShareInfo1501 == nil || len(v.ShareInfo1501.SecurityDescriptor) == 0; !bad {
			c.Security = v.ShareInfo1501.SecurityDescriptor
		}
	default:
		return &srvsvc.ShareSetInfoResponse{Return: werrInvalidLevel}, nil
	}
	switch {
	case bad:
		return &srvsvc.ShareSetInfoResponse{Return: werrInvalid}, nil
	case !s.may(ctx, ChangeShares):
		return &srvsvc.ShareSetInfoResponse{Return: werrAccessDenied}, nil
	}
	return &srvsvc.ShareSetInfoResponse{Return: s.changed(ctx, s.s.o.Shares.ChangeShare(ctx, s.who, q.NetName, c))}, nil
}

// remove deletes a share by its name.
func (s *srvsvcServer) remove(ctx context.Context, name string) uint32 {
	switch {
	case !s.may(ctx, ChangeShares):
		return werrAccessDenied
	case strings.EqualFold(name, "IPC$"):
		return werrInvalid
	}
	return s.changed(ctx, s.s.o.Shares.DeleteShare(ctx, s.who, name))
}

// ShareDelete is [MS-SRVS] 3.1.4.12.
func (s *srvsvcServer) ShareDelete(ctx context.Context, q *srvsvc.ShareDeleteRequest) (*srvsvc.ShareDeleteResponse, error) {
	return &srvsvc.ShareDeleteResponse{Return: s.remove(ctx, q.NetName)}, nil
}

// shareDeletion is a share that is about to be deleted.
type shareDeletion struct{ name string }

// ShareDeleteStart is [MS-SRVS] 3.1.4.15, the first half of a deletion.
func (s *srvsvcServer) ShareDeleteStart(ctx context.Context, q *srvsvc.ShareDeleteStartRequest) (*srvsvc.ShareDeleteStartResponse, error) {
	r := &srvsvc.ShareDeleteStartResponse{}
	x, err := s.share(ctx, q.NetName)
	switch {
	case err != nil:
		return nil, err
	case !s.may(ctx, ChangeShares):
		r.Return = werrAccessDenied
	case x == nil:
		r.Return = werrNoShare
	default:
		if r.ContextHandle = (*srvsvc.ShareDeleteHandle)(s.newHandle(shareDeletion{x.Name})); r.ContextHandle == nil {
			r.Return = werrInvalid
		}
	}
	return r, nil
}

// ShareDeleteCommit is [MS-SRVS] 3.1.4.16, the other half.
func (s *srvsvcServer) ShareDeleteCommit(ctx context.Context, q *srvsvc.ShareDeleteCommitRequest) (*srvsvc.ShareDeleteCommitResponse, error) {
	x, ok := opened[shareDeletion](s.Association, q.ContextHandle.ContextHandle())
	if !ok {
		return &srvsvc.ShareDeleteCommitResponse{Return: werrInvalid}, nil
	}
	s.closeHandle(q.ContextHandle.ContextHandle())
	return &srvsvc.ShareDeleteCommitResponse{Return: s.remove(ctx, x.name)}, nil
}
