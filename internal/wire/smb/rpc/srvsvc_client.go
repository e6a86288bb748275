package rpc

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	srvsvc "github.com/oiweiwei/go-msrpc/msrpc/srvs/srvsvc/v3"
)

// computer is how a client is named.
func computer(a netip.Addr) string { return `\\` + a.Unmap().String() }

// isComputer tells whether a name, with or without the slashes, is that of a client.
func isComputer(name string, a netip.Addr) bool {
	name = strings.TrimLeft(name, `\`)
	if x, err := netip.ParseAddr(name); err == nil {
		return x.Unmap() == a.Unmap()
	}
	return false
}

func seconds(now, then time.Time) uint32 {
	if d := now.Sub(then); d > 0 {
		return uint32(min(d/time.Second, unlimited))
	}
	return 0
}

// sessions lists those of a client and a user; "" is any.
func (s *srvsvcServer) sessions(client, user string) []Session {
	return slices.DeleteFunc(s.s.o.Clients.Sessions(), func(x Session) bool {
		return client != "" && !isComputer(client, x.Client) || user != "" && !strings.EqualFold(user, x.User)
	})
}

const userGuest = 1 // SESS_GUEST

func guestFlag(x *Session) uint32 {
	if x.Guest {
		return userGuest
	}
	return 0
}

// SessionEnum is [MS-SRVS] 3.1.4.5.
func (s *srvsvcServer) SessionEnum(ctx context.Context, q *srvsvc.SessionEnumRequest) (*srvsvc.SessionEnumResponse, error) {
	may := s.may(ctx, SeeSessions)
	var list []Session
	if may {
		list = s.sessions(q.ClientName, q.UserName)
	}
	total := len(list)
	from, to, next, result := page(total, q.Resume, q.PreferredMaximumLength, 128)
	list = list[from:to]
	if !may {
		result = werrAccessDenied
	}
	now, n := s.s.o.Now(), uint32(len(list))
	u := &srvsvc.SessionEnumUnion{}
	switch q.Info.Level {
	case 0:
		u.Value = &srvsvc.SessionEnumUnion_Level0{Level0: &srvsvc.SessionInfo0Container{EntriesRead: n, Buffer: each(list, func(x *Session) *srvsvc.SessionInfo0 {
			return &srvsvc.SessionInfo0{ClientName: computer(x.Client)}
		})}}
	case 1:
		u.Value = &srvsvc.SessionEnumUnion_Level1{Level1: &srvsvc.SessionInfo1Container{EntriesRead: n, Buffer: each(list, func(x *Session) *srvsvc.SessionInfo1 {
			return &srvsvc.SessionInfo1{
				ClientName: computer(x.Client), UserName: x.User, NumOpens: uint32(x.Opens),
				Time: seconds(now, x.Opened), IdleTime: seconds(now, x.Active), UserFlags: guestFlag(x),
			}
		})}}
	case 2:
		u.Value = &srvsvc.SessionEnumUnion_Level2{Level2: &srvsvc.SessionInfo2Container{EntriesRead: n, Buffer: each(list, func(x *Session) *srvsvc.SessionInfo2 {
			return &srvsvc.SessionInfo2{
				ClientName: computer(x.Client), UserName: x.User, NumOpens: uint32(x.Opens),
				Time: seconds(now, x.Opened), IdleTime: seconds(now, x.Active), UserFlags: guestFlag(x),
			}
		})}}
	case 10:
		u.Value = &srvsvc.SessionEnumUnion_Level10{Level10: &srvsvc.SessionInfo10Container{EntriesRead: n, Buffer: each(list, func(x *Session) *srvsvc.SessionInfo10 {
			return &srvsvc.SessionInfo10{ClientName: computer(x.Client), UserName: x.User, Time: seconds(now, x.Opened), IdleTime: seconds(now, x.Active)}
		})}}
	case 502:
		u.Value = &srvsvc.SessionEnumUnion_Level502{Level502: &srvsvc.SessionInfo502Container{EntriesRead: n, Buffer: each(list, func(x *Session) *srvsvc.SessionInfo502 {
			return &srvsvc.SessionInfo502{
				ClientName: computer(x.Client), UserName: x.User, NumOpens: uint32(x.Opens),
				Time: seconds(now, x.Opened), IdleTime: seconds(now, x.Active), UserFlags: guestFlag(x),
			}
		})}}
	default:
		return &srvsvc.SessionEnumResponse{Info: q.Info, Return: werrInvalidLevel}, nil
	}
	return &srvsvc.SessionEnumResponse{
		Info: &srvsvc.SessionEnum{Level: q.Info.Level, SessionInfo: u}, TotalEntries: uint32(total - from), Resume: next, Return: result,
	}, nil
}

// SessionDelete is [MS-SRVS] 3.1.4.6. The caller's own session goes last, for it
// takes this pipe with it.
func (s *srvsvcServer) SessionDelete(ctx context.Context, q *srvsvc.SessionDeleteRequest) (*srvsvc.SessionDeleteResponse, error) {
	switch {
	case !s.may(ctx, CloseSessions):
		return &srvsvc.SessionDeleteResponse{Return: werrAccessDenied}, nil
	case q.ClientName == "" && q.UserName == "":
		return &srvsvc.SessionDeleteResponse{Return: werrInvalid}, nil
	}
	closed := false
	for _, x := range s.sessions(q.ClientName, q.UserName) {
		if x.ID == s.who.Session {
			continue
		}
		switch err := s.s.o.Clients.CloseSession(ctx, s.who, x.ID); {
		case err == nil:
			closed = true
		case !errors.Is(err, ErrNotFound):
			return nil, s.internal(ctx, err)
		}
	}
	if !closed {
		return &srvsvc.SessionDeleteResponse{Return: werrNoSession}, nil
	}
	return &srvsvc.SessionDeleteResponse{}, nil
}

// ConnectionEnum is [MS-SRVS] 3.1.4.1: who is connected to a share, or what a
// client is connected to.
func (s *srvsvcServer) ConnectionEnum(ctx context.Context, q *srvsvc.ConnectionEnumRequest) (*srvsvc.ConnectionEnumResponse, error) {
	type connection struct {
		*Session
		other string // the end that was not asked for
	}
	may := s.may(ctx, SeeSessions)
	var list []connection
	if may {
		all := s.s.o.Clients.Sessions()
		for i := range all {
			for _, share := range all[i].Shares {
				switch {
				case isComputer(q.Qualifier, all[i].Client):
					list = append(list, connection{&all[i], share})
				case strings.EqualFold(q.Qualifier, share):
					list = append(list, connection{&all[i], computer(all[i].Client)})
				}
			}
		}
	}
	total := len(list)
	from, to, next, result := page(total, q.Resume, q.PreferredMaximumLength, 128)
	list = list[from:to]
	if !may {
		result = werrAccessDenied
	} else if q.Qualifier == "" {
		result = werrInvalid
	}
	now, n := s.s.o.Now(), uint32(len(list))
	u := &srvsvc.ConnectEnumUnion{}
	switch q.Info.Level {
	case 0:
		u.Value = &srvsvc.ConnectEnumUnion_Level0{Level0: &srvsvc.ConnectInfo0Container{EntriesRead: n, Buffer: each(list, func(x *connection) *srvsvc.ConnectionInfo0 {
			return &srvsvc.ConnectionInfo0{Coni0ID: uint32(x.ID)}
		})}}
	case 1:
		u.Value = &srvsvc.ConnectEnumUnion_Level1{Level1: &srvsvc.ConnectInfo1Container{EntriesRead: n, Buffer: each(list, func(x *connection) *srvsvc.ConnectionInfo1 {
			return &srvsvc.ConnectionInfo1{
				ID: uint32(x.ID), Type: kindDisk, NumOpens: uint32(x.Opens), NumUsers: 1, Time: seconds(now, x.Opened), UserName: x.User, NetworkName: x.other,
			}
		})}}
	default:
		return &srvsvc.ConnectionEnumResponse{Info: q.Info, Return: werrInvalidLevel}, nil
	}
	return &srvsvc.ConnectionEnumResponse{
		Info: &srvsvc.ConnectEnum{Level: q.Info.Level, ConnectInfo: u}, TotalEntries: uint32(total - from), Resume: next, Return: result,
	}, nil
}

// number is the part of an open's id that the protocol shows; some tools print
// it with a sign, and do not take it back if it is negative.
func (x *Open) number() uint32 { return uint32(x.ID & 0x7fffffff) }

// info3 renders an open file, [MS-SRVS] 2.2.4.7.
func (x *Open) info3() *srvsvc.FileInfo3 {
	p := uint32(0)
	for i, has := range []bool{x.Read, x.Write, x.Create} {
		if has {
			p |= 1 << i
		}
	}
	return &srvsvc.FileInfo3{ID: x.number(), Permissions: p, NumLocks: uint32(x.Locks), PathName: wirePath(x.Path), UserName: x.User}
}

// FileEnum is [MS-SRVS] 3.1.4.2.
func (s *srvsvcServer) FileEnum(ctx context.Context, q *srvsvc.FileEnumRequest) (*srvsvc.FileEnumResponse, error) {
	may := s.may(ctx, SeeFiles)
	var list []Open
	if may {
		base := strings.ToLower(pathOf(q.BasePath))
		list = slices.DeleteFunc(s.s.o.Clients.Opens(), func(x Open) bool {
			return q.BasePath != "" && base != "/" && !under(strings.ToLower(x.Path), base) || q.UserName != "" && !strings.EqualFold(q.UserName, x.User)
		})
	}
	total := len(list)
	from, to, next, result := page(total, q.Resume, q.PreferredMaximumLength, 128)
	list = list[from:to]
	if !may {
		result = werrAccessDenied
	}
	u := &srvsvc.FileEnumUnion{}
	switch q.Info.Level {
	case 2:
		u.Value = &srvsvc.FileEnumUnion_Level2{Level2: &srvsvc.FileInfo2Container{EntriesRead: uint32(len(list)), Buffer: each(list, func(x *Open) *srvsvc.FileInfo2 {
			return &srvsvc.FileInfo2{ID: x.number()}
		})}}
	case 3:
		u.Value = &srvsvc.FileEnumUnion_Level3{Level3: &srvsvc.FileInfo3Container{EntriesRead: uint32(len(list)), Buffer: each(list, (*Open).info3)}}
	default:
		return &srvsvc.FileEnumResponse{Info: q.Info, Return: werrInvalidLevel}, nil
	}
	return &srvsvc.FileEnumResponse{Info: &srvsvc.FileEnum{Level: q.Info.Level, FileInfo: u}, TotalEntries: uint32(total - from), Resume: next, Return: result}, nil
}

// under tells whether a path is a directory or lies in it.
func under(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/')
}

// file finds an open file by its number.
func (s *srvsvcServer) file(id uint32) *Open {
	all := s.s.o.Clients.Opens()
	for i := range all {
		if all[i].number() == id {
			return &all[i]
		}
	}
	return nil
}

// FileGetInfo is [MS-SRVS] 3.1.4.3.
func (s *srvsvcServer) FileGetInfo(ctx context.Context, q *srvsvc.FileGetInfoRequest) (*srvsvc.FileGetInfoResponse, error) {
	if !s.may(ctx, SeeFiles) {
		s.answerLevel(q.Level, werrAccessDenied)
		return nil, nil
	}
	x := s.file(q.FileID)
	if x == nil {
		s.answerLevel(q.Level, werrNoFile)
		return nil, nil
	}
	i := &srvsvc.FileInfo{}
	switch q.Level {
	case 2:
		i.Value = &srvsvc.FileInfo_2{FileInfo2: &srvsvc.FileInfo2{ID: x.number()}}
	case 3:
		i.Value = &srvsvc.FileInfo_3{FileInfo3: x.info3()}
	default:
		s.answerLevel(q.Level, werrInvalidLevel)
		return nil, nil
	}
	return &srvsvc.FileGetInfoResponse{Level: q.Level, Info: i}, nil
}

// FileClose is [MS-SRVS] 3.1.4.4.
func (s *srvsvcServer) FileClose(ctx context.Context, q *srvsvc.FileCloseRequest) (*srvsvc.FileCloseResponse, error) {
	if !s.may(ctx, CloseFiles) {
		return &srvsvc.FileCloseResponse{Return: werrAccessDenied}, nil
	}
	x := s.file(q.FileID)
	if x == nil {
		return &srvsvc.FileCloseResponse{Return: werrNoFile}, nil
	}
	switch err := s.s.o.Clients.CloseOpen(ctx, s.who, x.ID); {
	case errors.Is(err, ErrNotFound):
		return &srvsvc.FileCloseResponse{Return: werrNoFile}, nil
	case err != nil:
		return nil, s.internal(ctx, err)
	}
	return &srvsvc.FileCloseResponse{}, nil
}
